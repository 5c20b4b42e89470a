//! Ends: kill -9 loses nothing that was promised, SIGTERM lets people finish.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cordboard_tests::http;
use cordboard_tests::switch::{Lab, Switch};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{SOON, long, turn};

#[test]
fn registrations_survive_kill_9() {
    let _turn = turn();
    let mut switch = Lab::new().start();
    let bob = switch.registered("bob");
    for _ in 0..if long() { 100 } else { 2 } {
        // The kill comes right after the 200: what was acknowledged is on disk.
        assert_eq!(bob.register(600).expect("answered").code(), Some(200));
        switch.kill();
        switch.run();
        let alice = switch.phone("alice");
        let call = alice.call("bob");
        let other = bob
            .incoming(SOON)
            .expect("the call reaches the contact of before");
        assert_eq!(call.hang_up().expect("answered").code(), Some(200));
        assert!(other.wait_request(SOON, "BYE").is_some());
    }
}

#[test]
fn a_call_that_kill_9_cuts_off_has_one_record_after_the_next_start() {
    let _turn = turn();
    let mut switch = Lab::new().start();
    let (alice, bob) = (switch.registered("alice"), switch.registered("bob"));
    let over = alice.call("3000");
    assert_eq!(over.hang_up().expect("answered").code(), Some(200));
    let call = alice.call("bob");
    let other = bob.incoming(SOON).expect("it rings");
    let written = || (records(&switch).len() == 1).then_some(());
    cordboard_tests::until(SOON, written).expect("the record of the call before");
    // What was handed to the store before this is on disk with it.
    assert_eq!(bob.register(600).expect("answered").code(), Some(200));
    switch.kill();
    drop((call, other));
    for start in ["first", "second"] {
        switch.run();
        let written = || (records(&switch).len() >= 3).then(|| records(&switch));
        let records = cordboard_tests::until(SOON, written).expect("the records of both sides");
        let of = |reason: &str| records.iter().filter(|record| record["reason"] == reason).count();
        assert_eq!(
            (records.len(), of("hung_up"), of("cut_off")),
            (3, 1, 2),
            "{start}: {records:?}"
        );
        for record in records.iter().filter(|record| record["reason"] == "cut_off") {
            assert_eq!(
                (&record["status"], &record["number"]),
                (&json!(200), &json!("bob")),
                "{record}"
            );
            assert_eq!(record["session"], records[1]["session"], "{record}");
            assert!(record["ended"].is_null() && record["media"].is_null(), "{record}");
            let (answered, alive) = (record["answered"].as_f64(), record["last_alive"].as_f64());
            assert!(answered.is_some() && alive >= answered, "{record}");
        }
        let counted = switch
            .metrics()
            .contains("cordboard_calls_ended_total{reason=\"cut_off\"} 2");
        assert_eq!(counted, start == "first");
        if start == "first" {
            // A clean stop, so that all that the second start could find is on disk.
            switch.process().signal(Signal::SIGTERM).expect("it runs");
            assert_eq!(
                switch.process().wait(SOON).and_then(|s| s.code()),
                Some(0),
                "{}",
                switch.log()
            );
            switch.kill();
        }
    }
}

#[test]
fn kill_9_while_calls_end_makes_no_record_twice_and_loses_none() {
    let _turn = turn();
    let mut switch = Lab::new().start();
    let mut calls = 0;
    for round in 0..if long() { 50 } else { 2 } {
        let phones = ["alice", "bob", "carol", "dave"].map(|user| switch.registered(user));
        let lines: Vec<_> = phones.iter().map(|phone| phone.call("3000")).collect();
        calls += lines.len();
        // What was handed to the store before this is on disk with it.
        assert_eq!(phones[0].register(600).expect("answered").code(), Some(200));
        for line in &lines[..1 + round % lines.len()] {
            assert_eq!(line.hang_up().expect("answered").code(), Some(200));
        }
        switch.kill();
        switch.run();
        let all = || (records(&switch).len() >= calls).then(|| records(&switch));
        let all = cordboard_tests::until(SOON, all).expect("a record of each call");
        let ids: BTreeSet<_> = all.iter().map(|record| record["id"].to_string()).collect();
        assert_eq!((all.len(), ids.len()), (calls, calls), "{all:?}");
    }
}

/// The lines of the file of call records.
fn records(switch: &Switch) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(switch.folder().join("data/cdr.jsonl")).unwrap_or_default();
    let whole = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    whole.collect()
}

#[test]
fn sigterm_lets_calls_end_and_then_ends_them_with_a_reason() {
    let _turn = turn();
    let mut switch = Lab::new().drain("3s").start();
    let (alice, bob) = (switch.registered("alice"), switch.phone("bob"));
    let call = alice.call("3000");
    let began = Instant::now();
    switch.process().signal(Signal::SIGTERM).expect("it runs");
    let draining = || {
        http::get(switch.http(), "/readyz")
            .is_ok_and(|a| a.code == 503)
            .then_some(())
    };
    cordboard_tests::until(SOON, draining).expect("/readyz says 503 while it drains");
    let refused = bob.try_call("3000").expect("answered").expect_err("no new calls");
    assert_eq!(refused.code(), Some(503), "{}", refused.start);
    let bye = call.wait_request(SOON, "BYE").expect("the phone is told").message;
    assert!(bye.header("Reason").is_some_and(|r| !r.is_empty()), "{bye:?}");
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "the call had the better part of the drain time"
    );
    let status = switch.process().wait(SOON);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "it ends within the drain time"
    );
    assert_eq!(status.and_then(|s| s.code()), Some(0), "{}", switch.log());
}

#[test]
fn sigterm_without_calls_ends_at_once_and_a_second_one_cuts_the_drain_short() {
    let mut idle = Lab::new().drain("60s").start();
    idle.process().signal(Signal::SIGTERM).expect("it runs");
    assert_eq!(
        idle.process().wait(SOON).and_then(|s| s.code()),
        Some(0),
        "nothing to wait for"
    );

    let mut busy = Lab::new().drain("60s").start();
    let (alice, bob) = (busy.phone("alice"), busy.phone("bob"));
    let (call, other) = (alice.call("3000"), bob.call("3000"));
    busy.process().signal(Signal::SIGTERM).expect("it runs");
    assert!(
        busy.process().wait(Duration::from_secs(1)).is_none(),
        "it waits for the call"
    );
    let began = Instant::now();
    busy.process().signal(Signal::SIGTERM).expect("it runs");
    let ended = busy.process().wait(SOON).and_then(|status| status.code());
    assert_eq!(ended, Some(0), "the second signal ends it");
    assert!(began.elapsed() < Duration::from_secs(3), "and soon");
    for call in [call, other] {
        call.wait_request(SOON, "BYE").expect("its phone is told");
    }
    let reasons = |records: Vec<serde_json::Value>| -> Vec<_> {
        records
            .iter()
            .map(|record| record["reason"].to_string())
            .collect()
    };
    assert_eq!(reasons(records(&busy)), ["\"shutdown\""; 2]);
    busy.kill();
    busy.run();
    assert!(!busy.metrics().contains("cut_off"), "no call was left behind");
}
