//! Kept messages and the disk: what is said of them when, and what a crash or a failed write changes.

use std::time::Duration;

use cordboard_engine::io::Transport;
use cordboard_engine::sip::name::Name;

use crate::pager::{CPIM, TEXT, bodies, count, cpim, phones, read, send};
use crate::phone::Phone;
use crate::world::World;

#[test]
fn what_was_accepted_survives_a_crash_and_comes_under_the_same_call_id_and_message_id() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = phones();
    bob.register(&mut world, 3600);
    let mut desk = Phone::new("bob-desk", 4);
    desk.register(&mut world, 3600);
    // Two contacts: it is stored before the sender is told so, and sent at once.
    assert_eq!(send(&mut alice, &mut world, "bob", TEXT, "1").status(), 202);
    assert_eq!(send(&mut alice, &mut world, "bob", TEXT, "2").status(), 202);
    let before = bob.gets(&mut world, "MESSAGE", false);
    world.restart();
    world.advance(Duration::from_millis(1));
    desk.inbox.clear();
    let again = bob.gets(&mut world, "MESSAGE", true);
    assert_eq!(again.body_slice(), b"1");
    assert_eq!(again.call_id(), before.call_id());
    assert_eq!(again.other("Message-ID"), before.other("Message-ID"));
    assert!(again.other("Message-ID").is_some_and(|id| id.len() == 32));
    assert_ne!(
        again.from().unwrap().tag(),
        before.from().unwrap().tag(),
        "a repeat is not a loop"
    );
    let second = bob.gets(&mut world, "MESSAGE", true);
    assert_ne!(second.call_id(), again.call_id());
    assert_eq!(bodies(&read(&mut desk, &mut world, 200)), ["1", "2"]);
    world.restart();
    world.advance(Duration::from_secs(1));
    bob.has_nothing(&mut world);
}

#[test]
fn a_request_that_comes_again_after_a_crash_is_the_same_message() {
    let mut world = World::with(|config| config.trusted.push("198.51.100.1/32".parse().unwrap()));
    let (alice, _, mut carol) = phones();
    let request = |cseq: u32, body: &str| {
        format!(
            "MESSAGE sip:carol@lab.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKm{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@lab.test>;tag=a\r\nTo: <sip:carol@lab.test>\r\nCall-ID: same\r\n\
             CSeq: {cseq} MESSAGE\r\n{TEXT}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // The 202 got lost, and the sender repeats; then it sends another.
    for text in [request(1, "x"), request(1, "x"), request(2, "x"), request(2, "y")] {
        world.receive(alice.flow, &text, b"");
        world.restart();
    }
    assert_eq!(world.engine.gauges().kept_messages, 3);
    carol.register(&mut world, 600);
    let read = read(&mut carol, &mut world, 200);
    assert_eq!(bodies(&read), ["x", "x", "y"]);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn a_message_that_is_on_disk_stays_though_its_repeat_cannot_be_written() {
    let mut world = World::with(|config| config.trusted.push("198.51.100.1/32".parse().unwrap()));
    let (mut alice, _, mut carol) = phones();
    let request = format!(
        "MESSAGE sip:carol@lab.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKm1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@lab.test>;tag=a\r\nTo: <sip:carol@lab.test>\r\nCall-ID: same\r\n\
         CSeq: 1 MESSAGE\r\n{TEXT}Content-Length: 1\r\n\r\nx"
    );
    world.receive(alice.flow, &request, b"");
    assert_eq!(alice.next(&mut world).status(), 202);
    world.restart();
    world.disk_works = false;
    world.receive(alice.flow, &request, b"");
    assert_eq!(alice.next(&mut world).status(), 202);
    world.disk_works = true;
    carol.register(&mut world, 600);
    assert_eq!(bodies(&read(&mut carol, &mut world, 200)), ["x"]);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

/// A request of alice by TCP, whose transactions end with their answers: it may come again at once.
fn by_tcp(world: &mut World, alice: &Phone, number: u8, headers: &str, body: &str) {
    let request = format!(
        "MESSAGE sip:carol@lab.test SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.1:5060;branch=z9hG4bKm{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@lab.test>;tag=a\r\nTo: <sip:carol@lab.test>\r\nCall-ID: same\r\n\
         CSeq: 1 MESSAGE\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    world.receive(alice.flow, &request, b"");
}

fn trusted() -> (World, Phone, Phone) {
    let world = World::with(|config| config.trusted.push("198.51.100.1/32".parse().unwrap()));
    let (alice, _, carol) = phones();
    (world, alice.over(Transport::Tcp, 7), carol)
}

#[test]
fn what_is_written_twice_at_once_is_delivered_if_it_was_written_once() {
    for (first, second) in [(false, true), (true, false), (false, false)] {
        let (mut world, mut alice, mut carol) = trusted();
        alice.register(&mut world, 600);
        carol.register(&mut world, 600);
        world.disk_hangs = true;
        for number in [1, 2] {
            by_tcp(&mut world, &alice, number, CPIM, &cpim("m1", "positive-delivery"));
            carol.gets(&mut world, "MESSAGE", true);
            assert_eq!(alice.next(&mut world).status(), 200);
        }
        // The notification of both is the same one.
        world.commit_first(1, first);
        world.commit_first(1, second);
        match first || second {
            true => drop(alice.gets(&mut world, "MESSAGE", true)),
            false => alice.has_nothing(&mut world),
        }
        assert_eq!(world.engine.gauges().kept_messages, 0);
        let safe = u64::from(first) + u64::from(first || second);
        assert_eq!(
            (count(&world, "in", "stored"), count(&world, "in", "store_failed")),
            (safe, 2 - safe)
        );
    }
}

#[test]
fn a_message_that_was_delivered_is_accepted_though_its_repeat_cannot_be_written() {
    let (mut world, mut alice, mut carol) = trusted();
    by_tcp(&mut world, &alice, 1, TEXT, "x");
    assert_eq!(alice.next(&mut world).status(), 202);
    carol.register(&mut world, 600);
    let copy = carol.gets(&mut world, "MESSAGE", false);
    let mut desk = Phone::new("carol", 8);
    desk.registering = "other".into();
    desk.register(&mut world, 600);
    world.disk_hangs = true;
    by_tcp(&mut world, &alice, 2, TEXT, "x");
    carol.respond(&mut world, &copy, 200, "", "");
    assert_eq!(world.engine.gauges().kept_messages, 0);
    world.commit_first(1, false);
    assert_eq!(alice.next(&mut world).status(), 202);
}

#[test]
fn the_sender_is_not_told_before_it_is_on_disk() {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    world.disk_works = false;
    let response = send(&mut alice, &mut world, "carol", TEXT, "1");
    assert_eq!(response.status(), 503);
    assert!(response.header(Name::RetryAfter).is_some());
    world.disk_works = true;
    carol.register(&mut world, 600);
    carol.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}
