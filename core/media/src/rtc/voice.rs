//! Audio that is forwarded as it comes: the loudest speakers of a mix, each on a line of every listener. Who they are
//! changes; the streams of the lines go on without a gap in their numbers, so that no decoder notices.

use cordboard_model::media::peer::{HeaderExtensions, VoiceLine};
use cordboard_model::media::{Codec, PeerReport};
use cordboard_model::{MixId, Time};

use super::extension::Written;
use super::rewrite::{Pace, Rewrite};
use super::source::{Layer, Place};
use super::stage::{PLACES, Speaker, Stage};
use super::subscription::SentTotals;
use super::{House, Rtc};
use crate::rtp::{HEADER_LEN, RtpPacket};

/// A line on which a peer hears one speaker at a time.
#[derive(Debug)]
pub(crate) struct VoiceSlot {
    pub(crate) mid: String,
    pub(crate) ssrc: u32,
    payload_type: u8,
    extensions: HeaderExtensions,
    pub(crate) rewrite: Rewrite,
    /// The holding of a place that is heard on it.
    grant: u64,
    pub(crate) sent: SentTotals,
    pub(crate) report: Option<PeerReport>,
}

impl VoiceSlot {
    /// A stream that begins, or goes on after the highest index that its SSRC has used.
    fn new(ssrc: u32, used: Option<u64>, house: &mut House<'_>) -> Self {
        Self {
            mid: String::new(),
            ssrc,
            payload_type: 0,
            extensions: HeaderExtensions::default(),
            rewrite: match used {
                Some(highest) => Rewrite::after(highest, Pace::VOICE),
                None => Rewrite::new(house.random.next(), Pace::VOICE),
            },
            grant: 0,
            sent: SentTotals::default(),
            report: None,
        }
    }
}

impl Rtc {
    /// The lines on which a peer hears single speakers are these from now on.
    pub(super) fn hear(&mut self, at: usize, lines: &[VoiceLine], house: &mut House<'_>) {
        let peer = &mut self.peers[at];
        let mut before = std::mem::take(&mut peer.voices);
        let mut voices: Vec<VoiceSlot> = Vec::new();
        for line in &lines[..lines.len().min(PLACES)] {
            let taken = voices.iter().any(|voice| voice.ssrc == line.ssrc)
                || peer.audio.as_ref().is_some_and(|audio| audio.ssrc == line.ssrc);
            if taken {
                continue; // two streams with one SSRC would use the same numbers under one key
            }
            // A line that stays goes on as it was, in the middle of a talk: descriptions come with everybody who comes.
            let known = before.iter().position(|known| known.ssrc == line.ssrc);
            let mut voice = match known {
                Some(known) => before.swap_remove(known),
                None => VoiceSlot::new(line.ssrc, peer.used(line.ssrc), house),
            };
            voice.mid.clone_from(&line.mid);
            (voice.payload_type, voice.extensions) = (line.payload_type, line.extensions);
            voices.push(voice);
        }
        for over in before {
            peer.retire(over.ssrc, over.rewrite.highest());
        }
        let leg = &mut house.legs[peer.key];
        leg.hears_apart = !voices.is_empty();
        peer.voices = voices;
    }

    /// Takes audio of a peer, which is forwarded if it is one of the loudest; `level` is what it says of its loudness.
    pub(super) fn speak(
        &mut self,
        at: usize,
        packet: &RtpPacket<'_>,
        level: Option<u8>,
        stamp: Time,
        house: &mut House<'_>,
        now: Time,
    ) {
        // Out of the way of what each copy changes.
        let mut stages = std::mem::take(&mut self.stages);
        if let Some(stage) = stages.get_mut(&self.peers[at].mix)
            && let Some(placed) = self.placed(at, packet, stamp, stage, house)
            && let Some(place) = stage.place_of(at)
        {
            let before = house.counts.packets_out;
            for listener in stage.listeners.iter().filter(|listener| **listener != at) {
                if let Some(line) = stage.line(place, *listener) {
                    self.pass_on(*listener, line, placed, packet, level, house, now);
                }
            }
            if house.counts.packets_out != before {
                self.spoken.push(stamp);
            }
        }
        self.stages = stages;
    }

    /// Where a packet stands in what a peer says; `None` if it is not to be forwarded.
    fn placed(
        &mut self,
        at: usize,
        packet: &RtpPacket<'_>,
        stamp: Time,
        stage: &mut Stage,
        house: &House<'_>,
    ) -> Option<Place> {
        let peer = &mut self.peers[at];
        let leg = &house.legs[peer.key];
        if packet.payload.is_empty() || !leg.may_speak() || !is_opus(leg, packet.payload_type) {
            return None;
        }
        if peer.spoken.as_ref().is_none_or(|layer| layer.ssrc != packet.ssrc) {
            self.numbers += 1;
            peer.spoken = Some(Layer::new(self.numbers, packet.ssrc, None));
        }
        let (placed, _) = peer
            .spoken
            .as_mut()?
            .place(packet.sequence, packet.timestamp, stamp, false)
            .ok()?;
        if placed.anew {
            stage.renew(at, &mut self.numbers);
        }
        Some(placed)
    }

    #[expect(clippy::too_many_arguments, reason = "one packet for one listener")]
    fn pass_on(
        &mut self,
        at: usize,
        (line, grant): (usize, u64),
        placed: Place,
        packet: &RtpPacket<'_>,
        level: Option<u8>,
        house: &mut House<'_>,
        now: Time,
    ) {
        let peer = &mut self.peers[at];
        let leg = &mut house.legs[peer.key];
        let heard = peer.connected && !peer.lost && leg.bound && !leg.deaf;
        let Some(voice) = peer.voices.get_mut(line) else {
            return;
        };
        let Some(session) = leg.srtp.as_ref().filter(|_| heard) else {
            voice.grant = 0; // what is not for it is no loss: it hears the next one as a beginning
            return;
        };
        let begins = voice.grant != grant;
        if begins {
            voice.grant = grant;
            voice.rewrite.begin(placed.index, packet.timestamp, now);
        }
        let Some((index, timestamp)) = voice.rewrite.map(placed.index, packet.timestamp, now) else {
            return; // from before its turn
        };
        voice.sent.packets += 1;
        voice.sent.bytes += packet.payload.len() as u64;
        let mut header = RtpPacket {
            // The first of a talk, also where another speaker takes over (RFC 7587 section 4.1).
            marker: packet.marker || begins,
            payload_type: voice.payload_type,
            sequence: index as u16,
            timestamp,
            ssrc: voice.ssrc,
            payload: &[],
        }
        .header();
        let mut written = Written::default();
        written.add(voice.extensions.mid, voice.mid.as_bytes());
        if let Some(level) = level {
            written.add(voice.extensions.audio_level, &[level]);
        }
        let block = written.finish();
        header[0] |= u8::from(!block.is_empty()) << 4;
        if peer.bursts.is_empty() {
            self.dirty.push(at);
        }
        let ssrc = voice.ssrc;
        let len = peer.bursts.push(|bytes| {
            let start = bytes.len();
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(block);
            bytes.extend_from_slice(packet.payload);
            session.protect_at(bytes, start, HEADER_LEN + block.len(), ssrc, index);
        });
        house.counts.packets_out += 1;
        house.counts.bytes_out += len as u64;
    }

    /// A tick: who is heard from now on.
    pub(super) fn choose_speakers(&mut self, house: &House<'_>) {
        self.stages.values_mut().for_each(|stage| stage.listeners.clear());
        for (at, peer) in &self.peers {
            if !peer.voices.is_empty() {
                self.stages.entry(peer.mix).or_default().listeners.push(at);
            }
        }
        self.stages.retain(|_, stage| !stage.listeners.is_empty());
        let mut candidates = std::mem::take(&mut self.candidates);
        for (mix, stage) in &mut self.stages {
            candidates.clear();
            let here = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.mix == *mix && !peer.lost);
            candidates.extend(here.filter_map(|(at, peer)| {
                let leg = &house.legs[peer.key];
                let inlet = leg
                    .inlet
                    .as_ref()
                    .filter(|_| leg.sends_apart && leg.may_speak())?;
                Some(Speaker {
                    peer: at,
                    talking: inlet.talks(),
                    loudness: inlet.loudness(),
                })
            }));
            stage.choose(&candidates, &mut self.numbers);
        }
        self.candidates = candidates;
    }

    /// A peer is in no mix, or in another, from now on.
    pub(super) fn leave_stage(&mut self, at: usize, mix: MixId) {
        if let Some(stage) = self.stages.get_mut(&mix) {
            stage.forget(at);
        }
    }
}

fn is_opus(leg: &crate::leg::Leg, payload_type: u8) -> bool {
    let formats = leg.audio.iter().flat_map(|audio| &audio.format.receive);
    formats
        .into_iter()
        .any(|(known, codec)| *known == payload_type && *codec == Codec::Opus)
}
