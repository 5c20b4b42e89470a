//! The door: is a message fit to be acted on?
//!
//! What two readers could understand differently is refused here, once, so that nothing behind has to
//! think of it.

use super::{Malformed, Message, Refusal, Start, Version};
use crate::sip::grammar::is_space;
use crate::sip::header::{NameAddr, Via};
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::uri::Uri;

/// Headers that a request has at most one of.
const SINGLE: &[Name] = &[
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::MaxForwards,
    Name::ContentLength,
    Name::ContentType,
    Name::ContentDisposition,
    Name::Date,
    Name::Event,
    Name::Expires,
    Name::MimeVersion,
    Name::MinExpires,
    Name::MinSe,
    Name::Organization,
    Name::Priority,
    Name::RAck,
    Name::ReferTo,
    Name::ReferredBy,
    Name::Replaces,
    Name::ReplyTo,
    Name::RetryAfter,
    Name::RSeq,
    Name::Server,
    Name::SessionExpires,
    Name::SipIfMatch,
    Name::Subject,
    Name::SubscriptionState,
    Name::Timestamp,
    Name::UserAgent,
];

/// Those of them that are read in responses and ACKs: of any other the sender may repeat what it likes.
const SINGLE_IN_RESPONSES: &[Name] = &[
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::ContentLength,
    Name::ContentType,
    Name::ContentDisposition,
    Name::RSeq,
    Name::SessionExpires,
];

const fn set(names: &[Name]) -> u128 {
    let (mut bits, mut at) = (0, 0);
    while at < names.len() {
        bits |= 1 << names[at] as u32;
        at += 1;
    }
    bits
}

const SINGLE_BITS: u128 = set(SINGLE);
const SINGLE_IN_RESPONSES_BITS: u128 = set(SINGLE_IN_RESPONSES);

const fn refusal(status: u16, phrase: &'static str, reason: &'static str) -> Refusal {
    Refusal {
        status,
        phrase,
        reason,
    }
}

const fn bad(reason: &'static str) -> Refusal {
    refusal(400, "Bad Request", reason)
}

impl Message {
    /// Whether a request may be acted on: its line, the headers that every request must have, no header
    /// twice that may be there once, and nothing that two readers could understand differently.
    ///
    /// # Errors
    /// The answer that the request gets: 400, 413, 416, 505 or 513. It can be built by
    /// [`respond`](crate::sip::write::respond) if there is a Via that can be read; without one it is dropped.
    pub fn check_request(&self) -> Result<(), Refusal> {
        let Start::Request { version, method, .. } = self.start else {
            return Err(bad("not_a_request"));
        };
        match version {
            Version::Sip2 => {}
            Version::Padded => return Err(bad("request_line")),
            // First, because nothing is known of what another version's headers look like.
            Version::Unknown => return Err(refusal(505, "Version Not Supported", "version")),
        }
        if method == Method::Ack {
            return Ok(self.check_ack()?);
        }
        if self.fault == Some(Malformed::TOO_LARGE) {
            return Err(match method {
                Method::Message => refusal(413, "Request Entity Too Large", "too_large"),
                _ => refusal(513, "Message Too Large", "too_large"),
            });
        }
        self.check_fault()?;
        self.check_common(SINGLE_BITS)?;
        self.check_cseq_method()?;
        if let Some(hops) = self.max_forwards() {
            hops?;
        }
        self.check_request_uri()
    }

    /// Nothing answers an ACK, so its sender can mend nothing: like a response it has to be clear where it is read. Its
    /// body is read by few, see [`Message::body_fault`].
    fn check_ack(&self) -> Result<(), Malformed> {
        if self.body_fault().is_none() {
            self.check_fault()?;
        }
        self.check_common(SINGLE_IN_RESPONSES_BITS)?;
        self.check_cseq_method()
    }

    /// Why the body is not the whole body of the message.
    pub(crate) fn body_fault(&self) -> Option<Malformed> {
        let is_of_body =
            |fault: &Malformed| [Malformed::TOO_LARGE, Malformed::CONTENT_LENGTH].contains(fault);
        self.fault.filter(is_of_body)
    }

    fn check_fault(&self) -> Result<(), Malformed> {
        self.fault.map_or(Ok(()), Err)
    }

    fn check_cseq_method(&self) -> Result<(), Malformed> {
        let same = self.cseq()?.method == self.method() && self.cseq_method_text() == self.method_text();
        same.then_some(()).ok_or(Malformed::new("cseq_method"))
    }

    /// Whether a response may be acted on.
    ///
    /// # Errors
    /// What is wrong; a response is never answered, so it is dropped.
    pub fn check_response(&self) -> Result<(), Malformed> {
        if self.is_request() {
            return Err(Malformed::new("not_a_response"));
        }
        self.check_fault()?;
        self.check_common(SINGLE_IN_RESPONSES_BITS)?;
        self.cseq().map(drop)
    }

    /// What requests and responses have in common, and that none of these headers is there twice.
    fn check_common(&self, single: u128) -> Result<(), Malformed> {
        let mut seen = 0u128;
        for header in &self.headers {
            let bit = 1u128 << header.name as u32;
            if seen & bit & single != 0 {
                return Err(Malformed::new("duplicate_header"));
            }
            seen |= bit;
        }
        check_branch(&self.via()?)?;
        for element in self.values(Name::Via).skip(1) {
            check_branch(&Via::parse(element)?)?;
        }
        check_side(&self.from()?, Malformed::new("from"))?;
        check_side(&self.to()?, Malformed::new("to"))?;
        let call_id = self.call_id();
        if call_id.is_empty() || call_id.bytes().any(|b| is_space(b) || b == b',') {
            return Err(Malformed::new("call_id"));
        }
        Ok(())
    }

    fn check_request_uri(&self) -> Result<(), Refusal> {
        let uri = Uri::parse(self.request_uri()).map_err(|_| bad("request_uri"))?;
        if !uri.is_sip() && !uri.scheme().eq_ignore_ascii_case("tel") {
            return Err(refusal(416, "Unsupported URI Scheme", "scheme"));
        }
        // Headers have no place in a Request-URI (RFC 3261 section 19.1.1).
        if uri.is_sip() && !uri.headers_text().is_empty() {
            return Err(bad("request_uri"));
        }
        Ok(())
    }
}

/// The cookie alone names no transaction (RFC 4475 section 3.2.1), and two branches name two.
fn check_branch(via: &Via<'_>) -> Result<(), Malformed> {
    let cookie = via
        .branch()
        .is_some_and(|branch| branch.eq_ignore_ascii_case("z9hG4bK"));
    if cookie || !via.has_clear_branch() {
        return Err(Malformed::new("branch"));
    }
    Ok(())
}

/// From and To may have any scheme, but a SIP URI must be a good one, and a tag must be one.
fn check_side(side: &NameAddr<'_>, fault: Malformed) -> Result<(), Malformed> {
    side.parsed_uri().map_err(|_| fault)?;
    if side.has_clear_tag() { Ok(()) } else { Err(fault) }
}
