//! An Authorization or Proxy-Authorization header with the scheme Digest.

use std::borrow::Cow;
use std::fmt;

use crate::config::DigestAlgorithm;
use crate::sip::byte;
use crate::sip::grammar::{List, trim, trim_start, unquote};
use crate::sip::message::Malformed;

const FAULT: Malformed = Malformed::new("credentials");
/// Far more than the scheme has; whoever sends more is searching for a fault.
const MAX_PARAMS: usize = 32;

/// What a client says to prove who it is. Quoted values stand without their quotes, their escapes in place:
/// so they are hashed (RFC 7616 section 3.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    username: &'a str,
    /// The realm of the challenge.
    pub realm: &'a str,
    /// The nonce of the challenge.
    pub nonce: &'a str,
    /// The Request-URI as the client hashed it.
    pub uri: &'a str,
    /// The proof in hexadecimal digits.
    pub response: &'a str,
    /// The algorithm as written; MD5 is meant where it is missing.
    pub algorithm_text: Option<&'a str>,
    /// The quality of protection, if the client uses one.
    pub qop: Option<&'a str>,
    /// The client's own nonce.
    pub cnonce: Option<&'a str>,
    /// How often the client has used the nonce.
    pub nc: Option<u32>,
    pub(super) nc_text: &'a str,
    /// What the challenge asked to be given back.
    pub opaque: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    /// Reads a header value.
    ///
    /// # Errors
    /// The scheme is another one, a parameter stands twice or cannot be read, or one is missing that must be there.
    pub fn parse(value: &'a str) -> Result<Self, Malformed> {
        let (scheme, params) = trim(value).split_once([' ', '\t']).ok_or(FAULT)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Err(Malformed::new("auth_scheme"));
        }
        let mut found = Found::default();
        for (at, param) in List::new(params).enumerate() {
            let (name, value) = param.split_at(byte::run(param.as_bytes(), byte::TOKEN));
            let value = trim_start(value).strip_prefix('=').ok_or(FAULT)?;
            let value = bare(trim_start(value)).ok_or(FAULT)?;
            if at == MAX_PARAMS || name.is_empty() {
                return Err(FAULT);
            }
            if let Some(slot) = found.slot(name)
                && slot.replace(value).is_some()
            {
                return Err(FAULT);
            }
        }
        found.finish().ok_or(FAULT)
    }

    /// The name that the client gives, escapes undone.
    pub fn username(&self) -> Cow<'a, str> {
        if !self.username.contains('\\') {
            return Cow::Borrowed(self.username);
        }
        Cow::Owned(unquote(&format!("\"{}\"", self.username)).into_owned())
    }

    /// The algorithm, if it is one that we offer.
    pub fn algorithm(&self) -> Option<DigestAlgorithm> {
        DigestAlgorithm::of(self.algorithm_text.unwrap_or("MD5"))
    }
}

impl fmt::Debug for Credentials<'_> {
    /// Without the proof: with it, passwords can be guessed offline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} at {})", self.username, self.realm)
    }
}

/// A value without its quotes; `None` if the quotes do not match.
fn bare(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(_) if crate::sip::grammar::quoted_len(value) != Some(value.len()) => None,
        Some(inner) => inner.strip_suffix('"'),
        None => {
            (!value.is_empty() && !value.bytes().any(|b| matches!(b, b'"' | b' ' | b'\t'))).then_some(value)
        }
    }
}

/// The parameters as they are found.
#[derive(Default)]
struct Found<'a> {
    username: Option<&'a str>,
    realm: Option<&'a str>,
    nonce: Option<&'a str>,
    uri: Option<&'a str>,
    response: Option<&'a str>,
    algorithm: Option<&'a str>,
    qop: Option<&'a str>,
    cnonce: Option<&'a str>,
    nc: Option<&'a str>,
    opaque: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        // Length and first letter tell them apart.
        let (known, slot) = match (name.len(), name.as_bytes().first()? | 0x20) {
            (8, b'u') => ("username", &mut self.username),
            (5, b'r') => ("realm", &mut self.realm),
            (5, b'n') => ("nonce", &mut self.nonce),
            (3, b'u') => ("uri", &mut self.uri),
            (8, b'r') => ("response", &mut self.response),
            (9, b'a') => ("algorithm", &mut self.algorithm),
            (3, b'q') => ("qop", &mut self.qop),
            (6, b'c') => ("cnonce", &mut self.cnonce),
            (2, b'n') => ("nc", &mut self.nc),
            (6, b'o') => ("opaque", &mut self.opaque),
            _ => return None,
        };
        name.eq_ignore_ascii_case(known).then_some(slot)
    }

    fn finish(self) -> Option<Credentials<'a>> {
        let nc = match self.nc {
            Some(text) => Some(count(text)?),
            None => None,
        };
        // With a quality of protection the two others are part of the proof.
        if self.qop.is_some() && (nc.is_none() || self.cnonce.is_none()) {
            return None;
        }
        Some(Credentials {
            username: self.username?,
            realm: self.realm?,
            nonce: self.nonce?,
            uri: self.uri?,
            response: self.response?,
            algorithm_text: self.algorithm,
            qop: self.qop,
            cnonce: self.cnonce,
            nc,
            nc_text: self.nc.unwrap_or(""),
            opaque: self.opaque,
        })
    }
}

/// Eight hexadecimal digits.
fn count(text: &str) -> Option<u32> {
    let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_with_its_quotes_and_blanks() {
        let value = r#"digest username="a\"b",realm = "r, s" , nonce="n",uri="sip:b",response="00", algorithm=sha-256, qop="auth",nc=0000000A,cnonce="c",x=y"#;
        let credentials = Credentials::parse(value).unwrap();
        assert_eq!(credentials.username(), "a\"b");
        assert_eq!(
            (credentials.realm, credentials.nonce, credentials.uri),
            ("r, s", "n", "sip:b")
        );
        assert_eq!(
            (credentials.nc, credentials.cnonce, credentials.qop),
            (Some(10), Some("c"), Some("auth"))
        );
        assert_eq!(credentials.algorithm(), Some(DigestAlgorithm::Sha256));
        let value = r#"Digest username="a",realm="r",nonce="n",uri="sip:b",response="00""#;
        let credentials = Credentials::parse(value).unwrap();
        assert_eq!(
            (credentials.algorithm(), credentials.nc, credentials.qop),
            (Some(DigestAlgorithm::Md5), None, None)
        );
        assert_eq!(format!("{credentials:?}"), "Credentials(a at r)");
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        let whole = r#"username="a",realm="r",nonce="n",uri="sip:b",response="00""#;
        assert!(Credentials::parse(&format!("Digest {whole}")).is_ok());
        for algorithm in ["MD5-sess", "SHA-512-256", "x"] {
            let text = format!("Digest {whole},algorithm={algorithm}");
            assert_eq!(
                Credentials::parse(&text).unwrap().algorithm(),
                None,
                "{algorithm}"
            );
        }
        assert_eq!(
            Credentials::parse("Basic YTpi"),
            Err(Malformed::new("auth_scheme"))
        );
        for missing in ["username", "realm", "nonce", "uri", "response"] {
            let text = whole.replace(missing, "x");
            assert_eq!(
                Credentials::parse(&format!("Digest {text}")),
                Err(FAULT),
                "{missing}"
            );
        }
        let extras = [
            "realm=\"r\"",
            "qop=auth",
            "qop=auth,nc=00000001",
            "qop=auth,cnonce=\"c\"",
            "nc=1",
            "nc=0000000g",
            "nc=+0000001",
            "x",
            "x=",
            "x=\"a",
            "x=a\"b\"",
            "\"x\"=1",
        ];
        for extra in extras {
            assert_eq!(
                Credentials::parse(&format!("Digest {whole},{extra}")),
                Err(FAULT),
                "{extra}"
            );
        }
        assert_eq!(Credentials::parse(""), Err(FAULT));
        assert_eq!(
            Credentials::parse(&format!("Digest {whole}{}", ",x=y".repeat(MAX_PARAMS))),
            Err(FAULT)
        );
    }
}
