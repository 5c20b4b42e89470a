//! The session description in a message: its body, or a part of it where it is a multipart (RFC 5621). What we do not
//! understand and need not (`handling=optional`) is as if it were not there.

use crate::sdp::Session;
use crate::sip::message::{Message, Refusal};
use crate::sip::mime::{essence, is_encoded, parameter, parts};
use crate::sip::name::Name;

/// The bodies that may hold a description, for `Accept`.
pub(crate) const DESCRIPTIONS: &str = "application/sdp, multipart/*";

/// Multiparts within multiparts are looked into this deep.
const DEPTH: u8 = 2;

const fn refusal(status: u16, phrase: &'static str, reason: &'static str) -> Refusal {
    Refusal {
        status,
        phrase,
        reason,
    }
}

pub(crate) const BAD_SDP: Refusal = refusal(400, "Bad Session Description", "bad_sdp");
const UNSUPPORTED: Refusal = refusal(415, "Unsupported Media Type", "unsupported_body");
const ENCODED: Refusal = refusal(415, "Unsupported Content Encoding", "unsupported_encoding");

/// What the sender of a body wants where it is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handling {
    Optional,
    Required,
    /// It says nothing. That means required (RFC 3261 section 20.11), but beside a description few who say nothing
    /// mean it: phones add documents of all kinds to their INVITEs.
    Unsaid,
}

impl Handling {
    fn of(disposition: &str) -> Self {
        match parameter(disposition, "handling") {
            Some(handling) if handling.eq_ignore_ascii_case("optional") => Self::Optional,
            Some(handling) if handling.eq_ignore_ascii_case("required") => Self::Required,
            _ => Self::Unsaid,
        }
    }
}

/// Whether the sender of a body lets it be where it is not understood (RFC 3261 section 20.11).
pub(crate) fn is_optional(message: &Message) -> bool {
    Handling::of(message.header(Name::ContentDisposition).unwrap_or_default()) == Handling::Optional
}

/// Whether a message has a body whose sender says that it must be understood.
pub(crate) fn is_required(message: &Message) -> bool {
    let disposition = message.header(Name::ContentDisposition).unwrap_or_default();
    !message.body_slice().is_empty() && Handling::of(disposition) == Handling::Required
}

/// Whether a message says anything about the session, whether or not it can be read.
pub(crate) fn is_described(message: &Message) -> bool {
    !matches!(description(message), Ok(None))
}

/// Reads the description in a message that must have one.
pub(crate) fn read_sdp(message: &Message) -> Result<Session<'_>, Refusal> {
    let text = description(message)?.ok_or(BAD_SDP)?;
    let text = std::str::from_utf8(text).map_err(|_| BAD_SDP)?;
    Session::parse(text).map_err(|_| BAD_SDP)
}

/// The description in a message; `None` where there is none and nothing else that had to be understood.
fn description(message: &Message) -> Result<Option<&[u8]>, Refusal> {
    let body = message.body_slice();
    if body.is_empty() {
        return Ok(None);
    }
    let kind = message.header(Name::ContentType).unwrap_or_default();
    let disposition = message.header(Name::ContentDisposition).unwrap_or_default();
    let found = match is_encoded(message) {
        true => Err(ENCODED),
        false => find(kind, disposition, body, DEPTH),
    };
    match found {
        Err(_) if Handling::of(disposition) == Handling::Optional => Ok(None),
        found => found,
    }
}

fn find<'a>(kind: &str, disposition: &str, body: &'a [u8], depth: u8) -> Result<Option<&'a [u8]>, Refusal> {
    let essence_of_whole = essence(kind);
    if essence_of_whole == "application/sdp" {
        // That of an early session (RFC 3959) says nothing about the one that is asked for; what it is for otherwise is
        // asked only where it must be understood (RFC 3261 section 20.11).
        let other = match essence(disposition).as_ref() {
            "" | "session" => false,
            "early-session" => true,
            _ => Handling::of(disposition) == Handling::Required,
        };
        return if other { Err(UNSUPPORTED) } else { Ok(Some(body)) };
    }
    if depth == 0 || !essence_of_whole.starts_with("multipart/") {
        return Err(UNSUPPORTED);
    }
    let alternative = essence_of_whole == "multipart/alternative";
    let mut found = None;
    let (mut understood, mut missed, mut demanded) = (false, false, false);
    for part in parts(kind, body) {
        let read = match part.transfer.is_plain() {
            false => Err(UNSUPPORTED),
            true => find(&part.kind, &part.disposition, part.body, depth - 1),
        };
        match (read, Handling::of(&part.disposition)) {
            // Of alternatives the last that is understood is the best (RFC 2046 section 5.1.4).
            (Ok(Some(text)), _) if alternative || found.is_none() => found = Some(text),
            (Ok(_), _) | (Err(_), Handling::Optional) => understood = true,
            (Err(_), Handling::Required) if !alternative => demanded = true,
            (Err(_), _) => missed = true,
        }
    }
    match found {
        Some(text) if !demanded => Ok(Some(text)),
        None if understood && !missed && !demanded => Ok(None),
        _ => Err(UNSUPPORTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Framing;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";

    fn read(headers: &str, body: &str) -> Result<Option<String>, u16> {
        let text = format!("INVITE sip:a SIP/2.0\r\n{headers}\r\n\r\n{body}");
        let message = Message::parse(text.into(), Framing::Datagram).unwrap();
        assert_eq!(
            read_sdp(&message).is_ok(),
            matches!(description(&message), Ok(Some(_)))
        );
        let found = description(&message);
        assert_eq!(is_described(&message), found != Ok(None));
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        found
            .map(|found| found.map(text))
            .map_err(|refusal| refusal.status)
    }

    /// A multipart of parts that are given with their headers.
    fn multipart(kind: &str, boundary: &str, parts: &[(&str, &str)]) -> (String, String) {
        let one = |(headers, body): &(&str, &str)| format!("--{boundary}\r\n{headers}\r\n\r\n{body}\r\n");
        let body = parts.iter().map(one).collect::<String>() + &format!("--{boundary}--\r\n");
        (
            format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\""),
            body,
        )
    }

    #[test]
    fn a_lone_body_is_taken_refused_or_left_alone() {
        let sdp = Ok(Some(SDP.to_owned()));
        for (headers, expected) in [
            ("Content-Type: application/sdp", sdp.clone()),
            ("c: Application/SDP;charset=utf-8", sdp.clone()),
            (
                "Content-Type: application/sdp\r\nContent-Disposition: session;handling=optional",
                sdp.clone(),
            ),
            (
                "Content-Type: application/sdp\r\nContent-Disposition: foobar",
                sdp.clone(),
            ),
            (
                "Content-Type: application/sdp\r\nContent-Disposition: Session ; handling=required",
                sdp.clone(),
            ),
            (
                "Content-Type: application/sdp\r\nContent-Disposition: foobar;handling=required",
                Err(415),
            ),
            ("Content-Type: application/sdp\r\nContent-Encoding: Identity", sdp),
            (
                "Content-Type: application/sdp\r\nContent-Encoding: gzip",
                Err(415),
            ),
            ("Content-Type: application/sdp\r\ne: identity, gzip", Err(415)),
            (
                "Content-Type: application/sdp\r\ne: gzip\r\nContent-Disposition: session; handling=optional",
                Ok(None),
            ),
            (
                "Content-Type: application/sdp\r\nContent-Disposition: early-session",
                Err(415),
            ),
            ("Content-Type: text/plain", Err(415)),
            ("X: y", Err(415)),
            (
                "Content-Type: text/plain\r\nContent-Disposition: render",
                Err(415),
            ),
            (
                "Content-Type: text/plain\r\nContent-Disposition: render;x=y; Handling = \"Optional\"",
                Ok(None),
            ),
            ("Content-Type: multipart/mixed", Err(415)),
            ("Content-Type: multipart/mixed;boundary=b", Err(415)),
        ] {
            assert_eq!(read(headers, SDP), expected, "{headers}");
        }
        assert_eq!(read("Content-Type: text/plain", ""), Ok(None));
    }

    #[test]
    fn a_description_is_found_among_other_parts() {
        // The line break before a delimiter belongs to that.
        let sdp = ("Content-Type: application/sdp", SDP);
        let later = ("Content-Type: application/sdp", "v=0\r\no=- 2 2 IN IP4 b");
        let isup = (
            "Content-Type: application/isup\r\nContent-Disposition: signal;handling=optional",
            "\u{1}",
        );
        let place = ("Content-Type: application/pidf+xml", "<presence/>");
        let list = (
            "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list;handling=required",
            "<x/>",
        );
        let early = (
            "Content-Type: application/sdp\r\nContent-Disposition: early-session",
            "v=0",
        );
        let packed = (
            "Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64",
            "dj0w",
        );
        let (first, second) = (Ok(Some(SDP.to_owned())), Ok(Some(later.1.to_owned())));
        for (kind, parts, expected) in [
            ("mixed", vec![sdp], &first),
            ("mixed", vec![isup, sdp], &first),
            ("related", vec![sdp, place], &first),
            ("mixed", vec![sdp, later], &first),
            ("alternative", vec![sdp, later], &second),
            ("alternative", vec![sdp, later, list], &second),
            ("unheard-of", vec![place, early, packed, sdp], &first),
            ("mixed", vec![sdp, list], &Err(415)),
            ("mixed", vec![isup], &Ok(None)),
            ("mixed", vec![isup, place], &Err(415)),
            ("mixed", vec![place], &Err(415)),
            ("mixed", vec![packed], &Err(415)),
            ("mixed", vec![], &Err(415)),
        ] {
            let (kind, body) = multipart(kind, "b", &parts);
            assert_eq!(&read(&kind, &body), expected, "{kind} {body}");
        }
    }

    #[test]
    fn multiparts_are_opened_two_deep() {
        let mut wrapped = ("Content-Type: application/sdp".to_owned(), SDP.to_owned());
        for depth in 1..=4 {
            let boundary = format!("b{depth}");
            wrapped = multipart("mixed", &boundary, &[(&wrapped.0, &wrapped.1)]);
            let found = read(&wrapped.0, &wrapped.1);
            match depth {
                1 | 2 => assert_eq!(found, Ok(Some(SDP.to_owned()))),
                _ => assert_eq!(found, Err(415)),
            }
        }
    }
}
