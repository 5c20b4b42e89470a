//! What is agreed about audio: codecs, hold, re-offers, audio turned off, delayed offers, keys.

use cordboard_engine::io::Transport;
use cordboard_engine::sip::message::Message;
use cordboard_model::media::{AudioSetup, Codec, Control, Direction, MediaCommand, SrtpSuite};

use crate::bridge::up_with;
use crate::phone::{Line, Phone, SDP_TYPE};
use crate::world::{REALM, World};

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n";
const ALL: &str = "m=audio 4000 RTP/AVP 96 9 0 8 13 101 102\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=rtpmap:102 telephone-event/48000\r\n";

/// Calls 3000 with this offer (none, if empty); gives the final response.
fn call(world: &mut World, alice: &mut Phone, media: &str) -> (Line, Message) {
    let uri = format!("sip:3000@{REALM}");
    let body = if media.is_empty() {
        String::new()
    } else {
        format!("{HEAD}{media}")
    };
    let mut headers = format!("Contact: {}\r\n", alice.contact());
    if !body.is_empty() {
        headers += "Content-Type: application/sdp\r\n";
    }
    let call_id = format!("audio-{}", alice.name);
    let (cseq, response) = alice.request_in(world, &call_id, 1, "INVITE", &uri, &headers, body.as_bytes());
    let mut line = Line {
        call_id,
        own: format!("<sip:{}@{REALM}>;tag={}1", alice.name, alice.name),
        theirs: format!("<{uri}>"),
        target: uri,
        cseq,
    };
    if response.status() == 200 {
        line.learn(&response);
    }
    (line, response)
}

fn reinvite(world: &mut World, alice: &mut Phone, line: &mut Line, media: &str) -> Message {
    let body = format!("{HEAD}{media}");
    let response = alice.within(world, line, "INVITE", SDP_TYPE, body.as_bytes());
    if response.status() == 200 {
        alice.ack(world, line);
    }
    response
}

fn sdp(message: &Message) -> String {
    String::from_utf8(message.body_slice().to_vec()).unwrap()
}

/// What the media shard was told last.
fn audio(world: &World) -> &AudioSetup {
    let mut commands = world.media.iter().rev();
    let last = commands.find_map(|command| match command {
        MediaCommand::Modify { audio, .. } => Some(audio),
        _ => None,
    });
    last.expect("the leg's audio is set")
}

#[test]
fn the_media_is_told_where_the_signalling_comes_from() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (mut line, _) = call(&mut world, &mut alice, ALL);
    alice.ack(&mut world, &line);
    assert_eq!(audio(&world).signaller, Some(alice.flow.peer.ip()));
    // The phone goes on from another network.
    alice.flow.peer = "203.0.113.77:5060".parse().unwrap();
    reinvite(&mut world, &mut alice, &mut line, ALL);
    assert_eq!(audio(&world).signaller, Some(alice.flow.peer.ip()));
}

#[test]
fn the_callers_first_codec_that_we_know_is_spoken() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (line, answer) = call(&mut world, &mut alice, ALL);
    alice.ack(&mut world, &line);
    assert!(
        sdp(&answer).contains("m=audio 20002 RTP/AVP 96 9 0 8 13 101 102\r\n"),
        "{}",
        sdp(&answer)
    );
    let format = &audio(&world).format;
    assert_eq!((format.codec, format.payload_type), (Codec::Opus, 96));
    assert_eq!(format.events, [(101, 8000), (102, 48_000)]);
    assert_eq!(format.comfort_noise, Some(13));
}

#[test]
fn the_configuration_says_which_codecs_there_are() {
    let mut world = World::with(|config| config.codecs = vec![Codec::Pcma, Codec::G722]);
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let (line, _) = call(&mut world, &mut alice, ALL);
    alice.ack(&mut world, &line);
    assert_eq!(
        audio(&world).format.codec,
        Codec::G722,
        "the caller's order, our list"
    );
    // A call without an offer gets ours, in our order.
    let (line, answer) = call(&mut world, &mut bob, "");
    assert!(sdp(&answer).contains("RTP/AVP 8 9 101\r\n"), "{}", sdp(&answer));
    let body = format!("{HEAD}m=audio 4000 RTP/AVP 9\r\n");
    bob.send(&mut world, &line, "ACK", line.cseq, SDP_TYPE, body.as_bytes());
    assert_eq!(audio(&world).format.codec, Codec::G722);
    let (_, refused) = call(
        &mut world,
        &mut Phone::new("carol", 3),
        "m=audio 4000 RTP/AVP 0\r\n",
    );
    assert_eq!(refused.status(), 488);
}

#[test]
fn hold_and_resume_both_ways_of_saying_it() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (mut line, _) = call(&mut world, &mut alice, ALL);
    alice.ack(&mut world, &line);
    let music = Direction {
        send: false,
        receive: true,
    };
    for (lines, direction, name) in [
        ("a=sendonly\r\n", music, "recvonly"),
        ("a=sendrecv\r\n", Direction::BOTH, "sendrecv"),
        ("a=inactive\r\n", Direction::NONE, "inactive"),
        ("", Direction::BOTH, "sendrecv"),
        ("c=IN IP4 0.0.0.0\r\n", music, "recvonly"),
        ("", Direction::BOTH, "sendrecv"),
    ] {
        let answer = reinvite(&mut world, &mut alice, &mut line, &format!("{ALL}{lines}"));
        assert_eq!(answer.status(), 200);
        assert!(sdp(&answer).contains(&format!("a={name}\r\n")), "{lines}");
        assert_eq!(audio(&world).direction, direction, "{lines}");
        assert_eq!(audio(&world).format.codec, Codec::Opus);
    }
}

#[test]
fn another_codec_port_and_packet_length_in_a_later_offer() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (mut line, _) = call(&mut world, &mut alice, ALL);
    alice.ack(&mut world, &line);
    let answer = reinvite(
        &mut world,
        &mut alice,
        &mut line,
        "m=audio 4400 RTP/AVP 8\r\na=ptime:40\r\n",
    );
    assert_eq!(answer.status(), 200);
    let now = audio(&world);
    assert_eq!(
        (now.format.codec, now.format.packet_ms, now.remote.port()),
        (Codec::Pcma, 40, 4400)
    );
    // An offer that cannot be taken leaves everything as it was.
    let before = now.clone();
    let refused = reinvite(&mut world, &mut alice, &mut line, "m=audio 4500 RTP/AVP 3\r\n");
    assert_eq!(refused.status(), 488);
    assert_eq!(*audio(&world), before);
    alice.ack(&mut world, &line);
    assert_eq!(alice.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
}

#[test]
fn audio_turned_off_and_on_again_keeps_the_call() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (_, refused) = call(&mut world, &mut Phone::new("bob", 2), "m=audio 0 RTP/AVP 0\r\n");
    assert_eq!(refused.status(), 488, "not to begin with");
    let (mut line, _) = call(&mut world, &mut alice, ALL);
    alice.ack(&mut world, &line);
    let answer = reinvite(&mut world, &mut alice, &mut line, "m=audio 0 RTP/AVP 0\r\n");
    assert_eq!(answer.status(), 200);
    assert!(sdp(&answer).contains("m=audio 0 RTP/AVP 0\r\n"));
    assert_eq!(audio(&world).direction, Direction::NONE);
    reinvite(&mut world, &mut alice, &mut line, ALL);
    assert_eq!(audio(&world).direction, Direction::BOTH);
    assert_eq!(alice.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
}

#[test]
fn video_is_refused_and_audio_taken() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let media = format!("m=video 5000 RTP/AVP 31\r\n{ALL}");
    let (line, answer) = call(&mut world, &mut alice, &media);
    alice.ack(&mut world, &line);
    let text = sdp(&answer);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 31",
            "m=audio 20002 RTP/AVP 96 9 0 8 13 101 102"
        ]
    );
}

#[test]
fn a_delayed_offer_that_is_answered_with_no_audio_ends_the_call() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (line, answer) = call(&mut world, &mut alice, "");
    assert!(
        sdp(&answer).contains("RTP/AVP 111 9 0 8 101 110\r\n"),
        "{}",
        sdp(&answer)
    );
    let body = format!("{HEAD}m=audio 0 RTP/AVP 0\r\n");
    alice.send(&mut world, &line, "ACK", line.cseq, SDP_TYPE, body.as_bytes());
    alice.listen(&mut world);
    alice.inbox.retain(|delivery| delivery.message.is_request());
    alice.gets(&mut world, "BYE", true);
    assert_eq!(world.engine.gauges().dialogs, 0);
}

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

#[test]
fn a_secure_offer_is_answered_with_a_key_that_stays() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let secure =
        format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20\r\n");
    let (mut line, answer) = call(&mut world, &mut alice, &secure);
    alice.ack(&mut world, &line);
    let crypto = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("a=crypto:1 AES_CM_128"))
            .map(str::to_owned)
    };
    let ours = crypto(&sdp(&answer)).expect("our key");
    assert!(!ours.contains(KEY));
    let srtp = audio(&world).srtp.clone().expect("the media is protected");
    assert_eq!(
        (srtp.send.0, srtp.receive.0),
        (SrtpSuite::AesCm128HmacSha1_80, SrtpSuite::AesCm128HmacSha1_80)
    );
    assert_eq!(srtp.receive.1.key(), b"YS___semctl () {");
    assert!(!format!("{:?}", audio(&world)).contains("YS__"));
    let held = reinvite(
        &mut world,
        &mut alice,
        &mut line,
        &format!("{secure}a=sendonly\r\n"),
    );
    assert_eq!(
        crypto(&sdp(&held)),
        Some(ours.clone()),
        "the same key as long as nothing else is agreed"
    );
    assert_eq!(audio(&world).srtp.as_ref(), Some(&srtp));
    // Another suite has another key, and none comes back that was used before.
    let mut known = vec![(ours.clone(), srtp.send.1.clone())];
    let short = secure.replace("SHA1_80", "SHA1_32");
    let plain = "m=audio 4000 RTP/AVP 0\r\n";
    for media in [&short, &secure, plain, &secure] {
        let answer = reinvite(&mut world, &mut alice, &mut line, media);
        let Some(said) = crypto(&sdp(&answer)) else {
            assert!(media == plain && audio(&world).srtp.is_none());
            continue;
        };
        let srtp = audio(&world).srtp.clone().unwrap();
        assert!(
            known
                .iter()
                .all(|(line, key)| *line != said && *key != srtp.send.1),
            "{media}"
        );
        assert_eq!(srtp.receive.1.key(), b"YS___semctl () {");
        known.push((said, srtp.send.1));
    }
    // Another call has another key; a stream without a key that we can use is not taken.
    let (_, other) = call(&mut world, &mut Phone::new("bob", 2), &secure);
    assert!(crypto(&sdp(&other)).is_some_and(|line| line != ours));
    let (_, refused) = call(
        &mut world,
        &mut Phone::new("carol", 3),
        "m=audio 4000 RTP/SAVP 0\r\n",
    );
    assert_eq!(refused.status(), 488);
}

#[test]
fn a_phone_on_tls_is_offered_keys_and_may_leave_them_aside() {
    for (transport, keys) in [(Transport::Tls, true), (Transport::Tcp, false)] {
        let bob = Phone::new("bob", 2).over(transport, 7);
        let pair = up_with(World::new(), Phone::new("alice", 1), bob, "", "");
        assert_eq!(sdp(&pair.invite).contains("a=crypto:"), keys, "{transport:?}");
        assert!(
            pair.world.media.iter().all(
                |command| !matches!(command, MediaCommand::Modify { audio, .. } if audio.srtp.is_some())
            )
        );
    }
}

#[test]
fn a_phone_reports_where_it_says_and_on_the_port_of_rtp_if_it_can() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let plain = "m=audio 4000 RTP/AVP 0\r\n";
    let (mut line, answer) = call(&mut world, &mut alice, &format!("{plain}a=rtcp-mux\r\n"));
    alice.ack(&mut world, &line);
    assert!(sdp(&answer).contains("a=rtcp-mux\r\n"), "{}", sdp(&answer));
    assert_eq!(audio(&world).control, Control::Muxed);
    for (lines, control) in [
        (
            "a=rtcp:4444\r\n",
            Control::Named("198.51.100.1:4444".parse().unwrap()),
        ),
        ("", Control::NextPort),
    ] {
        let answer = reinvite(&mut world, &mut alice, &mut line, &format!("{plain}{lines}"));
        assert!(!sdp(&answer).contains("rtcp-mux"), "{}", sdp(&answer));
        assert_eq!(audio(&world).control, control);
    }
}

#[test]
fn a_phone_that_is_called_may_take_reports_on_the_port_of_rtp_or_leave_them() {
    for takes in [true, false] {
        let mut world = World::new();
        let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 600);
        alice.invite(&mut world, "bob");
        let invite = bob.gets(&mut world, "INVITE", false);
        assert!(sdp(&invite).contains("a=rtcp-mux\r\n"), "{}", sdp(&invite));
        bob.sdp = match takes {
            true => {
                "v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\n"
            }
            false => bob.sdp,
        };
        bob.pick_up(&mut world, &invite);
        let muxed = world.media.iter().any(|command| {
            matches!(command, MediaCommand::Modify { audio, .. } if audio.control == Control::Muxed)
        });
        assert_eq!(muxed, takes);
    }
}
