//! Bodies: media types, encodings, multiparts in their parts (RFC 2046 section 5.1, RFC 5621), and what CPIM holds.

use std::borrow::Cow;

use crate::sip::grammar::{is_space, quoted_len, trim};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::transfer::Transfer;

/// Parts beyond these are not looked at.
const PARTS: usize = 64;

/// One part of a multipart body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// Its Content-Type, parameters included.
    pub(crate) kind: String,
    /// Its Content-Disposition; empty where it has none.
    pub(crate) disposition: String,
    /// The form in which the body stands here.
    pub(crate) transfer: Transfer,
    pub(crate) body: &'a [u8],
}

/// A type without its parameters, in lower case.
pub(crate) fn essence(kind: &str) -> Cow<'_, str> {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind
        .bytes()
        .any(|byte| byte.is_ascii_uppercase() || is_space(byte))
    {
        return kind.into();
    }
    // White space around the slash belongs to that (RFC 3261 section 25.1, SLASH).
    let kind = match kind.split_once('/') {
        Some((family, name)) => format!("{}/{}", trim(family), trim(name)),
        None => kind.to_owned(),
    };
    kind.to_ascii_lowercase().into()
}

/// The form in which the body of a message stands, as far as nobody has compressed it.
pub(crate) fn transfer_of(message: &Message) -> Transfer {
    Transfer::of(message.header(Name::ContentTransferEncoding))
}

/// Whether the body of a message is compressed or otherwise not what its type says (RFC 3261 section 20.12): we
/// undo no encoding.
pub(crate) fn is_encoded(message: &Message) -> bool {
    !message.body_slice().is_empty() && message.values(Name::ContentEncoding).any(is_foreign)
}

fn is_foreign(encoding: &str) -> bool {
    !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity")
}

/// The parts of a multipart body; none where the type names no boundary or the body has no part that can be read.
pub(crate) fn parts<'a>(kind: &str, body: &'a [u8]) -> Vec<Part<'a>> {
    let Some(boundary) = boundary(kind) else {
        return Vec::new();
    };
    pieces(body, &boundary).into_iter().filter_map(read).collect()
}

/// What a CPIM message holds, after its own headers (RFC 3862 section 2).
pub(crate) fn cpim_contents(body: &[u8]) -> Option<Part<'_>> {
    read(at_blank_line(body)?.1)
}

/// The value of a parameter of a type or disposition, without its quotes.
pub(crate) fn parameter<'a>(value: &'a str, wanted: &str) -> Option<&'a str> {
    let (_, mut rest) = value.split_once(';')?;
    let mut quotes_end = true;
    loop {
        let (parameter, after) = rest.split_at(parameter_len(rest, &mut quotes_end));
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.trim().trim_matches('"'));
        }
        rest = after.strip_prefix(';')?;
    }
}

/// How far the first parameter reaches: to a semicolon that does not stand in quotes. Behind a quote that never ends
/// there is none that does (each is escaped from the first on), so no further one is measured.
fn parameter_len(text: &str, quotes_end: &mut bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while *quotes_end && let Some(found) = memchr::memchr2(b';', b'"', &bytes[at..]) {
        at += found;
        if bytes[at] == b';' {
            return at;
        }
        let quoted = quoted_len(&text[at..]);
        *quotes_end = quoted.is_some();
        at += quoted.unwrap_or(1);
    }
    memchr::memchr(b';', &bytes[at..]).map_or(text.len(), |found| at + found)
}

/// The boundary that a Content-Type names.
fn boundary(kind: &str) -> Option<String> {
    let boundary = parameter(kind, "boundary")?;
    (!boundary.is_empty() && boundary.len() <= 70).then(|| boundary.to_owned())
}

/// What stands between the delimiter lines.
fn pieces<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut pieces = Vec::new();
    let mut open: Option<usize> = None;
    for at in memchr::memmem::find_iter(body, &delimiter) {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        let rest = &body[at + delimiter.len()..];
        let line = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let after = String::from_utf8_lossy(&rest[..line]);
        let (is_last, is_delimiter) = (after.starts_with("--"), after.trim().is_empty());
        if !is_last && !is_delimiter {
            continue; // another boundary that begins like this one
        }
        if let Some(start) = open.take() {
            // The line end before a delimiter belongs to the delimiter.
            let end = at.saturating_sub(1);
            let end = end - usize::from(end > start && body[end - 1] == b'\r');
            pieces.push(&body[start.min(end)..end]);
        }
        if is_last || pieces.len() >= PARTS {
            break;
        }
        open = Some((at + delimiter.len() + line + 1).min(body.len()));
    }
    pieces
}

/// What stands before the first empty line, and after it.
fn at_blank_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = memchr::memmem::find(text, b"\r\n\r\n").map(|at| (at, 4));
    let (at, length) = blank.or_else(|| memchr::memmem::find(text, b"\n\n").map(|at| (at, 2)))?;
    Some((&text[..at], &text[at + length..]))
}

/// A part in its headers and its body.
fn read(part: &[u8]) -> Option<Part<'_>> {
    let (head, body) = match part {
        [b'\n', body @ ..] | [b'\r', b'\n', body @ ..] => (&b""[..], body),
        part => at_blank_line(part)?,
    };
    let head = unfolded(std::str::from_utf8(head).ok()?);
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let transfer = match header("Content-Encoding").is_some_and(is_foreign) {
        true => Transfer::Foreign,
        false => Transfer::of(header("Content-Transfer-Encoding")),
    };
    Some(Part {
        // RFC 2046 section 5.1: without a type a part is plain text.
        kind: header("Content-Type").unwrap_or("text/plain").to_owned(),
        disposition: header("Content-Disposition").unwrap_or_default().to_owned(),
        transfer,
        body,
    })
}

/// Headers with each on one line.
fn unfolded(head: &str) -> Cow<'_, str> {
    if !head.contains("\n ") && !head.contains("\n\t") {
        return head.into();
    }
    let head = head.replace("\r\n", "\n");
    head.replace("\n ", " ").replace("\n\t", " ").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(kind: &str, body: &str) -> Vec<(String, String, bool, String)> {
        let text = |part: Part<'_>| {
            let body = String::from_utf8_lossy(part.body).into_owned();
            (part.kind, part.disposition, !part.transfer.is_plain(), body)
        };
        parts(kind, body.as_bytes()).into_iter().map(text).collect()
    }

    #[test]
    fn types_are_compared_without_case_and_white_space() {
        for (kind, expected) in [
            ("text/plain", "text/plain"),
            (" Text/Plain ; charset=utf-8", "text/plain"),
            ("application / sdp", "application/sdp"),
            ("application/\tSDP;x=/", "application/sdp"),
            ("text plain", "text plain"),
            ("a / b / c", "a/b / c"),
            ("", ""),
        ] {
            assert_eq!(essence(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn parameters_end_at_semicolons_outside_quotes() {
        for (value, expected) in [
            ("multipart/mixed;boundary=b1", Some("b1")),
            ("multipart/mixed;x=\";boundary=zz\";boundary=b1", Some("b1")),
            (
                "multipart/mixed;x=\"\\\";boundary=zz\" ; Boundary = \"b1\" ",
                Some("b1"),
            ),
            ("multipart/mixed;boundary;boundary=b1", Some("b1")),
            ("multipart/mixed;;boundary=b1;", Some("b1")),
            ("multipart/mixed;x=\"open;boundary=b1", Some("b1")),
            ("multipart/mixed;x=\"é\\é\";boundary=b1", Some("b1")),
            ("multipart/mixed;x=boundary", None),
            ("multipart/mixed;", None),
            ("boundary=b1", None),
        ] {
            assert_eq!(parameter(value, "boundary"), expected, "{value:?}");
        }
    }

    /// Each quote measured to the end of the text would take hours.
    #[test]
    fn quotes_that_never_end_are_measured_once() {
        for (start, again) in [(";a=\"", "\\\""), (";a=\"", "\\\";"), (";a=\"", "\\\";a=")] {
            let value = format!("x/y{start}{};b=1", again.repeat(1 << 20));
            assert_eq!(parameter(&value, "b"), Some("1"), "{again}");
            assert_eq!(parameter(&value, "c"), None, "{again}");
        }
    }

    #[test]
    fn parts_have_their_headers_folded_or_not() {
        let body = "--b\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"in\"\r\nContent-ID: <1>\r\n\r\nA\r\n\
                    --b\r\ncontent-disposition: signal;handling=optional\r\nContent-Encoding: gzip\r\n\r\nB\r\n--b--";
        let part = |kind: &str, disposition: &str, encoded, body: &str| {
            (kind.to_owned(), disposition.to_owned(), encoded, body.to_owned())
        };
        assert_eq!(
            kinds("multipart/mixed; start=\"<1>\"; Boundary=b", body),
            [
                part("multipart/mixed; boundary=\"in\"", "", false, "A"),
                part("text/plain", "signal;handling=optional", true, "B"),
            ]
        );
    }

    proptest! {
        /// What nobody put together by hand: every part is a piece of the body, and there are not too many.
        #[test]
        fn parts_are_pieces_of_the_body(body in "(--b|--b--|\r\n|\n|\r\n\r\n|Content-Type: a/b|[ -~]{0,5}|\u{e4}){0,60}", repeated in 1usize..80) {
            let body = body.repeat(repeated);
            let parts = parts("multipart/mixed;boundary=b", body.as_bytes());
            prop_assert!(parts.len() <= PARTS);
            let mut after = body.as_bytes();
            for part in parts {
                let at = memchr::memmem::find(after, part.body);
                prop_assert!(at.is_some());
                after = &after[at.unwrap_or_default() + part.body.len()..];
            }
        }
    }
}
