//! Opus (RFC 6716) at 48 kHz and mono, by the crate `opus-pure`; and packets of several frames.

use cordboard_model::media::{OpusLimit, OpusStep};
use opus_pure::{Application, Bandwidth, OpusDecoder, OpusEncoder, RateControl, packet};

use crate::rate::LONGEST_FRAME;

/// The longest packet that we make of one frame of 20 ms.
pub(crate) const MAX_FRAME_BYTES: usize = 400;
/// Samples of the longest packet that there is: 120 ms.
pub(crate) const MAX_SAMPLES: usize = 6 * LONGEST_FRAME;
/// How hard the encoder tries, of 10: above this it costs much and brings little.
const COMPLEXITY: i32 = 5;
/// The loss that in-band error correction is made for, in percent.
const EXPECTED_LOSS: i32 = 5;

/// A sender's side.
#[derive(Debug)]
pub(crate) struct Encoder(OpusEncoder);

impl Encoder {
    pub(crate) fn new(limit: OpusLimit) -> Self {
        let mut encoder =
            OpusEncoder::new(48_000, 1, Application::Voip).expect("48 kHz and one channel are supported");
        encoder.bitrate_bps = limit.step.bits() as i32;
        encoder.max_bandwidth = match limit.step {
            OpusStep::Full => Bandwidth::Fullband,
            OpusStep::Wide | OpusStep::WideLow => Bandwidth::Wideband,
            OpusStep::Narrow | OpusStep::NarrowLow | OpusStep::Least => Bandwidth::Narrowband,
        };
        if limit.constant {
            encoder.rate_control = RateControl::Cbr;
        }
        encoder.complexity = COMPLEXITY;
        encoder.use_inband_fec = true;
        encoder.packet_loss_perc = EXPECTED_LOSS;
        Self(encoder)
    }

    /// Encodes 20 ms; returns the packet's length. 0 means that there is none, as if it had been lost.
    pub(crate) fn encode(&mut self, frame: &[i16], packet: &mut [u8; MAX_FRAME_BYTES]) -> usize {
        self.0.encode_s16(frame, LONGEST_FRAME, packet).unwrap_or(0)
    }
}

/// A receiver's side.
#[derive(Debug)]
pub(crate) struct Decoder(Box<OpusDecoder>);

impl Decoder {
    pub(crate) fn new() -> Self {
        let decoder = OpusDecoder::new(48_000, 1).expect("48 kHz and one channel are supported");
        Self(Box::new(decoder))
    }

    /// Decodes a packet; returns how many samples it gave. 0 means that it was no Opus.
    pub(crate) fn decode(&mut self, packet: &[u8], samples: &mut [i16]) -> usize {
        self.0.decode_s16(packet, samples.len(), samples).unwrap_or(0)
    }

    /// Guesses what was lost: `samples` of it, a multiple of 2.5 ms.
    pub(crate) fn conceal(&mut self, samples: &mut [i16]) -> usize {
        self.0.decode_s16(&[], samples.len(), samples).unwrap_or(0)
    }

    /// What was lost, from what the packet after it says of it.
    pub(crate) fn correct(&mut self, next: &[u8], samples: &mut [i16]) -> usize {
        self.0.decode_fec_s16(next, samples.len(), samples).unwrap_or(0)
    }
}

/// How many samples a packet gives; `None` if it is no Opus.
pub(crate) fn samples(packet: &[u8]) -> Option<usize> {
    packet::samples_48k(packet).ok().filter(|samples| *samples > 0)
}

/// Frames of one packet, put together (RFC 6716 section 3.2.5) as long as they are of one kind.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    /// The frames without their first bytes, one after the other.
    bytes: Vec<u8>,
    lens: [usize; 3],
    count: usize,
    /// The first byte that all share, without its lowest two bits.
    kind: u8,
}

impl Bundle {
    pub(crate) const fn frames(&self) -> usize {
        self.count
    }

    /// Whether a packet of one frame can be added.
    pub(crate) fn takes(&self, packet: &[u8]) -> bool {
        let Some(toc) = packet.first() else { return false };
        let fits = self.count == 0 || self.count < self.lens.len() && toc & !3 == self.kind;
        fits && toc & 3 == 0
    }

    /// Adds a packet that it [`takes`](Self::takes).
    pub(crate) fn add(&mut self, packet: &[u8]) {
        self.kind = packet[0] & !3;
        self.lens[self.count] = packet.len() - 1;
        self.count += 1;
        self.bytes.extend_from_slice(&packet[1..]);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Writes the packet: code 0 for one frame, otherwise code 3 with lengths.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.count == 1 {
            out.push(self.kind);
        } else {
            out.extend_from_slice(&[self.kind | 3, 0x80 | self.count as u8]);
            for len in &self.lens[..self.count - 1] {
                write_len(*len, out);
            }
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// A frame's length in one or two bytes (RFC 6716 section 3.2.1).
fn write_len(len: usize, out: &mut Vec<u8>) {
    if len < 252 {
        out.push(len as u8);
    } else {
        let first = 252 + (len & 3);
        out.extend_from_slice(&[first as u8, ((len - first) / 4) as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frames: usize) -> Vec<i16> {
        (0..frames * LONGEST_FRAME)
            .map(|at| ((at as f64 * 440.0 * std::f64::consts::TAU / 48_000.0).sin() * 10_000.0) as i16)
            .collect()
    }

    #[test]
    fn a_bundle_decodes_as_its_frames_do() {
        for frames in 1..=3 {
            let (mut encoder, mut apart, mut together) =
                (Encoder::new(OpusLimit::default()), Decoder::new(), Decoder::new());
            let mut bundle = Bundle::default();
            let (mut expect, mut packets) = (Vec::new(), 0);
            for frame in tone(30).chunks_exact(LONGEST_FRAME) {
                let mut packet = [0; MAX_FRAME_BYTES];
                let len = encoder.encode(frame, &mut packet);
                let mut samples = [0; MAX_SAMPLES];
                let got = apart.decode(&packet[..len], &mut samples);
                assert_eq!(got, LONGEST_FRAME);
                if !bundle.takes(&packet[..len]) {
                    bundle.clear();
                    expect.clear();
                    continue;
                }
                bundle.add(&packet[..len]);
                expect.extend_from_slice(&samples[..got]);
                if bundle.frames() == frames {
                    let mut bytes = Vec::new();
                    bundle.write(&mut bytes);
                    assert_eq!(super::samples(&bytes), Some(frames * LONGEST_FRAME));
                    let got = together.decode(&bytes, &mut samples);
                    assert_eq!(got, frames * LONGEST_FRAME);
                    if packets == 0 {
                        assert_eq!(samples[..got], expect[..]);
                    }
                    bundle.clear();
                    expect.clear();
                    packets += 1;
                }
            }
            assert!(packets >= 8, "{packets}");
        }
    }

    #[test]
    fn no_step_sends_more_than_it_says() {
        let mut noise = 1u32;
        let sound: Vec<i16> = (0..200 * LONGEST_FRAME)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 16) as i16 / 4
            })
            .collect();
        for (step, constant) in OpusStep::ALL
            .into_iter()
            .flat_map(|step| [(step, false), (step, true)])
        {
            let mut encoder = Encoder::new(OpusLimit { step, constant });
            let mut packet = [0; MAX_FRAME_BYTES];
            let lens: Vec<usize> = sound
                .chunks_exact(LONGEST_FRAME)
                .map(|frame| encoder.encode(frame, &mut packet))
                .collect();
            let bits = lens.iter().sum::<usize>() * 8 * 50 / lens.len();
            assert!(bits <= step.bits() as usize, "{step:?} {constant}: {bits}");
            assert!(bits > step.bits() as usize * 3 / 4, "{step:?} {constant}: {bits}");
            assert!(
                !constant || lens.iter().all(|len| *len == lens[0]),
                "{step:?}: {lens:?}"
            );
        }
    }

    #[test]
    fn lengths_are_written_as_the_rfc_says() {
        for (len, expect) in [
            (0, vec![0]),
            (251, vec![251]),
            (252, vec![252, 0]),
            (400, vec![252, 37]),
        ] {
            let mut out = Vec::new();
            write_len(len, &mut out);
            assert_eq!(out, expect, "{len}");
        }
    }
}
