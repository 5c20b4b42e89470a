//! Every call leaves one record.

use std::time::Duration;

use cordboard_engine::record::CallDirection;
use cordboard_model::{AccountId, ConferenceId};

use crate::phone::Phone;
use crate::world::World;

#[test]
fn a_conference_call_leaves_one_record_with_its_times_and_totals() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let begun = world.now;
    let mut line = alice.call(&mut world, "3000");
    world.advance(Duration::from_secs(60));
    assert!(world.records.is_empty());
    alice.within(&mut world, &mut line, "BYE", "", b"");
    let [record] = &world.records[..] else {
        panic!("one record, not {:?}", world.records)
    };
    assert_eq!((record.id, &record.call_id), (record.session, &line.call_id));
    assert_eq!(
        (record.account, record.direction, record.conference),
        (AccountId(1), CallDirection::In, Some(ConferenceId(0xc0)))
    );
    assert_eq!(
        (record.from.as_str(), record.to.as_str(), record.number.as_str()),
        ("sip:alice@lab.test", "sip:3000@lab.test", "3000")
    );
    assert_eq!(record.user.as_deref(), Some("alice"));
    assert_eq!((record.started, record.answered), (begun, Some(begun)));
    assert_eq!(record.ended, begun + Duration::from_secs(60));
    assert_eq!(
        (record.codec, record.reason, record.status),
        (Some("PCMU"), "peer", 200)
    );
    assert!(record.media.is_some_and(|totals| totals.packets_in > 0));
}

#[test]
fn a_call_between_users_leaves_a_record_for_each_phone_in_one_session() {
    let mut world = World::new();
    let (mut alice, mut bob, mut desk) = (
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("bob-desk", 3),
    );
    bob.register(&mut world, 600);
    desk.register(&mut world, 600);
    let (mut line, _) = alice.invite(&mut world, "bob");
    let to_bob = bob.gets(&mut world, "INVITE", false);
    let to_desk = desk.gets(&mut world, "INVITE", false);
    desk.respond(&mut world, &to_desk, 486, "", "");
    world.advance(Duration::from_millis(10));
    bob.pick_up(&mut world, &to_bob);
    line.learn(&alice.final_response(&mut world));
    alice.ack(&mut world, &line);
    world.advance(Duration::from_secs(5));
    alice.within(&mut world, &mut line, "BYE", "", b"");
    let seen: Vec<_> = world
        .records
        .iter()
        .map(|record| {
            (
                record.direction,
                record.status,
                record.reason,
                record.answered.is_some(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (CallDirection::Out, 486, "not_answered", false),
            (CallDirection::In, 200, "peer", true),
            (CallDirection::Out, 200, "peer", true),
        ]
    );
    let session = world.records[0].session;
    assert!(world.records.iter().all(|record| record.session == session));
    let caller = &world.records[1];
    assert_eq!((caller.id, caller.to.as_str()), (session, "sip:bob@lab.test"));
    for called in [&world.records[0], &world.records[2]] {
        assert_eq!(
            (called.from.as_str(), called.to.as_str()),
            ("sip:alice@lab.test", "sip:bob@lab.test")
        );
    }
}

#[test]
fn a_record_waits_for_the_totals_but_not_for_ever() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    world.totals_come = false;
    let mut line = alice.call(&mut world, "3000");
    alice.within(&mut world, &mut line, "BYE", "", b"");
    let ended = world.now;
    assert!(world.records.is_empty());
    world.advance(Duration::from_secs(6));
    assert_eq!(world.records.len(), 1);
    assert_eq!((world.records[0].media, world.records[0].ended), (None, ended));
}

#[test]
fn a_drain_ends_when_the_last_record_is_out() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    world.totals_come = false;
    let mut line = alice.call(&mut world, "3000");
    let deadline = world.now + Duration::from_secs(60);
    world.handle(cordboard_engine::io::Input::Drain { deadline });
    alice.within(&mut world, &mut line, "BYE", "", b"");
    assert!(!world.drained);
    world.advance(Duration::from_secs(6));
    assert!(world.drained && world.records.len() == 1);
}

#[test]
fn a_caller_who_gives_up_and_nobody_who_wants_records() {
    for wanted in [true, false] {
        let mut world = World::with(|config| config.records = wanted);
        let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 600);
        let (line, _) = alice.invite(&mut world, "bob");
        let to_bob = bob.gets(&mut world, "INVITE", false);
        bob.respond(&mut world, &to_bob, 180, "", "");
        world.advance(Duration::from_secs(181));
        bob.gets(&mut world, "CANCEL", true);
        bob.respond(&mut world, &to_bob, 487, "", "");
        assert_eq!(alice.final_response(&mut world).status(), 480);
        let seen: Vec<_> = world
            .records
            .iter()
            .map(|record| (record.status, record.answered))
            .collect();
        let expect: &[_] = if wanted { &[(480, None), (487, None)] } else { &[] };
        assert_eq!(seen, expect, "{}", line.call_id);
    }
}
