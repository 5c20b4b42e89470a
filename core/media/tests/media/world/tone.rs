//! Tones, how pure they are, and a second G.711 written from the formulas (not tables) of its definition.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use cordboard_model::media::Codec;

/// A sine wave at 8 kHz; `amplitude` of 1 is full scale.
pub(crate) fn sine(hertz: f64, amplitude: f64) -> impl FnMut(u64) -> i16 {
    sine_at(8000, hertz, amplitude)
}

/// A sine wave at any rate.
pub(crate) fn sine_at(rate: u64, hertz: f64, amplitude: f64) -> impl FnMut(u64) -> i16 {
    move |at| ((at as f64 * hertz * TAU / rate as f64).sin() * amplitude * 32_767.0) as i16
}

/// Amplitude (1 is full scale) of a frequency in a recording: Goertzel's algorithm.
pub(crate) fn goertzel(samples: &[i16], hertz: f64) -> f64 {
    goertzel_at(8000, samples, hertz)
}

pub(crate) fn goertzel_at(rate: u64, samples: &[i16], hertz: f64) -> f64 {
    let w = hertz * TAU / rate as f64;
    let (mut one, mut two) = (0.0, 0.0);
    for sample in samples {
        (one, two) = (f64::from(*sample) / 32_768.0 + 2.0 * w.cos() * one - two, one);
    }
    let power = one * one + two * two - 2.0 * w.cos() * one * two;
    power.max(0.0).sqrt() * 2.0 / samples.len() as f64
}

/// Signal to noise in dB: how much of the recording is the tone, best fit of amplitude and phase, block by
/// block so that a small shift of phase between blocks is no noise.
pub(crate) fn snr(samples: &[i16], hertz: f64) -> f64 {
    snr_at(8000, samples, hertz)
}

pub(crate) fn snr_at(rate: u64, samples: &[i16], hertz: f64) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    let len = rate as usize / 10;
    for block in samples.chunks_exact(len) {
        let amplitude = goertzel_at(rate, block, hertz);
        let tone = amplitude * amplitude / 2.0;
        let all = block
            .iter()
            .map(|sample| (f64::from(*sample) / 32_768.0).powi(2))
            .sum::<f64>()
            / len as f64;
        signal += tone;
        noise += (all - tone).max(1e-12);
    }
    10.0 * (signal / noise).log10()
}

/// The longest stretch without any sample above 1 % of full scale, in milliseconds.
pub(crate) fn longest_gap(samples: &[i16]) -> f64 {
    longest_gap_at(8000, samples)
}

pub(crate) fn longest_gap_at(rate: u64, samples: &[i16]) -> f64 {
    let (mut longest, mut gap) = (0, 0);
    for sample in samples {
        gap = if sample.unsigned_abs() > 328 { 0 } else { gap + 1 };
        longest = longest.max(gap);
    }
    f64::from(longest) * 1000.0 / rate as f64
}

/// The largest step between two samples, as part of full scale.
pub(crate) fn largest_step(samples: &[i16]) -> f64 {
    let steps = samples
        .windows(2)
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
    f64::from(steps.max().unwrap_or(0)) / 32_768.0
}

pub(crate) fn encode(codec: Codec, sample: i16) -> u8 {
    static TABLES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [Codec::Pcmu, Codec::Pcma].map(nearest_codes));
    TABLES[usize::from(codec == Codec::Pcma)][sample as u16 as usize]
}

/// The nearest code of each sample, by the sample's bits.
fn nearest_codes(codec: Codec) -> Vec<u8> {
    let mut levels: Vec<(i32, u8)> = (0..=255)
        .map(|code| (i32::from(decode(codec, code)), code))
        .collect();
    levels.sort_unstable();
    let nearest = |bits: u16| {
        let sample = i32::from(bits.cast_signed());
        let above = levels.partition_point(|(level, _)| *level < sample).min(255);
        let below = above.saturating_sub(1);
        let closer = if levels[above].0 - sample < sample - levels[below].0 {
            above
        } else {
            below
        };
        levels[closer].1
    };
    (0..=u16::MAX).map(nearest).collect()
}

pub(crate) fn decode(codec: Codec, code: u8) -> i16 {
    let level = match codec {
        Codec::Opus | Codec::G722 => unreachable!("no single codes"),
        Codec::Pcmu => {
            let code = !code;
            let (segment, step) = (f64::from(code >> 4 & 7), f64::from(code & 15));
            let magnitude = (step + 16.5) * segment.exp2() * 8.0 - 132.0;
            if code & 0x80 == 0 { magnitude } else { -magnitude }
        }
        Codec::Pcma => {
            let code = code ^ 0x55;
            let (segment, step) = (f64::from(code >> 4 & 7), f64::from(code & 15));
            let magnitude = if segment == 0.0 {
                step + 0.5
            } else {
                (step + 16.5) * (segment - 1.0).exp2()
            };
            if code & 0x80 != 0 {
                magnitude * 16.0
            } else {
                magnitude * -16.0
            }
        }
    };
    level as i16
}
