//! Phones learn of chat clients: by the conference's events, and by the document of RFC 4575.

use std::time::Duration;

use cordboard_engine::chat::io::Departure;
use cordboard_engine::sip::message::Message;
use serde_json::{Value, json};

use crate::meeting::Client;
use crate::phone::Phone;
use crate::subscription::{CONFERENCE, subscribe};
use crate::world::World;

fn event(phone: &mut Phone, world: &mut World) -> Value {
    let message = phone.gets(world, "MESSAGE", true);
    serde_json::from_slice(message.body_slice()).unwrap()
}

#[test]
fn callers_are_told_of_chat_clients_who_come_and_go() {
    let mut world = World::with(|config| config.conferences[0].send_events = true);
    let mut bob = Phone::new("bob", 2);
    let alice = Client::joined(&mut world, "alice");
    bob.call(&mut world, "3000");
    let welcome = std::iter::repeat_with(|| event(&mut bob, &mut world))
        .find(|event| event["type"] == "ConfbridgeWelcome")
        .unwrap();
    let channels = welcome["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 2);
    assert_eq!(channels[1]["protocol_id"], json!(alice.id));
    assert_eq!(
        channels[1]["caller"],
        json!({ "name": "alice", "number": "alice" })
    );
    assert_eq!(
        (&channels[1]["admin"], &channels[1]["muted"]),
        (&json!(true), &json!(true))
    );
    let gus = Client::guest_joined(&mut world, "Gus");
    for kind in ["ConfbridgeJoin", "ConfbridgeLeave"] {
        let told = event(&mut bob, &mut world);
        assert_eq!(told["type"], kind);
        assert_eq!(
            told["channels"][0]["caller"],
            json!({ "name": "Gus", "number": "anonymous" })
        );
        assert_eq!(told["channels"][0]["protocol_id"], json!(gus.id));
        if kind == "ConfbridgeJoin" {
            gus.leave(&mut world, Departure::Quit);
        }
    }
    // Who only waited never was there.
    alice.act(&mut world, "moderation", "enable_waiting_room");
    let gil = Client::guest(&mut world);
    gil.say(
        &mut world,
        "control",
        json!({ "action": "join", "display_name": "Gil" }),
    );
    gil.leave(&mut world, Departure::Quit);
    bob.has_nothing(&mut world);
}

/// What a watcher is told next; repeats of that are put aside.
fn told(watcher: &mut Phone, world: &mut World) -> String {
    world.advance(Duration::from_secs(6));
    let notify: Message = watcher.gets(world, "NOTIFY", true);
    watcher.inbox.clear();
    String::from_utf8(notify.body_slice().to_vec()).unwrap()
}

#[test]
fn subscribers_see_chat_clients_as_endpoints_of_their_users() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    bob.call(&mut world, "3000");
    let mut watcher = Phone::new("frank", 9);
    subscribe(&mut watcher, &mut world, "3000", CONFERENCE);
    watcher.gets(&mut world, "NOTIFY", true);
    let chatting = Client::joined(&mut world, "bob");
    let news = told(&mut watcher, &mut world);
    assert!(!news.contains("<user-count>"), "bob is one user: {news}");
    let user = "<user entity=\"sip:bob@lab.test\" state=\"full\">";
    let endpoint = format!(
        "<endpoint entity=\"sip:bob@lab.test;endpoint={}\"><display-text>Chat</display-text>\
         <status>connected</status><joining-method>dialed-in</joining-method>\
         <media id=\"1\"><type>message</type><status>sendrecv</status></media></endpoint>",
        chatting.id
    );
    assert!(news.contains(user) && news.contains(&endpoint), "{news}");
    assert_eq!(news.matches("<endpoint ").count(), 2);
    let gus = Client::guest_joined(&mut world, "Gus <b>");
    let news = told(&mut watcher, &mut world);
    let entity = format!("sip:guest-{}@anonymous.invalid", gus.id);
    let name = "<display-text>Gus &lt;b&gt;</display-text>";
    assert!(news.contains(&entity) && news.contains(name), "{news}");
    gus.leave(&mut world, Departure::Quit);
    let news = told(&mut watcher, &mut world);
    assert!(
        news.contains(&format!("<user entity=\"{entity}\" state=\"deleted\"/>")),
        "{news}"
    );
}
