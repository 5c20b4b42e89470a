//! Conferences whose audio is forwarded: every browser hears the loudest of the others on three lines that are agreed
//! on once.

use std::collections::BTreeSet;

use cordboard_engine::io::Input;
use cordboard_engine::sdp::Session;
use cordboard_model::media::{Codec, Direction, MediaEvent};

use crate::browser::{Browser, attribute, audio_offer_of, body, direction};
use crate::phone::Phone;
use crate::sfu::{legs, setup_of, subscriptions};
use crate::world::World;

fn forwarding() -> World {
    World::with(|config| config.conferences[0].forward_audio = true)
}

/// A browser that has come in and taken what it was offered.
fn join(world: &mut World, name: &'static str, host: u8) -> Browser {
    let mut browser = Browser::new(name, host);
    browser.call(world, "3000");
    browser.looks(world);
    browser
}

#[test]
fn three_lines_for_speakers_come_with_the_first_offer_and_stay() {
    let mut world = forwarding();
    let mut alice = Browser::new("alice", 1);
    let text = body(&alice.call(&mut world, "3000"));
    assert_eq!(
        Session::parse(&text).unwrap().media.len(),
        2,
        "an answer has no lines of its own"
    );
    let offer = alice.offered(&mut world);
    let text = body(&offer);
    let session = Session::parse(&text).unwrap();
    let audio: Vec<_> = session
        .media
        .iter()
        .filter(|media| media.kind == "audio")
        .collect();
    let mids: Vec<&str> = audio.iter().map(|media| attribute(media, "mid")).collect();
    assert_eq!(mids, ["0", "audio-2", "audio-3", "audio-4"]);
    let mut streams = BTreeSet::new();
    for media in &audio[1..] {
        assert_eq!((direction(media), &media.formats[..]), ("sendonly", &["111"][..]));
        assert_eq!(media.rtpmap("111").unwrap().encoding, "opus");
        streams.insert(attribute(media, "msid").to_owned());
    }
    streams.insert(attribute(audio[0], "msid").to_owned());
    assert_eq!(streams.len(), 4, "each is a stream of its own: {streams:?}");
    alice.answers(&mut world, &offer);
    let leg = legs(&world)[0];
    let setup = setup_of(&world, leg);
    let said: Vec<&str> = audio[1..]
        .iter()
        .map(|media| attribute(media, "ssrc").split(' ').next().unwrap())
        .collect();
    let known: Vec<String> = setup.voices.iter().map(|voice| voice.ssrc.to_string()).collect();
    assert_eq!(known, said);
    assert!(setup.voices.iter().all(|voice| voice.payload_type == 111));
    assert_eq!(setup.voices[0].extensions.audio_level, Some(1));
    alice.is_left_alone(&mut world);

    // Who comes gets these lines and everybody's video by one offer; the others are told of the video alone.
    let mut bob = join(&mut world, "bob", 2);
    assert_eq!((bob.mids.len(), bob.sees().len()), (6, 1));
    assert_eq!(alice.looks(&mut world).len(), 1);
    assert_eq!(alice.mids[5], "video-5");
    assert_eq!(setup_of(&world, leg).voices, setup.voices);
    // Whoever speaks: nobody is asked for anything.
    for (leg, on) in [(legs(&world)[1], true), (leg, true), (legs(&world)[1], false)] {
        world.handle(Input::Media(MediaEvent::Talking { leg, on }));
    }
    bob.hangs_up(&mut world);
    assert!(alice.looks(&mut world).is_empty());
    assert_eq!(setup_of(&world, leg).voices, setup.voices);
    alice.is_left_alone(&mut world);
}

#[test]
fn who_refuses_the_lines_hears_the_mix_and_is_asked_no_more() {
    let mut world = forwarding();
    let mut alice = Browser::new("alice", 1);
    alice.call(&mut world, "3000");
    let offer = alice.offered(&mut world);
    let answer = alice.answer_to(&body(&offer));
    let refused = ["audio-2", "audio-3", "audio-4"]
        .into_iter()
        .fold(answer, |text, mid| refuse(&text, mid));
    alice.answers_with(&mut world, &offer, &refused);
    let mut bob = join(&mut world, "bob", 2);
    let offer = alice.offered(&mut world);
    let text = body(&offer);
    assert_eq!(text.matches("m=audio 0 ").count(), 3, "{text}");
    assert_eq!(text.matches("m=audio").count(), 4);
    alice.answers(&mut world, &offer);
    let legs = legs(&world);
    let setup = setup_of(&world, legs[0]);
    assert!(setup.voices.is_empty());
    assert_eq!(setup.audio.unwrap().direction, Direction::BOTH);
    assert_eq!(subscriptions(&world, legs[0]), [legs[1]]);
    assert_eq!(setup_of(&world, legs[1]).voices.len(), 3);
    bob.is_left_alone(&mut world);
}

/// An answer with one line at port 0, out of the bundle.
fn refuse(answer: &str, mid: &str) -> String {
    let at = answer.find(&format!("a=mid:{mid}\r\n")).unwrap();
    let line = answer[..at].rfind("m=audio 9").unwrap();
    let text = format!("{}m=audio 0{}", &answer[..line], &answer[line + 9..]);
    text.replacen(&format!(" {mid}"), "", 1)
}

#[test]
fn a_browser_without_a_camera_hears_speakers_and_phones_hear_the_mix() {
    let mut world = forwarding();
    let mut alice = Browser::new("alice", 1);
    alice.phone.sdp = audio_offer_of("alice").leak();
    alice.call(&mut world, "3000");
    alice.looks(&mut world);
    assert_eq!(setup_of(&world, legs(&world)[0]).voices.len(), 3);
    let mut bob = Phone::new("bob", 2);
    bob.call(&mut world, "3000");
    bob.has_nothing(&mut world);
    alice.is_left_alone(&mut world);
}

#[test]
fn a_browser_that_speaks_another_codec_gets_no_such_lines() {
    let mut world = forwarding();
    let mut alice = Browser::new("alice", 1);
    alice.phone.sdp = alice
        .phone
        .sdp
        .replace("SAVPF 111 63 9 0 8", "SAVPF 9 0 8")
        .leak();
    alice.call(&mut world, "3000");
    alice.is_left_alone(&mut world);
    let setup = setup_of(&world, legs(&world)[0]);
    assert_eq!(setup.audio.unwrap().format.codec, Codec::G722);
}

#[test]
fn lines_that_a_browser_holds_carry_nothing_until_it_takes_them_again() {
    let mut world = forwarding();
    let mut alice = join(&mut world, "alice", 1);
    let leg = legs(&world)[0];
    let before = setup_of(&world, leg).voices;
    let own = alice.own_offer();
    let at = own.find("a=mid:audio-3").unwrap();
    let (head, rest) = own.split_at(at);
    let held = format!("{head}{}", rest.replacen("a=recvonly", "a=inactive", 1));
    let text = body(&alice.offers(&mut world, &held));
    let session = Session::parse(&text).unwrap();
    let directions: Vec<&str> = session.media.iter().map(direction).collect();
    assert_eq!(
        directions,
        ["sendrecv", "recvonly", "sendonly", "inactive", "sendonly"]
    );
    let now = setup_of(&world, leg).voices;
    assert_eq!(now, [before[0].clone(), before[2].clone()]);
    alice.offers(&mut world, &own);
    assert_eq!(setup_of(&world, leg).voices, before);
}

#[test]
fn where_audio_is_mixed_there_are_no_such_lines() {
    let mut world = World::new();
    let mut alice = Browser::new("alice", 1);
    alice.call(&mut world, "3000");
    alice.is_left_alone(&mut world);
    assert!(setup_of(&world, legs(&world)[0]).voices.is_empty());
}
