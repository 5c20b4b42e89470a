//! Messages that are too large for the switch: they are refused, and on a stream what follows them is read.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::io::{Read, Write};
use std::net::TcpStream;

use support::{Switch, config};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite;
use tungstenite::Message as Frame;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::frame::coding::CloseCode;

mod support;

/// The head of a request whose body has so many bytes.
fn request(method: &str, transport: &str, number: u32, body: usize) -> String {
    format!(
        "{method} sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} client.invalid;branch=z9hG4bK{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@lab.test>;tag={number}\r\nTo: <sip:127.0.0.1>\r\nContent-Type: text/plain\r\n\
         Call-ID: l{number}\r\nCSeq: 1 {method}\r\nContent-Length: {body}\r\n\r\n"
    )
}

/// Reads the next head and gives its first line.
fn answer(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.extend(byte);
    }
    let text = String::from_utf8(text).unwrap();
    text.lines().next().unwrap().to_owned()
}

#[test]
fn on_a_stream_its_body_is_skipped_and_the_connection_goes_on() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.tcp = [\"127.0.0.1:0\"]"));
    let mut stream = TcpStream::connect(switch.address("tcp")).unwrap();
    // Answered from its head; the answer does not wait for the body.
    stream
        .write_all(request("MESSAGE", "TCP", 1, 3_000_000).as_bytes())
        .unwrap();
    assert_eq!(answer(&mut stream), "SIP/2.0 413 Request Entity Too Large");
    stream.write_all(&vec![b'\r'; 3_000_000]).unwrap();
    let mut more = request("INVITE", "TCP", 2, 200_000).into_bytes();
    more.extend(vec![b'\n'; 200_000]);
    more.extend(request("OPTIONS", "TCP", 3, 0).into_bytes());
    stream.write_all(&more).unwrap();
    assert_eq!(answer(&mut stream), "SIP/2.0 513 Message Too Large");
    assert_eq!(answer(&mut stream), "SIP/2.0 200 OK");
    // What is larger still ends the connection behind the answer.
    stream
        .write_all(request("MESSAGE", "TCP", 4, 1 << 30).as_bytes())
        .unwrap();
    assert_eq!(answer(&mut stream), "SIP/2.0 413 Request Entity Too Large");
    let body = vec![b'x'; 64 << 10];
    while stream.write_all(&body).is_ok() {}
    switch.wait_for_metric("cordboard_sip_rejected_total{reason=\"too_large\"} 3", true);
}

#[test]
fn on_a_websocket_it_is_answered_and_the_connection_ends_with_1009() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.ws = [\"127.0.0.1:0\"]"));
    let address = switch.address("ws");
    let mut asked = format!("ws://{address}/ws").into_client_request().unwrap();
    asked
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
    let stream = TcpStream::connect(address).unwrap();
    let (mut socket, _) = tungstenite::client(asked, stream).unwrap();
    let large = request("MESSAGE", "WS", 2, 2_000_000) + &"x".repeat(2_000_000);
    socket.write(Frame::text(request("OPTIONS", "WS", 1, 0))).unwrap();
    socket.send(Frame::text(large)).unwrap();
    let mut heard = Vec::new();
    let close = loop {
        match socket.read().unwrap() {
            Frame::Text(text) => heard.push(text.lines().next().unwrap().to_owned()),
            Frame::Close(close) => break close.unwrap(),
            _ => {}
        }
    };
    assert_eq!(heard, ["SIP/2.0 200 OK", "SIP/2.0 413 Request Entity Too Large"]);
    assert_eq!(close.code, CloseCode::Size);
    switch.wait_for_metric("cordboard_sip_rejected_total{reason=\"too_large\"} 1", true);
}
