//! Whatever comes from the network, in whatever order and at whatever time: the shard never panics and
//! keeps its promises.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use cordboard_media::rtp::RtpPacket;
use cordboard_media::{PortRequest, Shard};
use cordboard_model::media::{
    AudioFormat, AudioSetup, Codec, Control, Direction, MediaCommand, MediaEvent, OpusLimit,
};
use cordboard_model::{LegId, MixId, Time};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Command(Box<MediaCommand>),
    Packet {
        leg: u64,
        source: u8,
        bytes: Vec<u8>,
        stamp_offset_ms: i64,
        control: bool,
    },
    Wait(u64),
    PortFails,
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 4000))
}

fn format() -> impl Strategy<Value = AudioFormat> {
    let codec = prop::sample::select(&Codec::ALL[..]);
    (codec, any::<u8>()).prop_map(|(codec, packet_ms)| AudioFormat {
        codec,
        payload_type: 0,
        receive: vec![
            (0, Codec::Pcmu),
            (8, Codec::Pcma),
            (9, Codec::G722),
            (111, Codec::Opus),
        ],
        events: vec![(101, 8000)],
        comfort_noise: None,
        opus: OpusLimit::default(),
        packet_ms,
    })
}

fn audio() -> impl Strategy<Value = AudioSetup> {
    (0u8..4, format(), any::<bool>(), any::<bool>()).prop_map(|(remote, format, send, receive)| AudioSetup {
        remote: address(remote),
        signaller: None,
        control: [Control::NextPort, Control::Named(address(3)), Control::Muxed][usize::from(remote % 3)],
        format,
        direction: Direction { send, receive },
        srtp: None,
    })
}

fn command() -> impl Strategy<Value = MediaCommand> {
    let leg = (0u64..4).prop_map(LegId);
    let mix = (0u64..3).prop_map(MixId);
    prop_oneof![
        (
            leg.clone(),
            mix.clone(),
            prop::option::of(audio()),
            any::<bool>(),
            any::<bool>()
        )
            .prop_map(|(leg, mix, audio, muted, deaf)| MediaCommand::Open {
                leg,
                mix,
                local: "10.0.0.1".parse().unwrap(),
                audio,
                muted,
                deaf,
                patience: Duration::from_millis(100),
            }),
        (leg.clone(), audio()).prop_map(|(leg, audio)| MediaCommand::Modify { leg, audio }),
        (leg.clone(), any::<bool>(), any::<bool>()).prop_map(|(leg, muted, deaf)| MediaCommand::Gate {
            leg,
            muted,
            deaf
        }),
        (leg.clone(), mix).prop_map(|(leg, mix)| MediaCommand::Move { leg, mix }),
        leg.prop_map(|leg| MediaCommand::Close { leg }),
    ]
}

/// Packets that are RTP, with numbers near each other or at the edges.
fn rtp() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![0u32..3000, (u32::MAX - 3000)..=u32::MAX, any::<u32>()];
    let payload_type = prop_oneof![Just(0u8), Just(8), Just(101), 0u8..128];
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        (any::<u8>(), 0usize..2000).prop_map(|(code, len)| vec![code; len])
    ];
    (
        any::<u8>(),
        payload_type,
        number.clone(),
        number,
        0u32..3,
        payload,
    )
        .prop_map(|(first, payload_type, sequence, timestamp, ssrc, payload)| {
            let sequence = sequence as u16;
            let header = RtpPacket {
                marker: false,
                payload_type,
                sequence,
                timestamp,
                ssrc,
                payload: &[],
            }
            .header();
            let mut bytes = header.to_vec();
            if first > 230 {
                bytes[0] = first;
            }
            bytes.extend(payload);
            bytes
        })
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![4 => rtp(), 1 => prop::collection::vec(any::<u8>(), 0..80)];
    prop_oneof![
        3 => command().prop_map(|command| Step::Command(Box::new(command))),
        12 => (0u64..4, 0u8..4, bytes, -500i64..500, any::<bool>()).prop_map(
            |(leg, source, bytes, stamp_offset_ms, control)| Step::Packet {
                leg, source, bytes, stamp_offset_ms, control: control && leg == 0
            }
        ),
        4 => (0u64..100).prop_map(Step::Wait),
        1 => (0u64..5000).prop_map(Step::Wait),
        1 => Just(Step::PortFails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_shard_survives_anything(steps in prop::collection::vec(step(), 1..120)) {
        let mut shard = Shard::new(3);
        let mut now = Time::from_unix_seconds(1_700_000_000);
        let (mut asked, mut answered) = ([0; 4], [0; 4]);
        let mut open = HashSet::new();
        let mut port_fails = false;
        for step in steps {
            match step {
                Step::Command(command) => {
                    if let MediaCommand::Open { leg, .. } = &*command {
                        asked[leg.0 as usize] += 1;
                    }
                    shard.command(*command, now);
                }
                Step::Packet { leg, source, bytes, stamp_offset_ms, control } => {
                    let stamp = Time(now.0.saturating_add_signed(stamp_offset_ms * 1_000_000));
                    if control {
                        shard.control_packet(LegId(leg), address(source), &bytes, stamp, now);
                    } else {
                        shard.packet(LegId(leg), address(source), &bytes, stamp, now);
                    }
                }
                Step::Wait(ms) => {
                    now = now + Duration::from_millis(ms);
                    shard.timeout(now);
                    prop_assert!(shard.next_timeout().is_none_or(|due| due > now));
                }
                Step::PortFails => port_fails = true,
            }
            shard.drain_packets(|packet| assert!(packet.bytes.len() >= 8));
            shard.handed_over(now);
            while let Some(request) = shard.poll_port() {
                if let PortRequest::Bind { leg, .. } = request {
                    let port = if std::mem::take(&mut port_fails) { Err("none".to_owned()) } else { Ok(2000) };
                    shard.bound(leg, port, now);
                }
            }
            while let Some(event) = shard.poll_event() {
                match event {
                    MediaEvent::Opened { leg, .. } => {
                        answered[leg.0 as usize] += 1;
                        prop_assert!(open.insert(leg), "{} opened twice", leg);
                    }
                    MediaEvent::Failed { leg, .. } => answered[leg.0 as usize] += 1,
                    MediaEvent::Closed { leg, .. } => prop_assert!(open.remove(&leg), "{} was not open", leg),
                    MediaEvent::Peer(event) => prop_assert!(false, "no peer was opened: {:?}", event),
                    MediaEvent::Digit { leg, .. }
                    | MediaEvent::Silent { leg }
                    | MediaEvent::Talking { leg, .. } => {
                        prop_assert!(open.contains(&leg), "an event of {} that is not open", leg);
                    }
                }
            }
        }
        prop_assert_eq!(asked, answered);
        prop_assert_eq!(shard.next_timeout().is_some(), !open.is_empty());
    }
}
