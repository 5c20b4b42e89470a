//! Multipart bodies (RFC 2046 section 5.1): the text in them, for a recipient who does not take the whole. And what
//! CPIM wraps.

use super::copies::{accepts, essence};

/// Multiparts within multiparts are looked into this deep.
const DEPTH: u8 = 3;
/// Parts beyond these are not looked at.
const PARTS: usize = 64;

/// One part that is plain enough to be sent by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// Its Content-Type, parameters included.
    pub(crate) kind: String,
    pub(crate) body: &'a [u8],
}

/// The text that a recipient takes in place of a multipart body; `list` is its Accept in lower case. Of
/// alternatives it is the last that is taken, which is the richest (RFC 2046 section 5.1.4), otherwise the
/// first. `None` for a body that is no multipart or has no such text.
pub(crate) fn text_in<'a>(kind: &str, body: &'a [u8], list: Option<&str>) -> Option<Part<'a>> {
    find(kind, body, list, DEPTH)
}

fn find<'a>(kind: &str, body: &'a [u8], list: Option<&str>, depth: u8) -> Option<Part<'a>> {
    let essence_of_whole = essence(kind);
    if depth == 0 || !essence_of_whole.starts_with("multipart/") {
        return None;
    }
    let mut found = parts(body, &boundary(kind)?).into_iter().filter_map(|part| {
        let (kind, body) = read(part)?;
        if essence(&kind).starts_with("text/") {
            return accepts(list, &kind).then_some(Part { kind, body });
        }
        find(&kind, body, list, depth - 1)
    });
    if essence_of_whole == "multipart/alternative" {
        found.next_back()
    } else {
        found.next()
    }
}

/// What a CPIM message holds (RFC 3862 section 2): its type and its body, after the headers of the message.
pub(crate) fn cpim_contents(body: &[u8]) -> Option<(String, &[u8])> {
    read(after_blank_line(body)?.1)
}

/// The boundary that a Content-Type names.
fn boundary(kind: &str) -> Option<String> {
    let value = parameter(kind, "boundary")?;
    (!value.is_empty() && value.len() <= 70).then(|| value.to_owned())
}

/// A parameter of a Content-Type, without its quotes.
pub(crate) fn parameter<'a>(kind: &'a str, wanted: &str) -> Option<&'a str> {
    let (_, parameters) = kind.split_once(';')?;
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        is_wanted.then(|| value.trim().trim_matches('"'))
    })
}

/// What stands before the first empty line, and after it.
fn after_blank_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = memchr::memmem::find(text, b"\r\n\r\n").map(|at| (at, 4));
    let (at, length) = blank.or_else(|| memchr::memmem::find(text, b"\n\n").map(|at| (at, 2)))?;
    Some((&text[..at], &text[at + length..]))
}

/// What stands between the delimiter lines.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut parts = Vec::new();
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
            parts.push(&body[start.min(end)..end]);
        }
        if is_last || parts.len() >= PARTS {
            break;
        }
        open = Some((at + delimiter.len() + line + 1).min(body.len()));
    }
    parts
}

/// The type of a part and its body; `None` where the body is encoded.
fn read(part: &[u8]) -> Option<(String, &[u8])> {
    let (head, body) = match part {
        [b'\n', body @ ..] | [b'\r', b'\n', body @ ..] => (&b""[..], body),
        part => after_blank_line(part)?,
    };
    let head = std::str::from_utf8(head).ok()?;
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let plain = header("Content-Transfer-Encoding")
        .is_none_or(|encoding| ["7bit", "8bit", "binary"].contains(&encoding.to_ascii_lowercase().as_str()));
    // RFC 2046 section 5.1: without a type a part is plain text.
    let kind = header("Content-Type").unwrap_or("text/plain").to_owned();
    plain.then_some((kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALTERNATIVES: &str = "preamble\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: text/html;charset=utf-8\r\n\r\n<b>hi</b>\r\n\
        --b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--\r\nepilogue";

    #[test]
    fn the_richest_alternative_that_is_taken_is_found() {
        for (list, expected) in [
            (None, Some(("text/html;charset=utf-8", "<b>hi</b>"))),
            (Some("text/plain"), Some(("text/plain", "hi"))),
            (Some("text/*"), Some(("text/html;charset=utf-8", "<b>hi</b>"))),
            (Some("application/json"), None),
        ] {
            let found = text_in(
                "multipart/alternative; boundary=\"b\"",
                ALTERNATIVES.as_bytes(),
                list,
            );
            let found = found.map(|part| (part.kind, String::from_utf8_lossy(part.body).into_owned()));
            let expected = expected.map(|(kind, body)| (kind.to_owned(), body.to_owned()));
            assert_eq!(found, expected, "{list:?}");
        }
    }

    #[test]
    fn of_a_mixture_the_first_text_is_taken_and_multiparts_within_are_opened() {
        let inner = "--in\r\n\r\nplain\r\n--in--\r\n";
        let body = format!(
            "--out\r\nContent-Type: image/png\r\n\r\nX\r\n--out\r\nContent-Type: multipart/mixed;boundary=in\r\n\r\n{inner}\r\n\
             --out\r\nContent-Type: text/plain\r\n\r\nlater\r\n--out--"
        );
        let found = text_in("multipart/mixed; boundary=out", body.as_bytes(), None).unwrap();
        assert_eq!((found.kind.as_str(), found.body), ("text/plain", &b"plain"[..]));
    }

    #[test]
    fn what_is_no_multipart_or_broken_has_no_text() {
        for (kind, body) in [
            ("text/plain;boundary=b", "--b\r\n\r\nhi\r\n--b--"),
            ("multipart/mixed", "--b\r\n\r\nhi\r\n--b--"),
            ("multipart/mixed;boundary=b", ""),
            ("multipart/mixed;boundary=b", "--b"),
            ("multipart/mixed;boundary=b", "--b\r\n"),
            ("multipart/mixed;boundary=b", "--b--\r\n--b\r\n\r\nhi\r\n--b--"),
            ("multipart/mixed;boundary=b", "--bb\r\n\r\nhi\r\n--bb--"),
            (
                "multipart/mixed;boundary=b",
                "--b\r\nContent-Type: text/plain\r\n--b--",
            ),
            (
                "multipart/mixed;boundary=b",
                "--b\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--b--",
            ),
        ] {
            assert_eq!(text_in(kind, body.as_bytes(), None), None, "{kind} {body:?}");
        }
    }
}
