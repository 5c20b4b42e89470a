//! Datagrams on their way out: those of a round are handed over together.

use cordboard_model::measure::{FANOUT_BOUNDS, Histogram};

use super::Control;
use crate::net::udp::{Batch, Outgoing};

impl Control {
    /// Puts a datagram to those that go out at the end of this round.
    pub(super) fn post(&mut self, listener: u16, datagram: Outgoing) {
        let listener = usize::from(listener);
        if self.outgoing.len() <= listener {
            self.outgoing.resize_with(listener + 1, Vec::new);
        }
        self.outgoing[listener].push(datagram);
    }

    /// Hands over the datagrams of this round, and knows then how long each relay took.
    pub(super) fn send(&mut self, batch: &mut Batch) {
        for (listener, socket) in &self.sockets {
            if let Some(packets) = self.outgoing.get_mut(usize::from(*listener)) {
                self.report.sent.add(socket.send(batch, packets));
                packets.clear();
            }
        }
        if self.relayed.is_empty() && self.fanned_out.is_empty() {
            return;
        }
        let now = self.clock.now();
        for stamp in self.relayed.drain(..) {
            self.report.relay.record_duration(now.since(stamp));
        }
        for (kind, accepted) in self.fanned_out.drain(..) {
            let seconds = self.report.fanout.entry(kind);
            let seconds = seconds.or_insert_with(|| Histogram::new(FANOUT_BOUNDS));
            seconds.record_duration(now.since(accepted));
        }
    }
}
