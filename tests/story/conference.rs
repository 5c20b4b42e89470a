//! Phones meet in a conference.

use std::time::Duration;

use cordboard_engine::sip::name::Name;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::conference::{Admission, JoinVerdict};
use cordboard_model::media::MediaCommand;
use cordboard_model::{Ask, MixId, Verdict};

use crate::phone::{Phone, SDP, SDP_TYPE};
use crate::world::{World, chain};

fn mixes(world: &World) -> Vec<MixId> {
    let open = |command: &MediaCommand| match command {
        MediaCommand::Open { mix, .. } => Some(*mix),
        _ => None,
    };
    world.media.iter().filter_map(open).collect()
}

#[test]
fn the_first_makes_the_conference_and_the_last_ends_it() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut from_alice = alice.call(&mut world, "3000");
    let mut from_bob = bob.call(&mut world, "3000");
    assert_eq!(world.engine.gauges().conferences, 1);
    assert_eq!(world.engine.gauges().participants[0], 2);
    assert_eq!(
        alice.within(&mut world, &mut from_alice, "BYE", "", b"").status(),
        200
    );
    assert_eq!(world.engine.gauges().participants[0], 1);
    assert_eq!(
        bob.within(&mut world, &mut from_bob, "BYE", "", b"").status(),
        200
    );
    assert_eq!(world.engine.gauges().conferences, 0);
    let all = mixes(&world);
    assert_eq!(all[0], all[1], "they are in one mix");
    let closed = world
        .media
        .iter()
        .filter(|command| matches!(command, MediaCommand::Close { .. }))
        .count();
    assert_eq!(closed, 2);
    bob.call(&mut world, "3000");
    assert_ne!(mixes(&world)[2], all[0], "a new conference has a mix of its own");
}

#[test]
fn the_answer_says_where_our_media_is_and_its_leg_knows_where_theirs_is() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (_, response) = alice.invite(&mut world, "3000");
    let response = response.unwrap();
    let body = String::from_utf8(response.body_slice().to_vec()).unwrap();
    assert!(
        body.contains("c=IN IP4 192.0.2.1\r\n") && body.contains("m=audio 20002 RTP/AVP 0"),
        "{body}"
    );
    assert!(response.header(Name::Contact).unwrap().contains(";isfocus"));
    let set = world.media.iter().find_map(|command| match command {
        MediaCommand::Modify { audio, .. } => Some(audio.remote),
        _ => None,
    });
    assert_eq!(set, Some("198.51.100.1:4000".parse().unwrap()));
}

#[test]
fn a_number_that_is_nobodys_is_404_and_a_pin_is_asked_for() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    for (number, status) in [("9999", 404), ("3001", 403), ("3001*9", 403), ("3001*1234", 200)] {
        let (_, response) = alice.invite(&mut world, number);
        assert_eq!(response.unwrap().status(), status, "{number}");
    }
}

#[test]
fn the_200_is_repeated_until_its_ack_and_then_no_more() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (line, _) = alice.invite(&mut world, "3000");
    alice.listen(&mut world);
    alice.inbox.clear();
    world.advance(Duration::from_millis(1600));
    alice.listen(&mut world);
    assert_eq!(alice.inbox.len(), 2, "after 0.5 and 1.5 s");
    alice.ack(&mut world, &line);
    alice.inbox.clear();
    world.advance(Duration::from_secs(40));
    alice.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().participants[0], 1);
}

#[test]
fn a_caller_who_never_sends_the_ack_is_hung_up_on() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    alice.invite(&mut world, "3000");
    world.advance(Duration::from_secs(33));
    alice.listen(&mut world);
    let bye = alice
        .inbox
        .iter()
        .find(|delivery| delivery.message.is_request())
        .expect("a BYE")
        .message
        .clone();
    assert_eq!(bye.method_text(), "BYE");
    assert_eq!(world.engine.gauges().conferences, 0);
}

#[test]
fn an_offer_without_a_usable_stream_is_488_before_anybody_is_asked() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let headers = "Contact: <sip:alice@198.51.100.1>\r\nContent-Type: application/sdp\r\n";
    let video = SDP.replace("m=audio 4000 RTP/AVP 0 8 101", "m=video 4000 RTP/AVP 96");
    let response = alice.request(
        &mut world,
        "INVITE",
        "sip:3000@lab.test",
        headers,
        video.as_bytes(),
    );
    assert_eq!(response.status(), 488);
    assert!(world.media.is_empty());
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_the_ack_brings_the_answer() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let headers = "Contact: <sip:alice@198.51.100.1>\r\n";
    let (cseq, response) =
        alice.request_in(&mut world, "late", 1, "INVITE", "sip:3000@lab.test", headers, b"");
    assert!(String::from_utf8_lossy(response.body_slice()).contains("m=audio 20002 RTP/AVP "));
    let mut line = crate::phone::Line {
        call_id: "late".into(),
        own: "<sip:alice@lab.test>;tag=alice1".into(),
        theirs: String::new(),
        target: String::new(),
        cseq,
    };
    line.learn(&response);
    assert!(
        !world
            .media
            .iter()
            .any(|command| matches!(command, MediaCommand::Modify { .. }))
    );
    alice.send(&mut world, &line, "ACK", cseq, SDP_TYPE, SDP.as_bytes());
    assert!(
        world
            .media
            .iter()
            .any(|command| matches!(command, MediaCommand::Modify { .. }))
    );
}

#[test]
fn hold_and_resume_change_the_direction_and_nothing_else() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let mut line = alice.call(&mut world, "3000");
    let hold = format!("{SDP}a=sendonly\r\n");
    let response = alice.within(&mut world, &mut line, "INVITE", SDP_TYPE, hold.as_bytes());
    assert!(String::from_utf8_lossy(response.body_slice()).contains("a=recvonly"));
    alice.ack(&mut world, &line);
    let response = alice.within(&mut world, &mut line, "UPDATE", SDP_TYPE, SDP.as_bytes());
    assert!(String::from_utf8_lossy(response.body_slice()).contains("a=sendrecv"));
    let directions: Vec<bool> = world
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Modify { audio, .. } => Some(audio.direction.send),
            _ => None,
        })
        .collect();
    assert_eq!(directions, [true, false, true]);
}

#[test]
fn a_plugin_lets_in_changes_and_greets() {
    let mut world = World::with(|config| config.hooks.conference_policy = chain(OnFailure::Pass));
    let mut alice = Phone::new("alice", 1);
    let (line, response) = alice.invite(&mut world, "3000");
    assert!(response.is_none(), "the plugins are asked first");
    let (ticket, Ask::Join(ask)) = world.question() else {
        panic!("a question about a join")
    };
    assert_eq!(
        (ask.conference.name.as_str(), ask.user.as_deref()),
        ("Daily", Some("alice"))
    );
    assert_eq!(ask.display_name, "Alice");
    let admission = Admission {
        muted: Some(true),
        greeting: Some("Good day, Alice".into()),
        ..Admission::default()
    };
    world.answer(ticket, Verdict::Join(JoinVerdict::Admit(admission)));
    let mut line = line;
    line.learn(&alice.final_response(&mut world));
    assert!(
        world
            .media
            .iter()
            .any(|command| matches!(command, MediaCommand::Open { muted: true, .. }))
    );
    alice.has_nothing(&mut world);
    alice.ack(&mut world, &line);
    let greeting = alice.gets(&mut world, "MESSAGE", true);
    assert_eq!(greeting.body_slice(), b"Good day, Alice");
    assert!(
        greeting
            .header(Name::From)
            .unwrap()
            .starts_with("\"Daily\" <sip:3000@lab.test>")
    );
}

#[test]
fn a_plugin_refuses_with_its_code_and_its_reason() {
    let mut world = World::with(|config| config.hooks.conference_policy = chain(OnFailure::Pass));
    let mut alice = Phone::new("alice", 1);
    alice.invite(&mut world, "3000");
    let (ticket, _) = world.question();
    let refusal = JoinVerdict::Refuse {
        code: 480,
        reason: "Open from 8 to 18".into(),
    };
    world.answer(ticket, Verdict::Join(refusal));
    let response = alice.final_response(&mut world);
    assert_eq!((response.status(), response.reason()), (480, "Open from 8 to 18"));
    assert_eq!(world.engine.gauges().conferences, 0);
}

#[test]
fn a_plugin_that_is_too_slow_is_replaced_by_its_default_and_its_late_verdict_counted() {
    for (rule, status) in [(OnFailure::Pass, 200), (OnFailure::Refuse, 500)] {
        let mut world = World::with(|config| config.hooks.conference_policy = chain(rule));
        let mut alice = Phone::new("alice", 1);
        alice.invite(&mut world, "3000");
        let (ticket, _) = world.question();
        world.advance(Duration::from_millis(21));
        assert_eq!(alice.final_response(&mut world).status(), status);
        world.answer(ticket, Verdict::Join(JoinVerdict::Admit(Admission::default())));
        assert_eq!(world.engine.counts().stale_verdicts, 1);
        assert_eq!(world.engine.counts().hook_timeouts["conference-policy"], 1);
        let recorded = world.records.last().map(|record| (record.status, record.reason));
        assert_eq!(recorded, (status == 500).then_some((500, "plugin_failed")));
    }
}

#[test]
fn alice_hangs_up_while_the_plugins_think() {
    let mut world = World::with(|config| config.hooks.conference_policy = chain(OnFailure::Pass));
    let mut alice = Phone::new("alice", 1);
    let (line, _) = alice.invite(&mut world, "3000");
    let branch = "z9hG4bKalice2"; // the INVITE with the proof is her second request
    let cancel = format!(
        "CANCEL {} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch={branch}\r\nMax-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} CANCEL\r\nContent-Length: 0\r\n\r\n",
        line.target, line.own, line.theirs, line.call_id, line.cseq
    );
    // Her ACK of the challenge took a branch of its own in this phone's counting: find the right one.
    let cancel = (2..6)
        .map(|n| cancel.replace("alice2", &format!("alice{n}")))
        .find(|text| {
            world.receive(alice.flow, text, b"");
            alice.final_response(&mut world).status() == 200
        });
    assert!(cancel.is_some(), "the CANCEL found its INVITE");
    assert_eq!(alice.final_response(&mut world).status(), 487);
    let (ticket, _) = world.question();
    world.answer(ticket, Verdict::Join(JoinVerdict::Admit(Admission::default())));
    assert_eq!(world.engine.gauges().conferences, 0);
    assert!(world.media.is_empty());
}
