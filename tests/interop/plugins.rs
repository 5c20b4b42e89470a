//! Plugins in the path of messages: the bundled ones do their work, hostile ones spoil nothing.

use std::time::{Duration, Instant};

use cordboard_tests::client::{Call, Note, longest_gap};
use cordboard_tests::http::metric;
use cordboard_tests::switch::{Lab, Switch};
use cordboard_tests::until;

use crate::{SOON, turn};

/// What a phone's ear notices: two packets of 20 ms that never came.
const GAP: Duration = Duration::from_millis(40);
/// How long a plugin may take.
const DEADLINE: &str = "20ms";

#[test]
fn a_configured_word_arrives_masked() {
    let _turn = turn();
    let switch = Lab::new()
        .plugin(
            "word-filter",
            "plugins/word-filter",
            "config = { words = [\"darn\"] }\ngrants = [\"log\", \"kv\"]",
        )
        .filter("word-filter", DEADLINE, "refuse")
        .start();
    let phones = ["alice", "bob", "carol"].map(|user| switch.phone(user));
    let calls = phones.each_ref().map(|phone| phone.call("3000"));
    let note = Note {
        content_type: Some("application/x-myphone-confbridge-chat+json"),
        display_name: Some("Ännä \"Q\" ☃"),
        body: b"{\"Body\":\"oh darn it\"}",
        ..Note::default()
    };
    assert_eq!(calls[0].send(&note).expect("answered").code(), Some(202));
    for call in &calls[1..] {
        let copy = call.wait_message(SOON, |_| true).expect("a copy").message;
        let text = String::from_utf8(copy.body.clone()).expect("still text");
        assert!(
            !text.contains("darn") && text.starts_with("{\"Body\":\"oh ") && text.ends_with(" it\"}"),
            "{text}"
        );
        let from = copy.header("From").expect("From");
        assert_eq!(cordboard_tests::client::display_name(from), "Ännä \"Q\" ☃");
    }
    let seen = metric(
        &switch.metrics(),
        "cordboard_hook_verdicts_total",
        &["plugin=\"word-filter\""],
    );
    assert!(seen >= 1.0, "the verdict is counted");
}

#[test]
fn outside_office_hours_nobody_gets_in() {
    let _turn = turn();
    let closed = |open: &str| {
        let keys = format!("config = {{ open = \"{open}\" }}\ngrants = [\"log\", \"time\"]");
        Lab::new()
            .plugin("office-hours", "plugins/office-hours", &keys)
            .policy("office-hours", DEADLINE, "refuse")
            .start()
    };
    let open = closed("00:00-24:00");
    let alice = open.phone("alice");
    let call = alice.try_call("3000").expect("answered").expect("open all day");
    assert_eq!(call.hang_up().expect("answered").code(), Some(200));
    drop(open);
    // A minute that is not now: the test cannot fall into it, whatever the time is.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let hour = (now / 3_600 + 12) % 24;
    let shut = closed(&format!("{hour:02}:00-{hour:02}:01"));
    let refused = shut
        .phone("alice")
        .try_call("3000")
        .expect("answered")
        .expect_err("closed");
    assert!(
        refused.code().is_some_and(|c| (400..700).contains(&c)),
        "{}",
        refused.start
    );
}

/// How it went while a hostile plugin was asked about messages.
#[derive(Debug)]
struct Ordeal {
    codes: Vec<u16>,
    arrived: usize,
    slowest: Duration,
    gap: Duration,
}

/// Alice writes 20 messages into a call in which bob listens to her tone.
fn write_under(switch: &Switch) -> Ordeal {
    let (alice, bob, carol) = (switch.phone("alice"), switch.phone("bob"), switch.phone("carol"));
    let (call, other, third) = (alice.call("3000"), bob.call("3000"), carol.call("3000"));
    call.rtp.play(440.0);
    cordboard_tests::until(SOON, || (other.rtp.count() > 100).then_some(())).expect("audio flows before");
    let from = other.rtp.count();
    let mut ordeal = Ordeal {
        codes: Vec::new(),
        arrived: 0,
        slowest: Duration::ZERO,
        gap: Duration::ZERO,
    };
    for n in 0..20 {
        let sent = Instant::now();
        let answer = call.send(&Note::text(&format!("message {n}"))).expect("answered");
        ordeal.slowest = ordeal.slowest.max(sent.elapsed());
        ordeal.codes.extend(answer.code());
        std::thread::sleep(Duration::from_millis(30));
    }
    let until = other.rtp.count() + 50;
    cordboard_tests::until(SOON, || (other.rtp.count() > until).then_some(())).expect("audio goes on");
    ordeal.gap = longest_gap(&other.rtp.packets()[from..]).expect("audio went on");
    let copies = |call: &Call| call.messages().len();
    // All copies that will come have come when both legs have the same number for a second.
    cordboard_tests::until(SOON, || (copies(&other) == copies(&third)).then_some(()));
    ordeal.arrived = copies(&other);
    assert_eq!(copies(&other), copies(&third), "both legs get the same");
    ordeal
}

/// A plugin that does its worst at every message: `act` as tests/plugins/hostile names it.
fn hostile(act: &str, on_failure: &str) {
    let _turn = turn();
    let switch = Lab::new()
        .plugin(
            "hostile",
            "tests/plugins/hostile",
            &format!("config = {{ act = \"{act}\" }}\ngrants = [\"kv\", \"log\", \"time\"]"),
        )
        .filter("hostile", DEADLINE, on_failure)
        .start();
    let mut ordeal = write_under(&switch);
    if ordeal.gap > GAP {
        // Another process may have had the cores for a moment; twice in a row it is ours.
        eprintln!("{act}: a gap of {:?}, once more", ordeal.gap);
        ordeal = write_under(&switch);
    }
    let wanted = if on_failure == "pass" { (202, 20) } else { (500, 0) };
    assert!(
        ordeal.codes.iter().all(|c| *c == wanted.0),
        "{act}, {on_failure}: {ordeal:?}"
    );
    assert_eq!(ordeal.arrived, wanted.1, "{act}, {on_failure}: {ordeal:?}");
    assert!(
        ordeal.slowest < Duration::from_millis(500),
        "the deadline of {DEADLINE} holds: {ordeal:?}"
    );
    assert!(ordeal.gap <= GAP, "{act}, {on_failure}: {ordeal:?}");
    println!(
        "{act}, on_failure = {on_failure}: longest gap {:?}, slowest answer {:?}",
        ordeal.gap, ordeal.slowest
    );
}

#[test]
fn a_plugin_that_loops_for_ever_lets_messages_pass_and_audio_flow() {
    hostile("spin", "pass");
}

#[test]
fn a_plugin_that_loops_for_ever_refuses_messages_where_so_configured() {
    hostile("spin", "refuse");
}

#[test]
fn a_plugin_that_bombs_memory_lets_messages_pass_and_audio_flow() {
    hostile("bomb", "pass");
}

#[test]
fn a_plugin_that_bombs_memory_refuses_messages_where_so_configured() {
    hostile("bomb", "refuse");
}

#[test]
fn a_plugin_that_traps_lets_messages_pass_and_audio_flow() {
    hostile("trap", "pass");
}

#[test]
fn a_plugin_that_traps_refuses_messages_where_so_configured() {
    hostile("trap", "refuse");
}

#[test]
fn a_plugin_says_where_a_call_goes_and_one_that_hangs_does_not_keep_callers_out() {
    let _turn = turn();
    let routed = |act: &str, on_failure: &str| {
        let keys = format!("config = {{ act = \"{act}\" }}\ngrants = [\"kv\", \"log\", \"time\"]");
        Lab::new()
            .plugin("hostile", "tests/plugins/hostile", &keys)
            .router("hostile", DEADLINE, on_failure)
            .start()
    };
    let dialled = |switch: &Switch, number: &str| {
        let alice = switch.phone("alice");
        let answer = alice.try_call(number).expect("answered");
        answer.map_or_else(
            |refusal| refusal.code(),
            |call| call.hang_up().expect("answered").code(),
        )
    };
    for (act, on_failure, number, code) in [
        ("conference 3000", "refuse", "4711", 200),
        ("refuse", "pass", "3000", 403),
        ("spin", "pass", "3000", 200),
        ("trap", "refuse", "3000", 500),
    ] {
        let switch = routed(act, on_failure);
        assert_eq!(dialled(&switch, number), Some(code), "{act}, {on_failure}");
        // Who hangs is counted when its worker sees it, which may be after the call was answered without it.
        let counted = until(Duration::from_secs(10), || {
            let labels = ["hook=\"call-router\""];
            (metric(&switch.metrics(), "cordboard_hook_verdicts_total", &labels) >= 1.0).then_some(())
        });
        assert!(counted.is_some(), "{act}: the verdict is counted");
    }
}
