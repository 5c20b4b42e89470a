//! JsSIP under Node: registers over a WebSocket, writes and is written to.

use std::process::Command;
use std::time::Duration;

use cordboard_tests::client::{Message, display_name};
use cordboard_tests::program::Program;
use cordboard_tests::switch::Lab;

use crate::SOON;
use crate::browser::install;

#[test]
fn jssip_registers_and_messages_go_both_ways() {
    let switch = Lab::new().start();
    let bob = switch.registered("bob");
    let mut command = Command::new("node");
    let url = format!("ws://{}/ws", switch.ws());
    command
        .arg(install().join("node.cjs"))
        .args([&url, "alice", "bob"]);
    let mut jssip = Program::start("jssip", switch.folder(), &mut command).expect("tests/run installs node");
    let is_message = |message: &Message| message.code().is_none() && message.method() == "MESSAGE";
    let got = bob.wait(SOON, is_message);
    let got = got
        .unwrap_or_else(|| panic!("no message from JsSIP:\n{}", jssip.output()))
        .message;
    assert_eq!(got.body, "{\"Body\":\"grüße ☃\"}".as_bytes());
    assert_eq!(
        got.header("Content-Type"),
        Some("application/x-myphone-confbridge-chat+json")
    );
    assert_eq!(display_name(got.header("From").expect("From")), "Ännä \"Q\" ☃");
    let plain = [("Content-Type", "text/plain")];
    let answer = bob
        .request("MESSAGE", "sip:alice@lab.test", &plain, "zurück ☃".as_bytes())
        .expect("answered");
    assert_eq!(answer.code(), Some(200), "{}\n{}", answer.start, jssip.output());
    jssip.expect_success(Duration::from_secs(20));
    for line in ["registered", "answered 200", "written text/plain zurück ☃"] {
        assert!(
            jssip.output().contains(line),
            "{line} is not in\n{}",
            jssip.output()
        );
    }
}
