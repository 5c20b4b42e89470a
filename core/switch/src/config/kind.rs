//! The kinds of values that the config file knows: how each is described, and how a scalar is read.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::schema::Section;

/// What may stand at a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// One line of text, at most so many bytes.
    Text(usize),
    /// A password or token of at least so many bytes: as text, but never shown.
    Secret(usize),
    /// So many hexadecimal digits; never shown.
    SecretHex(usize),
    /// Decimal digits (a PIN); never shown.
    Pin,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A time span within bounds.
    Duration(Duration, Duration),
    /// How long something is kept: `while-occupied`, `forever` or a time span.
    Keep,
    /// A number of bytes within bounds.
    Size(u64, u64),
    /// An address with a port.
    Socket,
    /// An address without a port.
    Ip,
    /// A network, or one address.
    Network,
    /// A range of UDP ports.
    Ports,
    /// 32 hexadecimal digits, dashes allowed.
    Id,
    /// A domain name or IP address.
    Domain,
    /// A SIP user part.
    Username,
    /// A number to dial.
    Number,
    /// Lower-case letters, digits and dashes.
    Name,
    /// A path.
    Path,
    /// A list.
    List(&'static Kind),
    /// A list; a single value is taken as a list of one.
    OneOrMore(&'static Kind),
    /// A free table, handed on as JSON.
    Json,
    /// A table with keys of its own.
    Table(&'static Section),
    /// A list of such tables.
    Tables(&'static Section),
}

/// A value that was read.
#[derive(Clone, PartialEq)]
pub(crate) enum Scalar {
    Flag(bool),
    Integer(i64),
    Text(String),
    Duration(Duration),
    Size(u64),
    Socket(SocketAddr),
    Ip(IpAddr),
    Network(IpNet),
    Ports(RangeInclusive<u16>),
    Id(u128),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Integer(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Text(max) => write!(f, "text of one line, at most {max} bytes"),
            Self::Secret(0) => f.write_str("text (never shown)"),
            Self::Secret(_) => f.write_str("text that is not empty (never shown)"),
            Self::SecretHex(digits) => write!(f, "{digits} hexadecimal digits (never shown)"),
            Self::Pin => f.write_str("1 to 32 decimal digits in quotes (never shown)"),
            Self::OneOf(words) => write!(f, "one of {}", quoted(words)),
            Self::Duration(min, max) => {
                write!(f, "a duration from {} to {}", span_text(*min), span_text(*max))
            }
            Self::Keep => f.write_str("\"while-occupied\", \"forever\" or a duration such as \"7d\""),
            Self::Size(min, max) => write!(f, "a size from {} to {}", size_text(*min), size_text(*max)),
            Self::Socket => {
                f.write_str("an address with a port, such as \"127.0.0.1:5060\" or \"[::1]:5060\"")
            }
            Self::Ip => f.write_str("an IP address, such as \"192.0.2.1\" or \"2001:db8::1\""),
            Self::Network => f.write_str("a network, such as \"192.0.2.0/24\", or one address"),
            Self::Ports => f.write_str("a range of UDP ports from 1024 to 65535, such as \"20000-29999\""),
            Self::Id => f.write_str("32 hexadecimal digits, with or without dashes"),
            Self::Domain => f.write_str("a domain name or IP address"),
            Self::Username => {
                f.write_str("a SIP user part: 1 to 64 letters, digits or any of -_.!~*'()&=+$,;?/")
            }
            Self::Number => {
                f.write_str("a number to dial in quotes: 1 to 32 letters, digits or any of +*#-._")
            }
            Self::Name => f.write_str("a name: 1 to 64 lower-case letters, digits and dashes"),
            Self::Path => f.write_str("a path"),
            Self::List(kind) => write!(f, "a list; each is {kind}"),
            Self::OneOrMore(kind) => write!(f, "one or a list; each is {kind}"),
            Self::Json => f.write_str("a table"),
            Self::Table(section) => write!(f, "a table with the keys of `{}`", section.name),
            Self::Tables(section) => write!(f, "a list of tables with the keys of `{}`", section.name),
        }
    }
}

impl Kind {
    /// Whether a value of this kind may never be shown.
    pub(crate) const fn secret(self) -> bool {
        match self {
            Self::Secret(_) | Self::SecretHex(_) | Self::Pin => true,
            Self::List(kind) | Self::OneOrMore(kind) => kind.secret(),
            _ => false,
        }
    }

    /// Reads a text. The error says what is wrong with it; what is expected is said by the caller.
    pub(crate) fn read_text(self, text: &str) -> Result<Scalar, String> {
        match self {
            Self::Duration(min, max) => {
                let span = read_duration(text)?;
                if span < min || span > max {
                    return Err("out of range".into());
                }
                Ok(Scalar::Duration(span))
            }
            Self::Keep if matches!(text, "while-occupied" | "forever") => Ok(Scalar::Text(text.into())),
            Self::Keep => read_duration(text).map(Scalar::Duration),
            Self::Size(min, max) => {
                let bytes = read_size(text)?;
                if bytes < min || bytes > max {
                    return Err("out of range".into());
                }
                Ok(Scalar::Size(bytes))
            }
            Self::OneOf(words) => {
                if words.contains(&text) {
                    return Ok(Scalar::Text(text.into()));
                }
                Err(match nearest(text, words.iter().copied()) {
                    Some(word) => format!("unknown word; the nearest is \"{word}\""),
                    None => "unknown word".into(),
                })
            }
            Self::Socket => text
                .parse()
                .map(Scalar::Socket)
                .map_err(|_| match text.parse::<IpAddr>() {
                    Ok(_) => "the port is missing".into(),
                    Err(_) => "not an address with a port (names are not resolved here)".into(),
                }),
            Self::Ip => text
                .parse()
                .map(Scalar::Ip)
                .map_err(|_| "not an IP address".into()),
            Self::Network => text
                .parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map(|network| Scalar::Network(network.trunc()))
                .map_err(|_| "not a network".into()),
            Self::Ports => read_ports(text).map(Scalar::Ports),
            Self::Id => text
                .parse::<cordboard_model::ConferenceId>()
                .map(|id| Scalar::Id(id.0))
                .map_err(|_| "not an id".into()),
            _ => self.check_text(text).map(|()| Scalar::Text(text.into())),
        }
    }

    fn check_text(self, text: &str) -> Result<(), String> {
        let all = |allowed: fn(char) -> bool| text.chars().all(allowed);
        let length = match self {
            Self::Text(max) => 0..=max,
            Self::Secret(min) => min..=1024,
            Self::SecretHex(digits) => digits..=digits,
            Self::Pin | Self::Number => 1..=32,
            Self::Username | Self::Name => 1..=64,
            Self::Domain => 1..=253,
            _ => 1..=4096,
        };
        if text.is_empty() && *length.start() > 0 {
            return Err("it is empty".into());
        }
        if !length.contains(&text.len()) {
            return Err(format!("it is {} bytes long", text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err("it holds a control character".into());
        }
        let fits = match self {
            Self::SecretHex(_) => all(|c| c.is_ascii_hexdigit()),
            Self::Pin => all(|c| c.is_ascii_digit()),
            Self::Number => all(|c| c.is_ascii_alphanumeric() || "+*#-._".contains(c)),
            Self::Username => all(|c| c.is_ascii_alphanumeric() || "-_.!~*'()&=+$,;?/".contains(c)),
            Self::Name => all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            Self::Domain => all(|c| c.is_ascii_alphanumeric() || "-_.:[]".contains(c)),
            _ => true,
        };
        if fits {
            Ok(())
        } else {
            Err("it holds a character that may not stand there".into())
        }
    }
}

fn split_unit(text: &str) -> Result<(u64, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it does not begin with a whole number".into());
    }
    let number = number
        .parse()
        .map_err(|_| String::from("the number is too large"))?;
    Ok((number, unit.trim_start()))
}

fn read_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text)?;
    let seconds = |factor: u64| {
        number
            .checked_mul(factor)
            .map(Duration::from_secs)
            .ok_or("the number is too large")
    };
    Ok(match unit {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => seconds(60)?,
        "h" => seconds(3600)?,
        "d" => seconds(86_400)?,
        "" => return Err("the unit is missing: us, ms, s, m, h or d".into()),
        _ => return Err(format!("unknown unit `{unit}`: us, ms, s, m, h and d are known")),
    })
}

fn read_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err("the unit is missing: B, KiB, MiB or GiB".into()),
        _ => return Err(format!("unknown unit `{unit}`: B, KiB, MiB and GiB are known")),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| "the number is too large".into())
}

fn read_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text
        .split_once('-')
        .ok_or("the dash between first and last is missing")?;
    let port = |text: &str| {
        text.trim()
            .parse::<u16>()
            .map_err(|_| format!("`{}` is not a port", text.trim()))
    };
    let (first, last) = (port(first)?, port(last)?);
    if first < 1024 {
        return Err("ports below 1024 are reserved".into());
    }
    if first > last {
        return Err("the first port is above the last".into());
    }
    if last - first < 3 {
        return Err("a call needs two ports; give at least four".into());
    }
    Ok(first..=last)
}

/// A duration as it is written in the file.
pub(crate) fn span_text(span: Duration) -> String {
    let micros = span.as_micros();
    for (unit, factor) in [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1000),
    ] {
        if micros >= factor && micros.is_multiple_of(factor) {
            return format!("{}{unit}", micros / factor);
        }
    }
    if micros == 0 {
        "0s".into()
    } else {
        format!("{micros}us")
    }
}

/// A size as it is written in the file.
pub(crate) fn size_text(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The candidate most like `word`, if any is like it at all.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, expected) in [
            ("5ms", 5_000),
            ("30s", 30_000_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("7d", 604_800_000_000),
            ("50us", 50),
        ] {
            let span = read_duration(text).unwrap();
            assert_eq!(span, Duration::from_micros(expected), "{text}");
            assert_eq!(read_duration(&span_text(span)), Ok(span));
        }
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 fortnights",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert!(read_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, expected) in [
            ("64KiB", 65_536),
            ("16MiB", 16 << 20),
            ("1GiB", 1 << 30),
            ("12B", 12),
        ] {
            assert_eq!(read_size(text), Ok(expected), "{text}");
            assert_eq!(size_text(expected), text);
        }
        for text in ["64", "64KB", "KiB", "99999999999999999GiB"] {
            assert!(read_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn port_ranges_keep_their_order_and_room_for_a_call() {
        assert_eq!(read_ports("20000-29999"), Ok(20_000..=29_999));
        for text in ["20000", "29999-20000", "80-9000", "20000-20002", "1-99999", "a-b"] {
            assert!(read_ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_taken_with_and_without_a_prefix() {
        let network = |text: &str| match Kind::Network.read_text(text) {
            Ok(Scalar::Network(network)) => network.to_string(),
            _ => "refused".into(),
        };
        assert_eq!(network("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(network("::1"), "::1/128");
        assert_eq!(network("10.0.0.0/33"), "refused");
    }

    #[test]
    fn the_nearest_word_is_named_only_where_one_is_near() {
        let known = ["udp", "tcp", "realm", "trusted"];
        assert_eq!(nearest("ralm", known.into_iter()), Some("realm"));
        assert_eq!(nearest("Trusted_nets", known.into_iter()), Some("trusted"));
        assert_eq!(nearest("quux", known.into_iter()), None);
    }
}
