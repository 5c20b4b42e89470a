//! Callers who do not want to be named (RFC 3323).

use cordboard_engine::io::StoreWrite;
use cordboard_engine::record::CallDirection;
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::bridge::{Pair, up};
use crate::phone::Phone;
use crate::world::World;

const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=";

/// Nothing in it names alice.
fn names_nobody(message: &Message) {
    let text = String::from_utf8_lossy(message.raw()).to_lowercase();
    assert!(!text.contains("alice"), "{text}");
    assert!(message.header(Name::From).unwrap().starts_with(ANONYMOUS));
    assert_eq!(message.header(Name::Privacy), None);
}

#[test]
fn the_called_phone_does_not_hear_who_calls_and_the_records_do() {
    let asked = [
        "Privacy: id\r\n",
        "Privacy: user;critical\r\n",
        "Privacy: Header ; id\r\nProxy-Require: privacy\r\n",
        "From: \"Alice\" <sip:anonymous@anonymous.invalid>;tag=alice1\r\n",
    ];
    for asked in asked {
        let Pair {
            mut world,
            mut alice,
            mut bob,
            mut from_alice,
            invite,
            ..
        } = up(World::new(), asked, "");
        names_nobody(&invite);
        let contact = invite.header(Name::Contact).unwrap();
        assert!(contact.starts_with("<sip:anonymous@192.0.2.1"), "{contact}");
        let text = "From: \"Alice\" <sip:alice@lab.test>;tag=alice1\r\nContent-Type: text/plain\r\n";
        from_alice.cseq += 1;
        alice.send(
            &mut world,
            &from_alice,
            "MESSAGE",
            from_alice.cseq,
            text,
            b"hello",
        );
        names_nobody(&bob.gets(&mut world, "MESSAGE", true));
        alice.final_response(&mut world);
        alice.within(&mut world, &mut from_alice, "BYE", "", b"");
        names_nobody(&bob.gets(&mut world, "BYE", true));
        for record in &world.records {
            match record.direction {
                CallDirection::In => assert_eq!(record.user.as_deref(), Some("alice")),
                CallDirection::Out => assert_eq!(record.from, "sip:alice@lab.test"),
            }
        }
        assert_eq!(world.records.len(), 2);
    }
}

#[test]
fn who_asks_for_no_privacy_is_named() {
    for asked in ["Privacy: none\r\n", "Privacy: session\r\n", ""] {
        let pair = up(World::new(), asked, "");
        let from = pair.invite.header(Name::From).unwrap();
        assert!(from.starts_with("\"Alice\" <sip:alice@lab.test>;tag="), "{from}");
    }
}

#[test]
fn what_is_critical_and_cannot_be_had_is_refused() {
    for (number, asked) in [
        ("bob", "Privacy: id;x-cloak;critical\r\n"),
        ("3000", "Privacy: user;critical\r\n"),
    ] {
        let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 7200);
        let (_, answer) = alice.invite_with(&mut world, number, asked);
        let answer = answer.expect("an answer at once");
        assert_eq!(
            (answer.status(), answer.reason()),
            (500, "Privacy Cannot Be Provided")
        );
        bob.has_nothing(&mut world);
        let uri = format!("sip:{number}@lab.test");
        let headers = format!("{asked}Content-Type: text/plain\r\n");
        let answer = alice.request(&mut world, "MESSAGE", &uri, &headers, b"hello");
        assert!(matches!(answer.status(), 500 | 403), "{}", answer.status());
        bob.has_nothing(&mut world);
    }
}

#[test]
fn a_message_names_nobody_who_does_not_want_it() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    for away in [true, false] {
        if !away {
            bob.register(&mut world, 7200);
            bob.inbox.clear();
        }
        let headers = "Privacy: id\r\nContent-Type: text/plain\r\n";
        let uri = format!("sip:{}@lab.test", if away { "carol" } else { "bob" });
        if away {
            assert_eq!(
                alice
                    .request(&mut world, "MESSAGE", &uri, headers, b"hello")
                    .status(),
                202
            );
            let mut carol = Phone::new("carol", 3);
            carol.register(&mut world, 600);
            names_nobody(&carol.gets(&mut world, "MESSAGE", true));
        } else {
            alice.request(&mut world, "MESSAGE", &uri, headers, b"hello");
            names_nobody(&bob.gets(&mut world, "MESSAGE", true));
        }
    }
}

#[test]
fn who_is_hidden_is_told_of_the_delivery_and_nobody_of_it() {
    let wish = |wanted: &str| {
        format!(
            "From: <sip:anonymous@anonymous.invalid>\r\nTo: <sip:carol@lab.test>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
             imdn.Message-ID: m1\r\nimdn.Disposition-Notification: {wanted}\r\n\r\nContent-Type: text/plain\r\n\r\nhi"
        )
    };
    let stored = |world: &World| {
        let mut writes = world.writes.iter().rev();
        writes.find_map(|write| match write {
            StoreWrite::PutMessage(message) => Some(message.hidden.clone()),
            _ => None,
        })
    };
    for (away, wanted, status, told) in [
        (true, "positive-delivery", 200, Some("<delivered/>")),
        (true, "negative-delivery", 603, Some("<failed/>")),
        (true, "display", 200, None),
        (false, "positive-delivery", 200, Some("<delivered/>")),
    ] {
        let (mut world, mut alice, mut carol) =
            (World::new(), Phone::new("alice", 1), Phone::new("carol", 3));
        let headers = "Privacy: id\r\nContent-Type: message/cpim\r\n";
        if away {
            let body = wish(wanted);
            let answer = alice.request(
                &mut world,
                "MESSAGE",
                "sip:carol@lab.test",
                headers,
                body.as_bytes(),
            );
            assert_eq!(answer.status(), 202);
            // Whom nobody has to tell anything is not written down.
            let hidden = told.map_or("", |_| "sip:alice@lab.test");
            assert_eq!(stored(&world).as_deref(), Some(hidden));
            world.restart();
        }
        alice.register(&mut world, 7200);
        carol.register(&mut world, 7200);
        if !away {
            let body = wish(wanted);
            alice.request(
                &mut world,
                "MESSAGE",
                "sip:carol@lab.test",
                headers,
                body.as_bytes(),
            );
        }
        let message = carol.gets(&mut world, "MESSAGE", false);
        names_nobody(&message);
        carol.respond(&mut world, &message, status, "", "");
        if !away {
            assert_eq!(alice.final_response(&mut world).status(), 200);
        }
        match told {
            Some(word) => {
                let report = alice.gets(&mut world, "MESSAGE", true);
                let text = String::from_utf8_lossy(report.body_slice()).into_owned();
                assert!(
                    text.contains(word) && text.contains("<message-id>m1</message-id>"),
                    "{text}"
                );
            }
            None => alice.has_nothing(&mut world),
        }
        carol.has_nothing(&mut world);
    }
}

#[test]
fn proxies_are_required_to_know_privacy_and_nothing_else() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (_, answer) = alice.invite_with(&mut world, "3000", "Proxy-Require: privacy, sec-agree\r\n");
    let answer = answer.expect("an answer at once");
    assert_eq!(answer.status(), 420);
    assert_eq!(answer.header(Name::Unsupported), Some("sec-agree"));
}
