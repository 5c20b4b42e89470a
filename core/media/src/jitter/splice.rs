//! Makes audio longer or shorter by whole periods of its pitch, without a seam.

use std::ops::RangeInclusive;

/// Samples over which two places of the audio are blended: 10 ms of a frame of 20.
const fn blended(frame: usize) -> usize {
    frame / 2
}

/// Plays a frame stretched: repeats one period. Returns its length, by which less than a frame is used up.
pub(super) fn lengthen<const F: usize>(now: &[i16], frame: &mut [i16; F]) -> usize {
    let over = blended(F);
    let lag = seam::<F>(now, F - over);
    frame[..lag].copy_from_slice(&now[..lag]);
    blend(&now[lag..lag + over], &now[..over], &mut frame[lag..lag + over]);
    let rest = F - lag - over;
    frame[lag + over..].copy_from_slice(&now[over..over + rest]);
    lag
}

/// Plays a frame compressed: leaves one period out. `ahead` is two frames. Returns the period's length, by
/// which more than a frame is used up.
pub(super) fn shorten<const F: usize>(ahead: &[i16], frame: &mut [i16; F]) -> usize {
    let over = blended(F);
    let lag = seam::<F>(ahead, F);
    blend(&ahead[..over], &ahead[lag..lag + over], &mut frame[..over]);
    frame[over..].copy_from_slice(&ahead[lag + over..lag + F]);
    lag
}

/// Goes over from one place to another.
fn blend(from: &[i16], to: &[i16], out: &mut [i16]) {
    let len = out.len() as i32;
    for (at, (sample, (from, to))) in (0..).zip(out.iter_mut().zip(from.iter().zip(to))) {
        *sample = ((i32::from(*from) * (len - at) + i32::from(*to) * at) / len) as i16;
    }
}

/// The distance, at most `longest` and at least 2.5 ms, at which the audio is most like its own beginning;
/// the longest of silence.
fn seam<const F: usize>(audio: &[i16], longest: usize) -> usize {
    best_lag(
        audio,
        &Search {
            at: 0,
            len: blended(F),
            lags: F / 8..=longest,
            back: false,
            margin: 1e-4,
            step: F / 160,
        },
    )
}

/// Where to look for what is like a stretch of audio.
pub(super) struct Search {
    /// The stretch that is compared.
    pub(super) at: usize,
    pub(super) len: usize,
    /// How far away to look, and whether backwards.
    pub(super) lags: RangeInclusive<usize>,
    pub(super) back: bool,
    /// By how much a shorter distance must be better.
    pub(super) margin: f32,
    /// Only every so many samples and distances are looked at, and then those around the best: as many as
    /// at 8 kHz.
    pub(super) step: usize,
}

/// The best distance; the longest if nothing is alike.
pub(super) fn best_lag(audio: &[i16], search: &Search) -> usize {
    let (shortest, longest) = (*search.lags.start(), *search.lags.end());
    let alike = |lag: usize, step: usize| {
        let other = if search.back {
            search.at - lag
        } else {
            search.at + lag
        };
        let [one, other] = [search.at, other].map(|at| &audio[at..at + search.len]);
        likeness(one, other, step)
    };
    let mut best = (longest, 0.0);
    for lag in (shortest..=longest).rev().step_by(search.step) {
        let likeness = alike(lag, search.step);
        if likeness > best.1 + search.margin {
            best = (lag, likeness);
        }
    }
    if search.step == 1 {
        return best.0;
    }
    let near =
        (best.0 + 1).saturating_sub(search.step).max(shortest)..(best.0 + search.step).min(longest + 1);
    let fine = near.rev().map(|lag| (lag, alike(lag, 1)));
    fine.fold(
        (best.0, 0.0),
        |best, next| if next.1 > best.1 { next } else { best },
    )
    .0
}

/// Normalised correlation of every `step`th sample of two stretches of equal length: 1 where one is a
/// multiple of the other.
fn likeness(one: &[i16], other: &[i16], step: usize) -> f32 {
    if step == 1 {
        correlate(one.iter().zip(other))
    } else {
        correlate(one.iter().zip(other).step_by(step))
    }
}

fn correlate<'a>(pairs: impl Iterator<Item = (&'a i16, &'a i16)>) -> f32 {
    let (mut product, mut energy_one, mut energy_other) = (0i64, 0i64, 0i64);
    for (a, b) in pairs {
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
