//! The non-INVITE server transaction: RFC 3261 section 17.2.2.

use super::Step;
use crate::timer::PATIENCE;

/// Its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonInviteServer {
    Trying,
    Proceeding,
    Completed,
}

impl NonInviteServer {
    pub(crate) fn repeated(self) -> Step {
        match self {
            Self::Trying => Step::nothing(),
            Self::Proceeding | Self::Completed => Step::send(),
        }
    }

    pub(crate) fn respond(&mut self, status: u16, reliable: bool) -> Step {
        match (*self, status) {
            (Self::Completed, _) => Step::nothing(),
            (_, ..=199) => {
                *self = Self::Proceeding;
                Step::send()
            }
            _ if reliable => {
                *self = Self::Completed;
                Step::send().and_over()
            }
            _ => {
                *self = Self::Completed;
                Step::send().ending(PATIENCE)
            }
        }
    }
}
