//! What a shard counts for the switch's metrics.

use cordboard_model::measure::{Histogram, NETWORK_BOUNDS, RELAY_BOUNDS};
use cordboard_model::media::PeerReport;

use crate::rtc::PeerCounts;
use crate::sequence::Reception;

/// Why a packet that came was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum DropReason {
    /// Not RTP or RTCP, or longer than 200 ms of audio.
    Malformed,
    /// A payload type that was not negotiated.
    UnknownPayload,
    /// From a source that is not, or not yet, taken for the peer.
    ForeignSource,
    /// A copy of a packet seen before.
    Duplicate,
    /// Its turn to be played was over.
    Late,
    /// Sequence number far from all expected ones.
    OutOfSequence,
    /// More audio came than the longest delay holds.
    Overflow,
    /// For a leg that is not open, or whose peer is not described yet.
    NotReady,
    /// SRTP whose tag is wrong: a forgery, or a peer with another key.
    Unauthentic,
    /// SRTP that came before, or is too old to know.
    Replayed,
    /// A connectivity check that names no peer of ours.
    UnknownFragment,
    /// A connectivity check without the right proof.
    ForgedCheck,
    /// A connectivity check from where another peer is.
    AddressTaken,
    /// DTLS or SRTP from where no peer has proven to be.
    UnprovenSource,
    /// DTLS that no handshake needs: fragments without end, alerts that anybody can send.
    HandshakeRefused,
    /// DTLS beyond what may wait.
    HandshakeOverload,
    /// An SSRC of a peer that belongs to none of its lines.
    UnknownStream,
    /// Video that is muted at the door of the switch.
    Muted,
}

impl DropReason {
    /// Every reason, in the order of [`Counts::dropped`].
    pub const ALL: [Self; 18] = [
        Self::Malformed,
        Self::UnknownPayload,
        Self::ForeignSource,
        Self::Duplicate,
        Self::Late,
        Self::OutOfSequence,
        Self::Overflow,
        Self::NotReady,
        Self::Unauthentic,
        Self::Replayed,
        Self::UnknownFragment,
        Self::ForgedCheck,
        Self::AddressTaken,
        Self::UnprovenSource,
        Self::HandshakeRefused,
        Self::HandshakeOverload,
        Self::UnknownStream,
        Self::Muted,
    ];

    /// The reason as a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownPayload => "unknown_payload",
            Self::ForeignSource => "foreign_source",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::OutOfSequence => "out_of_sequence",
            Self::Overflow => "overflow",
            Self::NotReady => "not_ready",
            Self::Unauthentic => "unauthentic",
            Self::Replayed => "replayed",
            Self::UnknownFragment => "unknown_fragment",
            Self::ForgedCheck => "forged_check",
            Self::AddressTaken => "address_taken",
            Self::UnprovenSource => "unproven_source",
            Self::HandshakeRefused => "handshake_refused",
            Self::HandshakeOverload => "handshake_overload",
            Self::UnknownStream => "unknown_stream",
            Self::Muted => "muted",
        }
    }
}

/// A shard's counts since it began, and what is there now.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// RTP packets taken from peers.
    pub packets_in: u64,
    /// RTP packets for peers.
    pub packets_out: u64,
    /// Bytes of these, headers of RTP included.
    pub bytes_in: u64,
    /// Bytes of these, headers of RTP included.
    pub bytes_out: u64,
    /// RTCP packets taken from peers.
    pub control_in: u64,
    /// RTCP packets for peers.
    pub control_out: u64,
    /// Packets that came and were not used, by [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// RTP packets that sequence numbers show as lost, brought up to date every few seconds.
    pub lost: u64,
    /// RTP packets of ours that peers report as lost.
    pub peer_lost: u64,
    /// Seconds from a packet's receive stamp to the hand-over of the first mixed frame that holds it.
    pub mix_latency: Histogram,
    /// Seconds of interarrival jitter (RFC 3550 section 6.4.1) of what comes, each time that we report it.
    pub jitter_in: Histogram,
    /// Seconds of jitter of what we send, each time that a peer reports it.
    pub jitter_out: Histogram,
    /// Seconds that a report takes to a peer and back, each time that a peer lets us know.
    pub round_trip: Histogram,
    /// Legs whose peer's audio is taken now.
    pub streams_in: usize,
    /// Legs that audio is sent to now.
    pub streams_out: usize,
    /// Mixes with at least one leg.
    pub mixes: usize,
    /// Ticks of 20 ms that were left out because the thread came far too late.
    pub ticks_skipped: u64,
    /// WebRTC peers and what is forwarded.
    pub peers: PeerCounts,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            packets_in: 0,
            packets_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            control_in: 0,
            control_out: 0,
            dropped: [0; DropReason::ALL.len()],
            lost: 0,
            peer_lost: 0,
            mix_latency: Histogram::new(RELAY_BOUNDS),
            jitter_in: Histogram::new(NETWORK_BOUNDS),
            jitter_out: Histogram::new(NETWORK_BOUNDS),
            round_trip: Histogram::new(NETWORK_BOUNDS),
            streams_in: 0,
            streams_out: 0,
            mixes: 0,
            ticks_skipped: 0,
            peers: PeerCounts::default(),
        }
    }
}

impl Counts {
    pub(crate) const fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// What a peer says about a stream of ours, after what it said `before`.
    pub(crate) fn peer_reported(&mut self, before: Option<PeerReport>, report: &PeerReport) {
        // A peer that counts anew, or counts duplicates off, has lost nothing more.
        let before = before.map_or(0, |before| before.lost);
        self.peer_lost += u64::from(report.lost.saturating_sub(before));
        self.jitter_out.record(f64::from(report.jitter_ms) / 1000.0);
        if let Some(round_trip) = report.round_trip {
            self.round_trip.record_duration(round_trip);
        }
    }

    /// What we tell a peer about a stream of its.
    pub(crate) fn reported(&mut self, reception: &Reception) {
        self.jitter_in.record(f64::from(reception.jitter_ms()) / 1000.0);
    }

    /// How many packets were dropped for this reason.
    pub const fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Adds another shard's counts.
    pub fn merge(&mut self, other: &Self) {
        self.packets_in += other.packets_in;
        self.packets_out += other.packets_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.control_in += other.control_in;
        self.control_out += other.control_out;
        for (own, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *own += theirs;
        }
        self.lost += other.lost;
        self.peer_lost += other.peer_lost;
        self.mix_latency.merge(&other.mix_latency);
        self.jitter_in.merge(&other.jitter_in);
        self.jitter_out.merge(&other.jitter_out);
        self.round_trip.merge(&other.round_trip);
        self.streams_in += other.streams_in;
        self.streams_out += other.streams_out;
        self.mixes += other.mixes;
        self.ticks_skipped += other.ticks_skipped;
        self.peers.merge(&other.peers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_place_and_a_name_of_its_own() {
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            assert_eq!(
                DropReason::ALL
                    .iter()
                    .filter(|other| other.name() == reason.name())
                    .count(),
                1
            );
        }
    }

    #[test]
    fn merging_adds_everything() {
        let mut one = Counts {
            packets_in: 1,
            mixes: 2,
            ..Counts::default()
        };
        let mut two = Counts {
            packets_in: 10,
            lost: 5,
            ..Counts::default()
        };
        two.drop(DropReason::Late);
        one.merge(&two);
        assert_eq!(
            (
                one.packets_in,
                one.mixes,
                one.lost,
                one.dropped_for(DropReason::Late)
            ),
            (11, 2, 5, 1)
        );
    }
}
