//! The INVITE server transaction: RFC 3261 section 17.2.1 with RFC 6026.

use super::{Repeat, Step};
use crate::timer::{PATIENCE, T1, T2, T4};

/// Its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InviteServer {
    Proceeding,
    Completed,
    /// A 2xx was sent: repeats of the INVITE are absorbed, the 2xx is repeated by the call (RFC 6026).
    Accepted,
    Confirmed,
}

impl InviteServer {
    pub(crate) fn repeated(self) -> Step {
        match self {
            Self::Proceeding | Self::Completed => Step::send(),
            Self::Accepted | Self::Confirmed => Step::nothing(),
        }
    }

    pub(crate) fn respond(&mut self, status: u16, reliable: bool) -> Step {
        if *self != Self::Proceeding {
            return Step::nothing();
        }
        match status {
            ..=199 => Step::send(),
            200..=299 => {
                *self = Self::Accepted;
                Step::send().ending(PATIENCE)
            }
            _ => {
                *self = Self::Completed;
                let repeat = if reliable { Repeat::Stop } else { Repeat::In(T1) };
                Step::send().repeating(repeat).ending(PATIENCE)
            }
        }
    }

    pub(crate) fn acknowledged(&mut self, reliable: bool) -> Step {
        if *self != Self::Completed {
            return Step::nothing();
        }
        *self = Self::Confirmed;
        if reliable {
            Step::over()
        } else {
            Step::nothing().repeating(Repeat::Stop).ending(T4)
        }
    }

    /// Timer G.
    pub(crate) fn repeat(self, interval: std::time::Duration) -> Step {
        match self {
            Self::Completed => Step::send().repeating(Repeat::In((interval * 2).min(T2))),
            _ => Step::nothing(),
        }
    }

    /// The name of the timer that ends the present state, where its end is a failure.
    pub(crate) const fn end_name(self) -> Option<&'static str> {
        match self {
            Self::Completed => Some("H"),
            _ => None,
        }
    }
}
