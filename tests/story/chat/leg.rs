//! Callers in the room.

use cordboard_engine::chat::io::Departure;
use cordboard_engine::sip::name::Name;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::message::MessageVerdict;
use cordboard_model::media::MediaCommand;
use cordboard_model::{Ask, Verdict};
use serde_json::json;

use crate::meeting::{Client, ROOM, start, token};
use crate::phone::Phone;
use crate::world::{World, chain};

fn gates(world: &World) -> Vec<bool> {
    let muted = |command: &MediaCommand| match command {
        MediaCommand::Gate { muted, .. } => Some(*muted),
        _ => None,
    };
    world.media.iter().filter_map(muted).collect()
}

#[test]
fn a_caller_is_listed_and_comes_and_goes_like_the_others() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let mut alice = Client::joined(&mut world, "alice");
    let mut line = bob.call(&mut world, "3000");
    let joined = alice.payload(&world);
    assert_eq!(joined["message"], "joined");
    assert_eq!(joined["control"]["participation_kind"], "sip");
    assert_eq!(joined["control"]["role"], "guest");
    assert_eq!(joined["chat"], json!({ "groups": ["/Lab/Backend"] }));
    let mut gus = Client::guest(&mut world);
    let others = gus.join(&mut world, "Gus")["participants"].clone();
    assert_eq!(others[1]["id"], joined["id"]);
    alice.told(&world);
    bob.within(&mut world, &mut line, "BYE", "", b"");
    assert_eq!(
        alice.payload(&world),
        json!({ "message": "left", "id": joined["id"], "reason": "quit" })
    );
}

#[test]
fn what_a_caller_writes_is_global_chat() {
    let (mut world, mut bob, mut carol) = (World::new(), Phone::new("bob", 2), Phone::new("carol", 3));
    let mut alice = Client::joined(&mut world, "alice");
    let mut line = bob.call(&mut world, "3000");
    let other = carol.call(&mut world, "3000");
    let bobs = alice.payload(&world)["id"].clone();
    alice.told(&world);
    for (kind, body, heard) in [
        ("text/plain;charset=utf-8", "hi", Some("hi")),
        ("text/html", "<p>hi <b>there</b></p>", Some("hi there")),
        ("text/html", "I <3 you<br>a &lt; &#98;", Some("I <3 you\na < b")),
        (
            "application/x-chat+json",
            "{\"From\":\"b\",\"Body\":\"json\"}",
            Some("json"),
        ),
        ("application/x-chat+json", "{\"Hand\":true}", None),
        ("application/octet-stream", "bytes", None),
    ] {
        let type_of = format!("Content-Type: {kind}\r\n");
        let answer = bob.within(&mut world, &mut line, "MESSAGE", &type_of, body.as_bytes());
        assert_eq!(answer.status(), 202);
        let copy = carol.next(&mut world);
        assert_eq!(
            copy.body_slice(),
            body.as_bytes(),
            "callers get it as it was, once"
        );
        carol.respond(&mut world, &copy, 200, "", "");
        carol.has_nothing(&mut world);
        match heard {
            Some(text) => {
                let payload = alice.payload(&world);
                assert_eq!((&payload["content"], &payload["source"]), (&json!(text), &bobs));
                assert_eq!(payload["scope"], "global");
            }
            None => alice.has_nothing(&world),
        }
    }
    drop(other);
    let mut gus = Client::guest(&mut world);
    let history = gus.join(&mut world, "Gus")["chat"]["room_history"].clone();
    assert_eq!(
        history.as_array().unwrap().len(),
        4,
        "the late joiner reads it too"
    );
}

#[test]
fn what_a_caller_wraps_or_encodes_is_read_all_the_same() {
    let (mut world, mut bob, mut carol) = (World::new(), Phone::new("bob", 2), Phone::new("carol", 3));
    let mut alice = Client::joined(&mut world, "alice");
    let mut line = bob.call(&mut world, "3000");
    carol.call(&mut world, "3000");
    alice.told(&world);
    let parts: &[u8] =
        b"--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>hello\r\n--b--\r\n";
    let cpim: &[u8] =
        b"From: <sip:bob@lab.test>\r\nTo: <sip:3000@lab.test>\r\n\r\nContent-Type: text/plain\r\n\r\nwrapped";
    for (kind, body, heard) in [
        ("multipart/alternative;boundary=b", parts, Some("hi")),
        ("message/cpim", cpim, Some("wrapped")),
        ("text/plain;charset=iso-8859-1", b"caf\xe9", Some("caf\u{e9}")),
        ("text/plain;charset=iso-2022-jp", b"\x1b$B", None),
    ] {
        let type_of = format!("Content-Type: {kind}\r\n");
        let answer = bob.within(&mut world, &mut line, "MESSAGE", &type_of, body);
        assert_eq!(answer.status(), 202);
        let copy = carol.gets(&mut world, "MESSAGE", true);
        assert_eq!(copy.body_slice(), body, "callers get it as it was");
        match heard {
            Some(text) => assert_eq!(alice.heard(&world), [text]),
            None => alice.has_nothing(&world),
        }
    }
    let mut gus = Client::guest(&mut world);
    let history = gus.join(&mut world, "Gus")["chat"]["room_history"].clone();
    assert_eq!(history[2]["content"], "caf\u{e9}");
}

#[test]
fn what_a_caller_encodes_for_the_way_is_undone_for_chat_and_for_no_caller() {
    let (mut world, mut bob, mut carol) = (World::new(), Phone::new("bob", 2), Phone::new("carol", 3));
    let mut alice = Client::joined(&mut world, "alice");
    let mut line = bob.call(&mut world, "3000");
    carol.call(&mut world, "3000");
    alice.told(&world);
    let parts = "--b\r\nContent-Type: text/plain;charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                 caf=C3=A9 =\r\n1=3D1\r\n--b--\r\n";
    let json = "eyJCb2R5IjoianNvbiJ9";
    for (kind, encoding, body, heard) in [
        ("text/plain", Some("base64"), "aGVs\r\nbG8=\r\n", Some("hello")),
        ("text/html", Some("Quoted-Printable"), "<b>1=3D1</b>", Some("1=1")),
        ("text/plain", Some("8bit"), "a=3Db", Some("a=3Db")),
        (
            "text/plain",
            Some("base64"),
            "no base64, that!",
            Some("no base64, that!"),
        ),
        ("text/plain", Some("x-own"), "???", None),
        ("multipart/mixed;boundary=b", None, parts, Some("caf\u{e9} 1=1")),
        ("application/x-chat+json", Some("base64"), json, Some("json")),
    ] {
        let encoded = encoding.map(|encoding| format!("Content-Transfer-Encoding: {encoding}\r\n"));
        let headers = format!("Content-Type: {kind}\r\n{}", encoded.unwrap_or_default());
        let answer = bob.within(&mut world, &mut line, "MESSAGE", &headers, body.as_bytes());
        assert_eq!(answer.status(), 202);
        let copy = carol.gets(&mut world, "MESSAGE", true);
        assert_eq!(copy.body_slice(), body.as_bytes(), "callers get it as it was");
        let travels = encoding.filter(|encoding| *encoding != "8bit");
        assert_eq!(copy.header(Name::ContentTransferEncoding), travels);
        match heard {
            Some(text) => assert_eq!(alice.heard(&world), [text]),
            None => alice.has_nothing(&world),
        }
    }
    // Who has written JSON, encoded or not, gets JSON.
    alice.write(&mut world, "hi");
    let to_bob = bob.next(&mut world);
    assert_eq!(to_bob.header(Name::ContentType), Some("application/x-chat+json"));
}

#[test]
fn chat_shows_nothing_that_plugins_could_not_read() {
    let mut world = World::with(|config| config.hooks.message_filter = chain(OnFailure::Pass));
    let (mut bob, mut carol) = (Phone::new("bob", 2), Phone::new("carol", 3));
    let mut alice = Client::joined(&mut world, "alice");
    let line = bob.call(&mut world, "3000");
    carol.call(&mut world, "3000");
    alice.told(&world);
    let part = |headers: &str, text: &str| format!("--b\r\n{headers}\r\n{text}\r\n--b--\r\n");
    let base64 = "Content-Transfer-Encoding: base64\r\n";
    let multipart = "Content-Type: multipart/mixed;boundary=b\r\n";
    let plain = "Content-Type: text/plain\r\n";
    for (cseq, headers, body, heard) in [
        (9, multipart, part(base64, "ZGFybg=="), None),
        (10, multipart, part("", "hi"), Some("hi")),
        (11, &format!("{plain}{base64}"), "aGk=!".to_owned(), Some("hi")),
        (
            12,
            &format!("{plain}{base64}"),
            "ZGFybg==Z".to_owned(),
            Some("ZGFybg==Z"),
        ),
    ] {
        bob.send(&mut world, &line, "MESSAGE", cseq, headers, body.as_bytes());
        let (ticket, Ask::Message(_)) = world.question() else {
            panic!("a question about a message")
        };
        world.answer(ticket, Verdict::Message(MessageVerdict::Pass));
        let copy = carol.gets(&mut world, "MESSAGE", true);
        assert_eq!(copy.header(Name::ContentTransferEncoding), None);
        match heard {
            Some(text) => assert_eq!(alice.heard(&world), [text]),
            None => alice.has_nothing(&world),
        }
    }
}

#[test]
fn what_is_chatted_reaches_callers_in_the_type_that_they_write() {
    let (mut world, mut bob, mut carol) = (World::new(), Phone::new("bob", 2), Phone::new("carol", 3));
    let mut alice = Client::joined(&mut world, "alice");
    let mut line = bob.call(&mut world, "3000");
    carol.call(&mut world, "3000");
    let (bobs, carols) = (
        alice.payload(&world)["id"].clone(),
        alice.payload(&world)["id"].clone(),
    );
    bob.within(
        &mut world,
        &mut line,
        "MESSAGE",
        "Content-Type: application/x-chat+json\r\n",
        b"{\"From\":\"Bob\",\"Body\":\"hi\"}",
    );
    let copy = carol.next(&mut world);
    carol.respond(&mut world, &copy, 200, "", "");
    alice.write(&mut world, "hello");
    let to_bob = bob.next(&mut world);
    assert_eq!(to_bob.header(Name::ContentType), Some("application/x-chat+json"));
    let body: serde_json::Value = serde_json::from_slice(to_bob.body_slice()).unwrap();
    assert_eq!(body, json!({ "From": "alice", "Body": "hello" }));
    assert!(to_bob.header(Name::From).unwrap().contains("alice"));
    bob.respond(&mut world, &to_bob, 200, "", "");
    let to_carol = carol.next(&mut world);
    assert_eq!(
        to_carol.header(Name::ContentType),
        Some("text/plain;charset=utf-8")
    );
    assert_eq!(to_carol.body_slice(), b"hello");
    carol.respond(&mut world, &to_carol, 200, "", "");
    alice.write_to(&mut world, "private", carols.as_str().unwrap(), "psst");
    let psst = carol.next(&mut world);
    assert_eq!(psst.body_slice(), b"psst");
    carol.respond(&mut world, &psst, 200, "", "");
    bob.has_nothing(&mut world);
    alice.write_to(&mut world, "group", "/Lab/Backend", "backend");
    assert!(!bob.next(&mut world).body_slice().is_empty());
    carol.has_nothing(&mut world);
    assert_ne!(bobs, carols);
}

#[test]
fn callers_and_chat_clients_are_counted_each_as_what_they_are() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let seen = |world: &World| {
        let gauges = world.engine.gauges();
        let callers: usize = gauges.participants.iter().sum();
        (gauges.conferences, callers, gauges.chat.participants)
    };
    assert_eq!(seen(&world), (0, 0, 0));
    let alice = Client::joined(&mut world, "alice");
    assert_eq!(seen(&world), (1, 0, 1), "a conference of chat alone is one");
    let mut line = bob.call(&mut world, "3000");
    assert_eq!(seen(&world), (1, 1, 1));
    alice.write(&mut world, "hello");
    let copy = bob.next(&mut world);
    bob.respond(&mut world, &copy, 200, "", "");
    bob.within(
        &mut world,
        &mut line,
        "MESSAGE",
        "Content-Type: text/plain\r\n",
        b"hi",
    );
    let messages = &world.engine.counts().messages;
    let mut counted: Vec<_> = messages
        .iter()
        .map(|((way, kind, outcome), n)| (*way, *kind, *outcome, *n))
        .collect();
    counted.retain(|(_, kind, ..)| *kind != "event");
    assert_eq!(
        counted,
        [
            ("in", "chat", "accepted", 2),
            ("in", "conference", "relayed", 1),
            ("out", "chat", "delivered", 1)
        ]
    );
    bob.within(&mut world, &mut line, "BYE", "", b"");
    alice.leave(&mut world, Departure::Quit);
    assert_eq!(seen(&world), (0, 0, 0));
}

#[test]
fn disabled_chat_refuses_callers_too() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let alice = Client::joined(&mut world, "alice");
    let mut line = bob.call(&mut world, "3000");
    alice.act(&mut world, "chat", "disable_chat");
    let text = "Content-Type: text/plain\r\n";
    assert_eq!(
        bob.within(&mut world, &mut line, "MESSAGE", text, b"hi").status(),
        403
    );
    alice.act(&mut world, "chat", "enable_chat");
    assert_eq!(
        bob.within(&mut world, &mut line, "MESSAGE", text, b"hi").status(),
        202
    );
}

#[test]
fn kicking_a_caller_ends_its_call_and_muting_gates_its_media() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let mut alice = Client::joined(&mut world, "alice");
    bob.call(&mut world, "3000");
    let id = alice.payload(&world)["id"].as_str().unwrap().to_owned();
    alice.say(
        &mut world,
        "livekit",
        json!({ "action": "force_mute", "participants": [id] }),
    );
    assert_eq!(gates(&world), [true]);
    alice.say(
        &mut world,
        "moderation",
        json!({ "action": "mute", "participants": [id] }),
    );
    assert_eq!(gates(&world), [true], "already muted");
    alice.has_nothing(&world);
    alice.about(&mut world, "moderation", "kick", &id);
    let bye = bob.next(&mut world);
    assert_eq!(bye.method_text(), "BYE");
    assert!(
        bye.header(Name::Reason)
            .is_some_and(|reason| reason.contains("Removed"))
    );
    assert_eq!(
        alice.payload(&world),
        json!({ "message": "left", "id": id, "reason": "kicked" })
    );
    alice.has_nothing(&world);
}

#[test]
fn restricted_microphones_hold_callers_back_until_it_is_over() {
    let (mut world, mut bob, mut carol) = (World::new(), Phone::new("bob", 2), Phone::new("carol", 3));
    let mut alice = Client::joined(&mut world, "alice");
    bob.call(&mut world, "3000");
    let free = alice.payload(&world)["id"].clone();
    alice.say(
        &mut world,
        "livekit",
        json!({ "action": "enable_microphone_restrictions", "unrestricted_participants": [free] }),
    );
    assert_eq!(gates(&world), [false; 0], "bob may speak");
    carol.call(&mut world, "3000");
    assert_eq!(gates(&world), [true], "carol came later and may not");
    alice.act(&mut world, "livekit", "disable_microphone_restrictions");
    assert_eq!(gates(&world), [true, false]);
}

#[test]
fn who_was_muted_by_force_is_unmuted_by_a_moderator_and_by_nothing_else() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let mut alice = Client::joined(&mut world, "alice");
    let mut gus = Client::guest_joined(&mut world, "Gus");
    bob.call(&mut world, "3000");
    alice.told(&world);
    let id = gus.payload(&world)["id"].clone();
    let mute = |action: &str| json!({ "action": action, "participants": [id] });
    alice.say(&mut world, "livekit", mute("force_mute"));
    assert_eq!(gates(&world), [true]);
    gus.say(&mut world, "moderation", mute("unmute"));
    assert_eq!(gus.events(&world), ["error permission_denied"]);
    // A restriction that ends frees those whom it held back, and no other.
    alice.act(&mut world, "livekit", "enable_microphone_restrictions");
    alice.act(&mut world, "livekit", "disable_microphone_restrictions");
    assert_eq!(gates(&world), [true]);
    alice.say(&mut world, "moderation", mute("unmute"));
    assert_eq!(gates(&world), [true, false]);
    // Under a restriction it makes an exception.
    alice.act(&mut world, "livekit", "enable_microphone_restrictions");
    alice.say(&mut world, "moderation", mute("unmute"));
    assert_eq!(gates(&world), [true, false, true, false]);
    // That holds for as long as the restriction does, wherever the caller goes meanwhile.
    for action in ["send_to_waiting_room", "accept"] {
        alice.about(&mut world, "moderation", action, id.as_str().unwrap());
    }
    assert_eq!(gates(&world)[4..], [true, false]);
    alice.told(&world);
    let unknown = json!(["00000000-0000-4000-8000-000000000000"]);
    alice.say(
        &mut world,
        "moderation",
        json!({ "action": "unmute", "participants": unknown }),
    );
    assert_eq!(
        alice.payload(&world),
        json!({ "message": "error", "error": "unknown_participants", "participants": unknown })
    );
    let id = gus.id.clone();
    gus.told(&world);
    alice.say(
        &mut world,
        "moderation",
        json!({ "action": "unmute", "participants": [id] }),
    );
    assert_eq!(
        gus.payload(&world),
        json!({ "message": "unmuted", "moderator": alice.id })
    );
}

#[test]
fn a_banned_user_can_neither_chat_nor_call() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let mut alice = Client::joined(&mut world, "alice");
    let mut chatting = Client::joined(&mut world, "bob");
    bob.call(&mut world, "3000");
    alice.told(&world);
    alice.about(&mut world, "moderation", "ban", &chatting.id.clone());
    assert_eq!(bob.next(&mut world).method_text(), "BYE", "whichever way he came");
    assert!(
        chatting
            .events(&world)
            .ends_with(&["banned".into(), "closed 1000".into()])
    );
    let (_, response) = bob.invite(&mut world, "3000");
    assert_eq!(response.unwrap().status(), 403);
    assert_eq!(start(&mut world, ROOM, token("bob"), &json!({})).0, 403);
}

#[test]
fn a_role_that_is_granted_to_a_caller_is_seen_by_all() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let mut alice = Client::joined(&mut world, "alice");
    bob.call(&mut world, "3000");
    let id = alice.payload(&world)["id"].as_str().unwrap().to_owned();
    alice.about(&mut world, "control", "grant_moderator_role", &id);
    assert_eq!(alice.payload(&world)["control"]["role"], "moderator");
    alice.told(&world);
    alice.about(&mut world, "control", "revoke_moderator_role", &id);
    assert_eq!(alice.payload(&world)["control"]["role"], "guest");
}

#[test]
fn the_owner_calling_by_a_moderators_number_is_one() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut gus = Client::guest_joined(&mut world, "Gus");
    alice.call(&mut world, "3000");
    let control = gus.payload(&world)["control"].clone();
    assert_eq!(
        (&control["role"], &control["is_room_owner"]),
        (&json!("moderator"), &json!(true))
    );
    bob.call(&mut world, "3001*1234");
    let control = gus.payload(&world)["control"].clone();
    assert_eq!(
        (&control["role"], &control["is_room_owner"]),
        (&json!("moderator"), &json!(false))
    );
}

#[test]
fn a_caller_keeps_the_room_and_its_history() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let mut line = bob.call(&mut world, "3000");
    let text = "Content-Type: text/plain\r\n";
    bob.within(&mut world, &mut line, "MESSAGE", text, b"alone");
    let mut alice = Client::user(&mut world, "alice");
    let success = alice.join(&mut world, "Alice");
    assert_eq!(success["chat"]["room_history"][0]["content"], "alone");
    alice.leave(&mut world, Departure::Quit);
    assert_eq!(world.engine.gauges().chat.rooms, 1);
    bob.within(&mut world, &mut line, "BYE", "", b"");
    assert_eq!(world.engine.gauges().chat.rooms, 0);
}
