//! Header extensions of RTP packets (RFC 8285): reading both forms, writing the short one.

use crate::rtp::HEADER_LEN;

/// The profile of elements with a head of one byte.
const ONE_BYTE: u16 = 0xbede;
/// That of elements with a head of two bytes; its lower four bits are the application's.
const TWO_BYTES: u16 = 0x1000;
/// Elements of one packet that are looked at.
const MAX_ELEMENTS: usize = 16;

/// The elements of a packet that reads as RTP: id and value.
pub(crate) fn elements(packet: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let (profile, mut rest) = block(packet).unwrap_or((0, &[]));
    std::iter::from_fn(move || {
        while rest.first() == Some(&0) {
            rest = &rest[1..];
        }
        let (id, len, head) = match rest {
            [byte, ..] if profile == ONE_BYTE => (byte >> 4, usize::from(byte & 15) + 1, 1),
            [id, len, ..] if profile & 0xfff0 == TWO_BYTES => (*id, usize::from(*len), 2),
            _ => return None,
        };
        let value = rest.get(head..head + len)?;
        rest = &rest[head + len..];
        (id != 15 || profile != ONE_BYTE).then_some((id, value))
    })
    .take(MAX_ELEMENTS)
}

/// The value of the element with this id, if it was negotiated and is there.
pub(crate) fn find(packet: &[u8], id: Option<u8>) -> Option<&[u8]> {
    let id = id?;
    elements(packet)
        .find(|(found, _)| *found == id)
        .map(|(_, value)| value)
}

fn block(packet: &[u8]) -> Option<(u16, &[u8])> {
    let first = *packet.first().filter(|first| **first & 0x10 != 0)?;
    let at = HEADER_LEN + usize::from(first & 15) * 4;
    let head = packet.get(at..at + 4)?;
    let len = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
    let body = packet.get(at + 4..at + 4 + len)?;
    Some((u16::from_be_bytes([head[0], head[1]]), body))
}

/// An extension block that is written into packets: the head and all elements, padded; empty if there are none.
#[derive(Debug, Default)]
pub(crate) struct Written {
    bytes: [u8; 32],
    len: usize,
}

impl Written {
    /// Adds an element of 1 to 16 bytes; one that does not fit, or has no short form, is left out.
    pub(crate) fn add(&mut self, id: Option<u8>, value: &[u8]) {
        let Some(id) = id.filter(|id| (1..=14).contains(id)) else {
            return;
        };
        let at = self.len.max(4);
        if value.is_empty() || value.len() > 16 || at + 1 + value.len() > self.bytes.len() {
            return;
        }
        self.bytes[at] = id << 4 | (value.len() - 1) as u8;
        self.bytes[at + 1..=at + value.len()].copy_from_slice(value);
        self.len = at + 1 + value.len();
    }

    /// The whole block.
    pub(crate) fn finish(&mut self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        let end = self.len.next_multiple_of(4);
        self.bytes[self.len..end].fill(0);
        self.bytes[..2].copy_from_slice(&ONE_BYTE.to_be_bytes());
        self.bytes[2..4].copy_from_slice(&((end / 4 - 1) as u16).to_be_bytes());
        &self.bytes[..end]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(block: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend(block);
        bytes.extend(b"payload");
        bytes
    }

    #[test]
    fn both_forms_are_read_with_their_padding() {
        let short = packet(&[0xbe, 0xde, 0, 2, 0x10, 0x85, 0, 0x32, 1, 2, 3, 0]);
        assert_eq!(
            elements(&short).collect::<Vec<_>>(),
            [(1, &[0x85][..]), (3, &[1, 2, 3])]
        );
        let long = packet(&[0x10, 0, 0, 2, 1, 0, 0, 20, 3, 7, 8, 9]);
        assert_eq!(
            elements(&long).collect::<Vec<_>>(),
            [(1, &[][..]), (20, &[7, 8, 9])]
        );
        assert_eq!(find(&short, Some(3)), Some(&[1, 2, 3][..]));
        assert_eq!(find(&short, None), None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut written = Written::default();
        written.add(Some(4), b"video");
        written.add(None, b"no");
        written.add(Some(15), b"reserved");
        written.add(Some(7), &[1]);
        let bytes = packet(written.finish());
        assert_eq!(
            elements(&bytes).collect::<Vec<_>>(),
            [(4, &b"video"[..]), (7, &[1])]
        );
        assert_eq!(Written::default().finish(), b"");
    }

    proptest! {
        #[test]
        fn any_block_is_read(block in prop::collection::vec(any::<u8>(), 0..60)) {
            elements(&packet(&block)).count();
        }
    }
}
