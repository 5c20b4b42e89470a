//! What a leg takes: packets of its peer and of nobody else, in order, as audio and as keys.

use std::net::{IpAddr, SocketAddr};

use cordboard_model::Time;
use cordboard_model::media::{AudioSetup, Codec, Control};

use crate::claim::Claim;
use crate::counts::{Counts, DropReason};
use crate::digits::Digits;
use crate::jitter::Put;
use crate::latch::{Door, Knock, Latch};
use crate::playout::{MAX_PAYLOAD, Playout, Voice};
use crate::rate::{LONGEST_FRAME, Rate};
use crate::rtp::RtpPacket;
use crate::sequence::{Order, Reception};
use crate::sound;
use crate::talk::Talk;

/// The payload type of comfort noise (RFC 3389); many send it without having said so.
const COMFORT_NOISE: u8 = 13;

/// When a packet came, and when the next frame is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) source: SocketAddr,
    pub(crate) stamp: Time,
    pub(crate) next_tick: Time,
    /// How loud the packet says it is (RFC 6464).
    pub(crate) level: Option<u8>,
    /// What it may do if its source is not the known one.
    pub(crate) door: Door,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) latch: Latch,
    pub(crate) reception: Option<Reception>,
    pub(crate) packets: u64,
    pub(crate) late: u64,
    /// Where the peer's RTCP is said to be, and where it was seen to come from.
    control: Control,
    control_source: Option<SocketAddr>,
    playout: Playout,
    digits: Digits,
    claim: Claim,
    talk: Talk,
}

/// What a payload type stands for on this leg.
enum Payload {
    Audio(Codec),
    Event,
    /// The level of the noise in a pause. Our pauses are silent: a mix of many must not hiss.
    ComfortNoise,
}

impl Inlet {
    pub(crate) fn new(audio: &AudioSetup, now: Time) -> Self {
        Self {
            latch: Latch::new(audio.remote, audio.signaller, now),
            reception: None,
            packets: 0,
            late: 0,
            control: Control::NextPort,
            control_source: None,
            playout: Playout::new(),
            digits: Digits::default(),
            claim: Claim::default(),
            talk: Talk::default(),
        }
    }

    /// The peer's description has come again.
    pub(crate) fn signal(&mut self, audio: &AudioSetup, now: Time) {
        let before = self.latch.destination();
        let sends = audio.direction.receive;
        self.latch.signal(audio.remote, audio.signaller, sends, now);
        if self.latch.destination() != before || self.control != audio.control {
            self.control_source = None;
        }
        self.control = audio.control;
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
        if packet.payload.len() > MAX_PAYLOAD {
            return Err(DropReason::Malformed);
        }
        let payload = payload(audio, packet.payload_type).ok_or(DropReason::UnknownPayload)?;
        let clock = match payload {
            Payload::Audio(codec) => Some(codec.clock()),
            Payload::Event | Payload::ComfortNoise => None,
        };
        let knock = Knock {
            source: arrival.source,
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            clock: clock.unwrap_or(audio.format.codec.clock()),
            stamp: arrival.stamp,
        };
        if !self.latch.admit(&knock, arrival.door) {
            return Err(DropReason::ForeignSource);
        }
        let newest = self.order(&packet, clock, arrival.stamp)?;
        self.packets += 1;
        counts.packets_in += 1;
        counts.bytes_in += bytes.len() as u64;
        match payload {
            Payload::Event => Ok(self.digits.receive(packet.timestamp, packet.payload, newest)),
            Payload::Audio(codec) if listen && !packet.payload.is_empty() => {
                if let Some(level) = arrival.level {
                    self.claim.note(level);
                }
                self.store(codec, &packet, newest, arrival).map(|()| None)
            }
            Payload::Audio(_) | Payload::ComfortNoise => Ok(None),
        }
    }

    /// Says whether the packet is the newest so far, unless it is to be dropped.
    fn order(&mut self, packet: &RtpPacket<'_>, clock: Option<u32>, stamp: Time) -> Result<bool, DropReason> {
        let reception = self
            .reception
            .get_or_insert_with(|| Reception::new(packet.ssrc, packet.sequence));
        if let Some(clock) = clock {
            reception.set_clock(clock);
        }
        match reception.arrive(packet.ssrc, packet.sequence, packet.timestamp, stamp) {
            Order::Newest => Ok(true),
            Order::Overtaken => Ok(false),
            Order::Restarted => {
                self.playout.reset();
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
        let voice = Voice {
            codec,
            timestamp: packet.timestamp,
            payload: packet.payload,
            newest,
            stamp: arrival.stamp,
            ahead_ns: (arrival.next_tick.0 as i64).wrapping_sub(arrival.stamp.0 as i64),
        };
        match self.playout.put(&voice).ok_or(DropReason::Malformed)? {
            Put::Stored => Ok(()),
            Put::Overflow => Err(DropReason::Overflow),
            Put::Late => {
                self.late += 1;
                Err(DropReason::Late)
            }
        }
    }

    /// Takes the next frame; says at which rate it is if there is anything to hear, and whether the peer began
    /// or stopped to talk. Arrivals of what is heard for the first time are added to `arrivals`.
    pub(crate) fn take(
        &mut self,
        frame: &mut [i16; LONGEST_FRAME],
        arrivals: &mut Vec<Time>,
    ) -> (Option<Rate>, Option<bool>) {
        let before = arrivals.len();
        let Some(rate) = self.playout.take(frame, arrivals) else {
            self.claim.believe(0);
            return (None, self.talk.frame(0, 0));
        };
        let (peak, mean) = sound::level(&frame[..rate.frame()]);
        let change = self.talk.frame(peak, self.claim.believe(mean));
        let heard = !self.talk.quiet();
        if !heard {
            arrivals.truncate(before);
        }
        (heard.then_some(rate), change)
    }

    /// Whether the peer talks.
    pub(crate) const fn talks(&self) -> bool {
        self.talk.on()
    }

    /// Mean magnitude of its last frames, as far as its claims are believed.
    pub(crate) const fn loudness(&self) -> u16 {
        self.talk.loudness()
    }

    /// Nobody listens any more; returns `Some(false)` if the peer talked.
    pub(crate) fn stop(&mut self) -> Option<bool> {
        self.playout.reset();
        self.talk.stop()
    }

    /// Whether an RTCP packet from here is the peer's; if so, reports go back there.
    pub(crate) fn admit_control(&mut self, source: SocketAddr) -> bool {
        let named = match self.control {
            Control::Named(address) => Some(address.ip()),
            Control::NextPort | Control::Muxed => None,
        };
        let known = source.ip() == self.latch.destination().ip() || Some(source.ip()) == named;
        if known {
            self.control_source = Some(source);
        }
        known
    }

    /// A report has come from where reports of the peer are taken from.
    pub(crate) fn reported(&mut self, source: IpAddr, bytes: &[u8], stamp: Time) {
        if let Some(ssrc) = bytes.get(4..).and_then(|rest| rest.first_chunk()) {
            self.latch.reported(source, u32::from_be_bytes(*ssrc), stamp);
        }
    }

    /// Where reports for the peer go.
    pub(crate) fn control_destination(&self) -> Option<SocketAddr> {
        let media = self.latch.destination();
        if self.latch.is_pinned() || self.control == Control::Muxed {
            return Some(media);
        }
        self.control_source.or_else(|| match self.control {
            // What a phone behind a NAT names is as unreachable as the address that it names for RTP.
            Control::Named(address) if self.latch.is_where_named() => Some(address),
            _ => {
                let port = media.port().checked_add(1)?;
                Some(SocketAddr::new(media.ip(), port))
            }
        })
    }

    /// Whether RTCP leaves from the port of RTP.
    pub(crate) fn is_muxed(&self) -> bool {
        self.control == Control::Muxed
    }
}

fn payload(audio: &AudioSetup, payload_type: u8) -> Option<Payload> {
    let format = &audio.format;
    let mut known = format.receive.iter();
    if let Some((_, codec)) = known.find(|(known, _)| *known == payload_type) {
        return Some(Payload::Audio(*codec));
    }
    if format.events.iter().any(|(event, _)| *event == payload_type) {
        return Some(Payload::Event);
    }
    let noise = format.comfort_noise == Some(payload_type) || payload_type == COMFORT_NOISE;
    noise.then_some(Payload::ComfortNoise)
}
