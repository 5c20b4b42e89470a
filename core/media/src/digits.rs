//! Keys that the peer presses, as RFC 4733 events: one report for each press.

use crate::dial::KEYS;

#[derive(Debug, Clone, Copy)]
struct Press {
    event: u8,
    timestamp: u32,
    duration: u16,
    ended: bool,
}

/// What is known of the last presses.
#[derive(Debug, Default)]
pub(crate) struct Digits {
    last: Option<Press>,
    /// The timestamp of the press before the last.
    before: Option<u32>,
}

impl Digits {
    /// Takes the payload of an event packet; returns the key if this is the first that is seen of a press. Whether
    /// the packet is the `newest` by its sequence number tells a late copy from timestamps that have stepped back.
    pub(crate) fn receive(&mut self, timestamp: u32, payload: &[u8], newest: bool) -> Option<char> {
        let &[event, flags, high, low, ..] = payload else {
            return None;
        };
        let key = KEYS.get(usize::from(event))?;
        let press = Press {
            event,
            timestamp,
            duration: u16::from_be_bytes([high, low]),
            ended: flags & 0x80 != 0,
        };
        let Some(last) = self.last else {
            self.last = Some(press);
            return Some(char::from(*key));
        };
        let later = timestamp.wrapping_sub(last.timestamp).cast_signed();
        if newest && later < 0 && wavers(&last, &press) {
            let ended = last.ended || press.ended;
            self.last = Some(Press { ended, ..last });
            return None;
        }
        if later < 0 && !newest || later != 0 && self.before == Some(timestamp) {
            return None; // a late copy of an earlier press
        }
        if later != 0 {
            self.before = Some(last.timestamp);
        }
        let ended = press.ended || later == 0 && last.ended;
        self.last = Some(Press { ended, ..press });
        let same = later == 0 || continues(&last, &press);
        (!same).then(|| char::from(*key))
    }

    /// Forgets what was pressed: the peer's timestamps start anew.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Whether a timestamp before that of the last press is only another one of the same press: some gateways take each
/// packet's from their clock and then go back by the length of the press, or by less.
fn wavers(last: &Press, press: &Press) -> bool {
    let back = last.timestamp.wrapping_sub(press.timestamp);
    let goes_on = !last.ended || press.ended;
    goes_on && last.event == press.event && back <= u32::from(last.duration.max(press.duration))
}

/// Whether a press longer than a packet can say goes on (RFC 4733 section 2.5.1.3).
fn continues(last: &Press, press: &Press) -> bool {
    !last.ended && last.event == press.event && last.duration >= 0xff00 && {
        let gap = press
            .timestamp
            .wrapping_sub(last.timestamp.wrapping_add(u32::from(last.duration)));
        gap.cast_signed().unsigned_abs() <= 0x400
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(digits: &mut Digits, key: u8, timestamp: u32, durations: &[(u16, bool)]) -> String {
        durations
            .iter()
            .filter_map(|(duration, end)| {
                let [high, low] = duration.to_be_bytes();
                digits.receive(timestamp, &[key, if *end { 0x8a } else { 10 }, high, low], true)
            })
            .collect()
    }

    #[test]
    fn a_press_of_many_packets_is_reported_once() {
        let mut digits = Digits::default();
        let press = [
            (160, false),
            (320, false),
            (480, false),
            (640, true),
            (640, true),
            (640, true),
        ];
        assert_eq!(send(&mut digits, 5, 1000, &press), "5");
        assert_eq!(send(&mut digits, 5, 9000, &press), "5", "the same key again");
        assert_eq!(send(&mut digits, 11, 17_000, &press), "#");
        let late = [5, 0x8a, 2, 128];
        assert_eq!(digits.receive(9000, &late, false), None, "a late copy");
        assert_eq!(digits.receive(1000, &late, false), None, "a very late copy");
        assert_eq!(
            send(&mut digits, 5, 9000, &[(640, true)]),
            "",
            "a copy that was numbered anew"
        );
    }

    #[test]
    fn timestamps_may_step_back() {
        let mut digits = Digits::default();
        let press = [(160, false), (640, true), (640, true)];
        assert_eq!(send(&mut digits, 1, 300_000, &press), "1");
        assert_eq!(send(&mut digits, 4, 140_000, &press), "4", "by 20 seconds");
        assert_eq!(send(&mut digits, 4, 144_000, &press), "4");
        assert_eq!(send(&mut digits, 5, 143_000, &press), "5", "by little");
        // Copies from before a step come late, too.
        assert_eq!(digits.receive(144_000, &[4, 0x8a, 2, 128], false), None);
        assert_eq!(send(&mut digits, 5, 151_000, &press), "5");
    }

    #[test]
    fn a_timestamp_that_wavers_inside_a_press_is_no_other_press() {
        let mut digits = Digits::default();
        assert_eq!(send(&mut digits, 5, 10_000, &[(160, false), (480, false)]), "5");
        assert_eq!(send(&mut digits, 5, 9_990, &[(640, false)]), "", "inside");
        for timestamp in [9_980, 9_970, 10_000, 9_360] {
            assert_eq!(send(&mut digits, 5, timestamp, &[(640, true)]), "", "its end");
        }
        // What is pressed after that is something else: it begins, is another key, or is too far away.
        let mut other = |key, timestamp, end| send(&mut digits, key, timestamp, &[(640, end)]);
        assert_eq!(other(5, 9_900, false), "5");
        assert_eq!(other(5, 9_890, true), "");
        assert_eq!(other(6, 9_880, true), "6");
        assert_eq!(other(6, 9_000, true), "6");
    }

    #[test]
    fn a_press_is_seen_even_if_only_its_end_arrives() {
        let mut digits = Digits::default();
        assert_eq!(send(&mut digits, 0, u32::MAX - 5, &[(640, true)]), "0");
        assert_eq!(send(&mut digits, 1, 700, &[(640, true)]), "1", "across the wrap");
    }

    #[test]
    fn a_press_longer_than_the_duration_field_is_one_press() {
        let mut digits = Digits::default();
        assert_eq!(send(&mut digits, 9, 0, &[(160, false), (0xffff, false)]), "9");
        assert_eq!(send(&mut digits, 9, 0xffff, &[(160, false), (320, true)]), "");
        assert_eq!(send(&mut digits, 9, 0x1_8000, &[(160, false)]), "9");
    }

    #[test]
    fn other_events_and_short_payloads_are_not_keys() {
        let mut digits = Digits::default();
        assert_eq!(send(&mut digits, 16, 0, &[(160, false)]), "");
        assert_eq!(digits.receive(0, &[1, 2, 3], true), None);
    }
}
