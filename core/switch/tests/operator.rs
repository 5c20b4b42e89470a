//! The binary as an operator meets it: checking, starting, readiness, ending, and what it says when
//! something is wrong.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Switch, config, cordboard};
use tempfile::TempDir;

mod support;

fn run(arguments: &[&str], file: &Path) -> Output {
    cordboard(arguments).arg("-c").arg(file).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_says_ok_or_every_mistake() {
    let folder = TempDir::new().unwrap();
    let good = run(&["check"], &config(&folder, ""));
    assert!(good.status.success());
    assert!(
        text(&good.stdout).contains("c.toml: ok: 1 SIP address, 1 account"),
        "{}",
        text(&good.stdout)
    );

    let bad = config(&folder, "[[user]]\nid = \"x\"\nusername = \"alice\"\nfoo = 1\n");
    let checked = run(&["check"], &bad);
    assert_eq!(checked.status.code(), Some(1));
    let told = text(&checked.stdout);
    for part in [
        "user[0].id:",
        "user[0].password: missing",
        "user[0].foo: unknown key",
        "3 mistakes",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let started = run(&["run"], &bad);
    assert_eq!(started.status.code(), Some(1), "it does not start either");
    assert_eq!(text(&started.stderr), told);
    assert!(!folder.path().join("data").exists(), "nothing was touched");
}

#[test]
fn the_log_says_which_network_is_banned() {
    let folder = TempDir::new().unwrap();
    for (listen, banned) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::/64")] {
        if TcpListener::bind(listen).is_err() {
            continue; // a machine without IPv6
        }
        let file = config(&folder, "sip.abuse.ban_after = 1");
        let one = std::fs::read_to_string(&file).unwrap();
        std::fs::write(
            &file,
            one.replace(
                "http.listen = [\"127.0.0.1:0\"]",
                &format!("http.listen = [\"{listen}\"]"),
            ),
        )
        .unwrap();
        let switch = Switch::start(&file);
        let mut stream = TcpStream::connect(switch.address("HTTP")).unwrap();
        stream
            .write_all(
                b"GET /v1/bans HTTP/1.1\r\nHost: x\r\nX-Auth-Token: guessed\r\nConnection: close\r\n\r\n",
            )
            .unwrap();
        let line = switch.wait_for_line("a source gets no answers");
        assert_eq!(line["source"], banned);
    }
}

#[test]
fn it_serves_until_it_is_told_to_end() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, ""));
    assert!(switch.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(switch.get("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = switch.get("/metrics");
    assert!(
        metrics.contains("cordboard_build_info{version=\"0.1.0\",node=\"t\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("cordboard_shard_busy_ratio{shard=\"0\"}"),
        "{metrics}"
    );
    assert_eq!(switch.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_plugin_that_cannot_be_had_keeps_it_unready_but_serving() {
    let folder = TempDir::new().unwrap();
    let more = "plugin = [{ name = \"ghost\", wasm = \"/nonexistent/ghost.wasm\" }]\n\
                hooks.message-filter = [{ plugin = \"ghost\" }]";
    let switch = Switch::start(&config(&folder, more));
    let ready = switch.get("/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("\"name\":\"ghost\""),
        "{ready}"
    );
    assert!(switch.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(
        switch
            .get("/metrics")
            .contains("cordboard_plugin_ready{plugin=\"ghost\"} 0\n")
    );
}

#[test]
fn a_wrong_level_in_the_environment_is_told_and_not_taken_for_silence() {
    let folder = TempDir::new().unwrap();
    let file = config(&folder, "");
    let mut command = cordboard(&["run", "-c"]);
    let output = command.arg(&file).env("CORDBOARD_LOG", "inf").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains("CORDBOARD_LOG: \"inf\" is no level; the nearest is \"info\""),
        "{told}"
    );
}

#[test]
fn the_last_line_is_one_of_the_log() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let text = |level: &str| {
        format!(
            "node.data_dir = \"{}\"\nsip.udp = [\"192.0.2.1:5060\"]\nmedia = {{ shards = 1, webrtc_port = 0 }}\n\
         log = {{ level = \"{level}\", format = \"json\" }}\n",
            data.display()
        )
    };
    let file = folder.path().join("x.toml");
    let last = |level: &str| {
        std::fs::write(&file, text(level)).unwrap();
        let output = run(&["run"], &file);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        told.lines().next_back().unwrap().to_owned()
    };
    let line: serde_json::Value = serde_json::from_str(&last("info")).unwrap();
    assert_eq!(line["level"], "ERROR");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("cannot listen on 192.0.2.1:5060"), "{message}");
    // Nothing at all would be worse than a line of another form.
    assert!(last("off").starts_with("cordboard: cannot listen on"));
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = config(&folder, "");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let database = data.join("cordboard.db");
    std::fs::write(&database, "rubbish".repeat(1000)).unwrap();
    let output = run(&["run"], &file);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains("cordboard.db is damaged") && told.contains("nothing was changed"),
        "{told}"
    );
    assert_eq!(
        std::fs::read_to_string(&database).unwrap(),
        "rubbish".repeat(1000)
    );
}

#[test]
fn a_second_switch_does_not_share_a_data_folder() {
    let folder = TempDir::new().unwrap();
    let file = config(&folder, "");
    let _first = Switch::start(&file);
    let second = run(&["run"], &file);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains("in use by another running switch"),
        "{}",
        text(&second.stderr)
    );
}

#[test]
fn no_password_reaches_log_or_check() {
    let folder = TempDir::new().unwrap();
    let more = "log.level = \"trace\"\nuser = [{ id = \"00000000000000000000000000000011\", username = \"alice\", password = \"open-sesame\" }]";
    let file = config(&folder, more);
    let checked = run(&["check"], &file);
    assert!(!text(&checked.stdout).contains("open-sesame"));
    let mut child = cordboard(&["run", "-c"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    while !log.contains("the switch is up") {
        assert!(reader.read_line(&mut log).unwrap() > 0, "the switch ended: {log}");
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    reader.read_to_string(&mut log).unwrap();
    child.wait().unwrap();
    assert!(!log.contains("open-sesame"));
}

#[test]
fn a_phone_that_keeps_its_nat_open_by_stun_is_told_its_address_on_the_sip_port() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, ""));
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let request = b"\0\x01\0\0\x21\x12\xa4\x42twelve bytes";
    phone.send_to(request, switch.address("udp")).unwrap();
    let mut answer = [0; 100];
    let (len, from) = phone.recv_from(&mut answer).unwrap();
    assert_eq!(from, switch.address("udp"));
    let port = phone.local_addr().unwrap().port() ^ 0x2112;
    let address = [127 ^ 0x21, 0x12, 0xa4, 1 ^ 0x42];
    let mut expected = b"\x01\x01\0\x0c\x21\x12\xa4\x42twelve bytes\0\x20\0\x08\0\x01".to_vec();
    expected.extend(port.to_be_bytes());
    expected.extend(address);
    assert_eq!(answer[..len], expected);
    switch.wait_for_metric("cordboard_sip_stun_keep_alives_total 1", true);
    assert!(switch.end(Signal::SIGTERM).success());
}
