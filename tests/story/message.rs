//! Messages in a conference and between users.

use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::Transport;
use cordboard_engine::sip::name::Name;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::message::{MessageVerdict, Rewrite};
use cordboard_model::{Ask, Verdict};

use crate::phone::{Line, Phone, SDP_TYPE};
use crate::world::{World, chain};

const JSON: &str = "Content-Type: application/x-myphone-confbridge-chat+json\r\n";

pub(crate) struct Room {
    pub(crate) world: World,
    pub(crate) alice: Phone,
    pub(crate) bob: Phone,
    carol: Phone,
    pub(crate) line: Line,
}

/// Three in conference 3000.
pub(crate) fn room(mut world: World) -> Room {
    let (mut alice, mut bob, mut carol) = (
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    );
    let line = alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    carol.call(&mut world, "3000");
    Room {
        world,
        alice,
        bob,
        carol,
        line,
    }
}

#[test]
fn a_message_reaches_every_other_byte_for_byte_under_its_senders_name() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        mut carol,
        mut line,
    } = room(World::new());
    let body = "{\"Body\":\"gr\u{fc}\u{df}e \u{2603} \0 end\"}".as_bytes();
    let name = r#""Ännä \"Q\" ☃""#;
    let headers = format!(
        "From: {name} {}\r\n{JSON}Subject: s\r\nP-Asserted-Identity: <sip:secret@lab.test>\r\nX-Thing: 1\r\n",
        line.own
    );
    let response = alice.within(&mut world, &mut line, "MESSAGE", &headers, body);
    assert_eq!(response.status(), 202);
    for phone in [&mut bob, &mut carol] {
        let copy = phone.gets(&mut world, "MESSAGE", true);
        assert_eq!(copy.body_slice(), body);
        assert_eq!(
            copy.header(Name::ContentType),
            Some("application/x-myphone-confbridge-chat+json")
        );
        let from = copy.header(Name::From).unwrap();
        assert!(
            from.starts_with(&format!("{name} <sip:3000@lab.test>;tag=")),
            "{from}"
        );
        assert_eq!(copy.header(Name::Subject), Some("s"));
        assert_eq!(
            (copy.header(Name::PAssertedIdentity), copy.other("X-Thing")),
            (None, None)
        );
        assert_eq!(
            copy.request_uri(),
            format!("sip:{}@{}", phone.name, phone.flow.peer)
        );
        assert!(
            !String::from_utf8_lossy(copy.raw()).contains("alice"),
            "nothing else tells who sent it"
        );
    }
    alice.has_nothing(&mut world);
}

#[test]
fn what_the_sender_gets_for_what_it_sends() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        mut line,
        ..
    } = room(World::new());
    let text = "Content-Type: text/plain;charset=utf-8\r\n";
    let large = vec![b'x'; (64 << 10) + 1];
    let cases: [(&str, &[u8], u16); 6] = [
        (text, b"hello", 202),
        (text, b"", 415),
        ("", b"hello", 415),
        ("Content-Type: image/png\r\n", b"png", 415),
        ("Content-Type: multipart/mixed;boundary=b\r\n", b"--b--", 202),
        (text, &large, 413),
    ];
    for (headers, body, status) in cases {
        let response = alice.within(&mut world, &mut line, "MESSAGE", headers, body);
        assert_eq!(response.status(), status, "{headers:?}");
        if status == 415 {
            assert_eq!(
                response.header(Name::Accept),
                Some("text/*, application/*, message/cpim, multipart/*")
            );
        }
        bob.listen(&mut world);
        assert_eq!(bob.inbox.len(), usize::from(status == 202), "{headers:?}");
        for request in std::mem::take(&mut bob.inbox) {
            assert_eq!(
                request
                    .message
                    .header(Name::ContentType)
                    .map(|kind| format!("Content-Type: {kind}\r\n")),
                Some(headers.to_owned())
            );
            bob.respond(&mut world, &request.message, 200, "", "");
        }
    }
}

#[test]
fn a_repeat_is_answered_again_and_relayed_once() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        line,
        ..
    } = room(World::new());
    let text = format!(
        "MESSAGE {} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKonce\r\nMax-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 20 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
        line.target, line.own, line.theirs, line.call_id
    );
    for _ in 0..2 {
        world.receive(alice.flow, &text, b"");
        assert_eq!(alice.final_response(&mut world).status(), 202);
    }
    bob.gets(&mut world, "MESSAGE", true);
    bob.has_nothing(&mut world);
    let lower = text
        .replace("onceX", "low")
        .replace("z9hG4bKonce", "z9hG4bKlow")
        .replace("CSeq: 20", "CSeq: 19");
    world.receive(alice.flow, &lower, b"");
    let response = alice.final_response(&mut world);
    assert_eq!(
        (response.status(), response.header(Name::RetryAfter)),
        (500, None)
    );
}

#[test]
fn outside_its_dialog_a_message_finds_nobody() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        mut line,
        ..
    } = room(World::new());
    let mut wrong = line.clone();
    wrong.theirs = wrong.theirs.replace("tag=", "tag=x");
    assert_eq!(
        alice
            .within(&mut world, &mut wrong, "MESSAGE", JSON, b"{}")
            .status(),
        481
    );
    alice.within(&mut world, &mut line, "BYE", "", b"");
    assert_eq!(
        alice
            .within(&mut world, &mut line, "MESSAGE", JSON, b"{}")
            .status(),
        481
    );
    bob.has_nothing(&mut world);
}

#[test]
fn one_who_is_alone_hears_that_it_was_taken() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let mut line = alice.call(&mut world, "3000");
    assert_eq!(
        alice
            .within(&mut world, &mut line, "MESSAGE", JSON, b"{}")
            .status(),
        202
    );
    alice.has_nothing(&mut world);
}

#[test]
fn one_silent_phone_delays_nobody_and_keeps_its_call() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        mut carol,
        mut line,
    } = room(World::new());
    for number in 0..6 {
        let body = format!("{number}");
        assert_eq!(
            alice
                .within(
                    &mut world,
                    &mut line,
                    "MESSAGE",
                    "Content-Type: text/plain\r\n",
                    body.as_bytes()
                )
                .status(),
            202
        );
        assert_eq!(
            carol.gets(&mut world, "MESSAGE", true).body_slice(),
            body.as_bytes()
        );
    }
    bob.listen(&mut world);
    let first: Vec<_> = bob.inbox.iter().map(|delivery| delivery.message.body()).collect();
    assert_eq!(first, ["0", "1", "2", "3"], "the window is four");
    world.advance(Duration::from_secs(70));
    bob.listen(&mut world);
    assert!(
        bob.inbox
            .iter()
            .any(|delivery| delivery.message.body_slice() == b"5"),
        "the others went out after timer F"
    );
    assert_eq!(world.engine.gauges().participants[0], 3);
    assert_eq!(world.engine.counts().timeouts["F"], 6);
}

#[test]
fn one_who_says_481_is_hung_up_on_once_and_one_who_says_486_is_not() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        mut carol,
        mut line,
    } = room(World::new());
    alice.within(&mut world, &mut line, "MESSAGE", JSON, b"{}");
    let to_bob = bob.gets(&mut world, "MESSAGE", false);
    let to_carol = carol.gets(&mut world, "MESSAGE", false);
    bob.respond(&mut world, &to_bob, 481, "", "");
    carol.respond(&mut world, &to_carol, 486, "", "");
    bob.gets(&mut world, "BYE", true);
    bob.has_nothing(&mut world);
    carol.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().participants[0], 2);
}

#[test]
fn a_500_for_its_number_is_sent_once_more_and_then_one_at_a_time() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        mut line,
        ..
    } = room(World::new());
    alice.within(&mut world, &mut line, "MESSAGE", JSON, b"1");
    let first = bob.gets(&mut world, "MESSAGE", false);
    bob.respond(&mut world, &first, 500, "", "");
    let again = bob.gets(&mut world, "MESSAGE", false);
    assert_eq!(again.body_slice(), b"1");
    assert!(again.cseq().unwrap().number > first.cseq().unwrap().number);
    alice.within(&mut world, &mut line, "MESSAGE", JSON, b"2");
    bob.has_nothing(&mut world);
    bob.respond(&mut world, &again, 200, "", "");
    assert_eq!(bob.gets(&mut world, "MESSAGE", false).body_slice(), b"2");
}

#[test]
fn nothing_is_sent_between_a_200_and_its_ack() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut line = alice.call(&mut world, "3000");
    let (from_bob, _) = bob.invite(&mut world, "3000");
    bob.listen(&mut world);
    bob.inbox.clear();
    alice.within(&mut world, &mut line, "MESSAGE", JSON, b"{}");
    bob.has_nothing(&mut world);
    bob.ack(&mut world, &from_bob);
    bob.gets(&mut world, "MESSAGE", true);
}

#[test]
fn plugins_see_a_message_once_and_decide_what_becomes_of_it() {
    let verdicts: [(MessageVerdict, u16, Option<&[u8]>); 4] = [
        (MessageVerdict::Pass, 202, Some(b"darn")),
        (
            MessageVerdict::Rewrite(Rewrite {
                body: Some(Bytes::from("****")),
                ..Rewrite::default()
            }),
            202,
            Some(b"****"),
        ),
        (MessageVerdict::Drop, 202, None),
        (
            MessageVerdict::Reject {
                code: 403,
                reason: "No \"such\" words".into(),
            },
            403,
            None,
        ),
    ];
    for (verdict, status, copy) in verdicts {
        let Room {
            mut world,
            mut alice,
            mut bob,
            line,
            ..
        } = room(World::with(|config| {
            config.hooks.message_filter = chain(OnFailure::Pass)
        }));
        alice.send(
            &mut world,
            &line,
            "MESSAGE",
            9,
            "Content-Type: text/plain\r\n",
            b"darn",
        );
        alice.has_nothing(&mut world);
        let (ticket, Ask::Message(ask)) = world.question() else {
            panic!("a question about a message")
        };
        assert_eq!(
            (ask.body.as_ref(), ask.display_name.as_str()),
            (&b"darn"[..], "Alice")
        );
        assert!(world.asked.is_empty());
        world.answer(ticket, Verdict::Message(verdict));
        let response = alice.final_response(&mut world);
        assert_eq!(response.status(), status);
        if status == 403 {
            assert_eq!(response.reason(), "No \"such\" words");
            assert_eq!(
                response.header(Name::Reason),
                Some("SIP;cause=403;text=\"No \\\"such\\\" words\"")
            );
        }
        match copy {
            Some(copy) => assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), copy),
            None => bob.has_nothing(&mut world),
        }
    }
}

#[test]
fn one_senders_messages_keep_their_order_whatever_order_the_verdicts_have() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        line,
        ..
    } = room(World::with(|config| {
        config.hooks.message_filter = chain(OnFailure::Pass)
    }));
    for (cseq, body) in [(9, b"1"), (10, b"2"), (11, b"3")] {
        alice.send(
            &mut world,
            &line,
            "MESSAGE",
            cseq,
            "Content-Type: text/plain\r\n",
            body,
        );
    }
    let tickets: Vec<_> = world.asked.drain(..).map(|(ticket, _)| ticket).collect();
    for ticket in [tickets[2], tickets[1]] {
        world.answer(ticket, Verdict::Message(MessageVerdict::Pass));
    }
    bob.has_nothing(&mut world);
    world.answer(tickets[0], Verdict::Message(MessageVerdict::Pass));
    for body in [b"1", b"2", b"3"] {
        assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), body);
    }
}

#[test]
fn a_message_whose_sender_hangs_up_while_the_plugins_think_is_answered_and_not_relayed() {
    let Room {
        mut world,
        mut alice,
        mut bob,
        mut line,
        ..
    } = room(World::with(|config| {
        config.hooks.message_filter = chain(OnFailure::Pass)
    }));
    line.cseq += 1;
    alice.send(&mut world, &line, "MESSAGE", line.cseq, JSON, b"{}");
    let (ticket, _) = world.question();
    line.cseq += 1;
    alice.send(&mut world, &line, "BYE", line.cseq, "", b"");
    alice.listen(&mut world);
    let mut statuses: Vec<u16> = alice
        .inbox
        .iter()
        .map(|delivery| delivery.message.status())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 487]);
    world.answer(ticket, Verdict::Message(MessageVerdict::Pass));
    bob.has_nothing(&mut world);
    assert_eq!(world.engine.counts().stale_verdicts, 1);
}

#[test]
fn one_who_writes_too_fast_is_told_when_to_come_back() {
    let Room {
        mut world,
        mut alice,
        mut line,
        ..
    } = room(World::with(|config| config.message_rate = 5));
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(
            alice
                .within(&mut world, &mut line, "MESSAGE", JSON, b"{}")
                .status(),
        );
    }
    assert_eq!(statuses, [vec![202; 10], vec![503]].concat());
    world.advance(Duration::from_secs(1));
    assert_eq!(
        alice
            .within(&mut world, &mut line, "MESSAGE", JSON, b"{}")
            .status(),
        202
    );
}

#[test]
fn chat_can_be_off() {
    let Room {
        mut world,
        mut alice,
        mut line,
        ..
    } = room(World::with(|config| config.conferences[0].chat = false));
    let response = alice.within(&mut world, &mut line, "MESSAGE", JSON, b"{}");
    assert_eq!((response.status(), response.reason()), (403, "Chat Is Disabled"));
    assert!(response.header(Name::Reason).is_some());
}

#[test]
fn one_who_does_not_accept_a_type_does_not_get_it() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut line = alice.call(&mut world, "3000");
    let headers = "Contact: <sip:bob@198.51.100.2>\r\nAccept: application/sdp, text/*\r\n";
    let (cseq, response) = bob.request_in(&mut world, "b", 1, "INVITE", "sip:3000@lab.test", headers, b"");
    let mut from_bob = Line {
        call_id: "b".into(),
        own: "<sip:bob@lab.test>;tag=bob1".into(),
        theirs: String::new(),
        target: String::new(),
        cseq,
    };
    from_bob.learn(&response);
    bob.send(
        &mut world,
        &from_bob,
        "ACK",
        cseq,
        SDP_TYPE,
        crate::phone::SDP.as_bytes(),
    );
    alice.within(&mut world, &mut line, "MESSAGE", JSON, b"{}");
    alice.within(
        &mut world,
        &mut line,
        "MESSAGE",
        "Content-Type: text/plain\r\n",
        b"hi",
    );
    bob.inbox.clear();
    assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), b"hi");
    bob.has_nothing(&mut world);
}

#[test]
fn the_narrowest_range_of_an_accept_holds_and_an_empty_one_takes_nothing() {
    for (accept, taken) in [
        ("text/plain,text/html;q=0", vec!["plain"]),
        ("text/plain;q=0, */*", vec!["html"]),
        ("text/*, text/html;q=0.1", vec!["plain", "html"]),
        ("", vec![]),
    ] {
        let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
        let mut line = alice.call(&mut world, "3000");
        let headers = format!("Accept: {accept}\r\n");
        let (from_bob, answer) = bob.invite_with(&mut world, "3000", &headers);
        assert_eq!(answer.unwrap().status(), 200);
        bob.ack(&mut world, &from_bob);
        bob.inbox.clear();
        for kind in ["plain", "html"] {
            let kind_of = format!("Content-Type: text/{kind}\r\n");
            alice.within(&mut world, &mut line, "MESSAGE", &kind_of, kind.as_bytes());
        }
        bob.listen(&mut world);
        let got: Vec<_> = bob.inbox.iter().map(|delivery| delivery.message.body()).collect();
        assert_eq!(got, taken, "{accept}");
    }
}

#[test]
fn over_websocket_a_message_takes_the_connection_that_the_call_came_by() {
    let mut world = World::new();
    let (mut alice, mut bob) = (
        Phone::new("alice", 1),
        Phone::new("bob", 2).over(Transport::Ws, 7),
    );
    let mut line = alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    alice.within(&mut world, &mut line, "MESSAGE", JSON, b"{}");
    bob.listen(&mut world);
    assert_eq!(bob.inbox[0].flow, bob.flow);
    assert!(
        bob.inbox[0]
            .message
            .header(Name::Via)
            .unwrap()
            .starts_with("SIP/2.0/WS ")
    );
}

#[test]
fn between_users_the_answer_of_the_one_contact_is_the_senders_answer() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("carol", 3));
    bob.register(&mut world, 600);
    let send = |world: &mut World, alice: &mut Phone| {
        alice.request(
            world,
            "MESSAGE",
            "sip:carol@lab.test",
            "Content-Type: text/plain\r\n",
            b"psst",
        )
    };
    assert_eq!(send(&mut world, &mut alice).status(), 0, "no answer before hers");
    let copy = bob.gets(&mut world, "MESSAGE", false);
    assert!(
        copy.header(Name::From)
            .unwrap()
            .starts_with("\"Alice\" <sip:alice@lab.test>;tag=")
    );
    assert_eq!(copy.body_slice(), b"psst");
    bob.respond(&mut world, &copy, 200, "", "");
    assert_eq!(alice.final_response(&mut world).status(), 200);
    send(&mut world, &mut alice);
    let copy = bob.gets(&mut world, "MESSAGE", false);
    bob.respond(&mut world, &copy, 486, "", "");
    assert_eq!(alice.final_response(&mut world).status(), 486);
    for (to, status) in [
        ("sip:bob@lab.test", 202),
        ("sip:dave@lab.test", 404),
        ("sip:3000@lab.test", 403),
    ] {
        let response = alice.request(&mut world, "MESSAGE", to, "Content-Type: text/plain\r\n", b"psst");
        assert_eq!(response.status(), status, "{to}");
    }
}
