//! The lines of a head, folded ones as one.

use wide::u8x16;

/// A line of the head without its CRLF, folded lines included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether line breaks stand between `start` and `end`.
    pub(super) folded: bool,
}

/// How many bytes are looked at together: a register of the plainest x86-64 and of ARM.
const BLOCK: usize = 16;

/// The lines from the start of the buffer to the empty line that ends the head.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    buffer: &'a [u8],
    /// Where the next line begins.
    at: usize,
    end: Option<usize>,
    stray: bool,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(buffer: &'a [u8]) -> Self {
        Self {
            buffer,
            at: 0,
            end: None,
            stray: false,
        }
    }

    /// Where the body begins, once the empty line was reached.
    pub(super) const fn body(&self) -> Option<usize> {
        self.end
    }

    /// Whether the head, whose end was reached, holds a line break that is not CRLF, or a NUL that no backslash
    /// makes part of a quoted string.
    pub(super) const fn saw_stray_bytes(&self) -> bool {
        self.stray
    }

    /// Where the last of the lines ends that are folded into the one which ends here.
    #[cold]
    fn folded_end(&mut self, end: usize) -> Option<usize> {
        let mut end = end;
        while matches!(self.buffer.get(end + 2), Some(b' ' | b'\t')) {
            end = self.line_end(end + 2)?;
        }
        Some(end)
    }

    /// Where the first CRLF stands from here on. A lone LF ends nothing: what one reader takes for the end
    /// of a header and another does not is how headers are smuggled.
    #[inline(always)]
    fn line_end(&mut self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            at = next_control(self.buffer, at);
            match self.buffer.get(at)? {
                b'\r' if self.buffer.get(at + 1) == Some(&b'\n') => return Some(at),
                b'\r' | b'\n' => self.stray = true,
                0 => self.stray |= at == 0 || self.buffer[at - 1] != b'\\',
                _ => {}
            }
            at += 1;
        }
    }
}

/// Where the first control character of ASCII stands from here on, or the end. Nearly no byte is one, so they are
/// looked at by the block.
#[inline]
fn next_control(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let controls = controls(*block);
        if controls != 0 {
            return at + controls.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    at + bytes[at..].iter().take_while(|byte| **byte >= b' ').count()
}

/// Which bytes are control characters of ASCII, the first in the lowest bit.
#[inline]
fn controls(block: [u8; BLOCK]) -> u32 {
    let block = u8x16::new(block);
    block.min(u8x16::splat(b' ' - 1)).simd_eq(block).to_bitmask()
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        if self.end.is_some() {
            return None;
        }
        let start = self.at;
        let mut end = self.line_end(start)?;
        if end == start {
            self.end = Some(start + 2);
            return None;
        }
        let folded = matches!(self.buffer.get(end + 2), Some(b' ' | b'\t'));
        if folded {
            end = self.folded_end(end)?;
        }
        self.at = end + 2;
        Some(Line { start, end, folded })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines found byte by byte, where the body begins, and whether there are stray bytes.
    fn plain(bytes: &[u8]) -> (Vec<Line>, Option<usize>, bool) {
        let is_break = |at: usize| bytes[at..].starts_with(b"\r\n");
        let (mut lines, mut start, mut folded, mut stray, mut at) = (Vec::new(), 0, false, false, 0);
        while at < bytes.len() {
            if !is_break(at) {
                stray |= matches!(bytes[at], b'\r' | b'\n')
                    || bytes[at] == 0 && (at == 0 || bytes[at - 1] != b'\\');
                at += 1;
                continue;
            }
            if at == start {
                return (lines, Some(at + 2), stray);
            }
            if matches!(bytes.get(at + 2), Some(b' ' | b'\t')) {
                folded = true;
            } else {
                lines.push(Line {
                    start,
                    end: at,
                    folded,
                });
                (start, folded) = (at + 2, false);
            }
            at += 2;
        }
        (lines, None, stray)
    }

    proptest! {
        #[test]
        fn lines_are_those_that_are_found_byte_by_byte(text in "([a-zä:\u{7f}]{0,20}|\r\n|\r\n|\r\n[ \t]|[\r\n\0\t\\\\ ]){0,40}") {
            let mut lines = Lines::new(text.as_bytes());
            let found: Vec<_> = lines.by_ref().collect();
            let (expect, body, stray) = plain(text.as_bytes());
            prop_assert_eq!(found, expect);
            prop_assert_eq!(lines.body(), body);
            prop_assert!(body.is_none() || lines.saw_stray_bytes() == stray);
        }
    }

    #[test]
    fn control_characters_are_found_wherever_they_stand_in_a_block() {
        for byte in 0..=255_u8 {
            for place in 0..BLOCK {
                let mut block = *b"a~ \x7f\xff\x80\xa0z|!0A\xc3\xb6[ ";
                block[place] = byte;
                let expect = u32::from(byte < b' ') << place;
                assert_eq!(controls(block), expect, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn lines_end_where_their_crlf_stands_whatever_their_length() {
        for length in 0..40 {
            let text = format!("{}x\r\nb\tc\r\n folded\r\n\r\nbody\n", "y".repeat(length));
            let mut lines = Lines::new(text.as_bytes());
            let found: Vec<_> = lines
                .by_ref()
                .map(|line| (&text[line.start..line.end], line.folded))
                .collect();
            assert_eq!(found, [(&text[..=length], false), ("b\tc\r\n folded", true)]);
            assert_eq!(lines.body().map(|body| &text[body..]), Some("body\n"));
            assert!(!lines.saw_stray_bytes(), "{length}");
        }
    }
}
