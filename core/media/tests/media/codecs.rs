//! Every codec to every other: purity, loss, jitter, joins, and streams that are shared or one's own.

use cordboard_media::DropReason;
use cordboard_model::LegId;
use cordboard_model::media::{Codec, MediaCommand};

use crate::lossy::noise;
use crate::world::tone::{goertzel_at, longest_gap_at, sine_at, snr_at};
use crate::world::{World, format, setup};

const A: f64 = 440.0;
const B: f64 = 1000.0;

/// How pure a tone is at least after each codec alone, in dB.
const fn purity(codec: Codec) -> f64 {
    match codec {
        Codec::Opus => 18.0,
        Codec::G722 => 28.0,
        Codec::Pcmu | Codec::Pcma => 33.0,
    }
}

fn pairs() -> impl Iterator<Item = (Codec, Codec)> {
    let all = Codec::ALL.into_iter();
    all.flat_map(|from| Codec::ALL.map(|to| (from, to)))
}

/// Alice says 440 Hz, carol listens.
fn two(from: Codec, to: Codec) -> World {
    let mut world = World::new();
    world.join(1, from, A, 0.3);
    world.join(3, to, A, 0.0).stop();
    world
}

/// What carol hears; the first two seconds do not count.
fn heard(world: &mut World, ms: u64) -> (u64, Vec<i16>) {
    world.run(2000);
    world.phone(3).clear();
    world.run(ms);
    (world.phone(3).rate(), world.phone(3).heard.clone())
}

#[test]
fn a_tone_passes_from_each_codec_to_each_other() {
    for (from, to) in pairs() {
        let mut world = two(from, to);
        let (rate, heard) = heard(&mut world, 3000);
        let snr = snr_at(rate, &heard, A);
        println!("{from:?} to {to:?}: {snr:.1} dB");
        let least = purity(from).min(purity(to)) - 1.5;
        assert!(snr > least, "{from:?} to {to:?}: {snr} dB");
        let level = goertzel_at(rate, &heard, A);
        assert!((0.27..0.33).contains(&level), "{from:?} to {to:?}: {level}");
        assert!(
            heard.len() as u64 >= rate * 29 / 10,
            "{from:?} to {to:?}: {}",
            heard.len()
        );
    }
}

#[test]
fn high_tones_pass_where_both_codecs_can_hold_them() {
    for (from, to, hertz, passes) in [
        (Codec::G722, Codec::G722, 6000.0, true),
        (Codec::Opus, Codec::G722, 6000.0, true),
        (Codec::G722, Codec::Pcmu, 6000.0, false),
        (Codec::Opus, Codec::Pcma, 6000.0, false),
    ] {
        let mut world = World::new();
        world.join(1, from, hertz, 0.3);
        world.join(3, to, hertz, 0.0).stop();
        let (rate, heard) = heard(&mut world, 2000);
        let level = goertzel_at(rate, &heard, hertz.min(rate as f64 - hertz));
        assert_eq!(level > 0.2, passes, "{from:?} to {to:?}: {level}");
        assert!(passes || level < 0.003, "{from:?} to {to:?}: {level}");
    }
}

#[test]
fn loss_and_jitter_are_hardly_heard_with_any_codec() {
    for from in Codec::ALL {
        // libopus, too, makes 12 dB of this: where a steady tone is lost, Opus guesses another phase.
        let less = if from == Codec::Opus { 7.0 } else { 0.0 };
        for (loss, jitter, least, gap_most) in
            [(0.05, 0.0, 18.0 - less, 8.0), (0.05, 60.0, 16.0 - less, 20.0)]
        {
            let mut world = two(from, Codec::Pcmu);
            let mut random = noise(3);
            world.phone(1).network = Box::new(move |_| {
                if random() < loss {
                    vec![]
                } else {
                    vec![10.0 + random() * jitter]
                }
            });
            let (rate, heard) = heard(&mut world, 12_000);
            let (snr, gap) = (snr_at(rate, &heard, A), longest_gap_at(rate, &heard));
            let totals = world.close(1);
            println!(
                "{from:?} 5 % loss, {jitter} ms of jitter: {snr:.1} dB, longest gap {gap:.1} ms, {} late, jitter {:.1} ms",
                totals.late, totals.jitter_ms
            );
            assert!(snr > least, "{from:?} {jitter}: {snr} dB");
            assert!(gap < gap_most, "{from:?} {jitter}: {gap} ms");
            assert!((15..70).contains(&totals.lost), "{from:?} {totals:?}");
            let jitter_ms = f64::from(totals.jitter_ms);
            assert!(
                jitter_ms <= jitter / 2.0 + 1.0 && jitter_ms >= jitter / 6.0,
                "{from:?} {totals:?}"
            );
        }
    }
}

#[test]
fn the_error_correction_of_opus_brings_back_single_losses() {
    // Every tenth packet is lost; a pitch that wanders cannot be guessed from before.
    let run = |fec: bool| {
        let mut world = World::new();
        let audio = setup(1, Codec::Opus);
        let speech = |at: u64| {
            let t = at as f64 / 48_000.0;
            let phase = std::f64::consts::TAU * (300.0 * t - 20.0 * (std::f64::consts::TAU * 3.0 * t).cos());
            let harmonics = (1..8).map(|n| (phase * f64::from(n)).sin() / f64::from(n));
            (harmonics.sum::<f64>() * 5000.0) as i16
        };
        let phone = world.join_as(1, audio, Box::new(speech));
        if let crate::world::coder::Coder::Opus(encoder, _) = &mut phone.coder {
            encoder.use_inband_fec = fec;
            encoder.packet_loss_perc = if fec { 20 } else { 0 };
            encoder.bitrate_bps = 24_000;
        }
        world.join(3, Codec::Pcmu, A, 0.0).stop();
        let mut clear = World::new();
        clear.join_as(1, setup(1, Codec::Opus), Box::new(speech));
        if let crate::world::coder::Coder::Opus(encoder, _) = &mut clear.phone(1).coder {
            encoder.use_inband_fec = fec;
            encoder.packet_loss_perc = if fec { 20 } else { 0 };
            encoder.bitrate_bps = 24_000;
        }
        clear.join(3, Codec::Pcmu, A, 0.0).stop();
        world.phone(1).network = Box::new(|packet| if packet % 10 == 7 { vec![] } else { vec![1.0] });
        let (lossy, whole) = (heard(&mut world, 8000).1, heard(&mut clear, 8000).1);
        let (mut signal, mut noise) = (0.0, 1.0);
        for (a, b) in whole.iter().zip(&lossy) {
            signal += f64::from(*a).powi(2);
            noise += (f64::from(*a) - f64::from(*b)).powi(2);
        }
        10.0 * (signal / noise).log10()
    };
    let (with, without) = (run(true), run(false));
    println!("a tenth lost: {with:.1} dB to the whole stream with error correction, {without:.1} dB without");
    assert!(with > without + 3.0, "{with} and {without}");
}

/// The largest jump of the second difference, as part of full scale: what a click is and a slow tone is not.
fn roughness(samples: &[i16]) -> f64 {
    let second = samples
        .windows(3)
        .map(|w| (i32::from(w[0]) - 2 * i32::from(w[1]) + i32::from(w[2])).abs());
    f64::from(second.max().unwrap_or(0)) / 32_768.0
}

#[test]
fn nobody_clicks_when_phones_of_all_rates_come_and_go() {
    for listener in Codec::ALL {
        let mut world = World::new();
        world.join(3, listener, A, 0.0).stop();
        world.run(1000);
        world.phone(3).clear();
        for (leg, codec) in (10..).zip(Codec::ALL) {
            world.join(leg, codec, 200.0, 0.2);
            world.run(700);
            world.gate(leg, true, false);
            world.run(300);
            world.gate(leg, false, false);
            world.run(500);
            world.close(leg);
            world.run(500);
        }
        let heard = &world.phone(3).heard;
        let step = roughness(heard);
        println!("{listener:?}: roughest step {step:.4}");
        // A tone of 200 Hz at 0.2 bends by 0.005 at 8 kHz; G.711 adds a step of its own (0.2 / 16).
        assert!(step < 0.05, "{listener:?}: {step}");
    }
}

#[test]
fn who_begins_and_stops_to_talk_hears_the_others_without_a_break() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut world = World::new();
        world.join(1, Codec::G722, A, 0.3);
        let mut tone = sine_at(if codec == Codec::Opus { 48_000 } else { 16_000 }, B, 0.3);
        let rate = if codec == Codec::Opus { 48_000 } else { 16_000 };
        // Carol talks in her third, fifth and seventh second.
        let speech = move |at: u64| {
            if (at / rate).is_multiple_of(2) && at / rate > 0 {
                tone(at)
            } else {
                0
            }
        };
        world.join_as(3, setup(3, codec), Box::new(speech));
        world.run(1500);
        world.phone(3).clear();
        world.run(8000);
        let carol = world.phone(3);
        let (rate, heard) = (carol.rate(), carol.heard.clone());
        let worst = heard
            .chunks_exact(rate as usize / 10)
            .map(|block| snr_at(rate, block, A))
            .fold(f64::INFINITY, f64::min);
        println!("{codec:?}: worst 100 ms {worst:.1} dB");
        assert!(worst > purity(codec) - 8.0, "{codec:?}: {worst} dB");
        assert!(longest_gap_at(rate, &heard) < 5.0);
        assert!(goertzel_at(rate, &heard, B) < 0.003, "not itself");
    }
}

#[test]
fn packets_are_as_long_as_was_agreed() {
    for (codec, ms, lens) in [
        (Codec::G722, 10, 80),
        (Codec::G722, 60, 480),
        (Codec::Pcma, 30, 240),
    ] {
        let mut world = two(Codec::Pcmu, codec);
        let mut audio = setup(3, codec);
        audio.format = format(codec, ms);
        world.command(MediaCommand::Modify { leg: LegId(3), audio });
        world.run(100);
        world.phone(3).payload_lens.clear();
        let (rate, heard) = heard(&mut world, 2000);
        assert_eq!(
            world.phone(3).payload_lens.iter().copied().collect::<Vec<_>>(),
            [lens]
        );
        assert!(snr_at(rate, &heard, A) > 28.0, "{codec:?} {ms}");
    }
    for (ms, packets) in [(20, 100), (40, 50), (60, 33)] {
        let mut world = two(Codec::Pcmu, Codec::Opus);
        let mut audio = setup(3, Codec::Opus);
        audio.format = format(Codec::Opus, ms);
        world.command(MediaCommand::Modify { leg: LegId(3), audio });
        let (rate, heard) = heard(&mut world, 2000);
        let got = world.phone(3).arrivals.len();
        assert!(got.abs_diff(packets) <= 2, "{ms} ms: {got} packets");
        assert!(snr_at(rate, &heard, A) > 18.0, "{ms} ms");
    }
}

#[test]
fn opus_says_little_while_there_is_silence() {
    let mut world = World::new();
    world.join(3, Codec::Opus, A, 0.0).stop();
    world.run(2000);
    world.phone(3).clear();
    world.run(4000);
    let packets = world.phone(3).arrivals.len();
    assert!((8..=12).contains(&packets), "{packets}");
    world.join(1, Codec::Opus, A, 0.3);
    world.run(3000);
    assert!(snr_at(48_000, world.phone(3).last(1000), A) > 18.0);
}

#[test]
fn a_sender_may_pause_and_change_its_codec() {
    let mut world = two(Codec::Opus, Codec::Pcmu);
    world.run(1500);
    for _ in 0..3 {
        // DTX: nothing comes, the clock goes on.
        let interval = std::mem::take(&mut world.phone(1).interval);
        world.run(600);
        assert!(world.phone(3).last(300).iter().all(|sample| sample.abs() <= 8));
        let at = world.elapsed();
        world.phone(1).resume(at, interval, 600 * 48);
        world.run(1000);
        assert!(snr_at(8000, world.phone(3).last(500), A) > 18.0);
    }
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus, Codec::Pcmu] {
        let rate = crate::world::coder::rate(codec);
        let phone = world.phone(1);
        (phone.codec, phone.coder) = (codec, crate::world::coder::Coder::new(codec));
        phone.packet = rate as usize / 50;
        phone.speech = Box::new(sine_at(rate, A, 0.3));
        world.run(1500);
        let snr = snr_at(8000, world.phone(3).last(800), A);
        assert!(snr > purity(codec) - 1.5, "{codec:?}: {snr}");
    }
    assert_eq!(world.close(1).lost, 0);
}

#[test]
fn comfort_noise_is_a_pause_and_no_fault() {
    let mut world = two(Codec::Pcmu, Codec::Pcmu);
    world.run(1000);
    world.phone(1).stop();
    for _ in 0..10 {
        let packet = world.phone(1).raw(13, false, &[60], 1600);
        world.inject(1, crate::world::address(1), &packet);
        world.run(200);
    }
    assert!(world.phone(3).last(500).iter().all(|sample| sample.abs() <= 8));
    let counts = world.shard.counts();
    assert_eq!(counts.dropped, [0; DropReason::ALL.len()]);
}
