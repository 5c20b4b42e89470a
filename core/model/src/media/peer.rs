//! What the engine asks of a media shard for a WebRTC peer, and what the shard reports.
//!
//! A peer is a leg whose media all travels over one transport: ICE-lite (RFC 8445), DTLS-SRTP (RFC 5764),
//! BUNDLE (RFC 9143) and rtcp-mux (RFC 5761). It is opened with [`PeerCommand::Open`], told what both
//! descriptions say with [`PeerCommand::Describe`], and closed, moved and gated like every other leg.

use std::net::SocketAddr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{AudioFormat, Direction};
use crate::id::{LegId, MixId};

/// What the shard is to do with a WebRTC peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerCommand {
    /// Make credentials for a peer and put its audio into a mix. Answered by one [`PeerEvent::Opened`], or by
    /// [`MediaEvent::Failed`](super::MediaEvent::Failed).
    Open {
        /// The leg.
        leg: LegId,
        /// The mix it is in; what it publishes may be subscribed to by legs of the same mix.
        mix: MixId,
        /// Whether nobody hears this leg.
        muted: bool,
        /// Whether this leg hears nobody.
        deaf: bool,
    },
    /// What both descriptions say from now on, as a whole: lines that were there and are not named any more
    /// carry nothing.
    Describe {
        /// The leg.
        leg: LegId,
        /// What holds from now on.
        setup: Box<PeerSetup>,
    },
}

/// What offer and answer say about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSetup {
    /// The peer's ICE credentials. Others than before are an ICE restart (RFC 8445 section 9): what was proven
    /// with the former ones carries media until somebody proves himself with these.
    pub ice: IceCredentials,
    /// Ours: those of [`PeerEvent::Opened`], and others with each restart (RFC 8839 section 4.4.3).
    pub local: IceCredentials,
    /// Whether we begin the DTLS handshake (`a=setup:active` on our side). Fixed for the life of the peer.
    pub dtls_client: bool,
    /// SHA-256 fingerprints of the certificates that the peer may show (RFC 8122); never empty.
    pub fingerprints: Vec<[u8; 32]>,
    /// The audio line, if there is one.
    pub audio: Option<AudioLine>,
    /// The lines on which the peer hears single speakers. Where there are any, its audio line carries only those
    /// who cannot be forwarded: phones, and whoever speaks another codec.
    pub voices: Vec<VoiceLine>,
    /// The video lines that are not rejected, in the order of the description.
    pub video: Vec<VideoLine>,
}

/// User name fragment and password of one side of ICE (RFC 8445 section 5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`.
    pub ufrag: String,
    /// `a=ice-pwd`; it shows itself in no log.
    pub pwd: Zeroizing<String>,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "IceCredentials({}, ..)", self.ufrag)
    }
}

/// The audio line of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioLine {
    /// `a=mid`.
    pub mid: String,
    /// Codecs and payload types.
    pub format: AudioFormat,
    /// Which way audio flows.
    pub direction: Direction,
    /// The SSRC that our description names for what we send.
    pub ssrc: u32,
    /// The SSRCs that the peer's description names for what it sends; empty if it names none.
    pub remote_ssrcs: Vec<u32>,
    /// Header extensions of this line.
    pub extensions: HeaderExtensions,
}

/// A line on which a peer hears one of the loudest of the others, whoever that is at the time: Opus as it comes
/// from the speaker, in one stream whose numbers go on when the speaker changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceLine {
    /// `a=mid`.
    pub mid: String,
    /// The payload type of Opus on it.
    pub payload_type: u8,
    /// The SSRC that our description names.
    pub ssrc: u32,
    /// Header extensions of this line.
    pub extensions: HeaderExtensions,
}

/// A video line of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoLine {
    /// `a=mid`.
    pub mid: String,
    /// The codecs of this line, the most wanted first.
    pub formats: Vec<VideoFormat>,
    /// Header extensions of this line.
    pub extensions: HeaderExtensions,
    /// What travels on it.
    pub flow: VideoFlow,
}

/// What travels on a video line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoFlow {
    /// Nothing for now.
    Inactive,
    /// What the peer sends, for others to see.
    Publish {
        /// The SSRCs that the peer's description names, each with that of its retransmissions (RFC 4588) if it
        /// has one; empty if it names none: then `mid` (and `rid`) extensions or payload types tell.
        ssrcs: Vec<(u32, Option<u32>)>,
        /// Whether nobody sees it: packets are dropped at the door of the switch.
        muted: bool,
    },
    /// What another peer sends.
    Subscribe {
        /// Whose video.
        source: VideoSource,
        /// The SSRC that our description names.
        ssrc: u32,
        /// The SSRC of our retransmissions, where RFC 4588 was negotiated.
        rtx: Option<u32>,
    },
}

/// A video stream that a peer publishes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VideoSource {
    /// The publishing leg.
    pub leg: LegId,
    /// The `a=mid` of its line.
    pub mid: String,
}

/// A video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// The RTP payload format of the Alliance for Open Media.
    Av1,
}

impl VideoCodec {
    /// Every codec, the one that the most browsers decode first.
    pub const ALL: [Self; 4] = [Self::Vp8, Self::H264, Self::Vp9, Self::Av1];

    /// The name used in SDP; the clock rate is 90000 for each.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }
}

/// A video codec as negotiated on one line. A packet is forwarded to a subscriber whose line has a format of
/// the same codec and parameters, with that line's payload type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFormat {
    /// The codec.
    pub codec: VideoCodec,
    /// The text of its `a=fmtp`, without the payload type; empty if there is none.
    pub parameters: String,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of its retransmissions (RFC 4588), if negotiated.
    pub rtx: Option<u8>,
    /// What feedback was negotiated for it.
    pub feedback: Feedback,
}

/// RTCP feedback that was negotiated (RFC 4585, RFC 5104, transport-wide congestion control).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Feedback {
    /// `nack`: lost packets are asked for again.
    pub nack: bool,
    /// `nack pli`: a picture is asked for.
    pub pli: bool,
    /// `ccm fir`: a full picture is demanded.
    pub fir: bool,
    /// `transport-cc`: arrival times are told.
    pub transport_cc: bool,
}

/// The ids of header extensions (RFC 8285) of one line, in both directions; `None` where not negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderExtensions {
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    pub audio_level: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    pub abs_send_time: Option<u8>,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    pub transport_cc: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`.
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    pub rid: Option<u8>,
    /// `urn:3gpp:video-orientation`.
    pub orientation: Option<u8>,
}

/// What one video line has moved so far.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoTotals {
    /// `a=mid` of the line.
    pub mid: String,
    /// Whose video it is that the peer is sent; `None` where it is its own.
    pub source: Option<VideoSource>,
    /// Packets that came from the peer, or went to it for the first time.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Packets that are missing, as we count those from the peer, or as it reports those to it.
    pub lost: u64,
    /// Interarrival jitter in milliseconds, by whoever receives; 0 before anything is known.
    pub jitter_ms: f32,
    /// Round-trip time, if the peer has answered a report about this stream.
    pub round_trip: Option<Duration>,
    /// Packets that the receiver asked for again.
    pub nacks: u64,
    /// Pictures that the receiver asked for.
    pub plis: u64,
    /// Packets that came again, or were sent again.
    pub resends: u64,
    /// Of the peer's own video: nobody is sent it. Of another's: it waits for a key frame, and shows nothing new.
    pub stopped: bool,
}

/// What a shard reports about a WebRTC peer.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerEvent {
    /// Credentials are made: what our description is to say.
    Opened {
        /// The leg.
        leg: LegId,
        /// What our description is to say.
        local: LocalPeer,
    },
    /// The handshake is done and media may flow.
    Connected {
        /// The leg.
        leg: LegId,
    },
    /// The peer cannot be reached any more (RFC 7675), shows a certificate that its description does not
    /// name, or does not finish its handshake: the call is to end.
    Lost {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: PeerLoss,
    },
}

/// Why a peer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerLoss {
    /// No valid connectivity check for longer than consent lasts.
    Consent,
    /// The certificate is not the one of the fingerprint.
    Fingerprint,
    /// The handshake failed or did not end in time.
    Handshake,
    /// The peer closed the transport (`close_notify`).
    Closed,
}

/// Our side of a peer's transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPeer {
    /// Our ICE credentials.
    pub ice: IceCredentials,
    /// SHA-256 of our certificate.
    pub fingerprint: [u8; 32],
    /// Where the peer may reach us, the best first.
    pub candidates: Vec<Candidate>,
}

/// A host candidate of ours (RFC 8445 section 5.1.1; RFC 6544 for TCP, passive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The address.
    pub address: SocketAddr,
    /// Whether it is TCP, passive.
    pub tcp: bool,
}
