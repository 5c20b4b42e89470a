//! What the engine asks of a media shard, and what the shard reports.
//!
//! A leg is opened, changed and closed by commands; each [`MediaCommand::Open`] is answered by exactly
//! one [`MediaEvent::Opened`] or [`MediaEvent::Failed`], and each leg that was opened ends with exactly
//! one [`MediaEvent::Closed`].

pub mod peer;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::id::{LegId, MixId};

use self::peer::{PeerCommand, PeerEvent, VideoTotals};

/// An audio codec that a leg may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus, mono at 48 kHz (RFC 7587; a dynamic payload type).
    Opus,
    /// G.722 at 64 kbit/s, 16 kHz (RFC 3551 payload type 9).
    G722,
    /// G.711 mu-law, 8 kHz (RFC 3551 payload type 0).
    Pcmu,
    /// G.711 A-law, 8 kHz (RFC 3551 payload type 8).
    Pcma,
}

impl Codec {
    /// Every codec, the best first.
    pub const ALL: [Self; 4] = [Self::Opus, Self::G722, Self::Pcmu, Self::Pcma];

    /// The name used in SDP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::G722 => "G722",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// Units of its RTP timestamps per second. G.722 counts 8000 although it samples at 16 kHz (RFC 3551
    /// section 4.5.2).
    pub const fn clock(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::G722 | Self::Pcmu | Self::Pcma => 8000,
        }
    }

    /// The payload type that RFC 3551 gives it, if it gives one.
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Opus => None,
            Self::G722 => Some(9),
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
        }
    }
}

/// How Opus is sent: one of few ways, so that many who hear the same share an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OpusLimit {
    /// Bit rate and bandwidth.
    pub step: OpusStep,
    /// Every packet has the same size, in silence too.
    pub constant: bool,
}

/// A bit rate and an audio bandwidth of Opus; each is less than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum OpusStep {
    /// 32 kbit/s, all that can be heard.
    #[default]
    Full,
    /// 20 kbit/s, up to 8 kHz.
    Wide,
    /// 12 kbit/s, up to 8 kHz.
    WideLow,
    /// 12 kbit/s, up to 4 kHz.
    Narrow,
    /// 8 kbit/s, up to 4 kHz.
    NarrowLow,
    /// 6 kbit/s, up to 4 kHz: the least that there is (RFC 7587 section 6.1).
    Least,
}

impl OpusStep {
    /// Every step, the best first.
    pub const ALL: [Self; 6] = [
        Self::Full,
        Self::Wide,
        Self::WideLow,
        Self::Narrow,
        Self::NarrowLow,
        Self::Least,
    ];

    /// The best step for a receiver that takes at most so many bits per second and plays at most so many samples
    /// per second (`maxaveragebitrate` and `maxplaybackrate` of RFC 7587 section 6.1).
    pub fn within(bits: u32, samples: u32) -> Self {
        let by_bits = match bits {
            32_000.. => Self::Full,
            20_000.. => Self::Wide,
            12_000.. => Self::WideLow,
            8000.. => Self::NarrowLow,
            _ => Self::Least,
        };
        let by_samples = match samples {
            48_000.. => Self::Full,
            16_000.. => Self::Wide,
            _ => Self::Narrow,
        };
        by_bits.max(by_samples)
    }

    /// Bits per second.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Full => 32_000,
            Self::Wide => 20_000,
            Self::WideLow | Self::Narrow => 12_000,
            Self::NarrowLow => 8000,
            Self::Least => 6000,
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
    /// The payload types of RFC 4733 events, each with its clock rate in Hz; empty if they were not
    /// negotiated. What we send bears the first one whose clock is that of the codec, else the first.
    pub events: Vec<(u8, u32)>,
    /// The payload type of comfort noise (RFC 3389), if it was negotiated.
    pub comfort_noise: Option<u8>,
    /// What we send at most where the codec is Opus.
    pub opus: OpusLimit,
    /// Milliseconds of audio per packet that we send: 10, 20, 30, 40 or 60; Opus sends multiples of 20.
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
    /// Neither way.
    pub const NONE: Self = Self {
        send: false,
        receive: false,
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
        /// For how long a peer from which something came may be silent, RTP and RTCP, while it is to send:
        /// then [`MediaEvent::Silent`] tells of it. Zero: for ever.
        patience: Duration,
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
    /// Press keys towards the peer: as RFC 4733 events where they were negotiated, else as tones. They follow
    /// those that still wait.
    Digits {
        /// The leg.
        leg: LegId,
        /// `0` to `9`, `*`, `#`, `A` to `D`; other characters are left out, and so is what is beyond 64 keys
        /// that wait.
        text: String,
    },
    /// What concerns WebRTC peers alone.
    Peer(PeerCommand),
    /// The leg is over.
    Close {
        /// The leg.
        leg: LegId,
    },
}

/// Where the RTCP of a leg goes, and where that of its peer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    /// The port after that of RTP, on both sides (RFC 3550 section 11).
    #[default]
    NextPort,
    /// What the peer names (RFC 3605); ours is the port after that of RTP.
    Named(SocketAddr),
    /// The port of RTP, on both sides (RFC 5761).
    Muxed,
}

/// The negotiated audio of a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioSetup {
    /// Where the peer's description says it listens; media from elsewhere is latched onto (RFC 7362)
    /// as the media shard's own rules allow. They look for the peer from when it was told last: it is told what has
    /// changed, and again when the call is up.
    pub remote: SocketAddr,
    /// The host that the peer's signalling comes from, if that is known: media from there is likely the peer's.
    pub signaller: Option<IpAddr>,
    /// Where RTCP goes.
    pub control: Control,
    /// Codec and payload types.
    pub format: AudioFormat,
    /// Which way media flows.
    pub direction: Direction,
    /// How packets are protected, if they are.
    pub srtp: Option<Srtp>,
}

/// How SRTP is done (RFC 3711, RFC 7714).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpSuite {
    /// AES in counter mode, HMAC-SHA1 cut to 80 bits.
    AesCm128HmacSha1_80,
    /// The same, cut to 32 bits; that of RTCP still has 80 (RFC 4568 section 6.2.2).
    AesCm128HmacSha1_32,
    /// AES in Galois/counter mode.
    AeadAes128Gcm,
}

impl SrtpSuite {
    /// Every suite, the most wanted first.
    pub const ALL: [Self; 3] = [
        Self::AeadAes128Gcm,
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
    ];

    /// The name used in `a=crypto` lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
        }
    }

    /// Bytes of master key and salt together.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 30,
            Self::AeadAes128Gcm => 28,
        }
    }
}

/// A master key of 16 bytes and its salt. It shows itself to nobody and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKey(Zeroizing<Vec<u8>>);

impl SrtpKey {
    /// Key and salt, one after the other; `None` unless they are as long as the suite wants.
    pub fn new(suite: SrtpSuite, bytes: Vec<u8>) -> Option<Self> {
        let bytes = Zeroizing::new(bytes);
        (bytes.len() == suite.key_len()).then_some(Self(bytes))
    }

    /// The master key.
    pub fn key(&self) -> &[u8] {
        &self.0[..16]
    }

    /// The master salt: 14 bytes, or 12 for AEAD.
    pub fn salt(&self) -> &[u8] {
        &self.0[16..]
    }
}

impl std::fmt::Debug for SrtpKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SrtpKey(..)")
    }
}

/// The name of a master key that stands in each packet (MKI, RFC 3711 section 3.1): up to four bytes; mostly none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mki {
    bytes: [u8; 4],
    len: u8,
}

impl Mki {
    /// A number in so many bytes, as `a=crypto` writes it; `None` unless there are 1 to 4 and the number fits.
    pub fn new(number: u32, len: u8) -> Option<Self> {
        let fits = matches!(len, 1..=4) && u64::from(number) >> (8 * len) == 0;
        let mut bytes = number.to_be_bytes();
        bytes.rotate_left(usize::from(4u8.checked_sub(len)?));
        fits.then_some(Self { bytes, len })
    }

    /// What stands in the packet; empty where there is none.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The number.
    pub fn number(&self) -> u32 {
        let bytes = self.bytes().iter();
        bytes.fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}

/// The keys of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srtp {
    /// Suite and key of what we send.
    pub send: (SrtpSuite, SrtpKey),
    /// The name of that key in each packet.
    pub send_mki: Mki,
    /// Suite and key of what the peer sends.
    pub receive: (SrtpSuite, SrtpKey),
    /// The name of that key in each packet.
    pub receive_mki: Mki,
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
    /// Nothing has come from the peer for the leg's patience; told again only after something came.
    Silent {
        /// The leg.
        leg: LegId,
    },
    /// What concerns WebRTC peers alone.
    Peer(PeerEvent),
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
    /// What the peer reported last about what it gets from us; `None` if it never did.
    pub peer: Option<PeerReport>,
}

/// What a leg moved so far, and each of its videos.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LegQuality {
    /// Its audio.
    pub totals: LegTotals,
    /// The videos that it publishes, then those that it is sent, each in the order of its lines.
    pub videos: Vec<VideoTotals>,
}

/// What the peer reports by RTCP about the stream that it gets from us.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PeerReport {
    /// Packets lost since the beginning, as the peer counts.
    pub lost: u32,
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: f32,
    /// Round-trip time, if the peer has answered one of our reports.
    pub round_trip: Option<Duration>,
}
