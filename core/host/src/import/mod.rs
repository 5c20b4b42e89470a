//! The powers that a plugin may be granted, one per file, without the words of any WIT version.

pub(crate) mod config;
pub(crate) mod kv;
pub(crate) mod log;
pub(crate) mod time;

use std::sync::Arc;

use cordboard_model::hook::message::Audience;

use crate::limits::{Clock, MemoryMeter};
use crate::plugin::Plugin;

/// What one instance carries with it: its powers and its memory meter.
pub(crate) struct Powers {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) config: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) on_kv_write: crate::OnKvWrite,
    /// Changes to `kv` that are left in this call.
    pub(crate) kv_writes: u32,
    pub(crate) memory: MemoryMeter,
    /// Whom the message is for that the plugin is asked about.
    pub(crate) audience: Audience,
}

impl Powers {
    /// Renews what is counted per call.
    pub(crate) fn begin_call(&mut self) {
        self.kv_writes = kv::WRITES_PER_CALL;
        self.audience = Audience::Everybody;
    }
}
