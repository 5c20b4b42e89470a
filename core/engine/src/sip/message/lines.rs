//! The lines of a head, folded ones as one.

use memchr::{memchr, memchr_iter};

/// A line of the head without its CRLF, folded lines included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether line breaks stand between `start` and `end`.
    pub(super) folded: bool,
}

/// The lines from the start of the buffer to the empty line that ends the head.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    buffer: &'a [u8],
    at: usize,
    end: Option<usize>,
    breaks: usize,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(buffer: &'a [u8]) -> Self {
        Self {
            buffer,
            at: 0,
            end: None,
            breaks: 0,
        }
    }

    /// Where the body begins, once the empty line was reached.
    pub(super) const fn body(&self) -> Option<usize> {
        self.end
    }

    /// Whether the head, whose end was reached, holds a line break that is not CRLF, or a NUL that no backslash
    /// makes part of a quoted string.
    pub(super) fn saw_stray_bytes(&self) -> bool {
        let head = &self.buffer[..self.end.unwrap_or(self.at)];
        // Nearly every head has no other control characters than its line ends and tabs.
        if controls(head) == 2 * self.breaks {
            return false;
        }
        let nul_is_stray = |at: usize| at == 0 || head[at - 1] != b'\\';
        memchr_iter(b'\n', head).count() != self.breaks
            || memchr_iter(b'\r', head).count() != self.breaks
            || memchr_iter(0, head).any(nul_is_stray)
    }
}

/// How many control characters other than tabs there are; in pieces whose counts fit a byte, so that the
/// compiler can count many at once.
fn controls(head: &[u8]) -> usize {
    let count = |piece: &[u8]| {
        piece
            .iter()
            .map(|byte| u8::from(*byte < b' ' && *byte != b'\t'))
            .sum::<u8>()
    };
    head.chunks(128).map(|piece| usize::from(count(piece))).sum()
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        if self.end.is_some() {
            return None;
        }
        let start = self.at;
        let mut end = line_end(self.buffer, start)?;
        self.breaks += 1;
        if end == start {
            self.end = Some(start + 2);
            return None;
        }
        let mut folded = false;
        while matches!(self.buffer.get(end + 2), Some(b' ' | b'\t')) {
            folded = true;
            end = line_end(self.buffer, end + 2)?;
            self.breaks += 1;
        }
        self.at = end + 2;
        Some(Line { start, end, folded })
    }
}

/// Where the CRLF stands that ends the line at `start`. A lone LF ends nothing: what one reader takes for
/// the end of a header and another does not is how headers are smuggled.
fn line_end(buffer: &[u8], start: usize) -> Option<usize> {
    let mut from = start;
    loop {
        let at = from + memchr(b'\n', buffer.get(from..)?)?;
        if at > start && buffer[at - 1] == b'\r' {
            return Some(at - 1);
        }
        from = at + 1;
    }
}
