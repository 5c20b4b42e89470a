//! From the numbers of a source to those that a subscriber sees: one stream without gaps or jumps, whatever is
//! switched, muted or begun anew behind it.

use std::time::Duration;

use cordboard_model::Time;

/// Numbers of one stretch; an index farther away is that of another source.
const FARTHEST: u64 = 1 << 35;
/// Stretches that are remembered, for packets that are asked for again.
const STRETCHES: usize = 4;

/// How timestamps of a stream go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Units per second.
    pub(crate) clock: u32,
    /// Between the last packet of one stretch and the first of the next, at least.
    pub(crate) frame: Duration,
}

impl Pace {
    pub(crate) const VIDEO: Self = Self {
        clock: 90_000,
        frame: Duration::from_millis(33),
    };
    /// That of Opus in packets of 20 ms.
    pub(crate) const VOICE: Self = Self {
        clock: 48_000,
        frame: Duration::from_millis(20),
    };

    /// What passes in this time.
    pub(crate) const fn units(self, passed: Duration) -> u32 {
        (passed.as_micros() as u64 * self.clock as u64 / 1_000_000) as u32
    }
}

/// Packets of one source in a row.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    first_in: u64,
    first_out: u64,
    shift: u32,
}

/// See the module. Indexes are sequence numbers with their rollovers; those of two sources are never the same.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// The newest is last.
    stretches: Vec<Stretch>,
    pace: Pace,
    highest: u64,
    last: Option<(u32, Time)>,
}

impl Rewrite {
    /// Begins at a sequence number in the lower half, as SRTP likes it (RFC 3711 section 3.3.1).
    pub(crate) fn new(random: u64, pace: Pace) -> Self {
        Self::after(random & 0x7fff, pace)
    }

    /// Begins after an index that was used before.
    pub(crate) fn after(highest: u64, pace: Pace) -> Self {
        Self {
            pace,
            stretches: Vec::with_capacity(STRETCHES),
            highest,
            last: None,
        }
    }

    /// The highest index that was used.
    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Nothing of what was sent can be sent again bit for bit.
    pub(crate) fn forget(&mut self) {
        self.stretches.clear();
    }

    /// A new stretch begins with this packet of a source.
    pub(crate) fn begin(&mut self, index: u64, timestamp: u32, now: Time) {
        let shift = self.last.map_or(0, |(last, at)| {
            let passed = self.pace.units(now.since(at).max(self.pace.frame));
            last.wrapping_add(passed).wrapping_sub(timestamp)
        });
        if self.stretches.len() == STRETCHES {
            self.stretches.remove(0);
        }
        self.stretches.push(Stretch {
            first_in: index,
            first_out: self.highest + 1,
            shift,
        });
    }

    /// The index and timestamp of a packet of the present stretch; `None` if it is from before.
    pub(crate) fn map(&mut self, index: u64, timestamp: u32, now: Time) -> Option<(u64, u32)> {
        let stretch = self.stretches.last()?;
        let passed = index.checked_sub(stretch.first_in)?;
        if passed > FARTHEST {
            return None;
        }
        let out = stretch.first_out + passed;
        let timestamp = timestamp.wrapping_add(stretch.shift);
        if out > self.highest {
            self.highest = out;
            self.last = Some((timestamp, now));
        }
        Some((out, timestamp))
    }

    /// The index at its source of what had this sequence number, its index as sent, and the shift of its timestamp.
    pub(crate) fn origin(&self, sequence: u16) -> Option<(u64, u64, u32)> {
        let back = (self.highest as u16).wrapping_sub(sequence);
        let out = self.highest.checked_sub(u64::from(back))?;
        let stretch = self
            .stretches
            .iter()
            .rev()
            .find(|stretch| stretch.first_out <= out)?;
        Some((stretch.first_in + (out - stretch.first_out), out, stretch.shift))
    }

    /// The timestamp of what would be sent now, if anything was sent.
    pub(crate) fn timestamp(&self, now: Time) -> Option<u32> {
        let (timestamp, at) = self.last?;
        Some(timestamp.wrapping_add(self.pace.units(now.since(at))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time(1_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn stretches_join_without_gap_or_jump() {
        let mut rewrite = Rewrite::new(0xffff_fff0, Pace::VIDEO);
        assert_eq!(rewrite.map(5, 0, ms(0)), None, "nothing has begun");
        rewrite.begin(100, 9000, ms(0));
        assert_eq!(rewrite.map(100, 9000, ms(0)), Some((0x7ff1, 9000)));
        assert_eq!(rewrite.map(102, 12_000, ms(33)), Some((0x7ff3, 12_000)));
        assert_eq!(rewrite.map(101, 9000, ms(34)), Some((0x7ff2, 9000)), "overtaken");
        assert_eq!(rewrite.map(99, 9000, ms(34)), None, "from before");
        // Another source, a second later.
        rewrite.begin(7, 500, ms(1033));
        assert_eq!(rewrite.map(7, 500, ms(1033)), Some((0x7ff4, 12_000 + 90_000)));
        assert_eq!(rewrite.origin(0x7ff4), Some((7, 0x7ff4, 101_500)));
        assert_eq!(rewrite.origin(0x7ff2), Some((101, 0x7ff2, 0)));
        assert_eq!(rewrite.origin(0x7ff0), None, "never sent");
        assert_eq!(rewrite.origin(0x8000), None, "not sent yet");
    }

    #[test]
    fn rollovers_are_counted() {
        let mut rewrite = Rewrite::new(0, Pace::VIDEO);
        rewrite.begin(0, 0, ms(0));
        for index in 0..70_000 {
            assert_eq!(rewrite.map(index, 0, ms(0)), Some((index + 1, 0)));
        }
        assert_eq!(rewrite.origin(65_535), Some((65_534, 65_535, 0)));
        assert_eq!(rewrite.origin(70_000u64 as u16), Some((69_999, 70_000, 0)));
    }
}
