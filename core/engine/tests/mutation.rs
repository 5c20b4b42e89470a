//! Mutated messages: nothing panics, and what is let in at the door is sound enough to be answered.
//!
//! The short run makes 100,000 of them; `CORDBOARD_MUTATIONS` says how many instead. The seed is fixed, so a
//! failure comes again; the message that failed is shown.

mod corpus;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use cordboard_engine::sdp::{Capabilities, Origin, Session, answer, offer};
use cordboard_engine::sip::digest::{Credentials, Ha1, verify};
use cordboard_engine::sip::header::{NameAddr, Via};
use cordboard_engine::sip::message::{Framed, Framing, Message, frame};
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::uri::Uri;
use cordboard_engine::sip::write::respond;
use corpus::SAMPLES;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

const SHORT_RUN: usize = 100_000;

/// What faults are often made of.
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\r\n ",
    "\r\n\r\n",
    " ",
    "\t",
    ",",
    ";",
    ";;",
    ":",
    "\"",
    "\\",
    "<",
    ">",
    "@",
    "%",
    "%00",
    "%zz",
    "[",
    "]",
    "[::1]",
    "=",
    "?",
    "*",
    "-1",
    "0",
    "65536",
    "2147483648",
    "4294967296",
    "99999999999999999999",
    "SIP/2.0",
    "sip:",
    "Via: ",
    "l: 0\r\n",
    "Content-Length: 5\r\n",
    "\r\nTo: <sip:x@y>",
    ";tag=",
    ";branch=z9hG4bK",
    ";rport",
    ";lr",
    "ä",
    "☃",
    "v=0\r\n",
    "m=audio 1 RTP/AVP 0\r\n",
];

struct Mutator {
    random: ChaCha12Rng,
    /// The samples that are let in as they are; most mutants descend from them, for they go deepest.
    good: Vec<&'static [u8]>,
}

impl Mutator {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.random.next_u64() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn sample(&mut self) -> &'static [u8] {
        SAMPLES[self.below(SAMPLES.len())].1
    }

    fn message(&mut self) -> Vec<u8> {
        let place = self.below(self.good.len());
        let mut bytes = if self.below(4) == 0 {
            self.sample().to_vec()
        } else {
            self.good[place].to_vec()
        };
        for _ in 0..=self.below(3) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(24)).min(bytes.len());
        match self.below(29) {
            0..4 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            4..8 if at < bytes.len() => bytes[at] = self.random.next_u32().to_le_bytes()[0],
            8..12 => drop(bytes.drain(at..end)),
            12..16 => {
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            16..24 => {
                let piece = PIECES[self.below(PIECES.len())].as_bytes();
                bytes.splice(at..at, piece.iter().copied());
            }
            24..28 => {
                let other = self.sample();
                let from = self.below(other.len());
                let until = (from + self.below(200)).min(other.len());
                bytes.splice(at..end, other[from..until].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
}

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
fn negotiate(session: &Session<'_>) {
    let mut origin = Origin::new(1);
    let (ours, local) = (Capabilities::default(), "192.0.2.1:4000".parse().unwrap());
    if let Ok(negotiated) = answer(session, &ours, local, &mut origin) {
        let back = Session::parse(&negotiated.answer_text).expect("our answers can be read");
        assert_eq!(back.media.len(), session.media.len());
        assert_eq!(back.media.iter().filter(|media| media.port != 0).count(), 1);
    }
    Session::parse(&offer(&ours, local, &mut origin)).expect("our offers can be read");
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
    let bytes = respond(message, "192.0.2.1:5060".parse().unwrap(), 200, "OK", Some("t")).finish();
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
        response.via().unwrap().branch().map(str::to_owned),
        message.via().unwrap().branch().map(kept)
    );
    assert_eq!(
        response.values(Name::Via).count(),
        message.values(Name::Via).count()
    );
    assert_eq!(
        response.from().unwrap().tag().map(str::to_owned),
        message.from().unwrap().tag().map(kept)
    );
    assert!(response.to().unwrap().tag().is_some());
}

fn digest(bytes: &[u8]) -> (bool, bool) {
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

#[test]
fn mutated_messages_do_no_harm() {
    #[allow(clippy::disallowed_methods)] // The tests are told from outside how long to run.
    let wanted = std::env::var("CORDBOARD_MUTATIONS")
        .ok()
        .map_or(SHORT_RUN, |text| text.parse().expect("a number"));
    let good = SAMPLES
        .iter()
        .map(|(_, bytes)| *bytes)
        .filter(|bytes| digest(bytes).1)
        .collect();
    let mut mutator = Mutator {
        random: ChaCha12Rng::seed_from_u64(0xC04D_B0A4),
        good,
    };
    let (mut read, mut let_in) = (0, 0);
    for turn in 0..wanted {
        let bytes = mutator.message();
        match catch_unwind(AssertUnwindSafe(|| digest(&bytes))) {
            Ok((was_read, was_let_in)) => {
                read += usize::from(was_read);
                let_in += usize::from(was_let_in);
            }
            Err(_) => panic!("mutation {turn} did harm: {}", bytes.escape_ascii()),
        }
    }
    println!("{wanted} mutations, {read} read, {let_in} let in");
    assert!(
        read > wanted / 2 && let_in > wanted / 10,
        "the mutations have become too coarse: {read} read, {let_in} let in"
    );
}
