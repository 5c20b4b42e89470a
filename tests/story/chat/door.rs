//! Tickets, handshakes, and what is no command.

use std::time::Duration;

use cordboard_engine::chat::io::{ChatInput, Departure, Proof};
use cordboard_engine::io::Input;
use serde_json::{Value, json};

use crate::meeting::{Client, INVITATION, PROTOCOL, ROOM, digest, open, start, token};
use crate::world::World;

fn invited(world: &mut World, body: &Value) -> (u16, Value) {
    start(world, ROOM, Proof::Invitation, body)
}

#[test]
fn a_user_gets_a_ticket_by_token_and_a_guest_by_invitation() {
    let mut world = World::new();
    for (proof, body) in [
        (token("alice"), Value::Null),
        (Proof::Invitation, json!({ "invite_code": INVITATION })),
    ] {
        let (status, answer) = start(&mut world, ROOM, proof, &body);
        assert_eq!(status, 200);
        assert_eq!(answer["ticket"].as_str().map(str::len), Some(64));
        assert!(answer["resumption"].is_string());
    }
    let dashed = "00000000-0000-0000-0000-0000000000c0";
    assert_eq!(start(&mut world, dashed, token("bob"), &Value::Null).0, 200);
}

#[test]
fn requests_for_tickets_are_refused_with_the_codes_of_the_contract() {
    let mut world = World::with(|config| config.conferences[0].room.password = Some(digest("sesame")));
    let code = json!(INVITATION);
    for (body, status, word) in [
        (json!({ "invite_code": "x" }), 422, "validation_failed"),
        (json!({}), 422, "validation_failed"),
        (json!({ "invite_code": ROOM }), 404, "not_found"),
        (json!({ "invite_code": code }), 401, "wrong_room_password"),
        (
            json!({ "invite_code": code, "password": "simsim" }),
            401,
            "wrong_room_password",
        ),
        (
            json!({ "invite_code": code, "password": "sesame", "breakout_room": INVITATION }),
            400,
            "no_breakout_rooms",
        ),
        (json!("not an object"), 400, "invalid_json"),
        (json!([]), 400, "invalid_json"),
        (json!([null, null]), 400, "invalid_json"),
    ] {
        let (got, answer) = invited(&mut world, &body);
        assert_eq!((got, answer["code"].as_str()), (status, Some(word)), "{body}");
        assert!(answer["message"].is_string());
        if status == 422 {
            assert_eq!(answer["errors"][0]["field"], "invite_code");
            assert_eq!(answer["errors"][0]["code"], "invalid_value");
        }
    }
    let right = json!({ "invite_code": code, "password": "sesame" });
    assert_eq!(invited(&mut world, &right).0, 200);
    for (room, proof, status, word) in [
        (ROOM, Proof::NoToken, 401, "unauthorized"),
        (ROOM, token("eve"), 401, "unauthorized"),
        (INVITATION, token("alice"), 404, "not_found"),
        ("lobby", token("alice"), 404, "not_found"),
    ] {
        let (got, answer) = start(&mut world, room, proof, &Value::Null);
        assert_eq!((got, answer["code"].as_str()), (status, Some(word)), "{room}");
    }
}

#[test]
fn an_invite_code_of_another_room_is_400() {
    let mut world = World::with(|config| {
        let mut other = config.conferences[0].clone();
        other.id = cordboard_model::ConferenceId(0xc1);
        other.member.numbers = vec!["3002".into()];
        other.moderator.numbers.clear();
        other.room.invite_codes = vec![0x2222];
        config.conferences.push(other);
    });
    let body = json!({ "invite_code": "00000000000000000000000000002222" });
    assert_eq!(invited(&mut world, &body).0, 400);
}

#[test]
fn a_handshake_is_checked_in_the_order_of_the_contract() {
    let mut world = World::new();
    let never = "x".repeat(64);
    for (protocols, status, word) in [
        (None, 400, "missing_protocol"),
        (Some("sip".to_owned()), 400, "invalid_protocol"),
        (Some(format!("ticket#{never}")), 400, "invalid_protocol"),
        (Some(PROTOCOL.to_owned()), 401, "missing_ticket"),
        (Some(format!("{PROTOCOL}, ticket#short")), 401, "invalid_ticket"),
        (Some(format!("{PROTOCOL},ticket#{never}")), 401, "invalid_ticket"),
    ] {
        let (_, got, said) = open(&mut world, protocols.as_deref());
        assert_eq!(
            (got, said["code"].as_str()),
            (status, Some(word)),
            "{protocols:?}"
        );
    }
}

#[test]
fn only_the_protocol_is_selected_in_any_order_and_under_its_name_of_old() {
    let mut world = World::new();
    for name in [PROTOCOL, "k3k-signaling-json-v1.0"] {
        let (_, answer) = start(&mut world, ROOM, token("alice"), &Value::Null);
        let ticket = answer["ticket"].as_str().unwrap();
        let (_, status, said) = open(&mut world, Some(&format!("ticket#{ticket} , other,{name}")));
        assert_eq!((status, said), (101, json!(name)));
    }
}

#[test]
fn a_ticket_is_good_once_and_for_thirty_seconds() {
    let mut world = World::new();
    let protocols = |world: &mut World| {
        let (_, answer) = start(world, ROOM, token("alice"), &Value::Null);
        format!("{PROTOCOL}, ticket#{}", answer["ticket"].as_str().unwrap())
    };
    let first = protocols(&mut world);
    assert_eq!(open(&mut world, Some(&first)).1, 101);
    assert_eq!(open(&mut world, Some(&first)).2["code"], "invalid_ticket");
    let late = protocols(&mut world);
    world.advance(Duration::from_secs(29));
    let later = protocols(&mut world);
    world.advance(Duration::from_secs(1));
    assert_eq!(open(&mut world, Some(&late)).2["code"], "invalid_ticket");
    assert_eq!(open(&mut world, Some(&later)).1, 101);
}

#[test]
fn a_request_that_cannot_be_upgraded_does_not_use_up_its_ticket() {
    let mut world = World::new();
    let (_, answer) = start(&mut world, ROOM, token("alice"), &Value::Null);
    let protocols = format!("{PROTOCOL}, ticket#{}", answer["ticket"].as_str().unwrap());
    world.handle(Input::Chat(ChatInput::Open {
        connection: 1 << 40,
        source: "198.51.100.77".parse().unwrap(),
        secure: true,
        protocols: Some(protocols.clone()),
        upgradable: false,
    }));
    assert_eq!(world.answers[&(1 << 40)].0, 400);
    assert_eq!(open(&mut world, Some(&protocols)).1, 101);
}

#[test]
fn connections_are_bounded_in_all_and_by_source() {
    for (all, of_source) in [(2, 100), (100, 2)] {
        let mut world = World::with(|config| {
            config.chat.connections = all;
            config.chat.connections_per_source = of_source;
        });
        let first = Client::user(&mut world, "alice");
        Client::user(&mut world, "bob");
        let (_, answer) = start(&mut world, ROOM, token("carol"), &Value::Null);
        let protocols = format!("{PROTOCOL}, ticket#{}", answer["ticket"].as_str().unwrap());
        let (_, status, said) = open(&mut world, Some(&protocols));
        assert_eq!(
            (status, said["code"].as_str()),
            (503, Some("too_many_connections"))
        );
        first.leave(&mut world, Departure::Quit);
        assert_eq!(open(&mut world, Some(&protocols)).1, 101, "there is room again");
    }
}

#[test]
fn what_is_no_command_is_invalid_json_and_never_closes() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    for frame in [
        "",
        "hello",
        "{}",
        "{\"namespace\":\"control\"}",
        "{\"namespace\":\"control\",\"payload\":{\"action\":\"fly\"}}",
        "{\"namespace\":\"chat\",\"payload\":{\"action\":\"fly\"}}",
        "{\"namespace\":\"chat\",\"payload\":{\"action\":\"send_message\",\"scope\":\"private\",\"target\":\"bob\",\"content\":\"x\"}}",
        "{\"namespace\":\"moderation\",\"payload\":{\"action\":\"kick\"}}",
    ] {
        alice.raw(&mut world, frame);
        let frame = alice.frame(&world);
        assert_eq!(frame["namespace"], "control");
        assert_eq!(
            frame["payload"],
            json!({ "message": "error", "error": "invalid_json" })
        );
    }
    alice.act(&mut world, "polls", "vote");
    assert_eq!(alice.events(&world), ["error invalid_namespace"]);
}

#[test]
fn before_the_join_everything_but_control_is_dropped_without_a_word() {
    let mut world = World::new();
    let mut alice = Client::user(&mut world, "alice");
    alice.write(&mut world, "hello?");
    alice.act(&mut world, "polls", "vote");
    alice.act(&mut world, "moderation", "enable_waiting_room");
    alice.has_nothing(&world);
    alice.raw(&mut world, "hello");
    alice.act(&mut world, "control", "raise_hand");
    assert_eq!(
        alice.events(&world),
        ["error invalid_json", "error not_yet_joined"]
    );
    let success = alice.join(&mut world, "Alice");
    assert_eq!(success["chat"]["room_history"], json!([]));
}

#[test]
fn who_is_too_fast_is_slowed_down_and_at_last_shown_out() {
    let mut world = World::with(|config| config.message_rate = 10);
    let (mut alice, mut bob) = (
        Client::joined(&mut world, "alice"),
        Client::joined(&mut world, "bob"),
    );
    world.advance(Duration::from_secs(10));
    for n in 0..50 {
        alice.write(&mut world, &n.to_string());
    }
    assert_eq!(bob.heard(&world).len(), 20, "two seconds' worth at once");
    world.advance(Duration::from_secs(1));
    let next = bob.heard(&world).len();
    assert!(
        (9..=10).contains(&next),
        "and then at the pace that is allowed: {next}"
    );
    world.advance(Duration::from_secs(3));
    let rest = bob.heard(&world);
    assert_eq!(rest.len(), 30 - next);
    assert_eq!(rest.last().map(String::as_str), Some("49"));
    alice.told(&world);
    for _ in 0..300 {
        alice.write(&mut world, "flood");
    }
    let events = alice.events(&world);
    assert_eq!(
        &events[events.len() - 2..],
        ["rate_limit_exceeded", "closed 1000"]
    );
    assert_eq!(bob.events(&world).last().map(String::as_str), Some("left"));
}

#[test]
fn at_the_end_of_the_switch_connections_are_closed_with_1001() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    alice.told(&world);
    world.handle(Input::Drain { deadline: world.now });
    assert_eq!(alice.events(&world), ["closed 1001"]);
    let (status, answer) = start(&mut world, ROOM, token("bob"), &Value::Null);
    assert_eq!(
        (status, answer["code"].as_str()),
        (503, Some("service_unavailable"))
    );
}

#[test]
fn no_frame_whatever_it_holds_disturbs_the_others() {
    let mut world = World::with(|config| config.message_rate = 0);
    let (mut alice, mut bob) = (
        Client::joined(&mut world, "alice"),
        Client::joined(&mut world, "bob"),
    );
    alice.told(&world);
    let id = bob.id.clone();
    let seeds = [
        json!({ "namespace": "chat", "payload": { "action": "send_message", "scope": "private", "target": id, "content": "x" } }),
        json!({ "namespace": "chat", "payload": { "action": "search_history", "term": "xy", "message_index": null, "scope": "global" } }),
        json!({ "namespace": "chat", "payload": { "action": "get_history_chunk", "message_index": 0, "scope": "group", "target": "/Lab/Tea" } }),
        json!({ "namespace": "chat", "payload": { "action": "set_last_seen_timestamp", "scope": "global", "timestamp": "2026-11-22T03:30:00.5+01:00" } }),
        json!({ "namespace": "control", "payload": { "action": "join", "display_name": "B" } }),
        json!({ "namespace": "moderation", "payload": { "action": "reset_raised_hands", "target": [id] } }),
        json!({ "namespace": "livekit", "payload": { "action": "force_mute", "participants": [id] } }),
    ];
    let mut random = 7u64;
    let mut chance = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % below
    };
    for round in 0..4000 {
        let mut bytes = seeds[round % seeds.len()].to_string().into_bytes();
        for _ in 0..=chance(3) {
            let place = chance(bytes.len());
            match chance(4) {
                0 => bytes[place] = u8::try_from(chance(256)).unwrap(),
                1 => bytes.truncate(place.max(1)),
                2 => drop(bytes.remove(place)),
                _ => bytes.insert(place, b"{}[]\",:0-\\"[chance(10)]),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        world.handle(Input::Chat(ChatInput::Frame {
            connection: bob.connection,
            frame: bytes.into(),
        }));
    }
    bob.told(&world);
    alice.told(&world);
    bob.write(&mut world, "still here");
    assert_eq!(alice.heard(&world), ["still here"]);
}
