//! Datagrams that come on the port of WebRTC: what each is, whose, and which stream it belongs to.

use std::net::SocketAddr;

use cordboard_model::Time;
use cordboard_model::media::MediaEvent;

use super::forward::Unit;
use super::peer::Route;
use super::source::Layer;
use super::{House, Rtc, extension};
use crate::counts::DropReason;
use crate::inlet::Arrival;
use crate::latch::Door;
use crate::rtp::{RtpPacket, is_rtcp};

/// The longest packet that is unprotected.
const LONGEST: usize = 2048;
/// Layers that are found by their packets, for a line whose description names none.
const MAX_FOUND: usize = 4;

impl Rtc {
    /// Takes a datagram (RFC 7983: its first byte tells what it is).
    pub(crate) fn receive(
        &mut self,
        source: SocketAddr,
        bytes: &[u8],
        stamp: Time,
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        match bytes.first() {
            Some(0..=3) => self.check(source, bytes, house, now),
            Some(20..=63) => self.queue_handshake(source, bytes),
            Some(128..=191) => {
                let mut packet = std::mem::take(&mut self.packet);
                packet.clear();
                packet.extend_from_slice(bytes.get(..LONGEST).unwrap_or(bytes));
                let outcome = self.secured(source, &mut packet, stamp, house, now);
                self.packet = packet;
                outcome
            }
            _ => Err(DropReason::Malformed),
        }
    }

    fn secured(
        &mut self,
        source: SocketAddr,
        packet: &mut [u8],
        stamp: Time,
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        let at = *self.by_address.get(&source).ok_or(DropReason::UnprovenSource)?;
        let peer = &self.peers[at];
        let session = house.legs[peer.key].srtp.as_mut().filter(|_| !peer.lost);
        let session = session.ok_or(DropReason::NotReady)?;
        if is_rtcp(packet) {
            let len = session.unprotect_control(packet)?;
            return self.control(at, &packet[..len], stamp, house, now);
        }
        let len = session.unprotect(packet)?;
        self.media(at, source, &packet[..len], stamp, house, now)
    }

    fn media(
        &mut self,
        at: usize,
        source: SocketAddr,
        bytes: &[u8],
        stamp: Time,
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        let packet = RtpPacket::parse(bytes).map_err(|_| DropReason::Malformed)?;
        let peer = &mut self.peers[at];
        if let Some(&[high, low, ..]) = extension::find(bytes, peer.transport_cc) {
            peer.arrivals.note(u16::from_be_bytes([high, low]), stamp);
        }
        let route = match peer.route(packet.ssrc) {
            Some(route) => route,
            None => self.find(at, bytes, &packet)?,
        };
        match route {
            Route::Audio => {
                let level = self.peers[at].level(bytes);
                self.speak(at, &packet, level, stamp, house, now);
                self.audio(at, source, bytes, level, stamp, house)
            }
            Route::Video(key) => {
                let unit = self.unit(key, bytes, &packet);
                self.count_video(bytes.len(), house);
                self.video(key, packet.ssrc, &unit, stamp, house, now)
            }
            Route::Again { source, of } => {
                self.count_video(bytes.len(), house);
                self.again(source, of, bytes, &packet, house, now)
            }
        }
    }

    fn count_video(&self, len: usize, house: &mut House<'_>) {
        house.counts.peers.packets_in += 1;
        house.counts.peers.bytes_in += len as u64;
    }

    fn unit<'a>(&self, key: usize, bytes: &[u8], packet: &RtpPacket<'a>) -> Unit<'a> {
        let id = self.sources[key].extensions.orientation;
        Unit {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload_type: packet.payload_type,
            payload: packet.payload,
            orientation: extension::find(bytes, id).and_then(|value| value.first().copied()),
        }
    }

    /// Unwraps a retransmission (RFC 4588 section 4): the number that the packet had comes first.
    fn again(
        &mut self,
        key: usize,
        of: Option<u32>,
        bytes: &[u8],
        packet: &RtpPacket<'_>,
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        let source = &self.sources[key];
        // Padding that probes the way is sent like this, too.
        let Some((sequence, payload)) = packet.payload.split_first_chunk::<2>() else {
            return Ok(());
        };
        let format = source
            .formats
            .iter()
            .find(|format| format.rtx == Some(packet.payload_type));
        let payload_type = format.ok_or(DropReason::UnknownPayload)?.payload_type;
        let ssrc = of.or_else(|| source.layers.first().map(|layer| layer.ssrc));
        let unit = Unit {
            sequence: u16::from_be_bytes(*sequence),
            payload_type,
            payload,
            ..self.unit(key, bytes, packet)
        };
        self.video_again(key, ssrc.ok_or(DropReason::NotReady)?, &unit, house, now)
    }

    fn audio(
        &mut self,
        at: usize,
        source: SocketAddr,
        bytes: &[u8],
        level: Option<u8>,
        stamp: Time,
        house: &mut House<'_>,
    ) -> Result<(), DropReason> {
        let peer = &self.peers[at];
        let (id, leg) = (peer.leg, &mut house.legs[peer.key]);
        let next_tick = house.next_tick.ok_or(DropReason::NotReady)?;
        let (listen, receives) = (leg.may_speak(), leg.receives());
        let (Some(inlet), Some(audio)) = (&mut leg.inlet, &leg.audio) else {
            return Err(DropReason::NotReady);
        };
        let arrival = Arrival {
            source,
            stamp,
            next_tick,
            level,
            door: Door::Proven,
        };
        let key = inlet.receive(bytes, arrival, audio, listen, house.counts)?;
        if let Some(digit) = key.filter(|_| receives) {
            house.events.push_back(MediaEvent::Digit { leg: id, digit });
        }
        Ok(())
    }

    /// Finds out what an SSRC is that no description names: by the line's name, else by the payload type
    /// (RFC 9143 section 9.2).
    fn find(&mut self, at: usize, bytes: &[u8], packet: &RtpPacket<'_>) -> Result<Route, DropReason> {
        let peer = &self.peers[at];
        let is_audio = peer.is_audio(packet.payload_type);
        let named = peer.published.iter().copied().find(|key| {
            let source = &self.sources[*key];
            extension::find(bytes, source.extensions.mid) == Some(source.id.mid.as_bytes())
        });
        let typed = || {
            let mut published = peer.published.iter().copied();
            published.find(|key| self.sources[*key].format(packet.payload_type).is_some())
        };
        let key = named.or_else(|| if is_audio { None } else { typed() });
        let route = match key {
            Some(key) => match self.sources[key].format(packet.payload_type) {
                Some((_, true)) => Route::Again {
                    source: key,
                    of: self.layer_without_rtx(key),
                },
                Some((_, false)) => Route::Video(key),
                None => return Err(DropReason::UnknownPayload),
            },
            None if is_audio => Route::Audio,
            None => return Err(DropReason::UnknownStream),
        };
        if let Route::Video(key) = route
            && !self.found(key, packet.ssrc)
        {
            return Err(DropReason::UnknownStream);
        }
        let known = self.peers[at].learn(packet.ssrc, route);
        known.then_some(route).ok_or(DropReason::UnknownStream)
    }

    /// A new encoding of a source; `false` if there are too many.
    fn found(&mut self, key: usize, ssrc: u32) -> bool {
        let source = &mut self.sources[key];
        let room = source.layers.len() < MAX_FOUND;
        if room {
            self.numbers += 1;
            source.layers.push(Layer::new(self.numbers, ssrc, None));
            source.pictures.want();
        }
        room
    }

    fn layer_without_rtx(&self, key: usize) -> Option<u32> {
        let mut layers = self.sources[key].layers.iter();
        layers.find(|layer| layer.rtx.is_none()).map(|layer| layer.ssrc)
    }
}
