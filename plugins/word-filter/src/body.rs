//! Finds words in bodies: in all of a text, in the string values of JSON; and masks them in place, so
//! that everything else stays byte for byte.

use crate::words::{Letter, Words};

/// The bodies that are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `text/*`.
    Text,
    /// `application/json` and `application/*+json`.
    Json,
}

impl Kind {
    /// The kind of a Content-Type, whose parameters do not matter.
    pub fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next()?.trim().to_ascii_lowercase();
        let (main, sub) = kind.split_once('/')?;
        match main {
            "text" => Some(Self::Text),
            "application" if sub == "json" || sub.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// A place where a word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Which word.
    pub word: usize,
    /// Where its bytes begin.
    pub start: usize,
    /// Where they end.
    pub end: usize,
    /// How many characters they spell.
    pub characters: usize,
}

/// Finds the words in a body, from front to back.
pub fn find(kind: Kind, body: &[u8], words: &Words) -> Vec<Found> {
    let mut found = Vec::new();
    if !words.may_stand_in(body, kind == Kind::Json) {
        return found;
    }
    let parts = match kind {
        Kind::Text => None,
        Kind::Json => json_strings(body),
    };
    match parts {
        Some(parts) => {
            for (start, end) in parts {
                search(&json_letters(body, start, end), words, &mut found);
            }
        }
        // Broken JSON too: a client may be less strict than we are, and show the words.
        None => search(&text_letters(body, 0, body.len()), words, &mut found),
    }
    found
}

fn search(letters: &[Letter], words: &Words, found: &mut Vec<Found>) {
    words.find(letters, |word, first, last| {
        let (start, end) = (letters[first].start, letters[last - 1].end);
        found.push(Found {
            word,
            start,
            end,
            characters: last - first,
        });
    });
}

/// The body with a `*` for each character of what was found.
pub fn mask(body: &[u8], found: &[Found]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(body.len());
    let mut from = 0;
    for found in found {
        masked.extend_from_slice(&body[from..found.start]);
        masked.resize(masked.len() + found.characters, b'*');
        from = found.end;
    }
    masked.extend_from_slice(&body[from..]);
    masked
}

/// The characters of UTF-8 text. What is no UTF-8 counts as characters that belong to no word.
fn text_letters(body: &[u8], start: usize, end: usize) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(end - start);
    let mut at = start;
    for chunk in body[start..end].utf8_chunks() {
        for character in chunk.valid().chars() {
            letters.push(Letter {
                character,
                start: at,
                end: at + character.len_utf8(),
            });
            at += character.len_utf8();
        }
        if !chunk.invalid().is_empty() {
            let end = at + chunk.invalid().len();
            letters.push(Letter {
                character: char::REPLACEMENT_CHARACTER,
                start: at,
                end,
            });
            at = end;
        }
    }
    letters
}

/// Where the string values of a JSON text stand, without their quotes; names of members are left out.
/// `None` if a string does not end.
fn json_strings(body: &[u8]) -> Option<Vec<(usize, usize)>> {
    let mut strings = Vec::new();
    let mut at = 0;
    while let Some(quote) = position(body, at, |byte| byte == b'"') {
        let start = quote + 1;
        let mut end = start;
        while *body.get(end)? != b'"' {
            end += if body[end] == b'\\' { 2 } else { 1 };
        }
        at = end + 1;
        let next = position(body, at, |byte| !byte.is_ascii_whitespace());
        if next.is_none_or(|next| body[next] != b':') {
            strings.push((start, end));
        }
    }
    Some(strings)
}

fn position(body: &[u8], from: usize, is: impl Fn(u8) -> bool) -> Option<usize> {
    body.get(from..)?
        .iter()
        .position(|byte| is(*byte))
        .map(|offset| from + offset)
}

/// The characters of a JSON string: an escape is one character.
fn json_letters(body: &[u8], start: usize, end: usize) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(end - start);
    let mut at = start;
    while at < end {
        let plain = position(&body[..end], at, |byte| byte == b'\\').unwrap_or(end);
        letters.extend(text_letters(body, at, plain));
        if plain < end {
            let (character, length) = escape(&body[plain..end]);
            letters.push(Letter {
                character,
                start: plain,
                end: plain + length,
            });
            at = plain + length;
        } else {
            at = end;
        }
    }
    letters
}

/// The character that an escape means, and its length in bytes.
fn escape(from: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = from.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let Some(first) = unit(0) else {
        let character = match from.get(1) {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte) => char::from(*byte),
            None => char::REPLACEMENT_CHARACTER,
        };
        return (character, from.len().min(2));
    };
    match char::decode_utf16([first]).next() {
        Some(Ok(character)) => (character, 6),
        _ => match unit(6).and_then(|second| char::decode_utf16([first, second]).next()?.ok()) {
            Some(character) => (character, 12),
            None => (char::REPLACEMENT_CHARACTER, 6),
        },
    }
}
