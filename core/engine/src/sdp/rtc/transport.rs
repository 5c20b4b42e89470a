//! How a WebRTC peer is reached, and how it proves itself: ICE (RFC 8839), fingerprints (RFC 8122), and who
//! begins the DTLS handshake (RFC 8842).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use cordboard_model::media::peer::{Candidate, IceCredentials, LocalPeer};
use zeroize::Zeroizing;

use crate::sdp::crypto;
use crate::sdp::negotiate::{is_secure, is_usable};
use crate::sdp::session::{Media, Session};

/// How many fingerprints of one peer are kept.
const MOST_FINGERPRINTS: usize = 8;

/// Which side of the handshake a description offers or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    ActPass,
}

/// The peer's end of the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) ice: IceCredentials,
    pub(super) fingerprints: Vec<[u8; 32]>,
    pub(super) setup: Option<Setup>,
}

/// Whether a description is that of a WebRTC peer: SRTP keyed by DTLS, reached by ICE. Where the profile leaves it open
/// whether DTLS is meant, a line must be in use and without keys of its own, and there must be no audio that needs none
/// of this.
pub fn is_webrtc(session: &Session<'_>) -> bool {
    let has = |media: &Media<'_>, name| media.attribute(name).or(session.attribute(name)).is_some();
    let keyed = |media: &Media<'_>| crypto::usable(media).next().is_some();
    let phone = session.media.iter().any(is_usable);
    let open = |media: &Media<'_>| is_active(media) && !keyed(media) && !phone;
    session.media.iter().any(|media| {
        let by_dtls = is_peer_line(media) && (!is_secure(media) || open(media));
        by_dtls && has(media, "ice-ufrag") && has(media, "fingerprint")
    })
}

/// Whether a line has a profile that a WebRTC peer may name (RFC 5764 section 8, RFC 7850, RFC 8829 section 5.1.2).
/// What feedback there is, its `a=rtcp-fb` say, also where the profile is one without.
pub(super) fn is_peer_line(media: &Media<'_>) -> bool {
    let by_dtls = matches!(
        media.protocol,
        "UDP/TLS/RTP/SAVPF"
            | "UDP/TLS/RTP/SAVP"
            | "TCP/DTLS/RTP/SAVPF"
            | "TCP/DTLS/RTP/SAVP"
            | "TCP/TLS/RTP/SAVPF"
    );
    by_dtls || is_secure(media)
}

/// Whether a line of a WebRTC description is in use; one that is only there with its bundle has port 0 (RFC
/// 9143 section 6).
pub(super) fn is_active(media: &Media<'_>) -> bool {
    is_peer_line(media) && (media.port != 0 || media.attribute("bundle-only").is_some())
}

/// What a line says about the transport; what it is silent about stands before the first line.
pub(super) fn read(session: &Session<'_>, media: &Media<'_>) -> Option<Remote> {
    let value = |name: &str| media.attribute(name).or(session.attribute(name)).map(str::trim);
    let ufrag = value("ice-ufrag").filter(|text| is_ice_text(text, 4))?;
    let pwd = value("ice-pwd").filter(|text| is_ice_text(text, 22))?;
    let own = media.attributes.iter().filter(|a| a.name == "fingerprint");
    let common = session.attributes.iter().filter(|a| a.name == "fingerprint");
    let mut fingerprints: Vec<[u8; 32]> = own.filter_map(|a| fingerprint(a.value)).collect();
    if fingerprints.is_empty() {
        fingerprints = common.filter_map(|a| fingerprint(a.value)).collect();
    }
    fingerprints.truncate(MOST_FINGERPRINTS);
    if fingerprints.is_empty() {
        return None;
    }
    let setup = value("setup").and_then(|text| match text {
        "active" => Some(Setup::Active),
        "passive" => Some(Setup::Passive),
        "actpass" => Some(Setup::ActPass),
        _ => None,
    });
    Some(Remote {
        ice: IceCredentials {
            ufrag: ufrag.to_owned(),
            pwd: Zeroizing::new(pwd.to_owned()),
        },
        fingerprints,
        setup,
    })
}

/// Credentials of ours for an ICE restart: 48 bits of name, 144 of password, as `chance` gives them.
pub(super) fn new_credentials(chance: &mut dyn FnMut() -> u64) -> IceCredentials {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
    let mut letters = |count: usize| -> String {
        let mut text = String::with_capacity(count);
        while text.len() < count {
            // Eight letters of six bits from the upper bits of one number.
            let number = chance() >> 16;
            let rest = (count - text.len()).min(8);
            text.extend((0..rest).map(|at| char::from(LETTERS[(number >> (6 * at) & 63) as usize])));
        }
        text
    };
    IceCredentials {
        ufrag: letters(8),
        pwd: Zeroizing::new(letters(24)),
    }
}

/// RFC 8839 section 5.4: letters, digits, `+` and `/`; a few stacks also write the URL-safe ones.
fn is_ice_text(text: &str, least: usize) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    (least..=256).contains(&text.len()) && text.bytes().all(known)
}

/// `sha-256 AB:CD:..`; other hashes are not looked at.
fn fingerprint(value: &str) -> Option<[u8; 32]> {
    let (hash, digits) = value.trim().split_once(' ')?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let mut bytes = [0; 32];
    let mut pairs = digits.trim().split(':');
    for byte in &mut bytes {
        let pair = pairs.next().filter(|pair| pair.len() == 2)?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(bytes)
}

/// Where our lines say that we are: the best candidate by UDP.
pub(super) fn default_address(local: &LocalPeer) -> SocketAddr {
    let mut by_udp = local.candidates.iter().filter(|candidate| !candidate.tcp);
    by_udp
        .next()
        .or(local.candidates.first())
        .map_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 9), |candidate| {
            candidate.address
        })
}

/// The transport's attributes of one line of ours; the candidates stand in the first line only (RFC 9143
/// section 9.1).
pub(super) fn write(text: &mut String, local: &LocalPeer, setup: &str, first: bool) {
    let _ = write!(
        text,
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 ",
        local.ice.ufrag, *local.ice.pwd
    );
    for (place, byte) in local.fingerprint.iter().enumerate() {
        let _ = write!(text, "{}{byte:02X}", if place == 0 { "" } else { ":" });
    }
    let _ = write!(text, "\r\na=setup:{setup}\r\n");
    if !first {
        return;
    }
    for (place, candidate) in local.candidates.iter().enumerate() {
        write_candidate(text, place, candidate);
    }
    text.push_str("a=end-of-candidates\r\n");
}

fn write_candidate(text: &mut String, place: usize, candidate: &Candidate) {
    // RFC 8445 section 5.1.2.1; TCP is what remains where UDP does not pass.
    let preference = if candidate.tcp { 90 } else { 126 };
    let local = 65_535 - u32::try_from(place).unwrap_or(65_535).min(65_535);
    let priority = (preference << 24) + (local << 8) + 255;
    let (transport, kind) = match candidate.tcp {
        true => ("tcp", " tcptype passive"),
        false => ("udp", ""),
    };
    let (ip, port) = (candidate.address.ip(), candidate.address.port());
    let _ = write!(
        text,
        "a=candidate:{} 1 {transport} {priority} {ip} {port} typ host{kind}\r\n",
        place + 1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_sha_256_and_whole() {
        let whole = ["AB"; 32].join(":");
        assert_eq!(fingerprint(&format!("sha-256 {whole}")), Some([0xab; 32]));
        assert_eq!(
            fingerprint(&format!("SHA-256 {}", whole.to_lowercase())),
            Some([0xab; 32])
        );
        let not_ours = [
            format!("sha-1 {whole}"),
            format!("sha-256 {whole}:AB"),
            format!("sha-256 {}", &whole[3..]),
            whole.replace("AB", "+B"),
            String::new(),
        ];
        for text in not_ours {
            assert_eq!(fingerprint(&text), None, "{text}");
        }
    }

    #[test]
    fn credentials_cannot_smuggle_a_line() {
        assert!(is_ice_text("aB9+/", 4) && !is_ice_text("abc", 4));
        assert!(!is_ice_text("abcd\ra=x", 4) && !is_ice_text(&"a".repeat(257), 4));
    }
}
