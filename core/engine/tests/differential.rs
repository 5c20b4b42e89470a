//! The corpus read by us and by the crate `rsip`: where the two differ, the table says why we are right.
//!
//! A difference that is not in the table, and an entry that is none any more, fail the test.

mod corpus;

use std::panic::catch_unwind;

use bytes::Bytes;
use cordboard_engine::sip::header::NameAddr;
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::uri::Uri;
use corpus::SAMPLES;
use rsip::SipMessage;
use rsip::message::{HasHeaders, HeadersExt};
use rsip::prelude::{ToTypedHeader, UntypedHeader};

/// What is compared, each as a text; `None` where it cannot be read.
const ASPECTS: [&str; 9] = [
    "start", "headers", "call-id", "cseq", "from", "to", "via", "contact", "body",
];
type Reading = [Option<String>; ASPECTS.len()];

fn side(user: Option<String>, host: String, port: Option<u16>, tag: Option<String>) -> String {
    format!(
        "{} at {host} {} tag {}",
        user.unwrap_or_default(),
        port.unwrap_or(0),
        tag.unwrap_or_default()
    )
}

fn ours(bytes: &'static [u8]) -> Option<Reading> {
    let message = Message::parse(Bytes::from_static(bytes), Framing::Datagram).ok()?;
    let address = |address: NameAddr<'_>| {
        let uri = Uri::parse(address.uri).ok()?;
        Some(side(
            uri.user_raw().map(str::to_owned),
            uri.host.to_owned(),
            uri.port,
            address.tag().map(str::to_owned),
        ))
    };
    let start = if message.is_request() {
        format!("{} {}", message.method_text(), message.request_uri())
    } else {
        message.status().to_string()
    };
    let via = message.via().ok().map(|via| {
        format!(
            "{} {} {}",
            via.host,
            via.port.unwrap_or(0),
            via.branch().unwrap_or_default()
        )
    });
    Some([
        Some(start),
        Some(message.all_headers().count().to_string()),
        message.header(Name::CallId).map(str::to_owned),
        message
            .cseq()
            .ok()
            .map(|cseq| format!("{} {}", cseq.number, message.cseq_method_text())),
        message.from().ok().and_then(address),
        message.to().ok().and_then(address),
        via,
        message.contacts().next().and_then(Result::ok).and_then(address),
        Some(format!("{} bytes", message.body().len())),
    ])
}

fn theirs(bytes: &'static [u8]) -> Option<Reading> {
    let message = SipMessage::try_from(bytes).ok()?;
    let address = |uri: &rsip::Uri, tag: Option<String>| {
        let host = uri.host_with_port.host.to_string();
        side(
            uri.auth.as_ref().map(|auth| auth.user.clone()),
            host,
            uri.port().map(|port| *port.value()),
            tag,
        )
    };
    let start = match &message {
        SipMessage::Request(request) => format!("{} {}", request.method(), request.uri()),
        SipMessage::Response(response) => response.status_code().code().to_string(),
    };
    let tag = |tag: Option<&rsip::param::Tag>| tag.map(ToString::to_string);
    let from = message.from_header().ok().and_then(|header| header.typed().ok());
    let to = message.to_header().ok().and_then(|header| header.typed().ok());
    let via = message.via_header().ok().and_then(|header| header.typed().ok());
    let contact = message
        .contact_header()
        .ok()
        .and_then(|header| header.typed().ok());
    Some([
        Some(start),
        Some(message.headers().iter().count().to_string()),
        message
            .call_id_header()
            .ok()
            .map(|header| header.value().to_owned()),
        message
            .cseq_header()
            .ok()
            .and_then(|header| header.typed().ok())
            .map(|cseq| format!("{} {}", cseq.seq, cseq.method)),
        from.map(|from| address(&from.uri, tag(from.tag()))),
        to.map(|to| address(&to.uri, tag(to.tag()))),
        via.map(|via| {
            let port = via.uri.port().map_or(0, |port| *port.value());
            format!(
                "{} {port} {}",
                via.uri.host(),
                via.branch().map(ToString::to_string).unwrap_or_default()
            )
        }),
        contact.map(|contact| address(&contact.uri, None)),
        Some(format!("{} bytes", message.body().len())),
    ])
}

const IPV6: &str = "rsip reads no IPv6 address in brackets";

/// Message, aspect, and why ours is the right reading.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "browser-register",
        "contact",
        "rsip cannot read a Contact with +sip.instance",
    ),
    (
        "comma-in-bare-display-name",
        "from",
        "a comma separates addresses (RFC 4475 section 3.1.2.15), rsip takes it into the name",
    ),
    (
        "contact-with-route-header",
        "contact",
        "rsip cannot read the headers of a URI",
    ),
    (
        "escapes-in-uris",
        "call-id",
        "rsip does not know the compact form of Call-ID",
    ),
    (
        "every-token-character",
        "all",
        "rsip takes letters only into a method",
    ),
    (
        "header-in-request-uri",
        "all",
        "read so that it can be answered with 400",
    ),
    (
        "long-values",
        "from",
        "rsip does not know the compact form of From",
    ),
    ("not-utf8", "all", "read so that it can be answered with 400"),
    (
        "numbers-too-large-in-request",
        "all",
        "read so that it can be answered with 400",
    ),
    (
        "other-schemes-in-headers",
        "from",
        "other schemes are kept whole, not taken apart like sip",
    ),
    (
        "other-schemes-in-headers",
        "to",
        "other schemes are read; rsip fails on isbn",
    ),
    (
        "other-schemes-in-headers",
        "contact",
        "other schemes are read; rsip fails on name",
    ),
    (
        "percent-in-method",
        "all",
        "rsip takes letters only into a method",
    ),
    (
        "phone-invite",
        "contact",
        "rsip cannot read a Contact with +sip.instance",
    ),
    (
        "quote-without-end",
        "to",
        "a quote that does not end is refused, rsip takes it into the name",
    ),
    (
        "semicolon-in-user",
        "all",
        "rsip ends the user part at a semicolon",
    ),
    (
        "space-after-version",
        "all",
        "read so that it can be answered with 400",
    ),
    (
        "space-in-request-uri",
        "all",
        "read so that it can be answered with 400",
    ),
    (
        "spaced-and-folded",
        "all",
        "rsip knows neither folding nor white space before colons",
    ),
    (
        "stray-separators",
        "via",
        "empty parameters are refused (RFC 4475 section 3.1.2.1), rsip skips them",
    ),
    (
        "stray-separators",
        "contact",
        "empty parameters are refused, rsip skips them",
    ),
    (
        "two-in-one-datagram",
        "call-id",
        "rsip does not know the compact form of Call-ID",
    ),
    (
        "two-in-one-datagram",
        "body",
        "rsip does not look at Content-Length",
    ),
    (
        "two-spaces-in-request-line",
        "all",
        "read so that it can be answered with 400",
    ),
    (
        "unknown-method-is-not-that-of-cseq",
        "all",
        "rsip knows no methods but its own",
    ),
    (
        "unknown-scheme",
        "all",
        "read so that it can be answered with 416",
    ),
    ("v4-mapped", "all", IPV6),
    ("v6-and-v4-in-headers", "via", IPV6),
    ("v6-and-v4-in-headers", "contact", IPV6),
    ("v6-and-v4-in-sdp", "all", IPV6),
    ("v6-everywhere", "all", IPV6),
    ("v6-in-sdp", "all", IPV6),
    ("v6-port-after-brackets", "all", IPV6),
    ("v6-port-inside-brackets", "all", IPV6),
    ("v6-received-in-brackets", "all", IPV6),
    ("v6-received-without-brackets", "all", IPV6),
    (
        "v6-with-three-colons",
        "all",
        "read so that it can be answered with 400",
    ),
    (
        "v6-without-brackets",
        "all",
        "read so that it can be answered with 400",
    ),
    ("version-seven", "all", "read so that it can be answered with 505"),
];

#[test]
fn every_difference_is_explained() {
    let mut found = Vec::new();
    for (name, bytes) in SAMPLES {
        let ours = ours(bytes);
        let theirs = catch_unwind(|| theirs(bytes)).unwrap_or(None);
        match (&ours, &theirs) {
            (Some(ours), Some(theirs)) => {
                let differing = ASPECTS
                    .iter()
                    .zip(ours.iter().zip(theirs))
                    .filter(|(_, (ours, theirs))| ours != theirs);
                found.extend(
                    differing
                        .map(|(aspect, (ours, theirs))| (*name, *aspect, format!("{ours:?} / {theirs:?}"))),
                );
            }
            (None, None) => {}
            _ => found.push((
                name,
                "all",
                format!("read by us: {}, by rsip: {}", ours.is_some(), theirs.is_some()),
            )),
        }
    }
    for (name, aspect, difference) in &found {
        println!("{name}\t{aspect}\t{difference}");
    }
    let keys: Vec<_> = found.iter().map(|(name, aspect, _)| (*name, *aspect)).collect();
    let known: Vec<_> = KNOWN.iter().map(|(name, aspect, _)| (*name, *aspect)).collect();
    let unexplained: Vec<_> = found
        .iter()
        .filter(|(name, aspect, _)| !known.contains(&(name, aspect)))
        .collect();
    let gone: Vec<_> = known.iter().filter(|key| !keys.contains(key)).collect();
    assert!(
        unexplained.is_empty() && gone.is_empty(),
        "unexplained: {unexplained:#?}, gone: {gone:#?}"
    );
}
