//! Nothing is allocated on the path of a packet: a shard of 50 legs, three talking, runs for ten seconds
//! with an allocator that counts.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cordboard_media::rtp::RtpPacket;
use cordboard_media::{PortRequest, Shard};
use cordboard_model::media::{AudioFormat, AudioSetup, Codec, Control, Direction, MediaCommand, OpusLimit};
use cordboard_model::{LegId, MixId, Time};

mod counting;

use counting::allocations;

const LEGS: u64 = 50;

fn address(leg: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, leg as u8], 4000))
}

fn open(leg: u64) -> MediaCommand {
    let codec = if leg.is_multiple_of(2) {
        Codec::Pcmu
    } else {
        Codec::Pcma
    };
    let format = AudioFormat {
        codec,
        payload_type: 0,
        receive: vec![(0, Codec::Pcmu)],
        events: Vec::new(),
        comfort_noise: None,
        opus: OpusLimit::default(),
        packet_ms: if leg.is_multiple_of(5) { 60 } else { 20 },
    };
    let audio = Some(AudioSetup {
        remote: address(leg),
        signaller: None,
        control: Control::NextPort,
        format,
        direction: Direction::BOTH,
        srtp: None,
    });
    let local = IpAddr::from([10, 0, 0, 1]);
    MediaCommand::Open {
        leg: LegId(leg),
        mix: MixId(1),
        local,
        audio,
        muted: false,
        deaf: false,
        patience: Duration::ZERO,
    }
}

/// One second of talk; returns how many packets were sent to the phones.
fn second(shard: &mut Shard, from: u64) -> u64 {
    let mut sent = 0;
    for frame in from * 50..(from + 1) * 50 {
        let now = Time(1_700_000_000_000_000_000) + Duration::from_millis(frame * 20);
        for leg in 0..LEGS {
            // The fourth talker loses packets, so that concealment and stretching are measured, too.
            if leg == 3 && frame % 9 == 0 {
                continue;
            }
            let payload = if leg < 4 {
                [(frame * 37 + leg) as u8; 160]
            } else {
                [0xff; 160]
            };
            let packet = RtpPacket {
                marker: false,
                payload_type: 0,
                sequence: frame as u16,
                timestamp: frame as u32 * 160,
                ssrc: leg as u32,
                payload: &payload,
            };
            let mut bytes = [0; 172];
            bytes[..12].copy_from_slice(&packet.header());
            bytes[12..].copy_from_slice(&payload);
            shard.packet(LegId(leg), address(leg), &bytes, now, now);
        }
        shard.timeout(now);
        shard.drain_packets(|_| sent += 1);
        shard.handed_over(now);
        while shard.poll_event().is_some() {}
    }
    sent
}

#[test]
fn a_packet_allocates_nothing() {
    let mut shard = Shard::new(1);
    let start = Time(1_700_000_000_000_000_000);
    for leg in 0..LEGS {
        shard.command(open(leg), start);
    }
    while let Some(request) = shard.poll_port() {
        if let PortRequest::Bind { leg, .. } = request {
            shard.bound(leg, Ok(20_000), start);
        }
    }
    (0..2).for_each(|at| {
        second(&mut shard, at);
    });
    let before = allocations();
    let sent: u64 = (2..12).map(|at| second(&mut shard, at)).sum();
    let after = allocations();
    assert!(sent > LEGS * 400, "{sent}");
    assert!(shard.counts().mix_latency.count() > 1500);
    assert_eq!(after - before, 0, "allocations for {sent} packets");
}
