//! Bodies and parts that stand in another form than their own (RFC 2045 section 6): base64 and quoted-printable are undone
//! where a text is read.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Senders leave padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The form in which a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// Its own.
    Plain,
    Base64,
    QuotedPrintable,
    /// One that nobody undoes here, or a compressed one.
    Foreign,
}

impl Transfer {
    /// What a Content-Transfer-Encoding names; a body without one stands in its own form.
    pub(crate) fn of(encoding: Option<&str>) -> Self {
        // A comment may follow (RFC 2045 section 6.1).
        let named = encoding
            .unwrap_or_default()
            .split(['(', ';'])
            .next()
            .unwrap_or_default();
        let forms = [
            ("", Self::Plain),
            ("7bit", Self::Plain),
            ("8bit", Self::Plain),
            ("binary", Self::Plain),
            ("base64", Self::Base64),
            ("quoted-printable", Self::QuotedPrintable),
        ];
        let known = forms
            .iter()
            .find(|(name, _)| named.trim().eq_ignore_ascii_case(name));
        known.map_or(Self::Foreign, |(_, form)| *form)
    }

    /// Whether a body stands in its own form.
    pub(crate) const fn is_plain(self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Whether a body in this form can be read.
    pub(crate) const fn is_known(self) -> bool {
        !matches!(self, Self::Foreign)
    }

    /// The body in its own form, never longer than it stands here; `None` where nobody can tell. What is not what it says
    /// to be is taken as it stands: somebody has written it to be read.
    pub(crate) fn undone(self, body: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Plain => Some(body.into()),
            Self::Base64 => Some(from_base64(body).map_or(body.into(), Cow::Owned)),
            Self::QuotedPrintable => Some(from_quoted_printable(body).into()),
            Self::Foreign => None,
        }
    }
}

fn from_base64(body: &[u8]) -> Option<Vec<u8>> {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let whole = from_digits(body, |byte| !byte.is_ascii_whitespace());
    // Any other character stands for nothing (RFC 2045 section 6.8), unless the whole is a text that was never encoded.
    whole.or_else(|| from_digits(body, is_digit).filter(|own| std::str::from_utf8(own).is_ok()))
}

/// What the chosen bytes stand for. Padding ends a run of digits: another may follow.
fn from_digits(body: &[u8], chosen: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let digits: Vec<u8> = body.iter().copied().filter(|byte| chosen(*byte)).collect();
    let mut own = Vec::with_capacity(digits.len());
    for run in digits.split(|digit| *digit == b'=') {
        BASE64.decode_vec(run, &mut own).ok()?;
    }
    Some(own)
}

/// A lone `=` stays (RFC 2045 section 6.7), as do line ends of any kind; blanks before one go, for they were put there on
/// the way.
fn from_quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut own = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        let whole = text.len() < line.len() && line.ends_with(b"\n");
        let end = match line {
            [.., b'\r', b'\n'] => &b"\r\n"[..],
            [.., b'\n'] => b"\n",
            _ => b"",
        };
        let (text, end) = match text.strip_suffix(b"=") {
            Some(text) if whole => (text, &b""[..]),
            _ if whole => (text, end),
            _ => (line, end),
        };
        let mut rest = text;
        while let Some(at) = memchr::memchr(b'=', rest) {
            own.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            match octet(rest) {
                Some(octet) => {
                    own.push(octet);
                    rest = &rest[2..];
                }
                None => own.push(b'='),
            }
        }
        own.extend_from_slice(rest);
        own.extend_from_slice(end);
    }
    own
}

/// What two hexadecimal digits stand for.
fn octet(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(encoding: &str, body: &[u8]) -> Option<String> {
        let own = Transfer::of(Some(encoding)).undone(body)?;
        Some(String::from_utf8_lossy(&own).into_owned())
    }

    #[test]
    fn forms_are_undone_by_their_names() {
        for (encoding, body, own) in [
            ("", "a=3D", Some("a=3D")),
            ("8BIT", "a=3D", Some("a=3D")),
            ("Base64", "aGk=", Some("hi")),
            (" base64 (RFC 2045)", "aGk", Some("hi")),
            ("quoted-printable", "a=3Db", Some("a=b")),
            ("x-uuencode", "#86)C", None),
            ("base64, gzip", "aGk=", None),
        ] {
            assert_eq!(undone(encoding, body.as_bytes()).as_deref(), own, "{encoding}");
        }
        assert_eq!(Transfer::of(None), Transfer::Plain);
    }

    #[test]
    fn base64_is_read_in_lines_and_what_is_none_stays() {
        for (body, own) in [
            ("aGVs\r\nbG8=\r\n", "hello"),
            ("aGVs bG8", "hello"),
            ("aGk=aGk=", "hihi"),
            ("aGk=!", "hi"),
            ("a!Gk=", "hi"),
            ("hi, Bob!", "hi, Bob!"),
            ("no base64, that!", "no base64, that!"),
            ("a", "a"),
            ("", ""),
        ] {
            assert_eq!(undone("base64", body.as_bytes()).as_deref(), Some(own));
        }
    }

    #[test]
    fn quoted_printable_is_read_with_its_soft_lines_and_what_is_none_stays() {
        for (body, own) in [
            ("caf=C3=A9", "café"),
            ("caf=c3=a9", "café"),
            ("one =\r\nline", "one line"),
            ("one=20\r\ntwo  \r\n", "one \r\ntwo\r\n"),
            ("soft= \t\nly", "softly"),
            ("a\n\nb=\n\n", "a\n\nb\n"),
            ("1+1=2, =G0 =", "1+1=2, =G0 ="),
            ("=3D3D", "=3D"),
            ("é", "é"),
            ("end  ", "end  "),
        ] {
            assert_eq!(
                undone("quoted-printable", body.as_bytes()).as_deref(),
                Some(own),
                "{body}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_put_into_a_form_is_what_comes_out(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let encoded = base64::prelude::BASE64_STANDARD.encode(&body);
            proptest::prop_assert_eq!(&*Transfer::Base64.undone(encoded.as_bytes()).unwrap(), &body[..]);
            let encoded: String = body.iter().map(|byte| format!("={byte:02X}")).collect();
            proptest::prop_assert_eq!(&*Transfer::QuotedPrintable.undone(encoded.as_bytes()).unwrap(), &body[..]);
        }

        #[test]
        fn anything_is_read_and_grows_no_longer(body in "[=A-F0-9 \r\n\tg]{0,80}") {
            for form in [Transfer::Base64, Transfer::QuotedPrintable] {
                proptest::prop_assert!(form.undone(body.as_bytes()).unwrap().len() <= body.len());
            }
        }
    }
}
