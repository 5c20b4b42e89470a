//! Phones around one shard in virtual time: they send tones through a network that a test shapes, and keep
//! what they hear.

pub(crate) mod coder;
#[path = "../../../src/g722.rs"]
mod g722;
pub(crate) mod tone;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use cordboard_media::rtp::RtpPacket;
use cordboard_media::{PortRequest, Shard};
use cordboard_model::media::{
    AudioFormat, AudioSetup, Codec, Control, Direction, LegTotals, MediaCommand, MediaEvent, OpusLimit,
};
use cordboard_model::{LegId, MixId, Time};

use coder::{Coder, rate};

pub(crate) const MS: u64 = 1_000_000;
/// How long each phone may be silent.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
const START: Time = Time(1_700_000_000_000_000_000);

/// A packet on its way to the shard.
struct Transit {
    leg: LegId,
    source: SocketAddr,
    control: bool,
    bytes: Vec<u8>,
}

/// What the network does to a packet: how late each copy arrives, in milliseconds; none is a loss.
pub(crate) type Network = Box<dyn FnMut(u64) -> Vec<f64>>;

/// A phone: sends what `speech` says, keeps what it hears.
pub(crate) struct Phone {
    pub(crate) leg: LegId,
    pub(crate) address: SocketAddr,
    pub(crate) codec: Codec,
    pub(crate) coder: Coder,
    /// What it hears by.
    ear: (Codec, Coder),
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    /// Sends packets of so many samples, one each so many nanoseconds; 0 sends nothing.
    pub(crate) packet: usize,
    pub(crate) interval: u64,
    pub(crate) speech: Box<dyn FnMut(u64) -> i16>,
    pub(crate) network: Network,
    /// Samples heard, and when each packet came, from START.
    pub(crate) heard: Vec<i16>,
    pub(crate) arrivals: Vec<u64>,
    pub(crate) markers: usize,
    /// Packets of RFC 4733: timestamp, marker, payload.
    pub(crate) keys: Vec<(u32, bool, Vec<u8>)>,
    pub(crate) payload_lens: BTreeSet<usize>,
    pub(crate) control: Vec<Vec<u8>>,
    /// Where they came: whether to be sent from the RTCP port, and to which address.
    pub(crate) control_ways: BTreeSet<(bool, SocketAddr)>,
    pub(crate) destinations: BTreeSet<SocketAddr>,
    expected: Option<(u16, u32, u32)>,
    next_send: u64,
    sent: u64,
    spoken: u64,
}

pub(crate) struct World {
    pub(crate) shard: Shard,
    pub(crate) now: Time,
    pub(crate) phones: BTreeMap<LegId, Phone>,
    pub(crate) events: Vec<(u64, MediaEvent)>,
    /// Legs whose packets go to another leg instead of a phone.
    pub(crate) wires: BTreeMap<LegId, LegId>,
    queue: BTreeMap<(u64, u64), Transit>,
    order: u64,
}

pub(crate) fn perfect() -> Network {
    Box::new(|_| vec![1.0])
}

pub(crate) fn format(codec: Codec, packet_ms: u8) -> AudioFormat {
    AudioFormat {
        codec,
        payload_type: payload_type(codec),
        receive: Codec::ALL.map(|codec| (payload_type(codec), codec)).to_vec(),
        events: vec![(101, 8000)],
        comfort_noise: None,
        opus: OpusLimit::default(),
        packet_ms,
    }
}

fn payload_type(codec: Codec) -> u8 {
    codec.static_payload_type().unwrap_or(111)
}

pub(crate) fn address(leg: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, (leg >> 8) as u8, leg as u8], 4000))
}

pub(crate) fn setup(leg: u64, codec: Codec) -> AudioSetup {
    AudioSetup {
        remote: address(leg),
        signaller: None,
        control: Control::NextPort,
        format: format(codec, 20),
        direction: Direction::BOTH,
        srtp: None,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let (phones, queue) = (BTreeMap::new(), BTreeMap::new());
        Self {
            shard: Shard::new(1),
            now: START,
            phones,
            events: Vec::new(),
            wires: BTreeMap::new(),
            queue,
            order: 0,
        }
    }

    /// Nanoseconds since the beginning.
    pub(crate) fn elapsed(&self) -> u64 {
        self.now.0 - START.0
    }

    /// A phone that says a tone (or nothing, at amplitude 0) in 20 ms packets, in mix 1.
    pub(crate) fn join(&mut self, leg: u64, codec: Codec, hertz: f64, amplitude: f64) -> &mut Phone {
        self.join_as(
            leg,
            setup(leg, codec),
            Box::new(tone::sine_at(rate(codec), hertz, amplitude)),
        )
    }

    pub(crate) fn join_as(
        &mut self,
        leg: u64,
        audio: AudioSetup,
        speech: Box<dyn FnMut(u64) -> i16>,
    ) -> &mut Phone {
        let phone = Phone {
            leg: LegId(leg),
            address: address(leg),
            codec: audio.format.codec,
            coder: Coder::new(audio.format.codec),
            ear: (audio.format.codec, Coder::new(audio.format.codec)),
            ssrc: leg as u32 * 7919,
            sequence: (leg * 1000) as u16,
            timestamp: leg as u32 * 77_777,
            packet: (rate(audio.format.codec) / 50) as usize,
            interval: 20 * MS,
            speech,
            network: perfect(),
            heard: Vec::new(),
            arrivals: Vec::new(),
            markers: 0,
            keys: Vec::new(),
            payload_lens: BTreeSet::new(),
            control: Vec::new(),
            control_ways: BTreeSet::new(),
            destinations: BTreeSet::new(),
            expected: None,
            // Each phone has its own phase.
            next_send: self.elapsed() + leg * 3_700_000 % (20 * MS),
            sent: 0,
            spoken: 0,
        };
        self.phones.insert(phone.leg, phone);
        let local = "10.0.0.1".parse().unwrap();
        let mix = MixId(1);
        self.command(MediaCommand::Open {
            leg: LegId(leg),
            mix,
            local,
            audio: Some(audio),
            muted: false,
            deaf: false,
            patience: PATIENCE,
        });
        self.phone(leg)
    }

    pub(crate) fn phone(&mut self, leg: u64) -> &mut Phone {
        self.phones.get_mut(&LegId(leg)).unwrap()
    }

    pub(crate) fn command(&mut self, command: MediaCommand) {
        self.shard.command(command, self.now);
        self.drain();
    }

    pub(crate) fn gate(&mut self, leg: u64, muted: bool, deaf: bool) {
        self.command(MediaCommand::Gate {
            leg: LegId(leg),
            muted,
            deaf,
        });
    }

    pub(crate) fn close(&mut self, leg: u64) -> LegTotals {
        self.command(MediaCommand::Close { leg: LegId(leg) });
        let closed = self.events.iter().rev().find_map(|(_, event)| match event {
            MediaEvent::Closed { leg: closed, totals } if *closed == LegId(leg) => Some(*totals),
            _ => None,
        });
        closed.expect("the leg closes")
    }

    /// Gives the shard a datagram now.
    pub(crate) fn inject(&mut self, leg: u64, source: SocketAddr, bytes: &[u8]) {
        self.shard.packet(LegId(leg), source, bytes, self.now, self.now);
        self.drain();
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.elapsed() + ms * MS;
        loop {
            let tick = self.shard.next_timeout().map(|due| due.0 - START.0);
            let send = self
                .phones
                .values()
                .filter(|phone| phone.interval > 0)
                .map(|phone| phone.next_send)
                .min();
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let Some(at) = [tick, send, arrival]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = Time(START.0 + at.max(self.elapsed()));
            if Some(at) == arrival {
                let (_, packet) = self.queue.pop_first().unwrap();
                if packet.control {
                    self.shard
                        .control_packet(packet.leg, packet.source, &packet.bytes, self.now, self.now);
                } else {
                    self.shard
                        .packet(packet.leg, packet.source, &packet.bytes, self.now, self.now);
                }
            } else if Some(at) == send {
                self.send_due(at);
            } else {
                self.shard.timeout(self.now);
            }
            self.drain();
        }
        self.now = Time(START.0 + end);
    }

    /// Sends RTCP to the shard from a phone's RTCP port.
    pub(crate) fn report(&mut self, leg: u64, bytes: Vec<u8>) {
        let mut source = address(leg);
        source.set_port(source.port() + 1);
        let key = (self.elapsed(), self.order);
        self.order += 1;
        self.queue.insert(
            key,
            Transit {
                leg: LegId(leg),
                source,
                control: true,
                bytes,
            },
        );
    }

    fn send_due(&mut self, at: u64) {
        for phone in self
            .phones
            .values_mut()
            .filter(|phone| phone.interval > 0 && phone.next_send == at)
        {
            let bytes = phone.packet();
            let delays = (phone.network)(phone.sent);
            phone.sent += 1;
            phone.next_send += phone.interval;
            for delay in delays {
                let key = (at + (delay * MS as f64) as u64, self.order);
                self.order += 1;
                let (leg, source) = (phone.leg, phone.address);
                self.queue.insert(
                    key,
                    Transit {
                        leg,
                        source,
                        control: false,
                        bytes: bytes.clone(),
                    },
                );
            }
        }
    }

    fn drain(&mut self) {
        let (phones, at) = (&mut self.phones, self.now.0 - START.0);
        let mut crossing = Vec::new();
        self.shard.drain_packets(|packet| {
            if let Some(other) = self.wires.get(&packet.leg) {
                let source = phones[other].address;
                crossing.push((*other, source, packet.control, packet.bytes.to_vec()));
                return;
            }
            let phone = phones.get_mut(&packet.leg).expect("a packet of a known leg");
            // RFC 5761 section 4: RTCP is told from RTP by its second byte.
            if packet.control || (192..=223).contains(&packet.bytes[1]) {
                phone.control.push(packet.bytes.to_vec());
                phone.control_ways.insert((packet.control, packet.destination));
            } else {
                phone.destinations.insert(packet.destination);
                phone.hear(packet.bytes, at);
            }
        });
        for (leg, source, control, bytes) in crossing {
            let key = (at, self.order);
            self.order += 1;
            self.queue.insert(
                key,
                Transit {
                    leg,
                    source,
                    control,
                    bytes,
                },
            );
        }
        self.shard.handed_over(self.now);
        while let Some(request) = self.shard.poll_port() {
            if let PortRequest::Bind { leg, .. } = request {
                self.shard.bound(leg, Ok(20_000 + 2 * leg.0 as u16), self.now);
            }
        }
        while let Some(event) = self.shard.poll_event() {
            self.events.push((at, event));
        }
    }

    /// Which legs began (`true`) or stopped to talk, and when, in milliseconds.
    pub(crate) fn talk(&self, leg: u64) -> Vec<(u64, bool)> {
        let changes = self.events.iter().filter_map(|(at, event)| match event {
            MediaEvent::Talking { leg: who, on } if *who == LegId(leg) => Some((at / MS, *on)),
            _ => None,
        });
        changes.collect()
    }

    pub(crate) fn digits(&self) -> String {
        let digits = self.events.iter().filter_map(|(_, event)| match event {
            MediaEvent::Digit { digit, .. } => Some(*digit),
            _ => None,
        });
        digits.collect()
    }
}

impl Phone {
    /// Sends nothing from now on.
    pub(crate) fn stop(&mut self) {
        self.interval = 0;
    }

    /// Sends again from now on, after a pause of so many samples.
    pub(crate) fn resume(&mut self, now: u64, interval: u64, pause: u32) {
        self.next_send = now;
        self.interval = interval;
        self.timestamp = self.timestamp.wrapping_add(pause);
    }

    /// Sends later by so many nanoseconds, as if time had stood still.
    pub(crate) fn postpone(&mut self, by: u64) {
        self.next_send += by;
    }

    /// Forgets what was heard.
    pub(crate) fn clear(&mut self) {
        self.heard.clear();
        self.arrivals.clear();
    }

    /// The last so many milliseconds heard.
    pub(crate) fn last(&self, ms: usize) -> &[i16] {
        &self.heard[self.heard.len() - ms * self.rate() as usize / 1000..]
    }

    /// Samples per second.
    pub(crate) fn rate(&self) -> u64 {
        rate(self.ear.0)
    }

    /// The next packet that the phone would send.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let samples: Vec<i16> = (0..self.packet)
            .map(|_| {
                let sample = (self.speech)(self.spoken);
                self.spoken += 1;
                sample
            })
            .collect();
        let payload = self.coder.encode(&samples);
        let units = self.packet as u64 * u64::from(self.codec.clock()) / rate(self.codec);
        self.raw(payload_type(self.codec), false, &payload, units as u32)
    }

    /// A packet with this content; `samples` is how far the timestamp goes on.
    pub(crate) fn raw(&mut self, payload_type: u8, marker: bool, payload: &[u8], samples: u32) -> Vec<u8> {
        let (sequence, timestamp, ssrc) = (self.sequence, self.timestamp, self.ssrc);
        let packet = RtpPacket {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc,
            payload,
        };
        let mut bytes = packet.header().to_vec();
        bytes.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(samples);
        bytes
    }

    fn hear(&mut self, bytes: &[u8], at: u64) {
        let packet = RtpPacket::parse(bytes).expect("the shard sends RTP");
        if packet.payload_type == 101 {
            let (sequence, timestamp, _) = self.expected.unwrap_or((packet.sequence, packet.timestamp, 0));
            self.expected = Some((sequence.wrapping_add(1), timestamp, packet.ssrc));
            assert_eq!(packet.sequence, sequence);
            self.keys
                .push((packet.timestamp, packet.marker, packet.payload.to_vec()));
            return;
        }
        let mut paused = 0;
        if let Some((sequence, timestamp, ssrc)) = self.expected {
            assert_eq!(
                (packet.sequence, packet.ssrc),
                (sequence, ssrc),
                "one stream without a gap"
            );
            paused = packet.timestamp.wrapping_sub(timestamp);
            assert!(paused % 80 == 0);
        }
        let codec = Codec::ALL
            .into_iter()
            .find(|codec| payload_type(*codec) == packet.payload_type)
            .expect("a payload type that was negotiated");
        if codec != self.ear.0 {
            self.ear = (codec, Coder::new(codec));
        } else if codec == Codec::Opus {
            let pause = self.ear.1.pause(paused as usize);
            self.heard.extend(pause);
        }
        let samples = self.ear.1.decode(packet.payload);
        let units = samples.len() as u64 * u64::from(codec.clock()) / rate(codec);
        let next = packet.timestamp.wrapping_add(units as u32);
        self.expected = Some((packet.sequence.wrapping_add(1), next, packet.ssrc));
        self.heard.extend(samples);
        self.arrivals.push(at);
        self.markers += usize::from(packet.marker);
        self.payload_lens.insert(packet.payload.len());
    }
}

/// The longest time between two packets, in milliseconds.
pub(crate) fn longest_pause(arrivals: &[u64]) -> u64 {
    arrivals
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap_or(0)
        / MS
}
