//! Who is banned from a room stays out of it by every way, until the room is gone.

use std::time::Duration;

use cordboard_engine::chat::config::Keep;
use cordboard_engine::chat::io::Departure;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::conference::{Admission, JoinVerdict};
use serde_json::{Value, json};

use crate::meeting::{Client, PROTOCOL, ROOM, open, start, token};
use crate::phone::Phone;
use crate::world::{World, chain};

fn ban(world: &mut World, moderator: &Client, target: &Client) {
    moderator.about(world, "moderation", "ban", &target.id);
}

#[test]
fn connections_that_have_not_joined_are_closed_and_older_tickets_open_nothing() {
    let mut world = World::new();
    let alice = Client::joined(&mut world, "alice");
    let mut bob = Client::joined(&mut world, "bob");
    let mut second = Client::user(&mut world, "bob");
    let (status, answer) = start(&mut world, ROOM, token("bob"), &Value::Null);
    assert_eq!(status, 200);
    let mut carol = Client::user(&mut world, "carol");
    ban(&mut world, &alice, &bob);
    assert_eq!(bob.events(&world).last().unwrap(), "closed 1000");
    assert_eq!(second.events(&world), ["banned", "closed 1000"]);
    let ticket = answer["ticket"].as_str().unwrap();
    let (_, status, body) = open(&mut world, Some(&format!("{PROTOCOL}, ticket#{ticket}")));
    assert_eq!((status, &body["code"]), (403, &json!("banned_from_room")));
    assert!(world.bans.is_empty(), "nobody has guessed");
    carol.join(&mut world, "Carol");
}

#[test]
fn a_call_that_is_not_answered_yet_is_refused() {
    let mut world = World::with(|config| config.hooks.conference_policy = chain(OnFailure::Pass));
    let decide = |world: &mut World| {
        let (ticket, _) = world.question();
        let verdict = JoinVerdict::Admit(Admission::default());
        world.answer(ticket, cordboard_model::Verdict::Join(verdict));
    };
    let knock = |world: &mut World, user: &str| {
        let mut client = Client::user(world, user);
        client.say(
            world,
            "control",
            json!({ "action": "join", "display_name": user }),
        );
        decide(world);
        client.id = client.payload(world)["id"].as_str().unwrap().into();
        client
    };
    let alice = knock(&mut world, "alice");
    let bob = knock(&mut world, "bob");
    let mut phone = Phone::new("bob", 2);
    let (_, response) = phone.invite(&mut world, "3000");
    assert!(response.is_none_or(|response| response.status() < 200));
    ban(&mut world, &alice, &bob);
    decide(&mut world);
    let refused = world.take(phone.flow.peer);
    let last = refused.last().expect("the call is answered");
    assert_eq!(last.message.status(), 403);
}

#[test]
fn a_ban_outlives_a_crash_and_ends_with_the_room() {
    let mut world = World::with(|config| config.chat.keep = Keep::Forever);
    let alice = Client::joined(&mut world, "alice");
    let bob = Client::joined(&mut world, "bob");
    alice.write(&mut world, "kept");
    ban(&mut world, &alice, &bob);
    world.restart();
    let tried = |world: &mut World| start(world, ROOM, token("bob"), &Value::Null).0;
    assert_eq!(tried(&mut world), 403);
    let again = Client::joined(&mut world, "alice");
    world.advance(Duration::from_secs(600));
    assert_eq!(tried(&mut world), 403);
    again.leave(&mut world, Departure::Quit);
    assert_eq!(tried(&mut world), 200, "the room was empty");
    world.restart();
    assert_eq!(tried(&mut world), 200, "on disk too");
}
