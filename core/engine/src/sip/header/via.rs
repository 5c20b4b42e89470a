//! Via: the hop that a response goes back to.

use std::net::IpAddr;

use super::params::{Noted, NotedPlaces, Params};
use crate::sip::byte;
use crate::sip::grammar::{is_token, trim, trim_start};
use crate::sip::message::{Malformed, Span};
use crate::sip::uri::host_port;

const FAULT: Malformed = Malformed::new("via");

/// One element of a Via header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport as written (`UDP`, `WSS` ...).
    pub transport: &'a str,
    /// The host of sent-by, an IPv6 address with its brackets.
    pub host: &'a str,
    /// The port of sent-by.
    pub port: Option<u16>,
    params: Params<'a>,
    branch: Noted<'a>,
}

/// An element that was read, as places in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ViaPlaces {
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: Span,
    branch: NotedPlaces,
}

impl<'a> Via<'a> {
    /// Reads one element (not a whole list) of a Via header.
    ///
    /// # Errors
    /// It is not `SIP/2.0/transport host[:port]` and parameters.
    pub fn parse(value: &'a str) -> Result<Self, Malformed> {
        let value = trim(value);
        let rest = match value.strip_prefix("SIP/2.0/") {
            Some(rest) => trim_start(rest),
            None => part(value, "SIP")
                .and_then(|rest| part(rest, "2.0"))
                .ok_or(FAULT)?,
        };
        let (transport, rest) = rest.split_at(byte::run(rest.as_bytes(), byte::TOKEN));
        if transport.is_empty() || !rest.starts_with([' ', '\t']) {
            return Err(FAULT);
        }
        let (host, port, rest) = host_port(trim_start(rest), trim_start).ok_or(FAULT)?;
        let (params, branch) = Params::parse(rest, "branch").map_err(|_| FAULT)?;
        Ok(Self {
            transport,
            host,
            port,
            params,
            branch,
        })
    }

    /// Where it stands in the head that it was read from.
    pub(crate) fn places(&self, head: &str) -> ViaPlaces {
        ViaPlaces {
            transport: Span::of(self.transport, head),
            host: Span::of(self.host, head),
            port: self.port,
            params: Span::of(self.params.text(), head),
            branch: self.branch.places(head),
        }
    }

    /// What was read from these places of the head.
    pub(crate) fn at(places: ViaPlaces, head: &'a str) -> Self {
        Self {
            transport: places.transport.text(head),
            host: places.host.text(head),
            port: places.port,
            params: Params::at(places.params, head),
            branch: Noted::at(places.branch, head),
        }
    }

    /// The branch, which names the transaction.
    pub fn branch(&self) -> Option<&'a str> {
        self.branch.value
    }

    /// Whether there is no branch, or one that is not empty.
    pub(crate) fn has_clear_branch(&self) -> bool {
        self.branch.is_unique()
    }

    /// Where the request came from, as the next hop saw it.
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        text.strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(text)
            .parse()
            .ok()
    }

    /// `None` if there is no `rport`, `Some(None)` if it is there to be filled in (RFC 3581), else its value.
    #[allow(clippy::option_option)]
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|port| port.parse().ok())
    }

    /// The address that the sender wants the response sent to.
    pub fn maddr(&self) -> Option<&'a str> {
        self.params.get("maddr")
    }

    /// The value of a parameter as on the wire; empty where it has none.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    /// The parameters in their order.
    pub fn params(&self) -> Params<'a> {
        self.params
    }
}

/// What follows `word` and a slash, with white space around either.
fn part<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let end = text.find('/')?;
    let (found, rest) = (trim(&text[..end]), &text[end + 1..]);
    (is_token(found) && found.eq_ignore_ascii_case(word)).then(|| trim_start(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::grammar::List;

    #[test]
    fn a_via_is_read_with_white_space_wherever_it_may_be() {
        let via =
            Via::parse("SIP  / 2.0  / TCP     spindle.example.com   ;  branch  =   z9hG4bK9ikj8  ").unwrap();
        assert_eq!(
            (via.transport, via.host, via.port),
            ("TCP", "spindle.example.com", None)
        );
        assert_eq!(
            (via.branch(), via.rport(), via.received()),
            (Some("z9hG4bK9ikj8"), None, None)
        );
        let via =
            Via::parse("SIP/2.0/UDP [2001:db8::9:1] : 5070;rport;received=[2001:db8::9:255];maddr=10.0.0.1")
                .unwrap();
        assert_eq!(
            (via.host, via.port, via.rport()),
            ("[2001:db8::9:1]", Some(5070), Some(None))
        );
        assert_eq!(via.received(), "2001:db8::9:255".parse().ok());
        assert_eq!(via.maddr(), Some("10.0.0.1"));
        assert_eq!(
            Via::parse("SIP/2.0/UDP a;rport=5").unwrap().rport(),
            Some(Some(5))
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2048))]

        #[test]
        fn what_is_one_via_is_no_list(text in "SIP/2.0/UDP ([a-z]{1,3}|:5|;[a-z]=?[a-z]?|;[a-z]=\"[a-z,<>\\\\]{0,3}\"|[ ,<>\"é]){1,7}") {
            if Via::parse(&text).is_ok() {
                proptest::prop_assert_eq!(List::new(&text).collect::<Vec<_>>(), [trim(&text)]);
            }
        }
    }

    #[test]
    fn what_is_no_via_is_refused() {
        let texts = [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/3.0/UDP a",
            "HTTP/2.0/UDP a",
            "SIP/2.0 a",
            "SIP/2.0/ a",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP a:0x5",
            "SIP/2.0/UDP a:70000",
            "SIP/2.0/UDP a;;",
            "SIP/2.0/UDP a;branch=",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDPa",
        ];
        for text in texts {
            assert_eq!(Via::parse(text), Err(FAULT), "{text}");
        }
    }
}
