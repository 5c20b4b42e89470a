//! What both descriptions say about a peer becomes routes, sources and subscriptions.

use std::net::SocketAddr;

use cordboard_model::media::peer::{AudioLine, PeerSetup, VideoFlow, VideoLine, VideoSource};
use cordboard_model::media::{AudioSetup, Codec, Control, Direction};
use cordboard_model::{MixId, Time};

use super::dtls::Dtls;
use super::peer::{Peer, Route};
use super::rewrite::{Pace, Rewrite};
use super::source::{Layer, Pictures, Source};
use super::subscription::Subscription;
use super::{House, Rtc};
use crate::leg::Leg;

/// Video lines of one peer that are served.
const MAX_LINES: usize = 64;
/// Encodings that one line may name.
const MAX_LAYERS: usize = 4;
/// Where packets go before the peer has proven where it is: nowhere.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

impl Rtc {
    /// Both descriptions say this from now on.
    pub(crate) fn describe(&mut self, at: usize, setup: PeerSetup, house: &mut House<'_>, now: Time) {
        let peer = &mut self.peers[at];
        if peer.ice.belies(&setup.ice.ufrag) {
            let stale: Vec<_> = peer.ice.addresses().collect();
            peer.ice.forget();
            for address in stale {
                self.leave(at, address);
            }
        }
        let peer = &mut self.peers[at];
        if let Some(retired) = peer.ice.describe(&setup.ice.ufrag, &setup.local, now) {
            self.by_ufrag.remove(&retired);
        }
        self.by_ufrag.entry(setup.local.ufrag.clone()).or_insert(at);
        let peer = &mut self.peers[at];
        peer.fingerprints.clone_from(&setup.fingerprints);
        let identity = &self.config.identity;
        peer.dtls
            .get_or_insert_with(|| Dtls::new(identity, setup.dtls_client));
        peer.unlearn();
        peer.transport_cc = Peer::lines(&setup).find_map(|(_, extensions)| extensions.transport_cc);
        let leg = &mut house.legs[peer.key];
        describe_audio(leg, setup.audio.as_ref(), peer.ice.selected(), now);
        for ssrc in setup.audio.iter().flat_map(|line| &line.remote_ssrcs) {
            peer.learn(*ssrc, Route::Audio);
        }
        peer.audio = setup.audio;
        let video = &setup.video[..setup.video.len().min(MAX_LINES)];
        self.publish(at, video);
        self.hear(at, &setup.voices, house);
        self.subscribe(at, video, house, now);
        self.reach(at, house, now);
        self.request_pictures(house, now);
    }

    /// The leg has changed its mix: it sees and is seen by others from now on.
    pub(crate) fn moved(&mut self, at: usize, mix: MixId) {
        self.leave_stage(at, self.peers[at].mix);
        let peer = &mut self.peers[at];
        peer.mix = mix;
        let (published, subscriptions) = (peer.published.clone(), peer.subscriptions.clone());
        published.into_iter().for_each(|key| self.link_source(key));
        subscriptions.into_iter().for_each(|key| self.link(key));
    }

    fn publish(&mut self, at: usize, video: &[VideoLine]) {
        let leg = self.peers[at].leg;
        let before = std::mem::take(&mut self.peers[at].published);
        for line in video {
            let VideoFlow::Publish { ssrcs, muted } = &line.flow else {
                continue;
            };
            let known = before
                .iter()
                .copied()
                .find(|key| self.sources[*key].id.mid == line.mid);
            let key = known.unwrap_or_else(|| {
                let id = VideoSource {
                    leg,
                    mid: line.mid.clone(),
                };
                let key = self.sources.insert(new_source(id.clone(), at));
                self.published.insert(id, key);
                key
            });
            let source = &mut self.sources[key];
            source.formats.clone_from(&line.formats);
            source.extensions = line.extensions;
            let unmuted = source.muted && !muted;
            source.muted = *muted;
            describe_layers(source, ssrcs, &mut self.numbers);
            if unmuted {
                source.pictures.want();
                for one in &source.subscribers {
                    self.subscriptions[*one].wait();
                }
            }
            self.link_source(key);
            let peer = &mut self.peers[at];
            peer.published.push(key);
            for layer in &self.sources[key].layers {
                peer.learn(layer.ssrc, Route::Video(key));
                if let Some(rtx) = layer.rtx {
                    peer.learn(
                        rtx,
                        Route::Again {
                            source: key,
                            of: Some(layer.ssrc),
                        },
                    );
                }
            }
        }
        for key in before {
            if !self.peers[at].published.contains(&key) {
                self.unpublish(key);
            }
        }
    }

    fn subscribe(&mut self, at: usize, video: &[VideoLine], house: &mut House<'_>, now: Time) {
        let lines: Vec<_> = video
            .iter()
            .filter_map(|line| match &line.flow {
                VideoFlow::Subscribe { source, ssrc, rtx } => Some((line, source, *ssrc, *rtx)),
                _ => None,
            })
            .collect();
        // What is over ends first, so that what begins with its SSRC goes on after it.
        let before = std::mem::take(&mut self.peers[at].subscriptions);
        let named = |known: &Subscription| {
            let mut lines = lines.iter();
            lines
                .any(|(line, _, ssrc, rtx)| known.mid == line.mid && known.ssrc == *ssrc && known.rtx == *rtx)
        };
        let (kept, over): (Vec<_>, Vec<_>) = before
            .into_iter()
            .partition(|key| named(&self.subscriptions[*key]));
        over.into_iter().for_each(|key| self.unsubscribe(key));
        let mut taken = self.peers[at].audio_ssrcs();
        let mut served = Vec::new();
        for (line, source, ssrc, rtx) in lines {
            // Two streams with one SSRC would use the same numbers under one key.
            let mut ours = std::iter::once(ssrc).chain(rtx);
            if ours.any(|ssrc| taken.contains(&ssrc)) || rtx == Some(ssrc) {
                continue;
            }
            taken.extend(std::iter::once(ssrc).chain(rtx));
            let known = kept
                .iter()
                .copied()
                .find(|key| self.subscriptions[*key].ssrc == ssrc);
            let key = known
                .unwrap_or_else(|| self.new_subscription(at, &line.mid, source, (ssrc, rtx), house, now));
            self.describe_subscription(key, line, source);
            served.push(key);
        }
        for key in kept.into_iter().filter(|key| !served.contains(key)) {
            self.unsubscribe(key);
        }
        self.peers[at].subscriptions = served;
    }

    fn describe_subscription(&mut self, key: usize, line: &VideoLine, source: &VideoSource) {
        if self.subscriptions[key].wanted != *source {
            self.unlink(key);
            self.unwant(key);
            self.subscriptions[key].wanted = source.clone();
            self.wanted.entry(source.clone()).or_default().push(key);
        }
        let one = &mut self.subscriptions[key];
        one.formats.clone_from(&line.formats);
        if one.extensions != line.extensions {
            one.extensions = line.extensions;
            one.rewrite.forget();
            one.wait();
        }
        let changing = line.extensions.abs_send_time.is_some() || line.extensions.transport_cc.is_some();
        let has_rtx = one.rtx.is_some() && one.formats.iter().all(|format| format.rtx.is_some());
        one.stamps.begin(changing && !has_rtx);
        self.link(key);
    }

    fn new_subscription(
        &mut self,
        at: usize,
        mid: &str,
        source: &VideoSource,
        (ssrc, rtx): (u32, Option<u32>),
        house: &mut House<'_>,
        now: Time,
    ) -> usize {
        let (random, peer) = (house.random.next(), &self.peers[at]);
        let rewrite = peer.used(ssrc).map_or_else(
            || Rewrite::new(random, Pace::VIDEO),
            |highest| Rewrite::after(highest, Pace::VIDEO),
        );
        let mut new = Subscription::new(at, mid.to_owned(), source.clone(), ssrc, rewrite, now);
        new.rtx = rtx;
        let rtx_used = rtx.and_then(|rtx| peer.used(rtx));
        new.rtx_next = rtx_used.unwrap_or(random >> 16 & 0x7fff);
        let key = self.subscriptions.insert(new);
        self.wanted.entry(source.clone()).or_default().push(key);
        key
    }

    pub(super) fn unpublish(&mut self, key: usize) {
        for one in std::mem::take(&mut self.sources[key].subscribers) {
            let one = &mut self.subscriptions[one];
            one.source = None;
            one.wait();
        }
        let source = self.sources.remove(key);
        self.published.remove(&source.id);
    }

    pub(super) fn unsubscribe(&mut self, key: usize) {
        self.unlink(key);
        self.unwant(key);
        let one = self.subscriptions.remove(key);
        let peer = &mut self.peers[one.peer];
        peer.retire(one.ssrc, one.rewrite.highest());
        if let Some(rtx) = one.rtx {
            peer.retire(rtx, one.rtx_next);
        }
    }

    fn unwant(&mut self, key: usize) {
        let wanted = &self.subscriptions[key].wanted;
        if let Some(keys) = self.wanted.get_mut(wanted) {
            keys.retain(|one| *one != key);
            if keys.is_empty() {
                self.wanted.remove(wanted);
            }
        }
    }

    fn unlink(&mut self, key: usize) {
        if let Some(source) = self.subscriptions[key].source.take() {
            self.sources[source].subscribers.retain(|one| *one != key);
        }
        self.subscriptions[key].wait();
    }

    /// Brings a source together with who wants it.
    fn link_source(&mut self, key: usize) {
        let wanting = self
            .wanted
            .get(&self.sources[key].id)
            .cloned()
            .unwrap_or_default();
        wanting.into_iter().for_each(|one| self.link(one));
    }

    /// Brings a subscription together with its source, if that is there and in the same mix.
    fn link(&mut self, key: usize) {
        let one = &self.subscriptions[key];
        let mix = self.peers[one.peer].mix;
        let source = self.published.get(&one.wanted).copied();
        let source = source.filter(|source| self.peers[self.sources[*source].peer].mix == mix);
        if one.source != source {
            self.unlink(key);
            self.subscriptions[key].source = source;
            if let Some(source) = source {
                self.sources[source].subscribers.push(key);
                self.sources[source].pictures.want();
            }
        }
        if let Some(source) = source {
            self.subscriptions[key].pair_types(&self.sources[source].formats);
        }
    }

    /// Everything that this peer waits to see, and everything that it publishes for who waits, needs a picture.
    pub(super) fn want_pictures(&mut self, at: usize) {
        let peer = &self.peers[at];
        for key in &peer.published {
            self.sources[*key].pictures.want();
        }
        for key in &peer.subscriptions {
            if let Some(source) = self.subscriptions[*key].source {
                self.sources[source].pictures.want();
            }
        }
    }
}

fn new_source(id: VideoSource, peer: usize) -> Source {
    Source {
        id,
        peer,
        formats: Vec::new(),
        extensions: cordboard_model::media::peer::HeaderExtensions::default(),
        muted: false,
        layers: Vec::new(),
        subscribers: Vec::new(),
        pictures: Pictures::default(),
    }
}

/// Layers that are named again go on; if none are named, those that were found go on.
fn describe_layers(source: &mut Source, ssrcs: &[(u32, Option<u32>)], numbers: &mut u64) {
    if ssrcs.is_empty() {
        return;
    }
    source
        .layers
        .retain(|layer| ssrcs.iter().any(|(ssrc, _)| *ssrc == layer.ssrc));
    for (ssrc, rtx) in ssrcs.iter().take(MAX_LAYERS) {
        match source.layer(*ssrc) {
            Some(layer) => layer.rtx = *rtx,
            None => {
                *numbers += 1;
                source.layers.push(Layer::new(*numbers, *ssrc, *rtx));
            }
        }
    }
}

fn describe_audio(leg: &mut Leg, line: Option<&AudioLine>, selected: Option<SocketAddr>, now: Time) {
    let Some(line) = line else {
        if let Some(audio) = &mut leg.audio {
            audio.direction = Direction::NONE;
        }
        return;
    };
    // The keys are the transport's, not the description's.
    let srtp = leg.srtp.take();
    let audio = AudioSetup {
        remote: NOWHERE,
        signaller: None,
        control: Control::Muxed,
        format: line.format.clone(),
        direction: line.direction,
        srtp: None,
    };
    leg.describe(audio, now);
    leg.srtp = srtp;
    leg.sends_apart = line.format.codec == Codec::Opus;
    leg.outlet.ssrc = line.ssrc;
    if let Some(inlet) = &mut leg.inlet {
        inlet.latch.pin(selected.unwrap_or(NOWHERE));
    }
}
