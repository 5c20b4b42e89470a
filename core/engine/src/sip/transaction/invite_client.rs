//! The INVITE client transaction: RFC 3261 section 17.1.1 with RFC 6026.

use super::{Repeat, Step};
use crate::timer::{PATIENCE, T1, T2};

/// Its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InviteClient {
    Calling,
    Proceeding,
    /// The CANCEL is out: it is repeated until something comes back (RFC 3261 section 9.1).
    Cancelling,
    Completed,
    /// A 2xx came: further ones (also those of other branches) go up, so that each gets its ACK.
    Accepted,
}

impl InviteClient {
    /// What a response does; [`Step::acknowledge`] asks for the ACK of a refusal.
    pub(crate) fn response(&mut self, status: u16, reliable: bool) -> Step {
        match (*self, status) {
            (Self::Cancelling, ..=199) => Step::nothing(),
            (Self::Calling | Self::Proceeding, ..=199) => {
                *self = Self::Proceeding;
                Step::nothing().repeating(Repeat::Stop).without_end().delivering()
            }
            (Self::Calling | Self::Proceeding | Self::Cancelling, 200..=299) => {
                *self = Self::Accepted;
                Step::nothing()
                    .repeating(Repeat::Stop)
                    .ending(PATIENCE)
                    .delivering()
            }
            (Self::Accepted, 200..=299) => Step::nothing().delivering(),
            (Self::Calling | Self::Proceeding | Self::Cancelling, _) => {
                *self = Self::Completed;
                let step = Step::nothing()
                    .repeating(Repeat::Stop)
                    .delivering()
                    .acknowledging();
                if reliable {
                    step.and_over()
                } else {
                    step.ending(PATIENCE)
                }
            }
            (Self::Completed, 300..) => Step::nothing().acknowledging(),
            _ => Step::nothing(),
        }
    }

    /// The request is taken back. Only after a provisional response: before it the CANCEL could
    /// overtake the INVITE.
    pub(crate) fn cancel(&mut self, reliable: bool) -> Step {
        if *self != Self::Proceeding {
            return Step::nothing();
        }
        *self = Self::Cancelling;
        let repeat = if reliable { Repeat::Stop } else { Repeat::In(T1) };
        Step::send().repeating(repeat).ending(PATIENCE)
    }

    /// Timer A, and the repeats of the CANCEL.
    pub(crate) fn repeat(self, interval: std::time::Duration) -> Step {
        match self {
            Self::Calling => Step::send().repeating(Repeat::In(interval * 2)),
            Self::Cancelling => Step::send().repeating(Repeat::In((interval * 2).min(T2))),
            _ => Step::nothing(),
        }
    }

    /// The name of the timer that ends the present state, where its end is a failure.
    pub(crate) const fn end_name(self) -> Option<&'static str> {
        match self {
            Self::Calling | Self::Proceeding | Self::Cancelling => Some("B"),
            _ => None,
        }
    }
}
