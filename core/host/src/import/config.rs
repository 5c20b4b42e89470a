//! Power `config`: the plugin's own configuration. Given to every plugin.

use super::Powers;
use crate::count::ImportOutcome;
use crate::grant::Grant;

impl Powers {
    /// The `config` table of the plugin's entry as JSON.
    pub(crate) fn config(&self) -> String {
        self.plugin.counts.import(Grant::Config, ImportOutcome::Ok);
        self.config.as_ref().to_owned()
    }
}
