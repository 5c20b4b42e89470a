//! Frames of samples: sums, soft limiting, fades and level. A frame is 20 ms at any rate.

/// Up to here the limiter changes nothing.
const KNEE: i32 = 24_576;
/// Parts of a frame whose mean is taken off before its level is judged: each has 2.5 ms.
const BLOCKS: usize = 8;
/// What lies between the knee and the largest sample.
const HEADROOM: i32 = 32_767 - KNEE;

/// Whether a leg passes audio, faded over one frame when that changes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gate {
    open: bool,
}

/// What a gate does to one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Everything passes.
    Open,
    /// Nothing passes.
    Closed,
    /// Fades in.
    Opening,
    /// Fades out.
    Closing,
}

impl Gate {
    /// Moves the gate towards `open` and says what that means for this frame.
    pub(crate) const fn step(&mut self, open: bool) -> Pass {
        let pass = match (self.open, open) {
            (true, true) => Pass::Open,
            (false, false) => Pass::Closed,
            (false, true) => Pass::Opening,
            (true, false) => Pass::Closing,
        };
        self.open = open;
        pass
    }

    pub(crate) const fn is_open(self) -> bool {
        self.open
    }
}

impl Pass {
    /// Applies the fade to a frame.
    pub(crate) fn shape(self, frame: &mut [i16]) {
        let len = frame.len() as i32;
        match self {
            Self::Open => {}
            Self::Closed => frame.fill(0),
            Self::Opening => {
                for (at, sample) in (0..).zip(frame) {
                    *sample = (i32::from(*sample) * at / len) as i16;
                }
            }
            Self::Closing => {
                for (at, sample) in (0..).zip(frame) {
                    *sample = (i32::from(*sample) * (len - at) / len) as i16;
                }
            }
        }
    }
}

/// Adds a frame to a sum.
pub(crate) fn add(sum: &mut [i32], frame: &[i16]) {
    for (total, sample) in sum.iter_mut().zip(frame) {
        *total += i32::from(*sample);
    }
}

/// The sum as 16-bit samples.
pub(crate) fn limit(sum: &[i32], out: &mut [i16]) {
    let peak = sum.iter().fold(0, |peak, sample| peak.max(sample.abs()));
    if peak <= KNEE {
        for (sample, total) in out.iter_mut().zip(sum) {
            *sample = *total as i16;
        }
    } else {
        for (sample, total) in out.iter_mut().zip(sum) {
            *sample = soften(*total);
        }
    }
}

/// The sum without one leg's own frame, as 16-bit samples.
pub(crate) fn limit_without(sum: &[i32], own: &[i16], out: &mut [i16]) {
    let mut peak = 0;
    for (total, sample) in sum.iter().zip(own) {
        peak = peak.max((total - i32::from(*sample)).abs());
    }
    let rest = sum
        .iter()
        .zip(own)
        .map(|(total, sample)| total - i32::from(*sample));
    if peak <= KNEE {
        for (sample, total) in out.iter_mut().zip(rest) {
            *sample = total as i16;
        }
    } else {
        for (sample, total) in out.iter_mut().zip(rest) {
            *sample = soften(total);
        }
    }
}

/// A curve without corners that never reaches the largest sample: slope one at the knee, falling above.
fn soften(total: i32) -> i16 {
    let magnitude = total.abs();
    if magnitude <= KNEE {
        return total as i16;
    }
    let above = i64::from(magnitude - KNEE);
    let headroom = i64::from(HEADROOM);
    let softened = KNEE + (headroom * above / (headroom + above)) as i32;
    (softened * total.signum()) as i16
}

/// The largest magnitude in a frame, and how far its samples are from the mean of the 2.5 ms around them, on average.
/// That leaves out a constant offset and most of the hum of mains: 50 Hz lose 13 dB, 100 Hz 7 dB, 300 Hz nothing that
/// counts. It is cheaper than a filter, because no sample waits for the one before it.
pub(crate) fn level(frame: &[i16]) -> (u16, u16) {
    let (mut peak, mut total) = (0, 0u32);
    for block in frame.chunks(frame.len().div_ceil(BLOCKS).max(1)) {
        let mut sum = 0;
        for sample in block {
            peak = peak.max(sample.unsigned_abs());
            sum += i32::from(*sample);
        }
        let mean = sum / block.len() as i32;
        let distances = block.iter().map(|sample| i32::from(*sample).abs_diff(mean));
        total += distances.sum::<u32>();
    }
    (peak, (total / frame.len().max(1) as u32) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 160;

    #[test]
    fn the_limiter_is_monotonous_and_never_wraps() {
        let mut last = i16::MIN;
        for total in (-400_000..400_000).step_by(13) {
            let out = soften(total);
            assert!(out >= last, "{total}");
            assert!(i32::from(out).signum() * total.signum() >= 0);
            last = out;
        }
        assert_eq!(soften(KNEE), KNEE as i16);
        assert!(soften(400_000) > 32_000);
    }

    #[test]
    fn a_gate_fades_for_one_frame_and_starts_where_it_was() {
        let mut gate = Gate::default();
        let mut frame = [1000; FRAME];
        let pass = gate.step(true);
        pass.shape(&mut frame);
        assert_eq!((frame[0], pass), (0, Pass::Opening));
        assert!(
            frame
                .windows(2)
                .all(|pair| pair[1] >= pair[0] && pair[1] - pair[0] <= 7)
        );
        assert_eq!(gate.step(true), Pass::Open);
        let mut frame = [1000; FRAME];
        gate.step(false).shape(&mut frame);
        assert_eq!(frame[0], 1000);
        assert!(frame[FRAME - 1] < 10);
        assert_eq!(gate.step(false), Pass::Closed);
    }

    /// The mean level of half a second of a wave that is moved by an offset, and its largest sample.
    fn judged(rate: usize, hertz: f64, amplitude: f64, offset: f64) -> (u16, u32) {
        let step = std::f64::consts::TAU * hertz / rate as f64;
        let wave: Vec<i16> = (0..rate / 2)
            .map(|at| (offset + amplitude * (step * at as f64).sin()) as i16)
            .collect();
        let levels: Vec<_> = wave.chunks(rate / 50).map(level).collect();
        let peak = levels.iter().map(|(peak, _)| *peak).max();
        let mean = levels.iter().map(|(_, mean)| u32::from(*mean)).sum::<u32>();
        (peak.unwrap(), mean / levels.len() as u32)
    }

    #[test]
    fn offset_and_hum_are_hardly_loud_and_voice_is_as_loud_as_it_was() {
        for rate in [8000, 16_000, 48_000] {
            let (peak, mean) = judged(rate, 1000.0, 0.0, 20_000.0);
            assert_eq!((peak, mean), (20_000, 0), "nothing is left out of the mix for it");
            for (hertz, bounds) in [(50.0, 60..100), (60.0, 80..120), (100.0, 140..200)] {
                let (_, mean) = judged(rate, hertz, 600.0, 0.0);
                assert!(bounds.contains(&mean), "{rate} {hertz}: {mean}");
            }
            // The mean magnitude of a wave is two by pi of its amplitude.
            for hertz in [300.0, 440.0, 1000.0, 3000.0] {
                let (_, mean) = judged(rate, hertz, 1000.0, -3000.0);
                assert!((570..700).contains(&mean), "{rate} {hertz}: {mean}");
            }
        }
        let frame: Vec<i16> = (0..FRAME)
            .map(|at| if at % 2 == 0 { i16::MIN } else { i16::MAX })
            .collect();
        assert_eq!(level(&frame), (32_768, 32_767), "the loudest there is");
        assert_eq!(level(&[]), (0, 0));
        assert_eq!(level(&[5]), (5, 0));
    }

    #[test]
    fn the_own_frame_is_taken_out_exactly() {
        let (own, other) = ([30_000; FRAME], [20_000; FRAME]);
        let mut sum = [0; FRAME];
        add(&mut sum, &own);
        add(&mut sum, &other);
        let mut heard = [0; FRAME];
        limit_without(&sum, &own, &mut heard);
        assert_eq!(heard, other);
    }
}
