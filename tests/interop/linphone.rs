//! linphonec: registers, calls a conference and speaks there, writes to a user and is written to.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use cordboard_tests::client::Message;
use cordboard_tests::program::Program;
use cordboard_tests::switch::{Lab, Switch};

use crate::sipp::free_port;
use crate::{SOON, turn};

/// A linphonec of alice's that waits for commands.
fn start(switch: &Switch) -> Program {
    let home = switch.folder().join("linphone");
    for folder in [".local/share/linphone", ".config/linphone"] {
        std::fs::create_dir_all(home.join(folder)).expect("a new folder");
    }
    let proxy = switch.sip().ip();
    let mut text = String::new();
    let _ = write!(
        text,
        "[sip]\nsip_port={}\nsip_tcp_port=0\nsip_tls_port=0\ndefault_proxy=0\nguess_hostname=0\n\
         contact=\"Alice\" <sip:alice@127.0.0.1>\n[rtp]\naudio_rtp_port={}\n[net]\nmtu=0\n\
         [proxy_0]\nreg_proxy=<sip:{proxy};transport=udp>\nreg_route=<sip:{proxy};transport=udp;lr>\n\
         reg_identity=sip:alice@lab.test\nreg_expires=600\nreg_sendregister=1\n\
         [auth_info_0]\nusername=alice\npasswd=secret\nrealm=lab.test\n",
        free_port(),
        free_port(),
    );
    std::fs::write(home.join("rc"), text).expect("written");
    // Otherwise it keeps what it says until it ends.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "linphonec"]);
    command.env("HOME", &home).arg("-c").arg(home.join("rc"));
    let mut linphone =
        Program::start_with_input("linphonec", switch.folder(), &mut command).expect("tests/run installs it");
    linphone.say("soundcard use files").expect("it listens");
    linphone
}

fn expect(linphone: &Program, words: &str) {
    let seen = || linphone.output().contains(words).then_some(());
    cordboard_tests::until(SOON, seen).unwrap_or_else(|| panic!("no {words:?} in\n{}", linphone.output()));
}

#[test]
fn linphonec_registers_calls_and_writes() {
    let _turn = turn();
    let switch = Lab::new().start();
    let bob = switch.registered("bob");
    let mut linphone = start(&switch);
    let registered = || {
        let answer = bob.request(
            "MESSAGE",
            "sip:alice@lab.test",
            &[("Content-Type", "text/plain")],
            b"hello alice",
        );
        (answer.ok()?.code() == Some(200)).then_some(())
    };
    cordboard_tests::until(SOON, registered).expect("alice is registered and takes messages");
    expect(&linphone, "hello alice");

    let call = bob.call("3000");
    linphone.say("call sip:3000@lab.test").expect("it listens");
    expect(&linphone, "Media streams established");
    let from = call.rtp.count();
    cordboard_tests::until(SOON, || (call.rtp.count() > from + 50).then_some(())).expect("audio flows");
    linphone.say("terminate").expect("it listens");
    expect(&linphone, "ended (No error)");

    linphone
        .say("chat sip:bob@lab.test hello bob")
        .expect("it listens");
    let is_message = |message: &Message| message.code().is_none() && message.method() == "MESSAGE";
    let got = bob.wait(SOON, is_message).expect("bob is written to").message;
    assert!(
        String::from_utf8_lossy(&got.body).contains("hello bob"),
        "{got:?}"
    );
    linphone.say("unregister").expect("it listens");
    linphone.say("quit").expect("it listens");
    linphone.wait(Duration::from_secs(20)).expect("it quits");
}
