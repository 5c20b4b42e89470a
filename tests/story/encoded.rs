//! Messages that were encoded for the way (RFC 2045 section 6): carried as they came, and read where they are.

use bytes::Bytes;
use cordboard_engine::sip::name::Name;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::message::{MessageVerdict, Rewrite};
use cordboard_model::{Ask, Verdict};

use crate::message::{Room, room};
use crate::pager::{CPIM, TEXT, cpim, phones, send};
use crate::phone::Phone;
use crate::world::{World, chain};

#[test]
fn plugins_see_what_was_encoded_for_the_way_as_it_was_written() {
    // What travels is what they have seen: others may undo more than we do.
    for (body, shown, new, copy) in [
        ("ZGFybg==", "darn", None, "darn"),
        ("ZGFybg==!", "darn", None, "darn"),
        ("Z!GFybg==", "darn", None, "darn"),
        ("ZGFybg==ZGFybg==", "darndarn", None, "darndarn"),
        ("ZGFybg==Z", "ZGFybg==Z", None, "ZGFybg==Z"),
        ("ZGFybg==", "darn", Some("****"), "****"),
        ("ZGFybg==", "darn", Some("ZGFybg=="), "ZGFybg=="),
    ] {
        let Room {
            mut world,
            mut alice,
            mut bob,
            line,
            ..
        } = room(World::with(|config| {
            config.hooks.message_filter = chain(OnFailure::Pass)
        }));
        let headers = "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n";
        alice.send(&mut world, &line, "MESSAGE", 9, headers, body.as_bytes());
        let (ticket, Ask::Message(ask)) = world.question() else {
            panic!("a question about a message")
        };
        assert_eq!(ask.body.as_ref(), shown.as_bytes());
        let verdict = match new {
            None => MessageVerdict::Pass,
            Some(new) => MessageVerdict::Rewrite(Rewrite {
                body: Some(Bytes::from(new)),
                ..Rewrite::default()
            }),
        };
        world.answer(ticket, Verdict::Message(verdict));
        let heard = bob.gets(&mut world, "MESSAGE", true);
        assert_eq!(
            (heard.body_slice(), heard.header(Name::ContentTransferEncoding)),
            (copy.as_bytes(), None),
            "{body}"
        );
    }
}

#[test]
fn what_plugins_cannot_read_is_not_relayed_where_they_are_asked() {
    for (filter, encoding, status) in [
        (true, "base64,", 415),
        (true, "\"base64\"", 415),
        (true, "x-own", 415),
        (false, "x-own", 202),
    ] {
        let Room {
            mut world,
            mut alice,
            mut line,
            ..
        } = room(World::with(|config| {
            if filter {
                config.hooks.message_filter = chain(OnFailure::Pass);
            }
        }));
        let headers = format!("Content-Type: text/plain\r\nContent-Transfer-Encoding: {encoding}\r\n");
        let inside = alice.within(&mut world, &mut line, "MESSAGE", &headers, b"ZGFybg==");
        let aside = alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", &headers, b"ZGFybg==");
        assert_eq!([inside.status(), aside.status()], [status; 2], "{encoding}");
        assert!(world.asked.is_empty());
    }
}

#[test]
fn a_message_that_was_encoded_for_the_way_is_kept_with_its_encoding() {
    let mut world = World::new();
    let (mut alice, _, mut carol) = phones();
    let headers = format!("{TEXT}Content-Transfer-Encoding: base64\r\n");
    assert_eq!(
        send(&mut alice, &mut world, "carol", &headers, "aGk=").status(),
        202
    );
    world.restart();
    carol.register(&mut world, 600);
    let kept = carol.gets(&mut world, "MESSAGE", true);
    assert_eq!(
        (kept.body_slice(), kept.header(Name::ContentTransferEncoding)),
        (&b"aGk="[..], Some("base64"))
    );
}

#[test]
fn what_a_message_says_of_itself_is_read_in_a_body_that_was_encoded_for_the_way() {
    let headers = format!("{CPIM}Content-Transfer-Encoding: quoted-printable\r\n");
    let body = cpim("m1", "positive-delivery").replace("NS:", "=4ES:");
    for is_there in [false, true] {
        let mut world = World::new();
        let (mut alice, _, mut carol) = phones();
        alice.register(&mut world, 600);
        if is_there {
            carol.register(&mut world, 600);
        }
        send(&mut alice, &mut world, "carol", &headers, &body);
        carol.register(&mut world, 600);
        carol.gets(&mut world, "MESSAGE", true);
        alice.listen(&mut world);
        alice.inbox.retain(|delivery| delivery.message.is_request());
        let told = alice.gets(&mut world, "MESSAGE", true);
        assert!(String::from_utf8_lossy(told.body_slice()).contains("<delivered/>"));
    }
    // Nobody wants to read later that somebody was writing.
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let writing = "application/im-iscomposing=2Bxml";
    let body = cpim("m1", "").replace("text/plain", writing);
    assert_eq!(
        send(&mut alice, &mut world, "carol", &headers, &body).status(),
        480
    );
}

#[test]
fn what_plugins_were_asked_about_goes_to_users_as_they_saw_it() {
    let mut world = World::with(|config| config.hooks.message_filter = chain(OnFailure::Pass));
    let (mut alice, mut bob, mut carol) = phones();
    bob.register(&mut world, 600);
    let headers = format!("{TEXT}Content-Transfer-Encoding: base64\r\n");
    for (to, body, shown) in [
        ("bob", "ZGFybg==!", &b"darn"[..]),
        ("carol", "Z!GFybg==", b"darn"),
    ] {
        send(&mut alice, &mut world, to, &headers, body);
        let (ticket, Ask::Message(ask)) = world.question() else {
            panic!("a question about a message")
        };
        assert_eq!(ask.body.as_ref(), shown);
        world.answer(ticket, Verdict::Message(MessageVerdict::Pass));
    }
    carol.register(&mut world, 600);
    for phone in [&mut bob, &mut carol] {
        let heard = phone.gets(&mut world, "MESSAGE", true);
        assert_eq!(
            (heard.body_slice(), heard.header(Name::ContentTransferEncoding)),
            (&b"darn"[..], None)
        );
    }
}
