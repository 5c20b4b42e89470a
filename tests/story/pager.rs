//! Messages between users: what the sender is told, and what is kept for one who is not there.

use std::time::Duration;

use cordboard_engine::io::{StoreWrite, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::message::MessageVerdict;
use cordboard_model::{Ask, Verdict};

use crate::phone::Phone;
use crate::world::{World, chain};

pub(crate) const TEXT: &str = "Content-Type: text/plain;charset=utf-8\r\n";

pub(crate) fn phones() -> (Phone, Phone, Phone) {
    (
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    )
}

pub(crate) fn send(phone: &mut Phone, world: &mut World, to: &str, headers: &str, body: &str) -> Message {
    let uri = format!("sip:{to}@lab.test");
    phone.request(world, "MESSAGE", &uri, headers, body.as_bytes())
}

/// The messages that a phone has been sent, answered with a status; repeats left out.
pub(crate) fn read(phone: &mut Phone, world: &mut World, status: u16) -> Vec<Message> {
    let mut read: Vec<Message> = Vec::new();
    loop {
        phone.listen(world);
        let place = phone
            .inbox
            .iter()
            .position(|delivery| delivery.message.is_request());
        let Some(place) = place else { return read };
        let message = phone.inbox.remove(place).message;
        phone.respond(world, &message, status, "", "");
        if !read
            .iter()
            .any(|other| other.header(Name::From) == message.header(Name::From))
        {
            read.push(message);
        }
    }
}

pub(crate) fn bodies(messages: &[Message]) -> Vec<String> {
    let text = |message: &Message| String::from_utf8(message.body_slice().to_vec()).unwrap();
    messages.iter().map(text).collect()
}

pub(crate) fn count(world: &World, direction: &'static str, outcome: &'static str) -> u64 {
    let counts = &world.engine.counts().messages;
    counts.get(&(direction, "pager", outcome)).copied().unwrap_or(0)
}

pub(crate) const CPIM: &str = "Content-Type: message/cpim\r\n";

pub(crate) fn cpim(id: &str, wanted: &str) -> String {
    format!(
        "From: <sip:alice@lab.test>\r\nTo: <sip:carol@lab.test>\r\nDateTime: 2027-01-15T08:00:00Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\nimdn.Disposition-Notification: {wanted}\r\n\r\n\
         Content-Type: text/plain\r\n\r\nhello"
    )
}

#[test]
fn what_was_sent_while_a_user_was_away_comes_in_order_after_the_next_register() {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    let headers = format!("{TEXT}Subject: s\r\nContent-Language: de\r\nX-Thing: 1\r\n");
    for number in 0..5 {
        let response = send(
            &mut alice,
            &mut world,
            "carol",
            &headers,
            &format!("message {number} \u{0}\u{fc}"),
        );
        assert_eq!(response.status(), 202);
    }
    assert_eq!(world.engine.gauges().kept_messages, 5);
    world.advance(Duration::from_secs(3600));
    assert_eq!(carol.register(&mut world, 600).status(), 200);
    let read = read(&mut carol, &mut world, 200);
    let expected: Vec<String> = (0..5)
        .map(|number| format!("message {number} \u{0}\u{fc}"))
        .collect();
    assert_eq!(bodies(&read), expected);
    let first = &read[0];
    assert!(
        first
            .header(Name::From)
            .unwrap()
            .starts_with("\"Alice\" <sip:alice@lab.test>;tag=")
    );
    assert_eq!(first.header(Name::ContentType), Some("text/plain;charset=utf-8"));
    assert_eq!(
        (first.header(Name::Subject), first.header(Name::ContentLanguage)),
        (Some("s"), Some("de"))
    );
    assert_eq!(
        first.header(Name::Date),
        Some("Fri, 15 Jan 2027 08:00:00 GMT"),
        "when it was sent"
    );
    assert_eq!(first.other("X-Thing"), None);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    carol.register(&mut world, 600);
    carol.has_nothing(&mut world);
}

#[test]
fn the_next_waits_for_the_answer_to_the_one_before() {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    for body in ["1", "2"] {
        send(&mut alice, &mut world, "carol", TEXT, body);
    }
    carol.register(&mut world, 600);
    let first = carol.gets(&mut world, "MESSAGE", false);
    carol.has_nothing(&mut world);
    // One that comes meanwhile is not kept, and does not overtake.
    assert_eq!(send(&mut alice, &mut world, "carol", TEXT, "3").status(), 0);
    carol.has_nothing(&mut world);
    carol.respond(&mut world, &first, 200, "", "");
    assert_eq!(carol.gets(&mut world, "MESSAGE", true).body_slice(), b"2");
    let third = carol.gets(&mut world, "MESSAGE", false);
    assert_eq!(third.body_slice(), b"3");
    alice.has_nothing(&mut world);
    carol.respond(&mut world, &third, 200, "", "");
    assert_eq!(alice.final_response(&mut world).status(), 200);
    let kept = world
        .writes
        .iter()
        .filter(|write| matches!(write, StoreWrite::PutMessage(_)));
    assert_eq!(kept.count(), 2);
}

#[test]
fn with_several_contacts_one_that_accepts_is_enough() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = phones();
    let mut desk = Phone::new("bob-desk", 5);
    bob.register(&mut world, 600);
    desk.register(&mut world, 600);
    assert_eq!(send(&mut alice, &mut world, "bob", TEXT, "1").status(), 202);
    let one = bob.gets(&mut world, "MESSAGE", false);
    let other = desk.gets(&mut world, "MESSAGE", false);
    assert_eq!(one.call_id(), other.call_id());
    bob.respond(&mut world, &one, 486, "", "");
    assert_eq!(world.engine.gauges().kept_messages, 1);
    desk.respond(&mut world, &other, 200, "", "");
    assert_eq!(world.engine.gauges().kept_messages, 0);
    // A device is an address of its own.
    assert_eq!(send(&mut alice, &mut world, "bob-desk", TEXT, "2").status(), 0);
    let own = desk.gets(&mut world, "MESSAGE", true);
    assert_eq!(own.body_slice(), b"2");
    bob.has_nothing(&mut world);
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn a_device_that_comes_gets_what_was_kept_for_its_user() {
    let mut world = World::new();
    let (mut alice, ..) = phones();
    let mut desk = Phone::new("bob-desk", 5);
    send(&mut alice, &mut world, "bob", TEXT, "1");
    send(&mut alice, &mut world, "bob-desk", TEXT, "2");
    desk.register(&mut world, 600);
    let mut read = bodies(&read(&mut desk, &mut world, 200));
    read.sort();
    assert_eq!(read, ["1", "2"]);
}

#[test]
fn expires_is_honoured_and_so_is_the_longest_time() {
    let mut world = World::with(|config| config.mail.age = Duration::from_secs(1000));
    let (mut alice, _, mut carol) = phones();
    let cases = [
        ("Expires: 0\r\n", 480),
        ("Expires: 60\r\n", 202),
        ("Expires: 100000\r\n", 202),
        ("", 202),
        // Sent a minute ago, to be read within half a minute.
        ("Date: Fri, 15 Jan 2027 07:59:00 GMT\r\nExpires: 30\r\n", 480),
        ("Date: Fri, 15 Jan 2027 07:59:00 GMT\r\nExpires: 90\r\n", 202),
        // A clock that is years off says nothing.
        ("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nExpires: 90\r\n", 202),
    ];
    for (number, (headers, status)) in cases.into_iter().enumerate() {
        let response = send(
            &mut alice,
            &mut world,
            "carol",
            &format!("{TEXT}{headers}"),
            &number.to_string(),
        );
        assert_eq!(response.status(), status, "{headers}");
    }
    let left = |world: &World| world.engine.gauges().kept_messages;
    for (seconds, expected) in [(29, 5), (1, 4), (29, 4), (1, 3), (30, 2), (909, 2), (1, 0)] {
        world.advance(Duration::from_secs(seconds));
        assert_eq!(left(&world), expected, "after {seconds} s more");
    }
    assert_eq!(count(&world, "out", "expired"), 5);
    let deleted = world
        .writes
        .iter()
        .filter(|write| matches!(write, StoreWrite::DeleteMessage { .. }));
    assert_eq!(deleted.count(), 5);
    carol.register(&mut world, 600);
    carol.has_nothing(&mut world);
}

#[test]
fn quotas_hold_and_are_said() {
    let mut world = World::with(|config| (config.mail.count, config.mail.size) = (2, 300));
    let (mut alice, _, mut carol) = phones();
    let mut statuses = Vec::new();
    for body in ["x".repeat(300).as_str(), "1", "2", "3"] {
        let response = send(&mut alice, &mut world, "carol", TEXT, body);
        statuses.push((response.status(), response.reason().to_owned()));
    }
    let (kept, full) = ((202, "Accepted".to_owned()), (480, "Mailbox Full".to_owned()));
    assert_eq!(statuses, [full.clone(), kept.clone(), kept, full]);
    carol.register(&mut world, 600);
    assert_eq!(bodies(&read(&mut carol, &mut world, 200)), ["1", "2"]);
    assert_eq!(count(&world, "in", "mailbox_full"), 2);
}

#[test]
fn nothing_is_kept_where_that_is_not_wanted() {
    let mut world = World::with(|config| config.mail.count = 0);
    let (mut alice, mut bob, _) = phones();
    assert_eq!(send(&mut alice, &mut world, "carol", TEXT, "1").status(), 480);
    // Two contacts: then the sender hears the first acceptance.
    let mut desk = Phone::new("bob-desk", 5);
    bob.register(&mut world, 600);
    desk.register(&mut world, 600);
    assert_eq!(send(&mut alice, &mut world, "bob", TEXT, "1").status(), 0);
    read(&mut bob, &mut world, 486);
    read(&mut desk, &mut world, 200);
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn that_somebody_is_writing_is_passed_on_and_never_kept() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = phones();
    let writing = "Content-Type: application/im-iscomposing+xml\r\n";
    assert_eq!(send(&mut alice, &mut world, "bob", writing, "<x/>").status(), 480);
    let wrapped = "NS: x <y>\r\n\r\nContent-Type: application/im-iscomposing+xml\r\n\r\n<x/>";
    assert_eq!(send(&mut alice, &mut world, "bob", CPIM, wrapped).status(), 480);
    let mut desk = Phone::new("bob-desk", 5);
    bob.register(&mut world, 600);
    desk.register(&mut world, 600);
    assert_eq!(send(&mut alice, &mut world, "bob", writing, "<x/>").status(), 0);
    assert_eq!(read(&mut bob, &mut world, 200).len(), 1);
    assert_eq!(read(&mut desk, &mut world, 200).len(), 1);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    assert!(
        !world
            .writes
            .iter()
            .any(|write| matches!(write, StoreWrite::PutMessage(_)))
    );
}

#[test]
fn one_who_asks_is_told_of_the_delivery_and_of_the_failure() {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    alice.register(&mut world, 7200);
    let both = "positive-delivery, negative-delivery";
    send(&mut alice, &mut world, "carol", CPIM, &cpim("m1", both));
    send(
        &mut alice,
        &mut world,
        "carol",
        &format!("{CPIM}Expires: 60\r\n"),
        &cpim("m2", both),
    );
    send(
        &mut alice,
        &mut world,
        "carol",
        &format!("{CPIM}Expires: 60\r\n"),
        &cpim("m3", "positive-delivery"),
    );
    send(
        &mut alice,
        &mut world,
        "carol",
        CPIM,
        &cpim("m4", "negative-delivery"),
    );
    alice.has_nothing(&mut world);
    world.advance(Duration::from_secs(60));
    let told = |alice: &mut Phone, world: &mut World| -> Vec<Message> { read(alice, world, 200) };
    let failed = told(&mut alice, &mut world);
    assert_eq!(failed.len(), 1);
    let text = &bodies(&failed)[0];
    assert!(
        text.contains("<message-id>m2</message-id>") && text.contains("<failed/>"),
        "{text}"
    );
    assert!(
        text.contains("<recipient-uri>sip:carol@lab.test</recipient-uri>"),
        "{text}"
    );
    assert!(text.contains("Content-Disposition: notification\r\n"), "{text}");
    assert_eq!(failed[0].header(Name::ContentType), Some("message/cpim"));
    assert!(
        failed[0]
            .header(Name::From)
            .unwrap()
            .starts_with("\"Carol\" <sip:carol@lab.test>;tag=")
    );
    carol.register(&mut world, 600);
    assert_eq!(read(&mut carol, &mut world, 200).len(), 2);
    let delivered = told(&mut alice, &mut world);
    assert_eq!(delivered.len(), 1);
    let text = &bodies(&delivered)[0];
    assert!(
        text.contains("<message-id>m1</message-id><datetime>2027-01-15T08:00:00Z</datetime>")
            && text.contains("<delivered/>"),
        "{text}"
    );
}

#[test]
fn a_notification_is_kept_for_a_sender_who_is_away() {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    send(
        &mut alice,
        &mut world,
        "carol",
        CPIM,
        &cpim("m1", "positive-delivery"),
    );
    carol.register(&mut world, 600);
    read(&mut carol, &mut world, 200);
    world.restart();
    alice.register(&mut world, 600);
    let told = read(&mut alice, &mut world, 200);
    assert!(bodies(&told)[0].contains("<delivered/>"));
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn what_was_kept_for_one_who_is_not_configured_any_more_is_given_up() {
    let mut world = World::new();
    let (mut alice, ..) = phones();
    alice.register(&mut world, 600);
    send(
        &mut alice,
        &mut world,
        "carol",
        CPIM,
        &cpim("m1", "negative-delivery"),
    );
    world.reconfigure(|config| {
        config
            .credentials
            .retain(|credential| credential.username != "carol")
    });
    assert!(bodies(&read(&mut alice, &mut world, 200))[0].contains("<failed/>"));
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn plugins_are_asked_before_anything_is_kept() {
    let mut world = World::with(|config| config.hooks.message_filter = chain(OnFailure::Pass));
    let (mut alice, _, mut carol) = phones();
    for (verdict, status) in [
        (MessageVerdict::Drop, 202),
        (
            MessageVerdict::Reject {
                code: 403,
                reason: "no".into(),
            },
            403,
        ),
        (MessageVerdict::Pass, 202),
    ] {
        assert_eq!(send(&mut alice, &mut world, "carol", TEXT, "hi").status(), 0);
        let (ticket, Ask::Message(ask)) = world.question() else {
            panic!("a question about a message")
        };
        assert_eq!((ask.conference, ask.user.as_deref()), (None, Some("alice")));
        world.answer(ticket, Verdict::Message(verdict));
        assert_eq!(alice.final_response(&mut world).status(), status);
    }
    carol.register(&mut world, 600);
    assert_eq!(read(&mut carol, &mut world, 200).len(), 1);
}

#[test]
fn strangers_are_refused_and_one_who_writes_too_fast_is_told_so() {
    let mut world = World::with(|config| config.message_rate = 2);
    let (mut alice, ..) = phones();
    let mut mallory = Phone::new("mallory", 66);
    assert_eq!(send(&mut mallory, &mut world, "carol", TEXT, "hi").status(), 401);
    assert_eq!(send(&mut alice, &mut world, "nobody", TEXT, "hi").status(), 404);
    let statuses: Vec<u16> = (0..5)
        .map(|_| send(&mut alice, &mut world, "carol", TEXT, "hi").status())
        .collect();
    assert_eq!(statuses, [202, 202, 202, 202, 503]);
    world.advance(Duration::from_secs(1));
    assert_eq!(send(&mut alice, &mut world, "carol", TEXT, "hi").status(), 202);
}

#[test]
fn a_trusted_network_writes_as_fast_as_it_likes() {
    let mut world = World::with(|config| {
        config.message_rate = 1;
        config.trusted = vec!["198.51.100.0/24".parse().unwrap()];
    });
    let (mut alice, ..) = phones();
    for _ in 0..10 {
        assert_eq!(send(&mut alice, &mut world, "carol", TEXT, "hi").status(), 202);
    }
}

#[test]
fn to_a_conference_a_participant_writes_as_in_its_call_and_others_only_where_they_may() {
    for outside in [false, true] {
        let mut world = World::with(|config| config.conferences[0].outside_messages = outside);
        let (mut alice, mut bob, mut carol) = phones();
        alice.call(&mut world, "3000");
        bob.call(&mut world, "3000");
        assert_eq!(send(&mut alice, &mut world, "3000", TEXT, "in").status(), 202);
        let copy = bob.gets(&mut world, "MESSAGE", true);
        assert_eq!(copy.body_slice(), b"in");
        assert!(copy.to().unwrap().tag().is_some(), "in bob's own call");
        alice.has_nothing(&mut world);
        let response = send(&mut carol, &mut world, "3000", TEXT, "out");
        if outside {
            assert_eq!(response.status(), 202);
            for phone in [&mut alice, &mut bob] {
                let copy = phone.gets(&mut world, "MESSAGE", true);
                assert_eq!(copy.body_slice(), b"out");
                assert!(
                    copy.header(Name::From)
                        .unwrap()
                        .starts_with("\"Carol\" <sip:3000@lab.test>")
                );
            }
        } else {
            assert_eq!(response.status(), 403);
            assert!(response.header(Name::Reason).is_some());
            bob.has_nothing(&mut world);
        }
    }
}

#[test]
fn over_a_connection_that_is_gone_nothing_is_lost() {
    let mut world = World::new();
    let (mut alice, ..) = phones();
    let mut carol = Phone::new("carol", 3).over(Transport::Ws, 7);
    carol.register(&mut world, 600);
    world.handle(cordboard_engine::io::Input::FlowClosed { connection: 7 });
    assert_eq!(send(&mut alice, &mut world, "carol", TEXT, "1").status(), 202);
    let mut back = Phone::new("carol", 4).over(Transport::Ws, 8);
    back.register(&mut world, 600);
    assert_eq!(bodies(&read(&mut back, &mut world, 200)), ["1"]);
    // It breaks while a message is on it: there is nobody, and so it is kept.
    assert_eq!(send(&mut alice, &mut world, "carol", TEXT, "2").status(), 0);
    world.handle(cordboard_engine::io::Input::FlowClosed { connection: 8 });
    assert_eq!(alice.final_response(&mut world).status(), 202);
    let mut again = Phone::new("carol", 5).over(Transport::Ws, 9);
    again.register(&mut world, 600);
    assert_eq!(bodies(&read(&mut again, &mut world, 200)), ["2"]);
}
