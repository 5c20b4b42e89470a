//! The operator changes the configuration while phones talk.

use cordboard_engine::config::{ConferenceConfig, Entrance};
use cordboard_engine::io::StoreWrite;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::message::MessageVerdict;
use cordboard_model::hook::route::RouteVerdict;
use cordboard_model::media::MediaCommand;
use cordboard_model::{ConferenceId, MixId, Verdict};

use crate::phone::Phone;
use crate::world::{World, chain};

fn mixes(world: &World) -> Vec<MixId> {
    let open = |command: &MediaCommand| match command {
        MediaCommand::Open { mix, .. } => Some(*mix),
        _ => None,
    };
    world.media.iter().filter_map(open).collect()
}

#[test]
fn conferences_that_are_alive_are_the_same_wherever_they_stand_in_the_configuration() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut carol = Phone::new("carol", 3);
    alice.call(&mut world, "3000");
    world.reconfigure(|config| {
        let weekly = ConferenceConfig {
            id: ConferenceId(0xc1),
            name: "Weekly".into(),
            member: Entrance {
                numbers: vec!["4000".into()],
                ..Entrance::default()
            },
            moderator: Entrance::default(),
            ..config.conferences[0].clone()
        };
        config.conferences.insert(0, weekly);
    });
    bob.call(&mut world, "3000");
    carol.call(&mut world, "4000");
    let mixes = mixes(&world);
    assert_eq!(mixes[0], mixes[1], "bob is where alice is");
    assert_ne!(mixes[0], mixes[2]);
    assert_eq!(world.engine.gauges().conferences, 2);
}

#[test]
fn a_conference_that_is_taken_out_goes_on_and_takes_nobody_new() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut carol = Phone::new("carol", 3);
    let mut from_alice = alice.call(&mut world, "3000");
    let mut from_bob = bob.call(&mut world, "3000");
    world.reconfigure(|config| config.conferences.clear());

    let (_, refused) = carol.invite(&mut world, "3000");
    assert_eq!(refused.unwrap().status(), 404);
    let sent = alice.within(
        &mut world,
        &mut from_alice,
        "MESSAGE",
        "Content-Type: text/plain\r\n",
        b"still here",
    );
    assert_eq!(sent.status(), 202);
    assert_eq!(bob.gets(&mut world, "MESSAGE", true).body(), "still here");

    assert_eq!(
        alice.within(&mut world, &mut from_alice, "BYE", "", b"").status(),
        200
    );
    assert_eq!(
        bob.within(&mut world, &mut from_bob, "BYE", "", b"").status(),
        200
    );
    assert_eq!(world.engine.gauges().conferences, 0);
}

#[test]
fn what_a_conference_allows_holds_at_once() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let mut from_alice = alice.call(&mut world, "3000");
    world.reconfigure(|config| config.conferences[0].chat = false);
    let sent = alice.within(
        &mut world,
        &mut from_alice,
        "MESSAGE",
        "Content-Type: text/plain\r\n",
        b"hello",
    );
    assert_eq!(sent.status(), 403);
}

#[test]
fn registrations_of_users_who_are_gone_end_and_those_of_others_stay() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    alice.register(&mut world, 600);
    bob.register(&mut world, 600);
    world.writes.clear();
    world.reconfigure(|config| {
        config
            .credentials
            .retain(|credential| credential.username != "alice")
    });
    assert_eq!(world.engine.gauges().registrations, 1);
    let gone = StoreWrite::DeleteBinding {
        aor: "alice@lab.test".into(),
        contact: "sip:alice@198.51.100.1:5060".into(),
        instance: String::new(),
    };
    assert_eq!(world.writes, [gone], "it does not come back after a restart");
    assert_eq!(alice.register(&mut world, 600).status(), 401);
    assert_eq!(bob.register(&mut world, 600).status(), 200);
}

#[test]
fn an_addressee_who_is_taken_out_while_the_plugins_think_is_not_reached() {
    let mut world = World::with(|config| config.hooks.message_filter = chain(OnFailure::Pass));
    let (mut alice, mut carol) = (Phone::new("alice", 1), Phone::new("carol", 3));
    carol.register(&mut world, 600);
    let text = "Content-Type: text/plain\r\n";
    alice.request(&mut world, "MESSAGE", "sip:carol@lab.test", text, b"hello");
    let (ticket, _) = world.question();
    world.reconfigure(|config| {
        config
            .credentials
            .retain(|credential| credential.username != "carol")
    });
    world.answer(ticket, Verdict::Message(MessageVerdict::Pass));
    assert_eq!(alice.final_response(&mut world).status(), 480);
    carol.has_nothing(&mut world);
}

#[test]
fn a_caller_who_is_taken_out_while_the_plugins_think_is_still_himself() {
    let mut world = World::with(|config| config.hooks.call_router = chain(OnFailure::Pass));
    let mut bob = Phone::new("bob", 2);
    bob.invite(&mut world, "3000");
    let (ticket, _) = world.question();
    world.reconfigure(|config| {
        config.hooks.call_router = None;
        // Everybody who stood before him is gone too.
        config
            .credentials
            .retain(|credential| credential.username == "carol");
    });
    world.answer(ticket, Verdict::Route(RouteVerdict::Pass));
    assert_eq!(bob.final_response(&mut world).status(), 200);
    let mut carol = Phone::new("carol", 3);
    assert_eq!(carol.register(&mut world, 600).status(), 200);
}
