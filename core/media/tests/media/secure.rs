//! Two legs that speak SRTP with each other, as two switches would; each has a phone beside it in its mix.

use cordboard_media::DropReason;
use cordboard_model::media::{AudioSetup, Codec, MediaCommand, Mki, Srtp, SrtpKey, SrtpSuite};
use cordboard_model::{LegId, MixId};

use crate::world::tone::snr;
use crate::world::{World, address, setup};

const A: f64 = 440.0;

fn key(suite: SrtpSuite, seed: u8) -> (SrtpSuite, SrtpKey) {
    (suite, SrtpKey::new(suite, vec![seed; suite.key_len()]).unwrap())
}

fn secure(leg: u64, suite: SrtpSuite, send: u8, receive: u8) -> AudioSetup {
    AudioSetup {
        srtp: Some(Srtp {
            send: key(suite, send),
            send_mki: Mki::default(),
            receive: key(suite, receive),
            receive_mki: Mki::default(),
        }),
        ..setup(leg, Codec::Pcmu)
    }
}

/// Phone 1 (440 Hz) and leg 2 in one mix; leg 4 and phone 3 in another; 2 and 4 are joined by SRTP. Leg 4
/// expects the key `expected`, leg 2 sends with key 1.
fn joined(suite: SrtpSuite, expected: u8) -> World {
    let mut world = World::new();
    world.join(1, Codec::Pcmu, A, 0.3);
    world.join_as(2, secure(2, suite, 1, 2), Box::new(|_| 0)).stop();
    world.join(3, Codec::Pcmu, A, 0.0).stop();
    world
        .join_as(4, secure(4, suite, 2, expected), Box::new(|_| 0))
        .stop();
    for leg in [3, 4] {
        let mix = MixId(2);
        world.command(MediaCommand::Move { leg: LegId(leg), mix });
    }
    world.wires.insert(LegId(2), LegId(4));
    world.wires.insert(LegId(4), LegId(2));
    world
}

#[test]
fn audio_and_reports_pass_and_nothing_else_does() {
    for suite in SrtpSuite::ALL {
        let mut world = joined(suite, 1);
        world.run(20_000);
        assert!(snr(world.phone(3).last(2000), A) > 30.0, "{suite:?}");
        let counts = world.shard.counts();
        assert_eq!(counts.dropped, [0; DropReason::ALL.len()], "{suite:?}");
        assert!(counts.control_in > 2, "{suite:?}: reports pass, too");
        let peer = world
            .shard
            .leg(LegId(2))
            .unwrap()
            .totals
            .peer
            .expect("the other side has reported");
        assert_eq!(peer.lost, 0);
        // Plain packets, and repeated ones, are refused.
        let plain = world.phone(1).raw(0, false, &[0xff; 160], 160);
        world.inject(4, address(4), &plain);
        let counts = world.shard.counts();
        assert_eq!(counts.dropped_for(DropReason::Unauthentic), 1);
    }
}

#[test]
fn another_key_gives_silence_and_a_count() {
    for suite in SrtpSuite::ALL {
        let mut world = joined(suite, 9);
        world.run(2000);
        assert!(world.phone(3).heard.iter().all(|sample| sample.abs() <= 8));
        assert!(world.shard.counts().dropped_for(DropReason::Unauthentic) > 80);
        assert_eq!(world.close(4).packets_in, 0);
    }
}

/// The other side, to which nothing is said of it, takes no number twice.
#[test]
fn a_key_that_was_left_for_another_or_for_none_goes_on_to_count() {
    for suite in SrtpSuite::ALL {
        let other = match suite {
            SrtpSuite::AeadAes128Gcm => SrtpSuite::AesCm128HmacSha1_80,
            _ => SrtpSuite::AeadAes128Gcm,
        };
        let mut world = joined(suite, 1);
        for between in [setup(2, Codec::Pcmu), secure(2, other, 1, 2)] {
            world.run(20_000);
            for audio in [between, secure(2, suite, 1, 2)] {
                let leg = LegId(2);
                world.command(MediaCommand::Modify { leg, audio });
            }
        }
        world.run(20_000);
        let counts = world.shard.counts();
        assert_eq!(counts.dropped, [0; DropReason::ALL.len()], "{suite:?}");
        assert!(snr(world.phone(3).last(2000), A) > 30.0, "{suite:?}");
    }
}
