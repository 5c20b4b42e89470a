//! The small words of RFC 3261 section 25 that several readers share: tokens, quoted strings, lists.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use super::byte;

/// Whether the text is a `token`.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && byte::all(text, byte::TOKEN)
}

/// Whether the byte is linear white space once folding is undone.
pub(crate) fn is_space(byte: u8) -> bool {
    byte::is(byte, byte::SPACE)
}

/// The text without white space around it.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    let text = trim_start(text);
    match text.as_bytes().last() {
        Some(last) if is_space(*last) => trim_spaces_end(text),
        _ => text,
    }
}

/// The text without white space before it.
#[inline]
pub(crate) fn trim_start(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(first) if is_space(*first) => &text[byte::spaces(text.as_bytes())..],
        _ => text,
    }
}

/// Apart from [`trim`], which seldom finds any.
fn trim_spaces_end(text: &str) -> &str {
    let space = text.bytes().rev().take_while(|byte| is_space(*byte)).count();
    &text[..text.len() - space]
}

/// Length of the quoted string that `text` begins with, quotes included; `None` if it does not end.
pub(crate) fn quoted_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// What a quoted string means: without quotes, escapes undone. Other text is given back as it is.
pub(crate) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A decimal number of any length; what does not fit is `u64::MAX`. `None` if it is not all digits.
pub(crate) fn clamped_number(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0u64, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    })
}

/// The elements of a comma-separated list, trimmed; commas in quotes and in `<>` do not separate.
#[derive(Debug, Clone)]
pub(crate) struct List<'a> {
    rest: Option<&'a str>,
}

impl<'a> List<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let text = trim(text);
        Self {
            rest: (!text.is_empty()).then_some(text),
        }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let end = element_len(rest);
        self.rest = rest.get(end + 1..);
        Some(trim(&rest[..end]))
    }
}

/// Length of the first element; a quote or a bracket that does not end reaches to the end.
fn element_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    if memchr(b',', bytes).is_none() {
        return bytes.len(); // usually there is one element
    }
    let mut at = 0;
    while let Some(found) = memchr3(b',', b'"', b'<', &bytes[at..]) {
        at += found;
        let skipped = match bytes[at] {
            b',' => return at,
            b'"' => quoted_len(&text[at..]),
            _ => memchr(b'>', &bytes[at..]).map(|len| len + 1),
        };
        match skipped {
            Some(len) => at += len,
            None => break,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_at_commas_outside_quotes_and_brackets() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  ", &[]),
            ("a", &["a"]),
            ("a , b,c", &["a", "b", "c"]),
            (
                r#""x, \", y" <sip:a,b@c>;p=",", <sip:d>"#,
                &[r#""x, \", y" <sip:a,b@c>;p=",""#, "<sip:d>"],
            ),
            ("a,,b,", &["a", "", "b", ""]),
            (r#""open, a"#, &[r#""open, a"#]),
            ("<sip:a, b", &["<sip:a, b"]),
        ];
        for (text, expect) in cases {
            assert_eq!(List::new(text).collect::<Vec<_>>(), expect, "{text}");
        }
    }

    #[test]
    fn white_space_around_a_text_is_taken_away() {
        for text in ["", " ", "a", " a", "a ", "\r\n\ta b \t", "ä ", "\u{a0}"] {
            let space = [' ', '\t', '\r', '\n'];
            assert_eq!(trim(text), text.trim_matches(space), "{text:?}");
            assert_eq!(trim_start(text), text.trim_start_matches(space), "{text:?}");
        }
    }

    #[test]
    fn quoted_strings_are_measured_and_unquoted() {
        assert_eq!(quoted_len(r#""a\"b" rest"#), Some(6));
        assert_eq!(quoted_len(r#""a\"#), None);
        assert_eq!(quoted_len(r#""a\""#), None);
        assert_eq!(unquote(r#""a\"b\\ ☃""#), r#"a"b\ ☃"#);
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(unquote("\""), "\"");
    }

    #[test]
    fn numbers_clamp_and_refuse_signs() {
        assert_eq!(clamped_number("0068"), Some(68));
        assert_eq!(clamped_number("99999999999999999999999"), Some(u64::MAX));
        for text in ["", "-1", "+1", "1 ", "0x1"] {
            assert_eq!(clamped_number(text), None, "{text}");
        }
    }
}
