//! Keys inside a call, by INFO or as the shards hear them: they go to the other side. An INFO without a body is taken
//! and comes to nothing, one whose body nobody understands is refused.

use cordboard_engine::io::Input;
use cordboard_engine::sip::name::Name;
use cordboard_model::LegId;
use cordboard_model::media::{MediaCommand, MediaEvent};

use crate::bridge::{Pair, pair, up};
use crate::phone::{Phone, SDP, SDP_TYPE};
use crate::world::World;

const RELAY: &str = "Content-Type: application/dtmf-relay\r\n";
const PLAIN: &str = "Content-Type: application/dtmf\r\n";

#[test]
fn a_key_reaches_the_other_side_of_a_call_in_order_and_byte_for_byte() {
    let mut pair = pair();
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        from_bob,
        ..
    } = &mut pair;
    let pressed = [
        (RELAY, "Signal=5\r\nDuration=160\r\n"),
        (PLAIN, "#"),
        (RELAY, "Signal=11\r\n"),
    ];
    for (kind, body) in pressed {
        assert_eq!(
            alice
                .within(world, from_alice, "INFO", kind, body.as_bytes())
                .status(),
            200
        );
        let info = bob.gets(world, "INFO", true);
        assert_eq!(info.body_slice(), body.as_bytes());
        let kind = kind.trim_start_matches("Content-Type: ").trim_end();
        assert_eq!(info.header(Name::ContentType), Some(kind));
    }
    assert_eq!(
        bob.within(world, from_bob, "INFO", RELAY, b"Signal=1").status(),
        200
    );
    alice.gets(world, "INFO", true);
    assert!(
        world.engine.counts().messages.is_empty(),
        "keys are no messages: {:?}",
        world.engine.counts().messages
    );
}

#[test]
fn what_is_no_key_is_refused_or_taken_and_goes_nowhere() {
    let mut pair = pair();
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        ..
    } = &mut pair;
    let cases = [
        (RELAY, "Signal=ab", 400),
        (PLAIN, "", 400),
        ("Content-Type: application/media_control+xml\r\n", "<x/>", 415),
        ("Content-Type: application/foo\r\n", "x", 415),
        ("Content-Type: application/foo\r\n", "", 200),
        (
            "Content-Type: application/foo\r\nContent-Disposition: x;handling=optional\r\n",
            "x",
            200,
        ),
        (
            "Content-Type: application/dtmf\r\nContent-Encoding: gzip\r\n",
            "1",
            415,
        ),
        ("", "x", 415),
        ("", "", 200),
        ("Info-Package: foo\r\nContent-Type: text/plain\r\n", "x", 469),
    ];
    for (headers, body, status) in cases {
        let answer = alice.within(world, from_alice, "INFO", headers, body.as_bytes());
        assert_eq!(answer.status(), status, "{headers}");
        let accepts = answer.header(Name::Accept);
        let keys = "application/dtmf-relay, application/dtmf";
        assert_eq!(accepts, (status == 415).then_some(keys), "{headers}");
        let undone = answer.header(Name::AcceptEncoding);
        assert_eq!(undone.is_some(), headers.contains("gzip"), "{headers}");
        bob.has_nothing(world);
    }
}

#[test]
fn a_phone_that_says_that_it_takes_no_info_gets_none() {
    let mut pair = up(World::new(), "", "Allow: INVITE, ACK, BYE, CANCEL\r\n");
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        ..
    } = &mut pair;
    assert_eq!(alice.within(world, from_alice, "INFO", PLAIN, b"1").status(), 200);
    bob.has_nothing(world);
}

#[test]
fn in_a_conference_nobody_gets_the_key() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut line = alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    assert_eq!(
        alice
            .within(&mut world, &mut line, "INFO", RELAY, b"Signal=1")
            .status(),
        200
    );
    bob.has_nothing(&mut world);
}

/// The keys that shards were told to press, by leg.
fn pressed(world: &World) -> Vec<(LegId, &str)> {
    world
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Digits { leg, text } => Some((*leg, text.as_str())),
            _ => None,
        })
        .collect()
}

/// The legs in the order in which they were opened: the caller's is the first.
fn legs(world: &World) -> Vec<LegId> {
    world
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Open { leg, .. } => Some(*leg),
            _ => None,
        })
        .collect()
}

fn hear(world: &mut World, leg: LegId, digit: char) {
    world.handle(Input::Media(MediaEvent::Digit { leg, digit }));
}

#[test]
fn a_key_that_is_heard_on_one_side_of_a_call_is_pressed_on_the_other() {
    let mut pair = pair();
    let [alice, bob] = legs(&pair.world)[..] else {
        panic!("two legs, not {:?}", legs(&pair.world))
    };
    hear(&mut pair.world, alice, '5');
    hear(&mut pair.world, bob, '#');
    hear(&mut pair.world, alice, 'D');
    assert_eq!(pressed(&pair.world), [(bob, "5"), (alice, "#"), (bob, "D")]);
    pair.alice
        .within(&mut pair.world, &mut pair.from_alice, "BYE", "", b"");
    hear(&mut pair.world, bob, '1');
    assert_eq!(pressed(&pair.world).len(), 3, "a call that is over has no keys");
}

#[test]
fn a_key_by_info_is_heard_by_a_phone_that_takes_no_info() {
    let mut pair = up(World::new(), "", "Allow: INVITE, ACK, BYE, CANCEL\r\n");
    let bob = legs(&pair.world)[1];
    pair.alice.within(
        &mut pair.world,
        &mut pair.from_alice,
        "INFO",
        RELAY,
        b"Signal=11\r\n",
    );
    assert_eq!(pressed(&pair.world), [(bob, "#")]);
}

#[test]
fn keys_go_nowhere_before_the_answer_and_in_a_conference() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 600);
    alice.invite(&mut world, "bob");
    bob.gets(&mut world, "INVITE", false);
    let caller = legs(&world)[0];
    hear(&mut world, caller, '1');
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    let first = legs(&world)[0];
    hear(&mut world, first, '1');
    assert!(pressed(&world).is_empty());
}

#[test]
fn keys_in_early_media_reach_the_phone_that_is_heard_and_no_other() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (mut bob, mut desk) = (Phone::new("bob", 2), Phone::new("bob-desk", 3));
    bob.register(&mut world, 600);
    desk.register(&mut world, 600);
    let (mut line, _) = alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    let other = desk.gets(&mut world, "INVITE", false);
    desk.respond(&mut world, &other, 180, "", "");
    let headers = format!("Contact: {}\r\n{SDP_TYPE}", bob.contact());
    bob.respond(&mut world, &invite, 183, &headers, SDP);
    let heard = std::iter::from_fn(|| Some(alice.next(&mut world))).find(|told| told.status() == 183);
    line.learn(&heard.unwrap());
    let answer = alice.within(&mut world, &mut line, "INFO", RELAY, b"Signal=5\r\n");
    assert_eq!(answer.status(), 200);
    let [caller, called, silent] = legs(&world)[..] else {
        panic!("three legs, not {:?}", legs(&world))
    };
    hear(&mut world, caller, '7');
    hear(&mut world, called, '8');
    assert!(!pressed(&world).iter().any(|(leg, _)| *leg == silent));
    assert_eq!(
        pressed(&world),
        [(called, "5"), (called, "7"), (caller, "8")],
        "never later, when it answers"
    );
    bob.has_nothing(&mut world);
}
