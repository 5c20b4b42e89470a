//! What is heard through networks that lose, delay, swap and repeat, and from phones with odd clocks.

use cordboard_media::DropReason;
use cordboard_model::media::Codec;

use crate::world::tone::{largest_step, longest_gap, snr};
use crate::world::{MS, World, longest_pause};

const A: f64 = 440.0;

/// Numbers that look random, the same in each run.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    }
}

/// Alice says 440 Hz, carol listens.
fn two() -> World {
    let mut world = World::new();
    world.join(1, Codec::Pcmu, A, 0.3);
    world.join(3, Codec::Pcmu, A, 0.0).stop();
    world
}

/// What carol hears; the first two seconds do not count.
fn heard(world: &mut World, ms: u64) -> Vec<i16> {
    world.run(2000);
    world.phone(3).clear();
    world.run(ms);
    let carol = world.phone(3);
    assert!(
        longest_pause(&carol.arrivals) <= 20,
        "the stream to the listener never pauses"
    );
    carol.heard.clone()
}

#[test]
fn five_percent_loss_is_hardly_heard() {
    let mut world = two();
    let mut random = noise(1);
    world.phone(1).network = Box::new(move |_| if random() < 0.05 { vec![] } else { vec![1.0] });
    let heard = heard(&mut world, 20_000);
    let (snr, gap) = (snr(&heard, A), longest_gap(&heard));
    assert!(snr > 20.0, "{snr}");
    assert!(gap < 3.0, "{gap} ms");
    let totals = world.close(1);
    assert!((30..80).contains(&totals.lost), "{totals:?}");
    assert_eq!(totals.late, 0);
}

#[test]
fn loss_with_sixty_ms_of_jitter_is_absorbed() {
    let mut world = two();
    let mut random = noise(2);
    world.phone(1).network = Box::new(move |_| {
        if random() < 0.05 {
            vec![]
        } else {
            vec![10.0 + random() * 60.0]
        }
    });
    let heard = heard(&mut world, 30_000);
    let (snr, gap) = (snr(&heard, A), longest_gap(&heard));
    let totals = world.close(1);
    assert!(snr > 18.0, "{snr} {totals:?}");
    assert!(gap < 15.0, "{gap} ms");
    assert!(totals.late < 15, "{totals:?}");
    assert!((10.0..40.0).contains(&totals.jitter_ms), "{totals:?}");
}

#[test]
fn swapped_and_repeated_packets_are_put_right() {
    let mut world = two();
    world.phone(1).network = Box::new(|packet| match packet % 10 {
        3 => vec![25.0],       // after its successor
        5 => vec![1.0, 5.0],   // twice
        7 => vec![1.0, 300.0], // and again long after
        _ => vec![1.0],
    });
    let heard = heard(&mut world, 10_000);
    assert!(snr(&heard, A) > 33.0, "{}", snr(&heard, A));
    let counts = world.shard.counts();
    assert!(counts.dropped_for(DropReason::Duplicate) > 100);
    let totals = world.close(1);
    assert_eq!((totals.lost, totals.late), (0, 0));
}

#[test]
fn one_long_delay_is_survived_and_forgotten() {
    let mut world = two();
    // A network that stands still for 120 ms, once.
    world.phone(1).network = Box::new(|packet| {
        if (150..156).contains(&packet) {
            vec![1.0 + (156 - packet) as f64 * 20.0]
        } else {
            vec![1.0]
        }
    });
    let heard = heard(&mut world, 20_000);
    assert!(longest_gap(&heard) < 80.0, "{}", longest_gap(&heard));
    assert!(snr(&heard[80_000..], A) > 30.0);
    let latency = |world: &World| {
        let latency = world.shard.counts().mix_latency;
        (latency.sum(), latency.count())
    };
    let before = latency(&world);
    world.run(2000);
    let after = latency(&world);
    let mean = (after.0 - before.0) / (after.1 - before.1) as f64;
    assert!(mean < 0.06, "the delay shrinks again: {mean}");
}

#[test]
fn fast_and_slow_clocks_are_followed_without_a_gap() {
    for interval in [19_900_000, 20_100_000] {
        let mut world = two();
        // Half a percent off: a hundred times worse than a bad crystal.
        world.phone(1).interval = interval;
        let heard = heard(&mut world, 60_000);
        assert!(longest_gap(&heard) < 3.0, "{interval}: {}", longest_gap(&heard));
        assert!(snr(&heard, A) > 20.0, "{interval}: {}", snr(&heard, A));
        assert!(
            largest_step(&heard) < 0.13,
            "{interval}: {}",
            largest_step(&heard)
        );
        let counts = world.shard.counts();
        assert_eq!(
            counts.dropped_for(DropReason::Overflow) + counts.dropped_for(DropReason::Late),
            0
        );
        let mean = counts.mix_latency.sum() / counts.mix_latency.count() as f64;
        assert!(mean < 0.08, "{interval}: {mean}");
    }
}

#[test]
fn any_packet_length_is_taken() {
    for ms in [5, 10, 30, 40, 60, 100, 200] {
        let mut world = two();
        let alice = world.phone(1);
        (alice.packet, alice.interval) = (ms * 8, ms as u64 * MS);
        let heard = heard(&mut world, 5_000);
        assert!(snr(&heard, A) > 33.0, "{ms} ms: {}", snr(&heard, A));
        assert_eq!(world.close(1).lost, 0);
    }
}

#[test]
fn sequence_and_timestamp_wrap_unheard() {
    let mut world = two();
    let alice = world.phone(1);
    (alice.sequence, alice.timestamp) = (65_400, u32::MAX - 160 * 150);
    let heard = heard(&mut world, 3_000);
    assert!(snr(&heard, A) > 33.0);
    assert_eq!(world.close(1).lost, 0);
}

#[test]
fn a_new_source_and_a_jump_of_timestamps_are_followed() {
    let mut world = two();
    world.run(2000);
    let alice = world.phone(1);
    (alice.ssrc, alice.sequence, alice.timestamp) = (42, 5, 9);
    world.run(1000);
    assert!(snr(world.phone(3).last(800), A) > 33.0, "another source");
    world.phone(1).timestamp += 1_000_000;
    world.run(1000);
    assert!(snr(world.phone(3).last(800), A) > 33.0, "timestamps far ahead");
    world.phone(1).timestamp -= 500_000;
    world.run(1000);
    assert!(snr(world.phone(3).last(800), A) > 33.0, "timestamps far back");
    let alice = world.phone(1);
    (alice.sequence, alice.timestamp) = (alice.sequence.wrapping_add(20_000), 1);
    world.run(1000);
    assert!(
        snr(world.phone(3).last(800), A) > 33.0,
        "a restart with the same source"
    );
    assert_eq!(world.shard.counts().dropped_for(DropReason::OutOfSequence), 1);
}

#[test]
fn pauses_of_the_sender_are_no_loss_and_do_not_lengthen_the_delay() {
    let mut world = two();
    world.run(1000);
    for _ in 0..5 {
        // Silence suppression: the sender's clock goes on, its sequence numbers do not.
        let interval = std::mem::take(&mut world.phone(1).interval);
        world.run(1000);
        assert!(world.phone(3).last(800).iter().all(|sample| sample.abs() <= 8));
        let at = world.elapsed();
        world.phone(1).resume(at, interval, 8000);
        world.run(1000);
        assert!(snr(world.phone(3).last(800), A) > 33.0);
    }
    let latency = world.shard.counts().mix_latency;
    assert!(latency.sum() / (latency.count() as f64) < 0.05);
    assert!(largest_step(&world.phone(3).heard) < 0.125);
    let totals = world.close(1);
    assert_eq!((totals.lost, totals.late), (0, 0));
}

#[test]
fn a_flood_of_audio_is_bounded() {
    let mut world = two();
    // Twice the speed that its timestamps claim.
    world.phone(1).interval = 10 * MS;
    world.run(10_000);
    let counts = world.shard.counts();
    assert!(counts.dropped_for(DropReason::Overflow) > 5);
    let mean = counts.mix_latency.sum() / counts.mix_latency.count() as f64;
    assert!(mean < 0.28, "{mean}");
    let gap = longest_gap(world.phone(3).last(5000));
    assert!(gap < 120.0, "{gap} ms");
}

#[test]
fn a_thread_that_comes_late_catches_up() {
    let mut world = two();
    world.run(1000);
    let before = world.phone(3).heard.len();
    // Nobody calls the shard for 100 ms, then for 10 s.
    for pause in [100, 10_000] {
        world.now.0 += pause * MS;
        for phone in world.phones.values_mut() {
            phone.postpone(pause * MS);
        }
        world.run(20);
    }
    assert!(world.shard.counts().ticks_skipped > 400);
    assert!(world.phone(3).heard.len() - before < 160 * 30);
    world.run(2000);
    assert!(snr(world.phone(3).last(1000), A) > 33.0);
}
