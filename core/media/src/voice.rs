//! What one leg adds to its mix: a frame at the rate of its own codec, and at the other rates that are
//! listened at.

use crate::rate::{LONGEST_FRAME, Rate};
use crate::resample::Resampler;

/// A frame at a rate that is not its own.
#[derive(Debug)]
struct Other {
    to: Rate,
    resampler: Resampler,
    frame: [i16; LONGEST_FRAME],
    /// Whether the last tick was changed, so that the next one goes on from there.
    running: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Voice {
    pub(crate) rate: Rate,
    pub(crate) frame: [i16; LONGEST_FRAME],
    others: Vec<Other>,
}

impl Voice {
    pub(crate) const fn new() -> Self {
        Self {
            rate: Rate::Narrow,
            frame: [0; LONGEST_FRAME],
            others: Vec::new(),
        }
    }

    /// The frame at its own rate.
    pub(crate) fn own(&mut self) -> &mut [i16] {
        &mut self.frame[..self.rate.frame()]
    }

    /// The frame at a rate; at another than its own only after [`spread`](Self::spread).
    pub(crate) fn at(&self, rate: Rate) -> &[i16] {
        let other = self
            .others
            .iter()
            .find(|other| rate != self.rate && other.to == rate);
        let frame = other.map_or(&self.frame, |other| &other.frame);
        &frame[..rate.frame()]
    }

    /// Changes the frame to every rate that is `wanted`.
    pub(crate) fn spread(&mut self, wanted: [bool; 3]) {
        for (to, wanted) in Rate::ALL.into_iter().zip(wanted) {
            let known = self.others.iter_mut().position(|other| other.to == to);
            if to == self.rate || !wanted {
                if let Some(at) = known {
                    self.others[at].running = false;
                }
                continue;
            }
            let at = known.unwrap_or_else(|| {
                self.others.push(Other {
                    to,
                    resampler: Resampler::new(self.rate, to),
                    frame: [0; LONGEST_FRAME],
                    running: false,
                });
                self.others.len() - 1
            });
            let other = &mut self.others[at];
            if !other.running || other.resampler.from() != self.rate {
                other.resampler = Resampler::new(self.rate, to);
            }
            other.running = true;
            let input = &self.frame[..self.rate.frame()];
            other.resampler.change(input, &mut other.frame[..to.frame()]);
        }
    }

    /// Whether a filter still holds the end of the last frame.
    pub(crate) fn rings(&self) -> bool {
        self.others.iter().any(|other| other.running)
    }

    /// Forgets what the filters hold.
    pub(crate) fn rest(&mut self) {
        self.others.iter_mut().for_each(|other| other.running = false);
    }
}
