//! WebSocket clients that break the rules: both WebSockets say so before the connection ends.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use support::{Switch, config};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message as Frame, WebSocket};

mod support;

const ROOM: &str = "\n[[account]]\nid = \"00000000000000000000000000000001\"\nrealm = \"lab.test\"\n\
    [[conference]]\nid = \"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0\"\naccount = \"00000000000000000000000000000001\"\n\
    name = \"Daily\"\nconference_numbers = [\"3000\"]\n\
    chat = { invite_codes = [\"0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21\"] }\n";

/// A masked frame of a client; the mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short @ 0..126) => bytes.push(0x80 | short),
        _ => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// What may not be sent, and the code for it.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    let mut unmasked = frame(0x81, b"{}");
    unmasked.drain(2..6);
    unmasked[1] &= 0x7f;
    let started = [frame(0x01, b"{"), frame(0x81, b"}")].concat();
    let split = [frame(0x01, b"\xc3"), frame(0x80, b"(")].concat();
    vec![
        ("unmasked", unmasked, 1002),
        ("a bit of an extension", frame(0xc1, b"{}"), 1002),
        ("an unknown data frame", frame(0x83, b"{}"), 1002),
        ("an unknown control frame", frame(0x8b, b""), 1002),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002),
        ("a message inside another", started, 1002),
        ("a ping in pieces", frame(0x09, b"a"), 1002),
        ("a ping of 126 bytes", frame(0x89, &[b'x'; 126]), 1002),
        ("a close of one byte", frame(0x88, b"x"), 1002),
        (
            "a close with a code that is none",
            frame(0x88, &1005_u16.to_be_bytes()),
            1002,
        ),
        ("no UTF-8", frame(0x81, b"{\"a\":\"\xff\"}"), 1007),
        ("no UTF-8 across frames", split, 1007),
        ("a reason that is no UTF-8", frame(0x88, b"\x03\xe8\xff"), 1007),
    ]
}

fn open(address: SocketAddr, path: &str, protocols: &str) -> WebSocket<TcpStream> {
    let mut asked = format!("ws://{address}{path}").into_client_request().unwrap();
    asked
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocols.parse().unwrap());
    tungstenite::client(asked, TcpStream::connect(address).unwrap())
        .unwrap()
        .0
}

/// Sends this; with which code the connection ends.
fn ended(mut socket: WebSocket<TcpStream>, bytes: &[u8]) -> Option<u16> {
    socket.get_mut().write_all(bytes).unwrap();
    loop {
        match socket.read() {
            Ok(Frame::Close(close)) => return close.map(|close| close.code.into()),
            Ok(_) => {}
            Err(error) => panic!("no close: {error}"),
        }
    }
}

fn ticket(address: SocketAddr) -> String {
    let body = "{\"invite_code\":\"0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21\"}";
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/rooms/c0c0c0c0-c0c0-c0c0-c0c0-c0c0c0c0c0c0/start_invited HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let json = answer.split_once("\r\n\r\n").unwrap().1;
    let json: serde_json::Value = serde_json::from_str(json).expect(&answer);
    json["ticket"].as_str().expect(&answer).to_owned()
}

#[test]
fn both_websockets_say_which_rule_was_broken() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, &format!("sip.ws = [\"127.0.0.1:0\"]\n{ROOM}")));
    let (sip, chat) = (switch.address("ws"), switch.address("HTTP"));
    for (what, bytes, code) in violations() {
        assert_eq!(ended(open(sip, "/ws", "sip"), &bytes), Some(code), "SIP: {what}");
        let protocols = format!("opentalk-signaling-json-v1.0, ticket#{}", ticket(chat));
        let socket = open(chat, "/signaling", &protocols);
        assert_eq!(ended(socket, &bytes), Some(code), "chat: {what}");
    }
    // A close with a code that is none is answered by the library, and counts as one.
    switch.wait_for_metric(
        "cordboard_sip_rejected_total{reason=\"websocket_frame\"} 18",
        true,
    );
    switch.wait_for_metric("cordboard_sip_rejected_total{reason=\"websocket_text\"} 6", true);
    let bye = frame(0x88, &[&1000_u16.to_be_bytes()[..], b"bye"].concat());
    assert_eq!(
        ended(open(sip, "/ws", "sip"), &bye),
        Some(1000),
        "a close is answered"
    );
}

#[test]
fn a_handshake_without_a_host_opens_nothing() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.ws = [\"127.0.0.1:0\"]"));
    let begun = |host: &str| {
        let mut stream = TcpStream::connect(switch.address("ws")).unwrap();
        write!(
            stream,
            "GET /ws HTTP/1.1\r\n{host}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
        )
        .unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        String::from_utf8(status.into()).unwrap()
    };
    assert_eq!(begun("Host: lab.test\r\n"), "HTTP/1.1 101");
    assert_eq!(begun(""), "HTTP/1.1 400");
    assert_eq!(begun("Host: lab.test\r\nHost: other.test\r\n"), "HTTP/1.1 400");
}

#[test]
fn what_comes_in_a_burst_is_answered_frame_by_frame() {
    let folder = TempDir::new().unwrap();
    let more = "sip.ws = [\"127.0.0.1:0\"]\nsip.abuse.requests_per_second = 0\nsip.limits.lag = \"0s\"";
    let switch = Switch::start(&config(&folder, more));
    let mut socket = open(switch.address("ws"), "/ws", "sip");
    for number in 0..200 {
        let request = format!(
            "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS client.invalid;branch=z9hG4bK{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:x@lab.test>;tag={number}\r\nTo: <sip:127.0.0.1>\r\nCall-ID: {number}\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        socket.write(Frame::text(request)).unwrap();
    }
    socket.flush().unwrap();
    for number in 0..200 {
        let answer = socket.read().unwrap().into_text().unwrap();
        assert!(answer.starts_with("SIP/2.0 200 OK\r\n"), "{number}: {answer}");
    }
}

#[test]
fn a_switch_that_ends_goes_away() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.ws = [\"127.0.0.1:0\"]"));
    let socket = open(switch.address("ws"), "/ws", "sip");
    switch.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ended(socket, b""), Some(1001));
}
