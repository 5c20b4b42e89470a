//! Registrations: both digests, by sipp and by our own phone; UDP, TCP and WebSocket.

use std::time::Duration;

use cordboard_tests::client::{Account, Algorithm, Message, Phone};
use cordboard_tests::switch::{Lab, Switch};

use crate::{SOON, sipp, turn};

#[test]
fn sipp_registers_with_md5() {
    let _turn = turn();
    let switch = Lab::new().start();
    let file = sipp::scenario("register.xml");
    let file = file.to_str().expect("a plain path");
    let arguments = ["-sf", file, "-s", "alice", "-ap", "secret"];
    sipp::caller(&switch, 50, 25, &arguments).expect_success(Duration::from_secs(60));
}

#[test]
fn a_phone_registers_with_md5_and_with_sha256_and_only_with_the_right_password() {
    let switch = Lab::new().start();
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let phone = switch.phone("alice");
        phone.prefer(algorithm);
        let answer = phone.register(600).expect("answered");
        assert_eq!(answer.code(), Some(200), "{algorithm:?}: {}", answer.start);
        assert!(
            answer.all("Contact").any(|c| c.contains("expires=")),
            "the binding and its life: {answer:?}"
        );
        let wrong = Phone::udp(switch.sip(), Account::lab("alice", "wrong")).expect("a socket");
        wrong.prefer(algorithm);
        let refused = wrong.register(600).expect("answered");
        assert!(
            matches!(refused.code(), Some(401 | 403)),
            "{algorithm:?}: {}",
            refused.start
        );
    }
}

#[test]
fn a_registration_can_be_taken_back() {
    let switch = Lab::new().start();
    let (alice, bob) = (switch.registered("alice"), switch.registered("bob"));
    assert_eq!(bob.register(0).expect("answered").code(), Some(200));
    let refused = alice
        .try_call("bob")
        .expect("answered")
        .expect_err("no phone is left");
    assert!(matches!(refused.code(), Some(404 | 480)), "{}", refused.start);
}

/// Registers a phone over another transport, writes to it and lets it write.
fn serves(switch: &Switch, phone: &Phone) {
    let answer = phone.register(600).expect("answered");
    assert_eq!(answer.code(), Some(200), "{}", answer.start);
    let alice = switch.registered("alice");
    let plain = [("Content-Type", "text/plain;charset=utf-8")];
    let to_them = alice
        .request("MESSAGE", "sip:bob@lab.test", &plain, "grüße".as_bytes())
        .expect("answered");
    assert_eq!(
        to_them.code(),
        Some(200),
        "bob's own answer is relayed: {}",
        to_them.start
    );
    let is_message = |m: &Message| m.code().is_none() && m.method() == "MESSAGE";
    let got = phone.wait(SOON, is_message).expect("bob has it").message;
    assert_eq!(got.body, "grüße".as_bytes());
    assert_eq!(got.header("Content-Type"), Some("text/plain;charset=utf-8"));
    let back = phone
        .request("MESSAGE", "sip:alice@lab.test", &plain, b"thanks")
        .expect("answered");
    assert_eq!(back.code(), Some(200), "{}", back.start);
    assert_eq!(
        alice.wait(SOON, is_message).expect("alice has it").message.body,
        b"thanks"
    );
}

#[test]
fn a_phone_on_udp_registers_and_writes() {
    let switch = Lab::new().start();
    serves(&switch, &switch.phone("bob"));
}

#[test]
fn a_phone_on_tcp_registers_and_writes() {
    let switch = Lab::new().start();
    serves(
        &switch,
        &Phone::tcp(switch.sip(), Account::lab("bob", "secret")).expect("connected"),
    );
}

#[test]
fn a_phone_on_a_websocket_registers_and_writes() {
    let switch = Lab::new().start();
    serves(
        &switch,
        &Phone::ws(switch.ws(), Account::lab("bob", "secret")).expect("connected"),
    );
}

#[test]
fn a_call_over_tcp_joins_the_conference() {
    let _turn = turn();
    let switch = Lab::new().start();
    let bob = Phone::tcp(switch.sip(), Account::lab("bob", "secret")).expect("connected");
    let (call, alice) = (bob.call("3000"), switch.phone("alice"));
    let other = alice.call("3000");
    other.rtp.play(440.0);
    cordboard_tests::until(SOON, || {
        (cordboard_tests::tone::peak_level(&call.rtp.samples(0), 440.0) > 0.1).then_some(())
    })
    .expect("bob hears alice");
    assert_eq!(call.hang_up().expect("answered").code(), Some(200));
}
