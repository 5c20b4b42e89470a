//! Metrics: the workers count plain integers, a snapshot of them becomes text when Prometheus asks.

mod catalogue;
mod exposition;
mod process;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cordboard_engine::counts::{Counts, Gauges};
use cordboard_host::PluginState;
use cordboard_model::measure::{Histogram, RELAY_BOUNDS};

pub(crate) use serve::Exporter;

use crate::shard::ShardCounts;
use crate::store::StoreCounts;

/// What all workers have counted, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The node's name.
    pub(crate) node: String,
    /// Reloads of the config, by outcome.
    pub(crate) reloads: Vec<(&'static str, u64)>,
    /// The engine's counts.
    pub(crate) engine: Counts,
    /// What is alive in the engine.
    pub(crate) gauges: Gauges,
    /// From a message's reception to the hand-over of the last copy that may leave at once, in seconds.
    pub(crate) message_latency: Histogram,
    /// SIP that never reached the engine, by reason, from the sockets.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// STUN binding requests answered on SIP ports.
    pub(crate) stun_keep_alives: u64,
    /// Chat connections cut because they read too slowly.
    pub(crate) slow_chat_readers: u64,
    /// Frames handed to chat connections.
    pub(crate) chat_frames: u64,
    /// Open connections by transport.
    pub(crate) connections: BTreeMap<&'static str, usize>,
    /// Every media thread, in the order of their ids.
    pub(crate) shards: Vec<ShardCounts>,
    /// The plugin host's counts.
    pub(crate) host: cordboard_host::Counts,
    /// Which plugins serve.
    pub(crate) plugins: Vec<PluginState>,
    /// The database's counts.
    pub(crate) store: StoreCounts,
    /// Call records written to the file, and lost.
    pub(crate) records: (u64, u64),
}

impl Snapshot {
    /// A snapshot of a node where nothing has happened yet.
    pub(crate) fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            reloads: Vec::new(),
            engine: Counts::default(),
            gauges: Gauges::default(),
            message_latency: Histogram::new(RELAY_BOUNDS),
            refused: BTreeMap::new(),
            stun_keep_alives: 0,
            slow_chat_readers: 0,
            chat_frames: 0,
            connections: BTreeMap::new(),
            shards: Vec::new(),
            host: cordboard_host::Counts {
                plugins: Vec::new(),
                waiting: 0,
            },
            plugins: Vec::new(),
            store: StoreCounts::default(),
            records: (0, 0),
        }
    }
}

/// What the HTTP server counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpCounts {
    /// From a request's head to its answer's head, by route, method and class of status.
    pub(crate) requests: BTreeMap<(&'static str, &'static str, &'static str), Histogram>,
    /// Open connections.
    pub(crate) connections: usize,
    /// Connections closed without an answer, by reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

/// The reference page of the metrics as Markdown: `config/METRICS.md`.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Made by `cordboard metrics-reference`; a test keeps it so. Served at `/metrics` on every address of `[http] listen`.\n\n\
         Labels have values from closed sets only; no conference, user, call or address is ever one. A metric appears with its first value.\n\n\
         | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in catalogue::ALL {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        );
    }
    page
}
