//! What happens in a conference is told to its participants as messages in their calls.

use std::time::Duration;

use cordboard_engine::config::Config;
use cordboard_engine::io::{ConferenceCommand, Input};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::conference::{Admission, JoinVerdict, Role};
use cordboard_model::media::{MediaCommand, MediaEvent};
use cordboard_model::{ConferenceId, LegId, ParticipantId, Verdict};
use serde_json::{Value, json};

use crate::meeting::Client;
use crate::phone::{Line, Phone};
use crate::world::{World, chain};

const ID: ConferenceId = ConferenceId(0xc0);

fn telling(config: &mut Config) {
    config.conferences[0].send_events = true;
}

fn world(change: impl FnOnce(&mut Config)) -> World {
    World::with(|config| {
        telling(config);
        change(config);
    })
}

fn phones() -> (Phone, Phone, Phone) {
    (
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    )
}

fn read(message: &Message) -> Value {
    assert_eq!(
        message.header(Name::ContentType),
        Some("application/x-asterisk-confbridge-event+json")
    );
    serde_json::from_slice(message.body_slice()).unwrap()
}

/// The events that a phone has been sent, answered.
fn events(phone: &mut Phone, world: &mut World) -> Vec<Value> {
    let mut events = Vec::new();
    let mut seen = Vec::new(); // it repeats what is not answered at once
    loop {
        phone.listen(world);
        let place = phone.inbox.iter().position(|delivery| {
            delivery.message.method_text() == "MESSAGE" && delivery.message.is_request()
        });
        let Some(place) = place else { return events };
        let message = phone.inbox.remove(place).message;
        let number = message.cseq().unwrap().number;
        if !seen.contains(&number) {
            events.push(read(&message));
            seen.push(number);
        }
        phone.respond(world, &message, 200, "", "");
    }
}

fn types(events: &[Value]) -> Vec<String> {
    let word = |event: &Value| {
        let name = event["type"]
            .as_str()
            .unwrap()
            .trim_start_matches("Confbridge")
            .to_owned();
        match event["channels"][0]["talking_status"].as_str() {
            Some(status) => format!("{name} {status}"),
            None => name,
        }
    };
    events.iter().map(word).collect()
}

fn who(event: &Value) -> Vec<&str> {
    let channels = event["channels"].as_array().unwrap();
    channels
        .iter()
        .map(|channel| channel["caller"]["number"].as_str().unwrap())
        .collect()
}

/// The media legs in the order in which they came.
fn legs(world: &World) -> Vec<LegId> {
    let opened = world.media.iter().filter_map(|command| match command {
        MediaCommand::Open { leg, .. } => Some(*leg),
        _ => None,
    });
    opened.collect()
}

fn talk(world: &mut World, place: usize, on: bool) {
    let leg = legs(world)[place];
    world.handle(Input::Media(MediaEvent::Talking { leg, on }));
}

fn command(world: &mut World, command: ConferenceCommand) {
    world.handle(Input::Conference { id: ID, command });
}

fn participant(world: &World, place: usize) -> ParticipantId {
    ParticipantId(legs(world)[place].0)
}

#[test]
fn one_who_comes_in_is_welcomed_with_everybody_and_the_others_hear_of_it() {
    let mut world = world(|_| {});
    let (mut alice, mut bob, _) = phones();
    let of_alice = alice.call(&mut world, "3001*1234");
    let first = events(&mut alice, &mut world);
    assert_eq!(types(&first), ["Start", "Welcome"]);
    assert_eq!(first[0]["channels"], json!([]));
    world.advance(Duration::from_millis(1_500));
    let of_bob = bob.call(&mut world, "3000");
    let welcome = events(&mut bob, &mut world);
    assert_eq!(types(&welcome), ["Welcome"]);
    let bridge = json!({
        "id": "00000000-0000-0000-0000-0000000000c0", "name": "Daily",
        "creationtime": "2027-01-15T08:00:00.000+0000", "video_mode": "sfu",
    });
    let channel = |line: &Line, name: &str, display: &str, admin: bool, time: &str, id: &Value| {
        json!({
            "id": id, "name": name, "state": "Up", "protocol_id": line.call_id,
            "caller": { "name": display, "number": display.to_lowercase() },
            "creationtime": time, "language": "en", "admin": admin, "muted": false,
        })
    };
    let ids = |event: &Value, place: usize| event["channels"][place]["id"].clone();
    let (then, now) = ("2027-01-15T08:00:00.000+0000", "2027-01-15T08:00:01.500+0000");
    let legs = legs(&world);
    let (name_a, name_b) = (
        format!("SIP/alice-{:08x}", legs[0].0),
        format!("SIP/bob-{:08x}", legs[1].0),
    );
    assert_eq!(
        welcome[0],
        json!({
            "type": "ConfbridgeWelcome", "timestamp": now, "bridge": bridge,
            "channels": [
                channel(&of_alice, &name_a, "Alice", true, then, &ids(&first[1], 0)),
                channel(&of_bob, &name_b, "Bob", false, now, &ids(&welcome[0], 1)),
            ],
        })
    );
    assert_eq!(ids(&first[1], 0), format!("1800000000.{}", legs[0]));
    let join = events(&mut alice, &mut world);
    assert_eq!(
        join,
        [json!({
            "type": "ConfbridgeJoin", "timestamp": now, "bridge": bridge,
            "channels": [channel(&of_bob, &name_b, "Bob", false, now, &ids(&welcome[0], 1))],
        })]
    );
}

#[test]
fn the_keys_stand_in_the_order_that_clients_know_and_the_conference_is_the_sender() {
    let mut world = world(|_| {});
    let (mut alice, mut bob, _) = phones();
    alice.call(&mut world, "3000");
    events(&mut alice, &mut world);
    bob.call(&mut world, "3000");
    let join = alice.gets(&mut world, "MESSAGE", true);
    let text = String::from_utf8(join.body_slice().to_vec()).unwrap();
    let places: Vec<_> = [
        "\"type\"",
        "\"timestamp\"",
        "\"bridge\"",
        "\"creationtime\"",
        "\"video_mode\"",
        "\"channels\"",
        "\"protocol_id\"",
        "\"caller\"",
        "\"language\"",
        "\"admin\"",
        "\"muted\"",
    ]
    .iter()
    .map(|key| text.find(key).unwrap())
    .collect();
    assert!(places.is_sorted(), "{text}");
    let from = join.header(Name::From).unwrap();
    assert!(from.starts_with("\"Daily\" <sip:3000@lab.test>;tag="), "{from}");
}

#[test]
fn ones_own_events_come_only_where_they_are_echoed() {
    for echo in [false, true] {
        let mut world = world(|config| config.conferences[0].echo_events = echo);
        let (mut alice, mut bob, _) = phones();
        alice.call(&mut world, "3000");
        let own = |word: &str| echo.then(|| word.to_owned());
        let expected: Vec<String> = [Some("Start".into()), own("Join"), Some("Welcome".into())]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(types(&events(&mut alice, &mut world)), expected);
        let mut line = bob.call(&mut world, "3000");
        events(&mut bob, &mut world);
        events(&mut alice, &mut world);
        let participant = participant(&world, 1);
        for muted in [true, true, false] {
            command(&mut world, ConferenceCommand::Mute { participant, muted });
        }
        talk(&mut world, 1, true);
        let heard = events(&mut alice, &mut world);
        assert_eq!(types(&heard), ["Mute", "Unmute", "Talking on"]);
        assert!(
            heard[..2]
                .iter()
                .all(|event| event["channels"][0].get("muted").is_none())
        );
        assert_eq!(who(&heard[0]), ["bob"]);
        let expected: &[&str] = if echo {
            &["Mute", "Unmute", "Talking on"]
        } else {
            &[]
        };
        assert_eq!(types(&events(&mut bob, &mut world)), expected);
        bob.within(&mut world, &mut line, "BYE", "", b"");
        let left = events(&mut alice, &mut world);
        assert_eq!(
            (types(&left), who(&left[0])),
            (vec!["Leave".to_owned()], vec!["bob"])
        );
        assert!(events(&mut bob, &mut world).is_empty());
    }
}

#[test]
fn nothing_is_told_where_events_are_not_configured() {
    let mut world = World::new();
    let (mut alice, mut bob, _) = phones();
    alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    talk(&mut world, 1, true);
    command(&mut world, ConferenceCommand::Lock(true));
    alice.has_nothing(&mut world);
    bob.has_nothing(&mut world);
}

#[test]
fn talking_is_told_at_once_and_then_gathered() {
    let mut world = world(|_| {});
    let (mut alice, mut bob, mut carol) = phones();
    for phone in [&mut alice, &mut bob, &mut carol] {
        phone.call(&mut world, "3000");
    }
    for phone in [&mut alice, &mut bob, &mut carol] {
        events(phone, &mut world);
    }
    talk(&mut world, 0, true);
    assert_eq!(types(&events(&mut carol, &mut world)), ["Talking on"]);
    world.advance(Duration::from_millis(50));
    // Within 200 ms: alice stops and goes on, bob begins and stops, carol begins.
    for (place, on) in [(0, false), (1, true), (0, true), (1, false), (2, true)] {
        talk(&mut world, place, on);
    }
    assert!(events(&mut alice, &mut world).is_empty());
    world.advance(Duration::from_millis(149));
    assert!(events(&mut alice, &mut world).is_empty());
    world.advance(Duration::from_millis(1));
    let told = events(&mut alice, &mut world);
    assert_eq!(
        (types(&told), who(&told[0])),
        (vec!["Talking on".to_owned()], vec!["carol"])
    );
    assert!(events(&mut carol, &mut world).is_empty(), "her own");
    world.advance(Duration::from_secs(1));
    talk(&mut world, 0, false);
    assert_eq!(
        types(&events(&mut bob, &mut world)),
        ["Talking on", "Talking on", "Talking off"]
    );
}

#[test]
fn one_who_is_muted_does_not_talk() {
    let mut world = world(|_| {});
    let (mut alice, mut bob, _) = phones();
    alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    events(&mut alice, &mut world);
    talk(&mut world, 1, true);
    world.advance(Duration::from_secs(1));
    let participant = participant(&world, 1);
    command(
        &mut world,
        ConferenceCommand::Mute {
            participant,
            muted: true,
        },
    );
    talk(&mut world, 1, false);
    world.advance(Duration::from_secs(1));
    talk(&mut world, 1, true);
    world.advance(Duration::from_secs(1));
    assert_eq!(
        types(&events(&mut alice, &mut world)),
        ["Talking on", "Talking off", "Mute"]
    );
    let leg = legs(&world)[1];
    let gate = MediaCommand::Gate {
        leg,
        muted: true,
        deaf: false,
    };
    assert!(world.media.contains(&gate), "nobody hears it");
}

#[test]
fn a_locked_conference_takes_moderators_only() {
    let mut world = world(|_| {});
    let (mut alice, mut bob, mut carol) = phones();
    alice.call(&mut world, "3000");
    events(&mut alice, &mut world);
    command(&mut world, ConferenceCommand::Lock(true));
    let (_, refused) = bob.invite(&mut world, "3000");
    let refused = refused.unwrap();
    assert_eq!(
        (refused.status(), refused.reason()),
        (403, "Conference Is Locked")
    );
    carol.call(&mut world, "3001*1234");
    command(&mut world, ConferenceCommand::Lock(false));
    bob.call(&mut world, "3000");
    let told = events(&mut alice, &mut world);
    assert_eq!(types(&told), ["Lock", "Join", "Unlock", "Join"]);
    assert_eq!(told[0]["channels"], json!([]));
}

#[test]
fn a_lock_also_holds_for_those_who_are_asked_about_when_it_comes() {
    let mut world = world(|config| config.hooks.conference_policy = chain(OnFailure::Pass));
    let admit = |world: &mut World, role: Option<Role>| {
        let (ticket, _) = world.question();
        let admission = Admission {
            role,
            ..Admission::default()
        };
        let verdict = Verdict::Join(JoinVerdict::Admit(admission));
        world.answer(ticket, verdict);
    };
    let (mut alice, mut bob, mut carol) = phones();
    alice.invite(&mut world, "3000");
    admit(&mut world, None);
    for phone in [&mut bob, &mut carol] {
        phone.invite(&mut world, "3000");
    }
    let mut dave = Client::guest(&mut world);
    dave.say(
        &mut world,
        "control",
        json!({ "action": "join", "display_name": "Dave" }),
    );
    command(&mut world, ConferenceCommand::Lock(true));
    admit(&mut world, None);
    admit(&mut world, Some(Role::Moderator));
    admit(&mut world, None);
    let last = |world: &mut World, phone: &Phone| {
        let got = world.take(phone.flow.peer);
        let answer = got
            .into_iter()
            .rev()
            .find(|delivery| !delivery.message.is_request())
            .unwrap();
        (answer.message.status(), answer.message.reason().to_owned())
    };
    assert_eq!(last(&mut world, &bob), (403, "Conference Is Locked".into()));
    assert_eq!(last(&mut world, &carol).0, 200);
    assert_eq!(dave.events(&world), ["error insufficient_permissions"]);
}

#[test]
fn a_conference_whose_only_caller_had_to_wait_does_not_start_again() {
    let mut world = world(|_| {});
    let mut moderator = Client::joined(&mut world, "alice");
    let mut bob = Phone::new("bob", 2);
    bob.call(&mut world, "3000");
    assert_eq!(types(&events(&mut bob, &mut world)), ["Start", "Welcome"]);
    let told = moderator.payload(&world);
    let id = told["id"].as_str().unwrap().to_owned();
    moderator.about(&mut world, "moderation", "send_to_waiting_room", &id);
    moderator.about(&mut world, "moderation", "accept", &id);
    let told = types(&events(&mut bob, &mut world));
    assert!(told.contains(&"Welcome".to_owned()), "{told:?}");
    assert!(!told.contains(&"Start".to_owned()), "{told:?}");
}

#[test]
fn when_a_conference_is_ended_everybody_hears_it_before_the_bye() {
    let mut world = world(|_| {});
    let (mut alice, mut bob, _) = phones();
    alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    for phone in [&mut alice, &mut bob] {
        events(phone, &mut world);
    }
    command(&mut world, ConferenceCommand::End);
    for phone in [&mut alice, &mut bob] {
        let end = phone.gets(&mut world, "MESSAGE", true);
        assert_eq!(types(&[read(&end)]), ["End"]);
        let bye = phone.gets(&mut world, "BYE", true);
        assert!(bye.header(Name::Reason).is_some());
        phone.has_nothing(&mut world);
    }
    world.advance(Duration::from_secs(64));
    world.is_clean();
}

#[test]
fn one_who_is_put_out_has_left_and_a_new_role_shows_in_what_follows() {
    let mut world = world(|_| {});
    let (mut alice, mut bob, mut carol) = phones();
    alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    events(&mut alice, &mut world);
    let (first, second) = (participant(&world, 0), participant(&world, 1));
    command(
        &mut world,
        ConferenceCommand::Role {
            participant: first,
            role: Role::Moderator,
        },
    );
    command(&mut world, ConferenceCommand::Kick { participant: second });
    bob.listen(&mut world);
    assert!(
        bob.inbox
            .iter()
            .any(|delivery| delivery.message.method_text() == "BYE")
    );
    let left = events(&mut alice, &mut world);
    assert_eq!(
        (types(&left), who(&left[0])),
        (vec!["Leave".to_owned()], vec!["bob"])
    );
    carol.call(&mut world, "3000");
    let welcome = events(&mut carol, &mut world);
    let flags: Vec<_> = welcome[0]["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| channel["admin"].as_bool().unwrap())
        .collect();
    assert_eq!(flags, [true, false]);
    // Whoever is not there, or not any more, is not found.
    for participant in [second, ParticipantId(999)] {
        command(&mut world, ConferenceCommand::Kick { participant });
    }
    assert!(
        events(&mut alice, &mut world)
            .iter()
            .all(|event| event["type"] == "ConfbridgeJoin")
    );
}

#[test]
fn one_comes_in_muted_by_configuration_and_by_policy() {
    let mut world = world(|config| {
        config.conferences[0].member.join_muted = true;
        config.hooks.conference_policy = chain(OnFailure::Pass);
    });
    let (mut alice, mut bob, mut carol) = phones();
    let admissions = [
        (&mut alice, Admission::default()),
        (
            &mut bob,
            Admission {
                muted: Some(false),
                role: Some(Role::Moderator),
                ..Admission::default()
            },
        ),
    ];
    for (phone, admission) in admissions {
        phone.invite(&mut world, "3000");
        let (ticket, _) = world.question();
        world.answer(ticket, Verdict::Join(JoinVerdict::Admit(admission)));
    }
    let (line, _) = carol.invite(&mut world, "3000");
    let (ticket, _) = world.question();
    world.answer(ticket, Verdict::Join(JoinVerdict::Admit(Admission::default())));
    let accepted = carol.final_response(&mut world);
    let mut line = line;
    line.learn(&accepted);
    carol.ack(&mut world, &line);
    let welcome = events(&mut carol, &mut world);
    let seen: Vec<_> = welcome[0]["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| {
            (
                channel["admin"].as_bool().unwrap(),
                channel["muted"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(seen, [(false, true), (true, false), (false, true)]);
}

#[test]
fn one_who_does_not_take_events_is_spared_and_one_who_is_slow_misses_talking_first() {
    let mut world = world(|config| config.limits.dialog_queue = 8);
    let (mut alice, mut bob, mut carol) = phones();
    alice.call(&mut world, "3000");
    let (line, _) = carol.invite_with(&mut world, "3000", "Accept: application/sdp, text/plain\r\n");
    carol.ack(&mut world, &line);
    bob.call(&mut world, "3000");
    assert!(events(&mut carol, &mut world).is_empty());
    for turn in 0..40 {
        talk(&mut world, 0, turn % 2 == 0);
        world.advance(Duration::from_millis(250));
    }
    let counts = &world.engine.counts().messages;
    assert!(counts[&("out", "event", "behind")] > 20, "{counts:?}");
    assert!(counts[&("out", "event", "not_acceptable")] > 40, "{counts:?}");
    assert!(
        !counts.contains_key(&("out", "event", "queue_full")),
        "{counts:?}"
    );
}
