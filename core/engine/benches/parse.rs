//! What reading and writing SIP costs, beside the crate `rsip`: `cargo bench -p cordboard-engine`.
//!
//! Times are of the machine it runs on; the ratios and the allocations say more. Ours and theirs run in turns, many
//! short ones, and the best of each counts: what disturbs the machine meanwhile disturbs both.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads the clock"
)]
#![allow(clippy::print_stdout, reason = "its result is what it prints")]

#[path = "../tests/counting/mod.rs"]
mod counting;

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use cordboard_engine::sdp::{Capabilities, Origin, Session, answer};
use cordboard_engine::sip::digest::Credentials;
use cordboard_engine::sip::message::{Framing, Message, frame};
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::uri::Uri;
use cordboard_engine::sip::write::respond;
use counting::allocations;
use rsip::message::HeadersExt;
use rsip::prelude::ToTypedHeader;

const INVITE: &[u8] = include_bytes!("../../../tests/corpus/sip/phone-invite.sip");
/// How often ours and theirs take turns, and how much each does in one: a millisecond or so.
const TURNS: u32 = 100;
const ROUNDS: u32 = 500;

fn parse() -> Message {
    Message::parse(Bytes::from_static(INVITE), Framing::Datagram).expect("a good message")
}

fn typed(message: &Message) -> usize {
    let via = message.via().expect("a Via");
    let (from, to) = (message.from().expect("a From"), message.to().expect("a To"));
    let cseq = message.cseq().expect("a CSeq");
    let contact = message.contacts().next().expect("a Contact").expect("a good one");
    via.host.len() + from.uri.len() + to.uri.len() + usize::from(cseq.number > 0) + contact.uri.len()
}

fn rsip_parse() -> rsip::SipMessage {
    rsip::SipMessage::try_from(INVITE).expect("a good message")
}

/// The Contact is left out: rsip cannot read it.
fn rsip_typed(message: &rsip::SipMessage) -> usize {
    let via = message.via_header().expect("a Via").typed().expect("a good one");
    let from = message
        .from_header()
        .expect("a From")
        .typed()
        .expect("a good one");
    let to = message.to_header().expect("a To").typed().expect("a good one");
    let cseq = message
        .cseq_header()
        .expect("a CSeq")
        .typed()
        .expect("a good one");
    via.params.len() + from.params.len() + to.params.len() + usize::from(cseq.seq > 0)
}

/// Nanoseconds a round, of one turn.
fn turn(work: &dyn Fn() -> usize) -> f64 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(work());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

fn row(name: &str, work: &dyn Fn() -> usize, other: Option<&dyn Fn() -> usize>) {
    let (mut ours, mut theirs) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..TURNS {
        ours = ours.min(turn(work));
        theirs = theirs.min(other.map_or(f64::INFINITY, turn));
    }
    print!("{name:28} {ours:8.0} ns {:4} allocations", allocations(work));
    if let Some(other) = other {
        print!(
            "   rsip {theirs:8.0} ns {:4} allocations   {:5.1} times",
            allocations(other),
            theirs / ours
        );
    }
    println!();
}

fn main() {
    println!("INVITE of {} bytes", INVITE.len());
    let message = parse();
    let source = "192.0.2.44:5060".parse().expect("an address");
    let sdp = std::str::from_utf8(message.body_slice())
        .expect("text")
        .to_owned();
    row(
        "parse",
        &|| parse().body_slice().len(),
        Some(&|| usize::from(rsip_parse().is_request())),
    );
    row(
        "parse, five headers typed",
        &|| typed(&parse()),
        Some(&|| rsip_typed(&rsip_parse())),
    );
    row(
        "parse, check",
        &|| usize::from(parse().check_request().is_ok()),
        None,
    );
    row("check", &|| usize::from(message.check_request().is_ok()), None);
    let contact = message.contacts().next().expect("a Contact").expect("a good one");
    row(
        "URI",
        &|| Uri::parse(contact.uri).map_or(0, |uri| uri.host.len()),
        None,
    );
    let credentials = message.header(Name::Authorization).expect("one");
    row(
        "credentials",
        &|| Credentials::parse(credentials).map_or(0, |credentials| credentials.uri.len()),
        None,
    );
    row("frame", &|| usize::from(frame(INVITE, 65_536).is_ok()), None);
    row(
        "respond 100",
        &|| respond(&message, source, 100, "Trying", None).finish().len(),
        None,
    );
    row(
        "read SDP and answer",
        &|| {
            let session = Session::parse(&sdp).expect("a good one");
            answer(
                &session,
                &Capabilities::default(),
                source,
                &mut Origin::new(1, [1; 32]),
            )
            .expect("taken")
            .answer_text
            .len()
        },
        None,
    );
}
