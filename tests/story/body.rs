//! Bodies that are not what is asked for: descriptions among other parts, types and encodings that we do not take,
//! heads that are no text; and what a refusal tells of what would do.

use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::Input;
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_engine::sip::name::Name;

use crate::bridge::{Pair, pair};
use crate::phone::{Line, Phone, SDP, SDP_TYPE};
use crate::world::{REALM, World};

const TYPES: &str = "application/sdp, multipart/*";
const MULTIPART: &str = "Content-Type: multipart/mixed;boundary=b\r\n";
const OPTIONAL: &str = "Content-Type: text/plain\r\nContent-Disposition: render;handling=optional\r\n";

/// A description behind a part that nobody here understands.
fn multipart(sdp: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/isup;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n\
         \u{1}\u{2}\r\n--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--\r\n"
    )
}

/// Calls a number with a body of one's own; the final answer.
fn invite(world: &mut World, phone: &mut Phone, number: &str, headers: &str, body: &str) -> (Line, Message) {
    let uri = format!("sip:{number}@{REALM}");
    let call_id = phone.next_number();
    let headers = format!("Contact: {}\r\n{headers}", phone.contact());
    let (cseq, response) = phone.request_in(world, &call_id, 1, "INVITE", &uri, &headers, body.as_bytes());
    let mut line = Line {
        call_id,
        own: format!("<sip:{0}@{REALM}>;tag={0}1", phone.name),
        theirs: format!("<{uri}>"),
        target: uri,
        cseq,
    };
    if response.status() != 0 {
        line.learn(&response);
    }
    (line, response)
}

/// What the answer says that would do: Accept and Accept-Encoding.
fn instead(response: &Message) -> (u16, Option<&str>, Option<&str>) {
    (
        response.status(),
        response.header(Name::Accept),
        response.header(Name::AcceptEncoding),
    )
}

#[test]
fn what_an_invite_may_not_bring_is_refused_with_what_it_may() {
    let mut pair = pair();
    let Pair {
        world,
        alice,
        from_alice,
        ..
    } = &mut pair;
    let mut carol = Phone::new("carol", 3);
    let gzip = format!("{SDP_TYPE}e: gzip\r\n");
    let unpacked = (415, Some(TYPES), Some("identity"));
    for (headers, expect) in [
        ("Content-Type: text/plain\r\n", (415, Some(TYPES), None)),
        ("Content-Type: application/isup\r\n", (415, Some(TYPES), None)),
        (MULTIPART, (415, Some(TYPES), None)),
        (&gzip, unpacked),
    ] {
        for number in ["3000", "bob"] {
            let (_, refused) = invite(world, &mut carol, number, headers, "x");
            assert_eq!(instead(&refused), expect, "{number} {headers}");
        }
        for method in ["INVITE", "UPDATE"] {
            let refused = alice.within(world, from_alice, method, headers, b"x");
            assert_eq!(instead(&refused), expect, "{method} {headers}");
            if method == "INVITE" {
                alice.ack(world, from_alice);
            }
        }
    }
    // What was agreed on before still holds.
    assert_eq!(
        alice
            .within(world, from_alice, "UPDATE", SDP_TYPE, SDP.as_bytes())
            .status(),
        200
    );
}

#[test]
fn a_description_among_other_parts_is_the_offer() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (mut line, response) = invite(&mut world, &mut alice, "3000", MULTIPART, &multipart(SDP));
    assert_eq!(response.status(), 200);
    let ours = String::from_utf8_lossy(response.body_slice()).into_owned();
    assert!(
        ours.contains("m=audio") && ours.contains(" 0 8 101\r\n"),
        "{ours}"
    );
    alice.ack(&mut world, &line);
    let held = multipart(&format!("{SDP}a=sendonly\r\n"));
    for method in ["INVITE", "UPDATE"] {
        let answer = alice.within(&mut world, &mut line, method, MULTIPART, held.as_bytes());
        assert_eq!(answer.status(), 200, "{method}");
        let ours = String::from_utf8_lossy(answer.body_slice()).into_owned();
        assert!(ours.contains("a=recvonly"), "{method}: {ours}");
        if method == "INVITE" {
            alice.ack(&mut world, &line);
        }
    }
}

#[test]
fn a_body_that_need_not_be_understood_is_no_offer() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (mut line, response) = invite(&mut world, &mut alice, "3000", OPTIONAL, "hello");
    assert_eq!(response.status(), 200);
    assert!(response.body_slice().starts_with(b"v=0"), "our offer");
    // The answer comes in the ACK, as a part.
    alice.send(
        &mut world,
        &line,
        "ACK",
        line.cseq,
        MULTIPART,
        multipart(SDP).as_bytes(),
    );
    let update = alice.within(&mut world, &mut line, "UPDATE", OPTIONAL, b"hello");
    assert_eq!((update.status(), update.body_slice()), (200, &b""[..]));
    world.advance(Duration::from_secs(40));
    assert_eq!(world.engine.gauges().conferences, 1, "the call is up");
}

#[test]
fn an_answer_may_be_a_part_too() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 600);
    let (mut line, _) = alice.invite(&mut world, "bob");
    let offer = bob.gets(&mut world, "INVITE", false);
    let headers = format!("Contact: {}\r\n{MULTIPART}", bob.contact());
    bob.respond(&mut world, &offer, 200, &headers, &multipart(SDP));
    bob.gets(&mut world, "ACK", false);
    let answer = alice.final_response(&mut world);
    assert_eq!(answer.status(), 200);
    line.learn(&answer);
    alice.ack(&mut world, &line);
    bob.has_nothing(&mut world);
}

#[test]
fn messages_that_are_compressed_are_refused_and_not_kept() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let mut line = alice.call(&mut world, "3000");
    let text = "Content-Type: text/plain\r\n";
    for (encoding, unpacked) in [
        ("Content-Encoding: gzip\r\n", false),
        ("e: GZIP\r\n", false),
        ("e: identity, deflate\r\n", false),
        ("Content-Encoding: Identity\r\n", true),
    ] {
        let headers = format!("{text}{encoding}");
        let inside = alice.within(&mut world, &mut line, "MESSAGE", &headers, b"x");
        let aside = alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", &headers, b"x");
        for response in [&inside, &aside] {
            let accepted = response.header(Name::AcceptEncoding);
            match unpacked {
                false => assert_eq!(
                    (response.status(), accepted),
                    (415, Some("identity")),
                    "{encoding}"
                ),
                true => assert_ne!(response.status(), 415),
            }
        }
    }
}

#[test]
fn who_has_no_room_says_when_to_come_back() {
    let mut world = World::with(|config| config.limits.calls = 1);
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    alice.call(&mut world, "3000");
    let (_, refused) = bob.invite(&mut world, "3000");
    let refused = refused.unwrap();
    assert_eq!(
        (refused.status(), refused.header(Name::RetryAfter)),
        (503, Some("10"))
    );
}

#[test]
fn a_head_that_is_no_text_is_answered_and_counted() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let text = format!(
        "OPTIONS sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKlatin\r\nFrom: \"J?rg\" <sip:alice@{REALM}>;tag=1\r\n\
         To: <sip:{REALM}>\r\nCall-ID: latin\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nSubject: gr?n\r\nContent-Length: 0\r\n\r\n",
        alice.flow.peer
    );
    let raw: Vec<u8> = text
        .bytes()
        .map(|byte| if byte == b'?' { 0xfc } else { byte })
        .collect();
    let size = raw.len();
    let message = Message::parse(Bytes::from(raw), Framing::Datagram).unwrap();
    world.handle(Input::Message {
        flow: alice.flow,
        message,
        stamp: world.now,
    });
    let refused = alice.final_response(&mut world);
    assert_eq!(
        (refused.status(), refused.reason()),
        (400, "Headers Are Not UTF-8")
    );
    assert_eq!(refused.via().unwrap().branch(), Some("z9hG4bKlatin"));
    assert!(refused.raw().len() <= size, "{} {size}", refused.raw().len());
    assert_eq!(world.engine.counts().rejected["not_utf8"], 1);
}

#[test]
fn a_503_of_a_phone_to_a_message_is_none_of_ours() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 600);
    let text = "Content-Type: text/plain\r\n";
    let none = alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", text, b"x");
    assert_eq!(none.status(), 0, "bob's phone is asked first");
    let copy = bob.gets(&mut world, "MESSAGE", false);
    bob.respond(&mut world, &copy, 503, "", "");
    let refused = alice.final_response(&mut world);
    assert_eq!(refused.status(), 480, "who hears 503 avoids the switch");
    assert_eq!(
        refused.header(Name::RetryAfter),
        None,
        "the phone said nothing of that"
    );
}
