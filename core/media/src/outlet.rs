//! What a leg sends: one RTP stream whose source, sequence and timestamps go on without a break for the
//! leg's whole life.

use std::net::SocketAddr;

use cordboard_model::LegId;
use cordboard_model::media::{AudioFormat, Codec};

use crate::dial::EventPacket;
use crate::opus::Bundle;
use crate::output::Outbox;
use crate::random::Random;
use crate::rtcp::Cname;
use crate::rtp::RtpPacket;
use crate::srtp::Session;

/// Bytes of 20 ms of the codecs that have a fixed rate.
const FRAME: usize = 160;
/// Codes that wait to fill a packet: one packet of 60 ms and the frame that completes it.
const WAITING: usize = 640;
/// Codes per millisecond of G.711 and G.722: one for each unit of their clock.
const PER_MS: usize = 8;
/// Packet lengths that are used; another one becomes 20 ms.
const LENGTHS_MS: [u8; 5] = [10, 20, 30, 40, 60];

/// Where packets go, and how they get there.
pub(crate) struct Way<'a> {
    pub(crate) leg: LegId,
    pub(crate) to: SocketAddr,
    pub(crate) srtp: Option<&'a mut Session>,
    pub(crate) outbox: &'a mut Outbox,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) ssrc: u32,
    pub(crate) cname: Cname,
    sequence: u16,
    /// Of the next packet: what waits to fill it has this time, too.
    timestamp: u32,
    waiting: [u8; WAITING],
    filled: usize,
    bundle: Bundle,
    /// Units of the timestamp for 20 ms.
    step: u32,
    /// The timestamp of the event that is sent.
    event_start: u32,
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
            bundle: Bundle::default(),
            step: 160,
            event_start: 0,
            silent: true,
            marker: false,
            packets: 0,
            payload_bytes: 0,
        }
    }

    /// The timestamp of the next sample that is handed in.
    pub(crate) const fn timestamp(&self) -> u32 {
        self.timestamp.wrapping_add(self.waits())
    }

    /// What waits to fill a packet, in units of the timestamp.
    const fn waits(&self) -> u32 {
        self.filled as u32 + self.bundle.frames() as u32 * self.step
    }

    /// Lets 20 ms pass without sending.
    pub(crate) fn skip(&mut self) {
        self.drop_waiting();
        self.timestamp = self.timestamp.wrapping_add(self.step);
        self.silent = true;
    }

    /// The format has changed: drops what waits to fill a packet.
    pub(crate) fn restart(&mut self, codec: Codec) {
        self.drop_waiting();
        self.step = codec.clock() / 50;
    }

    fn drop_waiting(&mut self) {
        self.timestamp = self.timestamp();
        self.filled = 0;
        self.bundle.clear();
    }

    /// Sends the next 20 ms; returns how many packets and bytes became complete.
    pub(crate) fn send(
        &mut self,
        code: &[u8],
        silent: bool,
        format: &AudioFormat,
        way: &mut Way<'_>,
    ) -> (u64, u64) {
        self.marker |= self.silent && !silent;
        self.silent = silent;
        match code.first_chunk() {
            _ if format.codec == Codec::Opus => self.send_opus(code, format, way),
            Some(codes) => self.send_steady(codes, format, way),
            None => (0, 0),
        }
    }

    /// Codecs that have a byte for each unit of their clock.
    fn send_steady(&mut self, codes: &[u8; FRAME], format: &AudioFormat, way: &mut Way<'_>) -> (u64, u64) {
        let packet_ms = if LENGTHS_MS.contains(&format.packet_ms) {
            format.packet_ms
        } else {
            20
        };
        let len = usize::from(packet_ms) * PER_MS;
        if len == FRAME && self.filled == 0 {
            return (1, self.packet(codes, FRAME as u32, format.payload_type, way));
        }
        let mut waiting = self.waiting;
        waiting[self.filled..self.filled + FRAME].copy_from_slice(codes);
        let filled = self.filled + FRAME;
        let mut sent = (0, 0);
        for packet in waiting[..filled].chunks_exact(len) {
            sent.0 += 1;
            sent.1 += self.packet(packet, len as u32, format.payload_type, way);
        }
        let rest = filled % len;
        self.waiting[..rest].copy_from_slice(&waiting[filled - rest..filled]);
        self.filled = rest;
        sent
    }

    /// Opus: one frame of 20 ms per packet, or two or three of one kind. Nothing at all is silence.
    fn send_opus(&mut self, code: &[u8], format: &AudioFormat, way: &mut Way<'_>) -> (u64, u64) {
        let frames = usize::from(format.packet_ms / 20).clamp(1, 3);
        let mut sent = (0, 0);
        let mut flush = |outlet: &mut Self| {
            let bundle = std::mem::take(&mut outlet.bundle);
            let units = bundle.frames() as u32 * outlet.step;
            if units > 0 {
                sent.0 += 1;
                sent.1 += outlet.packet_with(|bytes| bundle.write(bytes), units, format.payload_type, way);
            }
            outlet.bundle = bundle;
            outlet.bundle.clear();
        };
        if code.is_empty() {
            flush(self);
            self.skip();
            return sent;
        }
        if !self.bundle.takes(code) {
            flush(self);
        }
        if self.bundle.takes(code) {
            self.bundle.add(code);
            if self.bundle.frames() >= frames {
                flush(self);
            }
            return sent;
        }
        // A packet that is no single frame travels as it is.
        (
            sent.0 + 1,
            sent.1 + self.packet(code, self.step, format.payload_type, way),
        )
    }

    /// Sends a packet of a key that is pressed, at the time when the press began.
    pub(crate) fn send_event(
        &mut self,
        event: &EventPacket,
        payload_type: u8,
        way: &mut Way<'_>,
    ) -> (u64, u64) {
        if event.first {
            self.drop_waiting();
            self.event_start = self.timestamp;
            self.marker = true;
        }
        let now = std::mem::replace(&mut self.timestamp, self.event_start);
        let marker = std::mem::replace(&mut self.marker, event.first);
        let bytes = self.packet(&event.payload, 0, payload_type, way);
        self.timestamp = now;
        // What comes after the key is a new talk spurt.
        self.marker = marker && !event.first;
        (1, bytes)
    }

    fn packet(&mut self, payload: &[u8], units: u32, payload_type: u8, way: &mut Way<'_>) -> u64 {
        self.packet_with(|bytes| bytes.extend_from_slice(payload), units, payload_type, way)
    }

    fn packet_with(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
        units: u32,
        payload_type: u8,
        way: &mut Way<'_>,
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
        let mut payload = 0;
        let len = way
            .outbox
            .push(way.leg, false, way.to, way.srtp.as_deref_mut(), |bytes| {
                bytes.extend_from_slice(&header);
                let before = bytes.len();
                write(bytes);
                payload = bytes.len() - before;
            });
        self.marker = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(units);
        self.packets += 1;
        self.payload_bytes += payload as u64;
        len as u64
    }
}
