//! What strangers send: requests that are in order but for the missing proof, no two alike.

use std::net::SocketAddr;

/// What an offer of a caller says.
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.66\r\ns=-\r\nc=IN IP4 192.0.2.66\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// The methods that floods are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Register,
    Invite,
    Message,
    Subscribe,
    Options,
}

impl Kind {
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Register => "REGISTER",
            Self::Invite => "INVITE",
            Self::Message => "MESSAGE",
            Self::Subscribe => "SUBSCRIBE",
            Self::Options => "OPTIONS",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::Register | Self::Options => "sip:lab.test",
            Self::Invite | Self::Subscribe => "sip:3000@lab.test",
            Self::Message => "sip:alice@lab.test",
        }
    }

    /// Further headers, and the body.
    const fn rest(self) -> (&'static str, &'static str) {
        match self {
            Self::Register => ("Expires: 3600\r\n", ""),
            Self::Invite => ("Content-Type: application/sdp\r\n", SDP),
            Self::Message => ("Content-Type: text/plain\r\n", "buy now"),
            Self::Subscribe => ("Event: conference\r\nExpires: 600\r\n", ""),
            Self::Options => ("Accept: application/sdp\r\n", ""),
        }
    }
}

/// The `number`th request of a kind, as it comes from `source`.
pub(crate) fn request(kind: Kind, transport: &str, source: SocketAddr, number: u64) -> String {
    let (method, target) = (kind.method(), kind.target());
    let (headers, body) = kind.rest();
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {source};rport;branch=z9hG4bKf{number:x}\r\n\
         Max-Forwards: 70\r\nFrom: \"A caller\" <sip:user{user}@lab.test>;tag=t{number:x}\r\nTo: <{target}>\r\n\
         Call-ID: {number:x}@{source}\r\nCSeq: 1 {method}\r\nContact: <sip:user{user}@{source}>\r\n\
         User-Agent: Phone 1.0\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
        user = number % 1_000,
        length = body.len(),
    )
}
