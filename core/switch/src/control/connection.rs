//! Connections as the control thread holds them: what they bring, and which of them a packet goes by.

use std::net::SocketAddr;

use cordboard_engine::io::{Flow, Input, Packet, Transport};

use super::{Arrival, Control, DIALLING, SAMPLE};
use crate::net::backlog::{KNOWN, NotWritten, is_response};

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
                let peer = (flow.transport, flow.peer);
                if let Some((way, packets)) = self.dialling.remove(&peer) {
                    let written = packets.into_iter().try_for_each(|packet| writer.write(packet));
                    if let Err(why) = written {
                        // More than may wait, or the peer has gone: without its writer the connection ends.
                        self.report.slow_readers += u64::from(why == NotWritten::TooMuch);
                        return self.unreachable.push(way);
                    }
                }
                self.by_peer.insert(peer, flow.connection);
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
            let length = |packet: &Packet| packet.head.len() + packet.tail.len();
            let bytes = length(&packet) + waiting.iter().map(length).sum::<usize>();
            if waiting.len() < DIALLING && bytes <= KNOWN {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cordboard_engine::Engine;
    use cordboard_engine::io::StoreWrite;
    use cordboard_engine::record::CallRecord;
    use cordboard_model::media::MediaCommand;
    use cordboard_model::{Ask, ShardId, Ticket};

    use super::*;
    use crate::clock::Clock;
    use crate::control::{ControlParts, Shell};
    use crate::net::backlog::{Backlogs, queue};

    /// Takes everything and does nothing.
    struct Deaf;

    impl Shell for Deaf {
        fn ask(&mut self, _: Ticket, _: Ask) {}
        fn media(&mut self, _: ShardId, _: MediaCommand) {}
        fn store(&mut self, _: Ticket, _: StoreWrite) {}
        fn dial(&mut self, _: Flow) {}
        fn answered(&mut self, _: Box<CallRecord>) {}
        fn record(&mut self, _: Box<CallRecord>) {}
        fn drained(&mut self) {}
    }

    fn control() -> Control {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "sip.tcp = [\"127.0.0.1:0\"]\n").unwrap();
        let config = crate::config::load(&file).unwrap().config;
        let clock = Clock::start();
        let engine = Engine::new(config.engine_config(Vec::new()), [7; 32], clock.now());
        let (parts, _) = ControlParts::new().unwrap();
        parts.build(engine, clock, Vec::new(), Box::new(Deaf)).unwrap()
    }

    #[test]
    fn what_waits_for_a_dial_goes_out_or_is_told_to_be_lost() {
        for (bytes, fits) in [(1_000, true), (40_000, false)] {
            let mut control = control();
            let way = Flow {
                transport: Transport::Tcp,
                listener: 0,
                peer: "192.0.2.1:5060".parse().unwrap(),
                connection: 0,
            };
            for _ in 0..3 {
                control.route(way, Packet::whole(vec![b'x'; bytes].into()));
            }
            let (writer, _queue) = queue(&Arc::default(), &Backlogs::default());
            let flow = Flow { connection: 1, ..way };
            control.arrived(Arrival::Opened { flow, writer });
            let lost = if fits { vec![] } else { vec![way] };
            assert_eq!(control.unreachable, lost);
            assert_eq!(control.connections.contains_key(&1), fits);
            assert_eq!(control.by_peer.len(), usize::from(fits));
            assert_eq!(control.report.slow_readers, u64::from(!fits));
        }
    }

    #[test]
    fn what_waits_for_a_dial_is_bounded_in_bytes() {
        let mut control = control();
        let peer = "192.0.2.1:5060".parse().unwrap();
        let (transport, listener, connection) = (Transport::Tcp, 0, 0);
        let way = Flow {
            transport,
            listener,
            peer,
            connection,
        };
        for _ in 0..20 {
            control.route(way, Packet::whole(vec![b'x'; 1 << 20].into()));
        }
        assert_eq!(control.dialling[&(transport, peer)].1.len(), 8);
        assert_eq!(control.report.garbage["dial_queue_full"], 12);
    }
}
