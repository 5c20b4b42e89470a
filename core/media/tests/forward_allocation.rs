//! Nothing is allocated for a video packet that is forwarded: one publisher and eight subscribers for ten seconds,
//! with losses and requests, and an allocator that counts while the shard works.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_types, reason = "the crates of the browsers want instants")]
#![allow(
    clippy::disallowed_methods,
    reason = "one instant is taken as the beginning of virtual time"
)]
#![allow(dead_code, reason = "the browsers can do more than is needed here")]

#[path = "webrtc/browser.rs"]
mod browser;
mod counting;
#[path = "webrtc/stream.rs"]
mod stream;
#[path = "webrtc/stun.rs"]
mod stun;
#[path = "webrtc/world.rs"]
mod world;

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use cordboard_model::LegId;
use cordboard_model::media::peer::{HeaderExtensions, PeerCommand, VoiceLine};
use cordboard_model::media::{AudioFormat, Codec, MediaCommand};
use counting::allocations;
use opus_pure::{Application, OpusEncoder};
use stream::{nack, vp8};
use world::{VIDEO_SSRC, World, audio_line, publish, rtp, subscribe};

/// The allocator counts for the whole process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

const SUBSCRIBERS: u64 = 8;
const PACKETS: u16 = 12_000;
const WARM_UP: u16 = 2000;

/// A datagram for the shard, one millisecond after the last one.
struct Prepared {
    source: SocketAddr,
    bytes: Vec<u8>,
    warm: bool,
}

/// Everything that the browsers will send, protected before anything is counted.
fn prepare(world: &mut World) -> Vec<Prepared> {
    // The first packet goes the whole way, so that each subscriber knows its numbers.
    world
        .browser(1)
        .send(&rtp(96, u16::MAX, 0, VIDEO_SSRC, &vp8(true, 0)));
    world.run(50);
    let mut prepared = Vec::new();
    for at in 0..PACKETS {
        let source = world.browser(1).address;
        // Every fiftieth packet is lost, and comes later because it is asked for.
        let bytes = world.browser(1).protect(&rtp(
            96,
            at,
            u32::from(at) * 90,
            VIDEO_SSRC,
            &vp8(at % 1000 == 0, at.into()),
        ));
        prepared.push(Prepared {
            source,
            bytes,
            warm: at < WARM_UP,
        });
        if at % 50 == 49 {
            let late = prepared.len() - 1;
            prepared.swap(late, late - 40);
        }
        if at % 20 == 0 {
            let leg = 2 + u64::from(at) % SUBSCRIBERS;
            let browser = world.browser(leg);
            // Most of what it asks for is there, some is not.
            let first = browser
                .media
                .iter()
                .find(|(_, packet)| packet[8..12] == 0xa001u32.to_be_bytes());
            let first = first
                .map(|(_, packet)| u16::from_be_bytes([packet[2], packet[3]]))
                .unwrap();
            let newest = first.wrapping_add(at);
            let asked = [newest.wrapping_sub(10), newest.wrapping_add(900)];
            let bytes = browser.protect_control(&nack(0xa001, asked.into_iter()));
            let source = browser.address;
            prepared.push(Prepared {
                source,
                bytes,
                warm: at < WARM_UP,
            });
        }
    }
    prepared
}

#[test]
fn a_forwarded_packet_allocates_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut world = World::new();
    world.join(1, vec![publish("1", vec![(VIDEO_SSRC, None)])]);
    for leg in 2..2 + SUBSCRIBERS {
        world.join(leg, vec![subscribe("1", 1, "1", leg % 2 == 0)]);
    }
    world.run(2000);
    let prepared = prepare(&mut world);
    let (mut sent, mut allocated, mut now) = (0, 0, world.now());
    for packet in &prepared {
        now = now + std::time::Duration::from_millis(1);
        let shard = &mut world.shard;
        let before = allocations();
        shard.webrtc_packet(packet.source, &packet.bytes, now, now);
        if shard.next_timeout().is_some_and(|due| due <= now) {
            shard.timeout(now);
        }
        shard.drain_packets(|_| ());
        shard.drain_webrtc(|burst| sent += burst.bytes.len().div_ceil(burst.segment));
        shard.handed_over(now);
        while shard.poll_event().is_some() {}
        if !packet.warm {
            allocated += allocations() - before;
        }
    }
    let counts = world.shard.counts();
    assert!(sent as u64 > u64::from(PACKETS) * SUBSCRIBERS, "{sent}");
    assert!(counts.peers.recovered > 100, "{:?}", counts.peers);
    assert!(counts.peers.resent[0] > 100, "{:?}", counts.peers.resent);
    assert_eq!(allocated, 0, "allocations for {sent} packets");
}

/// A browser that hears single speakers.
fn hear(world: &mut World, leg: u64) {
    world.join(leg, vec![]);
    let mut setup = world.setup(leg, vec![]);
    let mut audio = audio_line(leg);
    audio.format = AudioFormat {
        codec: Codec::Opus,
        payload_type: 111,
        receive: vec![(111, Codec::Opus)],
        ..audio.format
    };
    setup.audio = Some(audio);
    let line = |at: u32| VoiceLine {
        mid: format!("audio-{at}"),
        payload_type: 111,
        ssrc: 0xc000 + leg as u32 * 16 + at,
        extensions: HeaderExtensions::default(),
    };
    setup.voices = (0..3).map(line).collect();
    let setup = Box::new(setup);
    world.command(MediaCommand::Peer(PeerCommand::Describe {
        leg: LegId(leg),
        setup,
    }));
}

#[test]
fn forwarded_audio_allocates_nothing_also_when_speakers_change() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const TALKERS: u64 = 5;
    const ROUNDS: u16 = 600;
    let mut world = World::new();
    (1..=TALKERS + 3).for_each(|leg| hear(&mut world, leg));
    world.run(2000);
    // Each is silent for a fifth of the time, one after the other.
    let mut encoders: Vec<OpusEncoder> = (0..TALKERS)
        .map(|_| OpusEncoder::new(48_000, 1, Application::Voip).unwrap())
        .collect();
    let mut rounds = Vec::new();
    for at in 0..ROUNDS {
        let mut packets = Vec::new();
        for (leg, encoder) in (1..=TALKERS).zip(&mut encoders) {
            let silent = u64::from(at / 60) % TALKERS == leg - 1;
            let wave = |sample: i32| if silent { 0 } else { (sample % 96 - 48) * 100 };
            let samples: Vec<i16> = (0..960).map(|sample| wave(sample) as i16).collect();
            let mut payload = vec![0; 1500];
            let len = encoder.encode_s16(&samples, 960, &mut payload).unwrap();
            let packet = rtp(111, at, u32::from(at) * 960, leg as u32, &payload[..len]);
            let browser = world.browser(leg);
            packets.push((browser.address, browser.protect(&packet)));
        }
        rounds.push(packets);
    }
    let (mut sent, mut allocated, mut ticks, mut now) = (0, 0, 0, world.now());
    for (at, packets) in rounds.iter().enumerate() {
        now = now + std::time::Duration::from_millis(20);
        let shard = &mut world.shard;
        let before = allocations();
        for (source, bytes) in packets {
            shard.webrtc_packet(*source, bytes, now, now);
        }
        let between = allocations();
        shard.timeout(now);
        let after = allocations();
        shard.drain_packets(|_| ());
        shard.drain_webrtc(|burst| sent += burst.bytes.len().div_ceil(burst.segment));
        shard.handed_over(now);
        while shard.poll_event().is_some() {}
        // Everybody has had every place by then.
        if at >= usize::from(ROUNDS) * 2 / 3 {
            allocated += between - before + allocations() - after;
            ticks += usize::from(after != between);
        }
    }
    assert!(sent > usize::from(ROUNDS) * 20, "{sent}");
    assert_eq!(allocated, 0, "allocations for {sent} packets");
    // The library that encodes the mix allocates for itself; of silence one frame of twenty is encoded.
    assert!(ticks <= usize::from(ROUNDS) / 3 / 20 + 1, "{ticks}");
}
