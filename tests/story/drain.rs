//! The switch goes down in good order.

use std::time::Duration;

use cordboard_engine::io::Input;
use cordboard_engine::sip::name::Name;

use crate::phone::Phone;
use crate::reoffer::held;
use crate::world::World;

#[test]
fn calls_go_on_until_the_deadline_and_then_hear_why_they_end() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    alice.call(&mut world, "3000");
    let deadline = world.now + Duration::from_secs(10);
    world.handle(Input::Drain { deadline });
    let (_, refused) = bob.invite(&mut world, "3000");
    let refused = refused.unwrap();
    assert_eq!(
        (refused.status(), refused.header(Name::RetryAfter)),
        (503, Some("30"))
    );
    let asked = bob.request(&mut world, "OPTIONS", "sip:lab.test", "", b"");
    assert_eq!(
        (asked.status(), asked.header(Name::RetryAfter)),
        (503, Some("30"))
    );
    world.advance(Duration::from_secs(9));
    alice.has_nothing(&mut world);
    assert!(!world.drained);
    world.advance(Duration::from_secs(1));
    let bye = alice.gets(&mut world, "BYE", true);
    assert!(bye.header(Name::Reason).unwrap().contains("cause=503"));
    assert!(world.drained);
}

#[test]
fn an_idle_switch_is_drained_at_once() {
    let mut world = World::new();
    world.handle(Input::Drain {
        deadline: world.now + Duration::from_secs(10),
    });
    assert!(world.drained);
}

#[test]
fn whoever_cannot_wait_ends_every_call_at_once_with_one_bye() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    alice.call(&mut world, "3000");
    let deadline = world.now + Duration::from_secs(60);
    world.handle(Input::Drain { deadline });
    world.handle(Input::End);
    let bye = alice.gets(&mut world, "BYE", true);
    assert!(bye.header(Name::Reason).unwrap().contains("cause=503"));
    assert!(world.drained);
    world.advance(Duration::from_secs(60));
    alice.has_nothing(&mut world);
}

#[test]
fn an_end_at_once_waits_for_no_offer() {
    let (mut pair, _offer) = held();
    let world = &mut pair.world;
    world.handle(Input::End);
    pair.alice.gets(world, "BYE", true);
    pair.bob.gets(world, "BYE", true);
    assert!(world.drained);
    world.advance(Duration::from_secs(2));
    pair.alice.has_nothing(world);
}

#[test]
fn the_deadline_waits_for_no_ack() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (_, answer) = alice.invite(&mut world, "3000");
    assert_eq!(answer.unwrap().status(), 200);
    alice.listen(&mut world);
    alice.inbox.clear();
    let deadline = world.now + Duration::from_millis(400);
    world.handle(Input::Drain { deadline });
    world.advance(Duration::from_millis(400));
    alice.gets(&mut world, "BYE", true);
    assert!(world.drained);
}
