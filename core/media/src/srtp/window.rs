//! Which packets of a source came already, and what the rollover counter of the next one is (RFC 3711 sections
//! 3.3.1 and 3.3.2).

/// Packets back that are known.
const WINDOW: u64 = 128;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The highest index, once one came.
    highest: Option<u64>,
    /// Bit n: whether the packet n before the highest came.
    seen: u128,
}

impl Window {
    /// The index that a packet of this sequence number most likely has.
    pub(super) const fn guess(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else {
            return sequence as u64;
        };
        let ahead = sequence.wrapping_sub(highest as u16);
        let behind = 0u16.wrapping_sub(ahead) as u64;
        if ahead < 1 << 15 || highest < behind {
            highest + ahead as u64
        } else {
            highest - behind
        }
    }

    /// Whether a packet came already, or is too old to know.
    pub(super) fn is_used(&self, index: u64) -> bool {
        self.highest.is_some_and(|highest| {
            index <= highest && (highest - index >= WINDOW || self.seen >> (highest - index) & 1 == 1)
        })
    }

    /// Notes a packet that has proved itself.
    pub(super) fn use_up(&mut self, index: u64) {
        let highest = *self.highest.get_or_insert(index);
        if index >= highest {
            let ahead = u32::try_from(index - highest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = Some(index);
        } else if highest - index < WINDOW {
            self.seen |= 1 << (highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rollover_counter_follows_the_wrap_both_ways() {
        let mut window = Window::default();
        window.use_up(window.guess(65_534));
        for (sequence, index) in [
            (65_535, 65_535),
            (0, 65_536),
            (2, 65_538),
            (65_533, 65_533),
            (1, 65_537),
        ] {
            assert_eq!(window.guess(sequence), index);
            assert!(!window.is_used(index));
            window.use_up(index);
            assert!(window.is_used(index));
        }
        assert_eq!(window.highest, Some(65_538));
    }

    #[test]
    fn nothing_before_the_first_round_is_guessed() {
        let mut window = Window::default();
        window.use_up(3);
        assert_eq!(window.guess(65_535), 65_535);
    }

    #[test]
    fn what_is_too_old_counts_as_used() {
        let mut window = Window::default();
        window.use_up(1000);
        assert!(window.is_used(1000) && window.is_used(1000 - WINDOW) && !window.is_used(1001 - WINDOW));
        window.use_up(1_000_000);
        assert!(!window.is_used(999_999) && window.is_used(1000));
    }
}
