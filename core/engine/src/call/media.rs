//! The media of a call: a leg on a shard, and the session descriptions that say how it is reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cordboard_model::media::peer::PeerCommand;
use cordboard_model::media::{AudioSetup, Direction, MediaCommand, MediaEvent};
use cordboard_model::{LegId, MixId, ShardId};

use crate::arena::Key;
use crate::call::description::{BAD_SDP, is_described, read_sdp};
use crate::call::{Leg, Place, Stage};
use crate::engine::Engine;
use crate::io::{Flow, address_of_family};
use crate::sdp::rtc::{Bundle, is_webrtc};
use crate::sdp::{Capabilities, Origin, Session, accept_answer, answer, offer};
use crate::sip::message::{Message, Refusal};

/// What an answer to an offer of ours has settled.
#[derive(Debug, Clone)]
pub(crate) enum Settled {
    Audio(Box<AudioSetup>),
    Peer(Box<Bundle>),
}

impl Engine {
    /// The shard with the fewest legs.
    pub(crate) fn quiet_shard(&self) -> ShardId {
        let place = self
            .shard_load
            .iter()
            .enumerate()
            .min_by_key(|(_, load)| **load)
            .map_or(0, |(place, _)| place);
        ShardId(u16::try_from(place).unwrap_or_default())
    }

    pub(crate) fn new_leg(&mut self, mix: MixId, shard: ShardId, muted: bool, deaf: bool) -> Leg {
        let id = LegId(self.number());
        Leg {
            id,
            mix,
            shard,
            port: None,
            offered_from: None,
            audio: None,
            bundle: None,
            described: None,
            muted,
            deaf,
            hidden: false,
            flows: Direction::BOTH,
            will: Direction::BOTH,
        }
    }

    /// Asks the shard for a port; the call goes on when it has answered.
    pub(crate) fn open_leg(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.stage = Stage::Opening;
        call.leg.offered_from = call.request.as_ref().and_then(media_address);
        let local = self.rtp_address(key).ip();
        let Some(call) = self.calls.get(key) else {
            return;
        };
        let leg = &call.leg;
        let (id, shard) = (leg.id, leg.shard);
        let command = match leg.bundle {
            Some(_) => MediaCommand::Peer(PeerCommand::Open {
                leg: id,
                mix: leg.mix,
                muted: leg.muted,
                deaf: leg.deaf,
            }),
            None => MediaCommand::Open {
                leg: id,
                mix: leg.mix,
                local,
                audio: None,
                muted: leg.muted,
                deaf: leg.deaf,
                patience: self.config.rtp_timeout,
            },
        };
        self.legs.insert(id, key);
        self.shard_load[usize::from(shard.0)] += 1;
        self.media(shard, command);
    }

    pub(crate) fn close_leg(&mut self, leg: &Leg) {
        if self.legs.remove(&leg.id).is_some() {
            let load = &mut self.shard_load[usize::from(leg.shard.0)];
            *load = load.saturating_sub(1);
            self.media(leg.shard, MediaCommand::Close { leg: leg.id });
        }
    }

    pub(crate) fn on_media(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::Opened { leg, port } => self.leg_opened(leg, port),
            MediaEvent::Failed { leg, .. } => {
                self.record_totals(leg, None);
                if let Some(key) = self.legs.get(&leg).copied() {
                    self.wire.counts.reject("no_media_port");
                    self.refuse_call(key, "no_media_port", 503, "No Media Port", None);
                }
            }
            MediaEvent::Closed { leg, totals } => self.record_totals(leg, Some(totals)),
            MediaEvent::Peer(event) => self.on_peer(event),
            MediaEvent::Silent { leg } => self.peer_silent(leg),
            MediaEvent::Digit { leg, digit } => self.key_heard(leg, digit),
            MediaEvent::Talking { leg, on } => self.talking(leg, on),
        }
    }

    fn leg_opened(&mut self, leg: LegId, port: u16) {
        let Some(key) = self.legs.get(&leg).copied() else {
            return;
        };
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.leg.port = Some(port);
        self.leg_ready(key);
    }

    /// A phone that has sent media sends none any more: it is gone, or its network is.
    fn peer_silent(&mut self, leg: LegId) {
        let Some(key) = self.legs.get(&leg).copied() else {
            return;
        };
        if self.calls.get(key).is_some_and(|call| call.stage == Stage::Up) {
            self.hang_up(key, "no_media", Some(SILENT));
        }
    }

    /// What our descriptions need is there.
    pub(crate) fn leg_ready(&mut self, key: Key) {
        match self.calls.get(key).map(|call| call.place) {
            Some(Place::Conference(_)) => self.answer(key),
            Some(Place::Bridge(bridge)) => self.bridge_leg_opened(bridge, key),
            None => {}
        }
    }

    /// Sets how the leg's audio travels.
    pub(crate) fn set_audio(&mut self, key: Key, mut audio: AudioSetup) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        audio.signaller = Some(call.dialog.flow.peer.ip().to_canonical());
        if call.leg.audio.as_ref() == Some(&audio) {
            return;
        }
        call.leg.audio = Some(audio.clone());
        call.origin.settle(audio.srtp.as_ref());
        let (leg, shard) = (call.leg.id, call.leg.shard);
        self.media(shard, MediaCommand::Modify { leg, audio });
    }

    /// The call is up: only now may the peer send its first packet, however long ago its description came with early
    /// media. The media shard, which looks for the peer only for a while, hears it again where it is as `before`.
    pub(crate) fn audio_begins(&mut self, key: Key, before: Option<AudioSetup>) {
        let Some((call, audio)) = self.calls.get(key).zip(before) else {
            return;
        };
        if call.leg.audio.as_ref() == Some(&audio) {
            let (leg, shard) = (call.leg.id, call.leg.shard);
            self.media(shard, MediaCommand::Modify { leg, audio });
        }
    }

    /// Why an offer cannot be taken, before anything is set up for it; `None` also where there is none. `video`:
    /// that of a browser may be taken for its video alone.
    pub(crate) fn unacceptable_offer(&self, request: &Message, flow: Flow, video: bool) -> Option<Refusal> {
        if !is_described(request) {
            return None;
        }
        let anywhere = SocketAddr::new(flow.peer.ip(), 9);
        let answered = read_sdp(request).and_then(|session| {
            if is_webrtc(&session) {
                return self.unacceptable_peer(&session, video);
            }
            answer(
                &session,
                &self.capabilities(Direction::BOTH),
                anywhere,
                &mut Origin::new(0, [0; 32]),
            )
            .map(|_| ())
        });
        answered.err()
    }

    /// Answers an offer of the peer: the text of ours, the audio set.
    pub(crate) fn answer_offer(&mut self, key: Key, message: &Message) -> Result<String, Refusal> {
        let session = read_sdp(message)?;
        if self.is_peer(key) {
            return self.answer_peer(key, &session);
        }
        let (local, ours) = (self.rtp_address(key), self.capabilities(self.flows(key)));
        let Some(call) = self.calls.get_mut(key) else {
            return Ok(String::new());
        };
        let negotiated = answer(&session, &ours, local, &mut call.origin)?;
        // Audio that is turned off keeps its format, so that it can be turned on again.
        let silenced = call.leg.audio.clone().map(|audio| AudioSetup {
            direction: Direction::NONE,
            ..audio
        });
        if let Some(audio) = negotiated.audio.or(silenced) {
            self.set_audio(key, audio);
        }
        Ok(negotiated.answer_text)
    }

    /// Our offer.
    pub(crate) fn make_offer(&mut self, key: Key) -> String {
        if self.is_peer(key) {
            return self.offer_to_peer(key);
        }
        let (local, mut ours) = (self.rtp_address(key), self.capabilities(self.flows(key)));
        let Some(call) = self.calls.get_mut(key) else {
            return String::new();
        };
        ours.secure = call.dialog.flow.transport.encrypted();
        call.offered = true;
        offer(&ours, local, &mut call.origin)
    }

    /// Takes the peer's answer to our offer.
    pub(crate) fn take_answer(&mut self, key: Key, message: &Message) -> Result<(), Refusal> {
        let Some(settled) = self.read_answer(key, message)? else {
            return Ok(());
        };
        self.settle_media(key, settled);
        self.offer_concluded(key);
        Ok(())
    }

    /// Our offer has its answer, or will get none.
    pub(crate) fn offer_concluded(&mut self, key: Key) {
        if let Some(call) = self.calls.get_mut(key) {
            call.offered = false;
            if let Some(bundle) = &mut call.leg.bundle {
                bundle.conclude();
            }
        }
    }

    /// What an answer has settled holds from now on.
    pub(crate) fn settle_media(&mut self, key: Key, settled: Settled) {
        match settled {
            Settled::Audio(audio) => self.set_audio(key, *audio),
            Settled::Peer(bundle) => self.settle_peer(key, bundle),
        }
    }

    /// What an answer to our last offer says.
    pub(crate) fn read_answer(&self, key: Key, message: &Message) -> Result<Option<Settled>, Refusal> {
        let session = read_sdp(message)?;
        let Some(call) = self.calls.get(key) else {
            return Ok(None);
        };
        if let Some(bundle) = &call.leg.bundle {
            let next = bundle.answered(&session, self.terms(key, &self.peer_audio(key)))?;
            return Ok(Some(Settled::Peer(Box::new(next))));
        }
        let sent = Session::parse(call.origin.last()).map_err(|_| BAD_SDP)?;
        accept_answer(&sent, &session, &self.capabilities(call.leg.flows))
            .map(|audio| Some(Settled::Audio(Box::new(audio))))
    }

    /// What we can do on a leg whose media is to flow this way.
    pub(crate) fn capabilities(&self, direction: Direction) -> Capabilities {
        Capabilities {
            codecs: self.config.codecs.clone(),
            direction,
            mux: true,
            ..Capabilities::default()
        }
    }

    /// Which way the media of a call is to flow as far as we are asked.
    pub(crate) fn flows(&self, key: Key) -> Direction {
        self.calls.get(key).map_or(Direction::BOTH, |call| call.leg.flows)
    }

    /// What a new call's descriptions have in common.
    pub(crate) fn new_origin(&mut self) -> Origin {
        Origin::new(self.wire.random() >> 2, self.wire.random_bytes())
    }

    /// Where the media of this call is reached: at an address of the family that the peer's first offer wants; where
    /// there is no such address or offer, of the family that its signalling has.
    fn rtp_address(&self, key: Key) -> SocketAddr {
        let ours = &self.config.public_ip;
        let call = self.calls.get(key);
        let peer = call.map_or(Ipv4Addr::LOCALHOST.into(), |call| call.dialog.flow.peer.ip());
        let wanted = call.and_then(|call| call.leg.offered_from);
        let like = wanted.filter(|wanted| ours.iter().any(|ip| ip.is_ipv4() == wanted.is_ipv4()));
        let ip = address_of_family(ours, like.unwrap_or(peer)).unwrap_or(peer);
        SocketAddr::new(ip, call.and_then(|call| call.leg.port).unwrap_or(9))
    }
}

/// Where the audio of an offer is to be sent.
fn media_address(offer: &Message) -> Option<IpAddr> {
    let session = read_sdp(offer).ok()?;
    let mut usable = session
        .media
        .iter()
        .filter(|media| media.kind == "audio" && media.port != 0);
    usable
        .find_map(|media| session.address(media))
        .filter(|address| !address.is_unspecified())
}

/// Which way the writer of a description wants its audio to flow, seen from itself; `None` where there
/// is no description or no audio.
pub(crate) fn direction_said(message: &Message) -> Option<Direction> {
    let session = read_sdp(message).ok()?;
    let audio = session
        .media
        .iter()
        .find(|media| media.kind == "audio" && media.port != 0)?;
    let said = session.direction(audio);
    // The address 0.0.0.0 is how RFC 2543 held a call; a WebRTC peer writes it for "not known yet".
    let held = !is_webrtc(&session)
        && session
            .address(audio)
            .is_some_and(|address| address.is_unspecified());
    Some(Direction {
        receive: said.receive && !held,
        ..said
    })
}

/// The Reason of the BYE to a phone whose media has stopped.
const SILENT: &str = "SIP;cause=408;text=\"No media\"";
