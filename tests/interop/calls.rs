//! Calls: sipp's own scenarios, users and numbers that are not there, people who may not.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use cordboard_tests::client::{Account, Packet, Phone};
use cordboard_tests::program::Program;
use cordboard_tests::switch::Lab;

use crate::baresip::Baresip;
use crate::{SOON, sipp, turn};

#[test]
fn a_hundred_sipp_callers_join_a_conference_and_leave() {
    let _turn = turn();
    let switch = Lab::new().trust("127.0.0.1/32").start();
    let mut caller = sipp::caller(&switch, 100, 25, &["-sn", "uac", "-s", "3000", "-d", "300"]);
    caller.expect_success(Duration::from_secs(120));
}

#[test]
fn sipp_calls_a_user_whose_phone_is_sipp() {
    let _turn = turn();
    let switch = Lab::new().trust("127.0.0.1/32").start();
    let port = sipp::free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let bob = Phone::udp_at(address, switch.sip(), Account::lab("bob", "secret")).expect("the port is free");
    assert_eq!(bob.register(600).expect("answered").code(), Some(200));
    drop(bob);
    let mut callee = sipp::callee(switch.folder(), port, 50);
    let mut caller = sipp::caller(&switch, 50, 10, &["-sn", "uac", "-s", "bob", "-d", "300"]);
    caller.expect_success(Duration::from_secs(120));
    callee.expect_success(SOON);
}

#[test]
fn two_users_call_each_other_and_hear_each_other() {
    let _turn = turn();
    let switch = Lab::new().start();
    let (alice, bob) = (switch.registered("alice"), switch.registered("bob"));
    let call = alice.call("bob");
    let other = bob.incoming(SOON).expect("bob's phone rings");
    call.rtp.play(440.0);
    other.rtp.play(1_000.0);
    let talked = || (call.rtp.count() > 60 && other.rtp.count() > 60).then_some(());
    cordboard_tests::until(SOON, talked).expect("audio both ways");
    let level = cordboard_tests::tone::peak_level;
    assert!(level(&call.rtp.samples(0), 1_000.0) > 0.1 && level(&other.rtp.samples(0), 440.0) > 0.1);
    assert_eq!(call.hang_up().expect("answered").code(), Some(200));
    assert!(
        other.wait_request(SOON, "BYE").is_some(),
        "the other side is told"
    );
}

#[test]
fn a_busy_user_is_busy() {
    let switch = Lab::new().start();
    let (alice, bob) = (switch.registered("alice"), switch.registered("bob"));
    bob.answer_calls(false);
    let refused = alice.try_call("bob").expect("answered").expect_err("bob is busy");
    assert_eq!(refused.code(), Some(486));
}

#[test]
fn sipsak_gets_an_answer_to_options() {
    let switch = Lab::new().start();
    let mut command = Command::new("sipsak");
    command.args(["-vv", "-s", &format!("sip:3000@{}", switch.sip())]);
    let mut sipsak =
        Program::start("sipsak", switch.folder(), &mut command).expect("tests/run installs sipsak");
    sipsak.expect_success(SOON);
    assert!(sipsak.output().contains("SIP/2.0 200"), "{}", sipsak.output());
}

#[test]
fn who_is_not_there_is_404_and_who_may_not_is_401_or_403() {
    let switch = Lab::new().start();
    let alice = switch.registered("alice");
    for (method, target) in [
        ("INVITE", "sip:nobody@lab.test"),
        ("MESSAGE", "sip:nobody@lab.test"),
    ] {
        let answer = alice
            .request(method, target, &[("Content-Type", "text/plain")], b"x")
            .expect("answered");
        assert_eq!(answer.code(), Some(404), "{method}: {}", answer.start);
    }
    let unanswered = alice
        .try_call("bob")
        .expect("answered")
        .expect_err("bob has no phone");
    assert!(
        matches!(unanswered.code(), Some(404 | 480)),
        "{}",
        unanswered.start
    );

    let stranger = Phone::udp(switch.sip(), Account::lab("mallory", "guess")).expect("a socket");
    let liar = Phone::udp(switch.sip(), Account::lab("alice", "wrong")).expect("a socket");
    for phone in [&stranger, &liar] {
        let registered = phone.register(600).expect("answered");
        assert!(
            matches!(registered.code(), Some(401 | 403)),
            "{}",
            registered.start
        );
        let called = phone
            .try_call("3000")
            .expect("answered")
            .expect_err("nobody lets them in");
        assert!(matches!(called.code(), Some(401 | 403 | 407)), "{}", called.start);
        let message = [("Content-Type", "text/plain")];
        let written = phone
            .request("MESSAGE", "sip:alice@lab.test", &message, b"x")
            .expect("answered");
        assert!(
            matches!(written.code(), Some(401 | 403 | 407)),
            "{}",
            written.start
        );
    }
    assert!(
        alice
            .heard(|m| m.code().is_none() && m.method() == "MESSAGE")
            .is_empty(),
        "nothing of it reached anybody"
    );
}

/// The witness itself is witnessed: without a switch between them.
#[test]
fn our_phone_and_sipp_understand_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = sipp::free_port();
    let mut callee = sipp::callee(folder.path(), port, 1);
    let sipp_at = SocketAddr::from(([127, 0, 0, 1], port));
    let phone = Phone::udp(sipp_at, Account::lab("alice", "secret")).expect("a socket");
    let call = phone.call("anybody");
    assert_eq!(call.hang_up().expect("answered").code(), Some(200));
    callee.expect_success(SOON);

    let caller_port = sipp::free_port();
    let caller_at = SocketAddr::from(([127, 0, 0, 1], caller_port));
    let phone = Phone::udp(caller_at, Account::lab("bob", "secret")).expect("a socket");
    let mut command = Command::new("sipp");
    command.args([
        &phone.local().expect("bound").to_string(),
        "-sn",
        "uac",
        "-i",
        "127.0.0.1",
        "-m",
        "1",
    ]);
    command.args([
        "-p",
        &caller_port.to_string(),
        "-nostdin",
        "-timeout",
        "30s",
        "-timeout_error",
    ]);
    let mut caller = Program::start("sipp", folder.path(), &mut command).expect("tests/run installs sipp");
    let incoming = phone.incoming(SOON).expect("sipp calls");
    caller.expect_success(SOON);
    assert!(incoming.wait_request(SOON, "BYE").is_some());
}

/// Which way the audio is to flow, as the last INVITE that a phone got says.
fn direction(phone: &Phone) -> Option<String> {
    let invites = phone.heard(|message| message.code().is_none() && message.method() == "INVITE");
    let last = invites.last()?.message.body.clone();
    let text = String::from_utf8(last).ok()?;
    let ways = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let said = text
        .lines()
        .find_map(|line| line.strip_prefix("a=").filter(|way| ways.contains(way)));
    Some(said.unwrap_or("sendrecv").to_owned())
}

#[test]
fn baresip_holds_and_resumes_and_its_keys_reach_the_other_phone() {
    let _turn = turn();
    let switch = Lab::new().start();
    let bob = switch.registered("bob");
    let baresip = Baresip::call(&switch, "alice", "bob", 0.0, 40);
    let call = bob.incoming(SOON).expect("bob's phone rings");
    baresip.expect("Call established");
    let flows = |way: &str| {
        let said = || (direction(&bob).as_deref() == Some(way)).then_some(());
        cordboard_tests::until(SOON, said).unwrap_or_else(|| panic!("{:?}, not {way}", direction(&bob)));
    };
    baresip.press('x');
    flows("sendonly");
    baresip.press('X');
    flows("sendrecv");

    // Bob's phone takes telephone events (RFC 4733): the key 5 reaches it as event 5, pressed once and ended.
    baresip.press('5');
    let events = || {
        let events = call.rtp.packets().into_iter().filter(|p| p.payload_type == 101);
        let ended = |p: &Packet| matches!(p.payload[..], [5, flags, ..] if flags & 0x80 != 0);
        let events: Vec<Packet> = events.collect();
        events.iter().any(ended).then_some(events)
    };
    let events = cordboard_tests::until(SOON, events).expect("the key is heard");
    assert!(
        events.iter().all(|p| p.timestamp == events[0].timestamp),
        "one press"
    );
    assert_eq!(call.hang_up().expect("answered").code(), Some(200));
}
