//! The waiting room.

use cordboard_engine::chat::io::Departure;
use cordboard_engine::io::ConferenceCommand;
use cordboard_engine::sip::name::Name;
use cordboard_model::ParticipantId;
use cordboard_model::media::MediaCommand;
use cordboard_model::media::peer::VideoFlow;
use serde_json::json;

use crate::meeting::Client;
use crate::phone::Phone;
use crate::sfu::{command, legs, meeting, setup_of, subscriptions};
use crate::world::World;

fn guarded() -> World {
    World::with(|config| config.conferences[0].room.waiting_room = true)
}

fn knock(world: &mut World, client: &Client, name: &str) {
    client.say(
        world,
        "control",
        json!({ "action": "join", "display_name": name }),
    );
}

#[test]
fn who_waits_is_let_in_by_a_moderator() {
    let mut world = guarded();
    let mut alice = Client::joined(&mut world, "alice");
    let mut bob = Client::user(&mut world, "bob");
    knock(&mut world, &bob, "Bob");
    let waits = bob.frame(&world);
    assert_eq!(waits["namespace"], "moderation");
    assert_eq!(waits["payload"], json!({ "message": "in_waiting_room" }));
    let knocked = alice.payload(&world);
    assert_eq!(knocked["message"], "joined_waiting_room");
    assert_eq!(knocked["control"]["display_name"], "Bob");
    let id = knocked["id"].as_str().unwrap().to_owned();
    bob.act(&mut world, "control", "enter_room");
    assert_eq!(bob.events(&world), ["error not_accepted_or_not_in_waiting_room"]);
    let nobody = "00000000-0000-4000-8000-000000000000";
    alice.about(&mut world, "moderation", "accept", nobody);
    alice.has_nothing(&world);
    alice.about(&mut world, "moderation", "accept", &id);
    assert_eq!(bob.events(&world), ["accepted"]);
    bob.act(&mut world, "control", "enter_room");
    let success = bob.payload(&world);
    assert_eq!(
        (&success["message"], &success["id"]),
        (&json!("join_success"), &json!(id))
    );
    assert_eq!(
        alice.payload(&world),
        json!({ "message": "left_waiting_room", "id": id })
    );
    assert_eq!(alice.next(&world), "joined");
    // Once accepted, always: a short absence needs no second knock.
    bob.leave(&mut world, Departure::Lost);
    let body = json!({ "resumption": bob.resumption });
    let mut again = Client::begin(&mut world, crate::meeting::token("bob"), &body);
    again.join(&mut world, "Bob");
    assert_eq!(again.id, id);
}

#[test]
fn nobody_who_waits_hears_reads_or_writes() {
    let mut world = guarded();
    let mut alice = Client::joined(&mut world, "alice");
    let mut gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    gus.told(&world);
    alice.told(&world);
    alice.write(&mut world, "secret");
    gus.write(&mut world, "hello?");
    gus.act(&mut world, "moderation", "disable_waiting_room");
    gus.has_nothing(&world);
    assert_eq!(alice.heard(&world), ["secret"]);
    knock(&mut world, &gus, "Gus");
    gus.act(&mut world, "control", "raise_hand");
    assert_eq!(
        gus.events(&world),
        ["error already_joined", "error not_yet_joined"]
    );
    gus.leave(&mut world, Departure::Quit);
    assert_eq!(alice.next(&world), "left_waiting_room");
    let mut bob = Client::user(&mut world, "bob");
    knock(&mut world, &bob, "Bob");
    assert_eq!(bob.events(&world), ["in_waiting_room"]);
}

#[test]
fn moderators_skip_it_and_see_who_waits() {
    let mut world = guarded();
    let gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    let mut alice = Client::user(&mut world, "alice");
    let success = alice.join(&mut world, "Alice");
    assert_eq!(success["moderation"]["waiting_room_enabled"], true);
    let waiting = success["moderation"]["waiting_room_participants"]
        .as_array()
        .unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["control"]["display_name"], "Gus");
    assert_eq!(success["participants"], json!([]));
}

#[test]
fn it_is_switched_by_moderators_and_switching_it_off_admits_nobody() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let mut bob = Client::joined(&mut world, "bob");
    alice.told(&world);
    alice.act(&mut world, "moderation", "enable_waiting_room");
    assert_eq!(bob.events(&world), ["waiting_room_enabled"]);
    let mut gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    assert_eq!(gus.events(&world), ["in_waiting_room"]);
    alice.act(&mut world, "moderation", "disable_waiting_room");
    gus.has_nothing(&world);
    Client::guest_joined(&mut world, "Gil");
    assert_eq!(
        alice.events(&world),
        [
            "waiting_room_enabled",
            "joined_waiting_room",
            "waiting_room_disabled",
            "joined"
        ]
    );
}

#[test]
fn one_may_be_sent_there_but_the_owner_may_not() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let mut bob = Client::joined(&mut world, "bob");
    let mut gus = Client::guest_joined(&mut world, "Gus");
    let (id_alice, id_bob) = (alice.id.clone(), bob.id.clone());
    let (_, _) = (alice.told(&world), bob.told(&world));
    alice.about(&mut world, "moderation", "send_to_waiting_room", &id_alice);
    assert_eq!(
        alice.events(&world),
        ["error cannot_send_room_owner_to_waiting_room"]
    );
    alice.about(&mut world, "moderation", "send_to_waiting_room", &id_bob);
    assert_eq!(bob.events(&world), ["sent_to_waiting_room"]);
    let left = json!({ "message": "left", "id": id_bob, "reason": "sent_to_waiting_room" });
    assert_eq!(gus.payload(&world), left);
    assert_eq!(gus.next(&world), "joined_waiting_room");
    bob.write(&mut world, "hey");
    bob.has_nothing(&world);
    alice.about(&mut world, "moderation", "accept", &id_bob);
    bob.act(&mut world, "control", "enter_room");
    assert_eq!(bob.events(&world), ["accepted", "join_success"]);
}

#[test]
fn a_room_with_somebody_waiting_is_kept() {
    let mut world = guarded();
    let mut alice = Client::joined(&mut world, "alice");
    alice.write(&mut world, "before");
    let gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    alice.leave(&mut world, Departure::Quit);
    alice.told(&world);
    let mut again = Client::user(&mut world, "alice");
    let success = again.join(&mut world, "Alice");
    assert_eq!(success["chat"]["room_history"][0]["content"], "before");
}

/// Whether the last gate of a leg lets it neither speak nor hear.
fn is_shut(world: &World) -> Option<bool> {
    let gate = |command: &MediaCommand| match command {
        MediaCommand::Gate { muted, deaf, .. } => Some(*muted && *deaf),
        _ => None,
    };
    world.media.iter().filter_map(gate).next_back()
}

const TEXT: &str = "Content-Type: text/plain\r\n";

#[test]
fn a_caller_waits_in_silence_until_it_is_let_in() {
    let mut world = guarded();
    let (mut alice, mut bob, mut carol) = (
        Client::joined(&mut world, "alice"),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    );
    carol.call(&mut world, "3001*1234"); // a moderator does not wait
    assert_eq!(alice.next(&world), "joined");
    let mut line = bob.call(&mut world, "3000");
    let knocked = alice.payload(&world);
    assert_eq!(knocked["message"], "joined_waiting_room");
    assert_eq!(knocked["control"]["participation_kind"], "sip");
    assert_eq!(is_shut(&world), Some(true));
    // It neither reads nor writes.
    alice.write(&mut world, "secret");
    assert_eq!(carol.gets(&mut world, "MESSAGE", true).body_slice(), b"secret");
    bob.has_nothing(&mut world);
    let answer = bob.within(&mut world, &mut line, "MESSAGE", TEXT, b"let me in");
    assert_eq!(answer.status(), 403);
    assert!(answer.header(Name::Reason).unwrap().contains("Waiting Room"));
    assert_eq!(alice.heard(&world), ["secret"]);
    let id = knocked["id"].as_str().unwrap().to_owned();
    alice.told(&world);
    alice.about(&mut world, "moderation", "accept", &id);
    assert_eq!(
        alice.payload(&world),
        json!({ "message": "left_waiting_room", "id": id })
    );
    let joined = alice.payload(&world);
    assert_eq!(
        (&joined["message"], &joined["id"]),
        (&json!("joined"), &json!(id))
    );
    assert_eq!(is_shut(&world), Some(false));
    let answer = bob.within(&mut world, &mut line, "MESSAGE", TEXT, b"thanks");
    assert_eq!(answer.status(), 202);
    assert_eq!(alice.heard(&world), ["thanks"]);
    bob.within(&mut world, &mut line, "BYE", "", b"");
    assert_eq!(alice.events(&world), ["left"]);
}

#[test]
fn the_owner_does_not_wait_by_the_phone_either() {
    let mut world = guarded();
    let mut alice = Phone::new("alice", 1);
    let mut line = alice.call(&mut world, "3000");
    let answer = alice.within(&mut world, &mut line, "MESSAGE", TEXT, b"I am in");
    assert_eq!(answer.status(), 202);
    assert_eq!(is_shut(&world), None);
}

#[test]
fn a_caller_can_be_sent_back_and_goes_from_there_like_anybody() {
    let mut world = World::with(|config| config.conferences[0].send_events = true);
    let (mut alice, mut bob, mut carol) = (
        Client::joined(&mut world, "alice"),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    );
    let mut line = bob.call(&mut world, "3000");
    let id = alice.payload(&world)["id"].as_str().unwrap().to_owned();
    carol.call(&mut world, "3000");
    for phone in [&mut bob, &mut carol] {
        phone.listen(&mut world);
        while phone.inbox.iter().any(|delivery| delivery.message.is_request()) {
            phone.gets(&mut world, "MESSAGE", true);
        }
    }
    alice.told(&world);
    alice.about(&mut world, "moderation", "send_to_waiting_room", &id);
    assert_eq!(
        alice.payload(&world),
        json!({ "message": "left", "id": id, "reason": "sent_to_waiting_room" })
    );
    assert_eq!(alice.next(&world), "joined_waiting_room");
    assert_eq!(is_shut(&world), Some(true));
    let told = carol.gets(&mut world, "MESSAGE", true);
    assert!(String::from_utf8_lossy(told.body_slice()).contains("ConfbridgeLeave"));
    bob.has_nothing(&mut world);
    // Whoever is muted there is no news to those who do not see it.
    let participant = world.media.iter().rev().find_map(|command| match command {
        MediaCommand::Gate { leg, .. } => Some(ParticipantId(leg.0)),
        _ => None,
    });
    let participant = participant.expect("its gate was shut");
    for muted in [true, false] {
        command(&mut world, ConferenceCommand::Mute { participant, muted });
        assert_eq!(is_shut(&world), Some(true));
    }
    carol.has_nothing(&mut world);
    // The moderators who come now see it there.
    let mut again = Client::user(&mut world, "alice");
    let success = again.join(&mut world, "Alice");
    assert_eq!(
        success["moderation"]["waiting_room_participants"][0]["id"],
        json!(id)
    );
    let told = carol.gets(&mut world, "MESSAGE", true);
    assert!(String::from_utf8_lossy(told.body_slice()).contains("ConfbridgeJoin"));
    // It hangs up while it waits: nobody hears that it left twice.
    alice.told(&world);
    bob.within(&mut world, &mut line, "BYE", "", b"");
    assert_eq!(alice.events(&world), ["left_waiting_room"]);
    carol.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().dialogs, 1);
}

#[test]
fn a_caller_who_waits_can_be_shown_out() {
    let mut world = guarded();
    let (mut alice, mut bob) = (Client::joined(&mut world, "alice"), Phone::new("bob", 2));
    bob.call(&mut world, "3000");
    let id = alice.payload(&world)["id"].as_str().unwrap().to_owned();
    alice.about(&mut world, "moderation", "kick", &id);
    assert_eq!(bob.gets(&mut world, "BYE", true).method_text(), "BYE");
    assert_eq!(alice.events(&world), ["left_waiting_room"]);
    alice.leave(&mut world, Departure::Quit);
    world.advance(std::time::Duration::from_secs(40));
    world.is_clean();
}

#[test]
fn a_browser_that_is_sent_there_sees_nobody_whatever_its_lines_still_say() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    meeting(&mut world, &["bob", "carol"]);
    let id = alice.payload(&world)["id"].as_str().unwrap().to_owned();
    let legs = legs(&world);
    assert_eq!(subscriptions(&world, legs[0]), [legs[1]]);
    alice.told(&world);
    alice.about(&mut world, "moderation", "send_to_waiting_room", &id);
    // Bob's page has not answered anything yet.
    assert_eq!(subscriptions(&world, legs[0]), []);
    let shown = &setup_of(&world, legs[0]).video[0].flow;
    assert!(
        matches!(shown, VideoFlow::Publish { muted: true, .. }),
        "and is not seen: {shown:?}"
    );
}
