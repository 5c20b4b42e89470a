//! A WebRTC peer: its transport, and which stream each of its SSRCs is.

use cordboard_model::media::peer::{AudioLine, HeaderExtensions, PeerSetup};
use cordboard_model::{LegId, MixId, Time};

use super::arrivals::Arrivals;
use super::burst::Bursts;
use super::dtls::Dtls;
use super::extension;
use super::ice::Ice;
use super::source::Layer;
use super::voice::VoiceSlot;

/// SSRCs of one peer that are known; those beyond are not listened to.
const MAX_SSRCS: usize = 32;
/// SSRCs of streams to one peer that are over and remembered. They are random: an older one does not come again.
const MAX_USED: usize = 512;

/// What an SSRC of a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The audio of its leg.
    Audio,
    /// The source with this key.
    Video(usize),
    /// Retransmissions of the stream `of` of this source.
    Again {
        /// The source's key.
        source: usize,
        /// The SSRC of the media; `None` if the source has only one.
        of: Option<u32>,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) leg: LegId,
    pub(crate) mix: MixId,
    /// The key of its leg.
    pub(crate) key: usize,
    pub(crate) ice: Ice,
    pub(crate) dtls: Option<Dtls>,
    pub(crate) fingerprints: Vec<[u8; 32]>,
    pub(crate) connected: bool,
    /// The tick in which it closed its association.
    pub(crate) closed: Option<u64>,
    /// It was reported as lost; nothing is sent any more.
    pub(crate) lost: bool,
    pub(crate) audio: Option<AudioLine>,
    routes: Vec<(u32, Route)>,
    /// Keys of the sources that it publishes.
    pub(crate) published: Vec<usize>,
    /// What it says, as it is forwarded; `None` before it said anything.
    pub(crate) spoken: Option<Layer>,
    /// The lines on which it hears single speakers.
    pub(crate) voices: Vec<VoiceSlot>,
    /// Keys of its subscriptions.
    pub(crate) subscriptions: Vec<usize>,
    /// SSRCs of subscriptions that are over, each with the highest index that it used: with the same keys none may
    /// be used again.
    used: Vec<(u32, u64)>,
    /// The id of the transport-wide number in what it sends.
    pub(crate) transport_cc: Option<u8>,
    pub(crate) arrivals: Arrivals,
    pub(crate) bursts: Bursts,
    /// The transport-wide number of the next packet to it.
    pub(crate) numbered: u16,
    /// DTLS datagrams of it that wait.
    pub(crate) waiting: u8,
    pub(crate) report_due: Time,
}

impl Peer {
    pub(crate) fn new(leg: LegId, mix: MixId, key: usize, now: Time) -> Self {
        Self {
            leg,
            mix,
            key,
            ice: Ice::new(),
            dtls: None,
            fingerprints: Vec::new(),
            connected: false,
            closed: None,
            lost: false,
            audio: None,
            routes: Vec::new(),
            published: Vec::new(),
            spoken: None,
            voices: Vec::new(),
            subscriptions: Vec::new(),
            used: Vec::new(),
            transport_cc: None,
            arrivals: Arrivals::default(),
            bursts: Bursts::default(),
            numbered: 0,
            waiting: 0,
            report_due: now,
        }
    }

    /// What an SSRC is, if it is known.
    pub(crate) fn route(&self, ssrc: u32) -> Option<Route> {
        self.routes
            .iter()
            .find(|(known, _)| *known == ssrc)
            .map(|(_, route)| *route)
    }

    /// From now on this SSRC is known; `false` if there are too many.
    pub(crate) fn learn(&mut self, ssrc: u32, route: Route) -> bool {
        let room = self.routes.len() < MAX_SSRCS;
        if room {
            self.routes.push((ssrc, route));
        }
        room
    }

    /// A stream to this peer is over.
    pub(crate) fn retire(&mut self, ssrc: u32, highest: u64) {
        self.used.retain(|(known, _)| *known != ssrc);
        if self.used.len() == MAX_USED {
            self.used.remove(0);
        }
        self.used.push((ssrc, highest));
    }

    /// The highest index that this SSRC used, if it was used.
    pub(crate) fn used(&self, ssrc: u32) -> Option<u64> {
        self.used
            .iter()
            .find(|(known, _)| *known == ssrc)
            .map(|(_, highest)| *highest)
    }

    /// How loud a packet of its audio says that it is (RFC 6464).
    pub(crate) fn level(&self, packet: &[u8]) -> Option<u8> {
        let id = self.audio.as_ref()?.extensions.audio_level;
        extension::find(packet, id)?.first().copied()
    }

    /// The SSRCs of all audio to it.
    pub(crate) fn audio_ssrcs(&self) -> Vec<u32> {
        let voices = self.voices.iter().map(|voice| voice.ssrc);
        voices.chain(self.audio.iter().map(|line| line.ssrc)).collect()
    }

    /// Forgets which SSRC is what: the description has come again.
    pub(crate) fn unlearn(&mut self) {
        self.routes.clear();
    }

    /// Whether a payload type is one of its audio line.
    pub(crate) fn is_audio(&self, payload_type: u8) -> bool {
        self.audio.as_ref().is_some_and(|line| {
            let format = &line.format;
            format.receive.iter().any(|(known, _)| *known == payload_type)
                || format.events.iter().any(|(known, _)| *known == payload_type)
                || format.comfort_noise == Some(payload_type)
        })
    }

    /// Every line's extensions, the audio's first.
    pub(crate) fn lines(setup: &PeerSetup) -> impl Iterator<Item = (&str, HeaderExtensions)> {
        let audio = setup
            .audio
            .iter()
            .map(|line| (line.mid.as_str(), line.extensions));
        audio.chain(
            setup
                .video
                .iter()
                .map(|line| (line.mid.as_str(), line.extensions)),
        )
    }
}
