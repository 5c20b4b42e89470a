//! Parameters: `;name`, `;name=value`, `;name="quoted value"`.

use crate::sip::grammar::{is_token, quoted_len, trim, trim_start};
use crate::sip::message::Malformed;

const FAULT: Malformed = Malformed::new("params");

/// Parameters in their order, as name and value; values as on the wire, with their quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<'a> {
    rest: &'a str,
}

impl<'a> Params<'a> {
    /// Takes `text` if it is empty or a list of parameters, each with its semicolon before it.
    ///
    /// # Errors
    /// An empty parameter, a name that is no token, a value without end, anything else between.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let text = trim(text);
        let mut rest = text;
        while !rest.is_empty() {
            let (_, _, after) = first(rest).ok_or(FAULT)?;
            rest = after;
        }
        Ok(Self { rest: text })
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
fn first(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let text = trim_start(text.strip_prefix(';')?);
    let end = text
        .bytes()
        .position(|b| matches!(b, b';' | b'=' | b'"' | b'<' | b'>' | b','))
        .unwrap_or(text.len());
    let name = trim(&text[..end]);
    if !is_token(name) {
        return None;
    }
    let Some(rest) = text[end..].strip_prefix('=') else {
        return Some((name, None, &text[end..]))
            .filter(|(_, _, rest)| rest.is_empty() || rest.starts_with(';'));
    };
    let rest = trim_start(rest);
    if rest.starts_with('"') {
        let len = quoted_len(rest)?;
        let after = trim_start(&rest[len..]);
        return (after.is_empty() || after.starts_with(';')).then_some((name, Some(&rest[..len]), after));
    }
    let end = rest.find(';').unwrap_or(rest.len());
    let value = trim(&rest[..end]);
    is_value(value).then_some((name, Some(value), &rest[end..]))
}

/// Wider than the grammar, which wants a token or a host: phones send URNs and URIs bare. What could
/// be taken for another parameter, another element or another header stays out.
fn is_value(text: &str) -> bool {
    !text.is_empty()
        && !text
            .bytes()
            .any(|b| b <= b' ' || matches!(b, b'"' | b',' | b';' | b'<' | b'>' | 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_in_their_order() {
        let params = Params::parse(r#" ; a ;B= c ; d = "x;y, \" z";e=[::1]"#).unwrap();
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
            assert_eq!(Params::parse(text), Err(FAULT), "{text}");
        }
    }
}
