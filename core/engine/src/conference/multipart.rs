//! The text in a multipart body, for a recipient who does not take the whole.

use super::copies::accepts;
use crate::sip::mime::{Part, essence, parts};

/// Multiparts within multiparts are looked into this deep.
const DEPTH: u8 = 3;

/// The text that a recipient takes in place of a multipart body; `list` is its Accept in lower case. Of
/// alternatives it is the last that is taken, which is the richest (RFC 2046 section 5.1.4), otherwise the
/// first. `None` for a body that is no multipart or has no such text.
///
/// Encoded parts cannot be sent by themselves.
pub(crate) fn text_in<'a>(kind: &str, body: &'a [u8], list: Option<&str>) -> Option<Part<'a>> {
    let fits = |part: &Part<'_>| part.transfer.is_plain() && accepts(list, &part.kind);
    find(kind, body, &fits, DEPTH)
}

/// The same for who undoes the encodings that are known.
pub(crate) fn readable_text_in<'a>(kind: &str, body: &'a [u8], list: &str) -> Option<Part<'a>> {
    let fits = |part: &Part<'_>| part.transfer.is_known() && accepts(Some(list), &part.kind);
    find(kind, body, &fits, DEPTH)
}

fn find<'a>(kind: &str, body: &'a [u8], fits: &dyn Fn(&Part<'_>) -> bool, depth: u8) -> Option<Part<'a>> {
    let essence_of_whole = essence(kind);
    if depth == 0 || !essence_of_whole.starts_with("multipart/") {
        return None;
    }
    let mut found = parts(kind, body).into_iter().filter_map(|part| {
        if essence(&part.kind).starts_with("text/") {
            return fits(&part).then_some(part);
        }
        // RFC 2045 section 6.4: only what holds no other parts is encoded.
        find(&part.kind, part.body, fits, depth - 1).filter(|_| part.transfer.is_plain())
    });
    if essence_of_whole == "multipart/alternative" {
        found.next_back()
    } else {
        found.next()
    }
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
