//! The lines of a head, folded ones as one.

/// A line of the head without its CRLF, folded lines included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether line breaks stand between `start` and `end`.
    pub(super) folded: bool,
}

/// The highest bit of each byte of a word.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The lines from the start of the buffer to the empty line that ends the head.
///
/// The bytes are looked at eight at a time, and once: nearly all of them are neither line ends nor anything
/// else that matters here.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    buffer: &'a [u8],
    /// Where the next line begins.
    at: usize,
    end: Option<usize>,
    /// The word that was looked at last, and the high bits of its control characters that are left.
    word: usize,
    controls: u64,
    /// Words that were looked at.
    words: usize,
    stray: bool,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(buffer: &'a [u8]) -> Self {
        Self {
            buffer,
            at: 0,
            end: None,
            word: 0,
            controls: 0,
            words: 0,
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

    /// Where the next control character stands.
    fn next_control(&mut self) -> Option<usize> {
        let (words, rest) = self.buffer.as_chunks::<8>();
        while self.controls == 0 {
            let bytes = match words.get(self.words) {
                Some(bytes) => *bytes,
                None if self.words > words.len() || rest.is_empty() => return None,
                None => {
                    let mut bytes = [b' '; 8];
                    bytes[..rest.len()].copy_from_slice(rest);
                    bytes
                }
            };
            self.controls = controls(u64::from_le_bytes(bytes));
            self.word = self.words * 8;
            self.words += 1;
        }
        let at = self.word + (self.controls.trailing_zeros() / 8) as usize;
        self.controls &= self.controls - 1;
        Some(at)
    }

    /// Where the CRLF stands that ends the line. A lone LF ends nothing: what one reader takes for the end
    /// of a header and another does not is how headers are smuggled.
    fn line_end(&mut self) -> Option<usize> {
        loop {
            let at = self.next_control()?;
            match self.buffer[at] {
                b'\r' if self.buffer.get(at + 1) == Some(&b'\n') => {
                    self.next_control(); // its LF
                    return Some(at);
                }
                b'\r' | b'\n' => self.stray = true,
                0 => self.stray |= at == 0 || self.buffer[at - 1] != b'\\',
                _ => {}
            }
        }
    }
}

/// The high bits of those bytes that are control characters of ASCII.
const fn controls(word: u64) -> u64 {
    // Seven bits and 0x60 reach the eighth if they are no less than a space.
    let no_less = (word & !HIGH) + 0x6060_6060_6060_6060;
    !(no_less | word) & HIGH
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        if self.end.is_some() {
            return None;
        }
        let start = self.at;
        let mut end = self.line_end()?;
        if end == start {
            self.end = Some(start + 2);
            return None;
        }
        let mut folded = false;
        while matches!(self.buffer.get(end + 2), Some(b' ' | b'\t')) {
            folded = true;
            end = self.line_end()?;
        }
        self.at = end + 2;
        Some(Line { start, end, folded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_found_wherever_they_stand_in_a_word() {
        for byte in 0..=255_u8 {
            for place in 0..8 {
                let mut word = *b"a~ \x7f\xff\x80\xa0z";
                word[place] = byte;
                let expect = if byte < b' ' { 0x80 << (place * 8) } else { 0 };
                assert_eq!(controls(u64::from_le_bytes(word)), expect, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn lines_end_where_their_crlf_stands_whatever_their_length() {
        for length in 0..40 {
            let text = format!("{}x\r\nb\tc\r\n folded\r\n\r\nbody\n", "y".repeat(length));
            let mut lines = Lines::new(text.as_bytes());
            let found: Vec<_> = lines.by_ref().map(|line| (&text[line.start..line.end], line.folded)).collect();
            assert_eq!(found, [(&text[..=length], false), ("b\tc\r\n folded", true)]);
            assert_eq!(lines.body().map(|body| &text[body..]), Some("body\n"));
            assert!(!lines.saw_stray_bytes(), "{length}");
        }
    }
}
