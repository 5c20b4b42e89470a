//! What is wrong in a message and harms nobody is passed over; what leaves open who is meant, or where he is, is not.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::config::{Config, Credential};
use cordboard_engine::io::Input;
use cordboard_engine::sip::digest::ha1_md5;
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_engine::sip::name::Name;
use cordboard_model::UserId;

use crate::bridge::{Pair, pair};
use crate::phone::{Line, Phone, SDP, SDP_TYPE};
use crate::subscription::CONFERENCE;
use crate::world::{REALM, World};

/// Sends a text, each DEL of which stands for one byte of ISO 8859-1.
fn send(world: &mut World, phone: &Phone, text: &str) {
    let byte = |byte: u8| if byte == 0x7f { 0xfc } else { byte };
    let raw: Bytes = text.bytes().map(byte).collect::<Vec<u8>>().into();
    let message = Message::parse(raw, Framing::Datagram).expect("it can be read");
    world.handle(Input::Message {
        flow: phone.flow,
        message,
        stamp: world.now,
    });
}

fn rejected(world: &World, reason: &str) -> u64 {
    let counts = world.engine.counts();
    counts.rejected.get(reason).copied().unwrap_or_default()
}

/// Alice calls bob, whose phone answers with this line and these headers besides those that it copies.
fn answered(line: &str, headers: &str) -> (World, Phone, Phone, Message) {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 600);
    alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    let copied = |name| invite.header(name).unwrap();
    let text = format!(
        "SIP/2.0 {line}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=b\r\nCall-ID: {}\r\nCSeq: {}\r\n{headers}\
         Content-Length: {}\r\n\r\n{SDP}",
        copied(Name::Via),
        copied(Name::From),
        copied(Name::To),
        invite.call_id(),
        copied(Name::CSeq),
        SDP.len()
    );
    send(&mut world, &bob, &text);
    (world, alice, bob, invite)
}

#[test]
fn an_answer_is_taken_whatever_is_wrong_where_nobody_reads() {
    let contact = "<sip:bob@198.51.100.2:7070>";
    for (headers, target) in [
        (
            format!("Contact: {contact}\r\nServer: Telef\u{7f}n/1\r\n"),
            "sip:bob@198.51.100.2:7070",
        ),
        (
            format!("Contact: \"J\u{7f}rgen\" {contact}\r\n"),
            "sip:bob@198.51.100.2:7070",
        ),
        (
            format!("Contact: J\u{7f}rgen {contact}\r\n"),
            "sip:bob@198.51.100.2:7070",
        ),
        (
            format!("Contact: {contact}\r\nServer: a\r\nServer: b\r\nUser-Agent: c\r\nUser-Agent: d\r\n"),
            "sip:bob@198.51.100.2:7070",
        ),
        (
            format!("Contact: {contact}\r\nno header\r\nB\u{7f}ro: 1\r\n"),
            "sip:bob@198.51.100.2:7070",
        ),
        // A Contact that leads nowhere: what was called is called on.
        (
            "Contact: <sip:J\u{7f}rgen@198.51.100.2:7070>\r\n".to_owned(),
            "sip:bob@198.51.100.2:5060",
        ),
        (
            "Contact: <http://198.51.100.2/>\r\n".to_owned(),
            "sip:bob@198.51.100.2:5060",
        ),
        (
            format!("Contact: {contact}\r\nRecord-Route: nonsense\r\n"),
            "sip:bob@198.51.100.2:7070",
        ),
    ] {
        let (mut world, mut alice, mut bob, _) = answered("200 OK", &format!("{headers}{SDP_TYPE}"));
        assert_eq!(alice.final_response(&mut world).status(), 200, "{headers:?}");
        if target.ends_with("7070") {
            bob.flow.peer.set_port(7070);
        }
        let ack = bob.gets(&mut world, "ACK", false);
        assert_eq!(
            (ack.request_uri(), ack.header(Name::Route)),
            (target, None),
            "{headers:?}"
        );
    }
    let (mut world, mut alice, ..) = answered("486 Occup\u{7f}", "");
    assert_eq!(alice.final_response(&mut world).status(), 486);
}

#[test]
fn an_answer_that_leaves_open_whose_it_is_is_dropped() {
    for twice in [
        "From: <sip:x@y>;tag=1\r\n",
        "To: <sip:x@y>;tag=1\r\n",
        "Call-ID: x\r\n",
        "CSeq: 2 INVITE\r\n",
        "Content-Type: text/plain\r\n",
        "RSeq: 1\r\nRSeq: 2\r\n",
    ] {
        let (mut world, mut alice, ..) = answered("200 OK", &format!("{twice}{SDP_TYPE}"));
        alice.has_nothing_but_provisionals(&mut world);
        assert_eq!(rejected(&world, "bad_response"), 1, "{twice}");
    }
}

#[test]
fn an_ack_that_is_not_one_ends_nothing() {
    for (from, to, reason) in [
        ("SIP/2.0\r\n", "SIP/3.0\r\n", "version"),
        ("Max-Forwards: 70\r\n", "Max-Forwards: 70\n", "line_break"),
        (
            "Max-Forwards: 70\r\n",
            "Max-Forwards: 70\r\nCall-ID: x\r\n",
            "duplicate_header",
        ),
        (" ACK\r\n", " BYE\r\n", "cseq_method"),
    ] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        let (line, answer) = alice.invite(&mut world, "3000");
        assert_eq!(answer.unwrap().status(), 200);
        alice.listen(&mut world);
        alice.inbox.clear();
        let ack = ack(&alice, &line, &line.theirs);
        send(&mut world, &alice, &ack.replacen(from, to, 1));
        alice.has_nothing(&mut world);
        assert_eq!(
            (rejected(&world, reason), rejected(&world, "stray_ack")),
            (1, 0),
            "{to}"
        );
        world.advance(Duration::from_millis(600));
        assert_eq!(alice.final_response(&mut world).status(), 200, "once more: {to}");
        send(&mut world, &alice, &ack);
        world.advance(Duration::from_secs(40));
        alice.has_nothing(&mut world);
        assert_eq!(world.engine.gauges().dialogs, 1);
    }
}

/// Its sender would hear the 200 again and again, and never why.
#[test]
fn an_ack_is_taken_whatever_is_wrong_where_nobody_reads() {
    for (from, to) in [
        ("Max-Forwards: 70\r\n", "Max-Forwards: 999\r\n"),
        ("Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nMax-Forwards: 70\r\n"),
        ("Max-Forwards: 70\r\n", "no header\r\n"),
        ("Max-Forwards: 70\r\n", "User-Agent: a\r\nUser-Agent: a\r\n"),
        ("Length: 0", "Length: 7"),
        ("Length: 0", "Length: none"),
        ("ACK sip:", "ACK nobody:"),
    ] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        let (line, answer) = alice.invite(&mut world, "3000");
        assert_eq!(answer.unwrap().status(), 200);
        alice.listen(&mut world);
        alice.inbox.clear();
        let ack = ack(&alice, &line, &line.theirs);
        assert!(ack.contains(from));
        send(&mut world, &alice, &ack.replacen(from, to, 1));
        world.advance(Duration::from_secs(40));
        alice.has_nothing(&mut world);
        assert_eq!(world.engine.gauges().dialogs, 1, "{to}");
        assert_eq!(world.engine.counts().rejected.get("stray_ack"), None, "{to}");
    }
}

#[test]
fn an_ack_that_lost_a_part_of_its_answer_is_waited_for_once_more() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (uri, contact) = (format!("sip:3000@{REALM}"), alice.contact());
    let headers = format!("Contact: {contact}\r\n");
    let (cseq, answer) = alice.request_in(&mut world, "late", 1, "INVITE", &uri, &headers, b"");
    assert_eq!(answer.status(), 200);
    let line = Line {
        call_id: "late".into(),
        own: format!("<sip:alice@{REALM}>;tag=alice1"),
        theirs: answer.header(Name::To).unwrap().into(),
        target: uri,
        cseq,
    };
    alice.listen(&mut world);
    alice.inbox.clear();
    let plain = ack(&alice, &line, &line.theirs);
    let with = |length: usize| {
        let length = format!("{SDP_TYPE}Content-Length: {length}\r\n\r\n{SDP}");
        plain.replacen("Content-Length: 0\r\n\r\n", &length, 1)
    };
    send(&mut world, &alice, &with(SDP.len() + 9));
    assert_eq!(
        (rejected(&world, "content_length"), rejected(&world, "stray_ack")),
        (1, 0)
    );
    world.advance(Duration::from_millis(600));
    assert_eq!(alice.final_response(&mut world).status(), 200);
    send(&mut world, &alice, &with(SDP.len()));
    world.advance(Duration::from_secs(40));
    alice.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().dialogs, 1);
}

fn ack(phone: &Phone, line: &Line, to: &str) -> String {
    format!(
        "ACK {} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bKack{}\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
         To: {to}\r\nCall-ID: {}\r\nCSeq: {} ACK\r\nContent-Length: 0\r\n\r\n",
        line.target, phone.flow.peer, line.cseq, line.own, line.call_id, line.cseq
    )
}

#[test]
fn acks_that_nobody_waits_for_are_counted() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (line, refused) = alice.invite(&mut world, "3999");
    assert_eq!(refused.unwrap().status(), 404);
    let mut line = Line {
        cseq: line.cseq + 7,
        ..line
    };
    let strays = |world: &World| rejected(world, "stray_ack");
    assert_eq!(strays(&world), 0, "nor is the ACK of the challenge one");
    let text = ack(&alice, &line, &format!("<sip:3000@{REALM}>"));
    send(&mut world, &alice, &text);
    assert_eq!(strays(&world), 1);
    line = alice.call(&mut world, "3000");
    alice.ack(&mut world, &line);
    assert_eq!(strays(&world), 1, "a repeat of one that was waited for");
    let cseq = line.cseq + 1;
    alice.send(&mut world, &line, "ACK", cseq, "", b"");
    assert_eq!(strays(&world), 2);
}

#[test]
fn no_dialog_is_made_with_somebody_who_cannot_be_reached() {
    for (headers, phrase) in [
        ("Contact: *\r\n", "Bad Contact"),
        ("Contact: <sip:>\r\n", "Bad Contact"),
        ("Contact: <http://x/>\r\n", "Bad Contact"),
        ("Contact: <tel:3000>\r\n", "Bad Contact"),
        (
            "Contact: <sip:a@198.51.100.1>, <sip:b@198.51.100.1>\r\n",
            "Bad Contact",
        ),
        (
            "m: <sip:a@198.51.100.1>\r\nContact: <sip:b@198.51.100.1>\r\n",
            "Bad Contact",
        ),
        (
            "Contact: <sip:a@198.51.100.1>\r\nRecord-Route: nonsense\r\n",
            "Bad Record-Route",
        ),
        (
            "Contact: <sip:a@198.51.100.1>\r\nRecord-Route: <sip:p.test;lr>, <tel:1>\r\n",
            "Bad Record-Route",
        ),
    ] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        Phone::new("bob", 2).register(&mut world, 600);
        let offer = format!("{headers}{SDP_TYPE}");
        for number in ["bob", "3000"] {
            let uri = format!("sip:{number}@{REALM}");
            let refused = alice.request(&mut world, "INVITE", &uri, &offer, SDP.as_bytes());
            assert_eq!((refused.status(), refused.reason()), (400, phrase), "{headers}");
        }
        let uri = format!("sip:3999@{REALM}");
        let refused = alice.request(&mut world, "INVITE", &uri, &offer, SDP.as_bytes());
        assert_eq!(refused.status(), 404, "who is called comes first");
        let uri = format!("sip:3000@{REALM}");
        let subscribe = format!("{headers}{CONFERENCE}");
        let refused = alice.request(&mut world, "SUBSCRIBE", &uri, &subscribe, b"");
        assert_eq!((refused.status(), refused.reason()), (400, phrase), "{headers}");
        let reason = match phrase.ends_with("Contact") {
            true => "bad_contact",
            false => "bad_record_route",
        };
        assert_eq!(rejected(&world, reason), 3);
        world.advance(Duration::from_secs(70));
        world.is_clean();
    }
}

/// RFC 4475 section 3.4.1 has one; without its From tag it could not be told from others.
#[test]
fn a_caller_that_names_no_contact_is_reached_where_it_called_from() {
    let (mut world, mut alice) = (
        World::with(|config| config.trusted = vec!["198.51.100.0/24".parse().unwrap()]),
        Phone::new("alice", 1),
    );
    let invite = |from: &str, branch: &str| {
        format!(
            "INVITE sip:3000@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {}{branch}\r\nFrom: <{from}>;tag=a\r\n\
             To: <sip:3000@{REALM}>\r\nCall-ID: old{branch}{from}\r\nCSeq: 1 INVITE\r\n{SDP_TYPE}\r\n{SDP}",
            alice.flow.peer
        )
    };
    let texts = [
        (invite("sip:alice@198.51.100.1", ""), 200),
        (invite("sip:alice@198.51.100.1", ";branch=1"), 200),
        (invite("tel:1", ""), 400),
        (invite("sip:alice@198.51.100.1", ";branch=z9hG4bK1"), 200),
    ];
    for (text, status) in texts {
        send(&mut world, &alice, &text);
        assert_eq!(alice.final_response(&mut world).status(), status, "{text}");
    }
    // Nobody acknowledges, so that each call gets a BYE in the end.
    world.advance(Duration::from_secs(70));
    alice.listen(&mut world);
    let byes = alice
        .inbox
        .drain(..)
        .filter(|sent| sent.message.method_text() == "BYE");
    let named: BTreeSet<_> = byes.map(|bye| bye.message.request_uri().to_owned()).collect();
    assert_eq!(named, ["sip:alice@198.51.100.1".to_owned()].into());
    let uri = format!("sip:3000@{REALM}");
    let refused = alice.request(&mut world, "SUBSCRIBE", &uri, CONFERENCE, b"");
    assert_eq!((refused.status(), refused.reason()), (400, "Missing Contact"));
}

/// A phone that names itself badly is called where it came from, as if it had said nothing.
#[test]
fn a_caller_whose_contact_cannot_be_read_is_reached_by_the_way_it_came() {
    for (contact, status) in [
        ("<sip:alice@198.51.100.1:0;transport=tcp>", 200),
        ("<sip:alice@198.51.100.1;>", 200),
        ("<SIPS:alice@[fe80::1%eth0]:5060>", 200),
        ("<sip:alice@198.51.100.1;>, <sip:alice@198.51.100.1>", 400),
        ("<sip:alice@198.51.100.1;>, <sip:alice@198.51.100.1;>", 400),
        ("<sipp:alice@198.51.100.1;>", 400),
    ] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        alice.flow.peer.set_port(7070);
        let (from, uri) = ("sip:alice@198.51.100.1", format!("sip:3000@{REALM}"));
        let headers = format!("From: <{from}>;tag=a\r\nContact: {contact}\r\n{SDP_TYPE}");
        let answer = alice.request(&mut world, "INVITE", &uri, &headers, SDP.as_bytes());
        assert_eq!(answer.status(), status, "{contact}");
        if status == 400 {
            assert_eq!(answer.reason(), "Bad Contact");
            continue;
        }
        // Nobody acknowledges, so that it gets a BYE in the end: where it called from, not where a From leads.
        world.advance(Duration::from_secs(33));
        alice.listen(&mut world);
        alice.inbox.retain(|sent| sent.message.is_request());
        assert_eq!(
            alice.gets(&mut world, "BYE", true).request_uri(),
            from,
            "{contact}"
        );
        let headers = format!("Contact: {contact}\r\n{CONFERENCE}");
        let refused = alice.request(&mut world, "SUBSCRIBE", &uri, &headers, b"");
        assert_eq!((refused.status(), refused.reason()), (400, "Bad Contact"));
    }
}

/// What the others are called is for the nearest router to read.
#[test]
fn routers_that_only_the_nearest_has_to_understand_stay_in_the_route() {
    for (recorded, routes, faults) in [
        (
            "<sip:far.test;lr;>, <sip:198.51.100.2:5060;lr>",
            &["<sip:198.51.100.2:5060;lr>", "<sip:far.test;lr;>"][..],
            0,
        ),
        ("<sip:far.test;lr>, <sip:198.51.100.2:0;lr>", &[], 1),
    ] {
        let headers = format!("Record-Route: {recorded}\r\nContact: <sip:bob@10.0.0.9>\r\n{SDP_TYPE}");
        let (mut world, mut alice, mut bob, _) = answered("200 OK", &headers);
        assert_eq!(alice.final_response(&mut world).status(), 200);
        let ack = bob.gets(&mut world, "ACK", false);
        assert_eq!(ack.values(Name::Route).collect::<Vec<_>>(), routes, "{recorded}");
        assert_eq!(rejected(&world, "bad_record_route"), faults);
    }
}

#[test]
fn a_contact_that_leads_nowhere_changes_nothing_in_a_call() {
    let mut pair = pair();
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        from_bob,
        ..
    } = &mut pair;
    for method in ["INVITE", "UPDATE"] {
        let headers = format!("Contact: <http://x/>\r\n{SDP_TYPE}");
        let answer = alice.within(world, from_alice, method, &headers, SDP.as_bytes());
        assert_eq!(answer.status(), 200, "{method}");
        if method == "INVITE" {
            alice.ack(world, from_alice);
        }
    }
    world.advance(Duration::from_secs(1));
    bob.listen(world);
    bob.inbox.clear();
    bob.within(world, from_bob, "BYE", "", b"");
    let bye = alice.gets(world, "BYE", true);
    assert_eq!(bye.request_uri(), "sip:alice@198.51.100.1:5060");
    pair.is_gone();
}

#[test]
fn white_space_around_the_slash_of_a_type_says_nothing() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let uri = format!("sip:3000@{REALM}");
    let headers = format!(
        "Contact: {}\r\nContent-Type: application / sdp\r\n",
        alice.contact()
    );
    let answer = alice.request(&mut world, "INVITE", &uri, &headers, SDP.as_bytes());
    assert_eq!(answer.status(), 200);
    let mut bob = Phone::new("bob", 2);
    let mut line = bob.call(&mut world, "3000");
    let answer = bob.within(
        &mut world,
        &mut line,
        "MESSAGE",
        "Content-Type: text\t/ plain\r\n",
        b"hi",
    );
    assert_eq!(answer.status(), 202);
}

#[test]
fn a_number_is_dialled_without_what_is_for_the_eye() {
    for (uri, status) in [
        ("tel:3-0(0).0".to_owned(), 200),
        (format!("sip:30-00@{REALM};user=phone"), 200),
        (format!("sip:30-00@{REALM}"), 404),
    ] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        let headers = format!("Contact: {}\r\n{SDP_TYPE}", alice.contact());
        let answer = alice.request(&mut world, "INVITE", &uri, &headers, SDP.as_bytes());
        assert_eq!(answer.status(), status, "{uri}");
    }
}

/// Numbers and names may be configured with what is for the eye alone elsewhere.
#[test]
fn what_is_configured_with_separators_is_found_as_it_is_written() {
    let numbers = |config: &mut Config| {
        let desk = |name: &str, from: &Credential| Credential {
            username: name.into(),
            owner: name.into(),
            user: UserId(name.bytes().map(u128::from).sum()),
            ha1_md5: Some(ha1_md5(name, REALM, "secret")),
            ..from.clone()
        };
        let (one, other) = (
            desk("1001-2", &config.credentials[0]),
            desk("10012", &config.credentials[0]),
        );
        config.credentials.extend([one, other]);
        config.conferences[0].member.numbers = vec!["300-1".into()];
    };
    for (uri, role) in [
        ("tel:300-1".to_owned(), "member"),
        (format!("sip:300-1@{REALM};user=phone"), "member"),
        (format!("sip:300-1*12-34@{REALM};user=phone"), "member"),
        // 3001 is the moderator's.
        (format!("sip:30-01*1234@{REALM};user=phone"), "moderator"),
    ] {
        let mut world = World::with(numbers);
        let mut desk = Phone::new("1001-2", 1);
        let headers = format!(
            "From: <sip:1001-2@{REALM};user=phone>;tag=a\r\nContact: {}\r\n{SDP_TYPE}",
            desk.contact()
        );
        let answer = desk.request(&mut world, "INVITE", &uri, &headers, SDP.as_bytes());
        assert_eq!(answer.status(), 200, "{uri}");
        let number = if role == "member" { "300-1" } else { "3001" };
        let contact = answer.header(Name::Contact).unwrap();
        assert!(contact.contains(&format!("sip:{number}@")), "{uri}: {contact}");
    }
    let mut world = World::with(|config| {
        numbers(config);
        config.trusted = vec!["198.51.100.0/24".parse().unwrap()];
    });
    let mut desk = Phone::new("1001-2", 1);
    let text = format!(
        "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bKr\r\nFrom: \
         <sip:1001-2@{REALM};user=phone>;tag=a\r\nTo: <sip:1001-2@{REALM};user=phone>\r\nCall-ID: r\r\n\
         CSeq: 1 REGISTER\r\nContact: <sip:1001-2@198.51.100.1>\r\nExpires: 600\r\n\r\n",
        desk.flow.peer
    );
    send(&mut world, &desk, &text);
    assert_eq!(desk.final_response(&mut world).status(), 200);
    let stored = world.writes.iter().any(|write| {
        let write = format!("{write:?}");
        write.contains(&format!("1001-2@{REALM}"))
    });
    assert!(stored, "{:?}", world.writes);
}
