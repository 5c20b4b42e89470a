//! What phones send on the SIP port over UDP to keep a NAT's binding alive: empty lines, and STUN binding requests,
//! which tell them whether it has changed (RFC 5626 section 3.5.2).

use std::net::SocketAddr;

use bytes::Bytes;
use cordboard_media::{NoBinding, answer_binding};

/// What a datagram is, if it is no SIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// Nothing but line ends, or the zero bytes that some phones send: no answer is expected.
    Empty,
    /// A STUN binding request, and the answer to it.
    Stun(Bytes),
    /// STUN that cannot be answered.
    BadStun,
}

/// Tells keep-alives from SIP: the first two bits of STUN are zero, and it has its cookie (RFC 5626 section 8).
pub(crate) fn keep_alive(bytes: &[u8], source: SocketAddr) -> Option<KeepAlive> {
    // A letter: SIP, as nearly always.
    if bytes.first().is_some_and(|first| *first >= 0x40) {
        return None;
    }
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Some(KeepAlive::Empty);
    }
    let mut answer = Vec::new();
    match answer_binding(bytes, source, &mut answer) {
        Ok(()) => Some(KeepAlive::Stun(answer.into())),
        Err(NoBinding::NotStun) => None,
        Err(NoBinding::Other | NoBinding::Malformed) => Some(KeepAlive::BadStun),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alives_are_told_from_sip() {
        let source = "192.0.2.1:5060".parse().unwrap();
        let told = |bytes: &[u8]| keep_alive(bytes, source);
        for empty in [&b"\r\n\r\n"[..], b"\0\0\0\0", b"\r\n"] {
            assert_eq!(told(empty), Some(KeepAlive::Empty));
        }
        // Empty lines before a message are part of it (RFC 3261 section 7.5).
        for sip in [
            &b"OPTIONS sip:x SIP/2.0\r\n"[..],
            b"\r\n\r\nOPTIONS sip:x SIP/2.0\r\n",
            b"!% sip:x SIP/2.0",
        ] {
            assert_eq!(told(sip), None);
        }
        let mut request = [0; 20];
        request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        let Some(KeepAlive::Stun(answer)) = told(&request) else {
            panic!("a binding request is answered")
        };
        assert_eq!((answer.len(), &answer[..2]), (32, &[1, 1][..]));
        request[1] = 0x11;
        assert_eq!(told(&request), Some(KeepAlive::BadStun));
    }
}
