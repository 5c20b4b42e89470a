//! What a phone does with its codec.

use cordboard_model::media::Codec;
use opus_pure::{Application, OpusDecoder, OpusEncoder};

use super::g722;
use super::tone;

pub(crate) enum Coder {
    G711(Codec),
    G722(Box<g722::Encoder>, Box<g722::Decoder>),
    Opus(Box<OpusEncoder>, Box<OpusDecoder>),
}

/// Samples per second of a codec.
pub(crate) fn rate(codec: Codec) -> u64 {
    match codec {
        Codec::Opus => 48_000,
        Codec::G722 => 16_000,
        Codec::Pcmu | Codec::Pcma => 8000,
    }
}

impl Coder {
    pub(crate) fn new(codec: Codec) -> Self {
        match codec {
            Codec::Opus => {
                let mut encoder = OpusEncoder::new(48_000, 1, Application::Voip).unwrap();
                encoder.bitrate_bps = 32_000;
                encoder.complexity = 5;
                encoder.use_inband_fec = true;
                encoder.packet_loss_perc = 10;
                Self::Opus(Box::new(encoder), Box::new(OpusDecoder::new(48_000, 1).unwrap()))
            }
            Codec::G722 => Self::G722(Box::new(g722::Encoder::new()), Box::new(g722::Decoder::new())),
            Codec::Pcmu | Codec::Pcma => Self::G711(codec),
        }
    }

    pub(crate) fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        match self {
            Self::G711(codec) => samples
                .iter()
                .map(|sample| tone::encode(*codec, *sample))
                .collect(),
            Self::G722(encoder, _) => {
                let mut codes = vec![0; samples.len() / 2];
                encoder.encode(samples, &mut codes);
                codes
            }
            Self::Opus(encoder, _) => {
                let mut packet = vec![0; 1500];
                let len = encoder.encode_s16(samples, samples.len(), &mut packet).unwrap();
                packet.truncate(len);
                packet
            }
        }
    }

    pub(crate) fn decode(&mut self, payload: &[u8]) -> Vec<i16> {
        match self {
            Self::G711(codec) => payload.iter().map(|code| tone::decode(*codec, *code)).collect(),
            Self::G722(_, decoder) => {
                let mut samples = vec![0; payload.len() * 2];
                decoder.decode(payload, &mut samples);
                samples
            }
            Self::Opus(_, decoder) => {
                let mut samples = vec![0; 5760];
                let len = decoder.decode_s16(payload, 5760, &mut samples).unwrap();
                samples.truncate(len);
                samples
            }
        }
    }

    /// Fills a gap that the sender left on purpose.
    pub(crate) fn pause(&mut self, samples: usize) -> Vec<i16> {
        let mut filled = vec![0; samples];
        if let Self::Opus(_, decoder) = self {
            for part in filled.chunks_exact_mut(960) {
                decoder.decode_s16(&[], 960, part).unwrap();
            }
        }
        filled
    }
}
