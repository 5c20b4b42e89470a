//! Keys that are pressed towards a peer: events where it takes them, else tones.

use cordboard_model::LegId;
use cordboard_model::media::{AudioSetup, Codec, MediaCommand};

use crate::world::tone::{goertzel_at, snr_at};
use crate::world::{World, setup};

fn press(world: &mut World, leg: u64, text: &str) {
    world.command(MediaCommand::Digits {
        leg: LegId(leg),
        text: text.to_owned(),
    });
}

fn toneless(leg: u64, codec: Codec) -> AudioSetup {
    let mut audio = setup(leg, codec);
    audio.format.events.clear();
    audio
}

#[test]
fn events_grow_end_three_times_and_audio_goes_on() {
    for (codec, clock) in [(Codec::Pcmu, 8000u32), (Codec::Opus, 8000), (Codec::Opus, 48_000)] {
        let mut world = World::new();
        world.join(1, Codec::Pcmu, 440.0, 0.3);
        let mut audio = setup(3, codec);
        audio.format.events = vec![(101, clock)];
        world.join_as(3, audio, Box::new(|_| 0)).stop();
        world.run(1000);
        press(&mut world, 3, "7#");
        world.run(1000);
        let phone = world.phone(3);
        assert_eq!(phone.keys.len(), 14, "{codec:?}");
        for (at, key) in phone.keys.chunks(7).zip([7u8, 11]) {
            let step = (clock / 50) as u16;
            assert!(
                at.iter().all(|(timestamp, ..)| *timestamp == at[0].0),
                "one time for one press"
            );
            assert_eq!(
                at.iter().map(|(_, marker, _)| *marker).collect::<Vec<_>>(),
                [true, false, false, false, false, false, false]
            );
            for ((_, _, payload), (duration, end)) in
                at.iter()
                    .zip([(1, 0), (2, 0), (3, 0), (4, 0), (5, 128), (5, 128), (5, 128)])
            {
                let [high, low] = (duration * step).to_be_bytes();
                assert_eq!(payload[..], [key, end | 10, high, low]);
            }
        }
        let between = phone.keys[7].0.wrapping_sub(phone.keys[0].0);
        assert_eq!(between, codec.clock() * 9 / 50, "180 ms from press to press");
        let rate = phone.rate();
        assert!(snr_at(rate, phone.last(500), 440.0) > 17.0, "{codec:?}");
    }
}

#[test]
fn a_switch_hears_the_keys_that_another_presses() {
    let mut world = World::new();
    world.join(1, Codec::Pcmu, 440.0, 0.3);
    world.join(3, Codec::Pcmu, 440.0, 0.0).stop();
    world.run(500);
    press(&mut world, 1, "0123456789*#ABCDx");
    // What comes out of leg 1 goes into leg 3.
    world.wires.insert(LegId(1), LegId(3));
    world.run(5000);
    assert_eq!(world.digits(), "0123456789*#ABCD");
}

#[test]
fn tones_are_heard_by_who_takes_no_events() {
    for codec in Codec::ALL {
        let mut world = World::new();
        world.join_as(3, toneless(3, codec), Box::new(|_| 0)).stop();
        world.run(1000);
        world.phone(3).clear();
        press(&mut world, 3, "5");
        world.run(400);
        let phone = world.phone(3);
        assert!(phone.keys.is_empty());
        let (rate, heard) = (phone.rate(), phone.heard.clone());
        let loud = heard
            .iter()
            .position(|sample| sample.unsigned_abs() > 1000)
            .unwrap();
        let heard = &heard[loud..];
        let part = |from: usize, to: usize| &heard[from * rate as usize / 1000..to * rate as usize / 1000];
        // Row 770 Hz, column 1336 Hz, for 100 ms.
        for hertz in [770.0, 1336.0] {
            let level = goertzel_at(rate, part(20, 80), hertz);
            assert!((0.15..0.4).contains(&level), "{codec:?} {hertz}: {level}");
        }
        assert!(goertzel_at(rate, part(20, 80), 941.0) < 0.06);
        // Opus lets a tone die away for some tens of milliseconds.
        assert!(
            part(150, 240).iter().all(|sample| sample.unsigned_abs() < 1000),
            "{codec:?}"
        );
    }
}
