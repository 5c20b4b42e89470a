//! When packets of a peer arrived, told to it for its congestion control
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).

use cordboard_model::Time;

/// Packets that one report tells of at most; more that wait are forgotten.
const MAX: usize = 512;
/// Numbers from the first to the last packet of a report; what lies beyond waits for the next one.
const SPAN: u64 = 1024;
/// Nanoseconds of one unit of a delta.
const UNIT: u64 = 250_000;
/// Units of a delta in one of the reference time.
const REFERENCE: u64 = 256;
/// Statuses in one chunk.
const CHUNK: u64 = 7;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    highest: Option<u64>,
    came: Vec<(u64, Time)>,
    reports: u8,
}

impl Arrivals {
    /// A packet with this transport-wide number has come.
    pub(crate) fn note(&mut self, number: u16, stamp: Time) {
        let highest = self.highest.unwrap_or(1 << 16 | u64::from(number));
        let ahead = u64::from(number.wrapping_sub(highest as u16));
        let number = if ahead < 1 << 15 {
            highest + ahead
        } else {
            highest + ahead - (1 << 16)
        };
        self.highest = Some(highest.max(number));
        if self.came.len() < MAX {
            self.came.push((number, stamp));
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.came.is_empty()
    }

    /// Whether a report should not wait for its turn.
    pub(crate) const fn is_full(&self) -> bool {
        self.came.len() >= MAX / 2
    }

    /// Writes a report as an RTCP packet of `sender` about `media`, and forgets what it told.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, sender: u32, media: u32) {
        self.came.sort_unstable_by_key(|(number, _)| *number);
        self.came.dedup_by_key(|(number, _)| *number);
        let Some((first, earliest)) = self.came.first().copied() else {
            return;
        };
        let told = self.came.partition_point(|(number, _)| *number < first + SPAN);
        let count = self.came[told - 1].0 - first + 1;
        let start = out.len();
        out.extend_from_slice(&[0x8f, 205, 0, 0]);
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&media.to_be_bytes());
        out.extend_from_slice(&(first as u16).to_be_bytes());
        out.extend_from_slice(&(count as u16).to_be_bytes());
        let reference = earliest.0 / UNIT / REFERENCE;
        out.extend_from_slice(&(reference as u32).to_be_bytes()[1..]);
        out.push(self.reports);
        self.reports = self.reports.wrapping_add(1);
        let statuses = out.len();
        out.resize(statuses + 2 * count.div_ceil(CHUNK) as usize, 0);
        for chunk in out[statuses..].chunks_exact_mut(2) {
            chunk[0] = 0xc0; // statuses of two bits
        }
        let mut before = reference * REFERENCE;
        for (number, stamp) in self.came.drain(..told) {
            let units = stamp.0 / UNIT;
            let delta = (units as i64 - before as i64).clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16;
            before = (before as i64 + i64::from(delta)) as u64;
            let small = u8::try_from(delta);
            let (chunk, place) = ((number - first) / CHUNK, (number - first) % CHUNK);
            let status: u16 = if small.is_ok() { 1 } else { 2 };
            let bits = status << (12 - 2 * place);
            let at = statuses + 2 * chunk as usize;
            out[at] |= (bits >> 8) as u8;
            out[at + 1] |= bits as u8;
            match small {
                Ok(delta) => out.push(delta),
                Err(_) => out.extend_from_slice(&delta.to_be_bytes()),
            }
        }
        let padding = (4 - (out.len() - start) % 4) % 4;
        if padding > 0 {
            out[start] |= 0x20;
            out.resize(out.len() + padding - 1, 0);
            out.push(padding as u8);
        }
        let words = ((out.len() - start) / 4 - 1) as u16;
        out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_who_came_and_when() {
        let mut arrivals = Arrivals::default();
        let second = 1_000_000_000;
        let start = 6400 * second / 100; // a whole number of reference times
        for (number, micros) in [(65_535u16, 500), (0, 1000), (3, 101_000), (2, 100_750)] {
            arrivals.note(number, Time(start + micros * 1000));
        }
        let mut out = Vec::new();
        arrivals.write(&mut out, 1, 2);
        assert_eq!(
            out,
            [
                0xaf, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, // the head
                0xff, 0xff, 0, 5, // five packets from 65535
                0, 3, 232, 0, // 64 s, the first report
                0xd4, 0x90, // small, small, none, large, small
                2, 2, 1, 143, 1, // 0.5 ms, 0.5 ms, 99.75 ms, 0.25 ms
                1  // of padding
            ]
        );
        assert!(arrivals.is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut arrivals = Arrivals::default();
        for number in 0..60_000u32 {
            arrivals.note(number as u16, Time(u64::from(number) * 1_000_000));
        }
        assert!(arrivals.is_full());
        let mut out = Vec::new();
        arrivals.write(&mut out, 1, 2);
        assert!(arrivals.is_empty() && out.len() < 1200, "{}", out.len());
    }
}
