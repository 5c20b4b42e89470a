//! Fills gaps: what was heard last goes on, period by period, and fades within 60 ms.

use super::HOLE;
use super::splice::{Search, best_lag};

/// See the module. `F` samples are 20 ms.
#[derive(Debug)]
pub(super) struct Conceal<const F: usize> {
    /// What was heard last, newest at the end: 40 ms.
    history: [[i16; F]; 2],
    /// The period that is repeated, once a gap has begun, and its length.
    cycle: [i16; F],
    lag: usize,
    /// Samples since the gap began.
    gone: i32,
    /// Samples until real audio has taken over again.
    returning: i32,
    in_gap: bool,
}

impl<const F: usize> Default for Conceal<F> {
    /// Before the first sample: a gap after silence.
    fn default() -> Self {
        Self {
            history: [[0; F]; 2],
            cycle: [0; F],
            lag: F,
            gone: Self::FADED,
            returning: Self::RETURN,
            in_gap: true,
        }
    }
}

impl<const F: usize> Conceal<F> {
    /// Longest period that is looked for: 20 ms; the shortest is 5 ms, so that repetition does not buzz.
    const LONGEST: usize = F;
    const SHORTEST: usize = F / 4;
    /// Samples that are compared to find the period: 10 ms.
    const COMPARED: usize = F / 2;
    /// Samples over which real audio takes over again: 5 ms.
    const RETURN: i32 = F as i32 / 4;
    /// Samples after which the repetition has faded: 60 ms.
    const FADED: i32 = F as i32 * 3;

    /// Whether real audio is heard, with nothing left to blend.
    pub(super) const fn idle(&self) -> bool {
        !self.in_gap && self.returning == 0
    }

    /// Notes a frame that was heard as it came.
    pub(super) const fn remember(&mut self, frame: &[i16; F]) {
        self.history = [self.history[1], *frame];
    }

    /// Fills a frame from audio with holes.
    pub(super) fn fill(&mut self, audio: &[i16], frame: &mut [i16; F]) {
        for (at, real) in audio.iter().enumerate().take(F) {
            if *real == HOLE {
                if !self.in_gap {
                    self.open_gap(&frame[..at]);
                }
                frame[at] = self.repeat();
                continue;
            }
            self.in_gap = false;
            frame[at] = *real;
            if self.returning > 0 {
                let repeated = i32::from(self.repeat()) * self.returning;
                self.returning -= 1;
                frame[at] = ((repeated + i32::from(*real) * (Self::RETURN - self.returning - 1))
                    / Self::RETURN) as i16;
            }
        }
        self.remember(frame);
    }

    /// A gap begins after `heard` of the present frame.
    fn open_gap(&mut self, heard: &[i16]) {
        self.in_gap = true;
        // A gap inside the blend back from another one goes on with the same repetition.
        if self.returning == 0 {
            let mut recent = [[0; F]; 2];
            let recent = recent.as_flattened_mut();
            let old = 2 * F - heard.len();
            recent[..old].copy_from_slice(&self.history.as_flattened()[heard.len()..]);
            recent[old..].copy_from_slice(heard);
            self.lag = period::<F>(recent);
            self.cycle[..self.lag].copy_from_slice(&recent[2 * F - self.lag..]);
            self.gone = 0;
        }
        self.returning = Self::RETURN;
    }

    fn repeat(&mut self) -> i16 {
        if self.gone >= Self::FADED {
            return 0;
        }
        let sample =
            i32::from(self.cycle[self.gone as usize % self.lag]) * (Self::FADED - self.gone) / Self::FADED;
        self.gone += 1;
        sample as i16
    }
}

/// The period of the newest audio.
fn period<const F: usize>(recent: &[i16]) -> usize {
    let newest = 2 * F - Conceal::<F>::COMPARED;
    best_lag(
        recent,
        &Search {
            at: newest,
            len: Conceal::<F>::COMPARED,
            lags: Conceal::<F>::SHORTEST..=Conceal::<F>::LONGEST,
            back: true,
            margin: 0.0,
            step: F / 160,
        },
    )
}
