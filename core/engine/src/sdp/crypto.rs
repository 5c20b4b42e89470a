//! Keys in session descriptions: `a=crypto` lines (RFC 4568).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use cordboard_model::media::{Mki, SrtpKey, SrtpSuite};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::session::Media;

/// Bytes that our own keys are made of.
const SEED: usize = 32;

/// A line that we can use: its tag, its suite, the key of whoever wrote it and its name in packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crypto<'a> {
    pub(super) tag: &'a str,
    pub(super) suite: SrtpSuite,
    pub(super) key: SrtpKey,
    pub(super) mki: Mki,
}

/// The lines of a stream that we can use, in the order of whoever wrote them.
pub(super) fn usable<'a>(media: &Media<'a>) -> impl Iterator<Item = Crypto<'a>> {
    let lines = media.attributes.iter().filter(|line| line.name == "crypto");
    lines.filter_map(|line| read(line.value))
}

/// `tag suite inline:key|lifetime|mki:length`. Several keys, longer names of keys than ours and session parameters that
/// must be understood are not for us.
fn read(line: &str) -> Option<Crypto<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (tag, suite, key) = (words.next()?, words.next()?, words.next()?);
    if tag.is_empty() || tag.len() > 9 || !tag.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let suite = SrtpSuite::ALL
        .into_iter()
        .find(|known| known.name().eq_ignore_ascii_case(suite))?;
    if words.any(|parameter| !parameter.starts_with('-')) || key.contains(';') {
        return None;
    }
    let (method, info) = key.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut parts = info.split('|');
    let text = parts.next()?;
    // A lifetime has no colon, the name of a key has.
    let mut last = parts.next();
    if last.is_some_and(|part| !part.contains(':')) {
        last = parts.next();
    }
    let mki = match last {
        Some(name) => mki(name)?,
        None => Mki::default(),
    };
    if parts.next().is_some() {
        return None;
    }
    let bytes = STANDARD
        .decode(text)
        .or_else(|_| STANDARD_NO_PAD.decode(text))
        .ok()?;
    Some(Crypto {
        tag,
        suite,
        key: SrtpKey::new(suite, bytes)?,
        mki,
    })
}

/// `value:length` (RFC 4568 section 6.1).
fn mki(text: &str) -> Option<Mki> {
    let (number, len) = text.split_once(':')?;
    Mki::new(number.parse().ok()?, len.parse().ok()?)
}

/// The line by which we name our key; it never stands in a log.
pub(super) fn line(tag: &str, suite: SrtpSuite, key: &SrtpKey, mki: Mki) -> String {
    let mut bytes = Zeroizing::new(key.key().to_vec());
    bytes.extend_from_slice(key.salt());
    let name = match mki.bytes().len() {
        0 => String::new(),
        len => format!("|{}:{len}", mki.number()),
    };
    format!(
        "a=crypto:{tag} {} inline:{}{name}\r\n",
        suite.name(),
        STANDARD.encode(&bytes[..])
    )
}

/// Our own keys in one call. None of them protects for one suite and then for another, or again once it was left: so
/// that whoever protects by it never counts anew, and whoever takes what it protects always may.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct OwnKeys {
    seed: Zeroizing<[u8; SEED]>,
    /// How many keys were left.
    left: u64,
    /// The one that is used.
    used: Option<(SrtpSuite, SrtpKey)>,
}

impl OwnKeys {
    pub(super) fn new(seed: [u8; SEED]) -> Self {
        Self {
            seed: Zeroizing::new(seed),
            left: 0,
            used: None,
        }
    }

    /// Our key for a suite: the one that is used, or one that never was.
    pub(super) fn key(&self, suite: SrtpSuite) -> SrtpKey {
        if let Some((_, key)) = self.used.as_ref().filter(|(used, _)| *used == suite) {
            return key.clone();
        }
        let mut hash = Sha256::new();
        hash.update(&self.seed[..]);
        hash.update(self.left.to_be_bytes());
        hash.update(suite.name());
        let bytes = hash.finalize()[..suite.key_len()].to_vec();
        SrtpKey::new(suite, bytes).expect("a hash is longer than any key")
    }

    /// What is used from now on; `None`: what is sent is not protected.
    pub(super) fn settle(&mut self, used: Option<&(SrtpSuite, SrtpKey)>) {
        if self.used.as_ref() != used {
            self.left += u64::from(self.used.is_some());
            self.used = used.cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn the_line_of_the_rfc_is_read() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20");
        let crypto = read(&line).unwrap();
        assert_eq!((crypto.tag, crypto.suite), ("1", SrtpSuite::AesCm128HmacSha1_80));
        assert_eq!(crypto.key.key(), b"YS___semctl () {");
        assert_eq!(
            super::line("1", crypto.suite, &crypto.key, crypto.mki),
            format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n")
        );
    }

    #[test]
    fn a_key_may_have_a_name() {
        let cases: [(&str, &[u8]); 5] = [
            ("", &[]),
            ("|2^20|1:4", &[0, 0, 0, 1]),
            ("|1:1", &[1]),
            ("|2^31|258:3", &[0, 1, 2]),
            ("|4294967295:4", &[255; 4]),
        ];
        for (name, bytes) in cases {
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{name}");
            let crypto = read(&line).unwrap();
            assert_eq!(crypto.mki.bytes(), bytes, "{name}");
            let written = super::line("1", crypto.suite, &crypto.key, crypto.mki);
            let again = read(written.strip_prefix("a=crypto:").unwrap().trim_end());
            assert_eq!(again, Some(crypto), "{name}");
        }
    }

    #[test]
    fn what_we_cannot_do_is_left_to_another_line() {
        let lines = [
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:5"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:0"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|256:1"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|x:1"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:1|1:1"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:1|2^20"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTCP"),
            format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 uri:{KEY}"),
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA".to_owned(),
            String::new(),
        ];
        for line in lines {
            assert_eq!(read(&line), None, "{line}");
        }
        assert!(
            read(&format!(
                "1 aes_cm_128_hmac_sha1_80 inline:{KEY} -FEC_ORDER=FEC_SRTP"
            ))
            .is_some()
        );
    }

    #[test]
    fn a_key_is_for_one_suite_and_once() {
        let mut keys = OwnKeys::new([7; 32]);
        let mut known: Vec<SrtpKey> = Vec::new();
        let used = |keys: &OwnKeys, suite| (suite, keys.key(suite));
        for at in [0, 1, 0, 2, 1, 2, 0] {
            let next = used(&keys, SrtpSuite::ALL[at]);
            assert!(!known.contains(&next.1), "{known:?}");
            known.push(next.1.clone());
            keys.settle(Some(&next));
            assert_eq!(used(&keys, SrtpSuite::ALL[at]), next, "as long as it is used");
            keys.settle(Some(&next));
            assert_eq!(used(&keys, SrtpSuite::ALL[at]), next, "and said again");
        }
        let last = used(&keys, SrtpSuite::ALL[0]);
        keys.settle(None);
        assert_ne!(used(&keys, SrtpSuite::ALL[0]), last, "plain RTP came between");
        // Of two keys that one offer names, one may be answered with, and then the other.
        let [one, other] = [0, 1].map(|at| used(&keys, SrtpSuite::ALL[at]));
        assert_ne!(one.1, other.1);
        keys.settle(Some(&one));
        keys.settle(Some(&other));
        assert_ne!(used(&keys, SrtpSuite::ALL[0]), one);
        assert_eq!(used(&keys, SrtpSuite::ALL[1]), other);
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_left(line in ".{0,120}") {
            let _ = read(&line);
        }

        #[test]
        fn what_is_written_is_read_back(tag in 1u32..999_999_999, seed: [u8; 32]) {
            let keys = OwnKeys::new(seed);
            for suite in SrtpSuite::ALL {
                let written = line(&tag.to_string(), suite, &keys.key(suite), Mki::default());
                let value = written.strip_prefix("a=crypto:").unwrap().trim_end();
                let crypto = read(value).unwrap();
                prop_assert_eq!((crypto.suite, crypto.key), (suite, keys.key(suite)));
            }
        }
    }
}
