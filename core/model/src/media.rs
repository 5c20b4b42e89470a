//! What the engine asks of a media shard, and what the shard reports.
//!
//! A leg is opened, changed and closed by commands; each [`MediaCommand::Open`] is answered by exactly
//! one [`MediaEvent::Opened`] or [`MediaEvent::Failed`], and each leg that was opened ends with exactly
//! one [`MediaEvent::Closed`].

use std::net::{IpAddr, SocketAddr};

use crate::id::{LegId, MixId};

/// An audio codec that a leg may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law, 8 kHz (RFC 3551 payload type 0).
    Pcmu,
    /// G.711 A-law, 8 kHz (RFC 3551 payload type 8).
    Pcma,
}

impl Codec {
    /// The name used in SDP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }
}

/// How audio travels on a leg, as negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFormat {
    /// The codec that we send; any codec of [`AudioFormat::receive`] may arrive.
    pub codec: Codec,
    /// Its RTP payload type.
    pub payload_type: u8,
    /// Every payload type that may arrive, with its codec.
    pub receive: Vec<(u8, Codec)>,
    /// The payload type of RFC 4733 events, if they were negotiated.
    pub telephone_event: Option<u8>,
    /// Milliseconds of audio per packet that we send: 10, 20, 30, 40 or 60.
    pub packet_ms: u8,
}

/// Which way media flows, seen from the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Direction {
    /// We send to the peer.
    pub send: bool,
    /// We take what the peer sends.
    pub receive: bool,
}

impl Direction {
    /// Both ways.
    pub const BOTH: Self = Self {
        send: true,
        receive: true,
    };
}

/// What the shard is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaCommand {
    /// Bind a port for a leg and put the leg into a mix.
    Open {
        /// The leg.
        leg: LegId,
        /// The mix it is in.
        mix: MixId,
        /// The address to bind where this machine has it; otherwise every address of its family.
        local: IpAddr,
        /// How the audio travels, or `None` while the peer's offer or answer is still awaited.
        audio: Option<AudioSetup>,
        /// Whether nobody hears this leg.
        muted: bool,
        /// Whether this leg hears nobody.
        deaf: bool,
    },
    /// The peer's description has come, or changed.
    Modify {
        /// The leg.
        leg: LegId,
        /// What holds from now on.
        audio: AudioSetup,
    },
    /// Mute and deaf, as the conference decides.
    Gate {
        /// The leg.
        leg: LegId,
        /// Whether nobody hears this leg.
        muted: bool,
        /// Whether this leg hears nobody.
        deaf: bool,
    },
    /// Put an open leg into another mix.
    Move {
        /// The leg.
        leg: LegId,
        /// Where it is from now on.
        mix: MixId,
    },
    /// The leg is over.
    Close {
        /// The leg.
        leg: LegId,
    },
}

/// The negotiated audio of a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioSetup {
    /// Where the peer's description says it listens; media from elsewhere is latched onto (RFC 7362)
    /// as the media shard's own rules allow.
    pub remote: SocketAddr,
    /// Codec and payload types.
    pub format: AudioFormat,
    /// Which way media flows.
    pub direction: Direction,
}

/// What a shard reports.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaEvent {
    /// The leg's RTP port.
    Opened {
        /// The leg.
        leg: LegId,
        /// The RTP port; RTCP is the next one.
        port: u16,
    },
    /// No port could be bound.
    Failed {
        /// The leg.
        leg: LegId,
        /// Why, for the log.
        reason: String,
    },
    /// The leg is closed; what it moved.
    Closed {
        /// The leg.
        leg: LegId,
        /// Its totals.
        totals: LegTotals,
    },
    /// The peer has pressed a key (RFC 4733): one event per press.
    Digit {
        /// The leg.
        leg: LegId,
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digit: char,
    },
    /// The peer began or stopped to talk.
    Talking {
        /// The leg.
        leg: LegId,
        /// Whether it talks now.
        on: bool,
    },
}

/// What a leg moved in its life.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LegTotals {
    /// RTP packets taken from the peer.
    pub packets_in: u64,
    /// RTP packets sent to the peer.
    pub packets_out: u64,
    /// Packets that the sequence numbers show as lost.
    pub lost: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Interarrival jitter at the end (RFC 3550 section 6.4.1), in milliseconds.
    pub jitter_ms: f32,
}
