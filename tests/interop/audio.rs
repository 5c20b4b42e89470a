//! What people hear in a conference.

use std::time::Duration;

use cordboard_tests::client::sequence_holes;
use cordboard_tests::http::metric;
use cordboard_tests::switch::Lab;
use cordboard_tests::tone::{self, peak_level};

use crate::baresip::Baresip;
use crate::{SOON, sipp, turn};

/// A tone that is there; what they send has 0.25 to 0.3 of full scale.
const HEARD: f64 = 0.1;
/// A tone that is not there: 34 dB below what is sent.
const SILENT: f64 = 0.005;

#[test]
fn three_baresip_phones_hear_the_others_and_not_themselves() {
    let _turn = turn();
    let switch = Lab::new().start();
    let mut alice = Baresip::call(&switch, "alice", "3000", 440.0, 10);
    let mut bob = Baresip::call(&switch, "bob", "3000", 1_000.0, 10);
    let mut carol = Baresip::call(&switch, "carol", "3000", 0.0, 10);
    let heard = |phone: &mut Baresip| {
        let samples = phone.recording(Duration::from_secs(40));
        (peak_level(&samples, 440.0), peak_level(&samples, 1_000.0))
    };
    let (own, other) = heard(&mut alice);
    assert!(
        other > HEARD && own < SILENT,
        "alice hears bob ({other}) and not herself ({own})"
    );
    let (other, own) = heard(&mut bob);
    assert!(
        other > HEARD && own < SILENT,
        "bob hears alice ({other}) and not himself ({own})"
    );
    let (first, second) = heard(&mut carol);
    assert!(
        first > HEARD && second > HEARD,
        "carol hears alice ({first}) and bob ({second})"
    );
}

/// One demands keys, one offers them with plain RTP (RFC 8643), one has none; each has another codec.
#[test]
fn baresip_phones_with_and_without_encryption_and_with_other_codecs_hear_each_other() {
    let _turn = turn();
    let switch = Lab::new().start();
    let call = |user, hertz, account| Baresip::call_as(&switch, user, "3000", hertz, 10, account);
    let mut phones = [
        call("alice", 440.0, "audio_codecs=opus/48000/2;mediaenc=srtp-mand"),
        call("bob", 1_000.0, "audio_codecs=G722/16000/1;mediaenc=srtp"),
        call("carol", 700.0, "audio_codecs=pcma"),
    ];
    let tones = [440.0, 1_000.0, 700.0];
    for (at, phone) in phones.iter_mut().enumerate() {
        let samples = phone.recording(Duration::from_secs(40));
        for (of, hertz) in tones.into_iter().enumerate() {
            let level = peak_level(&samples, hertz);
            let right = if at == of { level < SILENT } else { level > HEARD };
            assert!(right, "phone {at} hears phone {of} with {level}");
        }
    }
}

#[test]
fn three_phones_hear_the_others_and_not_themselves_without_a_hole() {
    let _turn = turn();
    let switch = Lab::new().start();
    let phones = ["alice", "bob", "carol"].map(|user| switch.phone(user));
    let calls = phones.each_ref().map(|phone| phone.call("3000"));
    calls[0].rtp.play(440.0);
    calls[1].rtp.play(1_000.0);
    // The first second is the joining; what follows is looked at.
    let counts = || calls.iter().map(|c| c.rtp.count()).min();
    cordboard_tests::until(SOON, || counts().filter(|n| *n >= 50)).expect("audio for all");
    let from = calls.each_ref().map(|c| c.rtp.count());
    cordboard_tests::until(SOON, || counts().filter(|n| *n >= 250)).expect("audio goes on");
    let heard = |n: usize, hertz: f64| peak_level(&calls[n].rtp.samples(from[n]), hertz);
    assert!(
        heard(0, 1_000.0) > HEARD && heard(0, 440.0) < SILENT,
        "alice: {} {}",
        heard(0, 1_000.0),
        heard(0, 440.0)
    );
    assert!(
        heard(1, 440.0) > HEARD && heard(1, 1_000.0) < SILENT,
        "bob: {} {}",
        heard(1, 440.0),
        heard(1, 1_000.0)
    );
    assert!(
        heard(2, 440.0) > HEARD && heard(2, 1_000.0) > HEARD,
        "carol: {} {}",
        heard(2, 440.0),
        heard(2, 1_000.0)
    );
    for call in &calls {
        assert_eq!(sequence_holes(&call.rtp.packets()), 0);
        assert_eq!(call.hang_up().expect("answered").code(), Some(200));
    }
    let text = switch.metrics();
    assert!(
        metric(&text, "cordboard_relay_latency_seconds_count", &["media=\"mix\""]) > 0.0,
        "{text}"
    );
}

#[test]
fn fifty_phones_join_talk_and_leave() {
    let _turn = turn();
    let switch = Lab::new().trust("127.0.0.1/32").start();
    let tone: Vec<u8> = tone::sine(440.0, 0.02, 0, 8_000)
        .into_iter()
        .map(tone::to_mulaw)
        .collect();
    std::fs::write(switch.folder().join("tone.raw"), tone).expect("written");
    let file = sipp::scenario("talk.xml");
    let file = file.to_str().expect("a plain path");
    let mut phones = sipp::caller(&switch, 50, 25, &["-sf", file, "-s", "3000", "-d", "8000"]);
    let listener = switch.phone("alice").call("3000");
    let all = || {
        let text = switch.metrics();
        (metric(&text, "cordboard_participants", &[]) >= 51.0).then_some(())
    };
    let together = cordboard_tests::until(Duration::from_secs(8), all);
    phones.expect_success(Duration::from_secs(60));
    together.expect("all of them were in the conference at once");
    assert!(
        peak_level(&listener.rtp.samples(0), 440.0) > 0.01,
        "they were heard"
    );
    let received = metric(
        &switch.metrics(),
        "cordboard_rtp_packets_total",
        &["direction=\"in\""],
    );
    assert!(
        received > 50.0 * 50.0,
        "each phone's audio arrived: {received} packets"
    );
}
