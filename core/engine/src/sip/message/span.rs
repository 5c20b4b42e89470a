//! A piece of a text, as its place there: what is found once can be kept beside the text.

/// The place of a piece in a head, before the empty line that ends it. Both ends stand at ASCII characters, or
/// at the start of the head. Sixteen bits hold any place before the last two of 64 KiB, and a small index is
/// quickly written and moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// From one byte to before another.
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        let place =
            |at: usize| u16::try_from(at).expect("a head has at most 64 KiB, its last line break included");
        Self {
            start: place(start),
            end: place(end),
        }
    }

    /// The place of a piece that was cut out of `head`. Any other text has none: it is read as empty.
    pub(crate) fn of(piece: &str, head: &str) -> Self {
        let start = (piece.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
        match start.checked_add(piece.len()) {
            Some(end) if end <= head.len() => Self::new(start, end),
            _ => Self::new(0, 0),
        }
    }

    /// The piece of a head that may be no text.
    pub(super) fn bytes(self, head: &[u8]) -> &[u8] {
        head.get(usize::from(self.start)..usize::from(self.end))
            .unwrap_or_default()
    }

    /// The piece of the same head.
    #[inline]
    pub(crate) fn text(self, head: &str) -> &str {
        head.get(usize::from(self.start)..usize::from(self.end))
            .unwrap_or_default()
    }
}
