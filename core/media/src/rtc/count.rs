//! What is counted of WebRTC peers and of what is forwarded.

use cordboard_model::measure::{Histogram, RELAY_BOUNDS};
use cordboard_model::media::peer::PeerLoss;

use super::feedback::FeedbackKind;

/// How setting a peer up ended, and how the peer ended if not by the engine's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum PeerOutcome {
    /// The handshake is done.
    Connected,
    /// See [`PeerLoss::Consent`].
    Consent,
    /// See [`PeerLoss::Fingerprint`].
    Fingerprint,
    /// See [`PeerLoss::Handshake`].
    Handshake,
    /// See [`PeerLoss::Closed`].
    Closed,
}

impl PeerOutcome {
    /// Every outcome, in the order in which they are counted.
    pub const ALL: [Self; 5] = [
        Self::Connected,
        Self::Consent,
        Self::Fingerprint,
        Self::Handshake,
        Self::Closed,
    ];

    /// The outcome as a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Consent => "consent",
            Self::Fingerprint => "fingerprint",
            Self::Handshake => "handshake",
            Self::Closed => "closed",
        }
    }
}

impl From<PeerLoss> for PeerOutcome {
    fn from(loss: PeerLoss) -> Self {
        match loss {
            PeerLoss::Consent => Self::Consent,
            PeerLoss::Fingerprint => Self::Fingerprint,
            PeerLoss::Handshake => Self::Handshake,
            PeerLoss::Closed => Self::Closed,
        }
    }
}

/// What became of a packet that a subscriber asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum ResendOutcome {
    /// It was sent again.
    Sent,
    /// It is not in the cache: too old, never sent, or it never came to us.
    Missing,
    /// The subscriber asked for too much in a short time.
    Refused,
}

impl ResendOutcome {
    /// Every outcome, in the order in which they are counted.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Missing, Self::Refused];

    /// The outcome as a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Missing => "missing",
            Self::Refused => "refused",
        }
    }
}

/// Counts of WebRTC peers since the shard began, and what is there now.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerCounts {
    /// Peers whose handshake is done.
    pub connected: usize,
    /// Peers set up and lost, by [`PeerOutcome::ALL`].
    pub outcomes: [u64; PeerOutcome::ALL.len()],
    /// Connectivity checks that were answered with success.
    pub checks: u64,
    /// Connectivity checks that were answered with an error.
    pub checks_refused: u64,
    /// Video packets taken from publishers, those sent again included.
    pub packets_in: u64,
    /// Their bytes, headers of RTP included.
    pub bytes_in: u64,
    /// Video packets for subscribers, those sent again included.
    pub packets_out: u64,
    /// Their bytes, headers of RTP and protection included.
    pub bytes_out: u64,
    /// Packets of publishers that came because we asked for them again.
    pub recovered: u64,
    /// Packets that subscribers asked for again, by [`ResendOutcome::ALL`].
    pub resent: [u64; ResendOutcome::ALL.len()],
    /// Feedback from peers, by [`FeedbackKind::ALL`].
    pub feedback_in: [u64; FeedbackKind::ALL.len()],
    /// Feedback to peers, by [`FeedbackKind::ALL`].
    pub feedback_out: [u64; FeedbackKind::ALL.len()],
    /// Video streams that are published now.
    pub sources: usize,
    /// Video streams that are sent to subscribers now.
    pub subscriptions: usize,
    /// Seconds from a video packet's receive stamp to the hand-over of its last copy.
    pub forward_latency: Histogram,
    /// The same of audio that is forwarded.
    pub voice_latency: Histogram,
}

impl Default for PeerCounts {
    fn default() -> Self {
        Self {
            connected: 0,
            outcomes: [0; PeerOutcome::ALL.len()],
            checks: 0,
            checks_refused: 0,
            packets_in: 0,
            bytes_in: 0,
            packets_out: 0,
            bytes_out: 0,
            recovered: 0,
            resent: [0; ResendOutcome::ALL.len()],
            feedback_in: [0; FeedbackKind::ALL.len()],
            feedback_out: [0; FeedbackKind::ALL.len()],
            sources: 0,
            subscriptions: 0,
            forward_latency: Histogram::new(RELAY_BOUNDS),
            voice_latency: Histogram::new(RELAY_BOUNDS),
        }
    }
}

impl PeerCounts {
    /// Adds another shard's counts.
    pub fn merge(&mut self, other: &Self) {
        fn add<const N: usize>(own: &mut [u64; N], theirs: &[u64; N]) {
            own.iter_mut()
                .zip(theirs)
                .for_each(|(own, theirs)| *own += theirs);
        }
        self.connected += other.connected;
        add(&mut self.outcomes, &other.outcomes);
        self.checks += other.checks;
        self.checks_refused += other.checks_refused;
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.recovered += other.recovered;
        add(&mut self.resent, &other.resent);
        add(&mut self.feedback_in, &other.feedback_in);
        add(&mut self.feedback_out, &other.feedback_out);
        self.sources += other.sources;
        self.subscriptions += other.subscriptions;
        self.forward_latency.merge(&other.forward_latency);
        self.voice_latency.merge(&other.voice_latency);
    }

    pub(crate) const fn outcome(&mut self, outcome: PeerOutcome) {
        self.outcomes[outcome as usize] += 1;
    }

    pub(crate) const fn resend(&mut self, outcome: ResendOutcome) {
        self.resent[outcome as usize] += 1;
    }

    pub(crate) const fn sent_feedback(&mut self, kind: FeedbackKind) {
        self.feedback_out[kind as usize] += 1;
    }
}
