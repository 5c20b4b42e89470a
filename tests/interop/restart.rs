//! Ends: kill -9 loses nothing that was promised, SIGTERM lets people finish.

use std::time::{Duration, Instant};

use cordboard_tests::http;
use cordboard_tests::switch::Lab;
use nix::sys::signal::Signal;

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
}
