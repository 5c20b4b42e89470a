//! What a leg sends: one RTP stream whose source, sequence and timestamps go on without a break for the
//! leg's whole life.

use std::net::SocketAddr;

use cordboard_model::LegId;
use cordboard_model::media::AudioFormat;

use crate::output::Outbox;
use crate::random::Random;
use crate::rtcp::Cname;
use crate::rtp::RtpPacket;
use crate::sound::FRAME;

/// Codes that wait to fill a packet: one packet of 60 ms and the frame that completes it.
const WAITING: usize = 640;
/// Codes per millisecond: both laws have one per sample.
const PER_MS: usize = 8;
/// Packet lengths that are used; another one becomes 20 ms.
const LENGTHS_MS: [u8; 5] = [10, 20, 30, 40, 60];

/// See the module.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) ssrc: u32,
    pub(crate) cname: Cname,
    sequence: u16,
    /// Of the next sample that will be sent or left out.
    timestamp: u32,
    waiting: [u8; WAITING],
    filled: usize,
    /// Whether the last packet was left out or held silence.
    silent: bool,
    marker: bool,
    pub(crate) packets: u64,
    pub(crate) payload_bytes: u64,
}

impl Outlet {
    pub(crate) fn new(random: &mut Random) -> Self {
        let numbers = random.next();
        let mut cname = [0; 16];
        let mut letters = random.next();
        for byte in &mut cname {
            *byte = b"0123456789abcdef"[(letters & 15) as usize];
            letters >>= 4;
        }
        Self {
            ssrc: numbers as u32,
            cname,
            sequence: (numbers >> 32) as u16,
            timestamp: random.next() as u32,
            waiting: [0; WAITING],
            filled: 0,
            silent: true,
            marker: false,
            packets: 0,
            payload_bytes: 0,
        }
    }

    /// The timestamp of what is sent next.
    pub(crate) const fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Lets 20 ms pass without sending.
    pub(crate) const fn skip(&mut self) {
        self.timestamp = self.timestamp.wrapping_add((self.filled + FRAME) as u32);
        self.filled = 0;
        self.silent = true;
    }

    /// Drops what waits to fill a packet: the format has changed.
    pub(crate) const fn restart(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(self.filled as u32);
        self.filled = 0;
    }

    /// Sends the next 20 ms; returns how many packets and bytes became complete.
    pub(crate) fn send(
        &mut self,
        codes: &[u8; FRAME],
        silent: bool,
        format: &AudioFormat,
        to: (LegId, SocketAddr),
        outbox: &mut Outbox,
    ) -> (u64, u64) {
        self.marker |= self.silent && !silent;
        self.silent = silent;
        let packet_ms = if LENGTHS_MS.contains(&format.packet_ms) {
            format.packet_ms
        } else {
            20
        };
        let len = usize::from(packet_ms) * PER_MS;
        if len == FRAME && self.filled == 0 {
            return (1, self.packet(codes, format.payload_type, to, outbox));
        }
        let mut waiting = self.waiting;
        waiting[self.filled..self.filled + FRAME].copy_from_slice(codes);
        let filled = self.filled + FRAME;
        let mut sent = (0, 0);
        for packet in waiting[..filled].chunks_exact(len) {
            sent.0 += 1;
            sent.1 += self.packet(packet, format.payload_type, to, outbox);
        }
        let rest = filled % len;
        self.waiting[..rest].copy_from_slice(&waiting[filled - rest..filled]);
        self.filled = rest;
        sent
    }

    fn packet(
        &mut self,
        payload: &[u8],
        payload_type: u8,
        to: (LegId, SocketAddr),
        outbox: &mut Outbox,
    ) -> u64 {
        let header = RtpPacket {
            marker: self.marker,
            payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload: &[],
        }
        .header();
        let len = outbox.push(to.0, false, to.1, |bytes| {
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(payload);
        });
        self.marker = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(payload.len() as u32);
        self.packets += 1;
        self.payload_bytes += payload.len() as u64;
        len as u64
    }
}
