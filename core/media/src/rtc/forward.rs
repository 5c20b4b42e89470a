//! From a publisher's packet to one for each subscriber: placed, kept, renumbered, protected.

use cordboard_model::Time;

use super::cache::Kept;
use super::extension::Written;
use super::source::Place;
use super::stamp::Stamp;
use super::{House, ResendOutcome, Rtc, key_frame};
use crate::counts::DropReason;
use crate::rtp::{HEADER_LEN, RtpPacket};

/// What is forwarded of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit<'a> {
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) payload: &'a [u8],
    /// The value of the orientation extension.
    pub(crate) orientation: Option<u8>,
}

/// How a packet stands in the stream of a subscriber.
struct Head {
    ssrc: u32,
    index: u64,
    timestamp: u32,
    payload_type: u8,
    marker: bool,
    orientation: Option<u8>,
    stamp: Stamp,
    /// Of a retransmission, the number that the packet had.
    original: Option<u16>,
}

impl Rtc {
    /// Takes a packet of a source.
    pub(super) fn video(
        &mut self,
        key: usize,
        ssrc: u32,
        unit: &Unit<'_>,
        stamp: Time,
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        let source = &mut self.sources[key];
        let asks = source.takes_nack() && !source.muted;
        let main = source.is_main(ssrc, stamp);
        let layer = source.layer(ssrc).ok_or(DropReason::UnknownStream)?;
        let (place, lost) = layer.place(unit.sequence, unit.timestamp, stamp, asks)?;
        layer.packets += 1;
        layer.bytes += unit.payload.len() as u64;
        if !place.anew && layer.missing.found(place.index) {
            layer.recovered += 1;
            house.counts.peers.recovered += 1;
        }
        if lost > 0 {
            house.counts.lost += lost;
            source.pictures.want();
        }
        if source.muted {
            return Err(DropReason::Muted);
        }
        if !main {
            return Ok(());
        }
        self.take(key, place, unit, stamp, house, now)
    }

    /// Takes a packet of a source that was sent again.
    pub(super) fn video_again(
        &mut self,
        key: usize,
        ssrc: u32,
        unit: &Unit<'_>,
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        let source = &mut self.sources[key];
        let main = source.layers.first().is_some_and(|layer| layer.ssrc == ssrc);
        let layer = source.layer(ssrc).ok_or(DropReason::UnknownStream)?;
        let place = layer
            .place_again(unit.sequence)
            .ok_or(DropReason::OutOfSequence)?;
        if !layer.missing.found(place.index) {
            // It came by itself, or was given up.
            return Err(DropReason::Duplicate);
        }
        layer.recovered += 1;
        house.counts.peers.recovered += 1;
        if source.muted || !main {
            return Ok(());
        }
        self.take(key, place, unit, now, house, now)
    }

    /// Keeps a packet and forwards it.
    fn take(
        &mut self,
        key: usize,
        place: Place,
        unit: &Unit<'_>,
        stamp: Time,
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        let source = &mut self.sources[key];
        let codec = source
            .codec(unit.payload_type)
            .ok_or(DropReason::UnknownPayload)?;
        let kept = Kept {
            marker: unit.marker,
            payload_type: unit.payload_type,
            timestamp: unit.timestamp,
            orientation: unit.orientation,
        };
        let new = source
            .layers
            .first_mut()
            .is_some_and(|layer| layer.cache.put(place.index, kept, unit.payload));
        if !new {
            return Err(DropReason::Duplicate);
        }
        let key_frame = key_frame::begins(codec, unit.payload);
        if key_frame {
            source.pictures.came();
        }
        let before = house.counts.peers.packets_out;
        for at in 0..self.sources[key].subscribers.len() {
            self.forward(key, at, place, unit, key_frame, house, now);
        }
        if house.counts.peers.packets_out != before {
            self.forwarded.push(stamp);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one packet for one subscriber")]
    fn forward(
        &mut self,
        key: usize,
        at: usize,
        place: Place,
        unit: &Unit<'_>,
        key_frame: bool,
        house: &mut House<'_>,
        now: Time,
    ) {
        let source = &mut self.sources[key];
        let subscriber = source.subscribers[at];
        let one = &mut self.subscriptions[subscriber];
        if place.anew && !one.waits {
            one.wait();
            source.pictures.want();
        }
        let Some(pair) = one.pair(unit.payload_type) else {
            return;
        };
        if !self.peers[one.peer].connected {
            return;
        }
        if one.waits {
            if !one.opens(key_frame, now) {
                return;
            }
            one.waits = false;
            one.rewrite.begin(place.index, unit.timestamp, now);
        }
        let Some((index, timestamp)) = one.rewrite.map(place.index, unit.timestamp, now) else {
            return;
        };
        one.sent.packets += 1;
        one.sent.bytes += unit.payload.len() as u64;
        let stamp = self.peers[one.peer].stamp(&one.extensions, now);
        one.stamps.keep(index, stamp);
        let head = Head {
            ssrc: one.ssrc,
            index,
            timestamp,
            payload_type: pair.ours,
            marker: unit.marker,
            orientation: unit.orientation,
            stamp,
            original: None,
        };
        self.send(subscriber, &head, unit.payload, house);
    }

    /// Sends a packet again that a subscriber asks for.
    pub(super) fn resend(&mut self, key: usize, sequence: u16, house: &mut House<'_>, now: Time) {
        let one = &mut self.subscriptions[key];
        one.sent.nacks += 1;
        let origin = one.rewrite.origin(sequence);
        let source = one.source.and_then(|source| self.sources.get(source));
        let found = origin.zip(source).and_then(|((index, out, shift), source)| {
            let layer = source.layers.first()?;
            let (kept, payload) = layer.cache.get(index)?;
            Some((kept, payload, out, shift, one.pair(kept.payload_type)?))
        });
        let Some((kept, payload, out, shift, pair)) = found else {
            house.counts.peers.resend(ResendOutcome::Missing);
            return;
        };
        let again = one.rtx.zip(pair.rtx);
        let same = one.stamps.of(out).filter(|_| again.is_none());
        if again.is_none() && one.stamps.are_kept() && same.is_none() {
            // It can be sent again bit for bit or not at all.
            house.counts.peers.resend(ResendOutcome::Missing);
            return;
        }
        if !one.may_resend(now) {
            house.counts.peers.resend(ResendOutcome::Refused);
            return;
        }
        one.sent.resends += 1;
        let stamp = same.unwrap_or_else(|| self.peers[one.peer].stamp(&one.extensions, now));
        let head = Head {
            ssrc: again.map_or(one.ssrc, |(ssrc, _)| ssrc),
            // Without a stream of its own a packet is sent again bit for bit: its nonce must not protect others.
            index: if again.is_some() { one.next_rtx() } else { out },
            timestamp: kept.timestamp.wrapping_add(shift),
            payload_type: again.map_or(pair.ours, |(_, payload_type)| payload_type),
            marker: kept.marker,
            orientation: kept.orientation,
            stamp,
            original: again.map(|_| out as u16),
        };
        let mut copy = std::mem::take(&mut self.copy);
        copy.clear();
        copy.extend_from_slice(payload);
        self.send(key, &head, &copy, house);
        self.copy = copy;
        house.counts.peers.resend(ResendOutcome::Sent);
    }

    fn send(&mut self, key: usize, head: &Head, payload: &[u8], house: &mut House<'_>) {
        let one = &self.subscriptions[key];
        let at = one.peer;
        let peer = &mut self.peers[at];
        let leg = &mut house.legs[peer.key];
        let Some(session) = leg.srtp.as_mut().filter(|_| leg.bound) else {
            return;
        };
        let header = RtpPacket {
            marker: head.marker,
            payload_type: head.payload_type,
            sequence: head.index as u16,
            timestamp: head.timestamp,
            ssrc: head.ssrc,
            payload: &[],
        };
        let mut header = header.header();
        let mut written = Written::default();
        let ids = &one.extensions;
        written.add(ids.mid, one.mid.as_bytes());
        written.add(ids.abs_send_time, &head.stamp.time);
        written.add(ids.transport_cc, &head.stamp.number);
        if let Some(value) = head.orientation {
            written.add(ids.orientation, &[value]);
        }
        let block = written.finish();
        header[0] |= u8::from(!block.is_empty()) << 4;
        if peer.bursts.is_empty() {
            self.dirty.push(at);
        }
        let len = peer.bursts.push(|bytes| {
            let start = bytes.len();
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(block);
            if let Some(original) = head.original {
                bytes.extend_from_slice(&original.to_be_bytes());
            }
            bytes.extend_from_slice(payload);
            session.protect_at(bytes, start, HEADER_LEN + block.len(), head.ssrc, head.index);
        });
        house.counts.peers.packets_out += 1;
        house.counts.peers.bytes_out += len as u64;
    }
}
