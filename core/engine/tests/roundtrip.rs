//! What is written can be read again, whatever is put in; and no input makes a reader panic.

use bytes::Bytes;
use cordboard_engine::config::DigestAlgorithm;
use cordboard_engine::sdp::{Capabilities, Origin, Session, accept_answer, answer, offer};
use cordboard_engine::sip::digest::{Credentials, Ha1, challenges, ha1_md5, verify};
use cordboard_engine::sip::header::{CSeq, NameAddr, Via};
use cordboard_engine::sip::message::{Framed, Framing, Message, frame};
use cordboard_engine::sip::method::Method;
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::uri::Uri;
use cordboard_engine::sip::write::{Writer, quote_display, respond};
use proptest::prelude::*;

const TOKEN: &str = "[A-Za-z0-9.!%*_+`'~-]{1,20}";

proptest! {
    #[test]
    fn no_header_value_breaks_out(name in TOKEN, value in any::<String>(), body in any::<Vec<u8>>()) {
        let written = Writer::request("MESSAGE", "sip:a@b")
            .header("Via", "SIP/2.0/UDP a;branch=z9hG4bKx")
            .header("From", "<sip:a@b>;tag=1")
            .header("To", "<sip:c@d>")
            .header("Call-ID", "c")
            .header("CSeq", "1 MESSAGE")
            .header(&format!("X-{name}"), &value)
            .header("Organization", &value)
            .body("text/plain", &body);
        let message = Message::parse(written.clone(), Framing::Datagram).unwrap();
        prop_assert_eq!(message.all_headers().count(), 9);
        prop_assert_eq!(message.body_slice(), &body[..]);
        prop_assert_eq!(message.check_request(), Ok(()));
        let kept = value.replace(['\r', '\n', '\0'], " ");
        let kept = kept.trim_matches([' ', '\t']);
        prop_assert_eq!(message.header(Name::Organization), Some(kept));
        prop_assert_eq!(message.other(&format!("x-{}", name.to_uppercase())), Some(kept));
        prop_assert_eq!(frame(&written, usize::MAX), Ok(Framed::Message(written.len())));
        prop_assert_eq!(Message::parse(written, Framing::Stream).unwrap(), message);
    }

    #[test]
    fn display_names_are_kept(name in any::<String>(), tag in TOKEN) {
        let text = format!("{} <sip:a@b;lr>;tag={tag}", quote_display(&name));
        let address = NameAddr::parse(&text).unwrap();
        let shown: String = name.chars().filter(|c| !c.is_control()).collect();
        prop_assert_eq!(address.display().unwrap_or_default(), shown);
        prop_assert_eq!((address.uri, address.tag()), ("sip:a@b;lr", Some(&*tag)));
    }

    #[test]
    fn uris_are_read_as_they_were_put_together(
        user in proptest::option::of("[a-z0-9;?&=+$,/#-]{1,12}"),
        host in prop_oneof!["[a-z][a-z0-9.-]{0,12}", Just("192.0.2.1".to_owned()), Just("[2001:db8::1]".to_owned())],
        port in proptest::option::of(1u16..),
        params in proptest::collection::vec(("[a-z]{1,6}", proptest::option::of("[a-z0-9:/.+-]{1,8}")), 0..4),
    ) {
        let mut text = "sip:".to_owned();
        text.extend(user.iter().map(|user| format!("{user}@")));
        text.push_str(&host);
        text.extend(port.iter().map(|port| format!(":{port}")));
        for (name, value) in &params {
            text.push_str(&value.as_ref().map_or(format!(";{name}"), |value| format!(";{name}={value}")));
        }
        let uri = Uri::parse(&text).unwrap();
        prop_assert_eq!((uri.user_raw(), uri.host, uri.port), (user.as_deref(), &*host, port));
        let expect: Vec<_> = params.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        prop_assert_eq!(uri.params().collect::<Vec<_>>(), expect);
        prop_assert!(uri.equals(&uri));
        let escaped: String = text.chars().map(|c| if c == 'q' { "%71".to_owned() } else { c.to_string() }).collect();
        if !host.contains('q') && !params.iter().any(|(name, _)| name.contains('q')) {
            prop_assert!(Uri::parse(&escaped).unwrap().equals(&uri));
        }
    }

    #[test]
    fn answers_find_their_way_back(branch in TOKEN, host in "[a-z]{1,9}", port in 1u16.., rport: bool, source: std::net::SocketAddr) {
        let rport = if rport { ";rport" } else { "" };
        let via = format!("SIP/2.0/UDP {host}:{port};branch={branch}{rport}");
        let text = format!("BYE sip:a SIP/2.0\r\nVia: {via}, {via}\r\nVia: {via}\r\nFrom: sip:a@b;tag=1\r\nTo: sip:c@d\r\nCall-ID: c\r\nCSeq: 5 BYE\r\n\r\n");
        let request = Message::parse(text.into(), Framing::Datagram).unwrap();
        let bytes = respond(&request, source, 481, "Gone", Some("t")).finish();
        let response = Message::parse(bytes, Framing::Datagram).unwrap();
        prop_assert_eq!(response.check_response(), Ok(()));
        let back = response.via().unwrap();
        prop_assert_eq!((back.host, back.port, back.branch(), back.received()), (&*host, Some(port), Some(&*branch), Some(source.ip())));
        prop_assert_eq!(back.rport(), (!rport.is_empty()).then_some(Some(source.port())));
        prop_assert_eq!(response.values(Name::Via).skip(1).collect::<Vec<_>>(), [&via, &via]);
        prop_assert_eq!((response.to().unwrap().tag(), response.cseq()), (Some("t"), Ok(CSeq { number: 5, method: Method::Bye })));
    }

    #[test]
    fn credentials_prove_their_password_and_no_other(user in "[a-z]{1,8}", password in "\\PC{0,12}", other in "\\PC{0,12}", nc in any::<u32>()) {
        let ha1 = ha1_md5(&user, "r", &password);
        let challenge = challenges("r", "n", false, &[DigestAlgorithm::Md5]).remove(0);
        prop_assert!(challenge.contains("nonce=\"n\""));
        let ha2 = md5(&["REGISTER", "sip:r"]);
        let count = format!("{nc:08x}");
        let response = md5(&[&hex::encode(ha1), "n", &count, "c", "auth", &ha2]);
        let value = format!(r#"Digest username="{user}", realm="r", nonce="n", uri="sip:r", response="{response}", qop=auth, nc={count}, cnonce="c""#);
        let credentials = Credentials::parse(&value).unwrap();
        prop_assert_eq!(credentials.nc, Some(nc));
        prop_assert!(verify(&credentials, Ha1::Md5(ha1), "REGISTER"));
        prop_assert_eq!(verify(&credentials, Ha1::Md5(ha1_md5(&user, "r", &other)), "REGISTER"), other == password);
    }

    #[test]
    fn both_sides_of_an_offer_agree(formats in proptest::sample::subsequence(vec!["97", "0", "9", "8", "3", "96", "101", "13"], 1..8), video: bool) {
        let video = if video { "m=video 7 RTP/AVP 31\r\n" } else { "" };
        let maps = "a=rtpmap:96 PCMA/8000\r\na=rtpmap:97 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n";
        let text = format!("v=0\r\no=p 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{video}m=audio 9 RTP/AVP {}\r\n{maps}", formats.join(" "));
        let theirs = Session::parse(&text).unwrap();
        let (local, ours) = ("198.51.100.1:4000".parse().unwrap(), Capabilities::default());
        match answer(&theirs, &ours, local, &mut Origin::new(1, [1; 32])) {
            Ok(negotiated) => {
                let session = Session::parse(&negotiated.answer_text).unwrap();
                prop_assert_eq!(session.media.len(), theirs.media.len());
                // Seen from the other side, our answer to that offer settles the same codec.
                let mirrored = accept_answer(&theirs, &session, &ours).unwrap();
                prop_assert_eq!(mirrored.remote, local);
                let settled = negotiated.audio.unwrap().format;
                prop_assert_eq!((mirrored.format.codec, mirrored.format.payload_type), (settled.codec, settled.payload_type));
            }
            Err(refusal) => {
                prop_assert_eq!(refusal.status, 488);
                prop_assert!(!formats.iter().any(|format| matches!(*format, "0" | "8" | "9" | "96" | "97")));
            }
        }
        let our_text = offer(&ours, local, &mut Origin::new(2, [2; 32]));
        let our_offer = Session::parse(&our_text).unwrap();
        prop_assert!(answer(&our_offer, &ours, "192.0.2.9:9".parse().unwrap(), &mut Origin::new(3, [3; 32])).is_ok());
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "[\\PC\r\n\t\0\"\\\\<>;,=@:?/ ]{0,80}", bytes in any::<Vec<u8>>()) {
        let _ = Uri::parse(&text).map(|uri| (uri.equals(&uri), uri.port_or_default(), uri.host_ip(), uri.user().is_some()));
        let _ = NameAddr::parse(&text).map(|address| (address.display().is_some(), address.q(), address.params().count()));
        let _ = Via::parse(&text).map(|via| (via.received(), via.rport(), via.params().count()));
        let _ = CSeq::parse(&text);
        let _ = Credentials::parse(&text);
        let _ = Credentials::parse(&format!("Digest {text}"));
        let _ = Session::parse(&text);
        let _ = Session::parse(&format!("v=0\r\no=a 1 1 IN IP4 b\r\n{text}"));
        let _ = frame(&bytes, 1000);
        let _ = Message::parse(Bytes::from(bytes), Framing::Datagram);
    }
}

/// MD5 of the parts with colons between them, as lower-case hexadecimal digits.
fn md5(parts: &[&str]) -> String {
    use md5::Digest;
    hex::encode(md5::Md5::digest(parts.join(":")))
}
