//! Moments as people and protocols write them: the Gregorian calendar in UTC.

use std::time::Duration;

use cordboard_model::Time;

use crate::sip::write::Short;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// The Unix epoch was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: u64 = 86_400;

/// A date and the time of that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
    /// Seconds since midnight.
    second: u64,
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + is_leap(year) as u64,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the epoch to the first of January.
const fn days_before(year: u64) -> u64 {
    let past = year - 1;
    (year - 1970) * 365 + (past / 4 - past / 100 + past / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

fn civil(time: Time) -> Civil {
    let seconds = time.unix_seconds();
    let days = seconds / DAY;
    let mut year = 1970 + days / 366; // never later than it is
    while days_before(year + 1) <= days {
        year += 1;
    }
    let mut left = days - days_before(year);
    let mut month = 1;
    while left >= days_in(year, month) {
        left -= days_in(year, month);
        month += 1;
    }
    Civil {
        year,
        month,
        day: left + 1,
        second: seconds % DAY,
    }
}

/// As conference events write it: `2026-11-22T03:39:34.166+0000`.
pub(crate) fn event_time(time: Time) -> String {
    let millis = time.0 / 1_000_000 % 1000;
    format!("{}.{millis:03}+0000", seconds_of(time))
}

/// RFC 3339 in whole seconds: `2026-11-22T03:39:34Z`.
pub(crate) fn rfc3339(time: Time) -> String {
    format!("{}Z", seconds_of(time))
}

fn seconds_of(time: Time) -> String {
    let Civil {
        year,
        month,
        day,
        second,
    } = civil(time);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// As the Date header writes it (RFC 3261 section 20.17): `Sun, 22 Nov 2026 03:39:34 GMT`.
pub(crate) fn sip_date(time: Time) -> String {
    short_sip_date(time).as_str().to_owned()
}

/// The same for what is written at once and not kept.
pub(crate) fn short_sip_date(time: Time) -> Short {
    let weekday = WEEKDAYS[(time.unix_seconds() / DAY % 7) as usize]; // below 7
    let Civil {
        year,
        month,
        day,
        second,
    } = civil(time);
    let month = MONTHS[month as usize - 1]; // 1 to 12
    let date = Short::new()
        .text(weekday)
        .text(", ")
        .decimals(day, 2)
        .text(" ")
        .text(month)
        .text(" ")
        .decimal(year);
    let clock = date
        .text(" ")
        .decimals(second / 3600, 2)
        .text(":")
        .decimals(second / 60 % 60, 2);
    clock.text(":").decimals(second % 60, 2).text(" GMT")
}

/// Reads a Date header; `None` for what is none, or lies before the epoch or after the year 2500.
pub(crate) fn read_sip_date(text: &str) -> Option<Time> {
    let mut words = text.split_whitespace();
    let weekday = words.next()?.strip_suffix(',')?;
    WEEKDAYS.iter().find(|day| day.eq_ignore_ascii_case(weekday))?;
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = 1 + MONTHS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(month))? as u64;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let fits = (1970..2500).contains(&year)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && clock.next().is_none()
        && words.next().is_some_and(|zone| zone.eq_ignore_ascii_case("GMT"));
    let days = || days_before(year) + (1..month).map(|month| days_in(year, month)).sum::<u64>() + day - 1;
    fits.then(|| Time::default() + Duration::from_secs(days() * DAY + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_each_protocol_wants() {
        let time = Time(1_795_318_774_166_999_999);
        assert_eq!(event_time(time), "2026-11-22T03:39:34.166+0000");
        assert_eq!(rfc3339(time), "2026-11-22T03:39:34Z");
        assert_eq!(sip_date(time), "Sun, 22 Nov 2026 03:39:34 GMT");
        assert_eq!(event_time(Time::default()), "1970-01-01T00:00:00.000+0000");
        assert_eq!(
            sip_date(Time::from_unix_seconds(951_782_400)),
            "Tue, 29 Feb 2000 00:00:00 GMT"
        );
        assert_eq!(
            sip_date(Time::from_unix_seconds(4_107_542_399)),
            "Sun, 28 Feb 2100 23:59:59 GMT"
        );
        assert_eq!(
            sip_date(Time::from_unix_seconds(4_107_542_400)),
            "Mon, 01 Mar 2100 00:00:00 GMT"
        );
    }

    #[test]
    fn every_date_is_read_as_it_was_written() {
        for day in 0..80_000 {
            let time = Time::from_unix_seconds(day * DAY + day % DAY);
            assert_eq!(read_sip_date(&sip_date(time)), Some(time), "{}", sip_date(time));
        }
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for text in [
            "",
            "Sun, 22 Nov 2026 03:39:34",
            "Sun, 22 Nov 2026 03:39:34 CET",
            "Sun, 31 Nov 2026 03:39:34 GMT",
            "Sun, 0 Nov 2026 03:39:34 GMT",
            "Sun, 22 Nov 1960 03:39:34 GMT",
            "Sun, 22 Nov 99999999999999 03:39:34 GMT",
            "Xyz, 22 Nov 2026 03:39:34 GMT",
            "Sun, 22 Nov 2026 24:00:00 GMT",
            "Sun, 22 Nov 2026 1:2:3:4 GMT",
        ] {
            assert_eq!(read_sip_date(text), None, "{text}");
        }
    }
}
