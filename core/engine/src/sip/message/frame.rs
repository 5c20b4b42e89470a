//! Cutting messages out of a stream (RFC 3261 section 18.3, keep-alives of RFC 5626 section 3.5.1).

use super::Malformed;
use super::lines::Lines;
use super::parse::{MAX_HEAD, content_length};
use crate::sip::byte;
use crate::sip::grammar::trim;
use crate::sip::name::Name;

/// What stands at the beginning of a stream's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    /// Not yet a whole message: read more.
    Incomplete,
    /// So many bytes of empty lines between messages: 4 are a ping, to be answered with one CRLF; 2 are nothing.
    KeepAlive(usize),
    /// A message of so many bytes.
    Message(usize),
    /// A message that is larger than any that is taken: its head can be read as [`Framing::Head`](super::Framing::Head),
    /// its body is to be skipped.
    TooLarge {
        /// The bytes of the head.
        head: usize,
        /// The bytes of the body; more than there can be where the head names more.
        body: usize,
    },
    /// The head, of so many bytes, of a message whose length is not known: it has no Content-Length that can be relied
    /// on. It can be read as [`Framing::Unmeasured`](super::Framing::Unmeasured). The place of the next message is
    /// unknown, so the connection must be closed behind the answer (RFC 4475 section 3.1.2.3).
    Unmeasured(usize),
}

/// Measures the first message in the buffer; `max` is the most bytes that a whole message may have.
///
/// # Errors
/// What stands there is no message, or its head is too large. The place of the next message is then unknown, so the
/// connection must be closed.
pub fn frame(buffer: &[u8], max: usize) -> Result<Framed, Malformed> {
    match buffer {
        [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Ok(Framed::Incomplete),
        [b'\r', b'\n', b'\r', b'\n', ..] => return Ok(Framed::KeepAlive(4)),
        [b'\r', b'\n', ..] => return Ok(Framed::KeepAlive(2)),
        // Seen at once, so that a TLS hello or a stray binary does not wait for 64 KiB.
        [first, ..] if !byte::is(*first, byte::TOKEN) => return Err(Malformed::new("request_line")),
        _ => {}
    }
    let most = max.min(MAX_HEAD);
    let mut lines = Lines::new(&buffer[..buffer.len().min(most)]);
    let length = content_length(lengths(buffer, &mut lines));
    // The first bad value ends the reading of lengths, not the search for the end of the head.
    lines.by_ref().for_each(drop);
    let Some(body) = lines.body() else {
        return if buffer.len() < most {
            Ok(Framed::Incomplete)
        } else {
            Err(Malformed::new("head_too_large"))
        };
    };
    let Ok(Some(length)) = length else {
        return Ok(Framed::Unmeasured(body));
    };
    match body.checked_add(length) {
        Some(whole) if whole <= max => Ok(if buffer.len() < whole {
            Framed::Incomplete
        } else {
            Framed::Message(whole)
        }),
        _ => Ok(Framed::TooLarge {
            head: body,
            body: length,
        }),
    }
}

/// The values of the Content-Length headers; one that is not UTF-8 is empty, which is no number.
fn lengths<'a>(head: &'a [u8], lines: &mut Lines<'_>) -> impl Iterator<Item = &'a str> {
    lines.skip(1).filter_map(|line| {
        let line = &head[line.start..line.end];
        if !matches!(line.first(), Some(b'C' | b'c' | b'L' | b'l')) {
            return None;
        }
        let colon = memchr::memchr(b':', line)?;
        let name = trim(std::str::from_utf8(&line[..colon]).ok()?);
        let value = || trim(std::str::from_utf8(&line[colon + 1..]).unwrap_or_default());
        (Name::of(name) == Name::ContentLength).then(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\n";

    #[test]
    fn a_message_is_whole_when_its_body_is() {
        let stream = format!("{HEAD}abcOPTIONS");
        for cut in 1..HEAD.len() + 3 {
            assert_eq!(
                frame(&stream.as_bytes()[..cut], 1000),
                Ok(Framed::Incomplete),
                "{cut}"
            );
        }
        for cut in HEAD.len() + 3..stream.len() {
            assert_eq!(
                frame(&stream.as_bytes()[..cut], 1000),
                Ok(Framed::Message(HEAD.len() + 3)),
                "{cut}"
            );
        }
    }

    #[test]
    fn empty_lines_are_keep_alives() {
        for text in ["", "\r", "\r\n", "\r\n\r"] {
            assert_eq!(frame(text.as_bytes(), 1000), Ok(Framed::Incomplete), "{text:?}");
        }
        assert_eq!(frame(b"\r\n\r\n", 1000), Ok(Framed::KeepAlive(4)));
        assert_eq!(frame(b"\r\n\r\n\r\n", 1000), Ok(Framed::KeepAlive(4)));
        assert_eq!(frame(b"\r\nO", 1000), Ok(Framed::KeepAlive(2)));
    }

    #[test]
    fn content_length_is_found_in_every_spelling() {
        for line in [
            "l:3",
            "CONTENT-LENGTH \t: 3 ",
            "Content-Length:\r\n 003",
            "X: y\r\nl: 3\r\nContent-Length: 3",
        ] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{line}\r\n\r\nabc");
            assert_eq!(
                frame(text.as_bytes(), 1000),
                Ok(Framed::Message(text.len())),
                "{line}"
            );
        }
    }

    #[test]
    fn what_cannot_be_framed_is_refused() {
        let cases = [("\x16\x03\x01", "request_line"), ("\nOPTIONS", "request_line")];
        for (text, reason) in cases {
            assert_eq!(
                frame(text.as_bytes(), 1000),
                Err(Malformed::new(reason)),
                "{text}"
            );
        }
        for lines in [
            "",
            "X: l: 3\r\n",
            "l: 3\r\nl: 4\r\n",
            "l: -3\r\n",
            "l: +3\r\n",
            "l: three\r\n",
            "l:\r\n",
        ] {
            let head = format!("OPTIONS sip:a SIP/2.0\r\n{lines}\r\n");
            let text = format!("{head}abcd");
            assert_eq!(
                frame(text.as_bytes(), 1000),
                Ok(Framed::Unmeasured(head.len())),
                "{lines}"
            );
        }
        for (length, body) in [("1000", 1000), ("99999999999999999999999", usize::MAX)] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\nl: {length}\r\n\r\nabc");
            let head = text.len() - 3;
            assert_eq!(frame(text.as_bytes(), 1000), Ok(Framed::TooLarge { head, body }));
        }
        let endless = vec![b'a'; MAX_HEAD];
        assert_eq!(frame(&endless[..MAX_HEAD - 1], 1 << 20), Ok(Framed::Incomplete));
        assert_eq!(frame(&endless, 1 << 20), Err(Malformed::new("head_too_large")));
    }
}
