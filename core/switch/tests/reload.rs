//! SIGHUP: what an operator changes while the switch runs, and what is refused.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::net::UdpSocket;
use std::path::Path;

use nix::sys::signal::Signal;
use support::{Switch, config};
use tempfile::TempDir;

mod support;

/// The status that a query for a user's registrations gets: 401 from strangers, 200 or 404 from who is trusted.
fn query(switch: &Switch, user: &str, number: u32) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "REGISTER sip:lab.test SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKq{number}{user};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@lab.test>;tag=q\r\nTo: <sip:{user}@lab.test>\r\nCall-ID: q{number}{user}\r\n\
         CSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n",
        socket.local_addr().unwrap()
    );
    socket.send_to(text.as_bytes(), switch.address("udp")).unwrap();
    let mut answer = [0; 2000];
    let length = socket.recv(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length])
        .split(' ')
        .nth(1)
        .unwrap()
        .to_owned()
}

const USERS: &str = "sip.realm = \"lab.test\"\nsip.trusted = [\"127.0.0.0/8\"]\n\
    user = [{ id = \"00000000000000000000000000000011\", username = \"alice\", password = \"x\" }]\n";

fn reload(switch: &Switch, outcome: &str) -> Vec<String> {
    switch.signal(Signal::SIGHUP);
    switch.wait_for(outcome)
}

const APPLIED: &str = "the config is reloaded";
const REFUSED: &str = "the config is not reloaded";

#[test]
fn users_and_trust_change_while_it_runs() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.realm = \"lab.test\""));
    assert_eq!(query(&switch, "alice", 1), "401");
    config(&folder, USERS);
    reload(&switch, APPLIED);
    assert_eq!(query(&switch, "alice", 2), "200");
    assert_eq!(query(&switch, "bob", 3), "404");
    config(&folder, &USERS.replace("alice", "bob"));
    reload(&switch, APPLIED);
    assert_eq!(query(&switch, "alice", 4), "404");
    assert_eq!(query(&switch, "bob", 5), "200");
    let metrics = switch.get("/metrics");
    assert!(
        metrics.contains("cordboard_config_reloads_total{outcome=\"applied\"} 2\n"),
        "{metrics}"
    );
    assert_eq!(switch.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_mistake_is_named_and_nothing_of_the_file_is_applied() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.realm = \"lab.test\""));
    config(&folder, &format!("{USERS}[messages]\nmax_sizes = \"1KiB\"\n"));
    let log = reload(&switch, REFUSED);
    assert!(
        log.iter().any(|line| line.contains("messages.max_sizes: unknown key; the nearest known key is `max_size`")),
        "{log:#?}"
    );
    assert_eq!(
        query(&switch, "alice", 1),
        "401",
        "the right part of the file does not hold either"
    );

    std::fs::remove_file(folder.path().join("c.toml")).unwrap();
    let log = reload(&switch, REFUSED);
    assert!(log.iter().any(|line| line.contains("cannot be read")), "{log:#?}");
    let metrics = switch.get("/metrics");
    assert!(
        metrics.contains("cordboard_config_reloads_total{outcome=\"refused\"} 2\n"),
        "{metrics}"
    );
}

#[test]
fn another_listener_is_refused_and_says_that_it_needs_a_restart() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.realm = \"lab.test\""));
    config(
        &folder,
        &format!("{USERS}sip.tcp = [\"127.0.0.1:0\"]\nsip.limits.calls = 1\n"),
    );
    let log = reload(&switch, REFUSED);
    let last = log.last().unwrap();
    assert!(
        last.contains("sip.tcp cannot change while the switch runs: restart it"),
        "{last}"
    );
    assert_eq!(query(&switch, "alice", 1), "401");
}

#[test]
fn plugins_come_and_go() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, ""));
    assert!(switch.get("/readyz").starts_with("HTTP/1.1 200"));
    let ghost = "plugin = [{ name = \"ghost\", wasm = \"/nonexistent/ghost.wasm\" }]\n\
                 hooks.message-filter = [{ plugin = \"ghost\" }]";
    config(&folder, ghost);
    reload(&switch, APPLIED);
    let ready = switch.get("/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("\"name\":\"ghost\""),
        "{ready}"
    );
    config(&folder, "");
    reload(&switch, "the plugin is taken out");
    assert!(switch.get("/readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_log_level_changes() {
    let folder = TempDir::new().unwrap();
    let file = config(&folder, "");
    let switch = Switch::start(&file);
    config(&folder, "log.level = \"error\"");
    // The line that says so is itself below the new level.
    switch.signal(Signal::SIGHUP);
    switch.wait_for_metric("cordboard_config_reloads_total{outcome=\"applied\"} 1", true);
    break_file(&file);
    let log = reload(&switch, REFUSED);
    assert!(!log.iter().any(|line| line == APPLIED), "{log:#?}");
}

fn break_file(file: &Path) {
    std::fs::write(file, "nonsense").unwrap();
}

#[test]
fn a_hangup_while_it_drains_is_heard_as_well() {
    let folder = TempDir::new().unwrap();
    let more = "sip.realm = \"lab.test\"\nsip.trusted = [\"127.0.0.0/8\"]\n\
        conference = [{ id = \"00000000000000000000000000000031\", name = \"A\", conference_numbers = [\"3000\"] }]";
    let file = config(&folder, more);
    // Nobody answers its BYE, so it drains for as long as it may.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"1s\"", "\"1h\"")).unwrap();
    let switch = Switch::start(&file);
    let _phone = call(&switch);
    switch.signal(Signal::SIGTERM);
    switch.wait_for("draining");
    reload(&switch, APPLIED);
    std::fs::write(&file, "nonsense = 1\n").unwrap();
    reload(&switch, REFUSED);
    assert_eq!(switch.end(Signal::SIGTERM).code(), Some(0));
}

/// Calls 3000 and takes part from then on.
fn call(switch: &Switch) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = socket.local_addr().unwrap();
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n";
    let request = |method: &str, to: &str, headers: &str, body: &str| {
        let text = format!(
            "{method} sip:3000@lab.test SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@lab.test>;tag=q\r\nTo: <sip:3000@lab.test>{to}\r\nCall-ID: q\r\n\
             CSeq: 1 {method}\r\nContact: <sip:alice@{own}>\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.send_to(text.as_bytes(), switch.address("udp")).unwrap();
    };
    request("INVITE", "", "Content-Type: application/sdp\r\n", sdp);
    let mut answer = [0; 4000];
    let answer = loop {
        let length = socket.recv(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        if text.starts_with("SIP/2.0 200") {
            break text;
        }
        assert!(text.starts_with("SIP/2.0 1"), "{text}");
    };
    let tag = answer
        .split("\r\nTo: ")
        .nth(1)
        .unwrap()
        .split(";tag=")
        .nth(1)
        .unwrap();
    let tag = tag.split(['\r', ';']).next().unwrap();
    request("ACK", &format!(";tag={tag}"), "", "");
    socket
}
