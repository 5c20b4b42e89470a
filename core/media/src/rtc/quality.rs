//! How well each video of a peer is carried, one line after the other.

use cordboard_model::media::peer::VideoTotals;

use super::Rtc;
use super::source::Source;
use super::subscription::Subscription;
use crate::sequence::Reception;

impl Rtc {
    /// What a peer publishes and is sent.
    pub(crate) fn videos(&self, at: usize) -> Vec<VideoTotals> {
        let peer = &self.peers[at];
        let published = peer.published.iter().map(|key| published(&self.sources[*key]));
        let sent = peer
            .subscriptions
            .iter()
            .map(|key| sent(&self.subscriptions[*key]));
        published.chain(sent).collect()
    }
}

fn published(source: &Source) -> VideoTotals {
    let layers = || source.layers.iter();
    let main = layers().find_map(|layer| layer.reception.as_ref());
    VideoTotals {
        mid: source.id.mid.clone(),
        source: None,
        packets: layers().map(|layer| layer.packets).sum(),
        bytes: layers().map(|layer| layer.bytes).sum(),
        lost: layers()
            .filter_map(|layer| layer.reception.as_ref())
            .map(Reception::lost)
            .sum(),
        jitter_ms: main.map_or(0.0, Reception::jitter_ms),
        round_trip: None,
        nacks: layers().map(|layer| layer.nacks).sum(),
        plis: source.pictures.requests,
        resends: layers().map(|layer| layer.recovered).sum(),
        stopped: source.muted,
    }
}

fn sent(one: &Subscription) -> VideoTotals {
    let report = one.report.unwrap_or_default();
    VideoTotals {
        mid: one.mid.clone(),
        source: Some(one.wanted.clone()),
        packets: one.sent.packets,
        bytes: one.sent.bytes,
        lost: report.lost.into(),
        jitter_ms: report.jitter_ms,
        round_trip: report.round_trip,
        nacks: one.sent.nacks,
        plis: one.sent.plis,
        resends: one.sent.resends,
        stopped: one.waits,
    }
}
