//! What is done on the tick: repeats, requests, reports, and the end of those who are gone.

use cordboard_model::Time;
use cordboard_model::media::peer::PeerLoss;

use super::{House, Rtc};

/// Error answers to checks in one tick.
pub(super) const REFUSALS: u32 = 5;
/// Ticks between two reports of arrival times.
const ARRIVALS: u64 = 5;
/// Ticks between two looks at consent.
const CONSENT: u64 = 50;

impl Rtc {
    /// Does what is due.
    pub(crate) fn tick(&mut self, house: &mut House<'_>, now: Time) {
        self.refusals = REFUSALS;
        self.ticks += 1;
        self.choose_speakers(house);
        for at in 0..self.peers.capacity() {
            if self.peers.contains(at) && !self.peers[at].lost {
                self.tick_peer(at, house, now);
            }
        }
        for key in 0..self.sources.capacity() {
            if self.sources.contains(key) {
                self.tick_source(key, house, now);
            }
        }
    }

    fn tick_peer(&mut self, at: usize, house: &mut House<'_>, now: Time) {
        if self.ticks.is_multiple_of(CONSENT) && self.peers[at].ice.expired(now) {
            self.lose(at, PeerLoss::Consent, house);
            return;
        }
        let peer = &mut self.peers[at];
        if let Some(dtls) = peer.dtls.as_mut().filter(|dtls| !dtls.is_done()) {
            let step = dtls.timeout(now);
            self.handshake_step(at, step, house);
            return;
        }
        if !peer.connected {
            return;
        }
        let told = !peer.arrivals.is_empty() && self.ticks.is_multiple_of(ARRIVALS);
        if told || peer.arrivals.is_full() {
            self.send_arrivals(at, house);
        }
        self.report(at, house, now);
    }

    fn tick_source(&mut self, key: usize, house: &mut House<'_>, now: Time) {
        self.request_packets(key, house, now);
        let source = &mut self.sources[key];
        if source.pictures.overdue(now) {
            let mut subscribers = source.subscribers.iter();
            let waits = subscribers.any(|one| {
                let one = &self.subscriptions[*one];
                one.waits && self.peers[one.peer].connected
            });
            if waits {
                source.pictures.want();
            }
        }
        self.request_picture(key, house, now);
    }
}
