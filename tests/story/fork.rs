//! Several phones behind one contact, requests that came by two ways, and requests that go round.

use std::time::Duration;

use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::bridge::pair;
use crate::phone::{Phone, SDP, SDP_TYPE};
use crate::world::{REALM, World};

/// A proxy's phone answers the INVITE that the proxy got; the tag is the phone's.
fn respond_as(
    proxy: &mut Phone,
    world: &mut World,
    invite: &Message,
    tag: &str,
    status: u16,
    more: &str,
    body: &str,
) {
    let to = format!("{};tag={tag}", invite.header(Name::To).unwrap());
    let headers = format!("Contact: <sip:{tag}@198.51.100.2:5060>\r\n{more}");
    proxy.respond_to(world, invite, &to, status, &headers, body);
}

fn ringing() -> (World, Phone, Phone, Message) {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    (world, alice, bob, invite)
}

#[test]
fn each_early_dialog_is_confirmed_in_its_own_and_the_last_one_is_heard() {
    let (mut world, mut alice, mut bob, invite) = ringing();
    for (tag, rseq) in [("desk", 10), ("cell", 500)] {
        let more = format!("{SDP_TYPE}Require: 100rel\r\nRSeq: {rseq}\r\n");
        respond_as(&mut bob, &mut world, &invite, tag, 183, &more, SDP);
        let prack = bob.gets(&mut world, "PRACK", true);
        assert!(prack.header(Name::To).unwrap().ends_with(&format!("tag={tag}")));
        assert!(prack.header(Name::RAck).unwrap().starts_with(&format!("{rseq} ")));
        assert_eq!(prack.request_uri(), format!("sip:{tag}@198.51.100.2:5060"));
    }
    respond_as(&mut bob, &mut world, &invite, "desk", 200, SDP_TYPE, SDP);
    let ack = bob.gets(&mut world, "ACK", false);
    assert!(ack.header(Name::To).unwrap().ends_with("tag=desk"));
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn more_early_dialogs_than_anybody_needs_are_not_followed() {
    let (mut world, _, mut bob, invite) = ringing();
    for number in 0..20 {
        let more = "Require: 100rel\r\nRSeq: 1\r\n";
        respond_as(
            &mut bob,
            &mut world,
            &invite,
            &format!("t{number}"),
            180,
            more,
            "",
        );
    }
    bob.listen(&mut world);
    assert_eq!(bob.inbox.len(), 8);
    assert_eq!(world.engine.counts().rejected["too_many_early_dialogs"], 12);
}

#[test]
fn every_2xx_gets_its_ack_and_the_phones_that_lost_one_bye_each() {
    let (mut world, mut alice, mut bob, invite) = ringing();
    respond_as(&mut bob, &mut world, &invite, "desk", 200, SDP_TYPE, SDP);
    bob.gets(&mut world, "ACK", false);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    for tag in ["cell", "soft"] {
        respond_as(&mut bob, &mut world, &invite, tag, 200, SDP_TYPE, SDP);
        let ack = bob.gets(&mut world, "ACK", false);
        let bye = bob.gets(&mut world, "BYE", true);
        for request in [&ack, &bye] {
            assert!(request.header(Name::To).unwrap().ends_with(&format!("tag={tag}")));
            assert_eq!(request.request_uri(), format!("sip:{tag}@198.51.100.2:5060"));
        }
        assert_eq!(ack.cseq().unwrap().number, invite.cseq().unwrap().number);
        assert!(bye.cseq().unwrap().number > ack.cseq().unwrap().number);
        // The ACK was lost: the 2xx comes again, and is acknowledged again.
        respond_as(&mut bob, &mut world, &invite, tag, 200, SDP_TYPE, SDP);
        bob.gets(&mut world, "ACK", false);
        bob.has_nothing(&mut world);
    }
    respond_as(&mut bob, &mut world, &invite, "desk", 200, SDP_TYPE, SDP);
    assert!(
        bob.gets(&mut world, "ACK", false)
            .header(Name::To)
            .unwrap()
            .ends_with("tag=desk")
    );
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn a_2xx_to_a_call_that_is_over_gets_its_ack_and_its_bye() {
    let mut pair = pair();
    let answer = pair
        .alice
        .within(&mut pair.world, &mut pair.from_alice, "BYE", "", b"");
    assert_eq!(answer.status(), 200);
    pair.bob.gets(&mut pair.world, "BYE", true);
    assert_eq!(pair.world.engine.gauges().dialogs, 0);
    let invite = pair.invite.clone();
    for first in [true, false] {
        respond_as(
            &mut pair.bob,
            &mut pair.world,
            &invite,
            "cell",
            200,
            SDP_TYPE,
            SDP,
        );
        pair.bob.gets(&mut pair.world, "ACK", false);
        if first {
            let bye = pair.bob.gets(&mut pair.world, "BYE", true);
            assert!(bye.header(Name::To).unwrap().ends_with("tag=cell"));
        }
        pair.bob.has_nothing(&mut pair.world);
    }
    pair.is_gone();
}

#[test]
fn the_same_request_by_two_ways_is_answered_once_and_482_the_second_time() {
    for method in ["INVITE", "MESSAGE"] {
        let mut world = World::with(|config| config.trusted = vec!["198.51.100.0/24".parse().unwrap()]);
        let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 7200);
        let (kind, body) = match method {
            "INVITE" => ("application/sdp", SDP),
            _ => ("text/plain", "hello"),
        };
        let request = |branch: &str, cseq: u32| {
            format!(
                "{method} sip:bob@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bK{branch}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:alice@{REALM}>;tag=a\r\nTo: <sip:bob@{REALM}>\r\nCall-ID: merged\r\n\
                 CSeq: {cseq} {method}\r\nContact: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                alice.contact(),
                body.len()
            )
        };
        let texts =
            [("one", 1), ("two", 1), ("three", 2), ("four", 1)].map(|(branch, cseq)| request(branch, cseq));
        world.receive(alice.flow, &texts[0], body.as_bytes());
        bob.gets(&mut world, method, false);
        world.receive(alice.flow, &texts[1], body.as_bytes());
        bob.has_nothing(&mut world);
        let refused = alice.final_response(&mut world);
        assert_eq!(
            (refused.status(), refused.via().unwrap().branch()),
            (482, Some("z9hG4bKtwo"))
        );
        world.receive(alice.flow, &texts[2], body.as_bytes());
        bob.gets(&mut world, method, false);
        assert_eq!(world.engine.counts().rejected["merged"], 1);
        if method == "MESSAGE" {
            // When its transaction is over, nothing is known of the first any more.
            world.advance(Duration::from_secs(70));
            bob.listen(&mut world);
            bob.inbox.clear();
            world.receive(alice.flow, &texts[3], body.as_bytes());
            bob.gets(&mut world, method, false);
        }
    }
}

#[test]
fn hops_are_counted_down_and_a_request_without_any_left_goes_no_further() {
    for (hops, passed) in [(70, Some(69)), (1, Some(0)), (0, None)] {
        let mut world = World::new();
        let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 7200);
        alice.hops = hops;
        let (_, refused) = alice.invite(&mut world, "bob");
        let text = alice.request(
            &mut world,
            "MESSAGE",
            "sip:bob@lab.test",
            "Content-Type: text/plain\r\n",
            b"x",
        );
        match passed {
            Some(left) => {
                assert!(refused.is_none());
                for method in ["INVITE", "MESSAGE"] {
                    let request = bob.gets(&mut world, method, false);
                    assert_eq!(request.max_forwards(), Some(Ok(left)), "{method}");
                }
            }
            None => {
                assert_eq!((refused.unwrap().status(), text.status()), (483, 483));
                bob.has_nothing(&mut world);
            }
        }
        // Here the way ends anyway.
        let (_, conference) = alice.invite(&mut world, "3000");
        assert_eq!(conference.unwrap().status(), 200);
    }
}

#[test]
fn a_cancel_without_its_invite_is_481_and_one_that_comes_too_late_changes_nothing() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (line, _) = alice.invite(&mut world, "3000");
    alice.inbox.clear();
    alice.cancel(&mut world, "");
    assert_eq!(alice.final_response(&mut world).status(), 200);
    alice.has_nothing(&mut world);
    alice.ack(&mut world, &line);
    assert_eq!(world.engine.gauges().dialogs, 1);
    world.advance(Duration::from_secs(40));
    alice.cancel(&mut world, "");
    assert_eq!(alice.final_response(&mut world).status(), 481);
}

#[test]
fn why_one_side_ends_the_call_is_told_to_the_other() {
    let reason = "Q.850;cause=16;text=\"Terminated\"";
    for from_alice in [true, false] {
        let mut pair = pair();
        let (one, line, other) = match from_alice {
            true => (&mut pair.alice, &mut pair.from_alice, &mut pair.bob),
            false => (&mut pair.bob, &mut pair.from_bob, &mut pair.alice),
        };
        let header = format!("Reason: {reason}\r\n");
        assert_eq!(
            one.within(&mut pair.world, line, "BYE", &header, b"").status(),
            200
        );
        let bye = other.gets(&mut pair.world, "BYE", true);
        assert_eq!(bye.header(Name::Reason), Some(reason));
        pair.is_gone();
    }
    let (mut world, mut alice, mut bob, invite) = ringing();
    bob.respond(&mut world, &invite, 480, &format!("Reason: {reason}\r\n"), "");
    let refused = alice.final_response(&mut world);
    assert_eq!(
        (refused.status(), refused.header(Name::Reason)),
        (480, Some(reason))
    );
}

#[test]
fn phones_that_rang_in_vain_hear_that_another_was_picked_up() {
    let mut world = World::new();
    let (mut alice, mut bob, mut desk) = (
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("bob-desk", 3),
    );
    bob.register(&mut world, 600);
    desk.register(&mut world, 600);
    alice.invite(&mut world, "bob");
    let to_bob = bob.gets(&mut world, "INVITE", false);
    let to_desk = desk.gets(&mut world, "INVITE", false);
    // The desk phone has not said anything: its CANCEL waits until it does.
    bob.pick_up(&mut world, &to_bob);
    desk.has_nothing(&mut world);
    desk.respond(&mut world, &to_desk, 180, "", "");
    let cancel = desk.gets(&mut world, "CANCEL", true);
    assert!(cancel.header(Name::Reason).unwrap().contains("cause=200"));
}

#[test]
fn a_request_that_comes_straight_back_is_refused_and_forks_no_further() {
    for method in ["INVITE", "MESSAGE"] {
        let mut world = World::with(|config| config.trusted = vec!["198.51.100.0/24".parse().unwrap()]);
        // Bob has registered the switch itself: what is sent there comes in again.
        let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 7200);
        if method == "INVITE" {
            alice.invite(&mut world, "bob");
        } else {
            let text = format!(
                "MESSAGE sip:bob@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKm\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:alice@{REALM}>;tag=a\r\nTo: <sip:bob@{REALM}>\r\nCall-ID: m\r\n\
                 CSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
            );
            world.receive(alice.flow, &text, b"hello");
        }
        let sent = bob.gets(&mut world, method, false);
        let head = sent.raw().len() - sent.body_slice().len();
        let text = std::str::from_utf8(&sent.raw()[..head]).unwrap();
        world.receive(bob.flow, text, sent.body_slice());
        let refused = bob.final_response(&mut world);
        assert_eq!(
            (refused.status(), refused.via().unwrap().branch()),
            (482, sent.via().unwrap().branch())
        );
        bob.has_nothing(&mut world);
        assert_eq!(world.engine.counts().rejected["looped"], 1);
        world.receive(bob.flow, std::str::from_utf8(refused.raw()).unwrap(), b"");
        assert!(alice.final_response(&mut world).status() >= 400, "{method}");
        world.advance(Duration::from_secs(70));
        world.is_clean();
    }
}
