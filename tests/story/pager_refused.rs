//! Messages that are kept and refused for now: what counts against them, and what does not.

use std::time::Duration;

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
    for (status, other) in [(480, 480), (486, 405), (503, 500)] {
        let (mut world, _, mut phones) = busy();
        for _ in 0..30 {
            world.advance(Duration::from_secs(30));
            for at in 0..phones.len() {
                assert_eq!(phones[at].register(&mut world, 3600).status(), 200);
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
            phones[0].register(&mut world, 3600);
            assert_eq!(refuse(&mut phones, &mut world, 404), ["kept"]);
        }
        assert_eq!(kept(&world), 0);
    }
}
