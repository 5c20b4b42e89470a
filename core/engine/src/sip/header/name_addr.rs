//! From, To, Contact, Route and their like: a display name, a URI, parameters.

use std::borrow::Cow;

use super::params::{Noted, NotedPlaces, Params};
use crate::sip::byte;
use crate::sip::grammar::{quoted_len, trim, trim_start, unquote};
use crate::sip::message::{Malformed, Span};
use crate::sip::uri::{Uri, scheme_len};

const FAULT: Malformed = Malformed::new("address");

/// One address: `"Display" <uri>;params`, `words <uri>;params` or `uri;params`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as on the wire: a quoted string with its quotes, or bare words.
    pub display_raw: Option<&'a str>,
    /// The URI as on the wire, without its brackets.
    pub uri: &'a str,
    params: Params<'a>,
    tag: Noted<'a>,
}

/// From or To as it was read, as places in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SidePlaces {
    display: Option<Span>,
    uri: Span,
    params: Span,
    tag: NotedPlaces,
}

impl<'a> NameAddr<'a> {
    /// Reads one address (not a whole list).
    ///
    /// # Errors
    /// A quote or bracket without end, white space in the URI, no scheme, a display name with
    /// characters that must be quoted, a bare URI with a `?`, or parameters that cannot be read.
    pub fn parse(value: &'a str) -> Result<Self, Malformed> {
        let value = trim(value);
        let bytes = value.as_bytes();
        // What a bare URI consists of is skipped first: often that is all.
        let bare_len = byte::run(bytes, byte::VALUE);
        let display_len = match bytes.first() {
            Some(b'<') => 0,
            Some(b'"') => quoted_len(value).ok_or(FAULT)?,
            _ => {
                let mark = memchr::memchr2(b'<', b'"', &bytes[bare_len..]).map(|at| bare_len + at);
                mark.filter(|at| bytes[*at] == b'<').unwrap_or(0)
            }
        };
        let (display, rest) = value.split_at(display_len);
        let (display, rest) = (trim(display), trim_start(rest));
        if !display.is_empty() && !display.starts_with('"') && !byte::all(display, byte::WORDS) {
            // `sip:a@b;x=<c>` ends here too: a bracket outside quotes has no place in a parameter.
            return Err(FAULT);
        }
        let (uri, params) = match rest.strip_prefix('<') {
            Some(rest) => {
                let (uri, rest) = rest.split_at(byte::run(rest.as_bytes(), byte::URI));
                (uri, rest.strip_prefix('>').ok_or(FAULT)?)
            }
            // The question mark, comma and semicolon of a bare URI would be ambiguous (RFC 3261 section 20.10).
            None if display.is_empty() => bare(rest, bare_len).ok_or(FAULT)?,
            None => return Err(FAULT),
        };
        if scheme_len(uri).is_none_or(|len| len + 1 == uri.len()) {
            return Err(FAULT);
        }
        let (params, tag) = Params::parse(params, "tag")?;
        Ok(Self {
            display_raw: (!display.is_empty()).then_some(display),
            uri,
            params,
            tag,
        })
    }

    /// Where it stands in the head that it was read from.
    pub(crate) fn places(&self, head: &str) -> SidePlaces {
        SidePlaces {
            display: self.display_raw.map(|display| Span::of(display, head)),
            uri: Span::of(self.uri, head),
            params: Span::of(self.params.text(), head),
            tag: self.tag.places(head),
        }
    }

    /// What was read from these places of the head.
    pub(crate) fn at(places: SidePlaces, head: &'a str) -> Self {
        Self {
            display_raw: places.display.map(|display| display.text(head)),
            uri: places.uri.text(head),
            params: Params::at(places.params, head),
            tag: Noted::at(places.tag, head),
        }
    }

    /// The display name as it is meant: without quotes, escapes undone; `None` if there is none or it is empty.
    pub fn display(&self) -> Option<Cow<'a, str>> {
        self.display_raw.map(unquote).filter(|name| !name.is_empty())
    }

    /// The URI, read.
    ///
    /// # Errors
    /// As [`Uri::parse`].
    pub fn parsed_uri(&self) -> Result<Uri<'a>, Malformed> {
        Uri::parse(self.uri)
    }

    /// The tag of this side of the dialog.
    pub fn tag(&self) -> Option<&'a str> {
        self.tag.value.filter(|tag| !tag.is_empty())
    }

    /// Whether there is no tag, or one that is not empty.
    pub(crate) fn has_clear_tag(&self) -> bool {
        self.tag.is_unique()
    }

    /// The preference of a contact in thousandths, 0 to 1000; `None` if it has none or it cannot be read.
    pub fn q(&self) -> Option<u16> {
        let text = self.params.get("q")?;
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        if !matches!(whole, "0" | "1") || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let part = part
            .bytes()
            .chain(std::iter::repeat(b'0'))
            .take(3)
            .fold(0, |n, b| n * 10 + u16::from(b - b'0'));
        Some(if whole == "1" { 1000 } else { 0 } + part).filter(|q| *q <= 1000)
    }

    /// The value of a header parameter as on the wire (a quoted string with its quotes); empty where it has none.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    /// The header parameters (not those of the URI) in their order.
    pub fn params(&self) -> Params<'a> {
        self.params
    }
}

/// A URI of this length without brackets and a question mark, and its parameters; no comma may follow it.
fn bare(text: &str, len: usize) -> Option<(&str, &str)> {
    let (uri, rest) = text.split_at(len);
    let ends = matches!(rest.as_bytes().first(), None | Some(b';' | b' ' | b'\t'));
    (ends && memchr::memchr(b'?', uri.as_bytes()).is_none()).then_some((uri, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::grammar::List;

    #[track_caller]
    fn check(text: &str, display: Option<&str>, uri: &str, params: &str) {
        let address = NameAddr::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(address.display().as_deref(), display, "{text}");
        assert_eq!(address.uri, uri, "{text}");
        assert_eq!(address.params().text(), params, "{text}");
    }

    #[test]
    fn addresses_are_read_in_all_three_forms() {
        check("sip:a@b", None, "sip:a@b", "");
        check("sip:a@b;tag=x", None, "sip:a@b", ";tag=x");
        check("<sip:a@b;lr>;tag=x", None, "sip:a@b;lr", ";tag=x");
        check("caller<sip:a@b>;tag=323", Some("caller"), "sip:a@b", ";tag=323");
        check(
            "Anna von  Ü <sip:a@b> ; x = 1",
            Some("Anna von  Ü"),
            "sip:a@b",
            "; x = 1",
        );
        check(
            r#""A \"Q\" \\ ☃"<sips:a@[::1]:5>"#,
            Some(r#"A "Q" \ ☃"#),
            "sips:a@[::1]:5",
            "",
        );
        check(r#""" <sip:a@b>"#, None, "sip:a@b", "");
        check(
            "<tel:+49-30;phone-context=x>",
            None,
            "tel:+49-30;phone-context=x",
            "",
        );
        check(
            r#"sip:a@b;+sip.instance="<urn:uuid:1>""#,
            None,
            "sip:a@b",
            r#";+sip.instance="<urn:uuid:1>""#,
        );
        check("<sip:a@b?Subject=x>", None, "sip:a@b?Subject=x", "");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let texts = [
            "",
            "*",
            "a",
            "sip:",
            ":a@b",
            "<sip:a@b",
            "sip:a@b>",
            "\"Joe <sip:a@b>",
            "Bell, A <sip:a@b>",
            "<sip:a@b>;;;",
            "<sip:a@b>x",
            "\"T\" < sip:a@b >",
            "<<sip:a@b>>",
            "sip:a@b?Route=x",
            "\"A\" sip:a@b",
            "a\"b\" <sip:a@b>",
            "<>",
            "1a:b",
            "\"a\"\"b\" <sip:a@b>",
        ];
        for text in texts {
            assert!(NameAddr::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2048))]

        #[test]
        fn what_is_one_address_is_no_list(text in "([a-z:?@]{1,5}|sip:a|<sip:[a-z,?]{1,3}>|;[a-z]=?[a-z]?|\"[a-z,\\\\]{0,3}\"|[ ,<>\"é]){1,7}") {
            if NameAddr::parse(&text).is_ok() {
                proptest::prop_assert_eq!(List::new(&text).collect::<Vec<_>>(), [trim(&text)]);
            }
        }
    }

    #[test]
    fn preference_is_read_in_thousandths() {
        let q = |text: &str| NameAddr::parse(&format!("<sip:a@b>;q={text}")).unwrap().q();
        assert_eq!(
            [q("0.33"), q("1"), q("1.000"), q("0"), q("0.005")],
            [Some(330), Some(1000), Some(1000), Some(0), Some(5)]
        );
        assert_eq!([q("1.001"), q("2"), q("0.1234"), q("-1"), q("x")], [None; 5]);
        assert_eq!(NameAddr::parse("<sip:a@b>").unwrap().q(), None);
    }
}
