//! How often the text layer allocates: the index of a message once, its views never.

mod corpus;
mod counting;

use bytes::Bytes;
use cordboard_engine::sip::message::{Framing, Message, frame};
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::uri::Uri;
use cordboard_engine::sip::write::respond;
use corpus::sample;
use counting::allocations;

#[test]
fn a_message_is_indexed_with_one_allocation_and_read_with_none() {
    let raw = Bytes::from_static(sample("phone-invite"));
    assert_eq!(allocations(|| frame(&raw, 65_536)), 0);
    assert_eq!(
        allocations(|| Message::parse(raw.clone(), Framing::Datagram).unwrap()),
        1
    );
    let message = Message::parse(raw, Framing::Datagram).unwrap();
    let views = allocations(|| {
        message.check_request().unwrap();
        let _ = (
            message.via().unwrap().branch(),
            message.cseq().unwrap(),
            message.call_id(),
        );
        let _ = (message.from().unwrap().tag(), message.to().unwrap().tag());
        let contact = message.contacts().next().unwrap().unwrap();
        let _ = (contact.display(), Uri::parse(contact.uri).unwrap().user());
        message.values(Name::Supported).count() + message.body_slice().len()
    });
    assert_eq!(views, 0);
}

#[test]
fn what_was_received_in_a_buffer_of_its_own_costs_one_more_to_share() {
    let own = Bytes::from(sample("phone-invite").to_vec());
    let mut message = None;
    // The index, and what the sharers of the buffer share.
    let parsed = allocations(|| message = Message::parse(own, Framing::Datagram).ok());
    assert_eq!(parsed, 2);
    assert_eq!(allocations(|| message.unwrap().body()), 0);
}

#[test]
fn a_response_is_written_into_one_buffer() {
    let message = Message::parse(Bytes::from_static(sample("phone-invite")), Framing::Datagram).unwrap();
    let source = "192.0.2.44:5060".parse().unwrap();
    // The buffer, and what the Bytes made of it shares.
    assert!(allocations(|| respond(&message, source, 100, "Trying", None).finish()) <= 2);
}
