//! Plugins see each message once, and decide.

use cordboard_engine::chat::io::Departure;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::message::{Audience, MessageVerdict, Rewrite};
use cordboard_model::{Ask, Verdict};
use serde_json::json;

use crate::meeting::Client;
use crate::phone::Phone;
use crate::world::{World, chain};

const TEXT: &str = "Content-Type: text/plain\r\n";

/// Alice and bob, and a filter that is asked about what they write.
pub(super) fn filtered() -> (World, Client, Client) {
    let mut world = World::with(|config| config.hooks.message_filter = chain(OnFailure::Pass));
    let mut alice = Client::joined(&mut world, "alice");
    let bob = Client::joined(&mut world, "bob");
    alice.told(&world);
    (world, alice, bob)
}

pub(super) fn decide(world: &mut World, verdict: MessageVerdict) {
    let (ticket, _) = world.question();
    world.answer(ticket, Verdict::Message(verdict));
}

#[test]
fn the_filter_is_asked_once_with_who_where_and_how() {
    let (mut world, mut alice, bob) = filtered();
    bob.write(&mut world, "hello");
    let (ticket, ask) = world.question();
    let Ask::Message(ask) = ask else {
        panic!("a message");
    };
    assert_eq!(ask.user.as_deref(), Some("bob"));
    assert_eq!(ask.display_name, "bob");
    assert_eq!(ask.transport, "ws");
    assert_eq!(ask.content_type, "text/plain;charset=utf-8");
    assert_eq!(&ask.body[..], b"hello");
    let conference = ask.conference.unwrap();
    assert_eq!(
        (conference.id.0, conference.name.as_str(), conference.participants),
        (0xc0, "Daily", 2)
    );
    assert!(world.asked.is_empty(), "not once per recipient");
    alice.has_nothing(&world);
    world.answer(ticket, Verdict::Message(MessageVerdict::Pass));
    assert_eq!(alice.heard(&world), ["hello"]);
}

#[test]
fn verdicts_rewrite_drop_reply_and_reject() {
    let (mut world, mut alice, mut bob) = filtered();
    bob.write(&mut world, "darn");
    let rewrite = Rewrite {
        body: Some("d***".into()),
        ..Rewrite::default()
    };
    decide(&mut world, MessageVerdict::Rewrite(rewrite));
    assert_eq!(
        (alice.heard(&world), bob.heard(&world)),
        (vec!["d***".into()], vec!["d***".into()])
    );
    bob.write(&mut world, "spam");
    decide(&mut world, MessageVerdict::Drop);
    assert_eq!((alice.heard(&world).len(), bob.heard(&world).len()), (0, 1));
    bob.write(&mut world, "/help");
    let reply = MessageVerdict::Reply {
        content_type: "text/plain".into(),
        body: "ask alice".into(),
    };
    decide(&mut world, reply);
    assert_eq!(
        (alice.heard(&world).len(), bob.heard(&world)),
        (0, vec!["ask alice".into()])
    );
    bob.write(&mut world, "evil");
    let reject = MessageVerdict::Reject {
        code: 403,
        reason: "no".into(),
    };
    decide(&mut world, reject);
    assert_eq!(
        bob.payload(&world),
        json!({ "message": "error", "error": "insufficient_permissions", "text": "no" })
    );
    alice.has_nothing(&world);
    let mut gus = Client::guest(&mut world);
    let success = gus.join(&mut world, "Gus");
    assert_eq!(success["chat"]["room_history"].as_array().unwrap().len(), 1);
}

#[test]
fn what_one_sends_is_taken_in_its_order_also_its_leaving() {
    let (mut world, mut alice, bob) = filtered();
    bob.write(&mut world, "one");
    bob.act(&mut world, "control", "raise_hand");
    bob.write(&mut world, "two");
    bob.leave(&mut world, Departure::Quit);
    alice.has_nothing(&world);
    decide(&mut world, MessageVerdict::Pass);
    decide(&mut world, MessageVerdict::Pass);
    assert_eq!(
        alice.events(&world),
        ["message_sent", "update", "message_sent", "left"]
    );
}

#[test]
fn a_moderator_who_is_faster_than_the_plugin_wins() {
    let (mut world, alice, mut bob) = filtered();
    bob.write(&mut world, "one");
    alice.act(&mut world, "chat", "disable_chat");
    decide(&mut world, MessageVerdict::Pass);
    assert_eq!(bob.events(&world), ["chat_disabled", "error chat_disabled"]);
}

#[test]
fn a_plugin_that_never_answers_holds_nobody_up() {
    let (mut world, mut alice, bob) = filtered();
    bob.write(&mut world, "one");
    world.advance(std::time::Duration::from_millis(21));
    assert_eq!(alice.heard(&world), ["one"]);
}

#[test]
fn the_filter_sees_for_whom_a_message_is() {
    let (mut world, mut alice, bob) = filtered();
    let target = alice.id.clone();
    bob.write_to(&mut world, "private", &target, "psst");
    let (ticket, ask) = world.question();
    let Ask::Message(ask) = ask else {
        panic!("a message");
    };
    assert_eq!(ask.content_type, "text/plain;charset=utf-8");
    assert_eq!(ask.audience, Audience::One(Some(target)));
    world.answer(ticket, Verdict::Message(MessageVerdict::Pass));
    assert_eq!(alice.heard(&world), ["psst"]);
    bob.write_to(&mut world, "group", "/Lab/Backend", "members");
    let (_, ask) = world.question();
    let Ask::Message(ask) = ask else {
        panic!("a message");
    };
    assert_eq!(ask.audience, Audience::Group("/Lab/Backend".into()));
}

#[test]
fn who_is_sent_to_wait_before_the_verdict_has_not_written() {
    let (mut world, mut alice, mut bob) = filtered();
    bob.write(&mut world, "one");
    let id = bob.id.clone();
    alice.about(&mut world, "moderation", "send_to_waiting_room", &id);
    decide(&mut world, MessageVerdict::Pass);
    assert_eq!(bob.events(&world), ["sent_to_waiting_room"]);
    assert_eq!(alice.heard(&world), [""; 0]);
    assert_eq!(world.engine.counts().chat_dropped["not_joined"], 1);
    // The same for callers, who hear why.
    let mut carol = Phone::new("carol", 3);
    let line = carol.call(&mut world, "3000");
    let joined = alice.payload(&world);
    carol.send(&mut world, &line, "MESSAGE", 9, TEXT, b"two");
    alice.about(
        &mut world,
        "moderation",
        "send_to_waiting_room",
        joined["id"].as_str().unwrap(),
    );
    carol.listen(&mut world);
    carol.inbox.clear();
    decide(&mut world, MessageVerdict::Pass);
    assert_eq!(carol.final_response(&mut world).status(), 403);
    carol.send(&mut world, &line, "MESSAGE", 10, TEXT, b"three");
    assert_eq!(
        carol.final_response(&mut world).status(),
        403,
        "as before the verdict"
    );
    assert_eq!(alice.heard(&world), [""; 0]);
}

#[test]
fn chat_that_is_disabled_before_the_verdict_is_so_for_callers_too() {
    let (mut world, mut alice, _) = filtered();
    let mut carol = Phone::new("carol", 3);
    let line = carol.call(&mut world, "3000");
    carol.send(&mut world, &line, "MESSAGE", 9, TEXT, b"one");
    alice.act(&mut world, "chat", "disable_chat");
    decide(&mut world, MessageVerdict::Pass);
    assert_eq!(carol.final_response(&mut world).status(), 403);
    assert_eq!(alice.heard(&world), [""; 0]);
}

#[test]
fn who_is_banned_before_the_verdict_has_not_written_from_outside() {
    let mut world = World::with(|config| {
        config.hooks.message_filter = chain(OnFailure::Pass);
        config.conferences[0].outside_messages = true;
    });
    let mut alice = Client::joined(&mut world, "alice");
    let chatting = Client::joined(&mut world, "bob");
    let mut bob = Phone::new("bob", 2);
    alice.told(&world);
    bob.request(&mut world, "MESSAGE", "sip:3000@lab.test", TEXT, b"one");
    alice.about(&mut world, "moderation", "ban", &chatting.id.clone());
    decide(&mut world, MessageVerdict::Pass);
    assert_eq!(bob.final_response(&mut world).status(), 403);
    assert_eq!(alice.heard(&world), [""; 0]);
}
