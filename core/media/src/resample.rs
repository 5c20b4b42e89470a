//! Changes the rate of audio by a factor of 2, 3 or 6 with a polyphase filter of linear phase.
//!
//! All phases come from one windowed sinc per factor, so that going up and down are alike. It is flat up to
//! 0.86 of the lower rate's half, half as strong at 0.98 of it, and lets less than a thousandth through from
//! 1.12 of it. The delay is 20 samples of the lower rate.

use std::f64::consts::PI;
use std::sync::LazyLock;

use crate::rate::{LONGEST_FRAME, Rate};

/// Taps per phase.
const TAPS: usize = 40;
/// The largest factor.
const MAX_FACTOR: usize = 6;
/// Samples that are remembered at most.
const HISTORY: usize = TAPS * MAX_FACTOR;
/// Where the filter is half as strong, as part of the lower rate's half.
const CUTOFF: f64 = 0.98;
/// A factor of one, as a tap: as large as sums of the loudest samples allow.
const ONE: i32 = 1 << SHIFT;
const SHIFT: u32 = 14;
/// Shape of the Kaiser window: 65 dB.
const BETA: f64 = 6.2;

/// One filter: phases for going up, the whole for going down; sums are [`ONE`].
#[derive(Debug)]
struct Kernel {
    /// `factor` phases of `TAPS`, each in the order of the samples.
    up: Vec<i16>,
    down: Vec<i16>,
}

static KERNELS: LazyLock<[Kernel; 3]> = LazyLock::new(|| [2, 3, 6].map(Kernel::new));

impl Kernel {
    fn of(factor: usize) -> &'static Self {
        &KERNELS[match factor {
            2 => 0,
            3 => 1,
            _ => 2,
        }]
    }

    fn new(factor: usize) -> Self {
        let len = TAPS * factor;
        let middle = (len - 1) as f64 / 2.0;
        let sinc: Vec<f64> = (0..len)
            .map(|at| {
                let x = at as f64 - middle;
                let width = CUTOFF / factor as f64;
                let window = bessel(BETA * (1.0 - (x / (middle + 0.5)).powi(2)).sqrt()) / bessel(BETA);
                (PI * width * x).sin() / (PI * x) * window
            })
            .collect();
        // Output n of phase p is the sum over k of sinc[p + k * factor] * input[n - k]; reversed, so that
        // both run forwards.
        let up = (0..factor).flat_map(|phase| {
            let taps: Vec<f64> = (0..TAPS).rev().map(|k| sinc[phase + k * factor]).collect();
            whole(&taps)
        });
        Self {
            up: up.collect(),
            down: whole(&sinc),
        }
    }
}

/// The taps as whole numbers whose sum is exactly [`ONE`].
fn whole(taps: &[f64]) -> Vec<i16> {
    let total: f64 = taps.iter().sum();
    let mut whole: Vec<i16> = taps
        .iter()
        .map(|tap| (tap / total * f64::from(ONE)).round() as i16)
        .collect();
    let rest = ONE - whole.iter().map(|tap| i32::from(*tap)).sum::<i32>();
    let largest = (0..whole.len()).max_by_key(|at| whole[*at]).unwrap_or(0);
    whole[largest] += rest as i16;
    whole
}

/// The modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

/// One stream's change from one rate to another.
#[derive(Debug, Clone)]
pub(crate) struct Resampler {
    from: Rate,
    to: Rate,
    /// The newest samples, as many as the filter looks back.
    history: [i16; HISTORY],
}

impl Resampler {
    /// Starts after silence. The rates must differ.
    pub(crate) const fn new(from: Rate, to: Rate) -> Self {
        Self {
            from,
            to,
            history: [0; HISTORY],
        }
    }

    pub(crate) const fn from(&self) -> Rate {
        self.from
    }

    /// Changes one frame of 20 ms; both slices are as long as their rates' frames.
    pub(crate) fn change(&mut self, input: &[i16], output: &mut [i16]) {
        if self.to > self.from {
            self.raise(input, output);
        } else {
            self.lower(input, output);
        }
    }

    fn raise(&mut self, input: &[i16], output: &mut [i16]) {
        const KEPT: usize = TAPS - 1;
        let factor = self.to.frame() / self.from.frame();
        let kernel = Kernel::of(factor);
        let mut all = [0; KEPT + LONGEST_FRAME / 2];
        all[..KEPT].copy_from_slice(&self.history[..KEPT]);
        all[KEPT..KEPT + input.len()].copy_from_slice(input);
        for (at, group) in output.chunks_exact_mut(factor).enumerate() {
            let window: &[i16; TAPS] = all[at..].first_chunk().expect("as many windows as input samples");
            for (sample, taps) in group.iter_mut().zip(kernel.up.as_chunks::<TAPS>().0) {
                *sample = scale(product(window, taps));
            }
        }
        self.history[..KEPT].copy_from_slice(&all[input.len()..input.len() + KEPT]);
    }

    fn lower(&mut self, input: &[i16], output: &mut [i16]) {
        let factor = self.from.frame() / self.to.frame();
        let kernel = Kernel::of(factor);
        let len = kernel.down.len();
        let mut all = [0; HISTORY + LONGEST_FRAME];
        all[..len].copy_from_slice(&self.history[..len]);
        all[len..len + input.len()].copy_from_slice(input);
        for (at, sample) in output.iter_mut().enumerate() {
            // Symmetrical taps need no reversal.
            *sample = scale(product(&all[(at + 1) * factor..][..len], &kernel.down));
        }
        self.history[..len].copy_from_slice(&all[input.len()..input.len() + len]);
    }
}

fn product(samples: &[i16], taps: &[i16]) -> i32 {
    samples
        .iter()
        .zip(taps)
        .map(|(sample, tap)| i32::from(*sample) * i32::from(*tap))
        .sum()
}

fn scale(sum: i32) -> i16 {
    ((sum + ONE / 2) >> SHIFT).clamp(-32_768, 32_767) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> impl Iterator<Item = (Rate, Rate)> {
        let all = Rate::ALL.into_iter();
        all.flat_map(|from| Rate::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from != to)
    }

    fn sine(rate: Rate, hertz: f64, amplitude: f64, seconds: usize) -> Vec<i16> {
        let w = 2.0 * PI * hertz / f64::from(rate.hertz());
        (0..rate.hertz() as usize * seconds)
            .map(|at| ((at as f64 * w).sin() * amplitude * 32_767.0) as i16)
            .collect()
    }

    fn change(from: Rate, to: Rate, input: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let mut output = Vec::new();
        for frame in input.chunks_exact(from.frame()) {
            let mut changed = vec![0; to.frame()];
            resampler.change(frame, &mut changed);
            output.extend(changed);
        }
        output
    }

    /// Power of the tone and of all else, over what comes after the first 100 ms; `period` holds whole
    /// periods of the tone.
    fn split(samples: &[i16], rate: Rate, hertz: f64) -> (f64, f64) {
        let steady = &samples[rate.frame() * 5..];
        let w = 2.0 * PI * hertz / f64::from(rate.hertz());
        let (mut sin, mut cos, mut all) = (0.0, 0.0, 0.0);
        for (at, sample) in steady.iter().enumerate() {
            let sample = f64::from(*sample);
            sin += sample * (at as f64 * w).sin();
            cos += sample * (at as f64 * w).cos();
            all += sample * sample;
        }
        let n = steady.len() as f64;
        let tone = 2.0 * (sin * sin + cos * cos) / (n * n);
        (tone, (all / n - tone).max(0.0))
    }

    #[test]
    fn tones_of_the_band_pass_unchanged_and_clean() {
        for (from, to) in pairs() {
            let half = f64::from(from.hertz().min(to.hertz())) / 2.0;
            for part in [0.05, 0.25, 0.5, 0.8] {
                let hertz = (half * part / 50.0).round() * 50.0;
                let output = change(from, to, &sine(from, hertz, 0.5, 1));
                let (tone, noise) = split(&output, to, hertz);
                let level = 10.0 * (tone / (0.5 * 32_767.0f64).powi(2) * 2.0).log10();
                let snr = 10.0 * (tone / noise).log10();
                assert!(level.abs() < 0.3, "{from:?} {to:?} {hertz}: {level} dB");
                assert!(snr > 55.0, "{from:?} {to:?} {hertz}: {snr} dB");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_left_out() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            for part in [1.2, 1.5, 1.9] {
                let hertz = f64::from(to.hertz()) / 2.0 * part;
                let output = change(from, to, &sine(from, hertz, 0.5, 1));
                let peak = output[to.frame() * 5..]
                    .iter()
                    .map(|sample| sample.unsigned_abs());
                assert!(
                    peak.clone().max() < Some(60),
                    "{from:?} {to:?} {hertz}: {:?}",
                    peak.max()
                );
            }
        }
    }

    #[test]
    fn the_loudest_input_does_not_overflow() {
        for kernel in KERNELS.iter() {
            for taps in kernel.up.chunks(TAPS).chain([&kernel.down[..]]) {
                let total: i32 = taps.iter().map(|tap| i32::from(*tap).abs()).sum();
                assert!(total < 65_000, "{total}");
                assert_eq!(taps.iter().map(|tap| i32::from(*tap)).sum::<i32>(), ONE);
            }
        }
        for (from, to) in pairs() {
            let square: Vec<i16> = (0..from.frame() * 10)
                .map(|at| if at / 7 % 2 == 0 { i16::MAX } else { i16::MIN })
                .collect();
            change(from, to, &square);
        }
    }
}
