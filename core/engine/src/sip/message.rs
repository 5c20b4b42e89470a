//! A SIP message: its bytes once, and an index of where each header stands in them.
//!
//! [`Message::parse`] finds the lines and reads Via, From, To and CSeq, which everybody asks for; what any other
//! header means is read when it is asked for. Whether a request is fit to be served is [`Message::check_request`]'s to say, so that what can
//! be answered gets an answer instead of silence.

mod check;
mod core;
mod fault;
mod frame;
mod lines;
mod parse;
mod span;

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use self::core::Core;
use super::grammar::{List, clamped_number};
use super::header::{CSeq, NameAddr, Via};
use super::method::Method;
use super::name::Name;

pub use fault::{Malformed, Refusal};
pub use frame::{Framed, frame};
pub use parse::{MAX_HEAD, MAX_LINES};
pub(crate) use span::Span;

/// How a message was cut out of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One datagram or one WebSocket frame: without Content-Length the body is all the rest, and what
    /// follows a shorter body is cut off.
    Datagram,
    /// Exactly one message, as [`frame`] has measured it on a stream.
    Stream,
    /// The head of a message whose body is too large to be taken in: good for a refusal, 413 for a MESSAGE and 513
    /// for any other request (RFC 3261 sections 21.4.11 and 21.5.7).
    Head,
    /// The head of a message on a stream whose length is not known: good for a refusal, 400.
    Unmeasured,
}

/// A SIP message. A clone shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    raw: Bytes,
    /// The beginning of `raw`, as the text that it was found to be; the body is what follows.
    head: ByteString,
    start: Start,
    headers: Vec<Header>,
    core: Core,
    /// The first thing that is wrong in a way that leaves the message readable enough to be answered.
    fault: Option<Malformed>,
}

/// The start line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Request {
        method: Method,
        token: Span,
        uri: Span,
        version: Version,
    },
    Response {
        status: u16,
        reason: Span,
    },
}

/// The version in a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Sip2,
    /// White space follows it.
    Padded,
    Unknown,
}

/// One header line, folding undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    name: Name,
    text: Span,
    value: Span,
}

// Messages are moved through queues, and an index is written for each: both are kept small.
const _: () = assert!(size_of::<Header>() == 10 && size_of::<Message>() <= 200);

impl Message {
    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// A request's method; a response's by its CSeq ([`Method::Other`] if that cannot be read).
    pub fn method(&self) -> Method {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.cseq().map_or(Method::Other, |cseq| cseq.method),
        }
    }

    /// The method's token: a request's from the start line, a response's from CSeq (empty if that cannot be read).
    pub fn method_text(&self) -> &str {
        match self.start {
            Start::Request { token, .. } => self.text(token),
            Start::Response { .. } => self.cseq_method_text(),
        }
    }

    /// The method's token in CSeq; empty if it cannot be read.
    pub fn cseq_method_text(&self) -> &str {
        self.core.cseq(&self.head).map_or("", |(_, method)| method)
    }

    /// The Request-URI; empty on a response.
    pub fn request_uri(&self) -> &str {
        match self.start {
            Start::Request { uri, .. } => self.text(uri),
            Start::Response { .. } => "",
        }
    }

    /// The status code, 100 to 699; 0 on a request.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// The reason phrase; empty on a request.
    pub fn reason(&self) -> &str {
        match self.start {
            Start::Request { .. } => "",
            Start::Response { reason, .. } => self.text(reason),
        }
    }

    /// The value of the first header of this name, trimmed; where it was folded, spaces stand for the
    /// line breaks. Nothing for [`Name::Other`], see [`Message::other`].
    pub fn header(&self, name: Name) -> Option<&str> {
        self.headers(name).next()
    }

    /// The value of each header of this name.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |h| h.name == name && name != Name::Other)
            .map(|h| self.text(h.value))
    }

    /// Each element of each header of this name, which must be one whose values are comma-separated.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.headers(name).flat_map(List::new)
    }

    /// The value of the first header of a name outside the list of [`Name`], in any case.
    pub fn other(&self, name: &str) -> Option<&str> {
        let mut others = self.headers.iter().filter(|h| h.name == Name::Other);
        others
            .find(|h| self.text(h.text).eq_ignore_ascii_case(name))
            .map(|h| self.text(h.value))
    }

    /// Every header in its order: its name, the name as written, its value.
    pub fn all_headers(&self) -> impl Iterator<Item = (Name, &str, &str)> {
        self.headers
            .iter()
            .map(|h| (h.name, self.text(h.text), self.text(h.value)))
    }

    /// The body, sharing the message's bytes.
    pub fn body(&self) -> Bytes {
        self.raw.slice(self.head.len()..)
    }

    /// The body.
    pub fn body_slice(&self) -> &[u8] {
        &self.raw[self.head.len()..]
    }

    /// The whole message as it came (what followed the body cut off, folded lines joined).
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The Call-ID; empty if there is none.
    pub fn call_id(&self) -> &str {
        self.header(Name::CallId).unwrap_or_default()
    }

    /// The CSeq.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn cseq(&self) -> Result<CSeq, Malformed> {
        let cseq = self.core.cseq(&self.head).ok_or(Malformed::new("cseq"))?;
        Ok(cseq.0)
    }

    /// The topmost Via.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn via(&self) -> Result<Via<'_>, Malformed> {
        self.core.via(&self.head).ok_or(Malformed::new("via"))
    }

    /// The From address.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn from(&self) -> Result<NameAddr<'_>, Malformed> {
        self.core.from(&self.head).ok_or(Malformed::new("from"))
    }

    /// The To address.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn to(&self) -> Result<NameAddr<'_>, Malformed> {
        self.core.to(&self.head).ok_or(Malformed::new("to"))
    }

    /// Each Contact. A lone `*` is an error here; it is seen by [`Message::header`].
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Malformed>> {
        self.addresses(Name::Contact)
    }

    /// Each element of an address header such as Route, Record-Route or Path.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = Result<NameAddr<'_>, Malformed>> {
        self.values(name).map(NameAddr::parse)
    }

    /// Expires in seconds; what is too large for the type is its greatest value (RFC 4475 section 3.1.2.5).
    pub fn expires(&self) -> Option<Result<u32, Malformed>> {
        self.header(Name::Expires).map(|text| {
            let seconds = clamped_number(text).ok_or(Malformed::new("expires"))?;
            Ok(u32::try_from(seconds).unwrap_or(u32::MAX))
        })
    }

    /// Max-Forwards, 0 to 255.
    pub fn max_forwards(&self) -> Option<Result<u8, Malformed>> {
        self.header(Name::MaxForwards).map(|text| {
            let hops = clamped_number(text).and_then(|n| u8::try_from(n).ok());
            hops.ok_or(Malformed::new("max_forwards"))
        })
    }

    fn text(&self, span: Span) -> &str {
        span.text(&self.head)
    }
}

impl fmt::Debug for Message {
    /// Only the start line: bodies are private, and credentials stand in headers. Control characters are
    /// shown as what they are, so that no message writes a line of its own into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.replace(char::is_control, "\u{fffd}");
        match self.start {
            Start::Request { .. } => write!(f, "{} {}", self.method_text(), shown(self.request_uri())),
            Start::Response { status, .. } => {
                write!(f, "{status} {} to {}", shown(self.reason()), self.method_text())
            }
        }
    }
}

#[cfg(test)]
mod tests;
