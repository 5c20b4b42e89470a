//! What must hold for every message, whoever made it: shared by the mutations and the fuzz targets.

use bytes::Bytes;
use cordboard_engine::sdp::rtc::{Bundle, Terms, Wanted, is_webrtc};
use cordboard_engine::sdp::{Capabilities, Origin, Session, answer, offer};
use cordboard_engine::sip::digest::{Credentials, Ha1, verify};
use cordboard_engine::sip::header::{NameAddr, Via};
use cordboard_engine::sip::message::{Framed, Framing, Message, frame};
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::uri::Uri;
use cordboard_engine::sip::write::respond;
use cordboard_model::LegId;
use cordboard_model::media::peer::{Candidate, IceCredentials, LocalPeer, VideoSource};

/// Reads everything that can be read of a message.
fn read_all(message: &Message) {
    let _ = (
        message.method_text(),
        message.request_uri(),
        message.reason(),
        format!("{message:?}"),
    );
    let _ = (
        message.expires(),
        message.max_forwards(),
        message.other("x-unknown"),
    );
    let _ = Uri::parse(message.request_uri()).map(|uri| {
        (
            uri.equals(&uri),
            uri.host_ip(),
            uri.port_or_default(),
            uri.headers().count(),
        )
    });
    for name in Name::ALL {
        for value in message.values(*name) {
            let _ = NameAddr::parse(value).map(|a| {
                (
                    a.display().is_some(),
                    a.q(),
                    a.params().count(),
                    Uri::parse(a.uri).is_ok(),
                )
            });
            let _ = Via::parse(value).map(|via| (via.received(), via.rport(), via.params().count()));
        }
        for value in message.headers(*name) {
            assert!(
                !value.contains(['\r', '\n']) || message.check_request().is_err(),
                "a line break in {name}"
            );
            let _ = Credentials::parse(value)
                .map(|credentials| verify(&credentials, Ha1::Md5([0; 16]), "INVITE"));
        }
    }
    if let Ok(session) = std::str::from_utf8(message.body_slice())
        .map_err(drop)
        .and_then(|text| Session::parse(text).map_err(drop))
    {
        negotiate(&session);
    }
}

/// An answer has as many streams as its offer and can be read.
pub(crate) fn negotiate(session: &Session<'_>) {
    let mut origin = Origin::new(1, [1; 32]);
    let (ours, local) = (
        Capabilities::default(),
        "192.0.2.1:4000".parse().expect("an address"),
    );
    if let Ok(negotiated) = answer(session, &ours, local, &mut origin) {
        let back = Session::parse(&negotiated.answer_text).expect("our answers can be read");
        assert_eq!(back.media.len(), session.media.len());
        assert_eq!(back.media.iter().filter(|media| media.port != 0).count(), 1);
    }
    Session::parse(&offer(&ours, local, &mut origin)).expect("our offers can be read");
    negotiate_with_peer(session, &ours);
}

/// The same with a WebRTC peer; and whatever a description says as an answer to ours, ours can be read.
fn negotiate_with_peer(session: &Session<'_>, audio: &Capabilities) {
    let local = LocalPeer {
        ice: IceCredentials {
            ufrag: "ours".into(),
            pwd: "0123456789abcdefghijkl".to_owned().into(),
        },
        fingerprint: [1; 32],
        candidates: vec![Candidate {
            address: "192.0.2.1:10000".parse().expect("an address"),
            tcp: false,
        }],
    };
    let terms = Terms {
        audio,
        video: true,
        voices: true,
    };
    let seen = [2, 3].map(|number| Wanted {
        source: VideoSource {
            leg: LegId(number),
            mid: "1".into(),
        },
        label: number.to_string(),
    });
    let mut number = 0;
    let mut chance = || {
        number += 1 << 32;
        number
    };
    for first in [true, false] {
        let mut origin = Origin::new(1, [1; 32]);
        let mut bundle = Bundle::default();
        bundle.open(local.clone());
        if first && let Ok(text) = bundle.answer(session, terms, &mut origin, &mut chance) {
            let back = Session::parse(&text).expect("our answers can be read");
            assert_eq!(back.media.len(), session.media.len());
            assert!(is_webrtc(&back));
        }
        let text = bundle.offer(&seen, terms, &mut origin, &mut chance);
        Session::parse(&text).expect("our offers can be read");
        if let Ok(mut bundle) = bundle.answered(session, terms) {
            let text = bundle.offer(&[], terms, &mut origin, &mut chance);
            Session::parse(&text).expect("our offers can be read");
            let _ = bundle.setup(true, true);
        }
    }
}

/// What holds for every request that is let in.
fn check_let_in(message: &Message) {
    let again =
        Message::parse(message.raw().clone(), Framing::Datagram).expect("what was read can be read again");
    assert_eq!(&again, message);
    if message.header(Name::ContentLength).is_some() {
        assert_eq!(
            frame(message.raw(), usize::MAX),
            Ok(Framed::Message(message.raw().len())),
            "stream and datagram see one length"
        );
    }
    let bytes = respond(
        message,
        "192.0.2.1:5060".parse().expect("an address"),
        200,
        "OK",
        Some("t"),
    )
    .finish();
    let response = Message::parse(bytes, Framing::Stream).expect("our responses can be read");
    assert_eq!(response.check_response(), Ok(()));
    // An escaped NUL is written as a space.
    let kept = |text: &str| text.replace('\0', " ");
    assert_eq!(response.call_id(), kept(message.call_id()));
    assert_eq!(
        (response.cseq(), response.cseq_method_text()),
        (message.cseq(), message.method_text())
    );
    assert_eq!(
        response.via().expect("checked").branch().map(str::to_owned),
        message.via().expect("checked").branch().map(kept)
    );
    assert_eq!(
        response.values(Name::Via).count(),
        message.values(Name::Via).count()
    );
    assert_eq!(
        response.from().expect("checked").tag().map(str::to_owned),
        message.from().expect("checked").tag().map(kept)
    );
    assert!(response.to().expect("checked").tag().is_some());
}

/// Reads a message in every way there is; whether it could be read, and whether it was let in.
///
/// # Panics
/// Something does not hold that must hold for every input.
pub(crate) fn digest(bytes: &[u8]) -> (bool, bool) {
    let _ = frame(bytes, 64 * 1024);
    let _ = Message::parse(Bytes::copy_from_slice(bytes), Framing::Stream);
    let Ok(message) = Message::parse(Bytes::copy_from_slice(bytes), Framing::Datagram) else {
        return (false, false);
    };
    read_all(&message);
    let let_in = message.check_request().is_ok();
    if let_in {
        check_let_in(&message);
    }
    (true, let_in)
}
