//! Every call leaves one record.

use std::time::Duration;

use cordboard_engine::io::{ConferenceCommand, Input};
use cordboard_engine::record::CallDirection;
use cordboard_model::hook::OnFailure;
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
    assert_eq!(record.ended, Some(begun + Duration::from_secs(60)));
    assert_eq!(
        (record.codec, record.reason, record.status),
        (Some("PCMU"), "hung_up", 200)
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
            (CallDirection::Out, 486, "busy", false),
            (CallDirection::In, 200, "hung_up", true),
            (CallDirection::Out, 200, "other_side", true),
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
fn a_call_that_is_up_when_the_switch_is_killed_leaves_its_record_at_the_next_start() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    );
    bob.register(&mut world, 600);
    let mut over = carol.call(&mut world, "3000");
    carol.within(&mut world, &mut over, "BYE", "", b"");
    let (mut line, _) = alice.invite(&mut world, "bob");
    let to_bob = bob.gets(&mut world, "INVITE", false);
    bob.respond(&mut world, &to_bob, 180, "", "");
    assert_eq!(world.kept, [], "who only rings is not kept");
    bob.pick_up(&mut world, &to_bob);
    line.learn(&alice.final_response(&mut world));
    alice.ack(&mut world, &line);
    carol.call(&mut world, "3000");
    world.advance(Duration::from_secs(5));
    let kept = world.kept.clone();
    world.records.clear();
    world.restart();
    world.advance(Duration::from_secs(1));
    assert_eq!(world.records, kept, "said as it was kept, nothing invented");
    let seen: Vec<_> = kept
        .iter()
        .map(|record| (record.direction, record.reason, record.status, record.codec))
        .collect();
    let (called, calling) = (
        (CallDirection::Out, "cut_off", 200, Some("PCMU")),
        (CallDirection::In, "cut_off", 200, Some("PCMU")),
    );
    assert_eq!(seen, [called, calling, calling]);
    assert_eq!(kept[0].session, kept[1].id);
    assert_eq!(kept[2].conference, Some(ConferenceId(0xc0)));
    for record in &kept {
        assert!(record.answered.is_some(), "{record:?}");
        assert_eq!((record.ended, record.media), (None, None));
    }
    assert_eq!(world.engine.counts().calls_ended["cut_off"], 3);
    world.records.clear();
    world.restart();
    world.advance(Duration::from_secs(1));
    assert_eq!(world.records, [], "once");
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
    assert_eq!(
        (world.records[0].media, world.records[0].ended),
        (None, Some(ended))
    );
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

#[test]
fn an_invite_that_is_refused_at_once_leaves_a_record_with_the_reason() {
    let mut world = World::with(|config| config.conferences[0].max_participants = 1);
    let (mut alice, mut carol) = (Phone::new("alice", 1), Phone::new("carol", 3));
    carol.call(&mut world, "3000");
    let refusals = [
        ("4711", 404, "unknown_destination", None),
        ("bob", 480, "not_registered", None),
        ("3001*9999", 403, "wrong_pin", Some(ConferenceId(0xc0))),
        ("3000", 486, "conference_full", Some(ConferenceId(0xc0))),
    ];
    for (number, status, reason, conference) in refusals {
        let (line, answer) = alice.invite(&mut world, number);
        assert_eq!(answer.map(|answer| answer.status()), Some(status), "{number}");
        let record = world.records.pop().expect("a record");
        let number = number.split('*').next().expect("the number without the PIN");
        assert_eq!(
            (record.status, record.reason, record.conference, record.answered),
            (status, reason, conference, None)
        );
        assert_eq!(
            (record.from.as_str(), record.to, record.number.as_str()),
            ("sip:alice@lab.test", format!("sip:{number}@lab.test"), number)
        );
        assert_eq!(
            (record.user.as_deref(), record.call_id),
            (Some("alice"), line.call_id)
        );
        assert_eq!((record.id, record.ended), (record.session, Some(record.started)));
        assert!(world.records.is_empty(), "one record for {number}");
    }
    alice.sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 3\r\n";
    let (_, answer) = alice.invite(&mut world, "3001*1234");
    let status = answer.map(|answer| answer.status());
    assert!(matches!(status, Some(486 | 488)), "{status:?}");
    assert_eq!(world.records.pop().map(|record| record.status), status);
}

#[test]
fn who_is_kept_out_by_a_lock_leaves_a_record() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.call(&mut world, "3000");
    let id = ConferenceId(0xc0);
    let command = ConferenceCommand::Lock(true);
    world.handle(Input::Conference { id, command });
    let (_, answer) = alice.invite(&mut world, "3000");
    assert_eq!(answer.map(|answer| answer.status()), Some(403));
    let record = world.records.pop().expect("a record");
    assert_eq!(
        (record.status, record.reason, record.conference),
        (403, "conference_locked", Some(id))
    );
}

#[test]
fn a_call_that_is_taken_back_while_plugins_are_asked_leaves_a_record() {
    let mut world = World::with(|config| config.hooks.call_router = crate::world::chain(OnFailure::Pass));
    let mut alice = Phone::new("alice", 1);
    alice.invite(&mut world, "3000");
    alice.cancel(&mut world, "");
    let seen: Vec<_> = world.records.iter().map(|r| (r.status, r.reason)).collect();
    assert_eq!(seen, [(487, "cancelled")]);
}

#[test]
fn strangers_leave_no_record() {
    let (mut world, mut mallory) = (World::new(), Phone::new("alice", 66));
    mallory.password = "guess";
    for number in ["3000", "bob", "4711"] {
        let (_, answer) = mallory.invite(&mut world, number);
        assert_eq!(answer.map(|answer| answer.status()), Some(401), "{number}");
    }
    assert!(world.records.is_empty(), "{:?}", world.records);
}
