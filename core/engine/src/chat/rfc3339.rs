//! Dates as chat clients write them (RFC 3339): UTC, `Z`, the fraction in steps of three digits, none if zero.

use std::fmt;

use cordboard_model::Time;
use serde::{Serialize, Serializer};

const NANOS: u64 = 1_000_000_000;

/// A moment, shown as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) Time);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0.0 / NANOS).expect("64 bits of nanoseconds are 584 years");
        let nanos = u32::try_from(self.0.0 % NANOS).expect("a remainder is less than its divisor");
        f.write_str(&text(seconds, nanos))
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads any RFC 3339 date and writes it as we do; `None` if it is none.
pub(crate) fn normalise(date: &str) -> Option<String> {
    let bytes = date.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = date.get(from..to)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let marks = |place: usize, allowed: &[u8]| bytes.get(place).is_some_and(|b| allowed.contains(b));
    if !(marks(4, b"-") && marks(7, b"-") && marks(10, b"Tt ") && marks(13, b":") && marks(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    // A leap second counts as the one before it.
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, zone) = fraction(&date[19..])?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second.min(59);
    Some(text(seconds - offset(zone)?, nanos))
}

/// The nanoseconds of `.123` and what comes after it; digits beyond the ninth are cut.
fn fraction(rest: &str) -> Option<(u32, &str)> {
    let Some(digits) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let nanos = format!("{:0<9.9}", &digits[..end]).parse().ok()?;
    Some((nanos, &digits[end..]))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let two = |text: &str, most: i64| -> Option<i64> {
        let number = (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<i64>().ok())??;
        (number <= most).then_some(number)
    };
    Some(sign * (two(hours, 23)? * 3600 + two(minutes, 59)? * 60))
}

fn text(seconds: i64, nanos: u32) -> String {
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match nanos {
        0 => String::new(),
        _ if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar: years are counted from March, so that
/// the leap day is the last of its year.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days`].
const fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_with_as_many_digits_as_they_need() {
        for (nanos, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_318_774_166_000_000, "2026-11-22T03:39:34.166Z"),
            (1_795_318_774_166_001_000, "2026-11-22T03:39:34.166001Z"),
            (1_795_318_774_123_456_789, "2026-11-22T03:39:34.123456789Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Stamp(Time(nanos)).to_string(), shown);
        }
    }

    #[test]
    fn dates_of_any_zone_are_read() {
        for (given, read) in [
            ("2026-11-22T03:39:34Z", "2026-11-22T03:39:34Z"),
            ("2026-11-22t03:39:34.5z", "2026-11-22T03:39:34.500Z"),
            ("2026-01-01 00:30:00+01:00", "2025-12-31T23:30:00Z"),
            (
                "2026-12-31T23:30:00.000000001-00:45",
                "2027-01-01T00:15:00.000000001Z",
            ),
            ("1969-12-31T23:59:60Z", "1969-12-31T23:59:59Z"),
            (
                "2024-02-29T12:00:00.1234567899Z",
                "2024-02-29T12:00:00.123456789Z",
            ),
        ] {
            assert_eq!(normalise(given).as_deref(), Some(read), "{given}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for given in [
            "",
            "2026-11-22",
            "2026-11-22T03:39:34",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T03:39:34.Z",
            "2026-11-22T03:39:34+1:00",
            "2026-11-22T03:39:34Zx",
            "+026-11-22T03:39:34Z",
            "2026-11-22T03:39:34ü",
        ] {
            assert_eq!(normalise(given), None, "{given}");
        }
    }
}
