//! Packets for one peer that leave together: those of one size in a row are one piece of memory, which the system
//! cuts up (generic segmentation offload).

/// Segments of one burst at most, as Linux wants it.
const SEGMENTS: usize = 60;
/// Bytes of one burst at most: an UDP datagram's.
const BYTES: usize = 60_000;

#[derive(Debug)]
struct Burst {
    start: usize,
    end: usize,
    segment: usize,
    count: usize,
}

/// See the module; its buffers are used again and again.
#[derive(Debug, Default)]
pub(crate) struct Bursts {
    bytes: Vec<u8>,
    bursts: Vec<Burst>,
}

impl Bursts {
    /// Adds a packet, whose bytes `write` appends.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        let len = end - start;
        match self.bursts.last_mut() {
            // A shorter packet may only be the last.
            Some(burst)
                if len <= burst.segment
                    && (burst.end - burst.start).is_multiple_of(burst.segment)
                    && burst.count < SEGMENTS
                    && end - burst.start <= BYTES =>
            {
                burst.end = end;
                burst.count += 1;
            }
            _ => self.bursts.push(Burst {
                start,
                end,
                segment: len,
                count: 1,
            }),
        }
        len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bursts.is_empty()
    }

    /// Hands each burst to `send` with the size of its segments, and forgets it.
    pub(crate) fn drain(&mut self, mut send: impl FnMut(&[u8], usize)) {
        for burst in self.bursts.drain(..) {
            send(&self.bytes[burst.start..burst.end], burst.segment);
        }
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_size_leave_together_and_a_shorter_one_ends_the_burst() {
        let mut bursts = Bursts::default();
        for len in [100, 100, 50, 50, 70, 70] {
            bursts.push(|bytes| bytes.resize(bytes.len() + len, 0));
        }
        let mut sent = Vec::new();
        bursts.drain(|bytes, segment| sent.push((bytes.len(), segment)));
        assert_eq!(sent, [(250, 100), (50, 50), (140, 70)]);
        assert!(bursts.is_empty());
        for _ in 0..130 {
            bursts.push(|bytes| bytes.resize(bytes.len() + 10, 0));
        }
        sent.clear();
        bursts.drain(|bytes, segment| sent.push((bytes.len(), segment)));
        assert_eq!(sent, [(600, 10), (600, 10), (100, 10)]);
    }
}
