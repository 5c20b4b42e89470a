//! Digest access authentication (RFC 7616 as RFC 8760 uses it in SIP, RFC 2617 and 2069 for older phones).

mod credentials;
mod nonce;
mod verify;

use super::write::quote_display;
use crate::config::DigestAlgorithm;

pub use credentials::Credentials;
pub(crate) use nonce::is_fresh;
pub use nonce::{NONCE_LIFE, Nonce, NonceState, Nonces, Stamp};
pub use verify::{Ha1, ha1_md5, ha1_sha256, same_resource, verify};

impl DigestAlgorithm {
    /// All that can be offered.
    pub const ALL: [Self; 2] = [Self::Md5, Self::Sha256];

    /// The algorithm of this name, in any case.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| name.eq_ignore_ascii_case(algorithm.name()))
    }

    /// The name in a challenge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }
}

/// The challenges for a WWW-Authenticate or Proxy-Authenticate header, one value each, in the order of
/// `algorithms`; phones take the first that they know. `stale` says that only the nonce was too old.
pub fn challenges(realm: &str, nonce: &str, stale: bool, algorithms: &[DigestAlgorithm]) -> Vec<String> {
    let realm = quote_display(realm);
    let value = |algorithm: &DigestAlgorithm| challenge(&realm, nonce, stale, *algorithm).concat();
    algorithms.iter().map(value).collect()
}

/// The pieces of one such value; the realm has its quotes already.
pub(crate) fn challenge<'a>(
    quoted_realm: &'a str,
    nonce: &'a str,
    stale: bool,
    algorithm: DigestAlgorithm,
) -> [&'a str; 8] {
    [
        "Digest realm=",
        quoted_realm,
        ", nonce=\"",
        nonce,
        if stale { "\", stale=true" } else { "\"" },
        ", algorithm=",
        algorithm.name(),
        ", qop=\"auth\"",
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_challenge_per_algorithm() {
        let both = [DigestAlgorithm::Sha256, DigestAlgorithm::Md5];
        let expect = [
            r#"Digest realm="a\"b", nonce="n", stale=true, algorithm=SHA-256, qop="auth""#,
            r#"Digest realm="a\"b", nonce="n", stale=true, algorithm=MD5, qop="auth""#,
        ];
        assert_eq!(challenges("a\"b", "n", true, &both), expect);
        assert_eq!(
            challenges("r", "n", false, &both[1..]),
            [r#"Digest realm="r", nonce="n", algorithm=MD5, qop="auth""#]
        );
    }
}
