//! What a shard gives its shell: packets to send and ports to bind.

use std::net::{IpAddr, SocketAddr};

use cordboard_model::LegId;

use crate::srtp::Session;

/// What the shell is to do with sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortRequest {
    /// Bind a pair of ports (RTP even, RTCP the next) for a leg and answer with
    /// [`Shard::bound`](crate::Shard::bound).
    Bind {
        /// The leg.
        leg: LegId,
        /// The address to bind where this machine has it; otherwise every address of its family.
        local: IpAddr,
    },
    /// The leg's ports are no longer needed; packets drained before this are still to be sent.
    Release {
        /// The leg.
        leg: LegId,
    },
}

/// A packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The leg whose socket sends it.
    pub leg: LegId,
    /// Whether it is RTCP that leaves from the RTCP port; where RTCP is multiplexed (RFC 5761) it does not.
    pub control: bool,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The datagram.
    pub bytes: &'a [u8],
}

#[derive(Debug)]
struct Entry {
    leg: LegId,
    control: bool,
    destination: SocketAddr,
    end: usize,
}

/// Packets that wait to be drained; its buffers are used again and again.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Outbox {
    /// Adds a packet; `write` appends its bytes. Returns how many there are.
    pub(crate) fn push(
        &mut self,
        leg: LegId,
        control: bool,
        destination: SocketAddr,
        srtp: Option<&mut Session>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let start = self.bytes.len();
        write(&mut self.bytes);
        match srtp {
            Some(session) if control => session.protect_control(&mut self.bytes, start),
            Some(session) => session.protect(&mut self.bytes, start),
            None => {}
        }
        self.entries.push(Entry {
            leg,
            control,
            destination,
            end: self.bytes.len(),
        });
        self.bytes.len() - start
    }

    /// Adds a packet of RTCP; where it is `muxed`, it leaves from the port of RTP.
    pub(crate) fn push_control(
        &mut self,
        leg: LegId,
        muxed: bool,
        destination: SocketAddr,
        srtp: Option<&mut Session>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.push(leg, true, destination, srtp, write);
        if let Some(entry) = self.entries.last_mut() {
            entry.control = !muxed;
        }
    }

    pub(crate) fn drain(&mut self, mut send: impl FnMut(Packet<'_>)) {
        let mut start = 0;
        for Entry {
            leg,
            control,
            destination,
            end,
        } in self.entries.drain(..)
        {
            send(Packet {
                leg,
                control,
                destination,
                bytes: &self.bytes[start..end],
            });
            start = end;
        }
        self.bytes.clear();
    }
}
