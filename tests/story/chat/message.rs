//! What is written, to whom it goes, and what is not.

use std::time::Duration;

use cordboard_engine::chat::io::Departure;
use serde_json::{Value, json};

use crate::meeting::Client;
use crate::world::World;

fn three(world: &mut World) -> (Client, Client, Client) {
    let mut alice = Client::joined(world, "alice");
    let mut bob = Client::joined(world, "bob");
    let carol = Client::joined(world, "carol");
    let (_, _) = (alice.told(world), bob.told(world));
    (alice, bob, carol)
}

#[test]
fn a_global_message_reaches_all_its_sender_included_and_is_kept() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = three(&mut world);
    bob.write(&mut world, "  <b>hi</b>\n");
    let mut frames = Vec::new();
    for client in [&mut alice, &mut bob, &mut carol] {
        frames.push(client.frame(&world));
        client.has_nothing(&world);
    }
    assert!(frames.iter().all(|frame| *frame == frames[0]), "the same for all");
    let payload = &frames[0]["payload"];
    assert_eq!(payload["message"], "message_sent");
    assert_eq!(payload["source"], bob.id);
    assert_eq!(payload["content"], "  <b>hi</b>\n", "as it was written");
    assert_eq!(payload["scope"], "global");
    assert_eq!(payload.get("target"), None);
    assert_eq!(payload.get("timestamp"), None);
    let mut gus = Client::guest(&mut world);
    let success = gus.join(&mut world, "Gus");
    let kept = &success["chat"]["room_history"][0];
    assert_eq!(kept["timestamp"], frames[0]["timestamp"], "the same date");
    for key in ["id", "source", "content", "scope"] {
        assert_eq!(kept[key], payload[key], "{key}");
    }
}

#[test]
fn an_empty_message_is_dropped_without_an_answer_even_when_chat_is_disabled() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = three(&mut world);
    bob.write(&mut world, "");
    bob.has_nothing(&world);
    bob.write(&mut world, " ");
    assert_eq!(bob.heard(&world), [" "], "white space is a message");
    alice.act(&mut world, "chat", "disable_chat");
    bob.told(&world);
    bob.write(&mut world, "");
    bob.has_nothing(&world);
    alice.told(&world);
}

#[test]
fn a_long_message_is_cut_at_4096_bytes_where_a_character_begins() {
    let mut world = World::new();
    let (mut alice, bob, _) = three(&mut world);
    for (before, length) in [
        ("x".repeat(5000), 4096),
        ("x".repeat(4095) + "ä", 4095),
        ("ä".repeat(3000), 4096),
    ] {
        bob.write(&mut world, &before);
        let after = alice.heard(&world).remove(0);
        assert_eq!(after.len(), length);
        assert!(before.starts_with(&after));
    }
}

#[test]
fn disabled_chat_refuses_every_scope_and_moderators_too() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = three(&mut world);
    alice.act(&mut world, "chat", "disable_chat");
    for client in [&mut alice, &mut bob, &mut carol] {
        assert_eq!(
            client.payload(&world),
            json!({ "message": "chat_disabled", "issued_by": client_id(&world, client, "alice") })
        );
    }
    let to_bob = bob.id.clone();
    alice.write(&mut world, "x");
    alice.write_to(&mut world, "group", "/Lab/Backend", "x");
    alice.write_to(&mut world, "private", &to_bob, "x");
    assert_eq!(alice.events(&world), ["error chat_disabled"; 3]);
    bob.has_nothing(&world);
    let mut gus = Client::guest(&mut world);
    assert_eq!(gus.join(&mut world, "Gus")["chat"]["enabled"], false);
    alice.told(&world);
    alice.act(&mut world, "chat", "enable_chat");
    alice.act(&mut world, "chat", "enable_chat");
    assert_eq!(alice.events(&world), ["chat_enabled"; 2], "said again");
    alice.write(&mut world, "y");
    assert_eq!(carol.heard(&world), ["y"]);
}

/// The id of the moderator who did it, as the event has it.
fn client_id(world: &World, client: &Client, _who: &str) -> Value {
    let all = &world.chat[&client.connection];
    let Some(crate::world::Told::Frame(frame)) = all.last() else {
        panic!("a frame");
    };
    frame["payload"]["issued_by"].clone()
}

#[test]
fn only_moderators_switch_and_clear_and_their_role_now_counts() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = three(&mut world);
    for action in ["disable_chat", "enable_chat", "clear_history"] {
        bob.act(&mut world, "chat", action);
        let frame = bob.frame(&world);
        assert_eq!(frame["namespace"], "chat");
        assert_eq!(
            frame["payload"],
            json!({ "message": "error", "error": "insufficient_permissions" })
        );
    }
    alice.has_nothing(&world);
    let target = bob.id.clone();
    alice.about(&mut world, "control", "grant_moderator_role", &target);
    bob.told(&world);
    carol.told(&world);
    bob.act(&mut world, "chat", "disable_chat");
    let event = carol.payload(&world);
    assert_eq!(event, json!({ "message": "chat_disabled", "issued_by": bob.id }));
}

#[test]
fn clearing_takes_the_global_history_and_no_other() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = three(&mut world);
    let to_bob = bob.id.clone();
    alice.write(&mut world, "global");
    alice.write_to(&mut world, "group", "/Lab/Backend", "group");
    alice.write_to(&mut world, "private", &to_bob, "private");
    bob.told(&world);
    alice.act(&mut world, "chat", "clear_history");
    assert_eq!(
        bob.payload(&world),
        json!({ "message": "history_cleared", "issued_by": alice.id })
    );
    bob.leave(&mut world, Departure::Quit);
    let mut again = Client::begin(
        &mut world,
        crate::meeting::token("bob"),
        &json!({ "resumption": bob.resumption }),
    );
    let chat = again.join(&mut world, "Bob")["chat"].clone();
    assert_eq!(chat["room_history"], json!([]));
    assert_eq!(chat["groups_history"][0]["history"][0]["content"], "group");
    assert_eq!(chat["private_history"][0]["history"][0]["content"], "private");
    alice.told(&world);
}

#[test]
fn a_group_message_reaches_its_members_and_a_foreign_group_is_dropped() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = three(&mut world);
    alice.write_to(&mut world, "group", "/Lab/Backend", "members only");
    for client in [&mut alice, &mut bob] {
        let payload = client.payload(&world);
        assert_eq!(
            (payload["scope"].as_str(), payload["target"].as_str()),
            (Some("group"), Some("/Lab/Backend"))
        );
    }
    carol.has_nothing(&world);
    for group in ["/Lab/Tea", "/Lab/Nobody", ""] {
        alice.write_to(&mut world, "group", group, "let me in");
    }
    alice.has_nothing(&world);
    bob.has_nothing(&world);
    let mut later = Client::user(&mut world, "carol");
    let chat = later.join(&mut world, "Carol")["chat"].clone();
    assert_eq!(
        chat["groups_history"],
        json!([{ "name": "/Lab/Tea", "history": [] }])
    );
}

#[test]
fn a_private_message_has_two_copies_with_the_same_target() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = three(&mut world);
    let target = bob.id.clone();
    alice.write_to(&mut world, "private", &target, "psst");
    let (one, other) = (alice.frame(&world), bob.frame(&world));
    assert_eq!(one, other);
    assert_eq!(one["payload"]["target"], bob.id, "the addressee, in both");
    alice.has_nothing(&world);
    bob.has_nothing(&world);
    carol.has_nothing(&world);
}

#[test]
fn private_to_somebody_absent_or_unknown_comes_back_to_its_sender_alone() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = three(&mut world);
    carol.leave(&mut world, Departure::Quit);
    alice.told(&world);
    for target in [&carol.id, "00000000-0000-4000-8000-000000000000"] {
        alice.write_to(&mut world, "private", target, "hello?");
        assert_eq!(alice.heard(&world), ["hello?"]);
    }
    let own = alice.id.clone();
    alice.write_to(&mut world, "private", &own, "note");
    assert_eq!(alice.heard(&world), ["note"], "one copy to oneself");
    assert_eq!(bob.heard(&world), [""; 0]);
    carol.told(&world);
}

#[test]
fn dates_are_strictly_increasing_in_a_room_and_ids_never_the_same() {
    let mut world = World::new();
    let (mut alice, bob, _) = three(&mut world);
    for n in 0..50 {
        bob.write(&mut world, &n.to_string());
    }
    let mut dates = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let frame = alice.frame(&world);
        dates.push(frame["timestamp"].as_str().unwrap().to_owned());
        ids.insert(frame["payload"]["id"].as_str().unwrap().to_owned());
    }
    let fraction = |date: &String| {
        let (_, fraction) = date.trim_end_matches('Z').split_once('.').unwrap_or(("", "0"));
        format!("{fraction:0<9}")
    };
    assert!(
        dates
            .windows(2)
            .all(|pair| fraction(&pair[0]) < fraction(&pair[1])),
        "in one moment"
    );
    assert_eq!(ids.len(), 50);
}

#[test]
fn nothing_is_told_before_it_is_on_disk_and_order_holds() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = three(&mut world);
    world.disk_waits = true;
    alice.write(&mut world, "one");
    bob.act(&mut world, "control", "raise_hand");
    bob.write(&mut world, "two");
    alice.has_nothing(&world);
    bob.has_nothing(&world);
    let mut gus = Client::guest(&mut world);
    let join = json!({ "action": "join", "display_name": "Gus" });
    gus.say(&mut world, "control", join);
    bob.write(&mut world, "three");
    gus.has_nothing(&world);
    world.commit(true);
    assert_eq!(
        alice.events(&world),
        ["message_sent", "update", "message_sent", "joined", "message_sent"]
    );
    let success = gus.payload(&world);
    let texts: Vec<_> = success["chat"]["room_history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(gus.heard(&world), ["three"], "not missing, not twice");
    bob.told(&world);
}

#[test]
fn what_could_not_be_written_was_never_said() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = three(&mut world);
    world.disk_waits = true;
    alice.write(&mut world, "lost");
    bob.act(&mut world, "control", "raise_hand");
    world.commit(false);
    assert_eq!(alice.events(&world), ["update"]);
    world.disk_waits = false;
    alice.write(&mut world, "kept");
    assert_eq!(bob.heard(&world), ["kept"]);
    let mut gus = Client::guest(&mut world);
    let success = gus.join(&mut world, "Gus");
    assert_eq!(success["chat"]["room_history"].as_array().unwrap().len(), 1);
    assert_eq!(world.engine.counts().chat_dropped["not_stored"], 1);
}

#[test]
fn last_seen_is_what_was_written_last_and_foreign_groups_are_ignored() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = three(&mut world);
    for (scope, target, date) in [
        ("global", "", "2026-11-22T03:30:00Z"),
        ("global", "", "1999-01-01T00:00:00+01:00"),
        ("group", "/Lab/Backend", "2026-11-22T03:30:00.5Z"),
        ("group", "/Lab/Lead", "2026-11-22T03:30:00Z"),
    ] {
        let set = json!({ "action": "set_last_seen_timestamp", "scope": scope, "target": target, "timestamp": date });
        bob.say(&mut world, "chat", set);
    }
    bob.has_nothing(&world);
    let bad = json!({ "action": "set_last_seen_timestamp", "scope": "global", "timestamp": "yesterday" });
    bob.say(&mut world, "chat", bad);
    assert_eq!(bob.events(&world), ["error invalid_json"]);
    bob.leave(&mut world, Departure::Lost);
    world.advance(Duration::from_secs(1));
    let body = json!({ "resumption": bob.resumption });
    let mut again = Client::begin(&mut world, crate::meeting::token("bob"), &body);
    let chat = again.join(&mut world, "Bob")["chat"].clone();
    assert_eq!(chat["last_seen_timestamp_global"], "1998-12-31T23:00:00Z");
    assert_eq!(
        chat["last_seen_timestamps_group"],
        json!({ "/Lab/Backend": "2026-11-22T03:30:00.500Z" })
    );
    alice.told(&world);
}
