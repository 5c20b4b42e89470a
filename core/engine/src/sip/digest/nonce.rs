//! Nonces that carry their own proof: nothing is remembered for strangers.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordboard_model::Time;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long a nonce may be used.
pub const NONCE_LIFE: Duration = Duration::from_secs(300);

/// The time in nanoseconds, then the salt.
const STAMP: usize = 8 + 8;
/// 120 bits of the HMAC; the whole nonce is then 31 bytes, 42 characters.
const PROOF: usize = 15;
/// The whole nonce in base64.
const LENGTH: usize = (STAMP + PROOF) * 4 / 3 + 1;

/// When a nonce was issued, and its salt: its name.
pub type Stamp = (Time, u64);

/// A nonce as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; LENGTH]);

impl Deref for Nonce {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

/// Makes nonces and knows its own again. Whoever holds the key can make them, so it is drawn at random at start.
#[derive(Clone)]
pub struct Nonces {
    mac: Hmac<Sha256>,
}

/// What a nonce is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceState {
    /// Ours, and not too old.
    Fresh,
    /// Ours, but older than [`NONCE_LIFE`]: challenge again with `stale`, the phone need not ask its user.
    Stale,
    /// Not ours.
    Forged,
}

impl Nonces {
    /// With a secret key.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            mac: Hmac::new_from_slice(&key).expect("HMAC takes keys of every length"),
        }
    }

    /// A nonce of this moment, 42 characters. The salt keeps those of one moment apart: each has a count
    /// of its own.
    pub fn issue(&self, now: Time, salt: u64) -> Nonce {
        let mut stamp = [0; STAMP];
        stamp[..8].copy_from_slice(&now.0.to_be_bytes());
        stamp[8..].copy_from_slice(&salt.to_be_bytes());
        let proof = self.proof(&stamp).finalize().into_bytes();
        let mut nonce = [0; STAMP + PROOF];
        nonce[..STAMP].copy_from_slice(&stamp);
        nonce[STAMP..].copy_from_slice(&proof[..PROOF]);
        let mut text = [0; LENGTH];
        let length = URL_SAFE_NO_PAD.encode_slice(nonce, &mut text);
        debug_assert_eq!(length, Ok(LENGTH));
        Nonce(text)
    }

    /// Whether a nonce is ours and still good. One from the future (the clock was set back) is stale.
    pub fn check(&self, nonce: &str, now: Time) -> NonceState {
        match self.open(nonce) {
            None => NonceState::Forged,
            Some(stamp) if is_fresh(stamp, now) => NonceState::Fresh,
            Some(_) => NonceState::Stale,
        }
    }

    /// The name of a nonce that is ours, whether it is still good or not.
    pub(crate) fn open(&self, nonce: &str) -> Option<Stamp> {
        let bytes = decoded(nonce)?;
        let (stamp, proof) = bytes.split_at(STAMP);
        let ours = self.proof(stamp).verify_truncated_left(proof).is_ok();
        ours.then(|| split(&bytes))
    }

    fn proof(&self, stamp: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(stamp);
        mac
    }
}

/// Whether a nonce of ours may still be used.
pub(crate) fn is_fresh((issued, _): Stamp, now: Time) -> bool {
    issued <= now && now.since(issued) <= NONCE_LIFE
}

/// The bytes of a nonce, if it is as long as ours are.
fn decoded(nonce: &str) -> Option<[u8; STAMP + PROOF]> {
    let mut bytes = [0; STAMP + PROOF];
    let length = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok()?;
    (length == bytes.len()).then_some(bytes)
}

fn split(nonce: &[u8; STAMP + PROOF]) -> Stamp {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    (Time(number(&nonce[..8])), number(&nonce[8..STAMP]))
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_fresh_for_its_life_and_then_stale() {
        let nonces = Nonces::new([7; 32]);
        let start = Time::from_unix_seconds(1_800_000_000);
        let nonce = nonces.issue(start, 1);
        assert_eq!((nonce.len(), nonces.open(&nonce)), (42, Some((start, 1))));
        assert_ne!(nonce, nonces.issue(start, 2));
        assert_eq!(nonces.check(&nonce, start), NonceState::Fresh);
        assert_eq!(nonces.check(&nonce, start + NONCE_LIFE), NonceState::Fresh);
        assert_eq!(
            nonces.check(&nonce, start + NONCE_LIFE + Duration::from_nanos(1)),
            NonceState::Stale
        );
        assert_eq!(
            nonces.check(&nonce, start - Duration::from_nanos(1)),
            NonceState::Stale
        );
    }

    #[test]
    fn no_other_text_is_ours() {
        let nonces = Nonces::new([7; 32]);
        let now = Time::from_unix_seconds(1_800_000_000);
        let nonce = nonces.issue(now, 1);
        for at in 0..nonce.len() {
            let mut forged = nonce.as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                nonces.check(std::str::from_utf8(&forged).unwrap(), now),
                NonceState::Forged,
                "{at}"
            );
        }
        for text in [
            "",
            "x",
            &nonce[1..],
            &format!("{}A", &*nonce),
            &format!("{}=", &*nonce),
            &Nonces::new([8; 32]).issue(now, 1),
            "ä",
        ] {
            assert_eq!(nonces.check(text, now), NonceState::Forged, "{text}");
        }
    }
}
