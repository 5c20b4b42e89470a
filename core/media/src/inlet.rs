//! What a leg takes: packets of its peer and of nobody else, in order, as audio and as keys.

use std::net::SocketAddr;

use cordboard_model::Time;
use cordboard_model::media::{AudioSetup, Codec};

use crate::counts::{Counts, DropReason};
use crate::digits::Digits;
use crate::g711;
use crate::jitter::{JitterBuffer, MAX_PACKET, Put};
use crate::latch::Latch;
use crate::rtp::RtpPacket;
use crate::sequence::{Order, Reception};
use crate::sound::{self, Frame};
use crate::talk::Talk;

/// Nanoseconds of one sample.
const SAMPLE_NS: i64 = 125_000;

/// When a packet came, and when the next frame is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) source: SocketAddr,
    pub(crate) stamp: Time,
    pub(crate) next_tick: Time,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) latch: Latch,
    pub(crate) reception: Option<Reception>,
    pub(crate) packets: u64,
    pub(crate) late: u64,
    /// Where the peer's RTCP comes from.
    control_source: Option<SocketAddr>,
    jitter: JitterBuffer,
    digits: Digits,
    talk: Talk,
}

/// What a payload type stands for on this leg.
enum Payload {
    Audio(Codec),
    Event,
}

impl Inlet {
    pub(crate) fn new(signalled: SocketAddr) -> Self {
        Self {
            latch: Latch::new(signalled),
            reception: None,
            packets: 0,
            late: 0,
            control_source: None,
            jitter: JitterBuffer::new(),
            digits: Digits::default(),
            talk: Talk::default(),
        }
    }

    /// The peer's description has come again.
    pub(crate) fn signal(&mut self, address: SocketAddr) {
        let before = self.latch.destination();
        self.latch.signal(address);
        if self.latch.destination() != before {
            self.control_source = None;
        }
    }

    /// Takes a packet; returns the key if a press begins. Audio is kept only if someone may `listen`.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        arrival: Arrival,
        audio: &AudioSetup,
        listen: bool,
        counts: &mut Counts,
    ) -> Result<Option<char>, DropReason> {
        let packet = RtpPacket::parse(bytes).map_err(|_| DropReason::Malformed)?;
        if packet.payload.len() > MAX_PACKET {
            return Err(DropReason::Malformed);
        }
        let payload = payload(audio, packet.payload_type).ok_or(DropReason::UnknownPayload)?;
        if !self
            .latch
            .admit(arrival.source, packet.ssrc, packet.sequence, arrival.stamp)
        {
            return Err(DropReason::ForeignSource);
        }
        let newest = self.order(&packet, arrival.stamp)?;
        self.packets += 1;
        counts.packets_in += 1;
        counts.bytes_in += bytes.len() as u64;
        match payload {
            Payload::Event => Ok(self.digits.receive(packet.timestamp, packet.payload)),
            Payload::Audio(codec) if listen && !packet.payload.is_empty() => {
                self.store(codec, &packet, newest, arrival).map(|()| None)
            }
            Payload::Audio(_) => Ok(None),
        }
    }

    /// Says whether the packet is the newest so far, unless it is to be dropped.
    fn order(&mut self, packet: &RtpPacket<'_>, stamp: Time) -> Result<bool, DropReason> {
        let reception = self
            .reception
            .get_or_insert_with(|| Reception::new(packet.ssrc, packet.sequence));
        match reception.arrive(packet.ssrc, packet.sequence, packet.timestamp, stamp) {
            Order::Newest => Ok(true),
            Order::Overtaken => Ok(false),
            Order::Restarted => {
                self.jitter.reset();
                self.digits.reset();
                Ok(true)
            }
            Order::Duplicate => Err(DropReason::Duplicate),
            Order::Astray => Err(DropReason::OutOfSequence),
        }
    }

    fn store(
        &mut self,
        codec: Codec,
        packet: &RtpPacket<'_>,
        newest: bool,
        arrival: Arrival,
    ) -> Result<(), DropReason> {
        let mut samples = [0; MAX_PACKET];
        let samples = &mut samples[..packet.payload.len()];
        g711::decode(codec, packet.payload, samples);
        let ahead = (arrival.next_tick.0 as i64).wrapping_sub(arrival.stamp.0 as i64) / SAMPLE_NS;
        let ahead = ahead.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        match self
            .jitter
            .put(packet.timestamp, samples, ahead, newest, arrival.stamp)
        {
            Put::Stored => Ok(()),
            Put::Overflow => Err(DropReason::Overflow),
            Put::Late => {
                self.late += 1;
                Err(DropReason::Late)
            }
        }
    }

    /// Takes the next frame; says whether there is anything to hear, and whether the peer began or stopped
    /// to talk. Arrivals of what is heard for the first time are added to `arrivals`.
    pub(crate) fn take(&mut self, frame: &mut Frame, arrivals: &mut Vec<Time>) -> (bool, Option<bool>) {
        let before = arrivals.len();
        if !self.jitter.take(frame, arrivals) {
            return (false, self.talk.frame(0, 0));
        }
        let (peak, mean) = sound::level(frame);
        let change = self.talk.frame(peak, mean);
        let heard = !self.talk.quiet();
        if !heard {
            arrivals.truncate(before);
        }
        (heard, change)
    }

    /// Nobody listens any more; returns `Some(false)` if the peer talked.
    pub(crate) fn stop(&mut self) -> Option<bool> {
        self.jitter.reset();
        self.talk.stop()
    }

    /// Whether an RTCP packet from here is the peer's; if so, reports go back there.
    pub(crate) fn admit_control(&mut self, source: SocketAddr) -> bool {
        let known = source.ip() == self.latch.destination().ip();
        if known {
            self.control_source = Some(source);
        }
        known
    }

    /// Where reports for the peer go.
    pub(crate) fn control_destination(&self) -> Option<SocketAddr> {
        let media = self.latch.destination();
        self.control_source.or_else(|| {
            media
                .port()
                .checked_add(1)
                .map(|port| SocketAddr::new(media.ip(), port))
        })
    }
}

fn payload(audio: &AudioSetup, payload_type: u8) -> Option<Payload> {
    let format = &audio.format;
    if format.telephone_event == Some(payload_type) {
        return Some(Payload::Event);
    }
    let mut known = format.receive.iter();
    known
        .find(|(known, _)| *known == payload_type)
        .map(|(_, codec)| Payload::Audio(*codec))
}
