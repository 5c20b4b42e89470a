//! One kind of packets of one direction: session keys, and sealing and opening with them.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use cordboard_model::media::{SrtpKey, SrtpSuite};
use zeroize::Zeroizing;

/// Bytes of the cut tag of HMAC-SHA1.
const SHA1_TAG: usize = 10;
/// The same of RTP where both sides want it short (RFC 4568 section 6.2.2).
const SHORT_TAG: usize = 4;
/// Bytes after an RTCP packet that say its index.
const TRAILER: usize = 4;

/// What a key is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Media,
    Control,
}

/// See the module. Its keys are wiped when dropped, by themselves.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a leg has four of them, which stay where they are"
)]
pub(super) enum Cipher {
    CounterMode {
        key: EncryptingKey,
        salt: [u8; 14],
        auth: hmac::Key,
        /// Bytes of the tag.
        tag: usize,
    },
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
}

fn aes(key: &[u8]) -> EncryptingKey {
    let key = UnboundCipherKey::new(&AES_128, key).expect("the key has 16 bytes");
    EncryptingKey::ctr(key).expect("AES has counter mode")
}

fn count(key: &EncryptingKey, iv: [u8; 16], bytes: &mut [u8]) {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(bytes, context)
        .expect("counter mode takes any length");
}

impl Cipher {
    /// Derives the session keys from a master key (RFC 3711 section 4.3.1).
    pub(super) fn derive(suite: SrtpSuite, master: &SrtpKey, kind: Kind) -> Self {
        let prf = aes(master.key());
        let label = match kind {
            Kind::Media => 0,
            Kind::Control => 3,
        };
        let derive = |purpose: u8, out: &mut [u8]| {
            let mut iv = [0; 16];
            // A salt of twelve bytes is followed by zeros (RFC 7714 section 11).
            iv[..master.salt().len()].copy_from_slice(master.salt());
            iv[7] ^= label + purpose;
            count(&prf, iv, out);
        };
        let mut key = Zeroizing::new([0; 16]);
        derive(0, &mut key[..]);
        match suite {
            SrtpSuite::AesCm128HmacSha1_80 | SrtpSuite::AesCm128HmacSha1_32 => {
                let mut auth = Zeroizing::new([0; 20]);
                derive(1, &mut auth[..]);
                let mut salt = [0; 14];
                derive(2, &mut salt);
                let auth = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth[..]);
                let tag = match (suite, kind) {
                    (SrtpSuite::AesCm128HmacSha1_32, Kind::Media) => SHORT_TAG,
                    _ => SHA1_TAG,
                };
                Self::CounterMode {
                    key: aes(&key[..]),
                    salt,
                    auth,
                    tag,
                }
            }
            SrtpSuite::AeadAes128Gcm => {
                let mut salt = [0; 12];
                derive(2, &mut salt);
                let key = UnboundKey::new(&AES_128_GCM, &key[..]).expect("the key has 16 bytes");
                Self::Gcm {
                    key: LessSafeKey::new(key),
                    salt,
                }
            }
        }
    }

    /// Bytes of the tag where it stands by itself, behind all else.
    pub(super) const fn tag_behind(&self) -> usize {
        match self {
            Self::CounterMode { tag, .. } => *tag,
            Self::Gcm { .. } => 0,
        }
    }

    /// Where the index of a protected RTCP packet of this length stands.
    pub(super) fn trailer_at(&self, len: usize) -> Option<usize> {
        len.checked_sub(TRAILER + self.tag_behind())
    }

    /// Encrypts what follows the `header` of the packet at `start` and adds the tag; `trailer` is what ends an
    /// RTCP packet.
    pub(super) fn seal(
        &self,
        bytes: &mut Vec<u8>,
        start: usize,
        header: usize,
        ssrc: u32,
        index: u64,
        trailer: Option<u32>,
    ) {
        match self {
            Self::CounterMode { key, salt, auth, tag } => {
                count(key, counter_iv(salt, ssrc, index), &mut bytes[start + header..]);
                bytes.extend(trailer.into_iter().flat_map(u32::to_be_bytes));
                let signature = authenticate(auth, &bytes[start..], index, trailer);
                bytes.extend_from_slice(&signature.as_ref()[..*tag]);
            }
            Self::Gcm { key, salt } => {
                let (head, body) = bytes[start..].split_at_mut(header);
                let mut open = [0; 12];
                let aad = associated(head, trailer, &mut open);
                let tag = key
                    .seal_in_place_separate_tag(gcm_nonce(salt, ssrc, index), Aad::from(aad), body)
                    .expect("a packet is not too long");
                bytes.extend_from_slice(tag.as_ref());
                bytes.extend(trailer.into_iter().flat_map(u32::to_be_bytes));
            }
        }
    }

    /// Checks a packet and decrypts it; returns its length, or `None` if it is not authentic.
    pub(super) fn open(
        &self,
        packet: &mut [u8],
        header: usize,
        ssrc: u32,
        index: u64,
        trailer: Option<u32>,
    ) -> Option<usize> {
        let trailer_len = if trailer.is_some() { TRAILER } else { 0 };
        match self {
            Self::CounterMode { key, salt, auth, tag } => {
                let (signed, shown) = packet.split_at_mut_checked(packet.len().checked_sub(*tag)?)?;
                let expect = authenticate(auth, signed, index, trailer);
                verify_slices_are_equal(&expect.as_ref()[..*tag], shown).ok()?;
                let len = signed.len() - trailer_len;
                let body = signed.get_mut(header..len)?;
                // An RTCP packet may be signed only.
                if trailer.is_none_or(|trailer| trailer >> 31 == 1) {
                    count(key, counter_iv(salt, ssrc, index), body);
                }
                Some(len)
            }
            Self::Gcm { key, salt } => {
                let len = packet.len().checked_sub(trailer_len)?;
                let nonce = gcm_nonce(salt, ssrc, index);
                if trailer.is_some_and(|trailer| trailer >> 31 == 0) {
                    return None; // signed only: nobody who encrypts media does that
                }
                let (head, body) = packet.get_mut(..len)?.split_at_mut_checked(header)?;
                let mut open = [0; 12];
                let aad = associated(head, trailer, &mut open);
                let body = key.open_in_place(nonce, Aad::from(aad), body).ok()?;
                Some(header + body.len())
            }
        }
    }
}

/// The signature of a packet: of RTP it covers the rollover counter, of RTCP the trailer, which is part of it.
fn authenticate(key: &hmac::Key, signed: &[u8], index: u64, trailer: Option<u32>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(signed);
    if trailer.is_none() {
        context.update(&((index >> 16) as u32).to_be_bytes());
    }
    context.sign()
}

/// What GCM signs and does not encrypt: the header, and of RTCP the trailer.
fn associated<'a>(head: &'a [u8], trailer: Option<u32>, space: &'a mut [u8; 12]) -> &'a [u8] {
    let Some(trailer) = trailer else { return head };
    space[..8].copy_from_slice(head);
    space[8..].copy_from_slice(&trailer.to_be_bytes());
    space
}

/// RFC 3711 section 4.1.1.
fn counter_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[4..8].copy_from_slice(&ssrc.to_be_bytes());
    iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    iv
}

/// RFC 7714 sections 8.1 and 9.1: an index of 48 bits; that of RTCP needs only the lower 32.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
    iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    Nonce::assume_unique_for_key(iv)
}
