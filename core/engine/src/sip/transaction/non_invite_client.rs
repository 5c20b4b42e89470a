//! The non-INVITE client transaction: RFC 3261 section 17.1.2.

use super::{Repeat, Step};
use crate::timer::{T2, T4};

/// Its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonInviteClient {
    Trying,
    Proceeding,
    Completed,
}

impl NonInviteClient {
    pub(crate) fn response(&mut self, status: u16, reliable: bool) -> Step {
        match (*self, status) {
            (Self::Completed, _) => Step::nothing(),
            (_, ..=199) => {
                *self = Self::Proceeding;
                Step::nothing().delivering()
            }
            _ => {
                *self = Self::Completed;
                let step = Step::nothing().repeating(Repeat::Stop).delivering();
                if reliable {
                    step.and_over()
                } else {
                    step.ending(T4)
                }
            }
        }
    }

    /// Timer E.
    pub(crate) fn repeat(self, interval: std::time::Duration) -> Step {
        match self {
            Self::Trying => Step::send().repeating(Repeat::In((interval * 2).min(T2))),
            Self::Proceeding => Step::send().repeating(Repeat::In(T2)),
            Self::Completed => Step::nothing(),
        }
    }

    /// The name of the timer that ends the present state, where its end is a failure.
    pub(crate) const fn end_name(self) -> Option<&'static str> {
        match self {
            Self::Trying | Self::Proceeding => Some("F"),
            Self::Completed => None,
        }
    }
}
