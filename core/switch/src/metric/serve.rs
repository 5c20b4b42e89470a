//! From a snapshot of what was counted to the text that Prometheus reads.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use cordboard_engine::counts::Counts;
use cordboard_engine::io::Transport;
use cordboard_media::{DropReason, FeedbackKind, PeerCounts, PeerOutcome, ResendOutcome};
use cordboard_model::measure::Histogram;

use super::catalogue as metric;
use super::exposition::Exposition;
use super::{HttpCounts, Snapshot, process};
use crate::shard::{ShardCounts, StreamEnd};

/// Ratios are taken over at least this long, however often Prometheus asks.
const RATIO_SPAN: Duration = Duration::from_secs(2);

/// SIP status codes that have a label of their own (IANA's list); others are counted by their class.
const CODES: &[u16] = &[
    100, 180, 181, 182, 183, 199, 200, 202, 204, 300, 301, 302, 305, 380, 400, 401, 402, 403, 404, 405, 406,
    407, 408, 410, 412, 413, 414, 415, 416, 417, 420, 421, 422, 423, 425, 428, 429, 430, 433, 436, 437, 438,
    439, 440, 469, 470, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 500, 501, 502, 503,
    504, 505, 513, 555, 580, 600, 603, 604, 606, 607, 608,
];

/// Makes the text; remembers what ratios need between two scrapes.
pub(crate) struct Exporter {
    start: SystemTime,
    busy: Mutex<Option<Busy>>,
}

struct Busy {
    at: Instant,
    spans: Vec<Duration>,
    ratios: Vec<f64>,
}

impl Exporter {
    /// An exporter of a process that began now.
    pub(crate) const fn new(start: SystemTime) -> Self {
        Self {
            start,
            busy: Mutex::new(None),
        }
    }

    /// The text of one scrape.
    pub(crate) fn text(&self, snapshot: &Snapshot, http: &HttpCounts) -> String {
        let mut to = Exposition::default();
        to.count(
            &metric::BUILD_INFO,
            &[env!("CARGO_PKG_VERSION"), &snapshot.node],
            1,
        );
        for (outcome, count) in &snapshot.reloads {
            to.count(&metric::CONFIG_RELOADS, &[outcome], *count);
        }
        to.count(&metric::DRAINING, &[], u64::from(snapshot.gauges.draining));
        media(&mut to, snapshot);
        for (shard, ratio) in self.busy_ratios(&snapshot.shards).iter().enumerate() {
            to.number(&metric::SHARD_BUSY, &[&shard.to_string()], *ratio);
        }
        conferences(&mut to, snapshot);
        sip(&mut to, snapshot);
        plugins(&mut to, snapshot);
        store_and_http(&mut to, snapshot, http);
        process::add(&mut to, self.start);
        to.text()
    }

    pub(super) fn busy_ratios(&self, shards: &[ShardCounts]) -> Vec<f64> {
        let spans: Vec<Duration> = shards.iter().map(|shard| shard.busy).collect();
        let mut last = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(last) = last.as_ref()
            && now.duration_since(last.at) < RATIO_SPAN
            && last.ratios.len() == spans.len()
        {
            return last.ratios.clone();
        }
        let ratios: Vec<f64> = match last.as_ref() {
            Some(last) if last.spans.len() == spans.len() => {
                let passed = now.duration_since(last.at).as_secs_f64();
                let busy = spans
                    .iter()
                    .zip(&last.spans)
                    .map(|(new, old)| new.saturating_sub(*old).as_secs_f64());
                busy.map(|busy| (busy / passed).min(1.0)).collect()
            }
            _ => vec![0.0; spans.len()],
        };
        *last = Some(Busy {
            at: now,
            spans,
            ratios: ratios.clone(),
        });
        ratios
    }
}

#[cfg(test)]
impl Exporter {
    pub(super) fn pretend_last_scrape_was(&self, ago: Duration) {
        let mut last = self.busy.lock().unwrap();
        let last = last.as_mut().unwrap();
        last.at = last.at.checked_sub(ago).unwrap();
    }
}

fn media(to: &mut Exposition, snapshot: &Snapshot) {
    let mut all = cordboard_media::Counts::default();
    let (mut send_errors, mut receive_errors, mut refused) = (0, 0, 0);
    let mut lag: Option<Histogram> = None;
    for shard in &snapshot.shards {
        all.merge(&shard.media);
        send_errors += shard.send_errors;
        receive_errors += shard.receive_errors;
        refused += shard.refused;
        match &mut lag {
            Some(lag) => lag.merge(&shard.lag),
            None => lag = Some(shard.lag.clone()),
        }
    }
    to.histogram(&metric::RELAY_LATENCY, &["mix"], &all.mix_latency);
    to.histogram(&metric::RELAY_LATENCY, &["video"], &all.peers.forward_latency);
    to.histogram(&metric::RELAY_LATENCY, &["audio"], &all.peers.voice_latency);
    to.histogram(&metric::RELAY_LATENCY, &["message"], &snapshot.message_latency);
    to.histogram(&metric::RTP_JITTER, &["in"], &all.jitter_in);
    to.histogram(&metric::RTP_JITTER, &["out"], &all.jitter_out);
    to.histogram(&metric::RTP_ROUND_TRIP, &[], &all.round_trip);
    for (direction, packets, bytes, control, errors) in [
        ("in", all.packets_in, all.bytes_in, all.control_in, receive_errors),
        (
            "out",
            all.packets_out,
            all.bytes_out,
            all.control_out,
            send_errors,
        ),
    ] {
        to.count(&metric::RTP_PACKETS, &[direction, "audio"], packets);
        to.count(&metric::RTP_BYTES, &[direction, "audio"], bytes);
        to.count(&metric::RTCP_PACKETS, &[direction], control);
        to.count(&metric::RTP_SOCKET_ERRORS, &[direction], errors);
    }
    for reason in DropReason::ALL {
        to.count(&metric::RTP_DROPPED, &[reason.name()], all.dropped_for(reason));
    }
    to.count(&metric::RTP_LOST, &[], all.lost);
    to.count(&metric::RTP_PEER_LOST, &[], all.peer_lost);
    to.size(&metric::STREAMS, &["publisher", "audio"], all.streams_in);
    to.size(&metric::STREAMS, &["subscriber", "audio"], all.streams_out);
    peers(to, &all.peers);
    for (at, reason) in StreamEnd::ALL.into_iter().enumerate() {
        let ended = snapshot.shards.iter().map(|shard| shard.stream_ends[at]).sum();
        to.count(&metric::PEER_STREAMS_ENDED, &[reason.name()], ended);
    }
    to.size(&metric::MIXES, &[], all.mixes);
    if let Some(lag) = &lag {
        to.histogram(&metric::SHARD_LAG, &[], lag);
    }
    to.count(&metric::SHARD_TICKS_SKIPPED, &[], all.ticks_skipped);
    to.count(&metric::SHARD_REFUSED, &[], refused);
}

fn peers(to: &mut Exposition, peers: &PeerCounts) {
    for (direction, packets, bytes, feedback) in [
        ("in", peers.packets_in, peers.bytes_in, &peers.feedback_in),
        ("out", peers.packets_out, peers.bytes_out, &peers.feedback_out),
    ] {
        to.count(&metric::RTP_PACKETS, &[direction, "video"], packets);
        to.count(&metric::RTP_BYTES, &[direction, "video"], bytes);
        for (kind, count) in FeedbackKind::ALL.into_iter().zip(feedback) {
            to.count(&metric::RTCP_FEEDBACK, &[kind.name(), direction], *count);
        }
    }
    for (outcome, count) in ResendOutcome::ALL.into_iter().zip(peers.resent) {
        to.count(&metric::RTP_RESENT, &[outcome.name()], count);
    }
    to.count(&metric::RTP_RECOVERED, &[], peers.recovered);
    to.count(&metric::STUN_CHECKS, &["ok"], peers.checks);
    to.count(&metric::STUN_CHECKS, &["refused"], peers.checks_refused);
    to.size(&metric::PEERS, &[], peers.connected);
    for (outcome, count) in PeerOutcome::ALL.into_iter().zip(peers.outcomes) {
        to.count(&metric::PEER_OUTCOMES, &[outcome.name()], count);
    }
    to.size(&metric::STREAMS, &["publisher", "video"], peers.sources);
    to.size(&metric::STREAMS, &["subscriber", "video"], peers.subscriptions);
}

fn conferences(to: &mut Exposition, snapshot: &Snapshot) {
    let (engine, gauges) = (&snapshot.engine, &snapshot.gauges);
    to.size(&metric::CONFERENCES, &[], gauges.conferences);
    for (transport, participants) in Transport::ALL.into_iter().zip(gauges.participants) {
        to.size(&metric::PARTICIPANTS, &[transport.name()], participants);
    }
    to.size(&metric::PARTICIPANTS, &["chat"], gauges.chat.participants);
    for ((transport, outcome), count) in &engine.joins {
        to.count(&metric::JOINS, &[transport, outcome], *count);
    }
    for (reason, count) in &engine.calls_ended {
        to.count(&metric::CALLS_ENDED, &[reason], *count);
    }
    for ((direction, kind, outcome), count) in &engine.messages {
        to.count(&metric::MESSAGES, &[direction, kind, outcome], *count);
    }
    for (kind, seconds) in &engine.fanout_seconds {
        to.histogram(&metric::MESSAGE_FANOUT, &[kind], seconds);
    }
    for (transport, seconds) in &engine.delivery_seconds {
        to.histogram(&metric::MESSAGE_DELIVERY, &[transport], seconds);
    }
    to.histogram(&metric::MESSAGE_RECIPIENTS, &[], &engine.recipients);
    to.size(&metric::MESSAGE_QUEUE, &[], gauges.queued_messages);
    to.size(&metric::MESSAGES_KEPT, &[], gauges.kept_messages);
    chat(to, snapshot);
}

fn chat(to: &mut Exposition, snapshot: &Snapshot) {
    let (engine, chat) = (&snapshot.engine, &snapshot.gauges.chat);
    to.size(&metric::CHAT_CONNECTIONS, &[], chat.connections);
    to.size(&metric::CHAT_ROOMS, &[], chat.rooms);
    to.size(&metric::CHAT_HISTORY, &[], chat.messages);
    to.size(&metric::CHAT_WAITING, &[], chat.waiting);
    to.count(&metric::CHAT_FRAMES, &[], snapshot.chat_frames);
    for (outcome, count) in &engine.chat_tickets {
        to.count(&metric::CHAT_TICKETS, &[outcome], *count);
    }
    for (reason, count) in &engine.chat_dropped {
        to.count(&metric::CHAT_DROPPED, &[reason], *count);
    }
    to.count(
        &metric::CHAT_DROPPED,
        &["slow_reader"],
        snapshot.slow_chat_readers,
    );
}

fn sip(to: &mut Exposition, snapshot: &Snapshot) {
    let (engine, gauges) = (&snapshot.engine, &snapshot.gauges);
    for (direction, requests) in [("in", &engine.requests_in), ("out", &engine.requests_out)] {
        for (method, count) in requests {
            to.count(&metric::SIP_REQUESTS, &[method.name(), direction], *count);
        }
    }
    responses(to, engine);
    for (side, seconds) in [
        ("server", &engine.server_seconds),
        ("client", &engine.client_seconds),
    ] {
        for (method, seconds) in seconds {
            to.histogram(&metric::SIP_TRANSACTION, &[method.name(), side], seconds);
        }
    }
    to.size(&metric::SIP_TRANSACTIONS, &[], gauges.transactions);
    to.size(&metric::SIP_DIALOGS, &[], gauges.dialogs);
    to.size(&metric::SIP_REGISTRATIONS, &[], gauges.registrations);
    to.size(&metric::SIP_SUBSCRIPTIONS, &[], gauges.subscriptions);
    for (reason, count) in &engine.subscriptions_ended {
        to.count(&metric::SIP_SUBSCRIPTIONS_ENDED, &[reason], *count);
    }
    for (transport, connections) in &snapshot.connections {
        to.size(&metric::SIP_CONNECTIONS, &[transport], *connections);
    }
    to.count(&metric::SIP_RETRANSMISSIONS, &["in"], engine.retransmissions_in);
    to.count(&metric::SIP_RETRANSMISSIONS, &["out"], engine.retransmissions_out);
    for (timer, count) in &engine.timeouts {
        to.count(&metric::SIP_TIMEOUTS, &[timer], *count);
    }
    to.count(&metric::SIP_KEEP_ALIVES, &[], snapshot.stun_keep_alives);
    let mut rejected = engine.rejected.clone();
    for (reason, count) in &snapshot.refused {
        *rejected.entry(reason).or_default() += count;
    }
    for (reason, count) in &rejected {
        to.count(&metric::SIP_REJECTED, &[reason], *count);
    }
    for (reason, count) in &engine.bans {
        to.count(&metric::SIP_BANS, &[reason], *count);
    }
    to.size(&metric::SIP_BANNED, &[], gauges.banned);
    to.count(&metric::SIP_SLIMMED, &[], engine.slimmed);
    let (written, lost) = snapshot.records;
    to.count(&metric::RECORDS, &["written"], written);
    to.count(&metric::RECORDS, &["lost"], lost);
}

/// Peers choose the codes of their responses: unknown ones share a label, so that nobody can fill the
/// metrics.
fn responses(to: &mut Exposition, engine: &Counts) {
    for (direction, responses) in [("in", &engine.responses_in), ("out", &engine.responses_out)] {
        let mut labelled = std::collections::BTreeMap::new();
        for ((method, code), count) in responses {
            let label = match CODES.binary_search(code) {
                Ok(_) => code.to_string(),
                Err(_) => format!("{}xx", (code / 100).clamp(1, 6)),
            };
            *labelled.entry((method.name(), label)).or_insert(0) += count;
        }
        for ((method, code), count) in &labelled {
            to.count(&metric::SIP_RESPONSES, &[method, code, direction], *count);
        }
    }
}

fn plugins(to: &mut Exposition, snapshot: &Snapshot) {
    for (hook, count) in &snapshot.engine.hook_timeouts {
        to.count(&metric::HOOK_TIMEOUTS, &[hook], *count);
    }
    to.count(&metric::HOOK_STALE, &[], snapshot.engine.stale_verdicts);
    to.size(&metric::HOOK_QUEUE, &[], snapshot.host.waiting);
    for counts in &snapshot.host.plugins {
        let plugin = counts.plugin.as_str();
        for hook in &counts.hooks {
            to.histogram(&metric::HOOK_SECONDS, &[hook.hook.name(), plugin], &hook.seconds);
            for (outcome, count) in &hook.outcomes {
                to.count(
                    &metric::HOOK_VERDICTS,
                    &[hook.hook.name(), plugin, outcome.name()],
                    *count,
                );
            }
        }
        to.count(&metric::PLUGIN_MEMORY, &[plugin], counts.memory_bytes);
        for used in &counts.imports {
            to.count(
                &metric::PLUGIN_IMPORTS,
                &[plugin, used.import.name(), used.outcome.name()],
                used.count,
            );
        }
        to.count(&metric::PLUGIN_LOADS, &[plugin, "ok"], counts.loads_ok);
        to.count(&metric::PLUGIN_LOADS, &[plugin, "failed"], counts.loads_failed);
    }
    for state in &snapshot.plugins {
        to.count(&metric::PLUGIN_READY, &[&state.name], u64::from(state.is_ready()));
        if let Some(info) = &state.loaded {
            to.count(&metric::PLUGIN_INFO, &[&state.name, &info.version, &info.api], 1);
        }
    }
}

fn store_and_http(to: &mut Exposition, snapshot: &Snapshot, http: &HttpCounts) {
    let store = &snapshot.store;
    to.histogram(&metric::STORE_COMMIT, &[], &store.commit_seconds);
    for (outcome, count) in [
        ("ok", store.written),
        ("failed", store.failed),
        ("refused", store.refused),
    ] {
        to.count(&metric::STORE_WRITES, &[outcome], count);
    }
    to.size(&metric::STORE_QUEUE, &[], store.waiting);
    for ((route, method, class), seconds) in &http.requests {
        to.histogram(&metric::HTTP_REQUEST, &[route, method, class], seconds);
    }
    to.size(&metric::HTTP_CONNECTIONS, &[], http.connections);
    for (reason, count) in &http.refused {
        to.count(&metric::HTTP_REFUSED, &[reason], *count);
    }
}
