//! Proving a peer: connectivity checks, and the handshakes of those who passed them.

use std::net::SocketAddr;

use cordboard_model::Time;
use cordboard_model::media::MediaEvent;
use cordboard_model::media::peer::{PeerEvent, PeerLoss};

use super::dtls::{Dtls, Step};
use super::guard::Barred;
use super::stun::{Check, NotACheck, Refusal};
use super::{House, PeerOutcome, Rtc};
use crate::counts::DropReason;
use crate::srtp::Session;

/// Handshake datagrams that wait, of all peers and of one.
const WAITING: usize = 256;
const WAITING_OF_ONE: u8 = 16;
/// A handshake's datagram is no longer.
const LONGEST: usize = 2048;

impl Rtc {
    /// Takes a connectivity check and answers it.
    pub(super) fn check(
        &mut self,
        source: SocketAddr,
        bytes: &[u8],
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        let check = match Check::parse(bytes) {
            Ok(check) => check,
            Err(NotACheck::Malformed) => return Err(DropReason::Malformed),
            // Indications keep NATs open; nothing is to be done.
            Err(NotACheck::Other) => return Ok(()),
        };
        let ours = check.fragments().map(|(ours, _)| ours);
        let at = *ours
            .and_then(|ours| self.by_ufrag.get(ours))
            .ok_or(DropReason::UnknownFragment)?;
        if let Err(refusal) = self.peers[at].ice.judge(&check) {
            self.refuse(at, &check, refusal, source, house);
            return match refusal {
                Refusal::BadRequest | Refusal::Unauthenticated => Err(DropReason::ForgedCheck),
                _ => Ok(()),
            };
        }
        let holder = self
            .by_address
            .get(&source)
            .copied()
            .filter(|holder| *holder != at);
        if holder.is_some_and(|holder| !self.peers[holder].lost && self.peers[holder].ice.holds(source, now))
        {
            return Err(DropReason::AddressTaken);
        }
        // A restart that this check ends takes the former key away.
        let key = self.peers[at].ice.key(&check).clone();
        let proven = self.peers[at].ice.prove(&check, source, now);
        if let Some(retired) = &proven.retired {
            self.by_ufrag.remove(retired);
        }
        if let Some(forgotten) = proven.forgotten {
            self.leave(at, forgotten);
        }
        if proven.new || holder.is_some() {
            self.by_address.insert(source, at);
        }
        let peer = &self.peers[at];
        let (leg, own) = (peer.leg, peer.key);
        house.outbox.push(leg, false, source, None, |out| {
            check.accept(out, source, &key);
        });
        house.counts.peers.checks += 1;
        if proven.moved
            && let Some(inlet) = &mut house.legs[own].inlet
        {
            inlet.latch.pin(source);
        }
        let peer = &mut self.peers[at];
        if !peer.lost && peer.closed.take().is_some() {
            peer.dtls = peer.dtls.as_ref().map(Dtls::renewed);
        }
        self.reach(at, house, now);
        Ok(())
    }

    /// The peer is not at this address any more.
    pub(super) fn leave(&mut self, at: usize, address: SocketAddr) {
        if self.by_address.get(&address) == Some(&at) {
            self.by_address.remove(&address);
        }
    }

    /// Error answers are few: they go to whoever names a fragment of ours.
    fn refuse(
        &mut self,
        at: usize,
        check: &Check<'_>,
        refusal: Refusal,
        source: SocketAddr,
        house: &mut House<'_>,
    ) {
        house.counts.peers.checks_refused += 1;
        if self.refusals == 0 {
            return;
        }
        self.refusals -= 1;
        let peer = &self.peers[at];
        let proven = !matches!(refusal, Refusal::BadRequest | Refusal::Unauthenticated);
        let key = proven.then_some(peer.ice.key(check));
        house.outbox.push(peer.leg, false, source, None, |out| {
            check.refuse(out, refusal, key);
        });
    }

    /// Begins the handshake if the peer is described and can be reached, and beginning is ours.
    pub(super) fn reach(&mut self, at: usize, house: &mut House<'_>, now: Time) {
        let peer = &mut self.peers[at];
        let Some(dtls) = peer.dtls.as_mut().filter(|_| peer.ice.selected().is_some()) else {
            return;
        };
        let step = dtls.reach(now);
        self.handshake_step(at, step, house);
    }

    /// Puts a DTLS datagram into the queue, if it comes from where a peer has proven to be.
    pub(super) fn queue_handshake(&mut self, source: SocketAddr, bytes: &[u8]) -> Result<(), DropReason> {
        let at = *self.by_address.get(&source).ok_or(DropReason::UnprovenSource)?;
        let peer = &mut self.peers[at];
        if peer.dtls.is_none() {
            return Err(DropReason::NotReady);
        }
        if bytes.len() > LONGEST {
            return Err(DropReason::Malformed);
        }
        if self.handshakes.len() >= WAITING || peer.waiting >= WAITING_OF_ONE {
            return Err(DropReason::HandshakeOverload);
        }
        peer.waiting += 1;
        self.handshakes.push_back((at, bytes.to_vec()));
        Ok(())
    }

    /// Whether handshakes wait for [`work`](Self::work).
    pub(crate) fn has_work(&self) -> bool {
        !self.handshakes.is_empty()
    }

    /// Does a bounded part of the waiting handshakes: each datagram may cost as much as a thousand packets.
    pub(crate) fn work(&mut self, most: usize, house: &mut House<'_>, now: Time) {
        for _ in 0..most {
            let Some((at, bytes)) = self.handshakes.pop_front() else {
                return;
            };
            let peer = &mut self.peers[at];
            peer.waiting -= 1;
            let Some(dtls) = peer.dtls.as_mut().filter(|_| !peer.lost) else {
                continue;
            };
            match dtls.receive(&bytes, now) {
                Ok(step) => self.handshake_step(at, step, house),
                Err(Barred::Malformed) => house.counts.drop(DropReason::Malformed),
                Err(Barred::Excess | Barred::Unproven) => house.counts.drop(DropReason::HandshakeRefused),
            }
        }
    }

    pub(super) fn handshake_step(&mut self, at: usize, step: Step, house: &mut House<'_>) {
        self.send_handshake(at, house);
        match step {
            Step::None => {}
            Step::Failed => self.lose(at, PeerLoss::Handshake, house),
            // It is gone, or has thrown its transport away and makes another: Chromium does that when the first line
            // of the bundle is turned off.
            Step::Closed => {
                let peer = &mut self.peers[at];
                (peer.connected, peer.closed) = (false, Some(self.ticks));
                house.legs[peer.key].bound = false;
            }
            Step::Done(fingerprint, keys) => {
                let peer = &mut self.peers[at];
                if !peer.fingerprints.contains(&fingerprint) {
                    self.lose(at, PeerLoss::Fingerprint, house);
                    return;
                }
                peer.connected = true;
                let leg = &mut house.legs[peer.key];
                leg.srtp = Some(Box::new(Session::new(&keys)));
                leg.bound = true;
                house.counts.peers.outcome(PeerOutcome::Connected);
                house
                    .events
                    .push_back(MediaEvent::Peer(PeerEvent::Connected { leg: peer.leg }));
                self.want_pictures(at);
            }
        }
    }

    /// Sends what the handshake has for the peer.
    pub(super) fn send_handshake(&mut self, at: usize, house: &mut House<'_>) {
        let peer = &mut self.peers[at];
        let (Some(dtls), Some(to)) = (&mut peer.dtls, peer.ice.selected()) else {
            return;
        };
        while let Some(bytes) = dtls.poll() {
            house
                .outbox
                .push(peer.leg, false, to, None, |out| out.extend_from_slice(&bytes));
        }
    }
}
