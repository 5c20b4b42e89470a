//! A STUN binding request that nobody needs to prove (RFC 8489 section 6.3.1): what a client asks to keep a binding
//! of its NAT alive and to see its own address. No state, and one answer that is only as long as it must be.

use std::net::SocketAddr;

use super::stun::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, COOKIE, ERROR_CODE, FINGERPRINT, HEADER, MAX_ATTRIBUTES,
    MAX_LEN, MESSAGE_INTEGRITY, UNKNOWN_ATTRIBUTES, USERNAME, XOR_MAPPED_ADDRESS, attribute, checksum,
    xor_address,
};

/// Attributes of proofs, which are understood and mean nothing here: `REALM`, `NONCE`, and the later forms of
/// `MESSAGE-INTEGRITY`, of the user's hash and of the password's algorithm (RFC 8489 section 14).
const PROOFS: [u16; 5] = [0x0014, 0x0015, 0x001c, 0x001d, 0x001e];
const UNKNOWN_ATTRIBUTE: [u8; 4] = [0, 0, 4, 20];

/// Why a datagram gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBinding {
    /// It is no STUN: its first two bits are not zero, or the magic cookie is not there.
    NotStun,
    /// STUN of another kind: an indication or a response.
    Other,
    /// Its parts do not fit, or its fingerprint is wrong.
    Malformed,
}

/// Appends the answer to a binding request that came from `source`: a success with `XOR-MAPPED-ADDRESS`, or the error
/// 420 where an attribute must be understood and is not. It has a `FINGERPRINT` if the request had one. An answer has
/// at most 52 bytes; a request at least 20.
///
/// # Errors
/// Why there is none; then nothing is appended.
pub fn answer_binding(request: &[u8], source: SocketAddr, out: &mut Vec<u8>) -> Result<(), NoBinding> {
    let header = request.first_chunk::<HEADER>().ok_or(NoBinding::NotStun)?;
    if header[0] & 0xc0 != 0 || header[4..8] != COOKIE {
        return Err(NoBinding::NotStun);
    }
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if len % 4 != 0 || len + HEADER != request.len() || request.len() > MAX_LEN {
        return Err(NoBinding::Malformed);
    }
    if u16::from_be_bytes([header[0], header[1]]) != BINDING_REQUEST {
        return Err(NoBinding::Other);
    }
    let (unknown, fingerprint) = attributes(request)?;
    let start = out.len();
    let kind = if unknown.is_some() {
        BINDING_ERROR
    } else {
        BINDING_SUCCESS
    };
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&header[4..]);
    match unknown {
        Some(kind) => {
            attribute(out, ERROR_CODE, &UNKNOWN_ATTRIBUTE);
            attribute(out, UNKNOWN_ATTRIBUTES, &kind.to_be_bytes());
        }
        None => {
            let mut value = [0; 20];
            let source = SocketAddr::new(source.ip().to_canonical(), source.port());
            let len = xor_address(&mut value, source, &header[4..]);
            attribute(out, XOR_MAPPED_ADDRESS, &value[..len]);
        }
    }
    let added = if fingerprint { 8 } else { 0 };
    let len = (out.len() - start - HEADER + added) as u16;
    out[start + 2..start + 4].copy_from_slice(&len.to_be_bytes());
    if fingerprint {
        let sum = checksum(&out[start..]);
        attribute(out, FINGERPRINT, &sum.to_be_bytes());
    }
    Ok(())
}

/// The first attribute that must be understood and is not, and whether there is a fingerprint.
fn attributes(request: &[u8]) -> Result<(Option<u16>, bool), NoBinding> {
    let (mut unknown, mut at) = (None, HEADER);
    for _ in 0..MAX_ATTRIBUTES {
        let Some(head) = request.get(at..at + 4) else {
            break;
        };
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = request.get(at + 4..at + 4 + len).ok_or(NoBinding::Malformed)?;
        if kind == FINGERPRINT {
            let right = at + 8 == request.len() && value == checksum(&request[..at]).to_be_bytes();
            return right.then_some((unknown, true)).ok_or(NoBinding::Malformed);
        }
        let understood =
            kind >= 0x8000 || matches!(kind, USERNAME | MESSAGE_INTEGRITY) || PROOFS.contains(&kind);
        if !understood {
            unknown.get_or_insert(kind);
        }
        at += 4 + len.next_multiple_of(4);
    }
    (at == request.len())
        .then_some((unknown, false))
        .ok_or(NoBinding::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A request with these attributes (type and value), and with a fingerprint if one is wanted.
    fn request(attributes: &[(u16, &[u8])], fingerprint: bool) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend(1..=12);
        for (kind, value) in attributes {
            attribute(&mut bytes, *kind, value);
        }
        let len = bytes.len() - HEADER + if fingerprint { 8 } else { 0 };
        bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        if fingerprint {
            let sum = checksum(&bytes);
            attribute(&mut bytes, FINGERPRINT, &sum.to_be_bytes());
        }
        bytes
    }

    fn answer(request: &[u8], source: &str) -> Result<Vec<u8>, NoBinding> {
        let mut out = Vec::new();
        answer_binding(request, source.parse().unwrap(), &mut out).map(|()| out)
    }

    #[test]
    fn the_shortest_request_is_told_its_address_and_no_more() {
        let request = request(&[], false);
        let told = answer(&request, "192.0.2.1:32853").unwrap();
        assert_eq!(told[..4], [1, 1, 0, 12]);
        assert_eq!(told[4..20], request[4..20], "the same transaction");
        // 192.0.2.1:32853 as in RFC 5769 section 2.2.
        assert_eq!(
            told[20..],
            [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]
        );
        let v6 = answer(&request, "[2001:db8::1]:5060").unwrap();
        assert_eq!((v6.len(), v6[3]), (44, 24));
        assert_eq!(answer(&request, "[::ffff:192.0.2.1]:32853").unwrap(), told);
    }

    #[test]
    fn who_shows_a_fingerprint_gets_one() {
        let told = answer(&request(&[(0x8022, b"phone")], true), "192.0.2.1:5060").unwrap();
        assert_eq!((told.len(), told[3]), (40, 20));
        assert_eq!(told[36..], checksum(&told[..32]).to_be_bytes());
        let mut wrong = request(&[], true);
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(answer(&wrong, "192.0.2.1:5060"), Err(NoBinding::Malformed));
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_named() {
        let proofs: [(u16, &[u8]); 2] = [(USERNAME, b"alice"), (0x0014, b"realm")];
        assert_eq!(
            answer(&request(&proofs, false), "192.0.2.1:1").unwrap()[..2],
            [1, 1]
        );
        let told = answer(
            &request(&[(0x0003, &[0; 4]), (0x7777, &[])], false),
            "192.0.2.1:1",
        )
        .unwrap();
        assert_eq!(told[..4], [1, 0x11, 0, 16]);
        assert_eq!(told[20..], [0, 9, 0, 4, 0, 0, 4, 20, 0, 10, 0, 2, 0, 3, 0, 0]);
    }

    #[test]
    fn what_is_no_request_gets_no_answer() {
        let good = request(&[], false);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            answer(&bytes, "192.0.2.1:1")
        };
        assert_eq!(with(0, b'O'), Err(NoBinding::NotStun)); // OPTIONS
        assert_eq!(with(4, 0), Err(NoBinding::NotStun));
        assert_eq!(with(1, 0x11), Err(NoBinding::Other)); // an indication
        assert_eq!(with(3, 4), Err(NoBinding::Malformed));
        assert_eq!(answer(b"\r\n\r\n", "192.0.2.1:1"), Err(NoBinding::NotStun));
        let long = request(&[(0x8022, &[0; 600])], false);
        assert_eq!(answer(&long, "192.0.2.1:1"), Err(NoBinding::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_briefly_or_not_at_all(mut bytes in prop::collection::vec(any::<u8>(), 20..80), stun in any::<bool>()) {
            if stun {
                let len = (bytes.len() - HEADER) as u16;
                bytes[..2].copy_from_slice(&[0, 1]);
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes[4..8].copy_from_slice(&COOKIE);
            }
            if let Ok(told) = answer(&bytes, "[2001:db8::1]:5060") {
                prop_assert!(told.len() <= 52 && told.len() <= bytes.len() + 24);
            }
        }
    }
}
