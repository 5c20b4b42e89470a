//! What moderators may do.

use cordboard_engine::chat::io::Departure;
use serde_json::{Value, json};

use crate::meeting::{Client, ROOM, start, token};
use crate::world::World;

fn three(world: &mut World) -> (Client, Client, Client) {
    let mut alice = Client::joined(world, "alice");
    let mut bob = Client::joined(world, "bob");
    let gus = Client::guest_joined(world, "Gus");
    let (_, _) = (alice.told(world), bob.told(world));
    (alice, bob, gus)
}

#[test]
fn others_are_denied_permission() {
    let mut world = World::new();
    let (mut alice, mut bob, gus) = three(&mut world);
    for action in ["kick", "ban", "accept", "send_to_waiting_room"] {
        bob.about(&mut world, "moderation", action, &gus.id);
        let frame = bob.frame(&world);
        assert_eq!(frame["namespace"], "moderation");
        assert_eq!(
            frame["payload"],
            json!({ "message": "error", "error": "permission_denied" })
        );
    }
    bob.say(
        &mut world,
        "livekit",
        json!({ "action": "force_mute", "participants": [gus.id] }),
    );
    assert_eq!(bob.events(&world), ["error insufficient_permissions"]);
    alice.has_nothing(&world);
}

#[test]
fn who_is_kicked_goes_with_1000_and_may_come_again() {
    let mut world = World::new();
    let (mut alice, mut bob, mut gus) = three(&mut world);
    alice.about(&mut world, "moderation", "kick", &gus.id);
    assert_eq!(gus.events(&world), ["kicked", "closed 1000"]);
    for client in [&mut alice, &mut bob] {
        let left = json!({ "message": "left", "id": gus.id, "reason": "kicked" });
        assert_eq!(client.payload(&world), left);
    }
    gus.write(&mut world, "I am still here");
    alice.has_nothing(&world);
    Client::guest_joined(&mut world, "Gus");
}

#[test]
fn who_is_banned_gets_no_ticket_until_the_room_is_gone() {
    let mut world = World::new();
    let (mut alice, mut bob, gus) = three(&mut world);
    alice.about(&mut world, "moderation", "ban", &gus.id);
    assert_eq!(alice.events(&world), ["error cannot_ban_guest"]);
    alice.about(&mut world, "moderation", "ban", &bob.id);
    assert_eq!(bob.events(&world), ["banned", "closed 1000"]);
    assert_eq!(alice.payload(&world)["reason"], "banned");
    let (status, answer) = start(&mut world, ROOM, token("bob"), &Value::Null);
    assert_eq!((status, answer["code"].as_str()), (403, Some("banned_from_room")));
    gus.leave(&mut world, Departure::Quit);
    alice.leave(&mut world, Departure::Quit);
    assert_eq!(start(&mut world, ROOM, token("bob"), &Value::Null).0, 200);
}

#[test]
fn hands_are_reset_for_one_for_some_or_for_all() {
    let mut world = World::new();
    let (mut alice, mut bob, mut gus) = three(&mut world);
    let raise = |world: &mut World, client: &mut Client| {
        client.act(world, "control", "raise_hand");
    };
    raise(&mut world, &mut bob);
    raise(&mut world, &mut gus);
    let (_, _, _) = (alice.told(&world), bob.told(&world), gus.told(&world));
    alice.say(
        &mut world,
        "moderation",
        json!({ "action": "reset_raised_hands", "target": [] }),
    );
    alice.has_nothing(&world);
    alice.about(&mut world, "moderation", "reset_raised_hands", &bob.id);
    assert_eq!(
        bob.payload(&world),
        json!({ "message": "raised_hand_reset_by_moderator", "issued_by": alice.id })
    );
    assert_eq!(alice.payload(&world)["control"]["hand_is_up"], false);
    gus.told(&world);
    raise(&mut world, &mut bob);
    let (_, _, _) = (alice.told(&world), bob.told(&world), gus.told(&world));
    alice.act(&mut world, "moderation", "disable_raise_hands");
    assert_eq!(
        bob.events(&world),
        ["raise_hands_disabled", "raised_hand_reset_by_moderator", "update"]
    );
    assert!(
        gus.events(&world)
            .contains(&"raised_hand_reset_by_moderator".to_owned())
    );
    alice.act(&mut world, "moderation", "enable_raise_hands");
    assert_eq!(
        gus.payload(&world),
        json!({ "message": "raise_hands_enabled", "issued_by": alice.id })
    );
}

#[test]
fn names_of_guests_are_changed_and_those_of_users_are_not() {
    let mut world = World::new();
    let (mut alice, mut bob, mut gus) = three(&mut world);
    let rename = |world: &mut World, alice: &Client, target: &str, name: &str| {
        let payload = json!({ "action": "change_display_name", "target": target, "new_name": name });
        alice.say(world, "moderation", payload);
    };
    let (id_bob, id_gus) = (bob.id.clone(), gus.id.clone());
    rename(&mut world, &alice, &id_bob, "Robert");
    rename(&mut world, &alice, &id_gus, " ");
    assert_eq!(
        alice.events(&world),
        [
            "error cannot_change_name_of_registered_users",
            "error invalid_display_name"
        ]
    );
    rename(&mut world, &alice, &id_gus, "Gustav");
    let changed = json!({ "message": "display_name_changed", "target": id_gus, "issued_by": alice.id,
        "old_name": "Gus", "new_name": "Gustav" });
    assert_eq!(bob.payload(&world), changed);
    assert_eq!(bob.payload(&world)["control"]["display_name"], "Gustav");
    assert_eq!(gus.events(&world), ["display_name_changed"]);
}

#[test]
fn a_debriefing_sends_home_whom_it_names() {
    for (scope, bob_goes, gus_goes, alice_goes) in [
        ("guests", false, true, false),
        ("users_and_guests", true, true, false),
        ("all", true, true, true),
    ] {
        let mut world = World::new();
        let (mut alice, mut bob, mut gus) = three(&mut world);
        alice.say(
            &mut world,
            "moderation",
            json!({ "action": "debrief", "kick_scope": scope }),
        );
        for (client, goes) in [
            (&mut gus, gus_goes),
            (&mut bob, bob_goes),
            (&mut alice, alice_goes),
        ] {
            let events = client.events(&world);
            let ended = events.contains(&"session_ended".to_owned())
                && events.last().map(String::as_str) == Some("closed 1000");
            assert_eq!(ended, goes, "{scope}: {events:?}");
            assert_eq!(
                events.contains(&"debriefing_started".to_owned()),
                !goes,
                "{scope}"
            );
        }
    }
}

#[test]
fn muting_tells_its_targets_in_either_dialect() {
    let mut world = World::new();
    let (mut alice, mut bob, mut gus) = three(&mut world);
    let nobody = "00000000-0000-4000-8000-000000000000";
    alice.say(
        &mut world,
        "livekit",
        json!({ "action": "force_mute", "participants": [bob.id, nobody] }),
    );
    let frame = bob.frame(&world);
    assert_eq!(frame["namespace"], "livekit");
    assert_eq!(
        frame["payload"],
        json!({ "message": "force_muted", "moderator": alice.id })
    );
    alice.has_nothing(&world);
    alice.say(
        &mut world,
        "moderation",
        json!({ "action": "mute", "participants": [gus.id, nobody] }),
    );
    assert_eq!(
        gus.payload(&world),
        json!({ "message": "muted", "moderator": alice.id })
    );
    let error = json!({ "message": "error", "error": "unknown_participants", "participants": [nobody] });
    assert_eq!(alice.payload(&world), error);
    alice.say(
        &mut world,
        "livekit",
        json!({ "action": "enable_microphone_restrictions", "unrestricted_participants": [bob.id] }),
    );
    let restricted =
        json!({ "message": "microphone_restrictions_enabled", "unrestricted_participants": [bob.id] });
    assert_eq!(gus.payload(&world), restricted);
    alice.act(&mut world, "livekit", "disable_microphone_restrictions");
    assert_eq!(gus.events(&world), ["microphone_restrictions_disabled"]);
}
