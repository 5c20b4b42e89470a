//! Bans as an operator sees them: listed, and lifted by name or by a reload.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Switch, config};
use tempfile::TempDir;

mod support;

const LAB: &str = "sip.realm = \"lab.test\"\nsip.abuse.ban_after = 2\n\
    account = [{ id = \"00000000000000000000000000000001\", realm = \"lab.test\", tokens = [\"lab-token\"] }]\n\
    user = [{ id = \"00000000000000000000000000000011\", username = \"alice\", password = \"x\" }]\n";

/// A phone at an address of its own.
struct Phone {
    socket: UdpSocket,
    sent: u32,
}

impl Phone {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, sent: 0 }
    }

    fn send(&mut self, switch: &Switch, headers: &str) {
        self.sent += 1;
        let (number, at) = (self.sent, self.socket.local_addr().unwrap());
        let text = format!(
            "REGISTER sip:lab.test SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{number};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@lab.test>;tag=q\r\nTo: <sip:alice@lab.test>\r\nCall-ID: q{number}\r\n\
             CSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        self.socket
            .send_to(text.as_bytes(), switch.address("udp"))
            .unwrap();
    }

    fn ask(&mut self, switch: &Switch) -> String {
        self.send(switch, "");
        let mut answer = [0; 2000];
        let length = self.socket.recv(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    /// Sends as many wrong proofs as are one too many, and waits until the ban is listed.
    fn guess(&mut self, switch: &Switch) {
        let challenge = self.ask(switch);
        let nonce = challenge.split("nonce=\"").nth(1).unwrap();
        let nonce = nonce.split('"').next().unwrap();
        let proof = format!(
            "Authorization: Digest username=\"alice\", realm=\"lab.test\", nonce=\"{nonce}\", uri=\"sip:lab.test\", \
             response=\"00000000000000000000000000000000\"\r\n"
        );
        self.send(switch, &proof);
        let mut answer = [0; 2000];
        self.socket.recv(&mut answer).unwrap(); // the last one gets none
        self.send(switch, &proof);
        switch.wait_for("a source gets no answers for a time");
    }
}

fn http(switch: &Switch, request: &str) -> String {
    let mut stream = TcpStream::connect(switch.address("HTTP")).unwrap();
    let text =
        format!("{request} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: lab-token\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_ban_is_lifted_by_its_name_or_by_a_reload_that_trusts_its_source() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, LAB));
    let mut phone = Phone::new();
    phone.guess(&switch);
    let listed = http(&switch, "GET /v1/bans");
    assert!(listed.contains("\"network\":\"127.0.0.2/32\""), "{listed}");
    let lifted = http(&switch, "DELETE /v1/bans/127.0.0.2%2F32");
    assert!(lifted.starts_with("HTTP/1.1 204"), "{lifted}");
    let none = http(&switch, "DELETE /v1/bans/127.0.0.2%2F32");
    assert!(none.starts_with("HTTP/1.1 404"), "{none}");
    assert!(phone.ask(&switch).starts_with("SIP/2.0 401"));

    for (more, heard) in [
        ("sip.trusted = [\"127.0.0.2\"]\n", "SIP/2.0 200"),
        ("sip.abuse.ban_after = 0\n", "SIP/2.0 401"),
    ] {
        phone.guess(&switch);
        let text = match more.contains("ban_after") {
            true => LAB.replace("sip.abuse.ban_after = 2\n", more),
            false => LAB.to_owned() + more,
        };
        config(&folder, &text);
        switch.signal(Signal::SIGHUP);
        switch.wait_for("bans ended");
        assert!(http(&switch, "GET /v1/bans").ends_with("{\"bans\":[]}\n"));
        assert!(phone.ask(&switch).starts_with(heard), "{more}");
        config(&folder, LAB);
        switch.signal(Signal::SIGHUP);
        while !phone.ask(&switch).starts_with("SIP/2.0 401") {
            std::thread::sleep(Duration::from_millis(10)); // it is still trusted
        }
    }
}
