//! Packets of a stream that have not come: when to ask for each, how often, and when to give it up.

use std::time::Duration;

use cordboard_model::Time;

/// Packets that are waited for at a time; when more are missing a picture is asked for instead.
const MAX: usize = 256;
/// A packet may only have been overtaken: it is asked for after this long.
const PATIENCE: Duration = Duration::from_millis(10);
/// Before the first repeat; each further one waits half as long again.
const REPEAT: Duration = Duration::from_millis(50);
/// How often a packet is asked for.
const TRIES: u8 = 8;

#[derive(Debug, Clone, Copy)]
struct Gap {
    index: u64,
    due: Time,
    pause: Duration,
    tries: u8,
}

/// See the module; ordered by index.
#[derive(Debug, Default)]
pub(crate) struct Missing(Vec<Gap>);

impl Missing {
    /// Packets from `from` to before `to` have been passed over; returns how many are given up because too many
    /// are missing.
    pub(crate) fn pass(&mut self, from: u64, to: u64, now: Time) -> u64 {
        let count = to - from;
        if self.0.len() as u64 + count > MAX as u64 {
            let lost = self.0.len() as u64 + count;
            self.0.clear();
            return lost;
        }
        self.0.extend((from..to).map(|index| Gap {
            index,
            due: now + PATIENCE,
            pause: REPEAT,
            tries: 0,
        }));
        0
    }

    /// A packet has come; whether it was waited for.
    pub(crate) fn found(&mut self, index: u64) -> bool {
        let at = self.0.binary_search_by_key(&index, |gap| gap.index);
        if let Ok(at) = at {
            self.0.remove(at);
        }
        at.is_ok()
    }

    /// Nothing is waited for any more; returns how many were.
    pub(crate) fn clear(&mut self) -> u64 {
        let count = self.0.len() as u64;
        self.0.clear();
        count
    }

    /// Hands the packets to ask for now to `ask`, in order; returns how many are given up.
    pub(crate) fn ask(&mut self, now: Time, mut ask: impl FnMut(u16)) -> u64 {
        let before = self.0.len();
        self.0.retain(|gap| gap.tries < TRIES || gap.due > now);
        for gap in self.0.iter_mut().filter(|gap| gap.due <= now) {
            ask(gap.index as u16);
            gap.tries += 1;
            gap.due = now + gap.pause;
            gap.pause = gap.pause * 3 / 2;
        }
        (before - self.0.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time(1_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn each_is_asked_for_again_until_it_comes_or_is_given_up() {
        let mut missing = Missing::default();
        assert_eq!(missing.pass(65_535, 65_538, ms(0)), 0);
        let mut asked = Vec::new();
        assert_eq!(missing.ask(ms(5), |seq| asked.push(seq)), 0);
        assert!(asked.is_empty(), "it may be overtaken");
        missing.ask(ms(20), |seq| asked.push(seq));
        assert_eq!(asked, [65_535, 0, 1]);
        assert!(missing.found(65_536) && !missing.found(65_536));
        asked.clear();
        let lost: u64 = (2..300)
            .map(|tick| missing.ask(ms(tick * 20), |seq| asked.push(seq)))
            .sum();
        assert_eq!(lost, 2);
        assert_eq!(asked.len(), 2 * (usize::from(TRIES) - 1));
    }

    #[test]
    fn too_many_are_given_up_at_once() {
        let mut missing = Missing::default();
        assert_eq!(missing.pass(0, 200, ms(0)), 0);
        assert_eq!(missing.pass(300, 400, ms(0)), 300);
        assert_eq!(missing.clear(), 0);
    }
}
