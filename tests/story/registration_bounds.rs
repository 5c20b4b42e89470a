//! What a REGISTER may not do: more contacts than there is room for, and addresses of other accounts.

use std::time::Duration;

use cordboard_engine::config::Account;
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::AccountId;

use crate::phone::Phone;
use crate::world::{REALM, World};

/// Registers contacts of these ports, each for so many seconds; the answer.
fn register(world: &mut World, alice: &mut Phone, contacts: &[(u16, u32)]) -> Message {
    let contacts: Vec<String> = contacts
        .iter()
        .map(|(port, expires)| format!("<sip:alice@198.51.100.1:{port}>;expires={expires}"))
        .collect();
    let headers = format!("Contact: {}\r\n", contacts.join(", "));
    alice.request(world, "REGISTER", &format!("sip:{REALM}"), &headers, b"")
}

/// The ports that an answer lists.
fn ports(answer: &Message) -> Vec<u16> {
    assert_eq!(answer.status(), 200, "{}", answer.reason());
    let contacts = answer.contacts().map(|contact| contact.unwrap().uri.to_owned());
    let mut ports: Vec<u16> = contacts
        .map(|uri| uri.rsplit_once(':').unwrap().1.parse().unwrap())
        .collect();
    ports.sort_unstable();
    ports
}

fn crowded() -> (World, Phone) {
    let world = World::with(|config| config.registration.contacts = 4);
    (world, Phone::new("alice", 1))
}

#[test]
fn no_contact_of_a_request_makes_room_for_another_of_it() {
    let (mut world, mut alice) = crowded();
    assert_eq!(ports(&register(&mut world, &mut alice, &[(9, 3600)])), [9]);
    let four = [(1, 60), (2, 61), (3, 62), (4, 63)];
    assert_eq!(ports(&register(&mut world, &mut alice, &four)), [1, 2, 3, 4]);
    // One that is renewed as well.
    let some = [(4, 60), (5, 600)];
    assert_eq!(ports(&register(&mut world, &mut alice, &some)), [2, 3, 4, 5]);
    world.restart();
    assert_eq!(world.engine.gauges().registrations, 4);
    assert_eq!(
        ports(&register(&mut world, &mut alice, &[(6, 600)])),
        [2, 3, 5, 6]
    );
}

#[test]
fn a_contact_that_goes_makes_room_for_one_that_comes_before_it() {
    let (mut world, mut alice) = crowded();
    let four = [(1, 60), (2, 600), (3, 600), (4, 600)];
    assert_eq!(ports(&register(&mut world, &mut alice, &four)), [1, 2, 3, 4]);
    // The first would end before the others.
    let answer = register(&mut world, &mut alice, &[(5, 600), (4, 0)]);
    assert_eq!(ports(&answer), [1, 2, 3, 5]);
    // All of it, or nothing.
    world.disk_works = false;
    let some = [(6, 600), (5, 0), (7, 600), (2, 0), (1, 700), (1, 0)];
    let answer = register(&mut world, &mut alice, &some);
    assert_eq!(answer.status(), 500);
    world.disk_works = true;
    assert_eq!(ports(&register(&mut world, &mut alice, &[(9, 0)])), [1, 2, 3, 5]);
    // Of one that is asked for twice the last holds.
    let twice = [(1, 0), (1, 700), (2, 700), (2, 0)];
    assert_eq!(ports(&register(&mut world, &mut alice, &twice)), [1, 3, 5]);
    world.restart();
    assert_eq!(world.engine.gauges().registrations, 3);
    assert_eq!(ports(&register(&mut world, &mut alice, &[(8, 0)])), [1, 3, 5]);
}

#[test]
fn more_contacts_than_there_is_room_for_are_refused_as_a_whole() {
    let (mut world, mut alice) = crowded();
    let four = [(1, 600), (2, 600), (3, 600), (4, 600)];
    assert_eq!(ports(&register(&mut world, &mut alice, &four)), [1, 2, 3, 4]);
    let five = [(1, 700), (2, 700), (3, 700), (4, 700), (5, 700)];
    let answer = register(&mut world, &mut alice, &five);
    assert_eq!((answer.status(), answer.reason()), (403, "Too Many Contacts"));
    // What goes needs no room.
    let moved = [(1, 0), (2, 700), (3, 700), (4, 700), (5, 700)];
    assert_eq!(ports(&register(&mut world, &mut alice, &moved)), [2, 3, 4, 5]);
}

#[test]
fn an_address_of_another_account_is_not_registered() {
    for trusted in [false, true] {
        let mut world = World::with(|config| {
            let id = AccountId(2);
            config.accounts.push(Account {
                id,
                realm: "other.test".into(),
            });
            let mut twin = config.credentials[0].clone();
            twin.account = id;
            config.credentials.push(twin);
            if trusted {
                config.trusted = vec!["198.51.100.0/24".parse().unwrap()];
            }
        });
        let mut alice = Phone::new("alice", 1);
        let mut ask = |world: &mut World, number: u32, to: &str| {
            let text = |proof: &str, number: u32| {
                format!(
                    "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKo{number}\r\n\
                     From: <sip:alice@{REALM}>;tag=1\r\nTo: <sip:{to}>\r\nCall-ID: o\r\nCSeq: {number} REGISTER\r\n\
                     Max-Forwards: 70\r\nContact: <sip:alice@198.51.100.1:5060>\r\n{proof}Content-Length: 0\r\n\r\n"
                )
            };
            world.receive(alice.flow, &text("", number), b"");
            let answer = alice.final_response(world);
            if trusted {
                return answer;
            }
            assert_eq!(answer.status(), 401);
            let proof = alice.authorization(&answer, "REGISTER", &format!("sip:{REALM}"), 1);
            world.receive(alice.flow, &text(&proof, number + 1), b"");
            alice.final_response(world)
        };
        let refused = if trusted { 404 } else { 403 };
        // Whether there is such a user or not.
        for (number, to) in [
            (10, "alice@other.test"),
            (20, "alice@OTHER.test"),
            (30, "bob@other.test"),
        ] {
            let answer = ask(&mut world, number, to);
            assert_eq!((answer.status(), answer.contacts().count()), (refused, 0), "{to}");
        }
        assert_eq!(world.engine.gauges().registrations, 0);
        // Addresses of ours, and names that nobody configured, are no other account.
        for (number, to) in [
            (40, "alice@lab.test"),
            (50, "alice@192.0.2.1"),
            (60, "alice@sip.lab.test"),
        ] {
            assert_eq!(ask(&mut world, number, to).status(), 200, "{to}");
        }
    }
}

#[test]
fn a_phone_is_told_what_time_it_is() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let first = alice.register(&mut world, 600);
    let date = first
        .header(Name::Date)
        .expect("RFC 3261 section 10.3, step 8")
        .to_owned();
    assert!(date.ends_with(" GMT"), "{date}");
    world.advance(Duration::from_secs(1));
    let second = alice.register(&mut world, 600);
    assert_ne!(second.header(Name::Date), Some(&*date));
}

#[test]
fn a_contact_that_gives_way_is_counted_and_told() {
    let (mut world, mut alice) = crowded();
    let four = [(1, 60), (2, 61), (3, 62), (4, 63)];
    ports(&register(&mut world, &mut alice, &four));
    let dropped = |world: &World| {
        let counted = world.engine.counts().rejected.get("contact_dropped").copied();
        (counted, world.dropped.len())
    };
    ports(&register(&mut world, &mut alice, &[(4, 63)]));
    assert_eq!(dropped(&world), (None, 0));
    ports(&register(&mut world, &mut alice, &[(5, 600)]));
    assert_eq!(dropped(&world), (Some(1), 1));
    assert_eq!(world.dropped, [format!("alice@{REALM}")]);
}
