//! Keys in descriptions (RFC 4568): which line is answered, with which key, and when a key is left.

use cordboard_model::media::SrtpKey;

use super::*;

/// Key and salt of the only line with keys.
#[track_caller]
fn said_key(text: &str) -> SrtpKey {
    let session = Session::parse(text).unwrap();
    let mut said = session.media.iter().flat_map(crypto::usable);
    let key = said.next().expect("there is a key").key;
    assert!(said.next().is_none(), "{text}");
    key
}

const RFC_KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

fn secure(line: &str) -> String {
    format!("m=audio 9 RTP/SAVP 0\r\na=crypto:7 F8_128_HMAC_SHA1_80 inline:{RFC_KEY}\r\n{line}")
}

#[test]
fn the_first_crypto_line_that_we_can_use_is_answered_with_a_key_of_ours() {
    let offer = secure(&format!(
        "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{RFC_KEY}|2^20\r\n"
    ));
    let negotiated = answer_to(&offer).unwrap();
    let text = &negotiated.answer_text;
    assert!(text.contains("m=audio 4000 RTP/SAVP 0\r\n"), "{text}");
    let line = text.lines().find(|line| line.starts_with("a=crypto:")).unwrap();
    assert!(
        line.starts_with("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"),
        "{line}"
    );
    assert!(!line.contains(RFC_KEY));
    let srtp = negotiated.audio.unwrap().srtp.unwrap();
    assert_eq!(srtp.receive.0, SrtpSuite::AesCm128HmacSha1_80);
    assert_eq!(srtp.receive.1.key(), b"YS___semctl () {");
    assert_eq!(said_key(text), srtp.send.1);
    // Without one there is no stream.
    assert_eq!(answer_to(&secure("")).unwrap_err().reason, "sdp_no_audio");
}

#[test]
fn the_short_tag_is_taken_from_who_offers_it_and_kept() {
    let mut known: Vec<(SrtpSuite, SrtpKey)> = Vec::new();
    let mut origin = Origin::new(7, [5; 32]);
    let ours = Capabilities::default();
    let line = |tag: u8, bits: u8| format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_{bits} inline:{RFC_KEY}\r\n");
    for (lines, tag, suite) in [
        (line(1, 32), "1", SrtpSuite::AesCm128HmacSha1_32),
        (line(1, 32) + &line(2, 80), "1", SrtpSuite::AesCm128HmacSha1_32),
        (line(1, 80) + &line(2, 32), "1", SrtpSuite::AesCm128HmacSha1_80),
        (line(4, 32), "4", SrtpSuite::AesCm128HmacSha1_32),
    ] {
        let theirs = format!("{HEAD}m=audio 9 RTP/SAVP 0\r\n{lines}");
        let answered = answer(&Session::parse(&theirs).unwrap(), &ours, local(), &mut origin).unwrap();
        let said = format!("a=crypto:{tag} {} inline:", suite.name());
        assert!(answered.answer_text.contains(&said), "{}", answered.answer_text);
        let srtp = answered.audio.unwrap().srtp.unwrap();
        assert_eq!((srtp.send.0, srtp.receive.0), (suite, suite));
        assert_eq!(said_key(&answered.answer_text), srtp.send.1);
        let again = known.contains(&srtp.send);
        let left = known.iter().filter(|(_, key)| *key == srtp.send.1).count();
        assert_eq!(
            again,
            known.last() == Some(&srtp.send),
            "only the key that is used stays"
        );
        assert_eq!(left > 0, again, "a key is for one suite");
        known.push(srtp.send.clone());
        origin.settle(Some(&srtp));
        let text = offer(&ours, local(), &mut origin);
        assert_eq!(said_key(&text), srtp.send.1, "what is used is offered");
        assert!(
            text.contains(&said) && text.matches("a=crypto").count() == 1,
            "{text}"
        );
    }
}

#[test]
fn a_key_that_has_a_name_is_answered_by_one_of_that_name_and_keeps_it() {
    let mut origin = Origin::new(7, [5; 32]);
    let theirs = format!(
        "{HEAD}m=audio 9 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{RFC_KEY}|2^20|1:4\r\n"
    );
    let ours = Capabilities::default();
    let answered = answer(&Session::parse(&theirs).unwrap(), &ours, local(), &mut origin).unwrap();
    let named = |text: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with("a=crypto:1 "));
        lines.next().is_some_and(|line| line.ends_with("|1:4"))
    };
    assert!(named(&answered.answer_text), "{}", answered.answer_text);
    let srtp = answered.audio.unwrap().srtp.unwrap();
    assert_eq!(srtp.send_mki.bytes(), [0, 0, 0, 1]);
    assert_eq!(srtp.receive_mki, srtp.send_mki);
    // A later offer of ours says so again, and each side's name is its own.
    let text = offer(&ours, local(), &mut origin);
    assert!(named(&text), "{text}");
    let bare = theirs.replace("|2^20|1:4", "");
    let settled = accept_answer(
        &Session::parse(&text).unwrap(),
        &Session::parse(&bare).unwrap(),
        &ours,
    );
    let srtp = settled.unwrap().srtp.unwrap();
    assert_eq!(
        (srtp.send_mki.bytes(), srtp.receive_mki.bytes()),
        (&[0, 0, 0, 1][..], &[][..])
    );
}

#[test]
fn keys_with_plain_rtp_may_be_taken_or_left_aside() {
    let key = |tag| format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{RFC_KEY}\r\n");
    let theirs = answer_to(&format!("m=audio 9 RTP/AVP 0\r\n{}", key(1))).unwrap();
    assert!(theirs.answer_text.contains("m=audio 4000 RTP/AVP 0\r\n"));
    assert!(theirs.answer_text.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80"));
    assert!(theirs.audio.unwrap().srtp.is_some());

    let ours = Capabilities {
        secure: true,
        ..Capabilities::default()
    };
    let mut origin = Origin::new(1, [5; 32]);
    let text = offer(&ours, local(), &mut origin);
    assert!(
        text.contains(" RTP/AVP ") && text.contains("a=crypto:1 AEAD_AES_128_GCM"),
        "{text}"
    );
    let sent = Session::parse(&text).unwrap();
    let settled = |media: &str| {
        let answer = format!("{HEAD}{media}");
        accept_answer(&sent, &Session::parse(&answer).unwrap(), &ours).map(|audio| audio.srtp)
    };
    assert_eq!(settled("m=audio 9 RTP/AVP 0\r\n"), Ok(None));
    let taken = settled(&format!("m=audio 9 RTP/AVP 0\r\n{}", key(2)))
        .unwrap()
        .unwrap();
    assert_eq!(taken.send.0, SrtpSuite::AesCm128HmacSha1_80);
    assert_eq!(taken.send.1, origin.key(SrtpSuite::AesCm128HmacSha1_80));
    assert_eq!(
        settled(&format!("m=audio 9 RTP/AVP 0\r\n{}", key(1))),
        Ok(None),
        "no such line of ours"
    );
    assert!(settled(&format!("m=audio 9 RTP/SAVP 0\r\n{}", key(1))).is_err());
    // What was offered is offered again, with the same keys.
    assert_eq!(offer(&ours, local(), &mut origin), text);
}

#[test]
fn a_later_offer_of_a_secure_call_keeps_its_keys() {
    let mut origin = Origin::new(1, [5; 32]);
    let theirs = format!(
        "{HEAD}{}",
        secure(&format!(
            "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{RFC_KEY}\r\n"
        ))
    );
    let ours = Capabilities::default();
    let first = answer(&Session::parse(&theirs).unwrap(), &ours, local(), &mut origin).unwrap();
    let line = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("a=crypto"))
            .map(str::to_owned)
    };
    let text = offer(&ours, local(), &mut origin);
    assert_eq!(line(&text), line(&first.answer_text));
    let offer = Session::parse(&text).unwrap();
    assert_eq!(offer.media[0].protocol, "RTP/SAVP");
    let accept = |answer: &str| accept_answer(&offer, &Session::parse(answer).unwrap(), &ours);
    assert_eq!(accept(&theirs).unwrap().srtp, first.audio.unwrap().srtp);
    let plain = format!("{HEAD}m=audio 9 RTP/AVP 0\r\n");
    assert_eq!(accept(&plain).unwrap_err().reason, "sdp_keys");
    assert!(!format!("{origin:?}").contains("inline"));
}
