//! Power `time`: the clock, in milliseconds so that it is of little use for measuring others.

use super::Powers;
use crate::count::ImportOutcome;
use crate::grant::Grant;

impl Powers {
    /// Milliseconds since the Unix epoch, UTC.
    pub(crate) fn now(&self) -> u64 {
        self.plugin.counts.import(Grant::Time, ImportOutcome::Ok);
        (self.clock)().0 / 1_000_000
    }
}
