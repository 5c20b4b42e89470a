//! Known packets, round trips, tampering and replays.

use proptest::prelude::*;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;

const SUITES: [SrtpSuite; 3] = SrtpSuite::ALL;

fn key(suite: SrtpSuite, seed: u8) -> (SrtpSuite, SrtpKey) {
    let bytes = (0..suite.key_len())
        .map(|at| seed.wrapping_add(at as u8 * 7))
        .collect();
    (suite, SrtpKey::new(suite, bytes).unwrap())
}

fn pair(suite: SrtpSuite) -> (Session, Session) {
    let (one, other) = (key(suite, 1), key(suite, 99));
    let ours = Srtp {
        send: one.clone(),
        send_mki: Mki::default(),
        receive: other.clone(),
        receive_mki: Mki::default(),
    };
    let theirs = Srtp {
        send: other,
        send_mki: Mki::default(),
        receive: one,
        receive_mki: Mki::default(),
    };
    (Session::new(&ours), Session::new(&theirs))
}

fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = sequence.to_be_bytes();
    let mut bytes = vec![0x80, 8, high, low, 0, 0, 0, 9, 1, 2, 3, 4];
    bytes.extend_from_slice(payload);
    bytes
}

fn protect(session: &mut Session, packet: &[u8]) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    bytes.extend_from_slice(packet);
    session.protect(&mut bytes, 6);
    bytes.split_off(6)
}

fn unprotect(session: &mut Session, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
    let mut bytes = packet.to_vec();
    let len = session.unprotect(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// The packets by which libsrtp checks itself.
#[test]
fn known_packets() {
    let cases = [
        (
            SrtpSuite::AesCm128HmacSha1_80,
            "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
            "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
            "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
        ),
        (
            SrtpSuite::AesCm128HmacSha1_32,
            "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
            "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc",
            "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
        ),
        (
            SrtpSuite::AeadAes128Gcm,
            "000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab",
            "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
        ),
    ];
    let body = "ab".repeat(16);
    let hex = |text: &str| -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    for (suite, master, media, control) in cases {
        let key = (suite, SrtpKey::new(suite, hex(master)).unwrap());
        let mut session = Session::new(&Srtp {
            send: key.clone(),
            send_mki: Mki::default(),
            receive: key,
            receive_mki: Mki::default(),
        });
        let plain = hex(&format!("800f1234decafbadcafebabe{body}"));
        assert_eq!(protect(&mut session, &plain), hex(media), "{suite:?}");
        assert_eq!(unprotect(&mut session, &hex(media)), Ok(plain));
        let plain = hex(&format!("81c8000bcafebabe{body}"));
        let mut bytes = plain.clone();
        session.protect_control(&mut bytes, 0);
        assert_eq!(bytes, hex(control), "{suite:?}");
        let len = session.unprotect_control(&mut bytes).unwrap();
        assert_eq!(bytes[..len], plain);
    }
}

#[test]
fn packets_pass_in_any_order_across_the_wrap_and_only_once() {
    for suite in SUITES {
        let (mut ours, mut theirs) = pair(suite);
        let sealed: Vec<_> = (65_500..65_600u32)
            .map(|sequence| protect(&mut ours, &rtp(sequence as u16, &sequence.to_be_bytes())))
            .collect();
        for at in (0..100).map(|at| at ^ 3) {
            let sequence = 65_500 + at as u32;
            let expect = rtp(sequence as u16, &sequence.to_be_bytes());
            assert_eq!(unprotect(&mut theirs, &sealed[at]), Ok(expect), "{suite:?} {at}");
        }
        for packet in &sealed {
            assert_eq!(unprotect(&mut theirs, packet), Err(DropReason::Replayed));
        }
        // A second round of the same numbers is something else.
        for sequence in 65_600..131_100u32 {
            protect(&mut ours, &rtp(sequence as u16, b"x"));
        }
        assert_eq!(
            unprotect(&mut ours, &sealed[0]),
            Err(DropReason::Unauthentic),
            "our own key"
        );
    }
}

/// Both sides name their keys: the name stands before a tag that stands by itself, else behind all.
#[test]
fn the_name_of_a_key_is_added_and_taken_off() {
    let (one, other) = (Mki::new(1, 4).unwrap(), Mki::new(258, 2).unwrap());
    for (suite, behind, behind_control) in [
        (SrtpSuite::AesCm128HmacSha1_80, 10, 10),
        (SrtpSuite::AesCm128HmacSha1_32, 4, 10),
        (SrtpSuite::AeadAes128Gcm, 0, 0),
    ] {
        let keys = |send_mki, receive_mki| Srtp {
            send: key(suite, 1),
            send_mki,
            receive: key(suite, 1),
            receive_mki,
        };
        let plain = rtp(7, &[5; 20]);
        let bare = protect(&mut Session::new(&keys(Mki::default(), Mki::default())), &plain);
        let (mut ours, mut theirs) = (Session::new(&keys(one, other)), Session::new(&keys(other, one)));
        let sealed = protect(&mut ours, &plain);
        let (body, tag) = bare.split_at(bare.len() - behind);
        assert_eq!(sealed, [body, &[0, 0, 0, 1], tag].concat(), "{suite:?}");
        assert_eq!(unprotect(&mut theirs, &bare), Err(DropReason::Unauthentic));
        assert_eq!(unprotect(&mut theirs, &sealed), Ok(plain));
        let mut control = vec![0x80, 201, 0, 1, 1, 2, 3, 4, 9, 9, 9, 9];
        theirs.protect_control(&mut control, 0);
        let at = control.len() - behind_control - 2;
        assert_eq!(control[at..at + 2], [1, 2], "{suite:?}");
        assert_eq!(ours.unprotect_control(&mut control), Ok(12));
        for len in 0..sealed.len() {
            assert!(unprotect(&mut theirs, &sealed[..len]).is_err());
        }
        // Another name for the same key: counters go on.
        theirs.renew(&keys(other, other));
        assert!(unprotect(&mut theirs, &sealed).is_err());
        ours.renew(&keys(other, other));
        assert_eq!(ours.sent.media, Some(7));
    }
}

#[test]
fn not_a_bit_may_be_changed_and_a_forgery_moves_nothing() {
    for suite in SUITES {
        let (mut ours, mut theirs) = pair(suite);
        let sealed = protect(&mut ours, &rtp(7, &[5; 20]));
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect(&mut theirs, &bytes).is_err(), "{suite:?} bit {bit}");
        }
        assert!(theirs.sources.is_empty());
        assert_eq!(unprotect(&mut theirs, &sealed), Ok(rtp(7, &[5; 20])));
        let mut control = vec![0x80, 201, 0, 1, 1, 2, 3, 4, 9, 9, 9, 9];
        ours.protect_control(&mut control, 0);
        for bit in 0..control.len() * 8 {
            let mut bytes = control.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                theirs.unprotect_control(&mut bytes).is_err(),
                "{suite:?} bit {bit}"
            );
        }
        let mut once = control.clone();
        assert_eq!(theirs.unprotect_control(&mut once), Ok(12));
        assert_eq!(theirs.unprotect_control(&mut control), Err(DropReason::Replayed));
    }
}

#[test]
fn counters_go_on_when_the_same_keys_are_negotiated_again() {
    for suite in SUITES {
        let (mut ours, mut theirs) = pair(suite);
        let keys = Srtp {
            send: key(suite, 1),
            send_mki: Mki::default(),
            receive: key(suite, 99),
            receive_mki: Mki::default(),
        };
        let early = protect(&mut ours, &rtp(65_535, b"a"));
        unprotect(&mut theirs, &early).unwrap();
        ours.renew(&keys);
        let late = protect(&mut ours, &rtp(0, b"b"));
        assert_eq!(
            unprotect(&mut theirs, &late),
            Ok(rtp(0, b"b")),
            "the round was counted"
        );
        theirs.renew(&Srtp {
            send: keys.receive.clone(),
            send_mki: Mki::default(),
            receive: keys.send.clone(),
            receive_mki: Mki::default(),
        });
        assert_eq!(unprotect(&mut theirs, &early), Err(DropReason::Replayed));
        ours.renew(&Srtp {
            send: key(suite, 5),
            ..keys.clone()
        });
        let other = protect(&mut ours, &rtp(1, b"c"));
        assert_eq!(unprotect(&mut theirs, &other), Err(DropReason::Unauthentic));
        theirs.renew(&Srtp {
            send: keys.receive,
            send_mki: Mki::default(),
            receive: key(suite, 5),
            receive_mki: Mki::default(),
        });
        assert_eq!(unprotect(&mut theirs, &other), Ok(rtp(1, b"c")));
    }
}

/// Suites that differ only in their tags share a key of ours, and with it what is counted.
#[test]
fn counters_go_on_when_only_the_tag_becomes_another_one() {
    let (long, short) = (SrtpSuite::AesCm128HmacSha1_80, SrtpSuite::AesCm128HmacSha1_32);
    let keys = |suite, send, receive| Srtp {
        send: key(suite, send),
        send_mki: Mki::default(),
        receive: key(suite, receive),
        receive_mki: Mki::default(),
    };
    let (mut ours, mut theirs) = pair(long);
    let first = protect(&mut ours, &rtp(65_535, b"a"));
    unprotect(&mut theirs, &first).unwrap();
    ours.renew(&keys(short, 1, 99));
    theirs.renew(&keys(short, 99, 1));
    // A tag that is cut shorter is a valid one: the number alone shows that the packet came before.
    assert_eq!(
        unprotect(&mut theirs, &first[..first.len() - 6]),
        Err(DropReason::Replayed)
    );
    let second = protect(&mut ours, &rtp(0, b"b"));
    assert_eq!(second.len(), 12 + 1 + 4);
    assert_eq!(ours.sent.media, Some(65_536), "the round was counted");
    assert_eq!(unprotect(&mut theirs, &second), Ok(rtp(0, b"b")));
    let mut control = vec![0x80, 201, 0, 1, 1, 2, 3, 4];
    ours.protect_control(&mut control, 0);
    assert_eq!(control.len(), 8 + 4 + 10);
    assert_eq!(theirs.unprotect_control(&mut control), Ok(8));
}

fn keys(suite: SrtpSuite, send: u8, receive: u8) -> Srtp {
    Srtp {
        send: key(suite, send),
        send_mki: Mki::default(),
        receive: key(suite, receive),
        receive_mki: Mki::default(),
    }
}

/// What is protected twice by one key and number can be read: whatever came between, counters go on.
#[test]
fn no_number_is_used_twice_under_one_key() {
    let (gcm, counter) = (SrtpSuite::AeadAes128Gcm, SrtpSuite::AesCm128HmacSha1_80);
    let control = |session: &mut Session| {
        let mut bytes = vec![0x80, 201, 0, 1, 1, 2, 3, 4, 9, 9, 9, 9];
        session.protect_control(&mut bytes, 0);
        bytes
    };
    for (suite, other) in [(gcm, counter), (counter, gcm)] {
        let mut ours = Session::new(&keys(suite, 1, 99));
        protect(&mut ours, &rtp(65_535, b"a"));
        let (media, report) = (protect(&mut ours, &rtp(0, b"a")), control(&mut ours));
        ours.renew(&keys(other, 1, 99));
        protect(&mut ours, &rtp(1, b"a"));
        assert_eq!(ours.sent.media, Some(1), "another key counts anew");
        control(&mut ours);
        assert_eq!(ours.sent.control, 1);
        ours.renew(&keys(suite, 1, 99));
        assert_ne!(protect(&mut ours, &rtp(0, b"a")), media, "{suite:?}");
        assert_ne!(control(&mut ours), report, "{suite:?}");
        assert_eq!((ours.sent.media, ours.sent.control), (Some(131_072), 2));
        // The same after plain RTP.
        ours.resume(&keys(suite, 1, 98));
        control(&mut ours);
        assert_eq!((ours.sent.media, ours.sent.control), (Some(131_072), 3));
        for seed in 2..20 {
            ours.renew(&keys(suite, seed, 99));
        }
        assert_eq!(
            ours.left.len(),
            LEFT_KEYS,
            "keys of ours that were left are bounded"
        );
    }
}

/// Who makes a new context for another tag counts its rounds anew under the same key. It is believed once, and not where
/// a packet of the first round can be cut to the new tag.
#[test]
fn a_peer_that_keeps_its_key_may_count_anew_with_a_longer_tag() {
    let (long, short) = (SrtpSuite::AesCm128HmacSha1_80, SrtpSuite::AesCm128HmacSha1_32);
    for (before, after, believed) in [(short, long, true), (long, short, false)] {
        let (mut ours, mut theirs) = (
            Session::new(&keys(before, 99, 1)),
            Session::new(&keys(before, 1, 99)),
        );
        for sequence in 65_530..65_540u32 {
            let sealed = protect(&mut theirs, &rtp(sequence as u16, b"a"));
            unprotect(&mut ours, &sealed).unwrap();
        }
        let mut anew = Session::new(&keys(after, 1, 99));
        let early = protect(&mut anew, &rtp(5, b"b"));
        assert_eq!(unprotect(&mut ours, &early), Err(DropReason::Unauthentic));
        ours.renew(&keys(after, 99, 1));
        assert_eq!(unprotect(&mut ours, &early).is_ok(), believed, "{after:?}");
        if believed {
            assert_eq!(unprotect(&mut ours, &early), Err(DropReason::Replayed));
            let next = protect(&mut anew, &rtp(6, b"b"));
            assert_eq!(unprotect(&mut ours, &next), Ok(rtp(6, b"b")));
            continue;
        }
        // Who goes on counting has always been understood.
        theirs.renew(&keys(after, 1, 99));
        let next = protect(&mut theirs, &rtp(6, b"b"));
        assert_eq!(unprotect(&mut ours, &next), Ok(rtp(6, b"b")));
    }
    // Once the peer has gone on to count, it does not begin anew.
    let (mut ours, mut theirs) = (
        Session::new(&keys(short, 99, 1)),
        Session::new(&keys(short, 1, 99)),
    );
    let mut seal = |suite, sequence| {
        theirs.renew(&keys(suite, 1, 99));
        protect(&mut theirs, &rtp(sequence, b"a"))
    };
    for (suite, sequence) in [(short, 65_535), (short, 0), (long, 1)] {
        let sealed = seal(suite, sequence);
        ours.renew(&keys(suite, 99, 1));
        unprotect(&mut ours, &sealed).unwrap();
    }
    let anew = protect(&mut Session::new(&keys(long, 1, 99)), &rtp(2, b"b"));
    assert_eq!(unprotect(&mut ours, &anew), Err(DropReason::Unauthentic));
}

#[test]
fn another_implementation_opens_what_we_seal_and_we_what_it_seals() {
    let provider = AwsLcRsProvider::new();
    for suite in SUITES {
        let profile = match suite {
            SrtpSuite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpSuite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            SrtpSuite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        };
        let context = |(_, key): (_, SrtpKey)| {
            let (key, salt) = (key.key(), key.salt());
            Context::new(key, salt, profile, None, None, provider.crypto()).unwrap()
        };
        let (mut ours, _) = pair(suite);
        let (mut opens, mut seals) = (context(key(suite, 1)), context(key(suite, 99)));
        for sequence in 65_530..65_542u32 {
            let plain = rtp(sequence as u16, &[7; 160]);
            let sealed = protect(&mut ours, &plain);
            assert_eq!(opens.decrypt_rtp(&sealed).unwrap(), plain, "{suite:?}");
            let sealed = seals.encrypt_rtp(&plain).unwrap();
            assert_eq!(unprotect(&mut ours, &sealed), Ok(plain), "{suite:?}");
        }
        let report = [0x80, 201, 0, 1, 1, 2, 3, 4];
        let mut sealed = report.to_vec();
        ours.protect_control(&mut sealed, 0);
        assert_eq!(opens.decrypt_rtcp(&sealed).unwrap(), report[..], "{suite:?}");
        let mut sealed = seals.encrypt_rtcp(&report).unwrap().to_vec();
        let len = ours.unprotect_control(&mut sealed).unwrap();
        assert_eq!(sealed[..len], report, "{suite:?}");
    }
}

#[test]
fn keys_are_not_shown() {
    let (session, _) = pair(SrtpSuite::AeadAes128Gcm);
    let shown = format!("{:?} {:?}", key(SrtpSuite::AeadAes128Gcm, 1), session.receive.key);
    assert!(shown.contains("SrtpKey(..)") && !shown.contains('['), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..120), control: bool) {
        for suite in SUITES {
            let (mut session, _) = pair(suite);
            let mut bytes = bytes.clone();
            let result = if control { session.unprotect_control(&mut bytes) } else { session.unprotect(&mut bytes) };
            prop_assert!(result.is_err());
        }
    }
}
