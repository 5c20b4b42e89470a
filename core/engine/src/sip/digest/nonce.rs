//! Nonces that carry their own proof: nothing is remembered for strangers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordboard_model::Time;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use siphasher::sip::SipHasher13;

use crate::limits::source;

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
    /// What marks of sources are made with.
    marks: SipHasher13,
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
        let mac: Hmac<Sha256> = Hmac::new_from_slice(&key).expect("HMAC takes keys of every length");
        // No stamp is as long as this, so no proof gives it away.
        let derived = mac
            .clone()
            .chain_update(b"marks of sources")
            .chain_update([0])
            .finalize()
            .into_bytes();
        let derived = derived.first_chunk().expect("SHA-256 gives 32 bytes");
        Self {
            mac,
            marks: SipHasher13::new_with_key(derived),
        }
    }

    /// 32 bits that stand for an address in the salts of the nonces that it gets. One of IPv6 stands for its whole
    /// network, as everywhere where sources are counted: phones change addresses within it all the time. They are
    /// made with a secret: nobody finds out beforehand who has the same.
    pub(crate) fn mark(&self, address: IpAddr) -> u64 {
        let mut hasher = self.marks;
        source(address).hash(&mut hasher);
        hasher.finish() >> 32
    }

    /// Whether a nonce with this salt went to this address.
    pub(crate) fn went_to(&self, salt: u64, address: IpAddr) -> bool {
        salt >> 32 == self.mark(address)
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

    #[test]
    fn who_shares_a_mark_is_not_known_beforehand() {
        let (one, other) = (Nonces::new([7; 32]), Nonces::new([8; 32]));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let v4 = address("192.0.2.1");
        assert_ne!(one.mark(v4), other.mark(v4), "made with the key");
        assert!(one.mark(v4) >> 32 == 0 && one.went_to(one.mark(v4) << 32 | 5, v4));
        assert_eq!(one.mark(v4), one.mark(address("::ffff:192.0.2.1")));
        assert_ne!(one.mark(v4), one.mark(address("192.0.2.2")));
        let network = one.mark(address("2001:db8:1:2::5"));
        assert_eq!(network, one.mark(address("2001:db8:1:2:9::7")));
        assert_ne!(network, one.mark(address("2001:db8:1:3::5")));
    }
}
