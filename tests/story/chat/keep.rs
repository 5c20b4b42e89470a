//! How long what was said is kept, also across restarts.

use std::time::Duration;

use cordboard_engine::chat::config::Keep;
use cordboard_engine::chat::io::Departure;
use serde_json::{Value, json};

use crate::meeting::{Client, token};
use crate::world::World;

/// What a new guest reads.
fn history(world: &mut World) -> Vec<String> {
    let mut gus = Client::guest(world);
    let success = gus.join(world, "Gus");
    gus.leave(world, Departure::Quit);
    texts(&success["chat"]["room_history"])
}

fn texts(history: &Value) -> Vec<String> {
    let messages = history.as_array().expect("a history");
    messages
        .iter()
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn when_the_last_has_left_everything_is_forgotten() {
    let mut world = World::new();
    let alice = Client::joined(&mut world, "alice");
    alice.write(&mut world, "one");
    alice.act(&mut world, "chat", "disable_chat");
    assert_eq!(history(&mut world), ["one"], "while somebody is there");
    alice.leave(&mut world, Departure::Quit);
    let mut gus = Client::guest(&mut world);
    let success = gus.join(&mut world, "Gus");
    assert_eq!(success["chat"]["room_history"], json!([]));
    assert_eq!(success["chat"]["enabled"], true);
    assert_eq!(success["participants"], json!([]));
    gus.leave(&mut world, Departure::Quit);
    assert_eq!(world.engine.gauges().chat.rooms, 0);
    world.restart();
    assert_eq!(world.engine.gauges().chat.rooms, 0, "nor is it on disk");
}

#[test]
fn who_was_cut_off_alone_finds_the_room_as_it_was_for_two_minutes() {
    for (wait, kept) in [(119, 1), (121, 0)] {
        let mut world = World::new();
        let alice = Client::joined(&mut world, "alice");
        alice.write(&mut world, "one");
        alice.leave(&mut world, Departure::Lost);
        world.advance(Duration::from_secs(wait));
        assert_eq!(history(&mut world).len(), kept, "after {wait} s");
    }
}

#[test]
fn a_groups_history_dies_with_its_last_member() {
    let mut world = World::new();
    let mut bob = Client::joined(&mut world, "bob");
    let alice = Client::joined(&mut world, "alice");
    alice.write_to(&mut world, "group", "/Lab/Backend", "both");
    alice.write_to(&mut world, "group", "/Lab/Lead", "alone");
    alice.leave(&mut world, Departure::Quit);
    let mut again = Client::user(&mut world, "alice");
    let groups = again.join(&mut world, "Alice")["chat"]["groups_history"].clone();
    assert_eq!(texts(&groups[0]["history"]), ["both"]);
    assert_eq!(texts(&groups[1]["history"]), [""; 0]);
    bob.told(&world);
}

#[test]
fn for_a_time_is_from_each_messages_own_date() {
    let mut world = World::with(|config| config.chat.keep = Keep::For(Duration::from_secs(3600)));
    let alice = Client::joined(&mut world, "alice");
    alice.write(&mut world, "old");
    world.advance(Duration::from_secs(1800));
    alice.write(&mut world, "young");
    alice.leave(&mut world, Departure::Quit);
    assert_eq!(
        history(&mut world),
        ["old", "young"],
        "also while nobody is there"
    );
    world.advance(Duration::from_secs(1801));
    assert_eq!(history(&mut world), ["young"]);
    world.restart();
    assert_eq!(history(&mut world), ["young"]);
    world.advance(Duration::from_secs(1800));
    assert_eq!(history(&mut world), [""; 0]);
    world.advance(Duration::from_secs(200));
    assert_eq!(world.engine.gauges().chat.rooms, 0);
}

#[test]
fn for_ever_survives_the_last_and_a_restart_and_is_bounded_by_number() {
    let mut world = World::with(|config| {
        config.chat.keep = Keep::Forever;
        config.chat.history = 3;
    });
    let alice = Client::joined(&mut world, "alice");
    for n in 0..5 {
        alice.write(&mut world, &n.to_string());
    }
    alice.leave(&mut world, Departure::Quit);
    world.advance(Duration::from_secs(86_400 * 365));
    assert_eq!(history(&mut world), ["2", "3", "4"]);
    world.restart();
    assert_eq!(history(&mut world), ["2", "3", "4"]);
}

#[test]
fn after_a_crash_an_occupied_room_is_kept_for_those_who_come_back() {
    for (wait, kept) in [(100, true), (121, false)] {
        let mut world = World::new();
        let mut alice = Client::joined(&mut world, "alice");
        let bob = Client::joined(&mut world, "bob");
        bob.write_to(&mut world, "private", &alice.id, "psst");
        alice.write(&mut world, "one");
        alice.act(&mut world, "chat", "disable_chat");
        let seen = json!({ "action": "set_last_seen_timestamp", "scope": "global",
            "timestamp": "2026-11-22T03:30:00Z" });
        alice.say(&mut world, "chat", seen);
        let before = alice.heard(&world).len();
        assert_eq!(before, 2);
        world.restart();
        world.advance(Duration::from_secs(wait));
        let body = json!({ "resumption": alice.resumption });
        let mut again = Client::begin(&mut world, token("alice"), &body);
        let success = again.join(&mut world, "Alice");
        let chat = &success["chat"];
        assert_eq!(again.id == alice.id, kept);
        assert_eq!(texts(&chat["room_history"]).len(), usize::from(kept));
        assert_eq!(
            chat["private_history"].as_array().unwrap().len(),
            usize::from(kept)
        );
        assert_eq!(chat["enabled"], !kept);
        assert_eq!(chat["last_seen_timestamp_global"].is_string(), kept);
        let others = success["participants"].as_array().unwrap();
        assert_eq!(others.len(), usize::from(kept), "bob can still be named");
        alice.told(&world);
    }
}

#[test]
fn dates_go_on_rising_after_a_restart_even_if_the_clock_does_not() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    alice.write(&mut world, "before");
    alice.told(&world);
    world.now = world.now - Duration::from_secs(3600);
    world.restart();
    let body = json!({ "resumption": alice.resumption });
    let mut again = Client::begin(&mut world, token("alice"), &body);
    let success = again.join(&mut world, "Alice");
    let old = success["chat"]["room_history"][0]["timestamp"].clone();
    again.write(&mut world, "after");
    let new = again.frame(&world)["timestamp"].clone();
    assert!(new.as_str() > old.as_str(), "{old} {new}");
}

#[test]
fn a_group_that_is_forgotten_keeps_what_was_written_to_it_since() {
    let mut world = World::new();
    let bob = Client::joined(&mut world, "bob");
    let alice = Client::joined(&mut world, "alice");
    alice.write_to(&mut world, "group", "/Lab/Lead", "old");
    world.disk_waits = true;
    bob.write(&mut world, "holds up the room");
    alice.leave(&mut world, Departure::Quit);
    let mut again = Client::user(&mut world, "alice");
    let join = json!({ "action": "join", "display_name": "Alice" });
    again.say(&mut world, "control", join);
    again.write_to(&mut world, "group", "/Lab/Lead", "new");
    world.commit(true);
    world.disk_waits = false;
    world.commit(true);
    assert_eq!(again.next(&world), "join_success");
    assert_eq!(again.heard(&world), ["new"]);
    world.restart();
    let body = json!({ "resumption": again.resumption });
    let mut back = Client::begin(&mut world, token("alice"), &body);
    let groups = back.join(&mut world, "Alice")["chat"]["groups_history"].clone();
    assert_eq!(texts(&groups[1]["history"]), ["new"]);
}

#[test]
fn one_failed_commit_costs_no_later_message() {
    let mut world = World::with(|config| config.chat.keep = Keep::Forever);
    world.disk_works = false;
    let alice = Client::joined(&mut world, "alice");
    let bob = Client::joined(&mut world, "bob");
    world.disk_works = true;
    bob.write(&mut world, "kept");
    world.restart();
    let body = json!({ "resumption": alice.resumption });
    let mut again = Client::begin(&mut world, token("alice"), &body);
    let success = again.join(&mut world, "Alice");
    assert_eq!(texts(&success["chat"]["room_history"]), ["kept"]);
    assert_eq!(again.id, alice.id, "who may come back was written again, too");
    let author = &success["participants"][0];
    assert_eq!(
        (&author["id"], &author["control"]["display_name"]),
        (&json!(bob.id), &json!("bob"))
    );
}
