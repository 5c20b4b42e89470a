//! The proof: what the client must have computed.

use std::fmt;

use md5::Md5;
use sha2::digest::Output;
use sha2::{Digest, Sha256};

use super::Credentials;
use crate::config::DigestAlgorithm;
use crate::sip::uri::Uri;

/// The hash of user, realm and password, all that is kept of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ha1 {
    /// For the algorithm MD5.
    Md5([u8; 16]),
    /// For the algorithm SHA-256.
    Sha256([u8; 32]),
}

impl fmt::Debug for Ha1 {
    /// Whoever has the hash can log in, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5(_) => "Ha1(MD5)",
            Self::Sha256(_) => "Ha1(SHA-256)",
        })
    }
}

/// MD5(user:realm:password).
pub fn ha1_md5(user: &str, realm: &str, password: &str) -> [u8; 16] {
    hash::<Md5>(&[user, realm, password]).into()
}

/// SHA-256(user:realm:password).
pub fn ha1_sha256(user: &str, realm: &str, password: &str) -> [u8; 32] {
    hash::<Sha256>(&[user, realm, password]).into()
}

/// Whether the credentials prove that the client knows the password behind `ha1`, for a request with this
/// method. Takes the same time wherever the proofs differ. Whose nonce it is, whether it is fresh, and whether
/// the [URI](same_resource) is the request's is asked elsewhere.
///
/// Without `qop` (RFC 2069) only MD5 is taken: everything that knows SHA-256 knows `qop`.
pub fn verify(credentials: &Credentials<'_>, ha1: Ha1, method: &str) -> bool {
    match (ha1, credentials.algorithm()) {
        (Ha1::Md5(ha1), Some(DigestAlgorithm::Md5)) => proves::<Md5>(credentials, &ha1, method),
        (Ha1::Sha256(ha1), Some(DigestAlgorithm::Sha256)) if credentials.qop.is_some() => {
            proves::<Sha256>(credentials, &ha1, method)
        }
        _ => false,
    }
}

fn proves<D: Digest>(credentials: &Credentials<'_>, ha1: &[u8], method: &str) -> bool {
    let (ha1, ha2) = (
        Digits::of(ha1),
        Digits::of(&hash::<D>(&[method, credentials.uri])),
    );
    let (ha1, ha2) = (ha1.as_str(), ha2.as_str());
    let expect = match credentials.qop {
        Some(qop) if qop.eq_ignore_ascii_case("auth") => {
            let cnonce = credentials.cnonce.unwrap_or("");
            hash::<D>(&[ha1, credentials.nonce, credentials.nc_text, cnonce, qop, ha2])
        }
        // auth-int and whatever else was never offered.
        Some(_) => return false,
        None => hash::<D>(&[ha1, credentials.nonce, ha2]),
    };
    let mut response = [0; LONGEST];
    let response = &mut response[..expect.len()];
    hex::decode_to_slice(credentials.response, response).is_ok() && same_bytes(response, &expect)
}

/// The bytes of the longest hash.
const LONGEST: usize = 32;

/// A hash in hexadecimal digits.
struct Digits {
    digits: [u8; LONGEST * 2],
    len: usize,
}

impl Digits {
    fn of(hash: &[u8]) -> Self {
        let mut digits = [0; LONGEST * 2];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(hash) {
            let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
            (pair[0], pair[1]) = (digit(byte >> 4), digit(byte & 15));
        }
        Self {
            digits,
            len: hash.len() * 2,
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.len]).expect("digits are ASCII")
    }
}

/// The hash of the parts with colons between them.
fn hash<D: Digest>(parts: &[&str]) -> Output<D> {
    let mut hash = D::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            hash.update(b":");
        }
        hash.update(part.as_bytes());
    }
    hash.finalize()
}

fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    let differ = a
        .iter()
        .zip(b)
        .fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    a.len() == b.len() && differ == 0
}

/// Whether the URI in the credentials names the resource of the request.
///
/// RFC 7616 section 3.4.6 wants the same resource, not the same text, and phones differ: some leave out
/// port, parameters or user, some hash the domain that the user typed while the request goes to an address.
/// So equal text, or equal hosts with the same user or none on one side, are the same; what stays refused is
/// a proof taken from a request to another user or another domain. The hosts of `ours` (this switch's own
/// names) all mean the same.
pub fn same_resource(credentials_uri: &str, request_uri: &str, ours: impl Fn(&str) -> bool) -> bool {
    if credentials_uri == request_uri {
        return true;
    }
    let (Ok(a), Ok(b)) = (Uri::parse(credentials_uri), Uri::parse(request_uri)) else {
        return false;
    };
    let same_user = match (a.user(), b.user()) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    a.is_sip()
        && b.is_sip()
        && same_user
        && (a.host.eq_ignore_ascii_case(b.host) || ours(a.host) && ours(b.host))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616 section 3.9.1, for both algorithms, and that of RFC 2069 as its errata give it.
    #[test]
    fn the_proofs_of_the_rfcs_are_taken() {
        let head = r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth"#;
        let md5 = format!(r#"{head}, algorithm=MD5, response="8ca523f5e9506fed4657c9700eebdbec""#);
        let sha = format!(
            r#"{head}, algorithm=SHA-256, response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1""#
        );
        let (user, realm, password) = ("Mufasa", "http-auth@example.org", "Circle of Life");
        let md5_hash = Ha1::Md5(ha1_md5(user, realm, password));
        let sha_hash = Ha1::Sha256(ha1_sha256(user, realm, password));
        for (text, ha1, other) in [(&md5, md5_hash, sha_hash), (&sha, sha_hash, md5_hash)] {
            let credentials = Credentials::parse(text).unwrap();
            assert!(verify(&credentials, ha1, "GET"));
            assert!(!verify(&credentials, ha1, "POST"));
            assert!(!verify(&credentials, other, "GET"));
            let forged = text.replace("00000001", "00000002");
            assert!(!verify(&Credentials::parse(&forged).unwrap(), ha1, "GET"));
        }
        let old = r#"Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea""#;
        let ha1 = Ha1::Md5(ha1_md5("Mufasa", "testrealm@host.com", "CircleOfLife"));
        assert!(verify(&Credentials::parse(old).unwrap(), ha1, "GET"));
    }

    #[test]
    fn what_was_not_offered_proves_nothing() {
        let proven = |text: &str, ha1: Ha1| verify(&Credentials::parse(text).unwrap(), ha1, "REGISTER");
        let head = r#"Digest username="u",realm="r",nonce="n",uri="sip:r""#;
        let ha1 = ha1_sha256("u", "r", "p");
        let ha2 = hex::encode(hash::<Sha256>(&["REGISTER", "sip:r"]));
        let response = hex::encode(hash::<Sha256>(&[&hex::encode(ha1), "n", &ha2]));
        let text = format!(r#"{head},algorithm=SHA-256,response="{response}""#);
        assert!(!proven(&text, Ha1::Sha256(ha1)), "RFC 2069 with SHA-256");
        let ha1 = ha1_md5("u", "r", "p");
        let ha2 = hex::encode(hash::<Md5>(&["REGISTER", "sip:r"]));
        for (qop, extra, taken) in [
            ("auth-int", "", false),
            ("auth", "algorithm=MD5-sess,", false),
            ("auth", "", true),
        ] {
            let response = hex::encode(hash::<Md5>(&[&hex::encode(ha1), "n", "00000001", "c", qop, &ha2]));
            let text = format!(r#"{head},{extra}qop={qop},nc=00000001,cnonce="c",response="{response}""#);
            assert_eq!(proven(&text, Ha1::Md5(ha1)), taken, "{qop} {extra}");
        }
        for response in ["", "0", "zz", "8ca523f5"] {
            assert!(
                !proven(&format!(r#"{head},response="{response}""#), Ha1::Md5(ha1)),
                "{response}"
            );
        }
    }

    #[test]
    fn the_uri_is_the_same_resource_or_not() {
        let ours = |host: &str| matches!(host, "pbx.example" | "10.0.0.1");
        let same = [
            ("sip:pbx.example", "sip:pbx.example"),
            ("sip:pbx.example", "sip:10.0.0.1:5060;transport=udp"),
            ("sip:other.example:5060", "sip:OTHER.example"),
            ("sip:%62@pbx.example", "sip:b@pbx.example;transport=ws"),
            ("sip:pbx.example", "sip:b@pbx.example"),
            ("tel:1", "tel:1"),
        ];
        let different = [
            ("sip:a@pbx.example", "sip:b@pbx.example"),
            ("sip:b@other.example", "sip:b@pbx.example"),
            ("tel:1", "tel:2"),
            ("/", "sip:pbx.example"),
            ("", "sip:pbx.example"),
        ];
        for (pairs, expect) in [(&same[..], true), (&different[..], false)] {
            for (a, b) in pairs {
                assert_eq!(same_resource(a, b, ours), expect, "{a} {b}");
            }
        }
    }

    #[test]
    fn hashes_are_not_shown() {
        assert_eq!(
            format!("{:?} {:?}", Ha1::Md5([1; 16]), Ha1::Sha256([1; 32])),
            "Ha1(MD5) Ha1(SHA-256)"
        );
    }
}
