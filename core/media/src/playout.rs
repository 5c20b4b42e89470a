//! A peer's audio on its way in: payloads of any codec become frames at that codec's rate.

use cordboard_model::Time;
use cordboard_model::media::Codec;

use crate::g711;
use crate::g722;
use crate::jitter::{Decode, JitterBuffer, LONGEST_PACKET, Put};
use crate::opus;
use crate::rate::{LONGEST_FRAME, Rate};

/// Most bytes of a packet's payload: 200 ms of G.711 or G.722; Opus never has more.
pub(crate) const MAX_PAYLOAD: usize = 1600;
const NARROW: usize = Rate::Narrow.frame();
const WIDE: usize = Rate::Wide.frame();
const FULL: usize = Rate::Full.frame();

/// An audio packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice<'a> {
    pub(crate) codec: Codec,
    /// In units of the codec's RTP clock.
    pub(crate) timestamp: u32,
    pub(crate) payload: &'a [u8],
    /// Whether no later packet came before it.
    pub(crate) newest: bool,
    pub(crate) stamp: Time,
    /// Nanoseconds before the next tick at which it came; negative: after it.
    pub(crate) ahead_ns: i64,
}

#[derive(Debug)]
struct Coded<const F: usize, D> {
    jitter: JitterBuffer<F>,
    decoder: D,
}

/// See the module. The parts for rates that never came do not exist.
#[derive(Debug)]
pub(crate) struct Playout {
    rate: Rate,
    narrow: JitterBuffer<NARROW>,
    wide: Option<Box<Coded<WIDE, WideDecoder>>>,
    full: Option<Box<Coded<FULL, FullDecoder>>>,
}

impl Playout {
    pub(crate) fn new() -> Self {
        Self {
            rate: Rate::Narrow,
            narrow: JitterBuffer::new(),
            wide: None,
            full: None,
        }
    }

    /// Takes a packet of at most [`MAX_PAYLOAD`] bytes; `None` if it is not of its codec.
    pub(crate) fn put(&mut self, voice: &Voice<'_>) -> Option<Put> {
        let Voice {
            codec,
            timestamp,
            payload,
            newest,
            stamp,
            ..
        } = *voice;
        let len = match codec {
            Codec::Opus => opus::samples(payload)?,
            Codec::G722 => payload.len() * 2,
            Codec::Pcmu | Codec::Pcma => payload.len(),
        };
        let rate = Rate::of(codec);
        if rate != self.rate {
            if !newest {
                return Some(Put::Late);
            }
            self.reset();
            self.rate = rate;
        }
        let ahead = voice.ahead_ns / (1_000_000_000 / i64::from(rate.hertz()));
        let ahead = ahead.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        Some(match codec {
            Codec::Pcmu | Codec::Pcma => {
                let mut samples = [0; MAX_PAYLOAD];
                let samples = &mut samples[..len];
                g711::decode(codec, payload, samples);
                self.narrow.put(timestamp, samples, ahead, newest, stamp)
            }
            Codec::G722 => {
                let wide = self.wide.get_or_insert_with(|| {
                    let (jitter, decoder) = (JitterBuffer::new(), WideDecoder::new());
                    Box::new(Coded { jitter, decoder })
                });
                // Two samples for each unit of its clock.
                let at = timestamp.wrapping_mul(2);
                wide.jitter.put_coded(at, (payload, len), ahead, newest, stamp)
            }
            Codec::Opus => {
                let full = self.full.get_or_insert_with(|| {
                    let (jitter, decoder) = (JitterBuffer::new(), FullDecoder::new());
                    Box::new(Coded { jitter, decoder })
                });
                full.jitter
                    .put_coded(timestamp, (payload, len), ahead, newest, stamp)
            }
        })
    }

    /// Takes the next frame; says at which rate it is. `None`: there is nothing to hear, the frame is left alone.
    pub(crate) fn take(
        &mut self,
        frame: &mut [i16; LONGEST_FRAME],
        arrivals: &mut Vec<Time>,
    ) -> Option<Rate> {
        let heard = match (self.rate, &mut self.wide, &mut self.full) {
            (Rate::Narrow, _, _) => self.narrow.take(part(frame), None, arrivals),
            (Rate::Wide, Some(wide), _) => wide.jitter.take(part(frame), Some(&mut wide.decoder), arrivals),
            (Rate::Full, _, Some(full)) => full.jitter.take(part(frame), Some(&mut full.decoder), arrivals),
            _ => false,
        };
        heard.then_some(self.rate)
    }

    /// Forgets all audio; the delay that the network needed is kept.
    pub(crate) fn reset(&mut self) {
        match (self.rate, &mut self.wide, &mut self.full) {
            (Rate::Narrow, _, _) => self.narrow.reset(),
            (Rate::Wide, Some(wide), _) => wide.jitter.reset(),
            (Rate::Full, _, Some(full)) => full.jitter.reset(),
            _ => {}
        }
    }
}

/// The beginning of the longest frame.
fn part<const F: usize>(frame: &mut [i16; LONGEST_FRAME]) -> &mut [i16; F] {
    frame.first_chunk_mut().expect("no frame is longer")
}

/// Decodes G.722; it has no way to conceal, so that the jitter buffer's is used.
#[derive(Debug)]
struct WideDecoder {
    decoder: g722::Decoder,
    samples: [i16; LONGEST_PACKET * WIDE],
}

impl WideDecoder {
    const fn new() -> Self {
        Self {
            decoder: g722::Decoder::new(),
            samples: [0; LONGEST_PACKET * WIDE],
        }
    }
}

impl Decode for WideDecoder {
    fn decode(&mut self, packet: &[u8]) -> &mut [i16] {
        let len = (packet.len() * 2).min(self.samples.len());
        self.decoder.decode(packet, &mut self.samples[..len]);
        &mut self.samples[..len]
    }

    fn conceal(&mut self, _: usize, _: Option<&[u8]>) -> &mut [i16] {
        &mut []
    }
}

/// Decodes Opus; what is lost comes from the error correction in the next packet, or from a guess.
#[derive(Debug)]
struct FullDecoder {
    decoder: opus::Decoder,
    samples: [i16; opus::MAX_SAMPLES],
}

impl FullDecoder {
    fn new() -> Self {
        Self {
            decoder: opus::Decoder::new(),
            samples: [0; opus::MAX_SAMPLES],
        }
    }
}

impl Decode for FullDecoder {
    fn decode(&mut self, packet: &[u8]) -> &mut [i16] {
        let len = self.decoder.decode(packet, &mut self.samples);
        &mut self.samples[..len]
    }

    fn conceal(&mut self, len: usize, next: Option<&[u8]>) -> &mut [i16] {
        // Opus counts in steps of 2.5 ms.
        let len = len.min(self.samples.len()) / (FULL / 8) * (FULL / 8);
        if len == 0 {
            return &mut [];
        }
        let samples = &mut self.samples[..len];
        let len = match next {
            Some(next) => self.decoder.correct(next, samples),
            None => self.decoder.conceal(samples),
        };
        &mut self.samples[..len]
    }
}
