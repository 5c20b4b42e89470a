//! Coming, going and coming back.

use std::time::Duration;

use cordboard_engine::chat::io::{Departure, Proof};
use serde_json::{Value, json};

use crate::meeting::{Client, INVITATION, ROOM, start, token};
use crate::world::World;

#[test]
fn join_success_says_who_one_is_and_what_there_is() {
    let mut world = World::new();
    let mut alice = Client::user(&mut world, "alice");
    let success = alice.join(&mut world, "  Ann \t B ");
    for (key, value) in [
        ("display_name", json!("Ann B")),
        ("role", json!("moderator")),
        ("is_room_owner", json!(true)),
        ("participants", json!([])),
        ("enabled_modules", json!(["chat", "moderation"])),
        (
            "chat",
            json!({
                "enabled": true,
                "room_history": [],
                "groups_history": [
                    { "name": "/Lab/Backend", "history": [] },
                    { "name": "/Lab/Lead", "history": [] },
                ],
                "private_history": [],
                "last_seen_timestamp_global": null,
                "last_seen_timestamps_private": {},
                "last_seen_timestamps_group": {},
            }),
        ),
    ] {
        assert_eq!(success[key], value, "{key}");
    }
    assert_eq!(success["module_data"]["chat"], success["chat"]);
    assert_eq!(success["room_info"]["id"], "00000000-0000-0000-0000-0000000000c0");
    assert_eq!(success["tariff"]["modules"]["chat"], json!({ "features": [] }));
    assert_eq!(success["moderation"]["raise_hands_enabled"], true);
    assert_eq!(success["moderation"]["waiting_room_enabled"], false);
    let mut guest = Client::guest(&mut world);
    let success = guest.join(&mut world, "Gus");
    assert_eq!(success["role"], "guest");
    assert_eq!(success["is_room_owner"], false);
    assert_eq!(success["chat"]["groups_history"], json!([]));
    assert_eq!(success["moderation"], json!({ "raise_hands_enabled": true }));
}

#[test]
fn names_must_be_there_and_short_and_one_joins_once() {
    let mut world = World::new();
    let mut alice = Client::user(&mut world, "alice");
    for name in [" \t ".to_owned(), "x".repeat(101)] {
        alice.say(
            &mut world,
            "control",
            json!({ "action": "join", "display_name": name }),
        );
        assert_eq!(alice.events(&world), ["error invalid_username"]);
    }
    alice.join(&mut world, &"x".repeat(100));
    alice.say(
        &mut world,
        "control",
        json!({ "action": "join", "display_name": "Alice" }),
    );
    assert_eq!(alice.events(&world), ["error already_joined"]);
}

#[test]
fn the_others_hear_of_a_joiner_and_the_joiner_of_them() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let mut bob = Client::user(&mut world, "bob");
    let success = bob.join(&mut world, "Bob");
    let joined = alice.payload(&world);
    assert_eq!(joined["message"], "joined");
    assert_eq!(joined["id"], bob.id);
    let control = &joined["control"];
    assert_eq!(control["display_name"], "Bob");
    assert_eq!(control["role"], "user");
    assert_eq!(control["participation_kind"], "user");
    assert_eq!(control["hand_is_up"], false);
    assert_eq!(control["left_at"], Value::Null);
    assert_eq!(control["is_room_owner"], false);
    assert!(control["joined_at"].is_string() && control["hand_updated_at"].is_string());
    let others = success["participants"].as_array().unwrap();
    assert_eq!((others.len(), &others[0]["id"]), (1, &json!(alice.id)));
    bob.has_nothing(&world);
}

#[test]
fn groups_are_relative_to_who_hears_of_them() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let mut carol = Client::joined(&mut world, "carol");
    let mut gus = Client::guest_joined(&mut world, "Gus");
    let (_, _) = (alice.told(&world), (carol.told(&world), gus.told(&world)));
    let mut bob = Client::user(&mut world, "bob");
    let success = bob.join(&mut world, "Bob");
    for (client, groups) in [
        (&mut alice, json!(["/Lab/Backend"])),
        (&mut carol, json!(["/Lab/Tea"])),
        (&mut gus, json!([])),
    ] {
        assert_eq!(client.payload(&world)["chat"], json!({ "groups": groups }));
    }
    let shared: Vec<_> = success["participants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|other| other["chat"]["groups"].clone())
        .collect();
    assert_eq!(shared, [json!(["/Lab/Backend"]), json!(["/Lab/Tea"]), json!([])]);
}

#[test]
fn who_left_is_still_listed_and_why_is_told() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let bob = Client::joined(&mut world, "bob");
    let carol = Client::joined(&mut world, "carol");
    alice.told(&world);
    bob.leave(&mut world, Departure::Quit);
    carol.leave(&mut world, Departure::Lost);
    assert_eq!(
        alice.payload(&world),
        json!({ "message": "left", "id": bob.id, "reason": "quit" })
    );
    assert_eq!(
        alice.payload(&world),
        json!({ "message": "left", "id": carol.id, "reason": "timeout" })
    );
    let mut gus = Client::guest(&mut world);
    let success = gus.join(&mut world, "Gus");
    let gone: Vec<_> = success["participants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|other| (other["id"].clone(), other["control"]["left_at"].is_string()))
        .collect();
    assert_eq!(
        gone,
        [
            (json!(alice.id), false),
            (json!(bob.id), true),
            (json!(carol.id), true)
        ]
    );
}

#[test]
fn a_full_room_blocks_the_join() {
    let mut world = World::with(|config| config.conferences[0].max_participants = 1);
    let alice = Client::joined(&mut world, "alice");
    let mut bob = Client::user(&mut world, "bob");
    let join = json!({ "action": "join", "display_name": "Bob" });
    bob.say(&mut world, "control", join);
    assert_eq!(
        bob.payload(&world),
        json!({ "message": "join_blocked", "reason": "participant_limit_reached" })
    );
    alice.leave(&mut world, Departure::Quit);
    bob.join(&mut world, "Bob");
}

#[test]
fn hands_go_up_and_down_and_the_others_see_it() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let mut bob = Client::joined(&mut world, "bob");
    alice.told(&world);
    bob.act(&mut world, "control", "raise_hand");
    assert_eq!(bob.events(&world), ["hand_raised"]);
    let update = alice.payload(&world);
    assert_eq!(
        (&update["message"], &update["id"]),
        (&json!("update"), &json!(bob.id))
    );
    assert_eq!(update["control"]["hand_is_up"], true);
    bob.act(&mut world, "control", "lower_hand");
    assert_eq!(bob.events(&world), ["hand_lowered"]);
    assert_eq!(alice.payload(&world)["control"]["hand_is_up"], false);
    alice.act(&mut world, "moderation", "disable_raise_hands");
    bob.told(&world);
    bob.act(&mut world, "control", "raise_hand");
    bob.act(&mut world, "control", "lower_hand");
    assert_eq!(bob.events(&world), ["error raise_hands_disabled", "hand_lowered"]);
}

#[test]
fn roles_are_granted_and_revoked_by_moderators() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let mut bob = Client::joined(&mut world, "bob");
    let mut gus = Client::guest_joined(&mut world, "Gus");
    let target = |client: &Client| client.id.clone();
    let (id_alice, id_bob, id_gus) = (target(&alice), target(&bob), target(&gus));
    bob.about(&mut world, "control", "grant_moderator_role", &id_gus);
    assert_eq!(bob.events(&world), ["joined", "error insufficient_permissions"]);
    let (_, _) = (alice.told(&world), gus.told(&world));
    alice.about(&mut world, "control", "grant_moderator_role", &id_bob);
    assert_eq!(
        bob.payload(&world),
        json!({ "message": "role_updated", "new_role": "moderator" })
    );
    assert_eq!(gus.payload(&world)["control"]["role"], "moderator");
    assert_eq!(alice.events(&world), ["update", "moderator_role_granted"]);
    bob.about(&mut world, "control", "grant_moderator_role", &id_bob);
    bob.about(&mut world, "control", "revoke_moderator_role", &id_alice);
    bob.about(&mut world, "control", "revoke_moderator_role", &id_gus);
    let errors = [
        "error nothing_to_do",
        "error target_is_room_owner",
        "error nothing_to_do",
    ];
    assert_eq!(bob.events(&world), errors);
    alice.about(&mut world, "control", "revoke_moderator_role", &id_bob);
    assert_eq!(
        bob.payload(&world),
        json!({ "message": "role_updated", "new_role": "user" })
    );
}

#[test]
fn a_resumed_participant_is_who_it_was_and_knows_what_it_knew() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let mut bob = Client::joined(&mut world, "bob");
    let (id_alice, id_bob) = (alice.id.clone(), bob.id.clone());
    alice.write_to(&mut world, "private", &id_bob, "psst");
    let seen = json!({ "action": "set_last_seen_timestamp", "scope": "private", "target": id_alice,
        "timestamp": "2026-11-22T03:30:00.123456789Z" });
    bob.say(&mut world, "chat", seen);
    assert_eq!(bob.heard(&world), ["psst"], "no echo of the date");
    bob.leave(&mut world, Departure::Lost);
    alice.told(&world);
    world.advance(Duration::from_secs(100));
    alice.write_to(&mut world, "private", &id_bob, "are you there?");
    let mut again = Client::begin(&mut world, token("bob"), &json!({ "resumption": bob.resumption }));
    let success = again.join(&mut world, "Bob");
    assert_eq!(again.id, id_bob);
    let history = success["chat"]["private_history"].as_array().unwrap();
    assert_eq!(
        (history.len(), &history[0]["correspondent"]),
        (1, &json!(id_alice))
    );
    let texts: Vec<_> = history[0]["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["psst", "are you there?"]);
    assert_eq!(
        success["chat"]["last_seen_timestamps_private"],
        json!({ id_alice: "2026-11-22T03:30:00.123456789Z" })
    );
    assert_ne!(again.resumption, bob.resumption);
}

#[test]
fn without_its_token_or_too_late_one_is_somebody_new() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let bob = Client::joined(&mut world, "bob");
    alice.write_to(&mut world, "private", &bob.id, "psst");
    bob.leave(&mut world, Departure::Quit);
    for (proof, body, wait) in [
        (token("bob"), json!({}), 0),
        (token("bob"), json!({ "resumption": "unknown" }), 0),
        (token("carol"), json!({ "resumption": bob.resumption }), 0),
        (
            Proof::Invitation,
            json!({ "resumption": bob.resumption, "invite_code": INVITATION }),
            0,
        ),
        (token("bob"), json!({ "resumption": bob.resumption }), 120),
    ] {
        world.advance(Duration::from_secs(wait));
        let mut other = Client::begin(&mut world, proof, &body);
        let success = other.join(&mut world, "Somebody");
        assert_ne!(other.id, bob.id, "{body}");
        assert_eq!(success["chat"]["private_history"], json!([]));
    }
    alice.told(&world);
}

#[test]
fn a_token_of_a_session_that_runs_is_refused_and_one_is_good_once() {
    let mut world = World::new();
    let _alice = Client::joined(&mut world, "alice");
    let bob = Client::joined(&mut world, "bob");
    let body = json!({ "resumption": bob.resumption });
    let (status, answer) = start(&mut world, ROOM, token("bob"), &body);
    assert_eq!((status, answer["code"].as_str()), (400, Some("session_running")));
    bob.leave(&mut world, Departure::Quit);
    let mut again = Client::begin(&mut world, token("bob"), &body);
    again.join(&mut world, "Bob");
    assert_eq!(again.id, bob.id);
    again.leave(&mut world, Departure::Quit);
    let mut third = Client::begin(&mut world, token("bob"), &body);
    third.join(&mut world, "Bob");
    assert_ne!(third.id, bob.id, "the first token is used up");
}

#[test]
fn a_ticket_that_waits_while_a_room_ends_still_leads_to_a_session_that_can_be_resumed() {
    let mut world = World::new();
    let alice = Client::joined(&mut world, "alice");
    let (_, answer) = start(&mut world, ROOM, token("bob"), &json!({}));
    alice.leave(&mut world, Departure::Quit);
    let mut bob = Client::opened(&mut world, &answer);
    bob.join(&mut world, "Bob");
    let body = json!({ "resumption": bob.resumption });
    let (status, answer) = start(&mut world, ROOM, token("bob"), &body);
    assert_eq!((status, answer["code"].as_str()), (400, Some("session_running")));
}

#[test]
fn of_two_connections_of_one_participant_the_later_counts() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let bob = Client::joined(&mut world, "bob");
    bob.leave(&mut world, Departure::Lost);
    let (_, first) = start(
        &mut world,
        ROOM,
        token("bob"),
        &json!({ "resumption": bob.resumption }),
    );
    let (_, second) = start(
        &mut world,
        ROOM,
        token("bob"),
        &json!({ "resumption": first["resumption"] }),
    );
    let mut clients = Vec::new();
    for answer in [first, second] {
        let protocols = format!(
            "{}, ticket#{}",
            crate::meeting::PROTOCOL,
            answer["ticket"].as_str().unwrap()
        );
        let (connection, status, _) = crate::meeting::open(&mut world, Some(&protocols));
        assert_eq!(status, 101);
        clients.push(connection);
    }
    assert_eq!(
        world.chat[&clients[0]],
        [crate::world::Told::Closed(1000)],
        "the earlier one is closed"
    );
    alice.told(&world);
}
