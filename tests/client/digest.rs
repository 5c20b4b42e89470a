//! Digest answers of RFC 8760: MD5 and SHA-256, with qop=auth.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::text::Message;
use super::token;

/// The hash of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The old one that every phone has.
    Md5,
    /// The one of RFC 8760.
    Sha256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex::encode(Md5::digest(text.as_bytes())),
            Self::Sha256 => hex::encode(Sha256::digest(text.as_bytes())),
        }
    }
}

/// The header (name and value) that answers the challenge of `response`.
///
/// `None` when it holds no challenge of that algorithm.
pub fn answer(
    response: &Message,
    algorithm: Algorithm,
    user: &str,
    password: &str,
    method: &str,
    uri: &str,
) -> Option<(&'static str, String)> {
    let (asked, given) = match response.code()? {
        401 => ("WWW-Authenticate", "Authorization"),
        407 => ("Proxy-Authenticate", "Proxy-Authorization"),
        _ => return None,
    };
    let challenge = response.all(asked).find(|c| {
        let named = piece(c, "algorithm").unwrap_or_else(|| "MD5".to_owned());
        named.eq_ignore_ascii_case(algorithm.name())
    })?;
    let realm = piece(challenge, "realm")?;
    let nonce = piece(challenge, "nonce")?;
    let ha1 = algorithm.hash(&format!("{user}:{realm}:{password}"));
    let ha2 = algorithm.hash(&format!("{method}:{uri}"));
    let mut value = format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm={}",
        algorithm.name()
    );
    if piece(challenge, "qop").is_some_and(|q| q.split(',').any(|one| one.trim() == "auth")) {
        let cnonce = token();
        let proof = algorithm.hash(&format!("{ha1}:{nonce}:00000001:{cnonce}:auth:{ha2}"));
        value.push_str(&format!(
            ", qop=auth, nc=00000001, cnonce=\"{cnonce}\", response=\"{proof}\""
        ));
    } else {
        value.push_str(&format!(
            ", response=\"{}\"",
            algorithm.hash(&format!("{ha1}:{nonce}:{ha2}"))
        ));
    }
    if let Some(opaque) = piece(challenge, "opaque") {
        value.push_str(&format!(", opaque=\"{opaque}\""));
    }
    Some((given, value))
}

/// `key=value` or `key="value"` of a challenge; commas inside quotes do not end it.
fn piece(challenge: &str, key: &str) -> Option<String> {
    let mut rest = challenge.trim().strip_prefix("Digest")?.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if name.trim().eq_ignore_ascii_case(key) {
            return Some(value.trim().to_owned());
        }
        rest = after.trim_start_matches([',', ' ', '\t']);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2617_gives_its_response_without_qop() {
        // HA1 and HA2 of RFC 2617, 3.5; the response without qop was worked out by md5sum.
        let ha1 = Algorithm::Md5.hash("Mufasa:testrealm@host.com:Circle Of Life");
        assert_eq!(ha1, "939e7578ed9e3c518a452acee763bce9");
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let response = Algorithm::Md5.hash(&format!("{ha1}:{nonce}:39aff3a2bab6126f332b942af96d3366"));
        assert_eq!(response, "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn pieces_of_a_challenge_are_found_whatever_stands_around_them() {
        let challenge =
            "Digest realm=\"a, b\",nonce=\"n=1\", qop=\"auth,auth-int\", algorithm=SHA-256, stale=FALSE";
        assert_eq!(piece(challenge, "realm").as_deref(), Some("a, b"));
        assert_eq!(piece(challenge, "algorithm").as_deref(), Some("SHA-256"));
        assert_eq!(piece(challenge, "stale").as_deref(), Some("FALSE"));
        assert_eq!(piece(challenge, "opaque"), None);
    }
}
