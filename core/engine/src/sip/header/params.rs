//! Parameters: `;name`, `;name=value`, `;name="quoted value"`.

use crate::sip::byte;
use crate::sip::grammar::{quoted_len, trim, trim_start};
use crate::sip::message::{Malformed, Span};

const FAULT: Malformed = Malformed::new("params");

/// Parameters in their order, as name and value; values as on the wire, with their quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<'a> {
    rest: &'a str,
}

/// The parameters of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted<'a> {
    /// The value of the first one, as on the wire; empty where it has none.
    pub(crate) value: Option<&'a str>,
    /// Whether there is another one.
    pub(crate) again: bool,
}

/// What was noted, as places in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotedPlaces {
    value: Option<Span>,
    again: bool,
}

impl<'a> Noted<'a> {
    /// Where it stands in the head that it was read from.
    pub(super) fn places(self, head: &str) -> NotedPlaces {
        NotedPlaces {
            value: self.value.map(|value| Span::of(value, head)),
            again: self.again,
        }
    }

    /// What was read from these places of the head.
    pub(super) fn at(places: NotedPlaces, head: &'a str) -> Self {
        Self {
            value: places.value.map(|value| value.text(head)),
            again: places.again,
        }
    }

    /// Whether there is none, or one with a value.
    pub(crate) fn is_unique(self) -> bool {
        !self.again
            && self
                .value
                .is_none_or(|value| !value.is_empty() && value != "\"\"")
    }
}

impl<'a> Params<'a> {
    /// Takes `text` if it is empty or a list of parameters, each with its semicolon before it; notes on the
    /// way what there is by one name.
    ///
    /// # Errors
    /// An empty parameter, a name that is no token, a value without end, anything else between.
    #[inline]
    pub(crate) fn parse(text: &'a str, name: &str) -> Result<(Self, Noted<'a>), Malformed> {
        let text = trim(text);
        let mut rest = text;
        let mut noted = Noted {
            value: None,
            again: false,
        };
        while !rest.is_empty() {
            let (found, value, after) = first(rest).ok_or(FAULT)?;
            if found.len() == name.len() && (found == name || found.eq_ignore_ascii_case(name)) {
                match noted.value {
                    None => noted.value = Some(value.unwrap_or_default()),
                    Some(_) => noted.again = true,
                }
            }
            rest = after;
        }
        Ok((Self { rest: text }, noted))
    }

    /// What was read from this place of a head.
    pub(super) fn at(place: Span, head: &'a str) -> Self {
        Self {
            rest: place.text(head),
        }
    }

    /// The value of the first parameter of this name, as on the wire; empty where it has none.
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut params = self;
        params
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// The text that the parameters were read from, with its first semicolon.
    pub fn text(self) -> &'a str {
        self.rest
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value, rest) = first(self.rest)?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Name and value of the first parameter, and what follows it.
#[inline]
fn first(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let text = trim_start(text.strip_prefix(';')?);
    let (name, rest) = text.split_at(byte::run(text.as_bytes(), byte::TOKEN));
    let rest = trim_start(rest);
    if name.is_empty() {
        return None;
    }
    let Some(rest) = rest.strip_prefix('=') else {
        return ends(rest).then_some((name, None, rest));
    };
    let rest = trim_start(rest);
    let len = if rest.starts_with('"') {
        quoted_len(rest)?
    } else {
        byte::run(rest.as_bytes(), byte::VALUE)
    };
    let (value, rest) = rest.split_at(len);
    let rest = trim_start(rest);
    (!value.is_empty() && ends(rest)).then_some((name, Some(value), rest))
}

/// Whether this is the end of the parameters, or the next one.
fn ends(rest: &str) -> bool {
    matches!(rest.as_bytes().first(), None | Some(b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_in_their_order() {
        let (params, b) = Params::parse(r#" ; a ;B= c ; d = "x;y, \" z";e=[::1]"#, "b").unwrap();
        assert!(b.is_unique() && b.value == Some("c"));
        let expect = [
            ("a", None),
            ("B", Some("c")),
            ("d", Some(r#""x;y, \" z""#)),
            ("e", Some("[::1]")),
        ];
        assert_eq!(params.collect::<Vec<_>>(), expect);
        assert_eq!(params.get("b"), Some("c"));
        assert_eq!(params.get("A"), Some(""));
        assert_eq!(params.get("x"), None);
    }

    #[test]
    fn a_name_that_is_there_twice_or_without_a_value_is_noted() {
        for (text, unique) in [
            ("", true),
            (";a=1;b=2", true),
            (";A=1;b=2;a=3", false),
            (";a", false),
            (r#";a="""#, false),
        ] {
            assert_eq!(Params::parse(text, "a").unwrap().1.is_unique(), unique, "{text}");
        }
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        for text in [
            ";",
            ";;",
            ";a;",
            ";a=",
            ";=b",
            ";a=\"x",
            ";a=\"x\"y",
            "a",
            ";a b",
            ";a=b c",
            ";a=b,c",
            ";ä=b",
            ";a\"b\"",
        ] {
            assert_eq!(Params::parse(text, ""), Err(FAULT), "{text}");
        }
    }
}
