//! How often the control thread wakes: what comes one by one is taken at once, what comes in thousands waits for
//! the next round.
//!
//! To fall asleep, to be woken and to ask three times whether there is more costs as much as several messages do.

use std::time::{Duration, Instant};

/// Under load a round begins so long after the one before it: SIP repeats nothing before half a second.
const PERIOD: Duration = Duration::from_millis(1);
/// Rounds that may follow each other at once: calls are set up, and plugins asked, without waiting.
const BURST: u32 = 16;

/// Which rounds of work may begin when.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the rounds so far would have ended, had each taken its period.
    paid: Instant,
}

impl Pace {
    /// No round was made lately.
    pub(super) const fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// A round that found work was made at `now`: how long to rest before the next one, if at all.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Duration> {
        self.paid = self.paid.max(now) + PERIOD;
        let ahead = self.paid.duration_since(now);
        (ahead > PERIOD * BURST).then_some(PERIOD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_one_by_one_never_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!((1..1000).all(|round| pace.rest(start + PERIOD * round).is_none()));
    }

    #[test]
    fn a_few_rounds_follow_each_other_at_once_and_many_at_the_period() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let work = Duration::from_micros(10);
        let mut rounds = 0;
        let start = now;
        while now < start + PERIOD * 100 {
            rounds += 1;
            now += work + pace.rest(now).unwrap_or_default();
        }
        assert!((100..=100 + BURST + 2).contains(&rounds), "{rounds}");
        // After a pause it begins anew.
        now += PERIOD * BURST;
        assert!((0..BURST - 1).all(|_| pace.rest(now).is_none()));
    }
}
