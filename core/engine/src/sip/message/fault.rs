//! What can be wrong with a message, as closed sets of labels.

use thiserror::Error;

/// A text that cannot be read. Whoever sent it is at fault; the reason is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer sent a malformed message ({reason}); nothing was done with it, look at the peer")]
pub struct Malformed {
    /// One of a closed set of labels: what could not be read.
    pub reason: &'static str,
}

/// A head that is no text.
pub(super) const NOT_UTF8: &str = "not_utf8";
/// A head of more lines than are read.
pub(super) const TOO_MANY_HEADERS: &str = "too_many_headers";

impl Malformed {
    /// The fault with this label.
    pub(crate) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }

    /// That of a message whose body was left out, because it was too large to be taken in.
    pub(crate) const TOO_LARGE: Self = Self::new("too_large");

    /// That of a message whose Content-Length is none, or more than came.
    pub(super) const CONTENT_LENGTH: Self = Self::new("content_length");
}

/// Why a request is refused: the answer that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the request is refused with {status} {phrase} ({reason})")]
pub struct Refusal {
    /// The status code of the answer.
    pub status: u16,
    /// Its reason phrase.
    pub phrase: &'static str,
    /// One of a closed set of labels: what is wrong.
    pub reason: &'static str,
}

impl From<Malformed> for Refusal {
    /// A part that cannot be read is the client's fault: 400.
    fn from(fault: Malformed) -> Self {
        Self {
            status: 400,
            phrase: match fault.reason {
                NOT_UTF8 => "Headers Are Not UTF-8",
                TOO_MANY_HEADERS => "Too Many Header Lines",
                _ => "Bad Request",
            },
            reason: fault.reason,
        }
    }
}
