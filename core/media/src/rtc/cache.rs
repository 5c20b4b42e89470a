//! The last packets of a video stream, to be sent again: bounded in number and bytes, allocated once.

/// Packets that are known; also how far back a copy is told from a new packet. A power of two.
const SLOTS: usize = 1024;
/// Bytes of payload that are kept.
const BYTES: usize = 256 << 10;

/// What is kept of a packet beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) timestamp: u32,
    /// The value of the orientation extension.
    pub(crate) orientation: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    index: u64,
    /// Where the payload begins, counted from the first byte ever written.
    at: u64,
    len: u32,
    kept: Kept,
}

const EMPTY: Slot = Slot {
    index: u64::MAX,
    at: 0,
    len: 0,
    kept: Kept {
        marker: false,
        payload_type: 0,
        timestamp: 0,
        orientation: None,
    },
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    written: u64,
    highest: u64,
}

impl Cache {
    /// Keeps a packet; `false` if it is there already, or so old that nobody knows.
    pub(crate) fn put(&mut self, index: u64, kept: Kept, payload: &[u8]) -> bool {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, EMPTY);
            self.bytes.resize(BYTES, 0);
        }
        let slot = &mut self.slots[index as usize % SLOTS];
        if slot.index == index || index + SLOTS as u64 <= self.highest || payload.len() > BYTES {
            return false;
        }
        self.highest = self.highest.max(index);
        let room = BYTES - self.written as usize % BYTES;
        if payload.len() > room {
            self.written += room as u64;
        }
        let start = self.written as usize % BYTES;
        self.bytes[start..start + payload.len()].copy_from_slice(payload);
        *slot = Slot {
            index,
            at: self.written,
            len: payload.len() as u32,
            kept,
        };
        self.written += payload.len() as u64;
        true
    }

    /// A packet that is still whole.
    pub(crate) fn get(&self, index: u64) -> Option<(Kept, &[u8])> {
        let slot = self.slots.get(index as usize % SLOTS)?;
        if slot.index != index || self.written > slot.at + BYTES as u64 {
            return None;
        }
        let start = slot.at as usize % BYTES;
        Some((slot.kept, &self.bytes[start..start + slot.len as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Kept = EMPTY.kept;

    #[test]
    fn copies_and_what_is_too_old_are_refused() {
        let mut cache = Cache::default();
        assert!(cache.get(5).is_none());
        assert!(cache.put(5, KEPT, b"five") && cache.put(4, KEPT, b"four"));
        assert!(!cache.put(5, KEPT, b"again"));
        assert_eq!(cache.get(5), Some((KEPT, &b"five"[..])));
        assert!(cache.put(5 + SLOTS as u64, KEPT, b"later"));
        assert!(cache.get(5).is_none(), "its place is taken");
        assert!(!cache.put(5, KEPT, b"five"), "nobody knows whether it came");
    }

    #[test]
    fn what_was_overwritten_is_not_given_out() {
        let mut cache = Cache::default();
        let count = BYTES as u64 / 1000 + 20;
        for index in 0..count {
            assert!(cache.put(index, KEPT, &[index as u8; 1000]));
        }
        for index in 0..count {
            let kept = cache.get(index).map(|(_, payload)| payload.to_vec());
            assert!(
                kept.is_none_or(|payload| payload == [index as u8; 1000]),
                "{index}"
            );
        }
        assert!(cache.get(count - 1).is_some() && cache.get(count - 200).is_some());
        assert!(cache.get(0).is_none());
    }
}
