//! RTCP feedback (RFC 4585, RFC 5104): what subscribers ask for, and what we ask publishers for.

const TRANSPORT: u8 = 205;
const PAYLOAD: u8 = 206;
/// Packets in one compound packet that are looked at.
const MAX_PACKETS: usize = 32;
/// Entries of one packet that are looked at.
const MAX_ENTRIES: usize = 64;

/// A kind of feedback, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum FeedbackKind {
    /// Packets are asked for again.
    Nack,
    /// A picture is asked for.
    Pli,
    /// A full picture is demanded.
    Fir,
    /// Arrival times are told.
    TransportCc,
    /// Anything else, a bandwidth estimate for example.
    Other,
}

impl FeedbackKind {
    /// Every kind, in the order in which they are counted.
    pub const ALL: [Self; 5] = [Self::Nack, Self::Pli, Self::Fir, Self::TransportCc, Self::Other];

    /// The kind as a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nack => "nack",
            Self::Pli => "pli",
            Self::Fir => "fir",
            Self::TransportCc => "transport_cc",
            Self::Other => "other",
        }
    }
}

/// Something that a peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// These packets of our stream again: a number, and bits for the sixteen after it.
    Packets {
        ssrc: u32,
        sequence: u16,
        following: u16,
    },
    /// A picture of our stream; for [`FeedbackKind::Fir`] the number of the demand.
    Picture { ssrc: u32, demand: Option<u8> },
}

/// Hands each wish of a compound packet to `each`, and each packet's kind to `count`; what is not feedback is
/// passed over.
pub(crate) fn read(mut bytes: &[u8], mut count: impl FnMut(FeedbackKind), mut each: impl FnMut(Wish)) {
    for _ in 0..MAX_PACKETS {
        let Some((header, rest)) = bytes.split_first_chunk::<4>() else {
            return;
        };
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let Some(body) = rest.get(..len) else { return };
        if matches!(header[1], TRANSPORT | PAYLOAD)
            && let Some((sources, entries)) = body.split_first_chunk::<8>()
        {
            let media = word(&sources[4..]);
            let kind = kind(header[1], header[0] & 0x1f);
            count(kind);
            match kind {
                FeedbackKind::Nack => {
                    for entry in entries.chunks_exact(4).take(MAX_ENTRIES) {
                        let entry = word(entry);
                        each(Wish::Packets {
                            ssrc: media,
                            sequence: (entry >> 16) as u16,
                            following: entry as u16,
                        });
                    }
                }
                FeedbackKind::Pli => each(Wish::Picture {
                    ssrc: media,
                    demand: None,
                }),
                FeedbackKind::Fir => {
                    for entry in entries.chunks_exact(8).take(MAX_ENTRIES) {
                        each(Wish::Picture {
                            ssrc: word(entry),
                            demand: Some(entry[4]),
                        });
                    }
                }
                FeedbackKind::TransportCc | FeedbackKind::Other => {}
            }
        }
        bytes = &rest[len..];
    }
}

const fn kind(packet_type: u8, format: u8) -> FeedbackKind {
    match (packet_type, format) {
        (TRANSPORT, 1) => FeedbackKind::Nack,
        (TRANSPORT, 15) => FeedbackKind::TransportCc,
        (PAYLOAD, 1) => FeedbackKind::Pli,
        (PAYLOAD, 4) => FeedbackKind::Fir,
        _ => FeedbackKind::Other,
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn head(out: &mut Vec<u8>, packet_type: u8, format: u8, words: u16, sender: u32, media: u32) {
    out.extend_from_slice(&[0x80 | format, packet_type]);
    out.extend_from_slice(&words.to_be_bytes());
    out.extend_from_slice(&sender.to_be_bytes());
    out.extend_from_slice(&media.to_be_bytes());
}

/// Asks for a picture (RFC 4585 section 6.3.1).
pub(crate) fn write_pli(out: &mut Vec<u8>, sender: u32, media: u32) {
    head(out, PAYLOAD, 1, 2, sender, media);
}

/// Demands a full picture (RFC 5104 section 4.3.1); each demand has a number of its own.
pub(crate) fn write_fir(out: &mut Vec<u8>, sender: u32, media: u32, number: u8) {
    head(out, PAYLOAD, 4, 4, sender, 0);
    out.extend_from_slice(&media.to_be_bytes());
    out.extend_from_slice(&[number, 0, 0, 0]);
}

/// A request for packets that grows number by number (RFC 4585 section 6.2.1).
#[derive(Debug)]
pub(crate) struct Request {
    start: usize,
    open: bool,
}

impl Request {
    /// Begins a request at the end of `out`.
    pub(crate) fn begin(out: &mut Vec<u8>, sender: u32, media: u32) -> Self {
        let start = out.len();
        head(out, TRANSPORT, 1, 2, sender, media);
        Self { start, open: false }
    }

    /// Adds a packet; they come in order.
    pub(crate) fn add(&mut self, out: &mut Vec<u8>, sequence: u16) {
        if self.open {
            let at = out.len() - 4;
            let after = sequence.wrapping_sub(u16::from_be_bytes([out[at], out[at + 1]]));
            if (1..=16).contains(&after) {
                let bits = u16::from_be_bytes([out[at + 2], out[at + 3]]) | 1 << (after - 1);
                out[at + 2..].copy_from_slice(&bits.to_be_bytes());
                return;
            }
        }
        self.open = true;
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        let words = ((out.len() - self.start) / 4 - 1) as u16;
        out[self.start + 2..self.start + 4].copy_from_slice(&words.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wishes(bytes: &[u8]) -> (Vec<FeedbackKind>, Vec<Wish>) {
        let (mut kinds, mut wishes) = (Vec::new(), Vec::new());
        read(bytes, |kind| kinds.push(kind), |wish| wishes.push(wish));
        (kinds, wishes)
    }

    #[test]
    fn what_is_asked_for_is_read_back() {
        let mut out = Vec::new();
        let mut request = Request::begin(&mut out, 1, 2);
        for sequence in [65_530, 65_535, 10, 11, 100] {
            request.add(&mut out, sequence);
        }
        write_pli(&mut out, 1, 3);
        write_fir(&mut out, 1, 4, 9);
        let (kinds, wishes) = wishes(&out);
        assert_eq!(kinds, [FeedbackKind::Nack, FeedbackKind::Pli, FeedbackKind::Fir]);
        assert_eq!(
            wishes,
            [
                Wish::Packets {
                    ssrc: 2,
                    sequence: 65_530,
                    following: 1 << 4 | 1 << 15
                },
                Wish::Packets {
                    ssrc: 2,
                    sequence: 11,
                    following: 0
                },
                Wish::Packets {
                    ssrc: 2,
                    sequence: 100,
                    following: 0
                },
                Wish::Picture {
                    ssrc: 3,
                    demand: None
                },
                Wish::Picture {
                    ssrc: 4,
                    demand: Some(9)
                },
            ]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            wishes(&bytes);
        }
    }
}
