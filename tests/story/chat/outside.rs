//! Messages to the conference's number from outside of any call reach the chat, too.

use cordboard_engine::config::Config;
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use serde_json::json;

use crate::meeting::Client;
use crate::phone::Phone;
use crate::world::World;

const TEXT: &str = "Content-Type: text/plain;charset=utf-8\r\n";

fn open(config: &mut Config) {
    config.conferences[0].outside_messages = true;
}

fn send(phone: &mut Phone, world: &mut World, kind: &str, body: &str) -> Message {
    phone.request(world, "MESSAGE", "sip:3000@lab.test", kind, body.as_bytes())
}

#[test]
fn a_message_from_outside_is_chat_of_somebody_who_is_not_there() {
    let mut world = World::with(open);
    let (mut bob, mut carol) = (Phone::new("bob", 2), Phone::new("carol", 3));
    let mut alice = Client::joined(&mut world, "alice");
    carol.call(&mut world, "3000");
    alice.told(&world);
    assert_eq!(send(&mut bob, &mut world, TEXT, "from afar").status(), 202);
    let copy = carol.gets(&mut world, "MESSAGE", true);
    assert_eq!(copy.body_slice(), b"from afar");
    carol.has_nothing(&mut world);
    let joined = alice.payload(&world);
    assert_eq!(
        (&joined["message"], &joined["control"]["display_name"]),
        (&json!("joined"), &json!("Bob"))
    );
    assert_eq!(alice.next(&world), "left");
    let told = alice.payload(&world);
    assert_eq!(
        (&told["content"], &told["source"], &told["scope"]),
        (&json!("from afar"), &joined["id"], &json!("global"))
    );
    let encoded = format!("{TEXT}Content-Transfer-Encoding: base64\r\n");
    send(&mut bob, &mut world, &encoded, "YWdhaW4=");
    carol.gets(&mut world, "MESSAGE", true);
    assert_eq!(alice.heard(&world), ["again"], "introduced once");
    send(
        &mut bob,
        &mut world,
        "Content-Type: application/octet-stream\r\n",
        "bytes",
    );
    carol.gets(&mut world, "MESSAGE", true);
    alice.has_nothing(&world);
    let mut gus = Client::guest(&mut world);
    let success = gus.join(&mut world, "Gus");
    assert_eq!(success["chat"]["room_history"].as_array().unwrap().len(), 2);
    let others = success["participants"].as_array().unwrap();
    let author = others.iter().find(|other| other["id"] == joined["id"]).unwrap();
    assert!(!author["control"]["left_at"].is_null());
}

#[test]
fn who_takes_part_by_chat_may_write_from_the_phone_too() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Client::joined(&mut world, "alice"), Phone::new("bob", 2));
    assert_eq!(send(&mut bob, &mut world, TEXT, "let me").status(), 403);
    let mut chatting = Client::joined(&mut world, "bob");
    alice.told(&world);
    assert_eq!(send(&mut bob, &mut world, TEXT, "from my phone").status(), 202);
    let told = alice.payload(&world);
    assert_eq!(
        (&told["content"], &told["source"]),
        (&json!("from my phone"), &json!(chatting.id))
    );
    assert_eq!(chatting.heard(&world), ["from my phone"]);
    alice.act(&mut world, "chat", "disable_chat");
    assert_eq!(send(&mut bob, &mut world, TEXT, "again").status(), 403);
}

#[test]
fn who_is_banned_does_not_get_in_from_outside_either() {
    let mut world = World::with(open);
    let (alice, mut bob) = (Client::joined(&mut world, "alice"), Phone::new("bob", 2));
    let chatting = Client::joined(&mut world, "bob");
    alice.about(&mut world, "moderation", "ban", &chatting.id.clone());
    let answer = send(&mut bob, &mut world, TEXT, "let me back in");
    assert_eq!(answer.status(), 403);
    assert!(answer.header(Name::Reason).unwrap().contains("Banned"));
}

#[test]
fn who_waits_at_the_door_does_not_call_through_it() {
    let mut world = World::with(|config| {
        open(config);
        config.conferences[0].room.waiting_room = true;
    });
    let (mut alice, mut bob) = (Client::joined(&mut world, "alice"), Phone::new("bob", 2));
    let waits = Client::user(&mut world, "bob");
    let join = json!({ "action": "join", "display_name": "Bob" });
    waits.say(&mut world, "control", join);
    let answer = send(&mut bob, &mut world, TEXT, "let me in");
    assert_eq!(answer.status(), 403);
    assert!(answer.header(Name::Reason).unwrap().contains("Waiting Room"));
    let id = alice.payload(&world)["id"].as_str().unwrap().to_owned();
    alice.about(&mut world, "moderation", "accept", &id);
    assert_eq!(
        send(&mut bob, &mut world, TEXT, "thanks").status(),
        403,
        "it has not entered"
    );
    waits.act(&mut world, "control", "enter_room");
    assert_eq!(send(&mut bob, &mut world, TEXT, "thanks").status(), 202);
}

#[test]
fn a_message_to_a_room_without_anybody_leaves_nothing_behind() {
    let mut world = World::with(open);
    let mut bob = Phone::new("bob", 2);
    assert_eq!(send(&mut bob, &mut world, TEXT, "hello?").status(), 202);
    assert_eq!(world.engine.gauges().chat.rooms, 0);
    assert!(world.writes.is_empty());
}

#[test]
fn a_nameless_senders_address_is_not_shown() {
    let mut world = World::with(|config| {
        open(config);
        config.credentials[1].display_name.clear();
    });
    let (mut alice, mut bob) = (Client::joined(&mut world, "alice"), Phone::new("bob", 2));
    for _ in 0..2 {
        assert_eq!(send(&mut bob, &mut world, TEXT, "hi").status(), 202);
    }
    assert_eq!(alice.payload(&world)["control"]["display_name"], "Caller");
    let told = format!("{:?}", alice.told(&world));
    assert!(!told.contains("sip:"), "{told}");
    let mut gus = Client::guest(&mut world);
    let others = gus.join(&mut world, "Gus")["participants"].clone();
    let names: Vec<_> = others
        .as_array()
        .unwrap()
        .iter()
        .map(|other| &other["control"]["display_name"])
        .collect();
    assert!(names.contains(&&json!("Caller")), "{names:?}");
}
