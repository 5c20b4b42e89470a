//! WebRTC peers of a shard: their commands and their datagrams.

use std::net::SocketAddr;

use cordboard_model::media::MediaEvent;
use cordboard_model::media::peer::PeerCommand;
use cordboard_model::{LegId, Time};

use super::Shard;
use super::command::next_tick;
use crate::leg::Leg;
use crate::rtc::{House, Rtc, Transmit, WebRtc};

impl Shard {
    /// Serves WebRTC peers from now on.
    #[must_use]
    pub fn with_webrtc(mut self, config: WebRtc) -> Self {
        self.rtc = Some(Box::new(Rtc::new(config)));
        self
    }

    /// Takes a datagram that came on the port of WebRTC.
    ///
    /// `stamp` is when the kernel received it, `now` when the shell read it.
    pub fn webrtc_packet(&mut self, source: SocketAddr, bytes: &[u8], stamp: Time, now: Time) {
        let outcome = self.with_rtc(|rtc, house| rtc.receive(source, bytes, stamp.min(now), house, now));
        if let Some(Err(reason)) = outcome {
            self.counts.drop(reason);
        }
    }

    /// Hands every waiting burst of packets of WebRTC peers to `send`; those of
    /// [`drain_packets`](Self::drain_packets) whose leg has no port go the same way.
    pub fn drain_webrtc(&mut self, send: impl FnMut(Transmit<'_>)) {
        if let Some(rtc) = &mut self.rtc {
            rtc.drain(send);
        }
    }

    /// Whether a peer has proven to be at this address.
    pub fn has_webrtc_peer(&self, address: SocketAddr) -> bool {
        self.rtc.as_ref().is_some_and(|rtc| rtc.has_peer_at(address))
    }

    /// Whether handshakes wait for [`work`](Self::work).
    pub fn has_work(&self) -> bool {
        self.rtc.as_ref().is_some_and(|rtc| rtc.has_work())
    }

    /// Takes up to `most` of the handshake datagrams that wait. Each may take a third of a millisecond, so that
    /// they are taken between ticks and not among packets.
    pub fn work(&mut self, most: usize, now: Time) {
        self.with_rtc(|rtc, house| rtc.work(most, house, now));
    }

    /// Takes a command about a WebRTC peer.
    pub(super) fn peer_command(&mut self, command: PeerCommand, now: Time) {
        match command {
            PeerCommand::Open {
                leg,
                mix,
                muted,
                deaf,
            } => {
                let refusal = match (&self.rtc, self.index.contains_key(&leg)) {
                    (_, true) => Some("the leg is open already"),
                    (None, _) => Some("no UDP port for WebRTC is open; see [media] webrtc_port"),
                    _ => None,
                };
                if let Some(reason) = refusal {
                    let reason = reason.to_owned();
                    self.events.push_back(MediaEvent::Failed { leg, reason });
                    return;
                }
                let new = Leg::new(leg, mix, muted, deaf, now, &mut self.random);
                self.open(new, None, now);
                let key = self.index[&leg];
                if let Some(rtc) = &mut self.rtc {
                    self.legs[key].peer = Some(rtc.open(leg, mix, key, &mut self.events, now));
                }
                self.next_tick.get_or_insert(next_tick(now));
            }
            PeerCommand::Describe { leg, setup } => {
                if let Some(at) = self.peer(leg) {
                    self.with_rtc(|rtc, house| rtc.describe(at, *setup, house, now));
                }
            }
        }
    }

    fn peer(&self, leg: LegId) -> Option<usize> {
        self.legs[*self.index.get(&leg)?].peer
    }

    /// The leg's peer, if it has one, goes as well.
    pub(super) fn close_peer(&mut self, key: usize, now: Time) {
        if let Some(at) = self.legs[key].peer {
            self.with_rtc(|rtc, house| rtc.close(at, house, now));
        }
    }

    /// The leg is in another mix now.
    pub(super) fn move_peer(&mut self, key: usize) {
        let leg = &self.legs[key];
        if let (Some(rtc), Some(at)) = (&mut self.rtc, leg.peer) {
            rtc.moved(at, leg.mix);
        }
    }

    pub(super) fn tick_peers(&mut self, now: Time) {
        self.with_rtc(|rtc, house| rtc.tick(house, now));
    }

    fn with_rtc<T>(&mut self, work: impl FnOnce(&mut Rtc, &mut House<'_>) -> T) -> Option<T> {
        let rtc = self.rtc.as_mut()?;
        let mut house = House {
            legs: &mut self.legs,
            counts: &mut self.counts,
            events: &mut self.events,
            outbox: &mut self.outbox,
            random: &mut self.random,
            next_tick: self.next_tick,
        };
        Some(work(rtc, &mut house))
    }
}
