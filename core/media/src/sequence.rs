//! What the sequence numbers and arrival times of one source say: order, duplicates, loss and jitter
//! (RFC 3550 appendices A.1, A.3 and A.8).

use cordboard_model::Time;

/// A gap larger than this is not loss but a new start of the source.
const MAX_GAP: u16 = 3000;
/// How many packets back duplicates are known.
const WINDOW: u64 = 128;

/// How a packet stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The newest so far.
    Newest,
    /// Overtaken by others, not seen before.
    Overtaken,
    /// Seen before.
    Duplicate,
    /// The source has started anew: timestamps, too, may begin elsewhere.
    Restarted,
    /// Far from everything expected; believed only if the next one follows it.
    Astray,
}

/// One source's packets.
#[derive(Debug)]
pub(crate) struct Reception {
    ssrc: u32,
    first: u64,
    highest: u64,
    received: u64,
    /// Bit n: whether the packet n before the highest was seen.
    seen: u128,
    expected_next: Option<u16>,
    lost_before: u64,
    /// Units of the RTP clock per second; they change with the codec.
    clock: u32,
    transit: Option<i64>,
    /// Sixteenths of a unit of the RTP clock.
    jitter: u64,
    reported_expected: u64,
    reported_lost: u64,
}

/// One interval's share of an RTCP report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// Lost in 256ths of what was expected.
    pub(crate) fraction_lost: u8,
    /// Lost since the source began.
    pub(crate) total_lost: u64,
    /// Lost since the last interval.
    pub(crate) newly_lost: u64,
    /// Extended highest sequence number.
    pub(crate) highest: u32,
    /// Jitter in units of the RTP clock.
    pub(crate) jitter: u32,
}

impl Reception {
    pub(crate) fn new(ssrc: u32, sequence: u16) -> Self {
        // One cycle ahead, so that packets from before the first do not go below zero.
        let first = 1 << 16 | u64::from(sequence);
        Self {
            ssrc,
            first,
            highest: first - 1,
            received: 0,
            seen: 0,
            expected_next: None,
            lost_before: 0,
            clock: 8000,
            transit: None,
            jitter: 0,
            reported_expected: 0,
            reported_lost: 0,
        }
    }

    pub(crate) const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The RTP clock has so many units per second from now on.
    pub(crate) fn set_clock(&mut self, clock: u32) {
        if clock != self.clock {
            self.jitter = self.jitter * u64::from(clock) / u64::from(self.clock);
            (self.clock, self.transit) = (clock, None);
        }
    }

    /// Takes the next packet of the source. A change of SSRC counts as a restart.
    pub(crate) fn arrive(&mut self, ssrc: u32, sequence: u16, timestamp: u32, stamp: Time) -> Order {
        if ssrc != self.ssrc {
            self.restart(ssrc, sequence);
            self.take(sequence, timestamp, stamp);
            return Order::Restarted;
        }
        let ahead = sequence.wrapping_sub(self.highest as u16);
        let behind = 0u16.wrapping_sub(ahead);
        if ahead != 0 && ahead < MAX_GAP {
            self.expected_next = None;
            self.take(sequence, timestamp, stamp);
            return Order::Newest;
        }
        if behind < MAX_GAP {
            let bit = u64::from(behind);
            if bit >= WINDOW || self.seen >> bit & 1 == 1 {
                return Order::Duplicate;
            }
            self.seen |= 1 << bit;
            self.received += 1;
            self.first = self.first.min(self.highest - bit);
            return Order::Overtaken;
        }
        if self.expected_next == Some(sequence) {
            self.restart(ssrc, sequence);
            self.take(sequence, timestamp, stamp);
            return Order::Restarted;
        }
        self.expected_next = Some(sequence.wrapping_add(1));
        Order::Astray
    }

    fn take(&mut self, sequence: u16, timestamp: u32, stamp: Time) {
        let ahead = u64::from(sequence.wrapping_sub(self.highest as u16));
        self.highest += ahead;
        self.seen = self.seen.checked_shl(ahead as u32).unwrap_or(0) | 1;
        self.received += 1;
        let clock = u64::from(self.clock);
        let (seconds, rest) = (stamp.0 / 1_000_000_000, stamp.0 % 1_000_000_000);
        let arrival = (seconds * clock + rest * clock / 1_000_000_000) as u32;
        let transit = i64::from(arrival.wrapping_sub(timestamp));
        if let Some(last) = self.transit.replace(transit) {
            let change = u64::from(
                (transit as u32)
                    .wrapping_sub(last as u32)
                    .cast_signed()
                    .unsigned_abs(),
            );
            // A jump of the timestamps by more than a second is no jitter.
            if change < u64::from(self.clock) {
                self.jitter = self.jitter + change - ((self.jitter + 8) >> 4);
            }
        }
    }

    fn restart(&mut self, ssrc: u32, sequence: u16) {
        *self = Self {
            lost_before: self.lost(),
            jitter: self.jitter,
            clock: self.clock,
            reported_lost: self.reported_lost,
            ..Self::new(ssrc, sequence)
        };
    }

    const fn expected(&self) -> u64 {
        self.highest + 1 - self.first
    }

    /// Packets that never came, as far as the sequence numbers show.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost_before + self.expected().saturating_sub(self.received)
    }

    /// Interarrival jitter in units of the RTP clock.
    pub(crate) const fn jitter(&self) -> u32 {
        (self.jitter >> 4) as u32
    }

    /// The same in milliseconds.
    pub(crate) fn jitter_ms(&self) -> f32 {
        self.jitter() as f32 * 1000.0 / self.clock as f32
    }

    /// Closes an interval of the reports.
    pub(crate) fn interval(&mut self) -> Interval {
        let (expected, lost) = (self.expected(), self.lost());
        let newly_expected = expected.saturating_sub(self.reported_expected);
        let newly_lost = lost.saturating_sub(self.reported_lost);
        self.reported_expected = expected;
        self.reported_lost = self.reported_lost.max(lost);
        Interval {
            fraction_lost: (newly_lost * 256)
                .checked_div(newly_expected)
                .unwrap_or(0)
                .min(255) as u8,
            total_lost: lost,
            newly_lost,
            highest: (self.highest - (1 << 16)) as u32,
            jitter: self.jitter(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time(1_000_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn order_duplicates_and_loss_across_the_wrap() {
        let mut reception = Reception::new(7, 65_533);
        let mut orders = Vec::new();
        for (at, sequence) in [65_533, 65_535, 65_534, 65_535, 2, 0].into_iter().enumerate() {
            orders.push(reception.arrive(7, sequence, u32::from(sequence) * 160, ms(at as u64 * 20)));
        }
        use Order::{Duplicate, Newest, Overtaken};
        assert_eq!(orders, [Newest, Newest, Overtaken, Duplicate, Newest, Overtaken]);
        assert_eq!(reception.lost(), 1, "only packet 1 is missing");
        let interval = reception.interval();
        assert_eq!(
            (interval.fraction_lost, interval.newly_lost),
            ((256 / 6) as u8, 1)
        );
        assert_eq!(interval.highest, 1 << 16 | 2);
        assert_eq!(reception.interval().newly_lost, 0);
    }

    #[test]
    fn a_restart_needs_two_packets_in_a_row_and_keeps_the_losses() {
        let mut reception = Reception::new(7, 10);
        reception.arrive(7, 10, 0, ms(0));
        reception.arrive(7, 12, 320, ms(40));
        assert_eq!(reception.arrive(7, 40_000, 0, ms(60)), Order::Astray);
        assert_eq!(reception.arrive(7, 13, 480, ms(60)), Order::Newest);
        assert_eq!(reception.arrive(7, 40_001, 0, ms(80)), Order::Astray);
        assert_eq!(reception.arrive(7, 40_002, 160, ms(100)), Order::Restarted);
        assert_eq!(reception.arrive(8, 5, 160, ms(120)), Order::Restarted);
        assert_eq!((reception.ssrc(), reception.lost()), (8, 1));
    }

    #[test]
    fn jitter_follows_rfc_3550() {
        let mut reception = Reception::new(7, 0);
        for i in 0..1000u16 {
            // Alternately 10 ms early and late: each difference is 20 ms, or 160 units.
            let late = if i % 2 == 0 { 0 } else { 20 };
            reception.arrive(7, i, u32::from(i) * 160, ms(u64::from(i) * 20 + late));
        }
        assert!(
            (150..=161).contains(&reception.jitter()),
            "{}",
            reception.jitter()
        );
    }
}
