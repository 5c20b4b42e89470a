//! What a browser changes with offers of its own: media that it turns off and on, its way to the switch; and what
//! is turned off for it.

use cordboard_engine::io::ConferenceCommand;
use cordboard_engine::sdp::Session;
use cordboard_model::ParticipantId;
use cordboard_model::media::peer::VideoFlow;
use cordboard_model::media::{Codec, MediaCommand};

use crate::browser::{Browser, attribute, body, direction};
use crate::phone::Phone;
use crate::sfu::{command, legs, meeting, setup_of, subscriptions};
use crate::world::World;

/// An offer with the port of one kind of line at 0, out of the bundle.
fn without(offer: &str, kind: &str, mid: &str) -> String {
    let at = offer.find(&format!("m={kind}")).unwrap();
    let (head, rest) = offer.split_at(at);
    let port = rest.split(' ').nth(1).unwrap();
    let rest = rest.replacen(&format!("m={kind} {port}"), &format!("m={kind} 0"), 1);
    let bundle = head.lines().find(|line| line.starts_with("a=group")).unwrap();
    let head = head.replace(bundle, &bundle.replacen(&format!(" {mid}"), "", 1));
    format!("{head}{rest}")
}

/// Ports and directions of an answer.
fn ports(text: &str) -> Vec<u16> {
    let session = Session::parse(text).unwrap();
    session.media.iter().map(|media| media.port).collect()
}

#[test]
fn audio_that_is_turned_off_leaves_the_video_and_comes_back() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let legs = legs(&world);
    let source = setup_of(&world, legs[0]).audio.unwrap().ssrc;
    let [alice, bob] = &mut browsers[..] else { panic!() };
    let own = alice.own_offer();
    let text = body(&alice.offers(&mut world, &without(&own, "audio", "0")));
    assert_eq!(ports(&text), [0, 10_000, 10_000]);
    let session = Session::parse(&text).unwrap();
    assert_eq!(session.attribute("group"), Some("BUNDLE 1 video-2"));
    assert!(
        session.media[1].attribute("candidate").is_some(),
        "the first line that is used says how we are reached: {text}"
    );
    let setup = setup_of(&world, legs[0]);
    assert!(setup.audio.is_none() && matches!(setup.video[0].flow, VideoFlow::Publish { .. }));
    assert_eq!(
        subscriptions(&world, legs[0]),
        [legs[1]],
        "alice goes on to see bob"
    );
    alice.is_left_alone(&mut world);
    bob.is_left_alone(&mut world);

    // Somebody comes meanwhile: the line stays refused in our offers.
    let mut carol = Browser::new("carol", 3);
    carol.call(&mut world, "3000");
    let offer = alice.offered(&mut world);
    assert_eq!(ports(&body(&offer))[..2], [0, 10_000]);
    alice.answers(&mut world, &offer);
    assert_eq!(alice.sees().len(), 2);
    bob.looks(&mut world);
    carol.looks(&mut world);

    let own = alice.own_offer();
    let text = body(&alice.offers(&mut world, &own));
    assert_eq!(ports(&text), [10_000; 4]);
    let setup = setup_of(&world, legs[0]);
    let audio = setup.audio.unwrap();
    assert_eq!(
        (audio.format.codec, audio.ssrc),
        (Codec::Opus, source),
        "one source with one row of numbers"
    );
    assert_eq!(subscriptions(&world, legs[0]).len(), 2);
    for browser in [alice, bob, &mut carol] {
        browser.is_left_alone(&mut world);
    }
}

#[test]
fn everything_may_be_turned_off_and_on_again() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let leg = legs(&world)[0];
    let [alice, bob] = &mut browsers[..] else { panic!() };
    let own = alice.own_offer();
    let nothing = without(&without(&own, "audio", "0"), "video", "1");
    let nothing = without(&nothing.replace("m=video 9 ", "m=video 0 "), "video", "video-2");
    let text = body(&alice.offers(&mut world, &nothing));
    assert_eq!(ports(&text), [0; 3]);
    assert!(bob.looks(&mut world).is_empty());
    let before = setup_of(&world, leg);
    assert!(before.audio.is_none() && before.video.is_empty());
    let text = body(&alice.offers(&mut world, &own));
    assert_eq!(ports(&text), [10_000; 3]);
    assert_eq!(bob.looks(&mut world).len(), 1);
    let setup = setup_of(&world, leg);
    assert_eq!(
        (setup.ice, setup.local),
        (before.ice, before.local),
        "the way is the same"
    );
}

#[test]
fn a_browser_with_a_camera_alone_sees_and_is_seen() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice"]);
    let mut bob = Browser::new("bob", 2);
    bob.phone.sdp = without(bob.phone.sdp, "audio", "0").leak();
    let text = body(&bob.call(&mut world, "3000"));
    assert_eq!(ports(&text), [0, 10_000]);
    assert_eq!(browsers[0].looks(&mut world).len(), 1);
    assert_eq!(bob.looks(&mut world).len(), 1);
    assert!(setup_of(&world, legs(&world)[1]).audio.is_none());
}

#[test]
fn where_there_is_no_video_a_call_without_audio_is_refused_before_anybody_is_disturbed() {
    let mut world = World::with(|config| config.conferences[0].video = false);
    let mut phone = Phone::new("bob", 2);
    phone.register(&mut world, 600);
    for number in ["3000", "bob"] {
        let mut alice = Browser::new("alice", 1);
        alice.phone.sdp = without(alice.phone.sdp, "audio", "0").leak();
        let (_, response) = alice.phone.invite(&mut world, number);
        assert_eq!(response.unwrap().status(), 488, "{number}");
        phone.has_nothing(&mut world);
    }
}

/// An offer with other credentials.
fn restarted(offer: &str) -> String {
    offer
        .replace("a=ice-ufrag:uf", "a=ice-ufrag:again")
        .replace("q2pMju6HMvlNbnr/S1pqadq3", "aaaaaaaaaaaaaaaaaaaaaaaa")
}

#[test]
fn an_ice_restart_is_answered_with_credentials_of_ours_that_are_new_and_stay() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let leg = legs(&world)[0];
    let before = setup_of(&world, leg);
    let alice = &mut browsers[0];
    let own = alice.own_offer();
    let text = body(&alice.offers(&mut world, &restarted(&own)));
    let session = Session::parse(&text).unwrap();
    let said = |name| {
        let all: Vec<&str> = session.media.iter().map(|media| attribute(media, name)).collect();
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        all[0].to_owned()
    };
    let after = setup_of(&world, leg);
    assert_eq!(after.ice.ufrag, "againalice");
    assert!(after.local.ufrag != before.local.ufrag && after.local.pwd != before.local.pwd);
    assert_eq!(
        (said("ice-ufrag"), said("ice-pwd")),
        (after.local.ufrag.clone(), after.local.pwd.to_string())
    );
    assert!(after.local.ufrag.len() >= 4 && after.local.pwd.len() >= 22);
    assert_eq!(
        said("setup"),
        "active",
        "the association stays, and so do the roles"
    );
    assert_eq!(
        (after.dtls_client, &after.video, &after.audio),
        (before.dtls_client, &before.video, &before.audio)
    );
    // The same again is no restart, and our own offers say what holds.
    let text = body(&alice.offers(&mut world, &restarted(&own)));
    assert!(text.contains(&format!("a=ice-ufrag:{}\r\n", after.local.ufrag)));
    browsers[1].hangs_up(&mut world);
    let offer = browsers[0].offered(&mut world);
    assert!(body(&offer).contains(&format!("a=ice-pwd:{}\r\n", *after.local.pwd)));
}

#[test]
fn another_certificate_inside_a_call_is_refused_and_what_was_agreed_holds() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let leg = legs(&world)[0];
    let before = setup_of(&world, leg);
    let alice = &mut browsers[0];
    let own = restarted(&alice.own_offer());
    let own: Vec<String> = own
        .lines()
        .map(|line| match line.strip_prefix("a=fingerprint") {
            Some(_) => format!("a=fingerprint:sha-256 {}\r\n", ["11"; 32].join(":")),
            None => format!("{line}\r\n"),
        })
        .collect();
    assert_eq!(alice.tries(&mut world, &own.concat()).status(), 488);
    assert_eq!(setup_of(&world, leg), before);
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn who_comes_in_muted_is_seen_and_not_heard() {
    let mut world = World::with(|config| config.conferences[0].member.join_muted = true);
    let mut alice = Browser::new("alice", 1);
    alice.call(&mut world, "3000");
    let opened = world.media.iter().any(|command| {
        matches!(
            command,
            MediaCommand::Peer(cordboard_model::media::peer::PeerCommand::Open { muted: true, .. })
        )
    });
    assert!(opened);
    assert!(shows(&world, 0));
}

/// Whether others are sent the video of this leg.
fn shows(world: &World, at: usize) -> bool {
    let flow = setup_of(world, legs(world)[at]).video.remove(0).flow;
    matches!(flow, VideoFlow::Publish { muted: false, .. })
}

#[test]
fn microphone_and_camera_are_turned_off_by_the_switch_each_for_itself() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let participant = ParticipantId(legs(&world)[1].0);
    for off in [true, false] {
        command(
            &mut world,
            ConferenceCommand::Mute {
                participant,
                muted: off,
            },
        );
        assert!(
            matches!(world.media.last(), Some(MediaCommand::Gate { muted, .. }) if *muted == off),
            "{:?}",
            world.media.last()
        );
        assert_eq!(shows(&world, 1), off, "the camera is another matter");
        let before = world.media.len();
        command(
            &mut world,
            ConferenceCommand::Hide {
                participant,
                hidden: off,
            },
        );
        assert_eq!(shows(&world, 1), !off);
        let gates = world.media[before..]
            .iter()
            .filter(|command| matches!(command, MediaCommand::Gate { .. }));
        assert_eq!(gates.count(), 0, "and so is the microphone");
    }
    // Nobody is asked for a new description.
    for browser in &mut browsers {
        browser.is_left_alone(&mut world);
    }
    let bob = setup_of(&world, legs(&world)[1]);
    assert!(bob.audio.is_some_and(|audio| audio.direction.receive));
}

#[test]
fn held_lines_of_a_browser_carry_nothing_and_stay() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let alice = &mut browsers[0];
    let own = alice.own_offer();
    let answer = alice.offers(&mut world, &own.replace("a=recvonly", "a=inactive"));
    let text = body(&answer);
    let session = Session::parse(&text).unwrap();
    assert_eq!(direction(&session.media[2]), "inactive");
    assert!(subscriptions(&world, legs(&world)[0]).is_empty());
    alice.offers(&mut world, &own);
    assert_eq!(subscriptions(&world, legs(&world)[0]).len(), 1);
}

#[test]
fn an_answer_groups_no_lines_and_shares_no_port_where_that_is_not_offered() {
    let mut world = World::new();
    let mut alice = Browser::new("alice", 1);
    alice.phone.sdp = alice.phone.sdp.replace("a=rtcp-mux\r\n", "").leak();
    let (_, response) = alice.phone.invite(&mut world, "3000");
    assert_eq!(response.unwrap().status(), 488, "there is no port for its RTCP");

    let mut bob = Browser::new("bob", 2);
    bob.phone.sdp = bob.phone.sdp.replace("a=group:BUNDLE 0 1\r\n", "").leak();
    let text = body(&bob.call(&mut world, "3000"));
    assert_eq!(ports(&text), [10_000, 0], "there is one transport: {text}");
    assert!(!text.contains("a=group") && text.contains("a=rtcp-mux"), "{text}");
    let mut carol = Browser::new("carol", 3);
    carol.call(&mut world, "3000");
    bob.is_left_alone(&mut world);
    carol.is_left_alone(&mut world);
    let setup = setup_of(&world, legs(&world)[0]);
    assert!(setup.audio.is_some() && setup.video.is_empty());
}

#[test]
fn a_browser_that_names_another_profile_sees_and_is_seen() {
    for profile in ["UDP/TLS/RTP/SAVP", "RTP/SAVPF"] {
        let mut world = World::new();
        let mut browsers = meeting(&mut world, &["alice"]);
        let mut bob = Browser::new("bob", 2);
        bob.phone.sdp = bob.phone.sdp.replace("UDP/TLS/RTP/SAVPF", profile).leak();
        let text = body(&bob.call(&mut world, "3000"));
        assert_eq!(ports(&text), [10_000; 2], "{profile}");
        assert_eq!(browsers[0].looks(&mut world).len(), 1);
        assert_eq!(bob.looks(&mut world).len(), 1);
    }
}

#[test]
fn a_line_keeps_its_name_until_it_is_turned_off() {
    let mut world = World::new();
    let mut browsers = meeting(&mut world, &["alice", "bob"]);
    let leg = legs(&world)[0];
    let before = setup_of(&world, leg);
    let alice = &mut browsers[0];
    let own = alice.own_offer();
    let swapped = own
        .replace("a=mid:0", "a=mid:x")
        .replace("a=mid:1", "a=mid:0")
        .replace("a=mid:x", "a=mid:1");
    let renamed = own
        .replace("a=mid:0", "a=mid:5")
        .replace("BUNDLE 0 ", "BUNDLE 5 ");
    for offer in [renamed, swapped, own.replace("a=mid:1\r\n", "")] {
        assert_eq!(alice.tries(&mut world, &offer).status(), 488, "{offer}");
        alice.phone.ack(&mut world, &alice.line);
        assert_eq!(setup_of(&world, leg), before, "what was agreed holds");
    }
    // The line is free for another camera once it was turned off.
    let off = without(&own, "video", "1");
    assert_eq!(ports(&body(&alice.offers(&mut world, &off))), [10_000, 0, 10_000]);
    alice.mids[1] = "7".into();
    let again = own
        .replace("a=mid:1", "a=mid:7")
        .replace("BUNDLE 0 1", "BUNDLE 0 7");
    assert_eq!(ports(&body(&alice.offers(&mut world, &again))), [10_000; 3]);
    assert_eq!(setup_of(&world, leg).video[0].mid, "7");
}
