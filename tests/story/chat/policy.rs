//! Who may come in by the chat WebSocket: the policy plugins, the limit and the lock, as for callers.

use cordboard_engine::chat::io::Departure;
use cordboard_engine::io::{ConferenceCommand, Input};
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::conference::{Admission, JoinAsk, JoinVerdict, Role};
use cordboard_model::{Ask, ConferenceId, Ticket, Verdict};
use serde_json::json;

use crate::meeting::{Client, token};
use crate::phone::Phone;
use crate::world::{World, chain};

fn guarded(on_failure: OnFailure) -> World {
    World::with(|config| config.hooks.conference_policy = chain(on_failure))
}

fn knock(world: &mut World, client: &Client, name: &str) {
    client.say(
        world,
        "control",
        json!({ "action": "join", "display_name": name }),
    );
}

fn question(world: &mut World) -> (Ticket, JoinAsk) {
    match world.question() {
        (ticket, Ask::Join(ask)) => (ticket, ask),
        other => panic!("a join: {other:?}"),
    }
}

fn decide(world: &mut World, verdict: JoinVerdict) {
    let (ticket, _) = question(world);
    world.answer(ticket, Verdict::Join(verdict));
}

const ADMIT: JoinVerdict = JoinVerdict::Admit(Admission {
    muted: None,
    deaf: None,
    role: None,
    display_name: None,
    greeting: None,
});

#[test]
fn the_policy_is_asked_who_comes_how_and_with_what_standing() {
    let mut world = guarded(OnFailure::Pass);
    let mut alice = Client::user(&mut world, "alice");
    knock(&mut world, &alice, " Alice  A ");
    alice.has_nothing(&world);
    let (ticket, ask) = question(&mut world);
    assert_eq!(
        (ask.conference.id, ask.conference.name.as_str()),
        (ConferenceId(0xc0), "Daily")
    );
    assert_eq!((ask.conference.participants, ask.number.as_str()), (0, ""));
    assert_eq!(
        (ask.user.as_deref(), ask.display_name.as_str()),
        (Some("alice"), "Alice A")
    );
    assert_eq!(
        (ask.transport, ask.role),
        ("ws", Role::Moderator),
        "she owns the room"
    );
    world.answer(ticket, Verdict::Join(ADMIT));
    assert_eq!(alice.next(&world), "join_success");
    let gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    let (_, ask) = question(&mut world);
    assert_eq!((ask.user, ask.role), (None, Role::Member));
    assert_eq!(ask.conference.participants, 1);
}

#[test]
fn who_is_refused_is_told_why_and_may_try_again() {
    let mut world = guarded(OnFailure::Pass);
    let mut bob = Client::user(&mut world, "bob");
    knock(&mut world, &bob, "Bob");
    let refusal = JoinVerdict::Refuse {
        code: 480,
        reason: "Closed, opens 08:00".into(),
    };
    decide(&mut world, refusal);
    let frame = bob.frame(&world);
    assert_eq!(frame["namespace"], "control");
    assert_eq!(
        frame["payload"],
        json!({ "message": "error", "error": "insufficient_permissions", "text": "Closed, opens 08:00" })
    );
    bob.write(&mut world, "hello?");
    bob.has_nothing(&world);
    knock(&mut world, &bob, "Bob");
    decide(&mut world, ADMIT);
    assert_eq!(bob.next(&world), "join_success");
    assert_eq!(world.engine.counts().joins[&("chat", "refused")], 1);
}

#[test]
fn a_plugin_names_ranks_and_greets() {
    let mut world = guarded(OnFailure::Pass);
    let mut gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    decide(
        &mut world,
        JoinVerdict::Admit(Admission {
            role: Some(Role::Moderator),
            display_name: Some("Gus (guest)".into()),
            greeting: Some("Welcome".into()),
            ..Admission::default()
        }),
    );
    let success = gus.payload(&world);
    assert_eq!(
        (&success["display_name"], &success["role"]),
        (&json!("Gus (guest)"), &json!("moderator"))
    );
    assert_eq!(gus.heard(&world), ["Welcome"]);
    gus.act(&mut world, "chat", "disable_chat");
    assert_eq!(gus.events(&world), ["chat_disabled"]);
}

#[test]
fn a_plugin_takes_a_moderators_standing_but_not_the_owners() {
    let as_member = JoinVerdict::Admit(Admission {
        role: Some(Role::Member),
        ..Admission::default()
    });
    for (verdict, role) in [(ADMIT, "moderator"), (as_member.clone(), "user")] {
        let mut world = guarded(OnFailure::Pass);
        let mut alice = Client::user(&mut world, "alice");
        knock(&mut world, &alice, "Alice");
        decide(&mut world, as_member.clone());
        assert_eq!(alice.payload(&world)["role"], "moderator", "she owns the room");
        let mut bob = Client::user(&mut world, "bob");
        knock(&mut world, &bob, "Bob");
        decide(&mut world, ADMIT);
        let id = bob.payload(&world)["id"].as_str().unwrap().to_owned();
        alice.about(&mut world, "control", "grant_moderator_role", &id);
        bob.leave(&mut world, Departure::Lost);
        // Back with the ticket of a moderator.
        let body = json!({ "resumption": bob.resumption });
        let mut again = Client::begin(&mut world, token("bob"), &body);
        knock(&mut world, &again, "Bob");
        let (ticket, ask) = question(&mut world);
        assert_eq!(ask.role, Role::Moderator);
        world.answer(ticket, Verdict::Join(verdict));
        let success = again.payload(&world);
        assert_eq!((&success["id"], &success["role"]), (&json!(id), &json!(role)));
        let mut gus = Client::guest(&mut world);
        knock(&mut world, &gus, "Gus");
        decide(&mut world, as_member.clone());
        assert_eq!(gus.payload(&world)["role"], "guest");
    }
}

#[test]
fn what_follows_a_join_waits_for_its_verdict() {
    let mut world = guarded(OnFailure::Pass);
    let mut bob = Client::user(&mut world, "bob");
    knock(&mut world, &bob, "Bob");
    bob.write(&mut world, "first");
    bob.act(&mut world, "control", "raise_hand");
    bob.has_nothing(&world);
    decide(&mut world, ADMIT);
    assert_eq!(
        bob.events(&world),
        ["join_success", "message_sent", "hand_raised"]
    );
    // Who leaves meanwhile never was there, whatever the plugins say then.
    let gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    gus.leave(&mut world, Departure::Lost);
    decide(&mut world, ADMIT);
    bob.has_nothing(&world);
}

#[test]
fn a_policy_that_never_answers_is_taken_as_the_operator_says() {
    for (on_failure, told) in [
        (OnFailure::Pass, "join_success"),
        (OnFailure::Refuse, "error insufficient_permissions"),
    ] {
        let mut world = guarded(on_failure);
        let mut bob = Client::user(&mut world, "bob");
        knock(&mut world, &bob, "Bob");
        world.advance(std::time::Duration::from_millis(21));
        assert_eq!(bob.events(&world), [told]);
    }
}

#[test]
fn callers_and_chat_clients_count_to_one_limit() {
    let mut world = World::with(|config| config.conferences[0].max_participants = 2);
    let (mut bob, mut carol) = (Phone::new("bob", 2), Phone::new("carol", 3));
    let alice = Client::joined(&mut world, "alice");
    let mut line = bob.call(&mut world, "3000");
    let (_, response) = carol.invite(&mut world, "3000");
    assert_eq!(response.unwrap().status(), 486);
    let mut gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    assert_eq!(
        gus.payload(&world),
        json!({ "message": "join_blocked", "reason": "participant_limit_reached" })
    );
    bob.within(&mut world, &mut line, "BYE", "", b"");
    knock(&mut world, &gus, "Gus");
    assert_eq!(gus.next(&world), "join_success");
    alice.leave(&mut world, Departure::Quit);
    carol.call(&mut world, "3000");
}

#[test]
fn a_locked_conference_lets_only_moderators_in() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    bob.call(&mut world, "3000");
    let command = ConferenceCommand::Lock(true);
    let id = ConferenceId(0xc0);
    world.handle(Input::Conference { id, command });
    let mut gus = Client::guest(&mut world);
    knock(&mut world, &gus, "Gus");
    assert_eq!(gus.events(&world), ["error insufficient_permissions"]);
    Client::joined(&mut world, "alice");
}

#[test]
fn a_room_that_empties_while_the_policy_thinks_is_there_for_who_comes() {
    for bad_json in [false, true] {
        let mut world = guarded(OnFailure::Pass);
        let mut alice = Client::user(&mut world, "alice");
        knock(&mut world, &alice, "Alice");
        decide(&mut world, ADMIT);
        alice.write(&mut world, "before");
        let mut bob = Client::user(&mut world, "bob");
        let mut gus = Client::guest(&mut world);
        knock(&mut world, &bob, "Bob");
        alice.leave(&mut world, Departure::Quit);
        alice.told(&world);
        if bad_json {
            gus.raw(&mut world, "{");
            assert_eq!(gus.events(&world), ["error invalid_json"]);
        }
        decide(&mut world, ADMIT);
        let success = bob.payload(&world);
        assert_eq!(success["message"], "join_success");
        assert_eq!(success["chat"]["room_history"], json!([]), "a room of its own");
        bob.write(&mut world, "after");
        assert_eq!(bob.heard(&world), ["after"]);
    }
}
