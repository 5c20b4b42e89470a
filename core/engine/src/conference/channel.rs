//! What a participant is called in conference events, and on the video lines that show it.

use crate::call::Call;

impl Call {
    /// The id of a participant's channel: when the call began, and a number that no other has.
    pub(crate) fn channel(&self) -> String {
        format!("{}.{}", self.seat.began.unix_seconds(), self.leg.id)
    }
}
