//! Fills gaps: what was heard last goes on, period by period, and fades within 60 ms.

use super::HOLE;
use super::splice::likeness;
use crate::sound::{FRAME, Frame};

/// Samples that are remembered.
const HISTORY: usize = 2 * FRAME;
/// Longest period that is looked for: 20 ms.
const LONGEST: usize = 160;
/// Shortest period that is looked for: 5 ms, so that repetition does not buzz.
const SHORTEST: usize = 40;
/// Samples that are compared to find the period.
const COMPARED: usize = 80;
/// Samples over which real audio takes over again: 5 ms.
const RETURN: i32 = 40;
/// Samples after which the repetition has faded: 60 ms.
const FADED: i32 = 480;

/// See the module.
#[derive(Debug)]
pub(super) struct Conceal {
    /// What was heard last, newest at the end.
    history: [i16; HISTORY],
    /// The period that is repeated, once a gap has begun, and its length.
    cycle: [i16; LONGEST],
    lag: usize,
    /// Samples since the gap began.
    gone: i32,
    /// Samples until real audio has taken over again.
    returning: i32,
    in_gap: bool,
}

impl Default for Conceal {
    /// Before the first sample: a gap after silence.
    fn default() -> Self {
        Self {
            history: [0; HISTORY],
            cycle: [0; LONGEST],
            lag: LONGEST,
            gone: FADED,
            returning: RETURN,
            in_gap: true,
        }
    }
}

impl Conceal {
    /// Whether real audio is heard, with nothing left to blend.
    pub(super) const fn idle(&self) -> bool {
        !self.in_gap && self.returning == 0
    }

    /// Notes a frame that was heard as it came.
    pub(super) fn remember(&mut self, frame: &Frame) {
        self.history.copy_within(FRAME.., 0);
        self.history[HISTORY - FRAME..].copy_from_slice(frame);
    }

    /// Fills a frame from audio with holes.
    pub(super) fn fill(&mut self, audio: &[i16], frame: &mut Frame) {
        for (at, real) in audio.iter().enumerate().take(FRAME) {
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
                frame[at] = ((repeated + i32::from(*real) * (RETURN - self.returning - 1)) / RETURN) as i16;
            }
        }
        self.remember(frame);
    }

    /// A gap begins after `heard` of the present frame.
    fn open_gap(&mut self, heard: &[i16]) {
        self.in_gap = true;
        // A gap inside the blend back from another one goes on with the same repetition.
        if self.returning == 0 {
            let mut recent = [0; HISTORY];
            let old = HISTORY - heard.len();
            recent[..old].copy_from_slice(&self.history[heard.len()..]);
            recent[old..].copy_from_slice(heard);
            self.lag = period(&recent);
            self.cycle[..self.lag].copy_from_slice(&recent[HISTORY - self.lag..]);
            self.gone = 0;
        }
        self.returning = RETURN;
    }

    fn repeat(&mut self) -> i16 {
        if self.gone >= FADED {
            return 0;
        }
        let sample = i32::from(self.cycle[self.gone as usize % self.lag]) * (FADED - self.gone) / FADED;
        self.gone += 1;
        sample as i16
    }
}

/// The period of the newest audio.
fn period(history: &[i16; HISTORY]) -> usize {
    let newest = &history[HISTORY - COMPARED..];
    let mut best = (LONGEST, 0.0);
    for lag in (SHORTEST..=LONGEST).rev() {
        let start = HISTORY - COMPARED - lag;
        let likeness = likeness(newest, &history[start..start + COMPARED]);
        if likeness > best.1 {
            best = (lag, likeness);
        }
    }
    best.0
}
