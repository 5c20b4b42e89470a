//! Tones: making them, packing them as G.711, finding them again in what was received.

use std::f64::consts::TAU;
use std::io;
use std::path::Path;

/// Samples per second of everything here: telephone audio.
pub const RATE: u32 = 8_000;

/// `count` samples of a sine of `hertz`, from sample number `from` on; `amplitude` is a share of full scale (0 to 1).
pub fn sine(hertz: f64, amplitude: f64, from: usize, count: usize) -> Vec<i16> {
    (from..from + count)
        .map(|n| {
            let phase = TAU * hertz * n as f64 / f64::from(RATE);
            (phase.sin() * amplitude * f64::from(i16::MAX)) as i16
        })
        .collect()
}

/// The amplitude of `hertz` in the samples, as a share of full scale (Goertzel's filter).
///
/// Pick lengths that hold whole periods of all tones in play, or the tones leak into each other.
pub fn level(samples: &[i16], hertz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hertz / f64::from(RATE)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in samples {
        let next = f64::from(sample) + coefficient * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - coefficient * last * before;
    power.max(0.0).sqrt() * 2.0 / samples.len().max(1) as f64 / f64::from(i16::MAX)
}

/// The loudest `level` of any quarter second: a tone that is there only for a while is found too.
pub fn peak_level(samples: &[i16], hertz: f64) -> f64 {
    samples
        .chunks_exact(RATE as usize / 4)
        .map(|part| level(part, hertz))
        .fold(0.0, f64::max)
}

/// One sample as G.711 mu-law.
pub fn to_mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs() + 132).min(32_767);
    let exponent = 31 - (magnitude as u32).leading_zeros() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | ((exponent as u8) << 4) | mantissa as u8)
}

/// One G.711 mu-law byte as a sample.
pub fn from_mulaw(byte: u8) -> i16 {
    let byte = !byte;
    let exponent = (byte >> 4) & 7;
    let magnitude = ((i32::from(byte & 0x0f) << 3) + 132) << exponent;
    let sample = (magnitude - 132) as i16;
    if byte & 0x80 == 0 { sample } else { -sample }
}

/// Writes 16-bit mono samples as a WAV file.
///
/// # Errors
/// The file could not be written.
pub fn write_wav(path: &Path, samples: &[i16]) -> io::Result<()> {
    let length = samples.len() as u32 * 2;
    let mut bytes = Vec::with_capacity(44 + length as usize);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(36 + length).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend_from_slice(&RATE.to_le_bytes());
    bytes.extend_from_slice(&(RATE * 2).to_le_bytes());
    bytes.extend_from_slice(b"\x02\0\x10\0data");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    std::fs::write(path, bytes)
}

/// Reads a 16-bit WAV file as mono samples at [`RATE`]: of several channels the first, of a higher rate every n-th
/// sample. A length field that was never filled in means "to the end".
///
/// # Errors
/// The file cannot be read, is not such a WAV file, or its rate is too low.
pub fn read_wav(path: &Path) -> io::Result<Vec<i16>> {
    let bytes = std::fs::read(path)?;
    let chunk = |name: &[u8]| {
        let at = bytes.windows(4).position(|window| window == name);
        at.and_then(|at| bytes.get(at + 8..))
            .ok_or_else(|| io::Error::other("no such chunk"))
    };
    let (format, data) = (chunk(b"fmt ")?, chunk(b"data")?);
    let &[_, _, channels, 0, a, b, c, d, ..] = format else {
        return Err(io::Error::other("no format"));
    };
    let step = u32::from_le_bytes([a, b, c, d]) / RATE * u32::from(channels);
    if step == 0 {
        return Err(io::Error::other("too low a rate"));
    }
    let samples = data
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    Ok(samples.step_by(step as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_and_its_neighbour_is_not() {
        let tone = sine(440.0, 0.5, 0, 8_000);
        assert!((level(&tone, 440.0) - 0.5).abs() < 0.01);
        assert!(level(&tone, 1_000.0) < 0.001);
        assert!(level(&sine(440.0, 0.0, 0, 8_000), 440.0) < 0.001);
    }

    #[test]
    fn mulaw_keeps_a_tone() {
        let tone = sine(1_000.0, 0.5, 0, 8_000);
        let back: Vec<i16> = tone.iter().map(|&s| from_mulaw(to_mulaw(s))).collect();
        assert!((level(&back, 1_000.0) - 0.5).abs() < 0.01);
        assert_eq!((to_mulaw(0), from_mulaw(0xff)), (0xff, 0));
        assert_eq!((from_mulaw(0x00), from_mulaw(0x80)), (-32_124, 32_124));
    }
}
