//! A shard: the media of one thread, as a value that is told what comes and what time it is.

mod command;
mod receive;
mod tick;
mod webrtc;

use std::collections::{BTreeMap, HashMap, VecDeque};

use cordboard_model::media::{LegQuality, MediaEvent};
use cordboard_model::{LegId, MixId, Time};
use slab::Slab;

use crate::counts::Counts;
use crate::leg::Leg;
use crate::mix::{Mix, Round};
use crate::output::{Outbox, Packet, PortRequest};
use crate::random::Random;
use crate::rtc::Rtc;

/// One thread's media: legs and the mixes they are in.
///
/// > Change it ([`command`](Self::command), [`bound`](Self::bound), [`packet`](Self::packet),
/// > [`timeout`](Self::timeout)), then drain it: packets first, then ports, then events. Then wait until
/// > [`next_timeout`](Self::next_timeout).
///
/// Nothing is allocated for a packet once the buffers have grown to their usual size.
#[derive(Debug)]
pub struct Shard {
    legs: Slab<Leg>,
    index: HashMap<LegId, usize>,
    /// Ordered, so that the same inputs give the same outputs.
    mixes: BTreeMap<MixId, Mix>,
    random: Random,
    next_tick: Option<Time>,
    outbox: Outbox,
    ports: VecDeque<PortRequest>,
    events: VecDeque<MediaEvent>,
    counts: Counts,
    round: Box<Round>,
    /// What those hear who hear single speakers beside it.
    apart: Box<Round>,
    /// Receive stamps of packets that the mixed frames since the last hand-over hold first.
    mixed: Vec<Time>,
    /// Keys of legs that go to another mix after this tick.
    moving: Vec<usize>,
    /// WebRTC peers, if they are served.
    rtc: Option<Box<Rtc>>,
}

impl Shard {
    /// A shard without legs. The same seed gives the same SSRCs and the same report times.
    pub fn new(seed: u64) -> Self {
        Self {
            legs: Slab::new(),
            index: HashMap::new(),
            mixes: BTreeMap::new(),
            random: Random::new(seed),
            next_tick: None,
            outbox: Outbox::default(),
            ports: VecDeque::new(),
            events: VecDeque::new(),
            counts: Counts::default(),
            round: Box::new(Round::new()),
            apart: Box::new(Round::new()),
            mixed: Vec::new(),
            moving: Vec::new(),
            rtc: None,
        }
    }

    /// When [`timeout`](Self::timeout) wants to be called; `None` while there is no open leg.
    pub const fn next_timeout(&self) -> Option<Time> {
        self.next_tick
    }

    /// Hands every waiting packet to `send`, oldest first.
    pub fn drain_packets(&mut self, send: impl FnMut(Packet<'_>)) {
        self.outbox.drain(send);
    }

    /// The packets drained since the last call have been handed over: closes their relay latency.
    pub fn handed_over(&mut self, now: Time) {
        for stamp in self.mixed.drain(..) {
            self.counts.mix_latency.record_duration(now.since(stamp));
        }
        if let Some(rtc) = &mut self.rtc {
            rtc.handed_over(&mut self.counts, now);
        }
    }

    /// What the shell is to do with sockets, oldest first.
    pub fn poll_port(&mut self) -> Option<PortRequest> {
        self.ports.pop_front()
    }

    /// What has happened, oldest first.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// All counts, with what is there now.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        counts.streams_in = self.legs.iter().filter(|(_, leg)| leg.receives()).count();
        counts.streams_out = self
            .legs
            .iter()
            .filter(|(_, leg)| leg.sends_to().is_some())
            .count();
        if let Some(rtc) = &self.rtc {
            rtc.count(&mut counts.peers);
        }
        counts.mixes = self.mixes.values().filter(|mix| !mix.members.is_empty()).count();
        counts
    }

    /// What a leg moved so far, and what its peer last reported by RTCP; `None` for a leg that is not open.
    pub fn leg(&self, leg: LegId) -> Option<LegQuality> {
        let leg = &self.legs[*self.index.get(&leg)?];
        let peer = self.rtc.as_ref().zip(leg.peer);
        Some(LegQuality {
            totals: leg.totals(),
            videos: peer.map(|(rtc, at)| rtc.videos(at)).unwrap_or_default(),
        })
    }
}
