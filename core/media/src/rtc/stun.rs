//! STUN (RFC 8489) as far as an ICE-lite agent needs it: connectivity checks are read and proven, and answered.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// Bytes before the attributes.
pub(super) const HEADER: usize = 20;
pub(super) const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// No agent's check is longer; what is, is not read.
pub(super) const MAX_LEN: usize = 548;
/// Attributes that are looked at.
pub(super) const MAX_ATTRIBUTES: usize = 24;

pub(super) const BINDING_REQUEST: u16 = 0x0001;
pub(super) const BINDING_SUCCESS: u16 = 0x0101;
pub(super) const BINDING_ERROR: u16 = 0x0111;

pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
pub(super) const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;

/// What the checksum is combined with (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Why a datagram is not a check that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotACheck {
    /// Not STUN, or its parts do not fit.
    Malformed,
    /// STUN of another kind: answers, indications.
    Other,
}

/// A binding request whose fingerprint is right.
#[derive(Debug)]
pub(crate) struct Check<'a> {
    bytes: &'a [u8],
    /// `USERNAME`: our fragment, a colon, theirs.
    pub(crate) username: Option<&'a str>,
    /// Where `MESSAGE-INTEGRITY` begins, and its value.
    integrity: Option<(usize, &'a [u8])>,
    /// `USE-CANDIDATE`: this pair is nominated.
    pub(crate) nominates: bool,
    /// The peer believes that we control.
    pub(crate) controlled: bool,
    /// The first attribute that must be understood and is not.
    pub(crate) unknown: Option<u16>,
}

/// What a check is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400: no user name or no integrity.
    BadRequest,
    /// 401: the integrity is wrong.
    Unauthenticated,
    /// 420, with the attribute.
    UnknownAttribute(u16),
    /// 487: both sides say that they are controlled.
    RoleConflict,
}

impl Refusal {
    const fn code(self) -> (u8, u8) {
        match self {
            Self::BadRequest => (4, 0),
            Self::Unauthenticated => (4, 1),
            Self::UnknownAttribute(_) => (4, 20),
            Self::RoleConflict => (4, 87),
        }
    }
}

impl<'a> Check<'a> {
    /// Reads a binding request; nothing of it is proven but its checksum.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NotACheck> {
        let header = bytes.first_chunk::<HEADER>().ok_or(NotACheck::Malformed)?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[4..8] != COOKIE || len % 4 != 0 || len + HEADER != bytes.len() || bytes.len() > MAX_LEN {
            return Err(NotACheck::Malformed);
        }
        if u16::from_be_bytes([header[0], header[1]]) != BINDING_REQUEST {
            return Err(NotACheck::Other);
        }
        let mut check = Self {
            bytes,
            username: None,
            integrity: None,
            nominates: false,
            controlled: false,
            unknown: None,
        };
        let (mut at, mut fingerprint) = (HEADER, false);
        for _ in 0..MAX_ATTRIBUTES {
            let Some(head) = bytes.get(at..at + 4) else { break };
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = bytes.get(at + 4..at + 4 + len).ok_or(NotACheck::Malformed)?;
            if kind == FINGERPRINT {
                fingerprint = at + 8 == bytes.len() && value == checksum(&bytes[..at]).to_be_bytes();
            } else if check.integrity.is_none() {
                check.take(kind, value, at)?;
            }
            at += 4 + len.next_multiple_of(4);
        }
        (fingerprint && at == bytes.len())
            .then_some(check)
            .ok_or(NotACheck::Malformed)
    }

    fn take(&mut self, kind: u16, value: &'a [u8], at: usize) -> Result<(), NotACheck> {
        match kind {
            USERNAME => {
                self.username = Some(std::str::from_utf8(value).map_err(|_| NotACheck::Malformed)?);
            }
            MESSAGE_INTEGRITY => self.integrity = Some((at, value)),
            USE_CANDIDATE => self.nominates = true,
            ICE_CONTROLLED => self.controlled = true,
            PRIORITY => {}
            other if other < 0x8000 => {
                self.unknown.get_or_insert(other);
            }
            _ => {}
        }
        Ok(())
    }

    /// The fragments of both sides, ours first.
    pub(crate) fn fragments(&self) -> Option<(&str, &str)> {
        self.username?.split_once(':')
    }

    /// Whether it was made with the password behind `key`; `None` if it carries no proof.
    pub(crate) fn proves(&self, key: &hmac::Key) -> Option<bool> {
        let (at, value) = self.integrity?;
        // Signed as if the integrity were the last attribute (RFC 8489 section 14.5).
        let mut head = [0; HEADER];
        head.copy_from_slice(&self.bytes[..HEADER]);
        let len = (at + 24 - HEADER) as u16;
        head[2..4].copy_from_slice(&len.to_be_bytes());
        let mut context = hmac::Context::with_key(key);
        context.update(&head);
        context.update(&self.bytes[HEADER..at]);
        Some(verify_slices_are_equal(context.sign().as_ref(), value).is_ok())
    }

    /// Writes the answer of a check that was proven.
    pub(crate) fn accept(&self, out: &mut Vec<u8>, source: SocketAddr, key: &hmac::Key) {
        let start = self.begin(out, BINDING_SUCCESS);
        let mut value = [0; 20];
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let len = xor_address(&mut value, source, &self.bytes[4..HEADER]);
        attribute(out, XOR_MAPPED_ADDRESS, &value[..len]);
        finish(out, start, Some(key));
    }

    /// Writes an error answer; it is signed if the check was.
    pub(crate) fn refuse(&self, out: &mut Vec<u8>, refusal: Refusal, key: Option<&hmac::Key>) {
        let start = self.begin(out, BINDING_ERROR);
        let (class, number) = refusal.code();
        attribute(out, ERROR_CODE, &[0, 0, class, number]);
        if let Refusal::UnknownAttribute(kind) = refusal {
            attribute(out, UNKNOWN_ATTRIBUTES, &kind.to_be_bytes());
        }
        finish(out, start, key);
    }

    fn begin(&self, out: &mut Vec<u8>, kind: u16) -> usize {
        let start = out.len();
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.bytes[4..HEADER]);
        start
    }
}

pub(super) fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Adds integrity and fingerprint to the message at `start`. What was there before must end at a whole word.
fn finish(out: &mut Vec<u8>, start: usize, key: Option<&hmac::Key>) {
    let set_len = |out: &mut Vec<u8>, len: usize| {
        out[start + 2..start + 4].copy_from_slice(&((len - start - HEADER) as u16).to_be_bytes());
    };
    if let Some(key) = key {
        let len = out.len() + 24;
        set_len(out, len);
        let tag = hmac::sign(key, &out[start..]);
        attribute(out, MESSAGE_INTEGRITY, tag.as_ref());
    }
    let len = out.len() + 8;
    set_len(out, len);
    let sum = checksum(&out[start..]);
    attribute(out, FINGERPRINT, &sum.to_be_bytes());
}

/// RFC 8489 section 14.2; returns how long it is.
pub(super) fn xor_address(value: &mut [u8; 20], address: SocketAddr, mask: &[u8]) -> usize {
    let (family, ip): (u8, [u8; 16]) = match address.ip().to_canonical() {
        IpAddr::V4(v4) => {
            let mut ip = [0; 16];
            ip[..4].copy_from_slice(&v4.octets());
            (1, ip)
        }
        IpAddr::V6(v6) => (2, v6.octets()),
    };
    let len = if family == 1 { 4 } else { 16 };
    value[1] = family;
    let port = address.port() ^ u16::from_be_bytes([COOKIE[0], COOKIE[1]]);
    value[2..4].copy_from_slice(&port.to_be_bytes());
    for (at, byte) in ip[..len].iter().enumerate() {
        value[4 + at] = byte ^ mask[at];
    }
    4 + len
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xedb8_8320 ^ value >> 1
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

/// The value of `FINGERPRINT` (RFC 8489 section 14.7).
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(!0u32, |sum, byte| {
        TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ sum >> 8
    });
    !sum ^ FINGERPRINT_XOR
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sample request of RFC 5769 section 2.1.
    const SAMPLE: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
        002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5\
        b2d3f249c1b571a280280004e57a3bcf";

    fn sample() -> Vec<u8> {
        (0..SAMPLE.len() / 2)
            .map(|at| u8::from_str_radix(&SAMPLE[at * 2..at * 2 + 2], 16).unwrap())
            .collect()
    }

    fn key(password: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
    }

    #[test]
    fn the_sample_of_rfc_5769_is_read_and_proven() {
        let bytes = sample();
        let check = Check::parse(&bytes).unwrap();
        assert_eq!(check.username, Some("evtj:h6vY"));
        assert!(check.controlled && !check.nominates);
        assert_eq!(check.unknown, None);
        assert_eq!(check.proves(&key("VOkJxbRl1RmTxUk/WvJxBt")), Some(true));
        assert_eq!(check.proves(&key("another")), Some(false));
    }

    #[test]
    fn answers_tell_the_address_and_are_signed() {
        let (bytes, key) = (sample(), key("VOkJxbRl1RmTxUk/WvJxBt"));
        let check = Check::parse(&bytes).unwrap();
        // The responses of RFC 5769 sections 2.2 and 2.3 have these addresses.
        for (address, expected) in [
            ("192.0.2.1:32853", "0001a147e112a643"),
            (
                "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
                "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
            ),
        ] {
            let mut out = Vec::new();
            check.accept(&mut out, address.parse().unwrap(), &key);
            assert_eq!(out[..2], [1, 1]);
            assert_eq!(out[4..20], bytes[4..20]);
            let value: String = out[24..24 + expected.len() / 2]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(value, expected);
            let at = out.len() - 8;
            assert_eq!(out[at + 4..], checksum(&out[..at]).to_be_bytes());
        }
        let mut out = Vec::new();
        check.refuse(&mut out, Refusal::UnknownAttribute(0x7777), None);
        assert_eq!(out[20..28], [0, 9, 0, 4, 0, 0, 4, 20]);
        assert_eq!(out[28..36], [0, 10, 0, 2, 0x77, 0x77, 0, 0]);
        assert!(
            out.len() <= bytes.len(),
            "an error is not longer than what it answers"
        );
    }

    proptest! {
        #[test]
        fn a_changed_check_is_refused(at in 0usize..108, flip in 1u8..=255) {
            let mut bytes = sample();
            bytes[at] ^= flip;
            let proven = Check::parse(&bytes)
                .is_ok_and(|check| check.proves(&key("VOkJxbRl1RmTxUk/WvJxBt")) == Some(true));
            prop_assert!(!proven);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Check::parse(&bytes);
        }
    }
}
