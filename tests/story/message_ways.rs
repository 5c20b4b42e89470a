//! The ways and forms of messages inside calls: names, types, sizes, order.

use std::time::Duration;

use cordboard_engine::io::{ConferenceCommand, Input, Transport};
use cordboard_engine::sip::name::Name;
use cordboard_model::media::MediaCommand;
use cordboard_model::{ConferenceId, ParticipantId};

use crate::phone::{Line, Phone};
use crate::world::World;

const TEXT: &str = "Content-Type: text/plain\r\n";

fn two(world: &mut World) -> (Phone, Line, Phone, Line) {
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let of_alice = alice.call(world, "3000");
    let of_bob = bob.call(world, "3000");
    (alice, of_alice, bob, of_bob)
}

#[test]
fn the_name_may_change_from_message_to_message_and_is_the_callers_where_there_is_none() {
    let mut world = World::new();
    let (mut alice, mut line, mut bob, _) = two(&mut world);
    for (name, shown) in [
        ("\"One\" ", "\"One\""),
        ("Two ", "\"Two\""),
        ("", "\"Alice\""),
        ("\"\" ", "\"Alice\""),
    ] {
        let headers = format!("From: {name}{}\r\n{TEXT}", line.own);
        let response = alice.within(&mut world, &mut line, "MESSAGE", &headers, b"x");
        assert_eq!(response.status(), 202);
        let copy = bob.gets(&mut world, "MESSAGE", true);
        let from = copy.header(Name::From).unwrap();
        assert!(
            from.starts_with(&format!("{shown} <sip:3000@lab.test>")),
            "{from}"
        );
    }
}

#[test]
fn four_headers_travel_and_a_name_in_to_changes_nothing() {
    let mut world = World::new();
    let (mut alice, mut line, mut bob, of_bob) = two(&mut world);
    line.theirs = format!("\"Somebody\" {}", line.theirs);
    let headers = format!(
        "{TEXT}Subject: s\r\nContent-Disposition: render\r\nContent-Language: de\r\nDate: Sun, 22 Nov 2026 03:39:34 GMT\r\n\
         P-Preferred-Identity: <sip:x@y>\r\nRoute: <sip:evil.test;lr>\r\nX-Any: 1\r\nUser-Agent: spy\r\n"
    );
    let response = alice.within(&mut world, &mut line, "MESSAGE", &headers, b"x");
    assert_eq!(response.status(), 202);
    let copy = bob.gets(&mut world, "MESSAGE", true);
    for (name, value) in [
        (Name::Subject, Some("s")),
        (Name::ContentDisposition, Some("render")),
        (Name::ContentLanguage, Some("de")),
        (Name::Date, Some("Sun, 22 Nov 2026 03:39:34 GMT")),
        (Name::PPreferredIdentity, None),
        (Name::Route, None),
        (Name::UserAgent, None),
        (Name::Contact, None), // RFC 3428 section 4
        (Name::To, Some(of_bob.own.as_str())),
    ] {
        assert_eq!(copy.header(name), value, "{name}");
    }
    assert_eq!(copy.other("X-Any"), None);
}

#[test]
fn large_bodies_and_wrapped_ones_come_whole() {
    let mut world = World::new();
    let (mut alice, mut line, mut bob, _) = two(&mut world);
    let large = vec![b'x'; 60_000];
    for (kind, body) in [
        ("application/octet-stream", large.as_slice()),
        (
            "message/cpim",
            b"From: <sip:a@b>\r\n\r\nContent-Type: text/plain\r\n\r\nhi",
        ),
        (
            "multipart/mixed;boundary=\"b b\"",
            b"--b b\r\n\r\n\x00\xff\r\n--b b--",
        ),
        ("text/x-anything; a=\"b;c\"", b"\n"),
    ] {
        let headers = format!("Content-Type: {kind}\r\n");
        let response = alice.within(&mut world, &mut line, "MESSAGE", &headers, body);
        assert_eq!(response.status(), 202, "{kind}");
        let copy = bob.gets(&mut world, "MESSAGE", true);
        assert_eq!(
            (copy.body_slice(), copy.header(Name::ContentType)),
            (body, Some(kind))
        );
    }
    assert_eq!(
        world.engine.counts().messages[&("out", "conference", "large_over_udp")],
        1
    );
}

const ALTERNATIVES: &str = "Content-Type: multipart/alternative;boundary=b\r\nSubject: s\r\n";
const BOTH: &[u8] =
    b"--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>rich</b>\r\n--b--";

#[test]
fn one_who_takes_no_multipart_gets_the_text_in_it() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    );
    let mut line = alice.call(&mut world, "3000");
    let (of_bob, _) = bob.invite_with(&mut world, "3000", "Accept: application/sdp, text/plain\r\n");
    bob.ack(&mut world, &of_bob);
    bob.listen(&mut world);
    bob.inbox.clear();
    carol.call(&mut world, "3000");
    alice.within(&mut world, &mut line, "MESSAGE", ALTERNATIVES, BOTH);
    let copy = bob.gets(&mut world, "MESSAGE", true);
    assert_eq!(
        (
            copy.body_slice(),
            copy.header(Name::ContentType),
            copy.header(Name::Subject)
        ),
        (&b"plain"[..], Some("text/plain"), Some("s"))
    );
    // Carol said nothing about it, and refuses: then she gets the richest text, and from then on at once.
    let whole = carol.gets(&mut world, "MESSAGE", false);
    assert_eq!(whole.body_slice(), BOTH);
    carol.respond(&mut world, &whole, 415, "Accept: text/html, text/plain\r\n", "");
    let text = carol.gets(&mut world, "MESSAGE", true);
    assert_eq!(
        (text.body_slice(), text.header(Name::ContentType)),
        (&b"<b>rich</b>"[..], Some("text/html"))
    );
    assert!(text.cseq().unwrap().number > whole.cseq().unwrap().number);
    alice.within(&mut world, &mut line, "MESSAGE", ALTERNATIVES, BOTH);
    assert_eq!(
        carol.gets(&mut world, "MESSAGE", true).body_slice(),
        b"<b>rich</b>"
    );
    // Nothing in it that she takes: nothing.
    alice.within(
        &mut world,
        &mut line,
        "MESSAGE",
        "Content-Type: application/json\r\n",
        b"{}",
    );
    carol.has_nothing(&mut world);
    assert_eq!(
        world.engine.counts().messages[&("out", "conference", "not_acceptable")],
        2
    );
}

#[test]
fn a_405_or_415_ends_no_call() {
    let mut world = World::new();
    let (mut alice, mut line, mut bob, _) = two(&mut world);
    for status in [405, 415, 501, 606] {
        alice.within(&mut world, &mut line, "MESSAGE", TEXT, b"x");
        let copy = bob.gets(&mut world, "MESSAGE", false);
        bob.respond(&mut world, &copy, status, "", "");
        bob.has_nothing(&mut world);
    }
    assert_eq!(world.engine.gauges().participants[0], 2);
}

#[test]
fn everybody_gets_the_messages_of_all_in_one_order() {
    let mut world = World::new();
    let (mut alice, mut of_alice, mut bob, mut of_bob) = two(&mut world);
    let (mut carol, mut dave) = (Phone::new("carol", 3), Phone::new("bob-desk", 4));
    carol.call(&mut world, "3000");
    dave.call(&mut world, "3000");
    for number in 0..10 {
        let body = number.to_string();
        let (phone, line) = if number % 3 == 0 {
            (&mut bob, &mut of_bob)
        } else {
            (&mut alice, &mut of_alice)
        };
        phone.inbox.clear();
        assert_eq!(
            phone
                .within(&mut world, line, "MESSAGE", TEXT, body.as_bytes())
                .status(),
            202
        );
    }
    for phone in [&mut carol, &mut dave] {
        let mut read = Vec::new();
        for _ in 0..10 {
            read.push(
                String::from_utf8(phone.gets(&mut world, "MESSAGE", true).body_slice().to_vec()).unwrap(),
            );
        }
        assert_eq!(read, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    }
}

#[test]
fn one_who_is_muted_in_chat_is_told_so_and_one_who_is_left_alone_is_not() {
    let mut world = World::new();
    let (mut alice, mut line, mut bob, mut of_bob) = two(&mut world);
    let leg = world.media.iter().find_map(|command| match command {
        MediaCommand::Open { leg, .. } => Some(*leg),
        _ => None,
    });
    let participant = ParticipantId(leg.unwrap().0);
    let silence = |world: &mut World, silenced| {
        world.handle(Input::Conference {
            id: ConferenceId(0xc0),
            command: ConferenceCommand::Silence {
                participant,
                silenced,
            },
        });
    };
    silence(&mut world, true);
    let refused = alice.within(&mut world, &mut line, "MESSAGE", TEXT, b"x");
    assert_eq!(
        (refused.status(), refused.reason()),
        (403, "You Are Muted In Chat")
    );
    assert_eq!(
        refused.header(Name::Reason),
        Some("SIP;cause=403;text=\"You Are Muted In Chat\"")
    );
    bob.has_nothing(&mut world);
    silence(&mut world, false);
    bob.within(&mut world, &mut of_bob, "BYE", "", b"");
    let accepted = alice.within(&mut world, &mut line, "MESSAGE", TEXT, b"x");
    assert_eq!(accepted.status(), 202);
    bob.has_nothing(&mut world);
}

/// A body that makes a request too large for UDP.
const LARGE: [u8; 1300] = [b'x'; 1300];

#[test]
fn what_is_too_large_for_a_datagram_takes_the_connection_on_which_the_phone_is_registered() {
    let mut world = World::new();
    let (mut alice, mut line, mut bob, _) = two(&mut world);
    // The same phone, by its contact, is registered over TCP.
    let mut stream = Phone::new("bob", 2).over(Transport::Tcp, 9);
    stream.register(&mut world, 600);
    alice.within(&mut world, &mut line, "MESSAGE", TEXT, b"small");
    alice.within(&mut world, &mut line, "MESSAGE", TEXT, &LARGE);
    bob.listen(&mut world);
    let flows: Vec<_> = bob.inbox.iter().map(|delivery| delivery.flow).collect();
    assert_eq!(flows, [bob.flow, stream.flow]);
    let large = bob.inbox[1].message.clone();
    assert!(large.header(Name::Via).unwrap().starts_with("SIP/2.0/TCP "));
    assert!(
        !world
            .engine
            .counts()
            .messages
            .contains_key(&("out", "conference", "large_over_udp"))
    );
    for delivery in std::mem::take(&mut bob.inbox) {
        bob.respond(&mut world, &delivery.message, 200, "", "");
    }
    // The connection breaks while a message is on it: it goes by UDP all the same, and is counted.
    alice.within(&mut world, &mut line, "MESSAGE", TEXT, &LARGE);
    bob.listen(&mut world);
    bob.inbox.clear();
    world.handle(Input::FlowClosed { connection: 9 });
    bob.listen(&mut world);
    assert_eq!((bob.inbox.len(), bob.inbox[0].flow), (1, bob.flow));
    assert_eq!(bob.inbox[0].message.body_slice(), LARGE);
    assert_eq!(
        world.engine.counts().messages[&("out", "conference", "large_over_udp")],
        1
    );
}

#[test]
fn what_fits_into_no_datagram_is_not_tried_and_holds_up_nothing() {
    let mut world = World::with(|config| config.max_message = 1 << 20);
    let (mut alice, mut line, mut bob, _) = two(&mut world);
    let mut carol = Phone::new("carol", 3).over(Transport::Tcp, 5);
    carol.call(&mut world, "3000");
    let huge = vec![b'x'; 70_000];
    assert_eq!(
        alice
            .within(&mut world, &mut line, "MESSAGE", TEXT, &huge)
            .status(),
        202
    );
    alice.within(&mut world, &mut line, "MESSAGE", TEXT, b"after");
    assert_eq!(carol.gets(&mut world, "MESSAGE", true).body_slice(), huge);
    assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), b"after");
    assert_eq!(
        world.engine.counts().messages[&("out", "conference", "too_large")],
        1
    );
}

#[test]
fn a_way_that_the_phone_itself_has_used_in_its_call_is_taken_for_what_is_large() {
    let mut world = World::new();
    let (mut alice, mut line, mut bob, mut of_bob) = two(&mut world);
    let mut stream = Phone::new("bob", 2).over(Transport::Tcp, 9);
    stream.send(&mut world, &of_bob, "MESSAGE", of_bob.cseq + 1, TEXT, &LARGE);
    of_bob.cseq += 1;
    assert_eq!(stream.final_response(&mut world).status(), 202);
    alice.gets(&mut world, "MESSAGE", true);
    alice.within(&mut world, &mut line, "MESSAGE", TEXT, &LARGE);
    bob.listen(&mut world);
    assert_eq!(bob.inbox[0].flow, stream.flow);
    // Another phone at the other end: its 481 does not end this call.
    let large = bob.inbox.remove(0).message;
    bob.respond(&mut world, &large, 481, "", "");
    bob.listen(&mut world);
    assert_eq!(bob.inbox[0].flow, bob.flow);
    bob.gets(&mut world, "MESSAGE", true);
    alice.within(&mut world, &mut line, "MESSAGE", TEXT, &LARGE);
    bob.listen(&mut world);
    assert_eq!(bob.inbox[0].flow, bob.flow, "it is not tried again");
    assert_eq!(world.engine.gauges().participants[0], 2);
}

#[test]
fn one_who_writes_too_fast_hears_when_to_come_back() {
    let mut world = World::with(|config| config.message_rate = 1);
    let (mut alice, mut line, ..) = two(&mut world);
    let mut last = None;
    for _ in 0..3 {
        last = Some(alice.within(&mut world, &mut line, "MESSAGE", TEXT, b"x"));
    }
    let refused = last.unwrap();
    assert_eq!(
        (refused.status(), refused.header(Name::RetryAfter)),
        (503, Some("1"))
    );
    world.advance(Duration::from_secs(1));
    assert_eq!(
        alice
            .within(&mut world, &mut line, "MESSAGE", TEXT, b"x")
            .status(),
        202
    );
}
