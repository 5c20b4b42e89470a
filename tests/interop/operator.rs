//! What the operator sees: metrics, the checked config, a switch that garbage does not stop.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use cordboard_tests::http::{self, metric};
use cordboard_tests::switch::{Lab, Switch, binary};

use crate::{SOON, turn};

#[test]
fn promtool_is_content_with_the_metrics() {
    let _turn = turn();
    let switch = Lab::new().start();
    let (alice, bob) = (switch.phone("alice"), switch.phone("bob"));
    let (call, other) = (alice.call("3000"), bob.call("3000"));
    call.rtp.play(440.0);
    cordboard_tests::until(SOON, || (other.rtp.count() > 50).then_some(())).expect("audio");
    let text = switch.metrics();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/run installs promtool");
    promtool
        .stdin
        .take()
        .expect("piped")
        .write_all(text.as_bytes())
        .expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "promtool: {said}");
    assert_eq!(said.trim(), "", "promtool has remarks");
    for (name, at_least) in [
        ("cordboard_build_info", 1.0),
        ("cordboard_conferences", 1.0),
        ("cordboard_participants", 2.0),
        ("cordboard_sip_requests_total", 4.0),
        ("cordboard_rtp_packets_total", 50.0),
    ] {
        assert!(metric(&text, name, &[]) >= at_least, "{name} in\n{text}");
    }
    for word in ["alice", "lab.test", "127.0.0.1", "c0c0c0c0", call.id()] {
        let labelled = text
            .lines()
            .find(|line| !line.starts_with('#') && line.contains(word));
        assert_eq!(labelled, None, "no user, address, conference or call is a label");
    }
}

#[test]
fn promtool_is_content_with_the_alerts() {
    let output = Command::new("promtool")
        .args(["check", "rules", "../config/alerts.yaml"])
        .output()
        .expect("tests/run installs promtool");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("SUCCESS"),
        "promtool: {said}"
    );
}

#[test]
fn health_and_readiness_are_served() {
    let switch = Lab::new().start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(
            http::get(switch.http(), path).expect("answered").code,
            200,
            "{path}"
        );
    }
    assert_eq!(
        http::get(switch.http(), "/nothing-here").expect("answered").code,
        404
    );
}

/// A file with mistakes of different kinds; the comments say what is expected.
const BROKEN: &str = r#"[node]
nam = "lab"

[sip]
relm = "lab.test"
udp = ["nowhere"]

[media]
rtp_ports = "30000-20000"

[[user]]
username = "alice"
password = "secret"

[sipp]
udp = []
"#;

#[test]
fn every_mistake_of_a_config_file_is_named_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("broken.toml");
    std::fs::write(&file, BROKEN).expect("written");
    let output = Command::new(binary())
        .args(["check", "-c"])
        .arg(&file)
        .output()
        .expect("it runs");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    let wanted: [(u32, &[&str]); 6] = [
        (2, &["nam", "name"]),
        (5, &["relm", "realm"]),
        (6, &["udp", "nowhere"]),
        (9, &["rtp_ports"]),
        (11, &["user", "id"]),
        (15, &["sipp", "sip"]),
    ];
    for (line, words) in wanted {
        let place = format!("broken.toml:{line}:");
        let found = said
            .lines()
            .any(|l| l.contains(&place) && words.iter().all(|w| l.contains(w)));
        assert!(found, "line {line} with {words:?} in:\n{said}");
    }
    assert!(!said.contains("secret"), "no secret is printed:\n{said}");
}

#[test]
fn the_config_of_the_lab_and_the_default_one_are_good() {
    let default = cordboard_tests::switch::checkout().join("config/cordboard.toml");
    let output = Command::new(binary())
        .args(["check", "-c"])
        .arg(&default)
        .output()
        .expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Bytes that look like nothing: a fixed sequence, so that a failure can be repeated.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Sends the bytes to a stream listener and reads what comes until it closes or a moment has passed.
fn throw(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("it still listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    // The switch may hang up in the middle of it, as it should.
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0; 1_024]);
}

fn throw_everywhere(switch: &Switch) {
    let almost = [
        b"INVITE sip:3000@lab.test SIP/2.0\r\n\r\n".as_slice(),
        b"INVITE sip:3000@lab.test SIP/2.0\r\nContent-Length: -5\r\n\r\n",
        b"REGISTER sip:lab.test SIP/2.0\r\nVia: ,,,\r\nTo: <\r\nCSeq: 99999999999999999999 X\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"\r\n\r\n\r\n\r\n\0\0\0\0",
    ];
    let noise = noise(60_000);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for bytes in almost.into_iter().chain(noise.chunks(1_200)) {
        socket.send_to(bytes, switch.sip()).expect("sent");
    }
    for address in [switch.sip(), switch.ws(), switch.http()] {
        for bytes in almost.into_iter().chain([&noise[..], &noise[..100]]) {
            throw(address, bytes);
        }
    }
}

#[test]
fn garbage_on_every_listener_stops_nobody() {
    let _turn = turn();
    let mut switch = Lab::new().start();
    let (alice, bob) = (switch.registered("alice"), switch.phone("bob"));
    let call = alice.call("3000");
    throw_everywhere(&switch);
    let other = bob.call("3000");
    call.rtp.play(440.0);
    cordboard_tests::until(SOON, || (other.rtp.count() > 20).then_some(())).expect("audio still flows");
    assert_eq!(call.hang_up().expect("answered").code(), Some(200));
    assert_eq!(http::get(switch.http(), "/healthz").expect("answered").code, 200);
    assert!(switch.process().wait(Duration::ZERO).is_none(), "it still runs");
    let refused = metric(&switch.metrics(), "cordboard_sip_rejected_total", &[]);
    assert!(refused > 0.0, "what was thrown away is counted");
}
