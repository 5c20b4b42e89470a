//! CSeq: the number and method that order the requests of a dialog.

use crate::sip::grammar::{clamped_number, is_space, is_token, trim_start};
use crate::sip::message::Malformed;
use crate::sip::method::Method;

/// The greatest sequence number (RFC 3261 section 8.1.1.5).
const GREATEST: u64 = (1 << 31) - 1;

/// A CSeq header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq {
    /// The sequence number, 0 to 2^31 - 1.
    pub number: u32,
    /// The method; for [`Method::Other`] its token is
    /// [`Message::cseq_method_text`](crate::sip::message::Message::cseq_method_text).
    pub method: Method,
}

impl CSeq {
    /// Reads a header value.
    ///
    /// # Errors
    /// It is not a number up to 2^31 - 1, white space and a token.
    pub fn parse(value: &str) -> Result<Self, Malformed> {
        let (number, method) = split(value).ok_or(Malformed::new("cseq"))?;
        Ok(Self {
            number,
            method: Method::of(method),
        })
    }
}

/// Number and method token.
pub(crate) fn split(value: &str) -> Option<(u32, &str)> {
    let end = value.bytes().position(is_space)?;
    let number = clamped_number(&value[..end]).filter(|n| *n <= GREATEST)?;
    let method = trim_start(&value[end..]);
    is_token(method).then_some((u32::try_from(number).ok()?, method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_up_to_the_greatest_number() {
        assert_eq!(
            CSeq::parse("0009   INVITE"),
            Ok(CSeq {
                number: 9,
                method: Method::Invite
            })
        );
        assert_eq!(
            CSeq::parse("2147483647 Foo"),
            Ok(CSeq {
                number: 2_147_483_647,
                method: Method::Other
            })
        );
        for text in [
            "",
            "1",
            "1 ",
            " INVITE",
            "2147483648 ACK",
            "-1 ACK",
            "1 A CK",
            "99999999999999999999 ACK",
            "1,ACK",
        ] {
            assert!(CSeq::parse(text).is_err(), "{text}");
        }
    }
}
