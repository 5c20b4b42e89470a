//! Who hears whom, how well, and what it costs those who hear nothing.

use crate::world::tone::{goertzel, goertzel_at, largest_step, longest_gap, sine, snr};
use crate::world::{PATIENCE, World, format, longest_pause, setup};
use cordboard_media::DropReason;
use cordboard_model::media::{AudioSetup, Codec, Direction, MediaCommand, MediaEvent, OpusLimit, OpusStep};
use cordboard_model::{LegId, MixId};

const A: f64 = 440.0;
const B: f64 = 1000.0;

/// Alice says 440 Hz, bob 1 kHz in A-law, carol listens.
fn three() -> World {
    let mut world = World::new();
    world.join(1, Codec::Pcmu, A, 0.3);
    world.join(2, Codec::Pcma, B, 0.3);
    world.join(3, Codec::Pcmu, A, 0.0);
    world
}

#[test]
fn each_hears_the_others_and_not_itself() {
    let mut world = three();
    world.run(3000);
    let alice = world.phone(1).last(2000);
    assert!((goertzel(alice, B) - 0.3).abs() < 0.01, "{}", goertzel(alice, B));
    assert!(goertzel(alice, A) < 0.001, "{}", goertzel(alice, A));
    assert!(snr(alice, B) > 33.0, "{}", snr(alice, B));
    let bob = world.phone(2).last(2000);
    assert!(goertzel(bob, B) < 0.001 && snr(bob, A) > 33.0, "{}", snr(bob, A));
    let carol = world.phone(3).last(2000);
    assert!((goertzel(carol, A) - 0.3).abs() < 0.01 && (goertzel(carol, B) - 0.3).abs() < 0.01);
}

#[test]
fn listeners_get_a_packet_each_20_ms_from_the_start_whoever_talks() {
    let mut world = World::new();
    world.join(1, Codec::Pcma, A, 0.0).stop();
    world.run(1000);
    let alone = world.phone(1);
    assert_eq!(alone.arrivals.len(), 50);
    assert_eq!(longest_pause(&alone.arrivals), 20);
    assert!(
        alone.heard.iter().all(|sample| sample.abs() <= 8),
        "alone is silence"
    );
    assert_eq!(alone.markers, 0);
    world.join(2, Codec::Pcmu, B, 0.3);
    world.run(1000);
    let together = world.phone(1);
    assert_eq!(
        (together.arrivals.len(), together.markers),
        (100, 1),
        "the marker shows where talk begins"
    );
}

#[test]
fn loud_voices_are_limited_without_wrapping() {
    let mut world = World::new();
    for leg in 1..=4 {
        world.join(leg, Codec::Pcmu, 300.0, 0.9);
    }
    world.join(5, Codec::Pcmu, A, 0.0);
    world.run(1000);
    let heard = world.phone(5).last(500);
    // Four such tones rise by up to 0.85 a sample; a sum that wraps around steps by almost 2.
    assert!(largest_step(heard) < 1.2, "{}", largest_step(heard));
    assert!(goertzel(heard, 300.0) > 0.8);
}

#[test]
fn the_muted_are_not_heard_and_the_deaf_hear_nothing_and_neither_clicks() {
    let mut world = three();
    world.run(2000);
    world.gate(1, true, false);
    world.gate(3, false, true);
    world.run(2000);
    assert!(goertzel(world.phone(2).last(1500), A) < 0.001, "alice is muted");
    assert!(
        (goertzel(world.phone(1).last(1500), B) - 0.3).abs() < 0.01,
        "and hears"
    );
    assert!(
        world.phone(3).last(1500).iter().all(|sample| sample.abs() <= 8),
        "carol is deaf"
    );
    world.gate(1, false, false);
    world.gate(3, false, false);
    world.run(2000);
    let bob = world.phone(2).last(1000);
    assert!((goertzel(bob, A) - 0.3).abs() < 0.01);
    assert!((goertzel(world.phone(3).last(1000), A) - 0.3).abs() < 0.01);
    // A 440 Hz tone at 0.3 moves by 0.104 a sample at most; both tones together by 0.34.
    let (bob, carol) = (
        largest_step(&world.phone(2).heard),
        largest_step(&world.phone(3).heard),
    );
    assert!(bob < 0.125 && carol < 0.37, "{bob} {carol}");
}

#[test]
fn joins_leaves_and_moves_do_not_click() {
    let mut world = three();
    world.run(1000);
    world.command(MediaCommand::Move {
        leg: LegId(1),
        mix: MixId(2),
    });
    world.run(1000);
    assert!(
        goertzel(world.phone(3).last(500), A) < 0.001,
        "alice is elsewhere"
    );
    assert!(world.phone(1).last(500).iter().all(|sample| sample.abs() <= 8));
    world.command(MediaCommand::Move {
        leg: LegId(1),
        mix: MixId(1),
    });
    world.run(1000);
    assert!(
        (goertzel(world.phone(3).last(500), A) - 0.3).abs() < 0.01,
        "and back"
    );
    world.close(2);
    world.run(500);
    assert!(goertzel(world.phone(3).last(400), B) < 0.001);
    for leg in [1, 3] {
        let step = largest_step(&world.phone(leg).heard);
        assert!(step < 0.37, "leg {leg} clicks: {step}");
    }
    assert!(longest_gap(&world.phone(3).last(2000)[..14_000]) < 3.0);
}

#[test]
fn directions_of_the_description_count() {
    let mut world = World::new();
    world.join(1, Codec::Pcmu, A, 0.3);
    let only_listens = AudioSetup {
        direction: Direction {
            send: true,
            receive: false,
        },
        ..setup(2, Codec::Pcmu)
    };
    world.join_as(2, only_listens, Box::new(sine(B, 0.3)));
    let only_talks = AudioSetup {
        direction: Direction {
            send: false,
            receive: true,
        },
        ..setup(3, Codec::Pcmu)
    };
    world.join_as(3, only_talks, Box::new(sine(2000.0, 0.3)));
    world.run(2000);
    let heard = world.phone(1).last(1000);
    assert!(goertzel(heard, B) < 0.001 && (goertzel(heard, 2000.0) - 0.3).abs() < 0.01);
    assert!(world.phone(2).heard.len() > 15_000);
    assert!(world.phone(3).heard.is_empty());
    let counts = world.shard.counts();
    assert_eq!((counts.streams_in, counts.streams_out, counts.mixes), (2, 2, 1));
}

#[test]
fn each_packet_length_and_codec_is_sent_as_asked() {
    let mut world = World::new();
    world.join(1, Codec::Pcmu, A, 0.3);
    for (leg, packet_ms) in [(2, 10), (3, 30), (4, 40), (5, 60), (6, 20)] {
        let codec = if leg % 2 == 0 { Codec::Pcma } else { Codec::Pcmu };
        let audio = AudioSetup {
            format: format(codec, packet_ms),
            ..setup(leg, codec)
        };
        world.join_as(leg, audio, Box::new(|_| 0));
    }
    world.run(3000);
    for (leg, len) in [(2, 80), (3, 240), (4, 320), (5, 480), (6, 160)] {
        let phone = world.phone(leg);
        assert_eq!(phone.payload_lens.iter().copied().collect::<Vec<_>>(), [len]);
        assert!(
            (23_000..=24_000).contains(&phone.heard.len()),
            "{}",
            phone.heard.len()
        );
        assert!(snr(phone.last(2000), A) > 33.0);
    }
}

#[test]
fn each_listener_gets_as_much_opus_as_it_takes() {
    let mut world = World::new();
    world.join(1, Codec::Pcmu, A, 0.3);
    let limits = [
        (2, OpusLimit::default()),
        (
            3,
            OpusLimit {
                step: OpusStep::NarrowLow,
                constant: true,
            },
        ),
        (
            4,
            OpusLimit {
                step: OpusStep::WideLow,
                constant: false,
            },
        ),
    ];
    for (leg, opus) in limits {
        let mut audio = setup(leg, Codec::Opus);
        audio.format.opus = opus;
        world.join_as(leg, audio, Box::new(|_| 0));
    }
    world.run(1000);
    for leg in [2, 3, 4] {
        world.phone(leg).payload_lens.clear();
    }
    world.run(1000);
    let lens = |world: &mut World, leg| world.phone(leg).payload_lens.iter().copied().collect::<Vec<_>>();
    assert_eq!(lens(&mut world, 3), [20], "8 kbit/s, each packet alike");
    let (most, less) = (lens(&mut world, 2), lens(&mut world, 4));
    assert!(most.last() > less.last(), "{most:?} {less:?}");
    for leg in [2, 3, 4] {
        assert!(goertzel_at(48_000, world.phone(leg).last(500), A) > 0.2, "{leg}");
    }
    // The packets stay alike when nobody talks.
    world.phone(1).stop();
    world.run(2000);
    let before = world.phone(3).arrivals.len();
    world.run(1000);
    assert_eq!(world.phone(3).arrivals.len(), before + 50);
    assert_eq!(lens(&mut world, 3), [20]);
}

#[test]
fn a_change_of_codec_goes_on_with_the_same_stream() {
    let mut world = three();
    world.run(1000);
    // The phone's own check: source and sequence go on.
    world.command(MediaCommand::Modify {
        leg: LegId(3),
        audio: setup(3, Codec::Pcma),
    });
    world.run(1000);
    assert!((goertzel(world.phone(3).last(800), A) - 0.3).abs() < 0.01);
}

#[test]
fn a_leg_without_a_description_waits_for_it() {
    let mut world = three();
    let local = "10.0.0.1".parse().unwrap();
    let open = MediaCommand::Open {
        leg: LegId(9),
        mix: MixId(1),
        local,
        audio: None,
        muted: false,
        deaf: false,
        patience: PATIENCE,
    };
    world.command(open);
    assert_eq!(
        world.events.last().unwrap().1,
        MediaEvent::Opened {
            leg: LegId(9),
            port: 20_018
        }
    );
    let packet = world.phone(1).packet();
    world.inject(9, crate::world::address(9), &packet);
    assert_eq!(world.shard.counts().dropped_for(DropReason::NotReady), 1);
    world.run(500);
}

#[test]
fn opens_and_closes_are_answered_exactly_once() {
    let mut world = three();
    world.run(100);
    let local = "10.0.0.1".parse().unwrap();
    let open = |leg| MediaCommand::Open {
        leg,
        mix: MixId(1),
        local,
        audio: None,
        muted: false,
        deaf: false,
        patience: PATIENCE,
    };
    world.command(open(LegId(1)));
    assert!(matches!(
        world.events.last().unwrap().1,
        MediaEvent::Failed { leg: LegId(1), .. }
    ));
    // The shell has not answered yet when the leg closes.
    let (shard, now) = (&mut world.shard, world.now);
    shard.command(open(LegId(7)), now);
    shard.command(MediaCommand::Close { leg: LegId(7) }, now);
    assert_eq!(shard.poll_event(), None);
    shard.bound(LegId(7), Ok(40_000), now);
    assert_eq!(
        shard.poll_event(),
        Some(MediaEvent::Opened {
            leg: LegId(7),
            port: 40_000
        })
    );
    assert!(matches!(
        shard.poll_event(),
        Some(MediaEvent::Closed { leg: LegId(7), .. })
    ));
    shard.command(open(LegId(8)), now);
    shard.bound(LegId(8), Err("no port".to_owned()), now);
    assert!(matches!(
        shard.poll_event(),
        Some(MediaEvent::Failed { leg: LegId(8), .. })
    ));
    shard.command(MediaCommand::Close { leg: LegId(8) }, now);
    assert_eq!(shard.poll_event(), None);
    for leg in 1..=3 {
        world.close(leg);
    }
    assert_eq!(world.shard.next_timeout(), None, "nothing is left to do");
    assert_eq!(world.shard.counts().mixes, 0);
}

#[test]
fn relay_latency_is_from_the_stamp_to_the_frame_that_is_sent() {
    let mut world = three();
    world.run(2000);
    let latency = world.shard.counts().mix_latency;
    let mean = latency.sum() / latency.count() as f64;
    assert!(latency.count() > 180, "{}", latency.count());
    // The playout delay is 40 ms, to the nearest tick.
    assert!((0.03..0.05).contains(&mean), "{mean}");
}
