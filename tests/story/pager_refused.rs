//! Kept messages that phones refuse: which come again, what counts against them, and which are given up.

use std::time::Duration;

use cordboard_engine::io::StoreWrite;

use crate::pager::{self, CPIM, bodies, count, cpim, phones, read};
use crate::phone::Phone;
use crate::world::World;

const TEXT: &str = "Content-Type: text/plain\r\n";
const WRITING: &str = "Content-Type: application/im-iscomposing+xml\r\n";

/// A message is kept for bob, whose two phones are there and whose user has no time.
fn busy() -> (World, Phone, [Phone; 2]) {
    let mut world = World::new();
    let mut alice = Phone::new("alice", 1);
    let mut phones = [Phone::new("bob", 2), Phone::new("bob-desk", 5)];
    for phone in &mut phones {
        phone.register(&mut world, 3600);
    }
    assert_eq!(send(&mut alice, &mut world, TEXT, "kept"), 202);
    refuse(&mut phones, &mut world, 486);
    (world, alice, phones)
}

fn send(alice: &mut Phone, world: &mut World, headers: &str, body: &str) -> u16 {
    let answer = alice.request(world, "MESSAGE", "sip:bob@lab.test", headers, body.as_bytes());
    answer.status()
}

/// Every phone answers all that it is sent, and what that brings; the bodies.
fn refuse(phones: &mut [Phone], world: &mut World, status: u16) -> Vec<String> {
    let mut bodies = Vec::new();
    for phone in phones {
        loop {
            phone.listen(world);
            let place = phone
                .inbox
                .iter()
                .position(|delivery| delivery.message.is_request());
            let Some(place) = place else { break };
            let message = phone.inbox.remove(place).message;
            bodies.push(String::from_utf8(message.body_slice().to_vec()).unwrap());
            phone.respond(world, &message, status, "", "");
        }
    }
    bodies
}

fn kept(world: &World) -> usize {
    world.engine.gauges().kept_messages
}

#[test]
fn messages_that_come_in_pairs_are_no_refusals_of_the_one_that_is_kept() {
    let (mut world, mut alice, mut phones) = busy();
    for pair in 1..=6 {
        world.disk_hangs = true;
        for body in ["one", "two"] {
            assert_eq!(send(&mut alice, &mut world, TEXT, body), 0);
        }
        world.commit(true);
        world.disk_hangs = false;
        assert!(refuse(&mut phones, &mut world, 486).contains(&"kept".to_owned()));
        assert_eq!(kept(&world), 1 + 2 * pair);
        alice.listen(&mut world);
        alice.inbox.clear();
    }
}

#[test]
fn a_message_that_cannot_be_stored_is_no_refusal_of_the_one_that_is_kept() {
    let (mut world, mut alice, mut phones) = busy();
    world.disk_works = false;
    for _ in 0..6 {
        assert_eq!(send(&mut alice, &mut world, TEXT, "lost"), 503);
        refuse(&mut phones, &mut world, 486);
        assert_eq!(kept(&world), 1);
    }
}

#[test]
fn however_many_cannot_be_stored_nothing_is_given_up_that_sleeping_phones_are_to_get() {
    let (mut world, mut alice, mut phones) = (
        World::new(),
        Phone::new("alice", 1),
        [Phone::new("bob", 2), Phone::new("bob-desk", 5)],
    );
    for phone in &mut phones {
        phone.register(&mut world, 7200);
    }
    assert_eq!(send(&mut alice, &mut world, TEXT, "kept"), 202);
    world.disk_works = false;
    for _ in 0..30 {
        world.advance(Duration::from_secs(40));
        assert_eq!(send(&mut alice, &mut world, TEXT, "lost"), 503);
        assert_eq!(kept(&world), 1);
    }
    world.disk_works = true;
    world.advance(Duration::from_secs(40));
    let [bob, _] = &mut phones;
    bob.listen(&mut world);
    bob.inbox.clear();
    bob.register(&mut world, 7200);
    assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), b"kept");
    assert_eq!(kept(&world), 0);
}

#[test]
fn a_registration_that_is_not_stored_or_ends_one_is_no_refusal_either() {
    let (mut world, _, mut phones) = busy();
    let mut other = Phone::new("bob", 9);
    other.registering = "other".into();
    for _ in 0..6 {
        world.disk_works = false;
        assert_eq!(other.register(&mut world, 3600).status(), 500);
        world.disk_works = true;
        refuse(&mut phones, &mut world, 500);
        assert_eq!(kept(&world), 1);
    }
    for _ in 0..6 {
        assert_eq!(other.register(&mut world, 3600).status(), 200);
        refuse(&mut phones, &mut world, 486);
        refuse(std::slice::from_mut(&mut other), &mut world, 486);
        assert_eq!(other.register(&mut world, 0).status(), 200);
        assert!(refuse(&mut phones, &mut world, 500).is_empty());
        assert_eq!(kept(&world), 1);
    }
}

#[test]
fn phones_that_register_every_minute_while_their_user_has_no_time_lose_nothing() {
    // The other one may be of a kind that never takes any.
    for (status, other, hours) in [
        (480, 480, 48),
        (486, 405, 48),
        (486, 502, 48),
        (600, 603, 48),
        (503, 500, 12),
        (408, 504, 12),
    ] {
        let (mut world, _, mut phones) = busy();
        for round in 0..hours * 2 {
            let pause = if round % 2 == 0 { 3540 } else { 60 };
            let end = world.now + Duration::from_secs(pause);
            while world.now < end {
                world.advance(Duration::from_secs(60));
                refuse(&mut phones[..1], &mut world, status);
                refuse(&mut phones[1..], &mut world, other);
            }
            for at in 0..phones.len() {
                assert_eq!(phones[at].register(&mut world, 7200).status(), 200);
                refuse(&mut phones[..1], &mut world, status);
                refuse(&mut phones[1..], &mut world, other);
            }
            assert_eq!(kept(&world), 1, "{status}");
        }
        phones[0].register(&mut world, 3600);
        let message = phones[0].gets(&mut world, "MESSAGE", true);
        assert_eq!(message.body_slice(), b"kept");
        assert_eq!(kept(&world), 0);
    }
}

#[test]
fn one_that_is_silent_does_not_make_the_refusals_of_the_other_count() {
    let (mut world, _, mut phones) = busy();
    for _ in 0..8 {
        let [busy, silent] = &mut phones;
        world.advance(Duration::from_secs(3600));
        silent.listen(&mut world);
        silent.inbox.clear();
        refuse(std::slice::from_mut(busy), &mut world, 486);
        // The first registers while the second has said nothing yet.
        busy.register(&mut world, 3600);
        refuse(std::slice::from_mut(busy), &mut world, 486);
        busy.register(&mut world, 3600);
        world.advance(Duration::from_secs(33));
        silent.listen(&mut world);
        silent.inbox.clear();
        refuse(std::slice::from_mut(busy), &mut world, 486);
        assert_eq!(kept(&world), 1);
    }
}

#[test]
fn a_phone_that_lets_notices_of_typing_pass_has_refused_nothing_by_that() {
    for (headers, left) in [(WRITING, 1), (TEXT, 0)] {
        let (mut world, mut alice, phones) = busy();
        let [mut bob, mut desk] = phones;
        desk.register(&mut world, 0);
        for _ in 0..4 {
            assert_eq!(send(&mut alice, &mut world, headers, "<x/>"), 0);
            while kept(&world) == 1 {
                bob.listen(&mut world);
                let Some(message) = bob.inbox.pop().map(|delivery| delivery.message) else {
                    break;
                };
                let status = if message.body_slice() == b"kept" { 486 } else { 200 };
                bob.respond(&mut world, &message, status, "", "");
            }
            alice.listen(&mut world);
            alice.inbox.clear();
        }
        // Who takes those that are to be read, and never this one, will not take it later.
        assert_eq!(kept(&world), left, "{headers}");
    }
}

#[test]
fn a_phone_that_does_not_know_its_user_yet_is_asked_again() {
    for knows in [true, false] {
        let (mut world, mut alice, mut phones) =
            (World::new(), Phone::new("alice", 1), [Phone::new("bob", 2)]);
        assert_eq!(send(&mut alice, &mut world, TEXT, "kept"), 202);
        phones[0].register(&mut world, 3600);
        assert_eq!(refuse(&mut phones, &mut world, 404), ["kept"]);
        world.advance(Duration::from_secs(30));
        if knows {
            phones[0].gets(&mut world, "MESSAGE", true);
            assert_eq!(kept(&world), 0);
            continue;
        }
        refuse(&mut phones, &mut world, 404);
        for registered in 1..=4 {
            assert_eq!(kept(&world), 1, "{registered}");
            an_hour_later(&mut phones[0], &mut world);
            assert_eq!(refuse(&mut phones, &mut world, 404), ["kept"]);
        }
        assert_eq!(kept(&world), 0);
    }
}

/// It says nothing for an hour, and registers then.
fn an_hour_later(phone: &mut Phone, world: &mut World) {
    world.advance(Duration::from_secs(3600));
    phone.listen(world);
    phone.inbox.clear();
    phone.register(world, 7200);
}

#[test]
fn what_fails_for_some_hours_is_not_lost_however_often_the_phone_registers() {
    for (status, minutes) in [
        (404, 200),
        (500, 200),
        (408, 1400),
        (502, 1400),
        (504, 1400),
        (600, 3000),
    ] {
        let (mut world, mut alice, mut phones) =
            (World::new(), Phone::new("alice", 1), [Phone::new("bob", 2)]);
        assert_eq!(send(&mut alice, &mut world, TEXT, "kept"), 202);
        for _ in 0..minutes {
            phones[0].register(&mut world, 3600);
            refuse(&mut phones, &mut world, status);
            world.advance(Duration::from_secs(60));
            refuse(&mut phones, &mut world, status);
            assert_eq!(kept(&world), 1, "{status}");
        }
        phones[0].register(&mut world, 3600);
        assert_eq!(phones[0].gets(&mut world, "MESSAGE", true).body_slice(), b"kept");
        assert_eq!(kept(&world), 0, "{status}");
    }
}

#[test]
fn what_is_never_the_time_for_a_message_is_given_up_after_about_a_day() {
    // Whether phones register every minute or seldom.
    for every in [60, 7000] {
        let (mut world, mut alice, mut phones) = busy();
        refuse(&mut phones, &mut world, 502);
        assert_eq!(send(&mut alice, &mut world, TEXT, "next"), 202);
        let start = world.now;
        while kept(&world) == 2 {
            assert!(world.now.since(start) < Duration::from_secs(30 * 3600));
            for phone in &mut phones {
                phone.register(&mut world, 7200);
            }
            let end = world.now + Duration::from_secs(every);
            while world.now < end && kept(&world) == 2 {
                world.advance(Duration::from_secs(20));
                let [bob, desk] = &mut phones;
                refuse_first(bob, &mut world, 502);
                refuse_first(desk, &mut world, 504);
            }
        }
        assert!(world.now.since(start) > Duration::from_secs(15 * 3600));
        assert_eq!(phones[0].gets(&mut world, "MESSAGE", true).body_slice(), b"next");
    }
}

/// Refuses all that is there until something else comes than the first message.
fn refuse_first(phone: &mut Phone, world: &mut World, status: u16) {
    phone.listen(world);
    while let Some(place) = phone
        .inbox
        .iter()
        .position(|delivery| delivery.message.body_slice() == b"kept")
    {
        let message = phone.inbox.remove(place).message;
        phone.respond(world, &message, status, "", "");
        phone.listen(world);
    }
}

#[test]
fn a_phone_that_never_takes_any_does_not_make_the_sleep_of_another_count() {
    for status in [405, 415, 501] {
        let (mut world, mut alice, mut phones) = (
            World::new(),
            Phone::new("alice", 1),
            [Phone::new("bob", 2), Phone::new("bob-desk", 5)],
        );
        for phone in &mut phones {
            phone.register(&mut world, 7200);
        }
        assert_eq!(send(&mut alice, &mut world, TEXT, "kept"), 202);
        let [mobile, desk] = &mut phones;
        for minute in 0..16 * 60 {
            refuse(std::slice::from_mut(desk), &mut world, status);
            world.advance(Duration::from_secs(60));
            if minute % 100 == 0 {
                mobile.register(&mut world, 7200);
            }
            desk.register(&mut world, 7200);
            assert_eq!(kept(&world), 1, "{status} {minute}");
        }
        mobile.listen(&mut world);
        mobile.inbox.clear();
        world.advance(Duration::from_secs(60));
        mobile.listen(&mut world);
        mobile.inbox.clear();
        mobile.register(&mut world, 7200);
        assert_eq!(mobile.gets(&mut world, "MESSAGE", true).body_slice(), b"kept");
        assert_eq!(kept(&world), 0);
    }
}

#[test]
fn a_phone_that_says_when_to_come_back_is_left_in_peace_so_long_unless_it_registers() {
    let refuses = |carol: &mut Phone, world: &mut World, status, after: &str| {
        let message = carol.gets(world, "MESSAGE", false);
        assert_eq!(message.body_slice(), b"k1");
        let headers = format!("Retry-After: {after}\r\n");
        carol.respond(world, &message, status, &headers, "");
        carol.has_nothing(world);
    };
    let peace = |carol: &mut Phone, world: &mut World, seconds: u64| {
        world.advance(Duration::from_secs(seconds - 1));
        carol.has_nothing(world);
        world.advance(Duration::from_secs(1));
    };
    let (mut world, _, mut carol) = refused_for_now(480);
    world.advance(Duration::from_secs(30));
    // What else would be for ever is not where it says when; nobody is waited for longer than an hour.
    for (status, after, seconds) in [
        (486, "600 (at lunch)", 600),
        (413, "1000;duration=60", 1000),
        (603, "7200", 3600),
        (404, "5", 480),
    ] {
        refuses(&mut carol, &mut world, status, after);
        peace(&mut carol, &mut world, seconds);
    }
    refuses(&mut carol, &mut world, 503, "2000");
    world.advance(Duration::from_secs(400));
    carol.register(&mut world, 7200);
    refuses(&mut carol, &mut world, 600, "1700");
    peace(&mut carol, &mut world, 1700);
    for body in ["k1", "k2"] {
        takes(&mut carol, &mut world, body, 200);
    }
    assert_eq!(kept(&world), 0);
}

#[test]
fn a_phone_that_cannot_take_it_now_gets_it_when_it_registers_again() {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    pager::send(&mut alice, &mut world, "carol", TEXT, "1");
    carol.register(&mut world, 600);
    assert_eq!(read(&mut carol, &mut world, 480).len(), 1);
    world.advance(Duration::from_secs(29));
    carol.has_nothing(&mut world);
    // Silence is no answer; a registration meanwhile is not forgotten.
    carol.register(&mut world, 600);
    carol.gets(&mut world, "MESSAGE", false);
    carol.register(&mut world, 600);
    world.advance(Duration::from_secs(32));
    let read = read(&mut carol, &mut world, 200);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    assert_eq!(read.last().unwrap().body_slice(), b"1");
}

/// Two messages are kept for carol, and she has registered and cannot take the first now.
fn refused_for_now(status: u16) -> (World, Phone, Phone) {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    for body in ["k1", "k2"] {
        assert_eq!(
            pager::send(&mut alice, &mut world, "carol", TEXT, body).status(),
            202
        );
    }
    carol.register(&mut world, 7200);
    takes(&mut carol, &mut world, "k1", status);
    carol.has_nothing(&mut world);
    (world, alice, carol)
}

fn takes(phone: &mut Phone, world: &mut World, body: &str, status: u16) {
    let message = phone.gets(world, "MESSAGE", false);
    assert_eq!(message.body_slice(), body.as_bytes());
    phone.respond(world, &message, status, "", "");
}

#[test]
fn what_was_refused_for_now_is_not_overtaken_by_what_comes_later() {
    let (mut world, mut alice, mut carol) = refused_for_now(480);
    for body in ["l1", "l2"] {
        assert_eq!(
            pager::send(&mut alice, &mut world, "carol", TEXT, body).status(),
            0
        );
    }
    for body in ["k1", "k2"] {
        takes(&mut carol, &mut world, body, 200);
    }
    assert_eq!(world.engine.gauges().kept_messages, 0);
    takes(&mut carol, &mut world, "l1", 200);
    takes(&mut carol, &mut world, "l2", 200);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    world.advance(Duration::from_secs(3600));
    carol.has_nothing(&mut world);
    let kept = world
        .writes
        .iter()
        .filter(|write| matches!(write, StoreWrite::PutMessage(_)));
    assert_eq!(kept.count(), 2);
    world.is_clean();
}

#[test]
fn while_the_phone_still_refuses_a_sender_hears_its_answer_to_his_own_message() {
    let (mut world, mut alice, mut carol) = refused_for_now(486);
    // However many write: that the phone is busy is no fault of the message that is kept.
    for number in 0..10 {
        let body = format!("l{number}");
        assert_eq!(
            pager::send(&mut alice, &mut world, "carol", TEXT, &body).status(),
            0
        );
        takes(&mut carol, &mut world, "k1", 486);
        takes(&mut carol, &mut world, &body, 486);
        carol.has_nothing(&mut world);
        assert_eq!(alice.final_response(&mut world).status(), 486);
        assert_eq!(world.engine.gauges().kept_messages, 2);
        world.advance(Duration::from_secs(1));
        alice.inbox.clear();
    }
    // One that it takes brings the others.
    assert_eq!(
        pager::send(&mut alice, &mut world, "carol", TEXT, "l").status(),
        0
    );
    takes(&mut carol, &mut world, "k1", 486);
    takes(&mut carol, &mut world, "l", 200);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    takes(&mut carol, &mut world, "k1", 200);
    takes(&mut carol, &mut world, "k2", 200);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn what_was_refused_for_now_comes_again_after_a_pause_that_grows() {
    let (mut world, _, mut carol) = refused_for_now(480);
    for pause in [30, 60, 120, 240, 480, 960, 960, 960] {
        world.advance(Duration::from_secs(pause - 1));
        carol.has_nothing(&mut world);
        world.advance(Duration::from_secs(1));
        takes(&mut carol, &mut world, "k1", 480);
    }
    world.advance(Duration::from_secs(960));
    takes(&mut carol, &mut world, "k1", 200);
    takes(&mut carol, &mut world, "k2", 503);
    world.advance(Duration::from_secs(30));
    takes(&mut carol, &mut world, "k2", 200);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    world.advance(Duration::from_secs(1000));
    carol.has_nothing(&mut world);
}

#[test]
fn two_phones_that_refuse_for_now_are_asked_again_without_a_registration() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = phones();
    let mut desk = Phone::new("bob-desk", 5);
    bob.register(&mut world, 3600);
    desk.register(&mut world, 3600);
    assert_eq!(
        pager::send(&mut alice, &mut world, "bob", TEXT, "1").status(),
        202
    );
    takes(&mut bob, &mut world, "1", 486);
    takes(&mut desk, &mut world, "1", 486);
    assert_eq!(
        pager::send(&mut alice, &mut world, "bob", TEXT, "2").status(),
        202
    );
    takes(&mut bob, &mut world, "1", 486);
    takes(&mut desk, &mut world, "1", 486);
    world.advance(Duration::from_secs(30));
    for body in ["1", "2"] {
        takes(&mut desk, &mut world, body, 200);
        takes(&mut bob, &mut world, body, 486);
    }
    assert_eq!(world.engine.gauges().kept_messages, 0);
    bob.has_nothing(&mut world);
    desk.has_nothing(&mut world);
}

#[test]
fn what_a_phone_will_never_take_does_not_stop_what_follows() {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    for body in ["1", "2"] {
        pager::send(&mut alice, &mut world, "carol", TEXT, body);
    }
    carol.register(&mut world, 600);
    let first = carol.gets(&mut world, "MESSAGE", false);
    carol.respond(&mut world, &first, 415, "", "");
    assert_eq!(count(&world, "out", "undeliverable"), 1);
    // One that is refused again and again goes, too.
    for _ in 0..5 {
        assert_eq!(bodies(&read(&mut carol, &mut world, 500)), ["2"]);
        an_hour_later(&mut carol, &mut world);
    }
    carol.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    assert_eq!(count(&world, "out", "undeliverable"), 2);
}

#[test]
fn what_never_gets_better_is_given_up_at_the_first_refusal_and_its_sender_told() {
    for status in [406, 433, 483, 484, 485, 501, 505, 513, 603] {
        let mut world = World::new();
        let (mut alice, _, mut carol) = phones();
        let failing = cpim("m1", "negative-delivery");
        assert_eq!(
            pager::send(&mut alice, &mut world, "carol", CPIM, &failing).status(),
            202
        );
        assert_eq!(
            pager::send(&mut alice, &mut world, "carol", TEXT, "next").status(),
            202
        );
        alice.register(&mut world, 600);
        carol.register(&mut world, 600);
        let refused = carol.gets(&mut world, "MESSAGE", false);
        carol.respond(&mut world, &refused, status, "", "");
        assert_eq!(
            carol.gets(&mut world, "MESSAGE", true).body_slice(),
            b"next",
            "{status}"
        );
        let told = alice.gets(&mut world, "MESSAGE", true);
        let told = String::from_utf8_lossy(told.body_slice()).into_owned();
        assert!(told.contains("<failed/>"), "{status}: {told}");
        assert_eq!(world.engine.gauges().kept_messages, 0, "{status}");
    }
}
