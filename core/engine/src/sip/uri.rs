//! SIP and SIPS URIs (RFC 3261 section 19.1); other schemes are kept as they are.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::byte;
use super::message::Malformed;

const FAULT: Malformed = Malformed::new("uri");

/// The parameters without which a URI is another one.
const DECISIVE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// A URI, borrowed from the message it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    text: &'a str,
    scheme: &'a str,
    user: Option<&'a str>,
    password: Option<&'a str>,
    /// The host as written, an IPv6 address with its brackets; empty for other schemes than sip and sips.
    pub host: &'a str,
    /// The port, if one is written.
    pub port: Option<u16>,
    params: &'a str,
    headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI.
    ///
    /// # Errors
    /// There is no scheme, or it is sip or sips and what follows breaks their grammar.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let colon = scheme_len(text).ok_or(FAULT)?;
        let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
        if rest.is_empty() {
            return Err(FAULT);
        }
        let mut uri = Self {
            text,
            scheme,
            user: None,
            password: None,
            host: "",
            port: None,
            params: "",
            headers: "",
        };
        if uri.is_sip() {
            uri.read_sip(rest).ok_or(FAULT)?;
        } else if !byte::all(rest, byte::URI) {
            return Err(FAULT);
        } else {
            let end = rest.find(';').unwrap_or(rest.len());
            uri.params = &rest[end..];
            uri.user = scheme.eq_ignore_ascii_case("tel").then_some(&rest[..end]);
        }
        Ok(uri)
    }

    /// Reads what follows the scheme, each byte once unless there is no user part.
    fn read_sip(&mut self, rest: &'a str) -> Option<()> {
        let bytes = rest.as_bytes();
        let user_end = escaped_end(bytes, 0, byte::USER);
        let userinfo_end = match bytes.get(user_end) {
            Some(b':') => escaped_end(bytes, user_end + 1, byte::USER),
            _ => user_end,
        };
        // An at sign further behind is refused where it stands.
        let rest = if bytes.get(userinfo_end) == Some(&b'@') {
            self.user = Some(&rest[..user_end]).filter(|user| !user.is_empty());
            self.user?;
            self.password = rest.get(user_end + 1..userinfo_end);
            &rest[userinfo_end + 1..]
        } else {
            rest
        };
        let (host, port, rest) = host_port(rest, |rest| rest)?;
        (self.host, self.port) = (host, port);
        let bytes = rest.as_bytes();
        let mut at = 0;
        while bytes.get(at) == Some(&b';') {
            if matches!(bytes.get(at + 1), None | Some(b';' | b'?' | b'=')) {
                return None;
            }
            at = escaped_end(bytes, at + 1, byte::URI_PARAM);
        }
        self.params = &rest[..at];
        if bytes.get(at) == Some(&b'?') {
            self.headers = &rest[at + 1..];
            while matches!(bytes.get(at), Some(b';' | b'?')) {
                at = escaped_end(bytes, at + 1, byte::URI_PARAM);
            }
        }
        (at == bytes.len()).then_some(())
    }

    /// The whole URI as written.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The scheme as written.
    pub fn scheme(&self) -> &'a str {
        self.scheme
    }

    /// Whether the scheme is sip or sips.
    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sip") || self.is_sips()
    }

    /// Whether the scheme is sips.
    pub fn is_sips(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sips")
    }

    /// The user part with its escapes undone; the number of a tel URI.
    pub fn user(&self) -> Option<Cow<'a, str>> {
        self.user.map(decoded)
    }

    /// The number of a tel URI, or of a SIP URI with `user=phone`, without its visual separators (RFC 3966 section 4);
    /// `None` where it has none, or there is no number.
    pub fn bare_number(&self) -> Option<String> {
        let user = self.user()?;
        (user.bytes().any(is_separator) && self.is_number(&user)).then(|| digits(&user))
    }

    /// Whether this user is a telephone number. Some phones say `user=phone` of every user.
    fn is_number(&self, user: &str) -> bool {
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'*' | b'#');
        let mut number = user.bytes().take_while(|byte| *byte != b';');
        match self.is_sip() {
            true => {
                let phone = self.param("user");
                phone.is_some_and(|kind| kind.eq_ignore_ascii_case("phone"))
                    && number.all(|byte| is_digit(byte) || is_separator(byte))
            }
            false => true, // only tel URIs of all others have a user
        }
    }

    /// The user part as written; the number of a tel URI.
    pub fn user_raw(&self) -> Option<&'a str> {
        self.user
    }

    /// The password as written.
    pub fn password(&self) -> Option<&'a str> {
        self.password
    }

    /// The host as an address, if it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.host
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(self.host)
            .parse()
            .ok()
    }

    /// The port that is meant: the written one, or the one of scheme and transport.
    pub fn port_or_default(&self) -> u16 {
        let transport = self.param("transport").unwrap_or("");
        let by_transport = [
            ("tls", 5061),
            ("ws", if self.is_sips() { 443 } else { 80 }),
            ("wss", 443),
        ];
        let default = by_transport
            .iter()
            .find(|(name, _)| transport.eq_ignore_ascii_case(name))
            .map(|(_, port)| *port);
        self.port
            .or(default)
            .unwrap_or(if self.is_sips() { 5061 } else { 5060 })
    }

    /// The URI parameters in their order: name and value as written.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.params.split(';').skip(1).map(|p| {
            p.split_once('=')
                .map_or((p, None), |(name, value)| (name, Some(value)))
        })
    }

    /// The value of a URI parameter as written; empty where it has none.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// What follows the question mark, as written; empty where there is none.
    pub fn headers_text(&self) -> &'a str {
        self.headers
    }

    /// The headers after the question mark: name and value as written, escapes in place.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.headers
            .split('&')
            .filter(|h| !h.is_empty())
            .map(|h| h.split_once('=').unwrap_or((h, "")))
    }

    /// The URI as it may stand in a Request-URI or a Route: without headers and `method` (RFC 3261 section 19.1.1,
    /// table 1).
    pub fn in_request(&self) -> Cow<'a, str> {
        if !self.is_sip() {
            return self.text.into();
        }
        let text = &self.text[..self.text.len() - self.headers.len()];
        let text = text.strip_suffix('?').unwrap_or(text);
        if self.param("method").is_none() {
            return text.into();
        }
        let mut text = text[..text.len() - self.params.len()].to_owned();
        for param in self.params.split(';').skip(1) {
            let name = param.split('=').next().unwrap_or_default();
            if !name.eq_ignore_ascii_case("method") {
                text.push(';');
                text.push_str(param);
            }
        }
        text.into()
    }

    /// Whether both name the same resource by the rules of RFC 3261 section 19.1.4; other schemes are
    /// compared byte for byte.
    pub fn equals(&self, other: &Uri<'_>) -> bool {
        if !self.is_sip() || !other.is_sip() {
            return self.text == other.text;
        }
        self.is_sips() == other.is_sips()
            && same(self.user, other.user, Case::Counts)
            && same(self.password, other.password, Case::Counts)
            && same_host(self, other)
            && self.port == other.port
            && self.params_cover(other)
            && other.params_cover(self)
            && self.headers_cover(other)
            && other.headers_cover(self)
    }

    /// Whether each parameter of ours is the same in `other`, or is missing there and may be.
    fn params_cover(&self, other: &Uri<'_>) -> bool {
        self.params().all(|(name, value)| {
            let mut named = other
                .params()
                .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                .peekable();
            match named.peek() {
                Some(_) => named.any(|(_, theirs)| same(value, theirs, Case::Folds)),
                None => !DECISIVE.iter().any(|n| name.eq_ignore_ascii_case(n)),
            }
        })
    }

    fn headers_cover(&self, other: &Uri<'_>) -> bool {
        self.headers().all(|(name, value)| {
            other
                .headers()
                .any(|(n, v)| n.eq_ignore_ascii_case(name) && same(Some(value), Some(v), Case::Counts))
        })
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Length of the scheme that `text` begins with, its colon not counted.
#[inline]
pub(crate) fn scheme_len(text: &str) -> Option<usize> {
    if text.starts_with("sip:") {
        return Some(3); // nearly always
    }
    let end = text
        .bytes()
        .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')))?;
    (text.as_bytes()[end] == b':' && text.as_bytes()[0].is_ascii_alphabetic()).then_some(end)
}

/// Reads `host` or `host:port`, and what follows it; `skip` takes away the white space that may stand around
/// the colon and behind.
#[inline]
pub(crate) fn host_port(text: &str, skip: impl Fn(&str) -> &str) -> Option<(&str, Option<u16>, &str)> {
    let host_len = match text.strip_prefix('[') {
        Some(v6) => {
            let len = v6.find(']')?;
            v6[..len].parse::<Ipv6Addr>().ok()?;
            len + 2
        }
        None => byte::run(text.as_bytes(), byte::HOST),
    };
    let (host, rest) = text.split_at(host_len);
    let rest = skip(rest);
    if host.is_empty() {
        return None;
    }
    let Some(rest) = rest.strip_prefix(':') else {
        return Some((host, None, rest));
    };
    let rest = skip(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (port, rest) = rest.split_at(digits);
    Some((host, Some(port_number(port)?), skip(rest)))
}

/// A port from 1 to 65535 in at most five decimal digits; nothing else may be in the text.
fn port_number(digits: &str) -> Option<u16> {
    let port = digits.parse().ok()?;
    (digits.len() <= 5 && port != 0).then_some(port)
}

/// Where the bytes of a class and the escapes end that stand from here on.
#[inline]
fn escaped_end(bytes: &[u8], from: usize, class: u8) -> usize {
    let mut at = from + byte::run(&bytes[from..], class);
    while bytes.get(at) == Some(&b'%') && escape_at(bytes, at).is_some() {
        at += 3;
        at += byte::run(&bytes[at..], class);
    }
    at
}

/// The byte that the escape at this place stands for.
fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (high, low) = (digit(bytes.get(at + 1)?)?, digit(bytes.get(at + 2)?)?);
    u8::try_from(high << 4 | low).ok()
}

/// What stands in a telephone number for the eye alone.
const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'(' | b')')
}

/// A telephone number without its visual separators; its parameters are as they were.
fn digits(number: &str) -> String {
    let (number, params) = number.split_at(number.find(';').unwrap_or(number.len()));
    let dialled = number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')'));
    dialled.chain(params.chars()).collect()
}

/// The text with its escapes undone; bytes that are not UTF-8 become replacement characters.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escape = if bytes[at] == b'%' {
            escape_at(bytes, at)
        } else {
            None
        };
        out.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Counts,
    Folds,
}

/// Compares as RFC 3261 section 19.1.4 wants it: an escape equals its character unless that is a reserved one.
fn same(a: Option<&str>, b: Option<&str>, case: Case) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => units(a, case).eq(units(b, case)),
        (a, b) => a == b,
    }
}

fn units(text: &str, case: Case) -> impl Iterator<Item = (u8, bool)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        let escape = if byte == b'%' { escape_at(bytes, at) } else { None };
        at += if escape.is_some() { 3 } else { 1 };
        let meant = escape.unwrap_or(byte);
        let folded = if case == Case::Folds {
            meant.to_ascii_lowercase()
        } else {
            meant
        };
        Some((folded, escape.is_some() && b";/?:@&=+$,".contains(&meant)))
    })
}

fn same_host(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    match (a.host_ip(), b.host_ip()) {
        (Some(a), Some(b)) => a == b,
        _ => a.host.eq_ignore_ascii_case(b.host),
    }
}

/// Whether a text has these letters somewhere, in whatever case: what is asked before it is read as a URI.
pub(crate) fn contains(text: &str, letters: &str) -> bool {
    let mut windows = text.as_bytes().windows(letters.len());
    windows.any(|window| window.eq_ignore_ascii_case(letters.as_bytes()))
}

#[cfg(test)]
mod tests;
