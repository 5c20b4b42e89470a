//! SIP over TCP: what comes in a burst, with an end of the stream, or without a length is answered all the same.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::io::{ErrorKind, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use support::{Switch, config};
use tempfile::TempDir;

mod support;

/// Strangers are heard however busy the machine is.
const TCP: &str = "sip.tcp = [\"127.0.0.1:0\"]\nsip.limits.lag = \"0s\"";
/// A network whose senders need no proof.
const TRUSTED: &str = "sip.tcp = [\"127.0.0.1:0\"]\nsip.trusted = [\"127.0.0.0/8\"]";

/// A request whose last header this is.
fn request(method: &str, number: u32, last: &str) -> String {
    format!(
        "{method} sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP client.invalid;branch=z9hG4bK{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@lab.test>;tag={number}\r\nTo: <sip:127.0.0.1>\r\nCall-ID: l{number}\r\n\
         CSeq: 1 {method}\r\n{last}\r\n"
    )
}

fn options(number: u32) -> String {
    request("OPTIONS", number, "Content-Length: 0\r\n")
}

/// Everything up to the end of the stream.
fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The status lines in there.
fn answers(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("SIP/2.0 ")).collect()
}

/// Sends these while somebody reads all the time; what that one hears when our side has ended.
fn burst(address: SocketAddr, requests: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let other = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || rest(other));
    stream.write_all(requests.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    reading.join().unwrap()
}

#[test]
fn who_reads_hears_every_answer_however_many_requests_came_at_once() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, TRUSTED));
    let all: String = (0..3_000).map(options).collect();
    let heard = burst(switch.address("tcp"), &all);
    assert_eq!(answers(&heard), ["SIP/2.0 200 OK"; 3_000]);
    switch.wait_for_metric("cordboard_sip_rejected_total{reason=\"slow_reader\"} 0", true);
}

#[test]
fn a_stranger_hears_every_answer_too() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(
        &folder,
        &format!("{TCP}\nsip.abuse.requests_per_second = 0"),
    ));
    let all: String = (0..500).map(options).collect();
    let heard = burst(switch.address("tcp"), &all);
    assert_eq!(answers(&heard), ["SIP/2.0 200 OK"; 500]);
}

/// Without reading: it is not listened to any more when enough waits for it, while others are.
#[test]
fn who_does_not_read_is_not_listened_to_and_harms_nobody() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, TRUSTED));
    let mut deaf = TcpStream::connect(switch.address("tcp")).unwrap();
    deaf.set_nonblocking(true).unwrap();
    let all: String = (0..1_000).map(options).collect();
    let mut unread = 0;
    // What is taken of a write may end within a request: the next one goes on there.
    let mut more = || {
        let count = deaf.write(&all.as_bytes()[unread % all.len()..])?;
        unread += count;
        std::io::Result::Ok(unread)
    };
    // It stops being taken: neither the kernel nor the switch holds more than so much.
    loop {
        match more() {
            Ok(unread) => assert!(unread < 256 << 20),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let heard = burst(switch.address("tcp"), &options(7));
                assert_eq!(answers(&heard), ["SIP/2.0 200 OK"]);
                if more().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                    break;
                }
            }
            Err(error) => panic!("it is closed: {error}"),
        }
    }
}

#[test]
fn who_closes_its_side_hears_the_answer_to_what_it_has_asked() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, TCP));
    for method in ["OPTIONS", "REGISTER", "BYE"] {
        let heard = burst(
            switch.address("tcp"),
            &request(method, 1, "Content-Length: 0\r\n"),
        );
        assert_eq!(answers(&heard).len(), 1, "{method}: {heard}");
    }
    // What is said in half a message is nothing.
    let half = options(1) + "OPTIONS sip:127.0.0.1 SIP/2.0\r\n";
    assert_eq!(answers(&burst(switch.address("tcp"), &half)), ["SIP/2.0 200 OK"]);
    assert_eq!(burst(switch.address("tcp"), ""), "");
}

#[test]
fn a_request_without_a_length_is_refused_before_its_connection_ends() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, TCP));
    for last in [
        "",
        "Content-Length: five\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5\r\nl: 6\r\n",
    ] {
        let mut stream = TcpStream::connect(switch.address("tcp")).unwrap();
        let text = options(1) + &request("OPTIONS", 2, last) + "12345" + &options(3);
        stream.write_all(text.as_bytes()).unwrap();
        let heard = rest(stream);
        assert_eq!(
            answers(&heard),
            ["SIP/2.0 200 OK", "SIP/2.0 400 Bad Request"],
            "{last}"
        );
    }
    switch.wait_for_metric(
        "cordboard_sip_rejected_total{reason=\"no_content_length\"} 1",
        true,
    );
    switch.wait_for_metric("cordboard_sip_rejected_total{reason=\"content_length\"} 4", true);
}
