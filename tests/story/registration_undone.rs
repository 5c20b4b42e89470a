//! Registrations that cannot be written: what the switch believes is what is on its disk.

use std::time::Duration;

use cordboard_engine::io::{Input, StoreWrite, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::phone::Phone;
use crate::world::{REALM, World};

/// Alice registers a contact with so many seconds; nothing is awaited.
fn register(alice: &mut Phone, world: &mut World, contact: &str, expires: u32) -> Message {
    let headers = format!("Contact: {contact}\r\nExpires: {expires}\r\n");
    alice.request(world, "REGISTER", &format!("sip:{REALM}"), &headers, b"")
}

/// What holds, as a query says.
fn contacts(alice: &mut Phone, world: &mut World) -> Vec<String> {
    let answer = alice.request(world, "REGISTER", &format!("sip:{REALM}"), "", b"");
    assert_eq!(answer.status(), 200);
    let mut listed: Vec<String> = answer.headers(Name::Contact).map(str::to_owned).collect();
    listed.sort();
    listed
}

/// The statuses of answers that came meanwhile.
fn statuses(alice: &mut Phone, world: &mut World) -> Vec<u16> {
    alice.listen(world);
    let answers = alice.inbox.drain(..);
    answers.map(|delivery| delivery.message.status()).collect()
}

/// The disk agrees: a switch that starts from it believes the same.
fn survives(alice: &mut Phone, world: &mut World, expected: &[&str]) {
    assert_eq!(contacts(alice, world), expected);
    world.restart();
    assert_eq!(contacts(alice, world), expected, "after a restart");
}

const A: &str = "<sip:a@198.51.100.1:5060>";
const B: &str = "<sip:b@198.51.100.1:5060>";
const C: &str = "<sip:c@198.51.100.1:5060>";

fn listed(contact: &str, expires: u32) -> String {
    format!("{contact};expires={expires};q=1")
}

#[test]
fn a_contact_that_cannot_be_written_is_not_there() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    world.disk_works = false;
    let answer = register(&mut alice, &mut world, A, 600);
    assert_eq!(
        (answer.status(), answer.header(Name::RetryAfter)),
        (500, Some("5"))
    );
    assert_eq!(world.engine.gauges().registrations, 0);
    world.disk_works = true;
    assert_eq!(register(&mut alice, &mut world, A, 600).status(), 200);
    survives(&mut alice, &mut world, &[&listed(A, 600)]);
}

#[test]
fn what_was_there_before_holds_again() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    register(&mut alice, &mut world, A, 600);
    register(&mut alice, &mut world, B, 600);
    world.disk_works = false;
    for (contacts, expires) in [
        (A.to_owned(), 3600),
        (A.to_owned(), 0),
        ("*".to_owned(), 0),
        // Some of it new, some gone, one written in another way.
        (format!("{C}, {A};expires=0, <sip:b@198.51.100.1:5060;x=y>"), 900),
    ] {
        let answer = register(&mut alice, &mut world, &contacts, expires);
        assert_eq!(answer.status(), 500, "{contacts}");
        let (a, b) = (listed(A, 600), listed(B, 600));
        let held = self::contacts(&mut alice, &mut world);
        assert_eq!(held, [a, b], "{contacts}");
    }
    world.disk_works = true;
    survives(&mut alice, &mut world, &[&listed(A, 600), &listed(B, 600)]);
    // It ends when it would have ended.
    world.advance(Duration::from_secs(601));
    assert_eq!(world.engine.gauges().registrations, 0);
}

#[test]
fn several_at_once_are_taken_back_together() {
    for good in [0, 1, 2, 3] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        register(&mut alice, &mut world, A, 600);
        world.disk_hangs = true;
        register(&mut alice, &mut world, A, 700);
        register(&mut alice, &mut world, A, 0);
        register(&mut alice, &mut world, A, 800);
        world.commit_first(good, true);
        world.commit(false);
        let told = statuses(&mut alice, &mut world);
        let mut expected = vec![200; good];
        expected.resize(3, 500);
        assert_eq!(told, expected);
        world.disk_hangs = false;
        match good {
            0 => survives(&mut alice, &mut world, &[&listed(A, 600)]),
            1 => survives(&mut alice, &mut world, &[&listed(A, 700)]),
            2 => survives(&mut alice, &mut world, &[]),
            _ => survives(&mut alice, &mut world, &[&listed(A, 800)]),
        }
    }
}

#[test]
fn one_that_fails_between_two_that_do_not_leaves_no_trace() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    register(&mut alice, &mut world, A, 600);
    world.disk_hangs = true;
    register(&mut alice, &mut world, A, 0);
    register(&mut alice, &mut world, &format!("{A}, {B}"), 700);
    register(&mut alice, &mut world, A, 800);
    world.commit_first(1, false);
    world.commit_first(1, false);
    world.commit(true);
    assert_eq!(statuses(&mut alice, &mut world), [500, 500, 200]);
    world.disk_hangs = false;
    survives(&mut alice, &mut world, &[&listed(A, 800)]);
}

#[test]
fn a_contact_that_a_later_register_writes_otherwise_does_not_come_back_beside_it() {
    let other = "<sip:a@198.51.100.1:5060;x=y>";
    for (later_holds, left) in [(true, other), (false, A)] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        register(&mut alice, &mut world, A, 600);
        world.disk_hangs = true;
        register(&mut alice, &mut world, A, 0);
        register(&mut alice, &mut world, other, 700);
        world.commit_first(1, false);
        world.commit(later_holds);
        world.commit(true);
        let is_gone = world.writes.iter().any(
            |write| matches!(write, StoreWrite::DeleteBinding { contact, .. } if A.contains(&**contact)),
        );
        assert_eq!(is_gone, later_holds, "the former row");
        let second = if later_holds { 200 } else { 500 };
        assert_eq!(statuses(&mut alice, &mut world), [500, second]);
        world.disk_hangs = false;
        let expires = if later_holds { 700 } else { 600 };
        survives(&mut alice, &mut world, &[&listed(left, expires)]);
    }
}

#[test]
fn a_connection_that_broke_meanwhile_is_not_taken_for_one_that_lives() {
    for breaks in [false, true] {
        let mut world = World::new();
        let mut alice = Phone::new("alice", 1).over(Transport::Ws, 7);
        let mut bob = Phone::new("bob", 2);
        alice.register(&mut world, 600);
        let contact = alice.contact();
        let mut again = Phone::new("alice", 1).over(Transport::Ws, 8);
        world.disk_hangs = true;
        register(&mut again, &mut world, &contact, 600);
        if breaks {
            world.handle(Input::FlowClosed { connection: 7 });
        }
        world.commit(false);
        world.disk_hangs = false;
        let (_, answer) = bob.invite(&mut world, "alice");
        assert_eq!(answer.map(|answer| answer.status()), breaks.then_some(480));
    }
}
