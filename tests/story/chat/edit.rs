//! A message gets another text, or goes: through the same filter, and never back from where it went.

use cordboard_model::hook::message::{Audience, MessageVerdict, Rewrite};
use cordboard_model::{Ask, Verdict};
use serde_json::{Value, json};

use super::plugin::{decide, filtered};
use crate::meeting::Client;
use crate::world::World;

fn edit(world: &mut World, client: &Client, id: &Value, text: &str) {
    let command = json!({ "action": "edit_message", "id": id, "content": text });
    client.say(world, "chat", command);
}

fn delete(world: &mut World, client: &Client, id: &Value) {
    client.say(world, "chat", json!({ "action": "delete_message", "id": id }));
}

/// What a new guest reads.
fn history(world: &mut World) -> Vec<String> {
    let mut gus = Client::guest(world);
    let success = gus.join(world, "Gus");
    let messages = success["chat"]["room_history"].as_array().unwrap().clone();
    messages
        .iter()
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_new_text_is_shown_to_the_filter_and_its_verdict_holds() {
    let (mut world, mut alice, mut bob) = filtered();
    bob.write(&mut world, "nice");
    decide(&mut world, MessageVerdict::Pass);
    let id = bob.payload(&world)["id"].clone();
    alice.told(&world);
    edit(&mut world, &bob, &id, "darn");
    // What follows waits for the verdict.
    bob.act(&mut world, "control", "raise_hand");
    bob.has_nothing(&world);
    alice.has_nothing(&world);
    let (ticket, ask) = world.question();
    let Ask::Message(ask) = ask else {
        panic!("a message");
    };
    assert_eq!((&ask.body[..], ask.audience), (&b"darn"[..], Audience::Everybody));
    let reject = MessageVerdict::Reject {
        code: 403,
        reason: "no".into(),
    };
    world.answer(ticket, Verdict::Message(reject));
    assert_eq!(
        bob.events(&world),
        ["error insufficient_permissions", "hand_raised"]
    );
    assert_eq!(alice.events(&world), ["update"]);
    edit(&mut world, &bob, &id, "darn");
    let rewrite = Rewrite {
        body: Some("d***".into()),
        ..Rewrite::default()
    };
    decide(&mut world, MessageVerdict::Rewrite(rewrite));
    assert_eq!(alice.payload(&world)["content"], "d***");
    assert_eq!(bob.events(&world), ["message_edited"]);
    edit(&mut world, &bob, &id, "spam");
    decide(&mut world, MessageVerdict::Drop);
    assert_eq!(bob.payload(&world)["content"], "spam", "as if all were well");
    edit(&mut world, &bob, &id, "/help");
    let reply = MessageVerdict::Reply {
        content_type: "text/plain".into(),
        body: "ask alice".into(),
    };
    decide(&mut world, reply);
    assert_eq!(bob.heard(&world), ["ask alice"]);
    alice.has_nothing(&world);
    // To delete is to say nothing: nobody is asked.
    assert_eq!(history(&mut world), ["d***"]);
    edit(&mut world, &bob, &id, "");
    assert_eq!(bob.next(&world), "joined");
    assert_eq!(bob.next(&world), "message_deleted");
    assert!(world.asked.is_empty());
}

#[test]
fn a_message_that_went_before_the_verdict_has_no_new_text() {
    let (mut world, mut alice, mut bob) = filtered();
    bob.write(&mut world, "one");
    decide(&mut world, MessageVerdict::Pass);
    let id = bob.payload(&world)["id"].clone();
    alice.told(&world);
    edit(&mut world, &bob, &id, "two");
    delete(&mut world, &alice, &id);
    decide(&mut world, MessageVerdict::Pass);
    assert_eq!(bob.events(&world), ["message_deleted", "error unknown_message"]);
    assert_eq!(alice.events(&world), ["message_deleted"]);
}

#[test]
fn what_was_deleted_or_cleared_does_not_come_back_by_an_edit_on_its_way() {
    for clear in [false, true] {
        let mut world = World::new();
        let mut alice = Client::joined(&mut world, "alice");
        let mut bob = Client::joined(&mut world, "bob");
        bob.write(&mut world, "secret");
        let id = bob.payload(&world)["id"].clone();
        alice.told(&world);
        world.disk_waits = true;
        match clear {
            true => alice.act(&mut world, "chat", "clear_history"),
            false => delete(&mut world, &bob, &id),
        }
        edit(&mut world, &bob, &id, "secret again");
        world.commit(true);
        world.disk_waits = false;
        let gone = if clear {
            "history_cleared"
        } else {
            "message_deleted"
        };
        assert_eq!(bob.events(&world), [gone], "nothing is told of the edit");
        assert_eq!(alice.events(&world), [gone]);
        world.restart();
        let body = json!({ "resumption": alice.resumption });
        let mut again = Client::begin(&mut world, crate::meeting::token("alice"), &body);
        let success = again.join(&mut world, "Alice");
        assert_eq!(again.id, alice.id, "the room is the same");
        assert_eq!(success["chat"]["room_history"], json!([]));
    }
}
