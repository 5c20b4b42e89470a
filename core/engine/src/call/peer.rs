//! Calls with WebRTC peers: the transport that the shard makes for them, and the descriptions of both sides.

use cordboard_model::media::peer::{PeerCommand, PeerEvent, PeerLoss};
use cordboard_model::media::{Codec, Direction, MediaCommand};

use crate::arena::Key;
use crate::call::description::{is_described, read_sdp};
use crate::call::{Leg, Place};
use crate::engine::Engine;
use crate::io::{Flow, Transport};
use crate::sdp::rtc::{Bundle, Terms, is_webrtc};
use crate::sdp::{Capabilities, Origin, Session};
use crate::sip::message::{Message, Refusal};

/// Whether who is reached this way is a browser, as far as one can tell: what else speaks SIP over WebSocket
/// takes what browsers take.
pub(crate) const fn peer_on(transport: Transport) -> bool {
    matches!(transport, Transport::Ws | Transport::Wss)
}

/// Whether an INVITE is that of a WebRTC peer: by its offer, or where it brings none by the way it came.
pub(crate) fn is_peer_request(request: &Message, flow: Flow) -> bool {
    if !is_described(request) {
        return peer_on(flow.transport);
    }
    read_sdp(request).is_ok_and(|session| is_webrtc(&session))
}

impl Leg {
    /// The codec that is spoken.
    pub(crate) fn codec(&self) -> Option<Codec> {
        match &self.bundle {
            Some(bundle) => bundle.codec(),
            None => self.audio.as_ref().map(|audio| audio.format.codec),
        }
    }
}

impl Engine {
    pub(crate) fn on_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Opened { leg, local } => {
                let Some(key) = self.legs.get(&leg).copied() else {
                    return;
                };
                let bundle = self.calls.get_mut(key).and_then(|call| call.leg.bundle.as_mut());
                let Some(bundle) = bundle.filter(|bundle| !bundle.is_open()) else {
                    return;
                };
                bundle.open(local);
                self.leg_ready(key);
            }
            PeerEvent::Connected { .. } => {}
            PeerEvent::Lost { leg, reason } => {
                if let Some(key) = self.legs.get(&leg).copied() {
                    let (why, header) = lost(reason);
                    self.hang_up(key, why, Some(header));
                }
            }
        }
    }

    pub(crate) fn is_peer(&self, key: Key) -> bool {
        self.calls.get(key).is_some_and(|call| call.leg.bundle.is_some())
    }

    /// Why a WebRTC offer cannot be taken, before anything is set up for it. `video`: it may be taken for its
    /// video alone.
    pub(crate) fn unacceptable_peer(&self, session: &Session<'_>, video: bool) -> Result<(), Refusal> {
        let audio = self.capabilities(Direction::BOTH);
        let terms = Terms {
            audio: &audio,
            video,
            voices: false,
        };
        Bundle::check(session, terms)
    }

    /// What we give and take in audio on a peer's leg.
    pub(crate) fn peer_audio(&self, key: Key) -> Capabilities {
        self.capabilities(self.flows(key))
    }

    pub(crate) fn terms<'a>(&self, key: Key, audio: &'a Capabilities) -> Terms<'a> {
        Terms {
            audio,
            video: self.takes_video(key),
            voices: self.forwards_audio(key),
        }
    }

    /// Answers an offer of a peer; the answer holds at once.
    pub(crate) fn answer_peer(&mut self, key: Key, offer: &Session<'_>) -> Result<String, Refusal> {
        let audio = self.peer_audio(key);
        let terms = self.terms(key, &audio);
        let Self { calls, wire, .. } = self;
        let Some(call) = calls.get_mut(key) else {
            return Ok(String::new());
        };
        let origin: &mut Origin = &mut call.origin;
        let Some(bundle) = call.leg.bundle.as_deref_mut().filter(|bundle| bundle.is_open()) else {
            return Ok(String::new());
        };
        let showed = bundle.camera().map(str::to_owned);
        let text = bundle.answer(offer, terms, origin, &mut || wire.random())?;
        let shows = bundle.camera().map(str::to_owned);
        self.describe(key);
        self.videos_changed(key);
        self.camera_changed(key, showed != shows);
        Ok(text)
    }

    /// Our offer to a peer.
    pub(crate) fn offer_to_peer(&mut self, key: Key) -> String {
        let audio = self.peer_audio(key);
        let (terms, wanted) = (self.terms(key, &audio), self.videos_for(key));
        let Self { calls, wire, .. } = self;
        let Some(call) = calls.get_mut(key) else {
            return String::new();
        };
        call.offered = true;
        match call.leg.bundle.as_deref_mut().filter(|bundle| bundle.is_open()) {
            Some(bundle) => {
                let text = bundle.offer(&wanted, terms, &mut call.origin, &mut || wire.random());
                if bundle.is_full(&wanted) {
                    wire.counts.reject("no_video_line");
                }
                text
            }
            None => String::new(),
        }
    }

    /// The peer's answer holds from now on.
    pub(crate) fn settle_peer(&mut self, key: Key, next: Box<Bundle>) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let showed = call
            .leg
            .bundle
            .as_ref()
            .and_then(|bundle| bundle.camera().map(str::to_owned));
        let shows = next.camera().map(str::to_owned);
        call.leg.bundle = Some(next);
        self.describe(key);
        self.camera_changed(key, showed != shows);
    }

    /// Tells the shard what holds on a peer's lines, if it does not know.
    pub(crate) fn describe(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let (hidden, blind) = (call.is_hidden(), call.seat.waits);
        let Some(setup) = call
            .leg
            .bundle
            .as_ref()
            .and_then(|bundle| bundle.setup(hidden, blind))
        else {
            return;
        };
        let setup = Box::new(setup);
        if call.leg.described.as_ref() == Some(&setup) {
            return;
        }
        call.leg.described = Some(setup.clone());
        let (leg, shard) = (call.leg.id, call.leg.shard);
        self.media(shard, MediaCommand::Peer(PeerCommand::Describe { leg, setup }));
    }

    /// Whether this call hears single speakers on lines of their own.
    fn forwards_audio(&self, key: Key) -> bool {
        let place = self.calls.get(key).map(|call| call.place);
        let Some(Place::Conference(id)) = place else {
            return false;
        };
        self.conferences
            .get(&id)
            .is_some_and(|conference| conference.config.forward_audio)
    }

    /// Whether there is video for this call.
    fn takes_video(&self, key: Key) -> bool {
        let Some(call) = self.calls.get(key) else {
            return false;
        };
        match call.place {
            Place::Conference(id) => self
                .conferences
                .get(&id)
                .is_some_and(|conference| conference.config.video),
            Place::Bridge(bridge) => self
                .other_side(bridge, key)
                .and_then(|other| self.calls.get(other))
                .is_some_and(|other| match (&other.request, &other.leg.bundle) {
                    // It is not answered yet: what it offers counts.
                    (Some(invite), Some(_)) => read_sdp(invite).is_ok_and(|session| has_video(&session)),
                    (None, Some(bundle)) => bundle.has_video(),
                    (_, None) => false,
                }),
        }
    }
}

fn has_video(session: &Session<'_>) -> bool {
    session
        .media
        .iter()
        .any(|media| media.kind == "video" && (media.port != 0 || media.attribute("bundle-only").is_some()))
}

/// Under which reason a call ends whose peer is lost, and what its BYE says (RFC 3326).
const fn lost(loss: PeerLoss) -> (&'static str, &'static str) {
    match loss {
        PeerLoss::Consent => (
            "media_lost",
            "SIP;cause=408;text=\"No media connection any more\"",
        ),
        PeerLoss::Fingerprint => (
            "media_refused",
            "SIP;cause=488;text=\"The certificate is not the one that was described\"",
        ),
        PeerLoss::Handshake => (
            "media_refused",
            "SIP;cause=488;text=\"The DTLS handshake failed\"",
        ),
        PeerLoss::Closed => (
            "media_closed",
            "SIP;cause=200;text=\"The media connection was closed\"",
        ),
    }
}
