//! From the numbers of a source to those that a subscriber sees: one stream without gaps or jumps, whatever is
//! switched, muted or begun anew behind it.

use std::time::Duration;

use cordboard_model::Time;

/// Stretches that are remembered, for packets that are asked for again.
const STRETCHES: usize = 4;
/// Units of a video timestamp per second.
const CLOCK: u64 = 90_000;
/// Between the last packet of one stretch and the first of the next, at least.
const FRAME: Duration = Duration::from_millis(33);

/// Packets of one source in a row.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    source: u64,
    first_in: u64,
    first_out: u64,
    shift: u32,
}

/// See the module. Indexes are sequence numbers with their rollovers.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// The newest is last.
    stretches: Vec<Stretch>,
    highest: u64,
    last: Option<(u32, Time)>,
}

impl Rewrite {
    /// Begins at a sequence number in the lower half, as SRTP likes it (RFC 3711 section 3.3.1).
    pub(crate) fn new(random: u64) -> Self {
        Self {
            stretches: Vec::with_capacity(STRETCHES),
            highest: random & 0x7fff,
            last: None,
        }
    }

    /// A new stretch begins with this packet of a source.
    pub(crate) fn begin(&mut self, source: u64, index: u64, timestamp: u32, now: Time) {
        let shift = self.last.map_or(0, |(last, at)| {
            let passed = now.since(at).max(FRAME).as_micros() as u64 * CLOCK / 1_000_000;
            last.wrapping_add(passed as u32).wrapping_sub(timestamp)
        });
        if self.stretches.len() == STRETCHES {
            self.stretches.remove(0);
        }
        self.stretches.push(Stretch {
            source,
            first_in: index,
            first_out: self.highest + 1,
            shift,
        });
    }

    /// The index and timestamp of a packet of the present stretch; `None` if it is from before.
    pub(crate) fn map(&mut self, index: u64, timestamp: u32, now: Time) -> Option<(u64, u32)> {
        let stretch = self.stretches.last()?;
        let out = stretch.first_out + index.checked_sub(stretch.first_in)?;
        let timestamp = timestamp.wrapping_add(stretch.shift);
        if out > self.highest {
            self.highest = out;
            self.last = Some((timestamp, now));
        }
        Some((out, timestamp))
    }

    /// Which packet of which source had this sequence number, its index as sent, and the shift of its timestamp.
    pub(crate) fn origin(&self, sequence: u16) -> Option<(u64, u64, u64, u32)> {
        let back = (self.highest as u16).wrapping_sub(sequence);
        let out = self.highest.checked_sub(u64::from(back))?;
        let stretch = self
            .stretches
            .iter()
            .rev()
            .find(|stretch| stretch.first_out <= out)?;
        Some((
            stretch.source,
            stretch.first_in + (out - stretch.first_out),
            out,
            stretch.shift,
        ))
    }

    /// Timestamp and time of the newest packet.
    pub(crate) const fn last(&self) -> Option<(u32, Time)> {
        self.last
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
        let mut rewrite = Rewrite::new(0xffff_fff0);
        assert_eq!(rewrite.map(5, 0, ms(0)), None, "nothing has begun");
        rewrite.begin(1, 100, 9000, ms(0));
        assert_eq!(rewrite.map(100, 9000, ms(0)), Some((0x7ff1, 9000)));
        assert_eq!(rewrite.map(102, 12_000, ms(33)), Some((0x7ff3, 12_000)));
        assert_eq!(rewrite.map(101, 9000, ms(34)), Some((0x7ff2, 9000)), "overtaken");
        assert_eq!(rewrite.map(99, 9000, ms(34)), None, "from before");
        // Another source, a second later.
        rewrite.begin(2, 7, 500, ms(1033));
        assert_eq!(rewrite.map(7, 500, ms(1033)), Some((0x7ff4, 12_000 + 90_000)));
        assert_eq!(rewrite.origin(0x7ff4), Some((2, 7, 0x7ff4, 101_500)));
        assert_eq!(rewrite.origin(0x7ff2), Some((1, 101, 0x7ff2, 0)));
        assert_eq!(rewrite.origin(0x7ff0), None, "never sent");
        assert_eq!(rewrite.origin(0x8000), None, "not sent yet");
    }

    #[test]
    fn rollovers_are_counted() {
        let mut rewrite = Rewrite::new(0);
        rewrite.begin(1, 0, 0, ms(0));
        for index in 0..70_000 {
            assert_eq!(rewrite.map(index, 0, ms(0)), Some((index + 1, 0)));
        }
        assert_eq!(rewrite.origin(65_535), Some((1, 65_534, 65_535, 0)));
        assert_eq!(rewrite.origin(70_000u64 as u16), Some((1, 69_999, 70_000, 0)));
    }
}
