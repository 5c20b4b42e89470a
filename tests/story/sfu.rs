//! Browsers in a conference: everybody sees everybody else.

use std::time::Duration;

use cordboard_engine::io::{ConferenceCommand, Input};
use cordboard_engine::sdp::Session;
use cordboard_engine::sip::name::Name;
use cordboard_model::media::peer::{PeerCommand, PeerEvent, PeerLoss, PeerSetup, VideoCodec, VideoFlow};
use cordboard_model::media::{Codec, Direction, MediaCommand, MediaEvent};
use cordboard_model::{ConferenceId, LegId, ParticipantId};

use crate::browser::{Browser, attribute, audio_offer_of, body, direction};
use crate::phone::{Phone, SDP_TYPE};
use crate::world::World;

/// The legs of peers, in the order in which they were opened.
pub(crate) fn legs(world: &World) -> Vec<LegId> {
    let opened = world.media.iter().filter_map(|command| match command {
        MediaCommand::Peer(PeerCommand::Open { leg, .. }) => Some(*leg),
        _ => None,
    });
    opened.collect()
}

/// What the shard was told last of a leg.
pub(crate) fn setup_of(world: &World, leg: LegId) -> PeerSetup {
    let told = world.media.iter().rev().find_map(|command| match command {
        MediaCommand::Peer(PeerCommand::Describe { leg: other, setup }) if *other == leg => {
            Some((**setup).clone())
        }
        _ => None,
    });
    told.expect("the leg was described")
}

/// Whose videos a leg is sent.
pub(crate) fn subscriptions(world: &World, leg: LegId) -> Vec<LegId> {
    let lines = setup_of(world, leg).video;
    let sources = lines.into_iter().filter_map(|line| match line.flow {
        VideoFlow::Subscribe { source, .. } => Some(source.leg),
        _ => None,
    });
    sources.collect()
}

/// Browsers by these names, one after the other, each seeing the others.
pub(crate) fn meeting(world: &mut World, names: &[&'static str]) -> Vec<Browser> {
    let mut all: Vec<Browser> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let mut newcomer = Browser::new(name, u8::try_from(place + 1).unwrap());
        newcomer.call(world, "3000");
        for other in &mut all {
            assert_eq!(other.looks(world).len(), place, "{name} is seen");
        }
        if place > 0 {
            assert_eq!(newcomer.looks(world).len(), place);
        }
        all.push(newcomer);
        for browser in &mut all {
            browser.is_left_alone(world);
        }
    }
    all
}

#[test]
fn the_first_answer_is_what_a_browser_needs() {
    let mut world = World::new();
    let mut alice = Browser::new("alice", 1);
    let response = alice.call(&mut world, "3000");
    let text = body(&response);
    let session = Session::parse(&text).unwrap();
    let [audio, video] = &session.media[..] else {
        panic!("as many lines as in the offer: {text}")
    };
    assert_eq!(session.attribute("group"), Some("BUNDLE 0 1"));
    assert_eq!((direction(audio), direction(video)), ("sendrecv", "recvonly"));
    assert_eq!(audio.port, 10000);
    assert_eq!(audio.formats[0], "111", "Opus first");
    assert!(
        audio.formats.contains(&"126") || audio.formats.contains(&"110"),
        "telephone events"
    );
    assert_eq!(attribute(audio, "setup"), "active");
    assert!(
        audio
            .attributes
            .iter()
            .any(|a| a.name == "candidate" && a.value == "1 1 udp 2130706431 192.0.2.1 10000 typ host")
    );
    assert!(
        audio
            .attributes
            .iter()
            .any(|a| a.name == "candidate" && a.value.ends_with("typ host tcptype passive"))
    );
    assert_eq!(
        &video.formats[..4],
        ["96", "97", "108", "109"],
        "VP8, then constrained baseline, with rtx"
    );
    assert_eq!(video.fmtp("97"), Some("apt=96"));
    let feedback: Vec<&str> = video
        .attributes
        .iter()
        .filter(|a| a.name == "rtcp-fb")
        .map(|a| a.value)
        .collect();
    for wanted in ["96 nack", "96 nack pli", "96 ccm fir", "96 transport-cc"] {
        assert!(feedback.contains(&wanted), "{wanted}: {feedback:?}");
    }
    let extensions: Vec<&str> = video
        .attributes
        .iter()
        .filter(|a| a.name == "extmap")
        .map(|a| a.value)
        .collect();
    assert!(
        extensions.contains(&"4 urn:ietf:params:rtp-hdrext:sdes:mid"),
        "{extensions:?}"
    );
    assert_eq!(response.header(Name::SessionExpires), Some("90;refresher=uac"));
    assert_eq!(response.header(Name::Require), Some("timer"));

    let setup = setup_of(&world, legs(&world)[0]);
    assert_eq!((setup.ice.ufrag.as_str(), setup.dtls_client), ("ufalice", true));
    let line = setup.audio.unwrap();
    assert_eq!(
        (line.format.codec, line.direction),
        (Codec::Opus, Direction::BOTH)
    );
    assert_eq!((line.mid.as_str(), line.extensions.audio_level), ("0", Some(1)));
    let camera = &setup.video[0];
    assert_eq!(
        (camera.formats[0].codec, camera.formats[0].rtx),
        (VideoCodec::Vp8, Some(97))
    );
    let VideoFlow::Publish { ssrcs, muted: false } = &camera.flow else {
        panic!("{:?}", camera.flow)
    };
    assert!(ssrcs[0].1.is_some() && ssrcs.len() == 1);
    alice.is_left_alone(&mut world);
}

#[test]
fn each_newcomer_is_shown_to_all_and_all_to_the_newcomer_by_one_offer_each() {
    let mut world = World::new();
    let browsers = meeting(&mut world, &["alice", "bob", "carol"]);
    let legs = legs(&world);
    for (place, browser) in browsers.iter().enumerate() {
        assert_eq!(browser.mids.len(), 4, "audio, the own camera, two others");
        assert_eq!(browser.mids[2..], ["video-2", "video-3"]);
        let others: Vec<LegId> = legs.iter().copied().filter(|leg| *leg != legs[place]).collect();
        assert_eq!(subscriptions(&world, legs[place]), others);
    }
    // The label is the same to everybody, stream and track are not.
    let views = |place: usize| browsers[place].views.values().cloned().collect::<Vec<_>>();
    let (of_alice, of_bob) = (views(0), views(1));
    let carol = of_alice
        .iter()
        .find(|view| of_bob.iter().any(|other| other.label == view.label))
        .unwrap();
    let same = of_bob.iter().find(|view| view.label == carol.label).unwrap();
    assert!(carol.stream != same.stream && carol.track != same.track && carol.ssrc != same.ssrc);
}

#[test]
fn nothing_is_shown_before_the_newcomers_ack() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let mut bob = Browser::new("bob", 2);
    bob.invite(&mut world, "3000");
    browsers[0].is_left_alone(&mut world);
    bob.phone.ack(&mut world, &bob.line);
    assert_eq!(browsers[0].looks(&mut world).len(), 1);
}

#[test]
fn who_leaves_is_inactive_with_a_port_and_the_next_one_gets_the_line() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob", "carol"]);
    let before = browsers[0].views["video-2"].clone();
    browsers[1].hangs_up(&mut world);
    let mut bob = browsers.remove(1);
    for browser in &mut browsers {
        let offer = browser.offered(&mut world);
        let text = body(&offer);
        let session = Session::parse(&text).unwrap();
        let line = session
            .media
            .iter()
            .find(|media| direction(media) == "inactive")
            .expect("bob's line");
        assert!(line.port != 0 && line.attribute("label").is_none(), "{text}");
        browser.answers(&mut world, &offer);
        assert_eq!(browser.sees().len(), 1);
    }
    bob.is_left_alone(&mut world);
    let mut frank = Browser::new("frank", 9);
    frank.call(&mut world, "3000");
    for browser in &mut browsers {
        assert_eq!(browser.looks(&mut world).len(), 2);
        assert_eq!(browser.mids.len(), 4, "the line is used again");
    }
    assert_eq!(frank.looks(&mut world).len(), 2);
    let after = &browsers[0].views["video-2"];
    assert!(after.stream != before.stream && after.track != before.track && after.ssrc != before.ssrc);
    assert_ne!(after.label, before.label);
}

#[test]
fn what_changes_while_an_answer_is_awaited_comes_in_one_offer() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    let open = browsers[0].offered(&mut world);
    // Three more come while alice thinks about bob, and calls of others go on undisturbed.
    let mut others: Vec<Browser> = Vec::new();
    assert_eq!(bob.looks(&mut world).len(), 1);
    for (name, host) in [("carol", 3), ("frank", 4), ("grace", 5)] {
        let mut browser = Browser::new(name, host);
        browser.call(&mut world, "3000");
        assert_eq!(bob.looks(&mut world).len(), others.len() + 2);
        assert_eq!(browser.looks(&mut world).len(), others.len() + 2);
        for other in &mut others {
            other.looks(&mut world);
        }
        others.push(browser);
    }
    browsers[0].is_left_alone(&mut world);
    world.advance(Duration::from_secs(6));
    browsers[0].phone.inbox.clear();
    browsers[0].answers(&mut world, &open);
    assert_eq!(browsers[0].looks(&mut world).len(), 4, "all three in one offer");
    browsers[0].is_left_alone(&mut world);
}

#[test]
fn who_came_and_went_while_an_answer_was_awaited_is_not_offered_at_all() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    let open = browsers[0].offered(&mut world);
    let mut carol = Browser::new("carol", 3);
    carol.call(&mut world, "3000");
    carol.hangs_up(&mut world);
    browsers[0].answers(&mut world, &open);
    browsers[0].is_left_alone(&mut world);
    assert_eq!(browsers[0].sees().len(), 1);
}

#[test]
fn an_invite_of_the_browser_in_our_offer_is_491_and_its_own_comes_first_otherwise() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let alice = &mut browsers[0];
    let own = alice.phone.sdp.to_owned();
    // Its own INVITE is answered and waits for its ACK: ours waits too.
    assert_eq!(alice.tries(&mut world, &own).status(), 200);
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    alice.is_left_alone(&mut world);
    alice.phone.ack(&mut world, &alice.line);
    let open = alice.offered(&mut world);
    // Now ours is open.
    assert_eq!(alice.tries(&mut world, &own).status(), 491);
    alice.answers(&mut world, &open);
    assert_eq!(alice.sees().len(), 1);
}

#[test]
fn a_refused_offer_is_made_again_and_never_ends_the_call() {
    for status in [403, 491, 500] {
        let mut world = World::new();
        let mut browsers = meeting(&mut world, &["alice"]);
        let mut bob = Browser::new("bob", 2);
        bob.call(&mut world, "3000");
        let offer = browsers[0].offered(&mut world);
        let mids = std::mem::take(&mut browsers[0].mids);
        browsers[0].phone.respond(&mut world, &offer, status, "", "");
        browsers[0].phone.gets(&mut world, "ACK", false);
        world.advance(Duration::from_secs(4));
        assert_eq!(browsers[0].looks(&mut world).len(), 1, "{status}");
        assert_eq!(browsers[0].mids, mids);
        assert_eq!(world.engine.gauges().dialogs, 2);
    }
}

#[test]
fn a_browser_that_refuses_video_keeps_audio_and_is_asked_no_more() {
    let mut world = World::new();
    let mut alice = Browser::new("alice", 1);
    alice.blind = true;
    alice.call(&mut world, "3000");
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    alice.looks(&mut world);
    assert_eq!(bob.looks(&mut world).len(), 1, "alice still shows herself");
    let mut carol = Browser::new("carol", 3);
    carol.call(&mut world, "3000");
    alice.is_left_alone(&mut world);
    let setup = setup_of(&world, legs(&world)[0]);
    assert!(
        setup
            .audio
            .is_some_and(|audio| audio.direction == Direction::BOTH)
    );
    assert_eq!(setup.video.len(), 1, "the own camera alone");
}

#[test]
fn a_browser_without_video_hears_and_is_heard() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let mut bob = Browser::new("bob", 2);
    bob.phone.sdp = audio_offer_of("bob").leak();
    bob.call(&mut world, "3000");
    browsers[0].is_left_alone(&mut world);
    bob.is_left_alone(&mut world);
    assert_eq!(bob.mids, ["0"]);
    assert!(setup_of(&world, legs(&world)[1]).video.is_empty());
}

#[test]
fn phones_get_no_video_and_change_nothing_for_browsers() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let mut carol = Phone::new("carol", 3);
    let mut line = carol.call(&mut world, "3000");
    carol.has_nothing(&mut world);
    for browser in &mut browsers {
        browser.is_left_alone(&mut world);
    }
    assert_eq!(carol.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
    for browser in &mut browsers {
        browser.is_left_alone(&mut world);
    }
}

#[test]
fn a_conference_without_video_refuses_it_and_keeps_the_audio() {
    let mut world = World::with(|config| config.conferences[0].video = false);
    let (mut alice, mut bob) = (Browser::new("alice", 1), Browser::new("bob", 2));
    let text = body(&alice.call(&mut world, "3000"));
    let session = Session::parse(&text).unwrap();
    assert_eq!((session.media[0].port, session.media[1].port), (10000, 0));
    bob.call(&mut world, "3000");
    alice.is_left_alone(&mut world);
    bob.is_left_alone(&mut world);
}

#[test]
fn messages_wait_for_the_ack_of_an_offer_and_keep_their_own_type() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let mut carol = Browser::new("carol", 3);
    carol.call(&mut world, "3000");
    let open = browsers[0].offered(&mut world);
    let kind = "Content-Type: application/x-myphone-confbridge-chat+json\r\n";
    let bob = &mut browsers[1];
    let answer = bob
        .phone
        .within(&mut world, &mut bob.line, "MESSAGE", kind, b"{\"x\":1}");
    assert_eq!(answer.status(), 202);
    let alice = &mut browsers[0];
    alice.is_left_alone(&mut world);
    alice.answers(&mut world, &open);
    let message = alice.phone.gets(&mut world, "MESSAGE", true);
    assert_eq!(message.body_slice(), b"{\"x\":1}");
    assert_eq!(
        message.header(Name::ContentType),
        Some("application/x-myphone-confbridge-chat+json")
    );
    alice.is_left_alone(&mut world);
}

#[test]
fn a_page_that_knows_no_messages_keeps_its_call() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let bob = &mut browsers[1];
    let kind = "Content-Type: text/plain\r\n";
    assert_eq!(
        bob.phone
            .within(&mut world, &mut bob.line, "MESSAGE", kind, b"hi")
            .status(),
        202
    );
    let alice = &mut browsers[0];
    let message = alice.phone.gets(&mut world, "MESSAGE", false);
    alice.phone.respond(&mut world, &message, 405, "", "");
    world.advance(Duration::from_secs(60));
    alice.is_left_alone(&mut world);
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn the_session_is_refreshed_by_an_empty_update_also_while_our_offer_is_open() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    let open = browsers[0].offered(&mut world);
    let alice = &mut browsers[0];
    let headers = "Session-Expires: 90;refresher=uac\r\nSupported: timer\r\n";
    let answer = alice
        .phone
        .within(&mut world, &mut alice.line, "UPDATE", headers, b"");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header(Name::SessionExpires), Some("90;refresher=uac"));
    alice.answers(&mut world, &open);
    alice.is_left_alone(&mut world);
}

#[test]
fn a_peer_that_is_lost_is_hung_up_on_with_the_reason_and_seen_no_more() {
    for loss in [
        PeerLoss::Consent,
        PeerLoss::Fingerprint,
        PeerLoss::Handshake,
        PeerLoss::Closed,
    ] {
        let mut world = World::new();
        let mut browsers = meeting(&mut world, &["alice", "bob"]);
        let leg = legs(&world)[1];
        world.handle(Input::Media(MediaEvent::Peer(PeerEvent::Lost {
            leg,
            reason: loss,
        })));
        let bye = browsers[1].phone.gets(&mut world, "BYE", true);
        assert!(
            bye.header(Name::Reason).unwrap().starts_with("SIP;cause="),
            "{loss:?}"
        );
        assert!(browsers[0].looks(&mut world).is_empty());
        assert_eq!(world.engine.gauges().dialogs, 1);
        world.handle(Input::Media(MediaEvent::Peer(PeerEvent::Lost {
            leg,
            reason: loss,
        })));
    }
}

#[test]
fn a_camera_that_is_turned_off_and_on_goes_and_comes_for_the_others() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let [alice, bob] = &mut browsers[..] else { panic!() };
    for (camera, seen) in [("recvonly", 0), ("sendrecv", 1)] {
        let own = bob.own_offer();
        let (audio, rest) = own.split_at(own.find("m=video").unwrap());
        let answer = bob.offers(
            &mut world,
            &format!("{audio}{}", rest.replacen("sendrecv", camera, 1)),
        );
        let text = body(&answer);
        let session = Session::parse(&text).unwrap();
        assert_eq!(
            direction(&session.media[1]),
            if seen == 1 { "recvonly" } else { "inactive" }
        );
        assert_eq!(
            direction(&session.media[2]),
            "sendonly",
            "bob goes on to see alice"
        );
        bob.is_left_alone(&mut world);
        assert_eq!(alice.looks(&mut world).len(), seen, "{camera}");
    }
}

pub(crate) fn command(world: &mut World, command: ConferenceCommand) {
    let id = ConferenceId(0xc0);
    world.handle(Input::Conference { id, command });
}

#[test]
fn who_is_put_out_while_thinking_about_an_offer_hears_bye_after_the_ack() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    let open = browsers[0].offered(&mut world);
    assert_eq!(bob.looks(&mut world).len(), 1);
    let participant = ParticipantId(legs(&world)[0].0);
    command(&mut world, ConferenceCommand::Kick { participant });
    browsers[0].is_left_alone(&mut world);
    browsers[0].answers(&mut world, &open);
    browsers[0].phone.gets(&mut world, "BYE", true);
    assert!(bob.looks(&mut world).is_empty());
}

#[test]
fn the_end_of_a_conference_is_one_bye_for_each_and_no_offer() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob", "carol"]);
    command(&mut world, ConferenceCommand::End);
    for browser in &mut browsers {
        browser.phone.gets(&mut world, "BYE", true);
        browser.is_left_alone(&mut world);
    }
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn a_browser_that_brings_no_offer_gets_ours_and_answers_in_the_ack() {
    let mut world = World::new();
    let mut alice = Browser::new("alice", 1);
    let uri = "sip:3000@lab.test";
    let headers = format!("Contact: {}\r\n", alice.phone.contact());
    let (cseq, response) = alice
        .phone
        .request_in(&mut world, "late", 1, "INVITE", uri, &headers, b"");
    assert_eq!(response.status(), 200);
    let text = body(&response);
    let session = Session::parse(&text).unwrap();
    let directions: Vec<&str> = session.media.iter().map(direction).collect();
    assert_eq!(directions, ["sendrecv", "recvonly"], "{text}");
    alice.line.call_id = "late".into();
    alice.line.own = "<sip:alice@lab.test>;tag=alice1".into();
    alice.line.cseq = cseq;
    alice.line.learn(&response);
    let answer = alice.answer_to(&text);
    alice
        .phone
        .send(&mut world, &alice.line, "ACK", cseq, SDP_TYPE, answer.as_bytes());
    let setup = setup_of(&world, legs(&world)[0]);
    assert!(setup.audio.is_some() && matches!(setup.video[0].flow, VideoFlow::Publish { .. }));
    alice.mids = vec!["0".into(), "1".into()];
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    assert_eq!(alice.looks(&mut world).len(), 1);
    assert_eq!(bob.looks(&mut world).len(), 1);
}

#[test]
fn requests_inside_a_call_name_the_contact_that_the_browser_gave() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    let offer = browsers[0].offered(&mut world);
    assert_eq!(offer.request_uri(), "sip:alice1@alice.invalid;transport=ws");
    assert!(offer.header(Name::Contact).unwrap().contains("sip:3000@"));
    assert_eq!(offer.header(Name::SessionExpires), Some("90;refresher=uas"));
}
