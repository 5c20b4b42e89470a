//! From bytes to the index of a message.

use bytes::Bytes;
use bytestring::ByteString;

use super::fault::{NOT_UTF8, TOO_MANY_HEADERS};
use super::lines::{Line, Lines};
use super::{Core, Framing, Header, Malformed, Message, Span, Start, Version};
use crate::sip::byte;
use crate::sip::grammar::{clamped_number, is_space, trim, trim_start};
use crate::sip::method::Method;
use crate::sip::name::Name;

/// The most bytes that start line and headers may have together.
pub const MAX_HEAD: usize = 64 * 1024;
/// The most header lines that a message may have.
pub const MAX_LINES: usize = 256;

/// What a usual INVITE has, so that the index is allocated once.
const USUAL_LINES: usize = 32;

impl Message {
    /// Reads one message. What cannot even be answered is an error; what can is left to
    /// [`Message::check_request`] and [`Message::check_response`], without which no message may be used.
    ///
    /// # Errors
    /// There is no start line or no end of the head, it is over [`MAX_HEAD`] bytes, or on a stream the length is not
    /// the one that Content-Length says. A head that is not UTF-8 or over [`MAX_LINES`] lines is an error unless it
    /// is that of a request with all that an answer copies. Nobody can tell the sender of a response what is wrong with
    /// it, and few headers of one are read at all (RFC 3261 section 8.2.2): lines that are no headers are passed over in
    /// it, and what is not UTF-8 is taken for ISO 8859-1.
    pub fn parse(raw: Bytes, framing: Framing) -> Result<Self, Malformed> {
        let mut raw = skip_empty_lines(raw);
        let mut lines = Lines::new(&raw[..raw.len().min(MAX_HEAD)]);
        let first = lines.next().ok_or(no_end(&raw))?;
        let mut headers = Vec::with_capacity(USUAL_LINES);
        let (mut folded, mut fault, mut unread) = (Vec::new(), None, None);
        for line in lines.by_ref() {
            if headers.len() == MAX_LINES {
                unread = Some(Malformed::new(TOO_MANY_HEADERS));
                continue;
            }
            if line.folded {
                folded.push(line);
            }
            match header(&raw, line) {
                Some(header) => headers.push(header),
                None => fault = fault.or(Some(Malformed::new("header_line"))),
            }
        }
        let body = lines.body().ok_or(no_end(&raw))?;
        let stray = lines.saw_stray_bytes();
        if stray {
            fault = Some(Malformed::new("line_break"));
        }
        if !folded.is_empty() {
            raw = unfold(&raw, &folded);
        }
        let head = match ByteString::try_from(raw.slice(..body)) {
            Ok(head) => head,
            Err(_) if is_status_line(&raw[first.start..first.end]) => {
                let mut message = Self::parse(as_text(&raw, body), framing)?;
                // The peer would not know its own tag any more.
                let tag = message.to().ok().and_then(|to| to.tag());
                if !tag.is_none_or(str::is_ascii) {
                    return Err(Malformed::new(NOT_UTF8));
                }
                message.fault = message.fault.or(fault.filter(|_| stray));
                return Ok(message);
            }
            Err(_) => {
                unread = Some(Malformed::new(NOT_UTF8));
                raw = legible(&raw, body, first, &headers).ok_or(Malformed::new(NOT_UTF8))?;
                ByteString::try_from(raw.slice(..body)).map_err(|_| Malformed::new(NOT_UTF8))?
            }
        };
        let start = start_line(&head, first)?;
        if fault.is_some() && !stray && is_never_answered(start) {
            fault = None; // a line that is no header is none that anybody needs
        }
        let core = Core::read(&head, &headers);
        let mut message = Self {
            raw,
            head,
            start,
            headers,
            core,
            fault,
        };
        if let Some(fault) = unread {
            return message.unread(fault, framing);
        }
        message.cut(framing)?;
        Ok(message)
    }

    /// What could not be read whole is a fault of its own if it can be answered at all.
    #[cold]
    fn unread(mut self, fault: Malformed, framing: Framing) -> Result<Self, Malformed> {
        if self.cut(framing).is_err() || !self.may_be_answered() {
            return Err(fault);
        }
        self.fault = Some(fault);
        Ok(self)
    }

    /// Whether this is a request that has an answer, and all that this copies can be read.
    fn may_be_answered(&self) -> bool {
        let copied = self.via().is_ok() && self.from().is_ok() && self.to().is_ok() && self.cseq().is_ok();
        self.is_request() && self.method() != Method::Ack && copied && !self.call_id().is_empty()
    }

    /// Cuts off what follows the body.
    fn cut(&mut self, framing: Framing) -> Result<(), Malformed> {
        let rest = self.raw.len() - self.head.len();
        let length = content_length(self.headers(Name::ContentLength));
        match (framing, length) {
            (Framing::Datagram, Ok(None)) => {}
            (Framing::Datagram, Ok(Some(length))) if length <= rest => {
                self.raw.truncate(self.head.len() + length);
            }
            (Framing::Datagram, _) => self.fault = self.fault.or(Some(Malformed::CONTENT_LENGTH)),
            (Framing::Head, _) => {
                self.raw.truncate(self.head.len());
                self.fault = self.fault.or(Some(Malformed::TOO_LARGE));
            }
            (Framing::Unmeasured, length) => {
                self.raw.truncate(self.head.len());
                let missing = Malformed::new("no_content_length");
                self.fault = self.fault.or(Some(length.err().unwrap_or(missing)));
            }
            (Framing::Stream, Ok(length)) if length.unwrap_or(0) == rest => {}
            (Framing::Stream, _) => return Err(Malformed::CONTENT_LENGTH),
        }
        Ok(())
    }
}

/// What the Content-Length headers say together.
pub(super) fn content_length<'a>(values: impl Iterator<Item = &'a str>) -> Result<Option<usize>, Malformed> {
    let mut length = None;
    for text in values {
        let number = clamped_number(text).and_then(|n| usize::try_from(n).ok());
        let number = number.ok_or(Malformed::CONTENT_LENGTH)?;
        if length.is_some_and(|length| length != number) {
            return Err(Malformed::CONTENT_LENGTH);
        }
        length = Some(number);
    }
    Ok(length)
}

/// Empty lines before the start line are to be ignored (RFC 3261 section 7.5).
fn skip_empty_lines(raw: Bytes) -> Bytes {
    let pairs = raw.chunks_exact(2).take_while(|pair| pair == b"\r\n").count();
    if pairs == 0 { raw } else { raw.slice(pairs * 2..) }
}

/// Why the head has no end.
fn no_end(raw: &[u8]) -> Malformed {
    Malformed::new(if raw.len() > MAX_HEAD {
        "head_too_large"
    } else {
        "no_end_of_head"
    })
}

/// The place of a header in its line; one that is spelled as in the list, and begins behind one space, needs no
/// search.
#[inline]
fn header(raw: &[u8], line: Line) -> Option<Header> {
    let usual = raw[line.start..].first_chunk().and_then(Name::at_start);
    if let Some((name, len)) = usual
        && let [b' ', first, .., last] = &raw[line.start + len + 1..line.end]
        && !is_space(*first)
        && !is_space(*last)
    {
        return Some(Header {
            name,
            text: Span::new(line.start, line.start + len),
            value: Span::new(line.start + len + 2, line.end),
        });
    }
    any_header(&raw[line.start..line.end], line.start)
}

fn any_header(line: &[u8], at: usize) -> Option<Header> {
    let len = byte::run(line, byte::TOKEN);
    let colon = len + byte::spaces(&line[len..]);
    if len == 0 || line.get(colon) != Some(&b':') {
        return None;
    }
    let start = colon + 1 + byte::spaces(&line[colon + 1..]);
    let space = |byte: &&u8| is_space(**byte);
    let end = line.len() - line[start..].iter().rev().take_while(space).count();
    Some(Header {
        name: Name::of_bytes(&line[..len]),
        text: Span::new(at, at + len),
        value: Span::new(at + start, at + end),
    })
}

/// A copy of a message whose head is not UTF-8, with question marks in place of what is none; nothing where that stands
/// in what an answer is known by.
#[cold]
fn legible(raw: &[u8], body: usize, first: Line, headers: &[Header]) -> Option<Bytes> {
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    let known_by = |header: &&Header| matches!(header.name, Name::Via | Name::CallId | Name::CSeq);
    let mut named = headers.iter().filter(known_by);
    if !is_text(&raw[first.start..first.end]) || !named.all(|header| is_text(header.value.bytes(raw))) {
        return None;
    }
    let mut copy = raw.to_vec();
    let mut at = 0;
    for chunk in raw[..body].utf8_chunks() {
        at += chunk.valid().len();
        let end = at + chunk.invalid().len();
        copy[at..end].fill(b'?');
        at = end;
    }
    Some(copy.into())
}

/// A copy of a message with what is not UTF-8 in its head read as ISO 8859-1. No byte of that can be taken for one that
/// separates anything, and URIs and tokens that had one are none afterwards.
#[cold]
fn as_text(raw: &[u8], body: usize) -> Bytes {
    let mut copy = Vec::with_capacity(raw.len() + 64);
    for chunk in raw[..body].utf8_chunks() {
        copy.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            copy.extend_from_slice(char::from(*byte).encode_utf8(&mut [0; 2]).as_bytes());
        }
    }
    copy.extend_from_slice(&raw[body..]);
    copy.into()
}

/// A copy of the message with spaces in place of the line breaks inside headers.
fn unfold(raw: &[u8], folded: &[Line]) -> Bytes {
    let mut copy = raw.to_vec();
    for byte in folded.iter().flat_map(|line| line.start..line.end) {
        if matches!(copy[byte], b'\r' | b'\n') {
            copy[byte] = b' ';
        }
    }
    copy.into()
}

fn start_line(head: &str, line: Line) -> Result<Start, Malformed> {
    let fault = Malformed::new("request_line");
    let text = &head[line.start..line.end];
    if line.folded {
        return Err(fault);
    }
    if is_status_line(text.as_bytes()) {
        return status_line(text).ok_or(Malformed::new("status_line"));
    }
    request_line(text).ok_or(fault)
}

/// Whether its sender hears of nothing that is wrong in it.
const fn is_never_answered(start: Start) -> bool {
    matches!(
        start,
        Start::Response { .. }
            | Start::Request {
                method: Method::Ack,
                ..
            }
    )
}

fn is_status_line(line: &[u8]) -> bool {
    line.first_chunk::<4>()
        .is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

/// White space in the wrong places is left in the URI, where the check finds it.
fn request_line(text: &str) -> Option<Start> {
    let (token, rest) = text.split_at(byte::run(text.as_bytes(), byte::TOKEN));
    let rest = rest.strip_prefix(' ').filter(|_| !token.is_empty())?;
    let last_space = trim(rest).bytes().rposition(|byte| byte == b' ')?;
    let version_at = token.len() + 1 + last_space + 1 + (rest.len() - trim_start(rest).len());
    let version = &text[version_at..];
    let is_sip2 = version == "SIP/2.0" || version.eq_ignore_ascii_case("SIP/2.0");
    if !is_sip2 && !version.get(..4)?.eq_ignore_ascii_case("SIP/") {
        return None;
    }
    Some(Start::Request {
        method: Method::of(token),
        token: Span::new(0, token.len()),
        uri: Span::new(token.len() + 1, version_at - 1),
        version: match version {
            _ if is_sip2 => Version::Sip2,
            _ if version.ends_with([' ', '\t', '\r', '\n']) => Version::Padded,
            _ => Version::Unknown,
        },
    })
}

fn status_line(text: &str) -> Option<Start> {
    let rest = text
        .get(7..)
        .filter(|_| text[..7].eq_ignore_ascii_case("SIP/2.0"))?
        .strip_prefix(' ')?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let status = code
        .parse()
        .ok()
        .filter(|status| digits && (100..700).contains(status))?;
    Some(Start::Response {
        status,
        reason: Span::new(text.len() - reason.len(), text.len()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_of_the_usual_form_is_read_like_any_other(
            name in prop_oneof![proptest::sample::select(Name::ALL).prop_map(|name| name.text().to_owned()), "[a-zA-Z: -]{0,20}"],
            blank in "[ \t]{0,2}",
            value in "[ \t]{0,2}[a-z: ]{0,20}[\r\n ]?",
        ) {
            let text = format!("\r\n{name}{blank}:{value}\r\n\r\nbody that is longer than a name");
            let end = text.len() - 35;
            let line = Line { start: 2, end, folded: false };
            prop_assert_eq!(header(text.as_bytes(), line), any_header(&text.as_bytes()[2..end], 2));
        }
    }
}
