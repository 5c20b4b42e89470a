//! Packets of a codec with a memory, in order, until they are decoded.

/// Packets that wait at most.
const MOST: usize = 64;
/// The longest stretch of missing audio that a decoder is asked to fill, in times of the packet after it.
const FILLED: u32 = 3;

/// A decoder with a memory.
pub(crate) trait Decode {
    /// Decodes a packet; returns its samples, none if it cannot be decoded.
    fn decode(&mut self, packet: &[u8]) -> &mut [i16];

    /// Fills in `len` samples that are missing; `next` is the packet after them. Returns none where the
    /// codec knows no way.
    fn conceal(&mut self, len: usize, next: Option<&[u8]>) -> &mut [i16];
}

#[derive(Debug, Default)]
struct Packet {
    timestamp: u32,
    len: u32,
    bytes: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By time.
    packets: Vec<Packet>,
    /// Used up; their memory is used again.
    spare: Vec<Packet>,
    /// One past the newest sample that was decoded or given up.
    decoded: Option<u32>,
}

impl Pending {
    pub(super) fn clear(&mut self) {
        self.spare.append(&mut self.packets);
        self.decoded = None;
    }

    /// Takes a packet that holds `len` samples; `false` if there are too many.
    pub(super) fn insert(&mut self, timestamp: u32, len: u32, bytes: &[u8]) -> bool {
        if self.packets.len() == MOST {
            return false;
        }
        let mut packet = self.spare.pop().unwrap_or_default();
        (packet.timestamp, packet.len) = (timestamp, len);
        packet.bytes.clear();
        packet.bytes.extend_from_slice(bytes);
        let at = self
            .packets
            .partition_point(|other| distance(other.timestamp, timestamp) >= 0);
        self.packets.insert(at, packet);
        true
    }

    /// Decodes, in order, what begins before `until`; but stops at missing audio that begins at `missing` or
    /// later. `store` gets the samples.
    pub(super) fn decode(
        &mut self,
        missing: u32,
        until: u32,
        decoder: &mut dyn Decode,
        mut store: impl FnMut(u32, &mut [i16]),
    ) {
        let mut done = 0;
        for packet in &self.packets {
            if distance(packet.timestamp, until) <= 0 {
                break;
            }
            if let Some(decoded) = self.decoded {
                let gap = distance(decoded, packet.timestamp);
                if gap + packet.len.cast_signed() <= 0 {
                    done += 1; // a gap that was filled already
                    continue;
                }
                if gap > 0 && distance(decoded, missing) <= 0 {
                    break;
                }
                if gap > 0 {
                    fill(decoded, gap.cast_unsigned(), packet, decoder, &mut store);
                }
            }
            store(packet.timestamp, decoder.decode(&packet.bytes));
            self.decoded = Some(packet.timestamp.wrapping_add(packet.len));
            done += 1;
        }
        self.spare.extend(self.packets.drain(..done));
    }
}

/// Fills missing audio before a packet: what is just before it by what it says of that, the rest by guess.
fn fill(
    decoded: u32,
    gap: u32,
    next: &Packet,
    decoder: &mut dyn Decode,
    store: &mut impl FnMut(u32, &mut [i16]),
) {
    if gap > FILLED * next.len {
        return; // a pause of the sender
    }
    let mut from = decoded;
    let mut left = gap;
    while left > 0 {
        let piece = left.min(next.len);
        let known = (piece == left && piece == next.len).then_some(&next.bytes[..]);
        store(from, decoder.conceal(piece as usize, known));
        from = from.wrapping_add(piece);
        left -= piece;
    }
}

const fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down what it is asked.
    struct Scribe {
        log: Vec<String>,
        samples: [i16; 100],
    }

    impl Decode for Scribe {
        fn decode(&mut self, packet: &[u8]) -> &mut [i16] {
            self.log.push(format!("d{}", packet[0]));
            &mut self.samples[..10]
        }

        fn conceal(&mut self, len: usize, next: Option<&[u8]>) -> &mut [i16] {
            self.log
                .push(format!("c{len}{}", if next.is_some() { "+" } else { "" }));
            &mut self.samples[..len]
        }
    }

    fn run(pending: &mut Pending, missing: u32, until: u32) -> String {
        let mut scribe = Scribe {
            log: Vec::new(),
            samples: [0; 100],
        };
        pending.decode(missing, until, &mut scribe, |_, _| {});
        scribe.log.join(" ")
    }

    #[test]
    fn packets_are_decoded_in_order_and_gaps_filled_when_needed() {
        let mut pending = Pending::default();
        let first = u32::MAX - 14;
        let at = |n: u32| first.wrapping_add(n * 10);
        for n in [0, 2, 1, 5, 4, 9] {
            assert!(pending.insert(at(n), 10, &[n as u8]));
        }
        assert_eq!(run(&mut pending, at(1), at(2)), "d0 d1", "across the wrap");
        assert_eq!(run(&mut pending, at(2), at(6)), "d2", "packet 3 may still come");
        assert_eq!(run(&mut pending, at(4), at(6)), "c10+ d4 d5");
        pending.insert(at(3), 10, &[3]);
        assert_eq!(
            run(&mut pending, at(20), at(20)),
            "c10 c10 c10+ d9",
            "too late for packet 3"
        );
        pending.insert(at(15), 10, &[15]);
        assert_eq!(run(&mut pending, at(20), at(20)), "d15", "a pause is no loss");
    }

    #[test]
    fn there_is_a_bound() {
        let mut pending = Pending::default();
        assert!((0..MOST as u32).all(|n| pending.insert(n * 10, 10, &[0])));
        assert!(!pending.insert(9999, 10, &[0]));
        pending.clear();
        assert!(pending.insert(9999, 10, &[0]));
    }
}
