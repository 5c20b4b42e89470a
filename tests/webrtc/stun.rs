//! Connectivity checks as a full ICE agent sends and answers them (RFC 8445 sections 7.2 and 7.3).

use std::net::SocketAddrV4;

use aws_lc_rs::hmac;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Bytes of a head.
const HEAD: usize = 20;
const USERNAME: u16 = 0x0006;
const INTEGRITY: u16 = 0x0008;
const MAPPED: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const CONTROLLING: u16 = 0x802a;

/// A check that nominates its pair.
pub(super) fn check(transaction: u64, username: &str, password: &str) -> Vec<u8> {
    let mut out = vec![0, 1, 0, 0];
    out.extend(COOKIE);
    out.extend([0; 4]);
    out.extend(transaction.to_be_bytes());
    attribute(&mut out, USERNAME, username.as_bytes());
    attribute(&mut out, CONTROLLING, &[9; 8]);
    attribute(&mut out, PRIORITY, &0x6e7f_1eff_u32.to_be_bytes());
    attribute(&mut out, USE_CANDIDATE, &[]);
    finish(&mut out, password);
    out
}

/// The success answer to a check that came from `source`; `None` where it is no check. Who sent it is not looked at.
pub(super) fn answer(bytes: &[u8], password: &str, source: SocketAddrV4) -> Option<Vec<u8>> {
    if bytes.len() < HEAD || bytes[..2] != [0, 1] || bytes[4..8] != COOKIE {
        return None;
    }
    let mut out = vec![1, 1, 0, 0];
    out.extend_from_slice(&bytes[4..HEAD]);
    let port = source.port() ^ u16::from_be_bytes([COOKIE[0], COOKIE[1]]);
    let mut mapped = vec![0, 1];
    mapped.extend(port.to_be_bytes());
    mapped.extend(
        source
            .ip()
            .octets()
            .iter()
            .zip(COOKIE)
            .map(|(byte, other)| byte ^ other),
    );
    attribute(&mut out, MAPPED, &mapped);
    finish(&mut out, password);
    Some(out)
}

/// Adds proof and checksum.
fn finish(out: &mut Vec<u8>, password: &str) {
    set_len(out, 24);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let tag = hmac::sign(&key, out);
    attribute(out, INTEGRITY, tag.as_ref());
    set_len(out, 8);
    let sum = crc(out) ^ 0x5354_554e;
    attribute(out, FINGERPRINT, &sum.to_be_bytes());
}

/// Whether a datagram is a success answer to a check.
pub(super) fn is_answer(bytes: &[u8]) -> bool {
    bytes.len() >= HEAD && bytes[..2] == [1, 1] && bytes[4..8] == COOKIE
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Sets the length as it will be with `more` bytes at the end.
fn set_len(out: &mut [u8], more: usize) {
    let len = (out.len() + more - HEAD) as u16;
    out[2..4].copy_from_slice(&len.to_be_bytes());
}

/// CRC-32 of ISO 3309.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            let shifted = sum >> 1;
            if sum & 1 == 1 {
                shifted ^ 0xedb8_8320
            } else {
                shifted
            }
        })
    })
}
