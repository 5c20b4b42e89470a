//! Makes audio longer or shorter by whole periods of its pitch, without a seam.

use crate::sound::{FRAME, Frame};

/// Samples over which two places of the audio are blended: 10 ms.
const BLEND: usize = 80;
/// Shortest period: 2.5 ms.
const SHORTEST: usize = 20;

/// Plays a frame stretched: repeats one period. Returns its length, by which less than a frame is used up.
pub(super) fn lengthen(now: &[i16], frame: &mut Frame) -> usize {
    let lag = best_lag(now, FRAME - BLEND);
    frame[..lag].copy_from_slice(&now[..lag]);
    blend(
        &now[lag..lag + BLEND],
        &now[..BLEND],
        &mut frame[lag..lag + BLEND],
    );
    let rest = FRAME - lag - BLEND;
    frame[lag + BLEND..].copy_from_slice(&now[BLEND..BLEND + rest]);
    lag
}

/// Plays a frame compressed: leaves one period out. Returns its length, by which more than a frame is used
/// up.
pub(super) fn shorten(ahead: &[i16; 2 * FRAME], frame: &mut Frame) -> usize {
    let lag = best_lag(ahead, FRAME);
    blend(&ahead[..BLEND], &ahead[lag..lag + BLEND], &mut frame[..BLEND]);
    frame[BLEND..].copy_from_slice(&ahead[lag + BLEND..lag + FRAME]);
    lag
}

/// Goes over from one place to another.
fn blend(from: &[i16], to: &[i16], out: &mut [i16]) {
    let len = out.len() as i32;
    for (at, (sample, (from, to))) in (0..).zip(out.iter_mut().zip(from.iter().zip(to))) {
        *sample = ((i32::from(*from) * (len - at) + i32::from(*to) * at) / len) as i16;
    }
}

/// The distance, at most `longest`, at which the audio is most like its own beginning; the longest of
/// silence.
fn best_lag(audio: &[i16], longest: usize) -> usize {
    let start = &audio[..BLEND];
    let mut best = (longest, 0.0);
    for lag in (SHORTEST..=longest).rev() {
        let likeness = likeness(start, &audio[lag..lag + BLEND]);
        if likeness > best.1 + 1e-4 {
            best = (lag, likeness);
        }
    }
    best.0
}

/// Normalised correlation of two stretches of equal length: 1 where one is a multiple of the other.
pub(super) fn likeness(one: &[i16], other: &[i16]) -> f32 {
    let (mut product, mut energy_one, mut energy_other) = (0i64, 0i64, 0i64);
    for (a, b) in one.iter().zip(other) {
        let (a, b) = (i64::from(*a), i64::from(*b));
        product += a * b;
        energy_one += a * a;
        energy_other += b * b;
    }
    let energy = (energy_one as f32 * energy_other as f32).sqrt();
    if energy > 0.0 {
        product as f32 / energy
    } else {
        0.0
    }
}
