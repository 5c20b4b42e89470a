//! WebRTC peers of a shard: ICE-lite, DTLS-SRTP, and video that is forwarded as it comes.
//!
//! A peer's audio is that of a leg like any other; only its transport is here. What goes through, from outside
//! to inside: [`receive`] tells what a datagram is, [`ice`] and [`dtls`] prove who sent it, [`source`] places the
//! packets of a publisher, [`forward`] sends them to each [`subscription`], [`feedback`] is what comes back.

mod arrivals;
mod binding;
mod burst;
mod cache;
mod control;
mod count;
mod describe;
mod dtls;
mod extension;
mod feedback;
mod forward;
mod guard;
mod handshake;
mod ice;
mod key_frame;
mod missing;
mod peer;
mod quality;
mod receive;
mod rewrite;
mod source;
mod stage;
mod stamp;
mod stun;
mod subscription;
mod timer;
mod voice;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use cordboard_model::media::MediaEvent;
use cordboard_model::media::peer::{Candidate, LocalPeer, PeerEvent, PeerLoss, VideoSource};
use cordboard_model::{LegId, MixId, Time};
use slab::Slab;

pub use binding::{NoBinding, answer_binding};
pub use count::{PeerCounts, PeerOutcome, ResendOutcome};
pub use dtls::{Identity, NoIdentity};
pub use feedback::FeedbackKind;

use crate::counts::Counts;
use crate::leg::Leg;
use crate::output::Outbox;
use crate::random::Random;
use peer::Peer;
use source::Source;
use stage::{Speaker, Stage};
use subscription::Subscription;

/// How a shard serves WebRTC peers.
#[derive(Debug, Clone)]
pub struct WebRtc {
    /// Our certificate.
    pub identity: Identity,
    /// Where peers reach this shard, the best first.
    pub candidates: Vec<Candidate>,
}

/// Packets for one peer that are to leave together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// Where they go.
    pub destination: SocketAddr,
    /// One datagram after the other.
    pub bytes: &'a [u8],
    /// How long each of them is; the last one may be shorter.
    pub segment: usize,
}

/// What the rest of the shard lends.
pub(crate) struct House<'a> {
    pub(crate) legs: &'a mut Slab<Leg>,
    pub(crate) counts: &'a mut Counts,
    pub(crate) events: &'a mut VecDeque<MediaEvent>,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) random: &'a mut Random,
    pub(crate) next_tick: Option<Time>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Rtc {
    config: WebRtc,
    peers: Slab<Peer>,
    by_ufrag: HashMap<String, usize>,
    by_address: HashMap<SocketAddr, usize>,
    sources: Slab<Source>,
    subscriptions: Slab<Subscription>,
    /// Keys of sources, and of the subscriptions that want each.
    published: HashMap<VideoSource, usize>,
    wanted: HashMap<VideoSource, Vec<usize>>,
    /// Mixes in which somebody hears single speakers.
    stages: BTreeMap<MixId, Stage>,
    candidates: Vec<Speaker>,
    numbers: u64,
    /// Peers with bursts that wait.
    dirty: Vec<usize>,
    /// Stamps of forwarded packets that are not handed over yet.
    forwarded: Vec<Time>,
    /// The same of audio.
    spoken: Vec<Time>,
    /// DTLS datagrams that wait for their turn.
    handshakes: VecDeque<(usize, Vec<u8>)>,
    /// The packet that is being looked at, unprotected.
    packet: Vec<u8>,
    /// A packet that is sent again.
    copy: Vec<u8>,
    /// Reports of one peer.
    compound: Vec<u8>,
    wishes: Vec<feedback::Wish>,
    /// Numbers of packets to ask for.
    asked: Vec<u16>,
    /// Error answers to checks that may be sent before the next tick.
    refusals: u32,
    ticks: u64,
}

impl Rtc {
    pub(crate) fn new(config: WebRtc) -> Self {
        Self {
            config,
            peers: Slab::new(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            sources: Slab::new(),
            subscriptions: Slab::new(),
            published: HashMap::new(),
            wanted: HashMap::new(),
            stages: BTreeMap::new(),
            candidates: Vec::new(),
            numbers: 0,
            dirty: Vec::new(),
            forwarded: Vec::new(),
            spoken: Vec::new(),
            handshakes: VecDeque::new(),
            packet: Vec::new(),
            copy: Vec::new(),
            compound: Vec::new(),
            wishes: Vec::new(),
            asked: Vec::new(),
            refusals: timer::REFUSALS,
            ticks: 0,
        }
    }

    /// Makes credentials for a leg; returns the key of its peer.
    pub(crate) fn open(
        &mut self,
        leg: LegId,
        mix: MixId,
        key: usize,
        events: &mut VecDeque<MediaEvent>,
        now: Time,
    ) -> usize {
        let peer = Peer::new(leg, mix, key, now);
        let ice = peer.ice.local().clone();
        let at = self.peers.insert(peer);
        self.by_ufrag.insert(ice.ufrag.clone(), at);
        let local = LocalPeer {
            ice,
            fingerprint: self.config.identity.fingerprint(),
            candidates: self.config.candidates.clone(),
        };
        events.push_back(MediaEvent::Peer(PeerEvent::Opened { leg, local }));
        at
    }

    /// The leg is over: says goodbye and forgets it.
    pub(crate) fn close(&mut self, at: usize, house: &mut House<'_>, now: Time) {
        if let Some(dtls) = &mut self.peers[at].dtls {
            dtls.close(now);
        }
        self.send_handshake(at, house);
        for key in std::mem::take(&mut self.peers[at].subscriptions) {
            self.unsubscribe(key);
        }
        for key in std::mem::take(&mut self.peers[at].published) {
            self.unpublish(key);
        }
        let peer = self.peers.remove(at);
        self.leave_stage(at, peer.mix);
        for ufrag in peer.ice.fragments() {
            self.by_ufrag.remove(ufrag);
        }
        self.by_address.retain(|_, holder| *holder != at);
        self.handshakes.retain(|(waiting, _)| *waiting != at);
        self.dirty.retain(|dirty| *dirty != at);
    }

    /// Whether a peer has proven to be at this address.
    pub(crate) fn has_peer_at(&self, address: SocketAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// The peer cannot go on; said once.
    fn lose(&mut self, at: usize, reason: PeerLoss, house: &mut House<'_>) {
        let peer = &mut self.peers[at];
        if std::mem::replace(&mut peer.lost, true) {
            return;
        }
        house.counts.peers.outcome(reason.into());
        house.legs[peer.key].bound = false;
        let leg = peer.leg;
        house
            .events
            .push_back(MediaEvent::Peer(PeerEvent::Lost { leg, reason }));
    }

    /// Hands every burst to `send`.
    pub(crate) fn drain(&mut self, mut send: impl FnMut(Transmit<'_>)) {
        for at in self.dirty.drain(..) {
            let Some(peer) = self.peers.get_mut(at) else {
                continue;
            };
            let destination = peer.ice.selected();
            peer.bursts.drain(|bytes, segment| {
                if let Some(destination) = destination {
                    send(Transmit {
                        destination,
                        bytes,
                        segment,
                    });
                }
            });
        }
    }

    /// What was drained has been handed over.
    pub(crate) fn handed_over(&mut self, counts: &mut Counts, now: Time) {
        for stamp in self.forwarded.drain(..) {
            counts.peers.forward_latency.record_duration(now.since(stamp));
        }
        for stamp in self.spoken.drain(..) {
            counts.peers.voice_latency.record_duration(now.since(stamp));
        }
    }

    /// Fills in what is there now.
    pub(crate) fn count(&self, counts: &mut PeerCounts) {
        let live = self.peers.iter().filter(|(_, peer)| peer.connected && !peer.lost);
        counts.connected = live.count();
        counts.sources = self.sources.len();
        let fed = self.subscriptions.iter().filter(|(_, one)| one.source.is_some());
        counts.subscriptions = fed.count();
    }
}
