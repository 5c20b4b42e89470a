//! Times of the week at which something is open.

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// 1 January 1970 was a Thursday; weeks begin with Monday here.
const EPOCH_WEEKDAY: i64 = 3;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_NAMES: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// When something is open, in a local time that is always equally far from UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Minutes from UTC to local time.
    offset: i64,
    /// The local minute of the week at which each time begins, and its length in minutes.
    times: Vec<(i64, i64)>,
}

impl Hours {
    /// Reads ranges such as `08:00-18:00`, the days on which they begin (none given: every day) and
    /// the offset of local time.
    ///
    /// # Errors
    /// What is wrong, with what is expected.
    pub fn new(open: &[String], days: Option<&[String]>, offset: &str) -> Result<Self, String> {
        let ranges = open
            .iter()
            .map(|text| range(text))
            .collect::<Result<Vec<_>, _>>()?;
        let days = match days {
            Some(days) => days.iter().map(|name| day(name)).collect::<Result<Vec<_>, _>>()?,
            None => (0..7).collect(),
        };
        if ranges.is_empty() || days.is_empty() {
            return Err("open and days must not be empty: nobody could ever join".into());
        }
        let times = days.iter().flat_map(|day| {
            ranges
                .iter()
                .map(move |(from, length)| (day * DAY + from, *length))
        });
        Ok(Self {
            offset: offset_minutes(offset)?,
            times: times.collect(),
        })
    }

    /// Whether it is open at a moment, in milliseconds since the Unix epoch.
    pub fn is_open(&self, unix_milliseconds: u64) -> bool {
        let now = self.minute_of_week(unix_milliseconds);
        self.times
            .iter()
            .any(|(start, length)| (now - start).rem_euclid(WEEK) < *length)
    }

    /// When it opens next, for people: `08:00` for today, else `Monday 08:00`.
    pub fn next_opening(&self, unix_milliseconds: u64) -> String {
        let now = self.minute_of_week(unix_milliseconds);
        let wait = self
            .times
            .iter()
            .map(|(start, _)| (start - now).rem_euclid(WEEK))
            .min()
            .unwrap_or(0);
        let at = (now + wait).rem_euclid(WEEK);
        let clock = format!("{:02}:{:02}", at % DAY / HOUR, at % HOUR);
        if now % DAY + wait < DAY {
            clock
        } else {
            let name = usize::try_from(at / DAY).map_or("", |day| DAY_NAMES[day]);
            format!("{name} {clock}")
        }
    }

    fn minute_of_week(&self, unix_milliseconds: u64) -> i64 {
        let minutes = i64::try_from(unix_milliseconds / 60_000).unwrap_or(0);
        (minutes + self.offset + EPOCH_WEEKDAY * DAY).rem_euclid(WEEK)
    }
}

/// Reads `08:00-18:00` as the minute of the day at which it begins and its length.
fn range(text: &str) -> Result<(i64, i64), String> {
    let wrong = || format!("open = {text:?}: expected a range such as \"08:00-18:00\" or \"00:00-24:00\"");
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let from = clock(from.trim())
        .filter(|minute| *minute < DAY)
        .ok_or_else(wrong)?;
    let to = clock(to.trim()).ok_or_else(wrong)?;
    if from == to {
        return Err(wrong());
    }
    Ok((from, if to > from { to - from } else { to + DAY - from }))
}

/// Reads `HH:MM`, up to 24:00, as minutes.
fn clock(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        let is_plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let total = hours * HOUR + minutes;
    (minutes < HOUR && total <= DAY).then_some(total)
}

/// Reads `+01:00` as minutes.
fn offset_minutes(text: &str) -> Result<i64, String> {
    let wrong = || format!("utc_offset = {text:?}: expected an offset such as \"+01:00\" or \"-05:30\"");
    if text == "Z" {
        return Ok(0);
    }
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    clock(rest)
        .filter(|minutes| *minutes <= 14 * HOUR)
        .map(|minutes| sign * minutes)
        .ok_or_else(wrong)
}

/// Reads a day's name, whole or its first three letters.
fn day(name: &str) -> Result<i64, String> {
    let lower = name.trim().to_ascii_lowercase();
    let is_it = |(short, long): (&&str, &&str)| lower == **short || lower == long.to_ascii_lowercase();
    let found = DAYS.iter().zip(&DAY_NAMES).position(is_it);
    let index = found.ok_or_else(|| {
        format!(
            "days: there is no day {name:?}; expected some of {}",
            DAYS.join(", ")
        )
    })?;
    Ok(index as i64)
}
