//! RTCP of peers: what they report and ask for, and what we report and ask them for.

use std::time::Duration;

use cordboard_model::Time;

use super::feedback::{self, FeedbackKind, Request, Wish};
use super::peer::Peer;
use super::rewrite::{Pace, Rewrite};
use super::subscription::SentTotals;
use super::{House, Rtc};
use crate::counts::{Counts, DropReason};
use crate::report::peer_report;
use crate::rtcp::{self, Block, Cname, Item, Sent};

/// Bytes after which a compound packet is full.
const FULL: usize = 1000;
/// Between two reports about video (RFC 4585 section 3.4 lets them be frequent).
const INTERVAL: Duration = Duration::from_secs(1);

impl Rtc {
    /// Takes RTCP of a peer.
    pub(super) fn control(
        &mut self,
        at: usize,
        bytes: &[u8],
        stamp: Time,
        house: &mut House<'_>,
        now: Time,
    ) -> Result<(), DropReason> {
        let leg = &mut house.legs[self.peers[at].key];
        let clock = leg
            .audio
            .as_ref()
            .map_or(48_000, |audio| audio.format.codec.clock());
        leg.reports
            .receive(bytes, (leg.outlet.ssrc, clock), stamp, house.counts)?;
        rtcp::read(bytes, |item| self.item(at, &item, stamp, house));
        let counts = &mut house.counts.peers.feedback_in;
        let mut wishes = std::mem::take(&mut self.wishes);
        feedback::read(bytes, |kind| counts[kind as usize] += 1, |wish| wishes.push(wish));
        for wish in wishes.drain(..) {
            self.wish(at, wish, house, now);
        }
        self.wishes = wishes;
        Ok(())
    }

    fn item(&mut self, at: usize, item: &Item, stamp: Time, house: &mut House<'_>) {
        match item {
            Item::Sender { ssrc, middle } => {
                for key in &self.peers[at].published {
                    if let Some(layer) = self.sources[*key].layer(*ssrc) {
                        layer.sender = Some((*middle, stamp));
                    }
                }
            }
            Item::Block(block) => {
                let video = self.outgoing(at, block.ssrc);
                let mut voices = self.peers[at].voices.iter_mut();
                let voice = voices.find(|voice| voice.ssrc == block.ssrc);
                let (known, pace) = match (voice, video) {
                    (Some(voice), _) => (&mut voice.report, Pace::VOICE),
                    (None, Some(key)) => (&mut self.subscriptions[key].report, Pace::VIDEO),
                    (None, None) => return,
                };
                let report = peer_report(block, pace.clock, stamp);
                house.counts.peer_reported(known.replace(report), &report);
            }
            Item::Goodbye { .. } => {}
        }
    }

    fn wish(&mut self, at: usize, wish: Wish, house: &mut House<'_>, now: Time) {
        match wish {
            Wish::Packets {
                ssrc,
                sequence,
                following,
            } => {
                let Some(key) = self.outgoing(at, ssrc) else {
                    return;
                };
                self.resend(key, sequence, house, now);
                for bit in 0..16 {
                    if following >> bit & 1 == 1 {
                        self.resend(key, sequence.wrapping_add(bit + 1), house, now);
                    }
                }
            }
            Wish::Picture { ssrc, demand } => {
                let Some(key) = self.outgoing(at, ssrc) else {
                    return;
                };
                let one = &mut self.subscriptions[key];
                // A demand that is repeated has been heard.
                if demand.is_some() && std::mem::replace(&mut one.demand, demand) == demand {
                    return;
                }
                one.sent.plis += 1;
                if let Some(source) = one.source {
                    self.sources[source].pictures.want();
                    self.request_picture(source, house, now);
                }
            }
        }
    }

    /// The key of the subscription whose packets have this SSRC.
    fn outgoing(&self, at: usize, ssrc: u32) -> Option<usize> {
        let mut keys = self.peers[at].subscriptions.iter().copied();
        keys.find(|key| self.subscriptions[*key].ssrc == ssrc)
    }

    /// Asks the publisher of a source for a picture, if that is due.
    pub(super) fn request_picture(&mut self, key: usize, house: &mut House<'_>, now: Time) {
        let source = &mut self.sources[key];
        let Some(ssrc) = source.layers.first().map(|layer| layer.ssrc) else {
            return;
        };
        if source.muted || !reachable(&self.peers[source.peer], house) || !source.pictures.due(now) {
            return;
        }
        let mut formats = source.formats.iter();
        let only_fir = formats.all(|format| format.feedback.fir && !format.feedback.pli);
        let number = source.pictures.demands;
        source.pictures.demands = number.wrapping_add(1);
        let peer = source.peer;
        let kind = if only_fir {
            FeedbackKind::Fir
        } else {
            FeedbackKind::Pli
        };
        house.counts.peers.sent_feedback(kind);
        self.send_control(peer, house, |out, sender| match kind {
            FeedbackKind::Fir => feedback::write_fir(out, sender, ssrc, number),
            _ => feedback::write_pli(out, sender, ssrc),
        });
    }

    /// Asks for every picture that is due.
    pub(super) fn request_pictures(&mut self, house: &mut House<'_>, now: Time) {
        for key in 0..self.sources.capacity() {
            if self.sources.contains(key) {
                self.request_picture(key, house, now);
            }
        }
    }

    /// Asks the publisher of a source for what has not come.
    pub(super) fn request_packets(&mut self, key: usize, house: &mut House<'_>, now: Time) {
        let source = &mut self.sources[key];
        let peer = source.peer;
        let Some(layer) = source.layers.first_mut() else {
            return;
        };
        let mut asked = std::mem::take(&mut self.asked);
        let lost = layer.missing.ask(now, |sequence| asked.push(sequence));
        layer.nacks += asked.len() as u64;
        let ssrc = layer.ssrc;
        if lost > 0 {
            house.counts.lost += lost;
            source.pictures.want();
        }
        if !asked.is_empty() {
            house.counts.peers.sent_feedback(FeedbackKind::Nack);
            self.send_control(peer, house, |out, sender| {
                let mut request = Request::begin(out, sender, ssrc);
                asked.iter().for_each(|sequence| request.add(out, *sequence));
            });
        }
        asked.clear();
        self.asked = asked;
    }

    /// Tells a peer when its packets arrived.
    pub(super) fn send_arrivals(&mut self, at: usize, house: &mut House<'_>) {
        let peer = &mut self.peers[at];
        let media = peer
            .published
            .first()
            .and_then(|key| self.sources[*key].layers.first());
        let media = media.map_or(0, |layer| layer.ssrc);
        let mut arrivals = std::mem::take(&mut peer.arrivals);
        house.counts.peers.sent_feedback(FeedbackKind::TransportCc);
        self.send_control(at, house, |out, sender| arrivals.write(out, sender, media));
        self.peers[at].arrivals = arrivals;
    }

    /// Reports about what a peer is sent and what it sends.
    pub(super) fn report(&mut self, at: usize, house: &mut House<'_>, now: Time) {
        let peer = &mut self.peers[at];
        if now < peer.report_due {
            return;
        }
        let jitter = house.random.between(0, 400);
        peer.report_due = now + INTERVAL + Duration::from_millis(jitter);
        let (sender, cname) = {
            let outlet = &house.legs[peer.key].outlet;
            (outlet.ssrc, outlet.cname)
        };
        let mut compound = std::mem::take(&mut self.compound);
        let voices = peer.voices.iter_mut();
        let heard = voices.map(|voice| (voice.ssrc, &voice.rewrite, &mut voice.sent));
        for (ssrc, rewrite, sent) in heard {
            report_sent(&mut compound, (ssrc, &cname), rewrite, sent, now);
        }
        for key in &peer.subscriptions {
            let one = &mut self.subscriptions[*key];
            report_sent(
                &mut compound,
                (one.ssrc, &cname),
                &one.rewrite,
                &mut one.sent,
                now,
            );
        }
        for key in &peer.published {
            for layer in &mut self.sources[*key].layers {
                if let Some(block) = block(layer, now, house.counts) {
                    rtcp::write(&mut compound, sender, None, Some(block), &cname, false);
                }
            }
        }
        let mut rest = &compound[..];
        while !rest.is_empty() {
            let len = whole_packets(rest);
            let (now, later) = rest.split_at(len);
            self.push_control(at, house, |out| out.extend_from_slice(now));
            rest = later;
        }
        compound.clear();
        self.compound = compound;
    }

    /// Sends feedback, behind the report that must come first in a compound packet.
    fn send_control(&mut self, at: usize, house: &mut House<'_>, write: impl FnOnce(&mut Vec<u8>, u32)) {
        let outlet = &house.legs[self.peers[at].key].outlet;
        let (sender, cname) = (outlet.ssrc, outlet.cname);
        self.push_control(at, house, |out| {
            rtcp::write(out, sender, None, None, &cname, false);
            write(out, sender);
        });
    }

    fn push_control(&mut self, at: usize, house: &mut House<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let peer = &self.peers[at];
        let leg = &mut house.legs[peer.key];
        let (Some(to), true) = (peer.ice.selected(), leg.bound) else {
            return;
        };
        house
            .outbox
            .push(peer.leg, true, to, leg.srtp.as_deref_mut(), write);
        house.counts.control_out += 1;
    }
}

/// Says what was sent of a stream, if that is more than before.
fn report_sent(
    compound: &mut Vec<u8>,
    (ssrc, cname): (u32, &Cname),
    rewrite: &Rewrite,
    sent: &mut SentTotals,
    now: Time,
) {
    let Some(timestamp) = rewrite.timestamp(now).filter(|_| sent.packets != sent.reported) else {
        return;
    };
    sent.reported = sent.packets;
    let report = Sent {
        at: now,
        timestamp,
        packets: sent.packets as u32,
        bytes: sent.bytes as u32,
    };
    rtcp::write(compound, ssrc, Some(report), None, cname, false);
}

/// Whether feedback would reach a peer.
fn reachable(peer: &Peer, house: &House<'_>) -> bool {
    peer.connected && house.legs[peer.key].bound && peer.ice.selected().is_some()
}

/// What a report says about a layer, if anything came.
fn block(layer: &mut super::source::Layer, now: Time, counts: &mut Counts) -> Option<Block> {
    let reception = layer.reception.as_mut()?;
    counts.reported(reception);
    let interval = reception.interval();
    let (last_report, delay) = layer.sender.map_or((0, 0), |(middle, came)| {
        (middle, (now.since(came).as_micros() * 65_536 / 1_000_000) as u32)
    });
    Some(Block {
        ssrc: layer.ssrc,
        fraction_lost: interval.fraction_lost,
        total_lost: interval.total_lost.min(0x7f_ffff) as u32,
        highest: interval.highest,
        jitter: interval.jitter,
        last_report,
        delay,
    })
}

/// How many bytes of a long compound packet fit into one datagram. A part begins with a report again.
fn whole_packets(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut cut = bytes.len();
    while let Some(header) = bytes.get(at..at + 4) {
        if at >= FULL && matches!(header[1], 200 | 201) {
            cut = at;
            break;
        }
        at += 4 + usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
    }
    cut
}
