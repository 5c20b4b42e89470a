//! PINs of conferences, and those who guess them.

use std::time::Duration;

use cordboard_engine::config::Config;
use cordboard_engine::io::Transport;
use cordboard_engine::limits::Offence;
use cordboard_engine::sip::message::Message;

use crate::abuse::{shape, strict};
use crate::phone::{Line, Phone};
use crate::subscription::{CONFERENCE, subscribe};
use crate::world::World;

/// What comes of a call to a number.
fn dial(world: &mut World, phone: &mut Phone, number: &str) -> (Line, Message) {
    let (line, answer) = phone.invite(world, number);
    (line, answer.expect("an answer at once"))
}

fn refused(world: &mut World, phone: &mut Phone, number: &str) -> Vec<String> {
    let (_, answer) = dial(world, phone, number);
    assert_eq!(answer.status(), 403, "{number}");
    shape(&answer)
}

/// Calls with the right PIN and hangs up again.
fn opens(world: &mut World, phone: &mut Phone) {
    let mut line = phone.call(world, "3001*1234");
    assert_eq!(phone.within(world, &mut line, "BYE", "", b"").status(), 200);
}

#[test]
fn whoever_guesses_pins_has_none_taken_for_a_time_and_learns_nothing() {
    let mut world = World::with(strict);
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    opens(&mut world, &mut alice);
    let missing = refused(&mut world, &mut alice, "3001");
    for guess in ["3001*1", "3001*12345"] {
        assert_eq!(refused(&mut world, &mut alice, guess), missing);
        // One that is right forgives nothing.
        opens(&mut world, &mut alice);
    }
    assert!(world.pins_refused.is_empty());
    refused(&mut world, &mut alice, "3001*2");
    assert_eq!(world.pins_refused, [world.now + Duration::from_secs(600)]);
    for guess in ["3001*3", "3001*1234", "3001", "3001*1234"] {
        assert_eq!(refused(&mut world, &mut alice, guess), missing, "{guess}");
    }
    let rejected = &world.engine.counts().rejected;
    let counted = ["missing_pin", "wrong_pin", "pin_refused"].map(|reason| rejected[reason]);
    assert_eq!(counted, [2, 3, 3]);
    assert_eq!(
        world.records.last().map(|record| record.reason),
        Some("pin_refused")
    );
    assert!(
        world.bans.is_empty(),
        "a source has more patience where somebody is known"
    );
    // Where none is asked for, nothing changes; nor for others.
    alice.call(&mut world, "3000");
    opens(&mut world, &mut bob);
    world.advance(Duration::from_secs(601));
    opens(&mut world, &mut alice);
}

#[test]
fn whoever_guesses_by_watching_has_guessed() {
    let mut world = World::with(strict);
    let mut alice = Phone::new("alice", 1);
    for (number, reason) in [
        ("3001*1", "wrong_pin"),
        ("3001*2", "wrong_pin"),
        ("3001*3", "wrong_pin"),
        ("3001*1234", "pin_refused"),
    ] {
        let (_, answer) = subscribe(&mut alice, &mut world, number, CONFERENCE);
        assert_eq!(answer.status(), 403, "{number}");
        assert!(world.engine.counts().rejected.contains_key(reason), "{number}");
    }
    refused(&mut world, &mut alice, "3001*1234");
    assert_eq!(world.pins_refused.len(), 1);
}

#[test]
fn one_guest_does_not_lock_out_the_others_who_share_his_user_but_many_guess_together() {
    let mut world = World::with(strict);
    let (mut guest, mut desk) = (Phone::new("bob", 2), Phone::new("bob-desk", 3));
    for pause in [600, 1200, 2400, 4800] {
        for guess in ["3001*1", "3001*2", "3001*3"] {
            refused(&mut world, &mut guest, guess);
        }
        refused(&mut world, &mut guest, "3001*1234");
        opens(&mut world, &mut desk);
        let until = world.now + Duration::from_secs(pause);
        assert_eq!(world.pins_refused.last(), Some(&until), "each time for longer");
        world.advance(Duration::from_secs(pause));
    }
    for last in [4, 5, 6] {
        opens(&mut world, &mut desk);
        guest.flow.peer = ([198, 51, 100, last], 5060).into();
        for guess in ["3001*1", "3001*2", "3001*3"] {
            refused(&mut world, &mut guest, guess);
        }
    }
    refused(&mut world, &mut desk, "3001*1234");
    opens(&mut world, &mut Phone::new("alice", 2));
}

#[test]
fn who_guesses_slowly_has_guessed() {
    let mut world = World::with(strict);
    let mut alice = Phone::new("alice", 1);
    for guess in ["3001*1", "3001*2", "3001*3"] {
        refused(&mut world, &mut alice, guess);
        world.advance(Duration::from_secs(301));
    }
    refused(&mut world, &mut alice, "3001*1234");
}

#[test]
fn who_lifts_a_ban_for_wrong_pins_has_them_looked_at_again() {
    let mut world = World::with(strict);
    let mut phones = ["alice", "bob", "carol", "frank"].map(|name| Phone::new(name, 1));
    for phone in &mut phones {
        for guess in ["3001*1", "3001*2", "3001*3"] {
            refused(&mut world, phone, guess);
        }
    }
    let [ban] = world.bans[..] else {
        panic!("one ban, not {:?}", world.bans)
    };
    assert!(world.engine.lift_ban(ban.source, world.now));
    for phone in &mut phones {
        opens(&mut world, phone);
    }
}

#[test]
fn wrong_pins_are_offences_of_their_source_and_missing_ones_are_none() {
    let never: fn(&mut Config) = |config| {
        strict(config);
        config.abuse.proven_for = Duration::ZERO;
    };
    let mut world = World::with(never);
    let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
    for _ in 0..20 {
        refused(&mut world, &mut alice, "3001");
    }
    assert!(world.bans.is_empty());
    // Somebody is proven there at the moment of each guess: four times three are forgiven.
    for (number, name) in ["alice", "bob", "carol", "frank"].into_iter().enumerate() {
        let mut phone = Phone::new(name, 1).over(Transport::Tcp, 5);
        for guess in ["3001*1", "3001*2", "3001*3"] {
            assert!(world.bans.is_empty(), "{number}");
            refused(&mut world, &mut phone, guess);
        }
    }
    assert_eq!(
        world.bans.iter().map(|ban| ban.reason).collect::<Vec<_>>(),
        [Offence::WrongPin]
    );
    assert_eq!(world.engine.counts().bans["wrong_pin"], 1);
    assert_eq!(world.closed, [5], "after the answer");
}

#[test]
fn trusted_networks_and_switches_that_ban_nobody_take_every_pin() {
    let trust: fn(&mut Config) = |config| {
        strict(config);
        config.trusted = vec!["198.51.100.1/32".parse().expect("a network")];
    };
    let nobody: fn(&mut Config) = |config| config.abuse.ban_after = 0;
    for change in [trust, nobody] {
        let (mut world, mut alice) = (World::with(change), Phone::new("alice", 1));
        for number in 0..100 {
            refused(&mut world, &mut alice, &format!("3001*{number}"));
        }
        opens(&mut world, &mut alice);
        assert!(world.bans.is_empty() && world.pins_refused.is_empty());
    }
}
