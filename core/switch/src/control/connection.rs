//! Connections as the control thread holds them: what they bring, and which of them a packet goes by.

use std::net::SocketAddr;

use cordboard_engine::io::{Flow, Input, Packet, Transport};

use super::{Arrival, Control, DIALLING, SAMPLE};
use crate::net::backlog::{NotWritten, is_response};

impl Control {
    pub(super) fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            // Without its writer the connection ends. One that we have made ourselves is to somebody we wanted.
            Arrival::Opened { flow, .. }
                if self.engine.is_banned(flow.peer.ip(), self.clock.now())
                    && !self.dialling.contains_key(&(flow.transport, flow.peer)) =>
            {
                *self.report.garbage.entry("banned").or_default() += 1;
            }
            Arrival::Opened { flow, writer } => {
                if self.engine.trusts(flow.peer.ip()) {
                    writer.prove();
                }
                self.by_peer.insert((flow.transport, flow.peer), flow.connection);
                if let Some((_, packets)) = self.dialling.remove(&(flow.transport, flow.peer)) {
                    for packet in packets {
                        let _ = writer.write(packet); // fewer than may wait
                    }
                }
                self.connections.insert(flow.connection, (flow, writer));
            }
            Arrival::HalfClosed { connection } => {
                if let Some((flow, _)) = self.connections.get(&connection) {
                    self.half_closed.insert(connection);
                    self.no_longer_leads_to((flow.transport, flow.peer), connection);
                }
            }
            Arrival::Closed { connection } => {
                self.forget(connection);
                self.engine
                    .handle(Input::FlowClosed { connection }, self.clock.now());
            }
            Arrival::Message {
                flow,
                message,
                stamp,
                waits,
            } => {
                let (source, now) = (flow.peer.ip(), self.clock.now());
                if self.engine.is_late(stamp, now) && !self.engine.is_known(source, now) {
                    self.unread += 1;
                    if !self.unread.is_multiple_of(SAMPLE) {
                        // Its peer learns more from that than from silence.
                        return self.forget(flow.connection);
                    }
                }
                self.engine
                    .handle(Input::Message { flow, message, stamp }, self.clock.now());
                self.drain();
                drop(waits); // what it was answered waits now
            }
            Arrival::Chat(arrival) => {
                let input = Input::Chat(self.chat.arrived(arrival));
                self.engine.handle(input, self.clock.now());
            }
            Arrival::Garbage { reason } => *self.report.garbage.entry(reason).or_default() += 1,
        }
    }

    pub(super) fn forget(&mut self, connection: u64) {
        if let Some((flow, _)) = self.connections.remove(&connection) {
            self.half_closed.remove(&connection);
            self.no_longer_leads_to((flow.transport, flow.peer), connection);
        }
    }

    fn no_longer_leads_to(&mut self, peer: (Transport, SocketAddr), connection: u64) {
        if self.by_peer.get(&peer) == Some(&connection) {
            self.by_peer.remove(&peer);
        }
    }

    pub(super) fn route(&mut self, flow: Flow, packet: Packet) {
        if flow.transport == Transport::Udp {
            return self.post(flow.listener, (packet.head, packet.tail, flow.peer));
        }
        let peer = (flow.transport, flow.peer);
        let connection = match flow.connection {
            0 => self.by_peer.get(&peer).copied().unwrap_or_default(),
            connection => connection,
        };
        if self.half_closed.contains(&connection) && !is_response(&packet) {
            return self.unreachable.push(flow); // its answer could not come
        }
        if let Some((_, writer)) = self.connections.get(&connection) {
            if let Err(why) = writer.write(packet) {
                // Its task will report the end.
                self.report.slow_readers += u64::from(why == NotWritten::TooMuch);
                self.forget(connection);
            }
            return;
        }
        if flow.connection != 0 || !matches!(flow.transport, Transport::Tcp | Transport::Tls) {
            return self.unreachable.push(flow);
        }
        if let Some((_, waiting)) = self.dialling.get_mut(&peer) {
            if waiting.len() < DIALLING {
                waiting.push(packet);
            } else {
                *self.report.garbage.entry("dial_queue_full").or_default() += 1;
            }
            return;
        }
        self.dialling.insert(peer, (flow, vec![packet]));
        self.shell.dial(flow);
    }
}
