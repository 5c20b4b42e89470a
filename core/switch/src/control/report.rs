//! What the control thread tells a scrape.

use std::collections::BTreeMap;

use cordboard_engine::counts::{Counts, Gauges};
use cordboard_model::measure::{Histogram, RELAY_BOUNDS};

use super::{Control, SAMPLE};
use crate::net::udp::Sent;

/// What the control thread knows, for a scrape.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) counts: Counts,
    pub(crate) gauges: Gauges,
    /// What was thrown away before it was a message, by reason.
    pub(crate) garbage: BTreeMap<&'static str, u64>,
    /// STUN binding requests answered on SIP ports.
    pub(crate) stun: u64,
    /// From the stamp of a message to handing over the last of the copies that may leave at once.
    pub(crate) relay: Histogram,
    /// From accepting a message to handing over its last copy, by kind.
    pub(crate) fanout: BTreeMap<&'static str, Histogram>,
    /// SIP datagrams sent, refused by the kernel, or lost to a full buffer.
    pub(crate) sent: Sent,
    /// SIP datagrams that the kernel had no room for.
    pub(crate) kernel_drops: u64,
    /// Connections open now, by transport.
    pub(crate) connections: BTreeMap<&'static str, usize>,
    /// Connections cut because they read too slowly.
    pub(crate) slow_readers: u64,
    /// The same of chat connections.
    pub(crate) slow_chat_readers: u64,
    /// Frames handed to chat connections.
    pub(crate) chat_frames: u64,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            gauges: Gauges::default(),
            garbage: BTreeMap::new(),
            stun: 0,
            relay: Histogram::new(RELAY_BOUNDS),
            fanout: BTreeMap::new(),
            sent: Sent::default(),
            kernel_drops: 0,
            connections: BTreeMap::new(),
            slow_readers: 0,
            slow_chat_readers: 0,
            chat_frames: 0,
        }
    }
}

impl Control {
    /// What it knows now.
    pub(super) fn report(&self) -> Report {
        let mut connections = BTreeMap::new();
        for (flow, _) in self.connections.values() {
            *connections.entry(flow.transport.name()).or_default() += 1;
        }
        let mut garbage = self.report.garbage.clone();
        garbage.insert("unread", self.unread - self.unread / SAMPLE);
        Report {
            garbage,
            counts: self.engine.counts().clone(),
            gauges: self.engine.gauges(),
            kernel_drops: self.sockets.iter().map(|(_, socket)| socket.kernel_drops()).sum(),
            connections,
            slow_chat_readers: self.chat.slow_readers,
            chat_frames: self.chat.frames,
            ..self.report.clone()
        }
    }
}
