//! Session timers: both refreshers, refusals, and what becomes of a peer that has vanished.

use std::time::Duration;

use cordboard_engine::io::Input;
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::media::{MediaCommand, MediaEvent};

use crate::bridge::{Pair, pair, up};
use crate::phone::{Phone, SDP, SDP_TYPE};
use crate::world::World;

const ALLOW: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";

fn timed() -> World {
    World::with(|config| config.session_expires = Duration::from_secs(1800))
}

fn expires(message: &Message) -> Option<&str> {
    message.header(Name::SessionExpires)
}

#[test]
fn who_asks_for_what_gets_what() {
    // Our own wish, what a caller asks, what the 200 says, and whether it requires the timer.
    let cases = [
        (0, "", None, false),
        (0, "Supported: timer\r\n", None, false),
        // Who knows no timers is asked by us now and then.
        (1800, "", Some("1800;refresher=uas"), false),
        (1800, "Supported: timer\r\n", Some("1800;refresher=uac"), true),
        (
            1800,
            "Supported: timer\r\nMin-SE: 3600\r\n",
            Some("3600;refresher=uac"),
            true,
        ),
        (
            0,
            "Supported: timer\r\nSession-Expires: 90\r\n",
            Some("90;refresher=uac"),
            true,
        ),
        (
            0,
            "k: timer\r\nx: 300;refresher=uas\r\n",
            Some("300;refresher=uas"),
            false,
        ),
        (
            0,
            "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n",
            Some("300;refresher=uac"),
            true,
        ),
        // A proxy asks for one whose caller knows nothing of it.
        (0, "Session-Expires: 600\r\n", Some("600;refresher=uas"), false),
        (
            0,
            "Session-Expires: 600;refresher=uac\r\n",
            Some("600;refresher=uas"),
            false,
        ),
        (
            0,
            "Supported: timer\r\nRequire: timer\r\nSession-Expires: 200\r\n",
            Some("200;refresher=uac"),
            true,
        ),
    ];
    for (ours, asked, told, required) in cases {
        let mut world = World::with(|config| config.session_expires = Duration::from_secs(ours));
        let (_, answer) = Phone::new("alice", 1).invite_with(&mut world, "3000", asked);
        let answer = answer.unwrap();
        assert_eq!((answer.status(), expires(&answer)), (200, told), "{asked}");
        assert_eq!(answer.header(Name::Require) == Some("timer"), required, "{asked}");
    }
}

#[test]
fn a_session_longer_than_any_of_ours_is_not_agreed_on_and_watched_by_us_alone() {
    for least in [
        "86401",
        "4294967296",
        "18446744073709551615",
        "99999999999999999999999",
    ] {
        for asked in ["", "Session-Expires: 18446744073709551615;refresher=uac\r\n"] {
            let (mut world, mut alice) = (timed(), Phone::new("alice", 1));
            let headers = format!("{ALLOW}Supported: timer\r\nMin-SE: {least}\r\n{asked}");
            let (line, answer) = alice.invite_with(&mut world, "3000", &headers);
            let answer = answer.unwrap();
            assert_eq!((answer.status(), expires(&answer)), (200, None), "{headers}");
            assert_eq!(answer.header(Name::Require), None);
            alice.ack(&mut world, &line);
            for _ in 0..2 {
                world.advance(Duration::from_secs(899));
                alice.has_nothing_but_provisionals(&mut world);
                world.advance(Duration::from_secs(1));
                let update = alice.gets(&mut world, "UPDATE", true);
                assert_eq!((expires(&update), update.header(Name::MinSe)), (None, None));
            }
        }
    }
    // The most that we take, and what is longer but may be shortened.
    for asked in [
        "Min-SE: 86400\r\n",
        "Min-SE: 90\r\nSession-Expires: 4294967296\r\n",
    ] {
        let headers = format!("Supported: timer\r\n{asked}");
        let (_, answer) = Phone::new("alice", 1).invite_with(&mut timed(), "3000", &headers);
        assert_eq!(expires(&answer.unwrap()), Some("86400;refresher=uac"), "{asked}");
    }
}

#[test]
fn a_phone_that_takes_no_session_of_ours_is_called_without_a_timer() {
    let (mut world, mut alice, mut bob) = (timed(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    alice.invite(&mut world, "bob");
    let first = bob.gets(&mut world, "INVITE", false);
    assert_eq!(expires(&first), Some("1800"));
    bob.respond(&mut world, &first, 422, "Min-SE: 18446744073709551615\r\n", "");
    bob.gets(&mut world, "ACK", false);
    let second = bob.gets(&mut world, "INVITE", false);
    assert_eq!((expires(&second), second.header(Name::MinSe)), (None, None));
    bob.respond(&mut world, &second, 422, "Min-SE: 18446744073709551615\r\n", "");
    bob.gets(&mut world, "ACK", false);
    bob.has_nothing(&mut world);
    assert!(alice.final_response(&mut world).status() >= 400);
}

#[test]
fn too_short_a_session_is_422_in_the_first_invite_and_later() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let brief = "Supported: timer\r\nSession-Expires: 60\r\n";
    for named in [brief, "Require: timer\r\nSession-Expires: 60\r\n"] {
        let (_, answer) = alice.invite_with(&mut world, "3000", named);
        let answer = answer.unwrap();
        assert_eq!((answer.status(), answer.header(Name::MinSe)), (422, Some("90")));
    }
    let mut line = alice.call(&mut world, "3000");
    for (method, body) in [("UPDATE", ""), ("INVITE", SDP)] {
        let headers = format!("{brief}Content-Type: application/sdp\r\n");
        let headers = if body.is_empty() { brief } else { &headers };
        let answer = alice.within(&mut world, &mut line, method, headers, body.as_bytes());
        assert_eq!(
            (answer.status(), answer.header(Name::MinSe)),
            (422, Some("90")),
            "{method}"
        );
    }
}

#[test]
fn a_session_that_is_refreshed_before_the_answer_does_not_end_the_ringing() {
    let (mut world, mut alice, mut bob) = (timed(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    let (mut line, _) = alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    bob.respond(&mut world, &invite, 180, "", "");
    alice.listen(&mut world);
    line.learn(&alice.inbox.pop().expect("it rings").message);
    alice.inbox.clear();
    let short = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    let answer = alice.within(&mut world, &mut line, "UPDATE", short, b"");
    assert_eq!(answer.status(), 200);
    world.advance(Duration::from_secs(100));
    bob.has_nothing(&mut world);
    bob.pick_up(&mut world, &invite);
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn a_caller_that_refreshes_by_empty_updates_stays_and_one_that_stops_is_hung_up_on() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let asked = "Supported: timer\r\nSession-Expires: 90\r\n";
    let (mut line, answer) = alice.invite_with(&mut world, "3000", asked);
    assert_eq!(expires(&answer.unwrap()), Some("90;refresher=uac"));
    alice.ack(&mut world, &line);
    for _ in 0..5 {
        world.advance(Duration::from_secs(45));
        alice.has_nothing_but_provisionals(&mut world);
        let refresh = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
        let answer = alice.within(&mut world, &mut line, "UPDATE", refresh, b"");
        assert_eq!(
            (answer.status(), expires(&answer)),
            (200, Some("90;refresher=uac"))
        );
        assert!(answer.body_slice().is_empty());
    }
    // A re-INVITE that is silent about it changes nothing but the moment.
    let answer = alice.within(&mut world, &mut line, "INVITE", SDP_TYPE, SDP.as_bytes());
    assert_eq!(expires(&answer), Some("90;refresher=uac"));
    alice.ack(&mut world, &line);
    // 90 s less a third of it.
    world.advance(Duration::from_secs(59));
    alice.has_nothing_but_provisionals(&mut world);
    world.advance(Duration::from_secs(1));
    let bye = alice.gets(&mut world, "BYE", true);
    assert_eq!(
        bye.header(Name::Reason),
        Some("SIP;cause=408;text=\"Session expired\"")
    );
    assert_eq!(world.engine.counts().calls_ended["session_expired"], 1);
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn we_ask_the_called_phone_and_refresh_by_update_where_it_takes_one() {
    let told = format!("{ALLOW}Supported: timer\r\nRequire: timer\r\nSession-Expires: 600;refresher=uac\r\n");
    let mut pair = up(timed(), "", &told);
    assert_eq!(expires(&pair.invite), Some("1800"));
    assert!(pair.invite.values(Name::Supported).any(|word| word == "timer"));
    let Pair { world, bob, .. } = &mut pair;
    for _ in 0..3 {
        world.advance(Duration::from_secs(299));
        bob.has_nothing(world);
        world.advance(Duration::from_secs(1));
        let update = bob.gets(world, "UPDATE", false);
        assert_eq!(expires(&update), Some("600;refresher=uac"));
        assert!(update.body_slice().is_empty());
        bob.respond(
            world,
            &update,
            200,
            "Session-Expires: 600;refresher=uac\r\nRequire: timer\r\n",
            "",
        );
    }
}

#[test]
fn an_offer_waits_for_the_refresh_before_it() {
    let told = format!("{ALLOW}Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n");
    let mut pair = up(timed(), "", &told);
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        ..
    } = &mut pair;
    world.advance(Duration::from_secs(300));
    let update = bob.gets(world, "UPDATE", false);
    let held = format!("{SDP}a=inactive\r\n");
    let answer = alice.within(world, from_alice, "UPDATE", SDP_TYPE, held.as_bytes());
    assert_eq!(answer.status(), 200);
    bob.has_nothing(world);
    bob.respond(world, &update, 200, "Session-Expires: 600;refresher=uac\r\n", "");
    bob.gets(world, "INVITE", false);
}

#[test]
fn a_session_keeps_its_interval_when_a_refresh_is_silent_about_it() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let asked = "Supported: timer\r\nSession-Expires: 700;refresher=uac\r\n";
    let (mut line, _) = alice.invite_with(&mut world, "3000", asked);
    alice.ack(&mut world, &line);
    let answer = alice.within(&mut world, &mut line, "UPDATE", "", b"");
    assert_eq!(expires(&answer), Some("700;refresher=uac"));
}

#[test]
fn we_refresh_by_the_same_offer_where_the_phone_takes_no_update() {
    for allow in ["", ALLOW] {
        let told = format!("{allow}Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n");
        let mut pair = up(timed(), "", &told);
        let Pair {
            world, bob, invite, ..
        } = &mut pair;
        world.advance(Duration::from_secs(300));
        if !allow.is_empty() {
            // It said that it would, and does not.
            let update = bob.gets(world, "UPDATE", false);
            bob.respond(world, &update, 501, "", "");
        }
        let refresh = bob.gets(world, "INVITE", false);
        assert_eq!(
            refresh.body_slice(),
            invite.body_slice(),
            "not a byte has changed"
        );
        assert_eq!(expires(&refresh), Some("600;refresher=uac"));
        let headers = format!(
            "Contact: {}\r\nContent-Type: application/sdp\r\nSession-Expires: 600;refresher=uac\r\n",
            bob.contact()
        );
        bob.respond(world, &refresh, 200, &headers, SDP);
        bob.gets(world, "ACK", false);
        world.advance(Duration::from_secs(299));
        bob.has_nothing(world);
        world.advance(Duration::from_secs(1));
        bob.gets(world, "INVITE", false);
    }
}

#[test]
fn a_phone_that_wants_a_longer_session_is_asked_again_with_it() {
    let (mut world, mut alice, mut bob) = (timed(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    alice.invite(&mut world, "bob");
    let first = bob.gets(&mut world, "INVITE", false);
    bob.respond(&mut world, &first, 422, "Min-SE: 3600\r\n", "");
    bob.gets(&mut world, "ACK", false);
    let second = bob.gets(&mut world, "INVITE", false);
    assert_eq!(
        (expires(&second), second.header(Name::MinSe)),
        (Some("3600"), Some("3600"))
    );
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    bob.respond(&mut world, &second, 422, "Min-SE: 3600\r\n", "");
    bob.gets(&mut world, "ACK", false);
    bob.has_nothing(&mut world);
    assert_eq!(
        alice.final_response(&mut world).status(),
        422,
        "it does not know what it wants"
    );
}

#[test]
fn a_phone_that_has_vanished_ends_the_call_of_both() {
    // We refresh: silence ends it. The phone refreshes: its silence ends it.
    for (role, after) in [("uac", 300 + 32), ("uas", 600 - 32)] {
        let told = format!("{ALLOW}Supported: timer\r\nSession-Expires: 600;refresher={role}\r\n");
        let mut pair = up(timed(), "", &told);
        let Pair { world, alice, .. } = &mut pair;
        world.advance(Duration::from_secs(after - 1));
        alice.has_nothing(world);
        world.advance(Duration::from_secs(1));
        let bye = alice.gets(world, "BYE", true);
        assert!(bye.header(Name::Reason).unwrap().contains("cause=408"), "{role}");
        pair.is_gone();
    }
}

#[test]
fn where_nobody_wants_a_timer_a_call_lasts() {
    let mut pair = pair();
    assert_eq!(expires(&pair.invite), None);
    assert_eq!(expires(&pair.answer), None);
    let Pair {
        world, alice, bob, ..
    } = &mut pair;
    world.advance(Duration::from_secs(86_400));
    alice.has_nothing(world);
    bob.has_nothing(world);
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn a_phone_whose_media_has_stopped_ends_the_call_of_both() {
    let mut pair = pair();
    let leg = pair.world.media.iter().find_map(|command| match command {
        MediaCommand::Open { leg, .. } => Some(*leg),
        _ => None,
    });
    let leg = leg.expect("alice has one");
    pair.world.handle(Input::Media(MediaEvent::Silent { leg }));
    let byes = [
        pair.alice.gets(&mut pair.world, "BYE", true),
        pair.bob.gets(&mut pair.world, "BYE", true),
    ];
    for bye in byes {
        let reason = bye.header(Name::Reason).unwrap_or_default();
        assert!(reason.contains("No media"), "{reason}");
    }
    pair.is_gone();
}

#[test]
fn a_phone_that_knows_no_timers_and_has_vanished_is_found_out_by_a_reinvite() {
    let (mut world, mut alice) = (timed(), Phone::new("alice", 1));
    alice.call(&mut world, "3000");
    assert_eq!(world.engine.gauges().dialogs, 1);
    world.advance(Duration::from_secs(900));
    alice.gets(&mut world, "INVITE", false);
    world.advance(Duration::from_secs(120));
    world.is_clean();
}

#[test]
fn a_session_that_is_refreshed_again_and_again_has_one_timer() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let mut line = alice.call(&mut world, "3000");
    let refresh = "Supported: timer\r\nSession-Expires: 3600;refresher=uac\r\n";
    for _ in 0..100 {
        world.advance(Duration::from_secs(1));
        let answer = alice.within(&mut world, &mut line, "UPDATE", refresh, b"");
        assert_eq!(answer.status(), 200);
    }
    alice.within(&mut world, &mut line, "BYE", "", b"");
    let mut left = 0;
    world.advance(Duration::from_secs(40));
    while let Some(at) = world.engine.next_timeout() {
        world.advance(at.since(world.now));
        left += 1;
    }
    assert!(left < 5, "{left} timers are left of 100 refreshes");
}
