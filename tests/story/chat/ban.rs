//! Wrong secrets over HTTP and WebSocket count like wrong digests.

use cordboard_engine::chat::io::Proof;
use cordboard_engine::config::Config;
use serde_json::{Value, json};

use crate::meeting::{Client, INVITATION, PROTOCOL, ROOM, digest, open, start, token};
use crate::phone::Phone;
use crate::world::World;

fn strict(config: &mut Config) {
    config.abuse.ban_after = 3;
    config.conferences[0].room.password = Some(digest("letmein"));
}

fn tried(world: &mut World) -> u16 {
    start(world, ROOM, token("alice"), &Value::Null).0
}

#[test]
fn wrong_tokens_and_passwords_lead_to_a_ban_and_neither_their_absence_nor_an_old_ticket_does() {
    let mut world = World::with(strict);
    let mut chatting = Client::joined(&mut world, "bob");
    // Without any proof nothing is guessed, and nobody guesses a ticket: it is too old.
    let unknown = format!("{PROTOCOL}, ticket#{}", "0".repeat(64));
    let nobody = json!({ "invite_code": INVITATION });
    for _ in 0..20 {
        assert_eq!(start(&mut world, ROOM, Proof::NoToken, &Value::Null).0, 401);
        assert_eq!(start(&mut world, ROOM, Proof::Invitation, &nobody).0, 401);
        assert_eq!(open(&mut world, Some(&unknown)).1, 401);
    }
    assert!(world.bans.is_empty());
    // Bob has proved himself there, so four times as much is forgiven.
    let wrong = json!({ "invite_code": INVITATION, "password": "guess" });
    for _ in 0..6 {
        assert_eq!(start(&mut world, ROOM, token("nobody"), &Value::Null).0, 401);
        assert_eq!(start(&mut world, ROOM, Proof::Invitation, &wrong).0, 401);
    }
    assert_eq!(world.bans.len(), 1);
    assert_eq!(world.engine.bans(world.now), world.bans, "as over HTTP");
    let (status, answer) = start(&mut world, ROOM, token("alice"), &Value::Null);
    assert_eq!((status, &answer["code"]), (429, &json!("too_many_requests")));
    assert_eq!(open(&mut world, Some(&unknown)).1, 429);
    // A ban is for what is new: who is connected stays so.
    chatting.write(&mut world, "still here");
    assert_eq!(chatting.heard(&world), ["still here"]);
    // And it is for SIP, too.
    let mut phone = Phone::new("alice", 77);
    let silence = phone.request(&mut world, "REGISTER", "sip:lab.test", "", b"");
    assert_eq!(silence.status(), 0);
    let span = world.bans[0].until.since(world.now);
    world.advance(span);
    assert_eq!(tried(&mut world), 200);
}

#[test]
fn trusted_networks_and_right_secrets_are_not_counted() {
    let mut world = World::with(|config| {
        strict(config);
        config.trusted.push("198.51.100.0/24".parse().unwrap());
    });
    for _ in 0..20 {
        assert_eq!(start(&mut world, ROOM, token("nobody"), &Value::Null).0, 401);
    }
    assert!(world.bans.is_empty());
    let mut world = World::with(strict);
    let right = json!({ "invite_code": INVITATION, "password": "letmein" });
    for _ in 0..20 {
        assert_eq!(start(&mut world, ROOM, Proof::Invitation, &right).0, 200);
        assert_eq!(start(&mut world, "0", token("alice"), &Value::Null).0, 404);
    }
    assert!(world.bans.is_empty());
}
