//! Bans that end before their time, who is taken for a scanner, and how many calls a user has.

use std::time::Duration;

use cordboard_engine::config::Config;
use cordboard_engine::sip::name::Name;

use crate::abuse::{answered, guess, probe, strict};
use crate::phone::Phone;
use crate::world::World;

#[test]
fn a_ban_ends_when_its_source_is_trusted_or_nobody_is_banned_any_more() {
    let trust: fn(&mut Config) = |config| config.trusted = vec!["198.51.100.66/32".parse().unwrap()];
    let forgive: fn(&mut Config) = |config| config.abuse.ban_after = 0;
    let other: fn(&mut Config) = |config| config.trusted = vec!["198.51.100.67/32".parse().unwrap()];
    for (change, ends) in [(trust, true), (forgive, true), (other, false)] {
        let (mut world, mut mallory) = (World::with(strict), Phone::new("alice", 66));
        guess(&mut world, &mut mallory, 3);
        let ban = world.bans[0];
        world.reconfigure(change);
        assert_eq!(world.engine.is_banned(ban.source, world.now), !ends);
        assert_eq!(world.engine.bans(world.now).len(), usize::from(!ends));
        assert_eq!(world.engine.gauges().banned, usize::from(!ends));
        mallory.listen(&mut world);
        mallory.inbox.clear();
        assert_eq!(answered(&mut world, &mut mallory, 1, 5), if ends { 5 } else { 0 });
        if ends {
            world.reconfigure(|config| {
                *config = crate::world::config();
                strict(config);
            });
            guess(&mut world, &mut mallory, 3);
            let span = world.bans[1].until.since(world.now);
            assert_eq!(span, Duration::from_secs(600), "it begins anew");
        }
    }
}

#[test]
fn who_is_trusted_is_heard_from_a_network_that_is_banned() {
    let at = |last: u16| {
        let mut phone = Phone::new("alice", 66);
        phone.flow.peer = format!("[2001:db8:1:2::{last}]:5060").parse().unwrap();
        phone
    };
    let mut world = World::with(|config| {
        strict(config);
        config.trusted = vec!["2001:db8:1:2::9/128".parse().unwrap()];
    });
    guess(&mut world, &mut at(5), 3);
    assert_eq!(world.bans.len(), 1);
    for (last, heard) in [(6, 0), (9, 1)] {
        assert_eq!(answered(&mut world, &mut at(last), 1, 1), heard);
    }
    world.reconfigure(|_| {});
    assert_eq!(
        world.engine.bans(world.now).len(),
        1,
        "others there are still banned"
    );
    world.reconfigure(|config| config.trusted = vec!["2001:db8::/32".parse().unwrap()]);
    assert!(world.engine.bans(world.now).is_empty());
}

#[test]
fn an_operator_lifts_a_ban_and_the_next_is_longer_all_the_same() {
    let (mut world, mut mallory) = (World::with(strict), Phone::new("alice", 66));
    let source = mallory.flow.peer.ip();
    assert!(!world.engine.lift_ban(source, world.now));
    guess(&mut world, &mut mallory, 3);
    world.advance(Duration::from_secs(601));
    assert!(!world.engine.lift_ban(source, world.now), "it is over");
    guess(&mut world, &mut mallory, 3);
    assert_eq!(world.bans[1].until.since(world.now), Duration::from_secs(1200));
    assert!(world.engine.lift_ban(source, world.now));
    assert!(!world.engine.is_banned(source, world.now) && world.engine.bans(world.now).is_empty());
    assert!(!world.engine.lift_ban(source, world.now));
    guess(&mut world, &mut mallory, 3);
    assert_eq!(world.bans[2].until.since(world.now), Duration::from_secs(2400));
    let text = probe(&mallory, 1, "User-Agent: sipcli\r\n");
    let mut scanner = Phone::new("alice", 67);
    world.receive(scanner.flow, &text, b"");
    scanner.has_nothing(&mut world);
    assert_eq!(world.engine.bans(world.now).len(), 2);
    assert!(world.engine.lift_ban(scanner.flow.peer.ip(), world.now));
    assert_eq!(world.engine.bans(world.now).len(), 1);
}

#[test]
fn a_phone_is_no_scanner_for_a_part_of_its_name() {
    for (agent, heard) in [
        ("Kiwarden 2", true),
        ("Gulper phone", true),
        ("PoliSipClient/3", true),
        ("sivusé", true),
        ("Gulp", false),
        ("x (iWar/0.1)", false),
        ("sipcli/v1.8", false),
        ("SIVuS2", false),
        ("Xfriendly-scanners", false),
    ] {
        let (mut world, mut phone) = (World::new(), Phone::new("alice", 66));
        let text = probe(&phone, 1, &format!("User-Agent: {agent}\r\n"));
        world.receive(phone.flow, &text, b"");
        phone.listen(&mut world);
        assert_eq!(phone.inbox.len(), usize::from(heard), "{agent}");
    }
}

#[test]
fn one_user_cannot_take_all_the_ports() {
    let limit: fn(&mut Config) = |config| config.limits.user_calls = 2;
    let trust: fn(&mut Config) = |config| {
        config.limits.user_calls = 2;
        config.trusted = vec!["198.51.100.0/24".parse().unwrap()];
    };
    let endless: fn(&mut Config) = |config| config.limits.user_calls = 0;
    for (change, bounded) in [(limit, true), (trust, false), (endless, false)] {
        let mut world = World::with(change);
        let (mut bob, mut desk) = (Phone::new("bob", 2), Phone::new("bob-desk", 3));
        let (mut alice, mut carol) = (Phone::new("alice", 1), Phone::new("carol", 4));
        assert_eq!(alice.register(&mut world, 600).status(), 200);
        // One that rings and one that is up.
        assert!(bob.invite(&mut world, "alice").1.is_none());
        let mut line = desk.call(&mut world, "3000");
        for phone in [&mut bob, &mut desk] {
            let answer = phone.invite(&mut world, "3000").1.expect("an answer");
            // It is the user who has too many, not the switch: nobody shall avoid that.
            let expected = if bounded {
                (480, "Too Many Calls Of This User")
            } else {
                (200, "OK")
            };
            assert_eq!((answer.status(), answer.reason()), expected);
            assert!(answer.header(Name::RetryAfter).is_none());
        }
        if !bounded {
            continue;
        }
        assert_eq!(world.engine.counts().rejected["too_many_calls_of_user"], 2);
        let reason = world.records.last().map(|record| record.reason);
        assert_eq!(reason, Some("too_many_calls_of_user"));
        // Who is called has made none, and others have their own.
        carol.call(&mut world, "3000");
        alice.call(&mut world, "3000");
        alice.call(&mut world, "3000");
        assert_eq!(desk.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
        bob.call(&mut world, "3000");
        assert_eq!(
            desk.invite(&mut world, "3000").1.expect("an answer").status(),
            480
        );
    }
}
