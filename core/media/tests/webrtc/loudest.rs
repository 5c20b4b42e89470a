//! Audio that is forwarded: each listener hears the three loudest of the others, each on a line of its own, and beside
//! them the mix of who cannot be forwarded.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;

use cordboard_model::media::peer::{HeaderExtensions, PeerCommand, VoiceLine};
use cordboard_model::media::{AudioFormat, Codec, MediaCommand, MediaEvent, OpusLimit};
use cordboard_model::{LegId, MixId};
use opus_pure::{Application, OpusDecoder, OpusEncoder};

use crate::stream::packets;
use crate::world::{World, audio_line, rtp};

/// Samples of a packet.
const FRAME: usize = 960;
/// The payload type of Opus, on every line.
const OPUS: u8 = 111;

/// Somebody with a microphone.
struct Microphone {
    leg: u64,
    hertz: f64,
    /// Of full scale.
    loudness: f64,
    encoder: OpusEncoder,
    sequence: u16,
    timestamp: u32,
}

/// A conference of browsers, and what each of them has said so far.
struct Hall {
    world: World,
    microphones: Vec<Microphone>,
    /// Which leg said a payload.
    said: BTreeMap<Vec<u8>, u64>,
}

fn opus_format() -> AudioFormat {
    AudioFormat {
        codec: Codec::Opus,
        payload_type: OPUS,
        receive: vec![(OPUS, Codec::Opus), (0, Codec::Pcmu)],
        events: vec![],
        comfort_noise: None,
        opus: OpusLimit::default(),
        packet_ms: 20,
    }
}

/// The SSRCs of the three lines of a listener.
fn slots(leg: u64) -> [u32; 3] {
    [0, 1, 2].map(|at| 0xc000 + leg as u32 * 16 + at)
}

impl Hall {
    fn new() -> Self {
        Self {
            world: World::new(),
            microphones: Vec::new(),
            said: BTreeMap::new(),
        }
    }

    /// A browser that hears single speakers.
    fn join(&mut self, leg: u64, hertz: f64, loudness: f64) {
        self.world.join(leg, vec![]);
        self.describe(leg, true);
        let mut encoder = OpusEncoder::new(48_000, 1, Application::Voip).unwrap();
        encoder.bitrate_bps = 32_000;
        self.microphones.push(Microphone {
            leg,
            hertz,
            loudness,
            encoder,
            sequence: 65_500 + leg as u16,
            timestamp: leg as u32 * 1_000_000,
        });
    }

    fn describe(&mut self, leg: u64, apart: bool) {
        let mut setup = self.world.setup(leg, vec![]);
        let mut audio = audio_line(leg);
        audio.format = opus_format();
        audio.extensions.audio_level = Some(1);
        setup.audio = Some(audio);
        let line = |(at, ssrc): (usize, u32)| VoiceLine {
            mid: format!("audio-{}", at + 2),
            payload_type: OPUS,
            ssrc,
            extensions: HeaderExtensions {
                audio_level: Some(leg as u8),
                mid: Some(14),
                ..Default::default()
            },
        };
        if apart {
            setup.voices = slots(leg).into_iter().enumerate().map(line).collect();
        }
        self.world.command(MediaCommand::Peer(PeerCommand::Describe {
            leg: LegId(leg),
            setup: Box::new(setup),
        }));
    }

    fn loud(&mut self, leg: u64, loudness: f64) {
        self.microphones
            .iter_mut()
            .find(|one| one.leg == leg)
            .unwrap()
            .loudness = loudness;
    }

    /// Everybody sends for so long.
    fn talk(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            for one in &mut self.microphones {
                let samples: Vec<i16> = (0..FRAME)
                    .map(|at| {
                        let at = f64::from(one.timestamp) + at as f64;
                        ((at * one.hertz * TAU / 48_000.0).sin() * one.loudness * 32_767.0) as i16
                    })
                    .collect();
                let mut payload = vec![0; 1500];
                let len = one.encoder.encode_s16(&samples, FRAME, &mut payload).unwrap();
                payload.truncate(len);
                let mut packet = rtp(OPUS, one.sequence, one.timestamp, 0x500 + one.leg as u32, &[]);
                packet[0] |= 0x10;
                packet.extend([0xbe, 0xde, 0, 1, 0x10, 10, 0, 0]);
                packet.extend(&payload);
                self.world.browser(one.leg).send(&packet);
                if one.loudness > 0.0 {
                    self.said.insert(payload, one.leg);
                }
                one.sequence = one.sequence.wrapping_add(1);
                one.timestamp = one.timestamp.wrapping_add(FRAME as u32);
            }
            self.world.run(20);
        }
    }

    /// What a listener got under this SSRC since this millisecond.
    fn heard(&self, leg: u64, ssrc: u32, since: u64) -> Vec<Heard> {
        let media = self.world.browsers[&leg].media.iter();
        let these = media.filter(|(ms, packet)| *ms >= since && packet[8..12] == ssrc.to_be_bytes());
        these
            .map(|(_, packet)| {
                let head = if packet[0] & 0x10 == 0 {
                    12
                } else {
                    16 + usize::from(packet[15]) * 4
                };
                Heard {
                    sequence: u16::from_be_bytes([packet[2], packet[3]]),
                    timestamp: u32::from_be_bytes(packet[4..8].try_into().unwrap()),
                    marker: packet[1] & 0x80 != 0,
                    block: packet[12..head].to_vec(),
                    payload: packet[head..].to_vec(),
                    speaker: self.said.get(&packet[head..]).copied(),
                }
            })
            .collect()
    }

    /// Who is heard on each line of a listener, since this millisecond.
    fn speakers(&self, leg: u64, since: u64) -> [BTreeSet<u64>; 3] {
        slots(leg).map(|ssrc| {
            let heard = self.heard(leg, ssrc, since);
            heard.iter().filter_map(|packet| packet.speaker).collect()
        })
    }
}

struct Heard {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    block: Vec<u8>,
    payload: Vec<u8>,
    speaker: Option<u64>,
}

/// Its numbers go on without a gap.
fn has_no_gap(heard: &[Heard]) {
    for pair in heard.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
    }
}

/// One stream without gaps or pauses, whatever is behind it.
fn is_smooth(heard: &[Heard]) {
    has_no_gap(heard);
    for pair in heard.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((FRAME as u32..3 * FRAME as u32).contains(&step), "{step}");
        if pair[0].speaker.is_some() && pair[1].speaker.is_some() && pair[0].speaker != pair[1].speaker {
            assert!(pair[1].marker, "a talk begins");
        }
    }
}

/// The samples of what a line carries; every packet of it decodes.
fn decoded(heard: &[Heard]) -> Vec<i16> {
    let mut decoder = OpusDecoder::new(48_000, 1).unwrap();
    let mut samples = Vec::new();
    for packet in heard {
        let mut frame = [0; FRAME];
        let len = decoder.decode_s16(&packet.payload, FRAME, &mut frame).unwrap();
        assert_eq!(len, FRAME);
        samples.extend_from_slice(&frame);
    }
    samples
}

/// The amplitude of a frequency in what a line carries.
fn level(heard: &[Heard], hertz: f64) -> f64 {
    let samples = decoded(heard);
    let w = hertz * TAU / 48_000.0;
    let (mut one, mut two) = (0.0, 0.0);
    for sample in &samples {
        (one, two) = (f64::from(*sample) / 32_768.0 + 2.0 * w.cos() * one - two, one);
    }
    let power: f64 = one * one + two * two - 2.0 * w.cos() * one * two;
    power.max(0.0).sqrt() * 2.0 / samples.len().max(1) as f64
}

/// Five who talk, the first the loudest, and one who listens.
fn six() -> Hall {
    let mut hall = Hall::new();
    for leg in 1..=5 {
        hall.join(leg, 200.0 + 170.0 * leg as f64, 0.5 * 0.6f64.powi(leg as i32 - 1));
    }
    hall.join(6, 440.0, 0.0);
    hall.world.run(2000);
    hall
}

fn set<const N: usize>(all: [u64; N]) -> BTreeSet<u64> {
    all.into_iter().collect()
}

#[test]
fn each_hears_the_three_loudest_others_on_lines_of_their_own() {
    let mut hall = six();
    hall.talk(4000);
    let since = hall.world.ms;
    hall.talk(1500);
    let mut of_listener: Vec<BTreeSet<u64>> = hall.speakers(6, since).to_vec();
    of_listener.sort();
    assert_eq!(
        of_listener,
        [set([1]), set([2]), set([3])],
        "one on each, all the time"
    );
    for (leg, others) in [
        (1, set([2, 3, 4])),
        (2, set([1, 3, 4])),
        (3, set([1, 2, 4])),
        (4, set([1, 2, 3])),
    ] {
        let heard = hall.speakers(leg, since);
        assert!(heard.iter().all(|line| line.len() == 1), "{leg}: {heard:?}");
        assert_eq!(
            heard.into_iter().flatten().collect::<BTreeSet<_>>(),
            others,
            "{leg}"
        );
    }
    for leg in 1..=6 {
        for ssrc in slots(leg) {
            let heard = hall.heard(leg, ssrc, 0);
            is_smooth(&heard);
            assert!(heard[0].marker && heard.len() > 100, "{leg} {}", heard.len());
            // The line's name, and the level under the listener's own id.
            let wanted = [
                &[0xbe, 0xde, 0, 3, 0xe6][..],
                format!("audio-{}", (ssrc & 15) + 2).as_bytes(),
            ]
            .concat();
            assert_eq!(heard[5].block[..wanted.len()], wanted);
            assert!(heard[5].block[wanted.len()..].starts_with(&[(leg as u8) << 4, 10]));
        }
        assert_eq!(hall.world.browsers[&leg].spoiled, 0);
        // Nobody is in the mix.
        let mixed = hall.heard(leg, 0x9000 + leg as u32, since);
        assert!(mixed.len() < 15, "{}", mixed.len());
    }
    let counts = hall.world.shard.counts();
    assert!(counts.peers.voice_latency.count() > 200);
}

#[test]
fn who_begins_to_talk_takes_the_place_of_who_has_stopped_and_no_decoder_notices() {
    let mut hall = six();
    hall.talk(4000);
    hall.loud(1, 0.0);
    hall.talk(800);
    hall.loud(6, 0.12);
    hall.talk(400);
    let since = hall.world.ms;
    hall.talk(1000);
    let heard: BTreeSet<u64> = hall.speakers(5, since).into_iter().flatten().collect();
    assert_eq!(heard, set([2, 3, 4]), "whoever came first keeps the place");
    hall.loud(2, 0.0);
    hall.loud(3, 0.0);
    hall.loud(4, 0.0);
    hall.talk(1200);
    let since = hall.world.ms;
    hall.talk(1000);
    let heard: BTreeSet<u64> = hall.speakers(1, since).into_iter().flatten().collect();
    assert_eq!(heard, set([5, 6]));
    for leg in 1..=6 {
        for ssrc in slots(leg) {
            let heard = hall.heard(leg, ssrc, 0);
            is_smooth(&heard);
            decoded(&heard);
        }
    }
}

#[test]
fn phones_are_heard_in_the_mix_and_hear_everybody() {
    let mut hall = Hall::new();
    hall.join(1, 700.0, 0.3);
    hall.join(2, 1100.0, 0.3);
    // Whoever speaks another codec: it has only the line of the mix.
    hall.world.join(3, vec![]);
    hall.world.run(2000);
    for at in 0..100u16 {
        let tone: Vec<u8> = (0..160)
            .map(|sample| if sample % 16 < 8 { 0x90 } else { 0x10 })
            .collect();
        hall.world
            .browser(3)
            .send(&rtp(0, at, u32::from(at) * 160, 77, &tone));
        hall.talk(20);
    }
    let since = hall.world.ms - 800;
    for (leg, other, hertz) in [(1, 2, 1100.0), (2, 1, 700.0)] {
        let mixed = hall.heard(leg, 0x9000 + leg as u32, since);
        assert!(
            level(&mixed, 700.0) < 0.01 && level(&mixed, 1100.0) < 0.01,
            "browsers are not in it"
        );
        assert!(
            level(&mixed, 500.0) > 0.1,
            "the phone is: {}",
            level(&mixed, 500.0)
        );
        let heard: BTreeSet<u64> = hall.speakers(leg, since).into_iter().flatten().collect();
        assert_eq!(heard, set([other]));
        let line = slots(leg).map(|ssrc| level(&hall.heard(leg, ssrc, since), hertz));
        assert!(line.iter().any(|level| *level > 0.2), "{line:?}");
    }
    let phone = hall.world.browsers[&3].payloads(0x9003);
    assert!(phone.len() > 90 && phone.iter().rev().take(20).all(|payload| payload.len() == 160));
    let loudest = phone
        .iter()
        .rev()
        .take(20)
        .flat_map(|payload| payload.iter())
        .map(|code| code & 0x7f)
        .min();
    assert!(loudest < Some(0x20), "it hears the browsers: {loudest:?}");
}

#[test]
fn who_is_muted_is_not_forwarded_and_who_is_deaf_gets_nothing() {
    let mut hall = six();
    hall.talk(4000);
    let gate = |hall: &mut Hall, leg, muted, deaf| {
        hall.world.command(MediaCommand::Gate {
            leg: LegId(leg),
            muted,
            deaf,
        });
    };
    gate(&mut hall, 1, true, false);
    gate(&mut hall, 5, false, true);
    hall.talk(200);
    let since = hall.world.ms;
    hall.talk(1000);
    let heard: BTreeSet<u64> = hall.speakers(6, since).into_iter().flatten().collect();
    assert_eq!(heard, set([2, 3, 4]));
    assert!(hall.speakers(5, since).iter().all(BTreeSet::is_empty));
    let stopped = hall.world.events.iter().any(|(_, event)| {
        matches!(
            event,
            MediaEvent::Talking {
                leg: LegId(1),
                on: false
            }
        )
    });
    assert!(stopped);
    gate(&mut hall, 1, false, false);
    gate(&mut hall, 5, false, false);
    hall.talk(1500);
    let since = hall.world.ms;
    hall.talk(500);
    assert!(hall.speakers(5, since).iter().flatten().count() == 3);
    for ssrc in slots(6) {
        is_smooth(&hall.heard(6, ssrc, 0));
    }
    for ssrc in slots(5) {
        has_no_gap(&hall.heard(5, ssrc, 0));
    }
}

#[test]
fn who_leaves_the_mix_or_takes_its_lines_away_is_served_no_more() {
    let mut hall = six();
    hall.talk(4000);
    hall.world.command(MediaCommand::Move {
        leg: LegId(1),
        mix: MixId(2),
    });
    hall.world.command(MediaCommand::Close { leg: LegId(2) });
    hall.microphones.retain(|one| one.leg != 2);
    hall.describe(3, false);
    hall.talk(200);
    let since = hall.world.ms;
    hall.talk(1000);
    let heard = |leg| -> BTreeSet<u64> { hall.speakers(leg, since).into_iter().flatten().collect() };
    assert_eq!(heard(6), set([3, 4, 5]));
    assert_eq!((heard(1), heard(3)), (set([]), set([])));
    let mixed = hall.heard(3, 0x9003, since);
    assert!(
        level(&mixed, 200.0 + 170.0 * 4.0) > 0.05,
        "it hears the mix again"
    );
    // And has them back: the numbers go on.
    hall.describe(3, true);
    hall.talk(1000);
    for ssrc in slots(3) {
        has_no_gap(&hall.heard(3, ssrc, 0));
    }
    assert_eq!(hall.world.browsers[&3].spoiled, 0);
}

/// The packet counts of sender reports about a stream, in the order in which a listener got them.
fn counted(hall: &Hall, leg: u64, ssrc: u32) -> Vec<u32> {
    let control = hall.world.browsers[&leg].control.iter();
    let reports = control.flat_map(|(_, bytes)| packets(bytes));
    let these = reports.filter(|(kind, _, body)| *kind == 200 && body[..4] == ssrc.to_be_bytes());
    these
        .map(|(_, _, body)| u32::from_be_bytes(body[16..20].try_into().unwrap()))
        .collect()
}

#[test]
fn a_description_that_comes_again_leaves_a_talk_as_it_is() {
    let mut hall = six();
    hall.talk(6000);
    let begins =
        |hall: &Hall| slots(6).map(|ssrc| hall.heard(6, ssrc, 0).iter().filter(|one| one.marker).count());
    let before = begins(&hall);
    for _ in 0..3 {
        hall.describe(6, true);
        hall.talk(2000);
    }
    assert_eq!(begins(&hall), before, "nobody begins anew");
    for ssrc in slots(6) {
        is_smooth(&hall.heard(6, ssrc, 0));
        let counted = counted(&hall, 6, ssrc);
        assert!(counted.len() > 3, "{counted:?}");
        assert!(
            counted.is_sorted() && *counted.last().unwrap() > 300,
            "{counted:?}"
        );
    }
}
