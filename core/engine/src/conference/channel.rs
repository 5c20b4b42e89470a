//! What a participant is called in conference events, and on the video lines that show it.

use crate::call::Leg;

impl Leg {
    /// The id of a participant's channel: when it was made, and a number that no other has.
    pub(crate) fn channel(&self) -> String {
        format!("{}.{}", self.since.unix_seconds(), self.id.0)
    }
}
