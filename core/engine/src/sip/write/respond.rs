//! The response to a request: what RFC 3261 section 8.2.6 copies from it, and what RFC 3581 adds.

use std::net::{IpAddr, SocketAddr};

use memchr::memchr;

use super::{Short, Writer};
use crate::sip::header::Via;
use crate::sip::message::Message;
use crate::sip::name::Name;

/// Begins a response with every Via (the topmost with `received` and `rport` by `source`, where the request
/// came from), From, To (with `to_tag` if it has none), Call-ID, CSeq, and Timestamp on a 100.
pub fn respond(
    request: &Message,
    source: SocketAddr,
    status: u16,
    phrase: &str,
    to_tag: Option<&str>,
) -> Writer {
    let mut writer = Writer::response(status, phrase);
    let topmost = request.via();
    if let Ok(via) = topmost {
        stamp(&mut writer, via, source);
    }
    if !(topmost.is_ok() && has_one_via(request)) {
        for element in request.values(Name::Via).skip(usize::from(topmost.is_ok())) {
            writer.add_pieces("Via", [element]);
        }
    }
    let writer = writer.copy(request, Name::From);
    let writer = match (request.header(Name::To), to_tag) {
        (Some(to), Some(tag)) if lacks_tag(request) => writer.pieces("To", [to, ";tag=", tag]),
        (Some(to), _) => writer.pieces("To", [to]),
        (None, _) => writer,
    };
    let writer = writer.copy(request, Name::CallId).copy(request, Name::CSeq);
    if status == 100 {
        writer.copy(request, Name::Timestamp)
    } else {
        writer
    }
}

/// Whether there is clearly nothing behind the topmost Via, as in nearly every request from a phone.
fn has_one_via(request: &Message) -> bool {
    let mut headers = request.headers(Name::Via);
    let first = headers.next();
    first.is_some_and(|value| memchr(b',', value.as_bytes()).is_none()) && headers.next().is_none()
}

/// A To that cannot be read gets a tag all the same: the answer then names at least its sender.
fn lacks_tag(request: &Message) -> bool {
    request.to().map_or(true, |to| to.tag().is_none())
}

/// Adds the topmost Via as it goes back: what the sender itself claimed to have been received from is replaced.
fn stamp(writer: &mut Writer, via: Via<'_>, source: SocketAddr) {
    let line = writer.begin("Via");
    for piece in ["SIP/2.0/", via.transport, " ", via.host] {
        writer.put(piece);
    }
    if let Some(port) = via.port {
        writer.put(":");
        writer.put(Short::number(port.into()).as_str());
    }
    let port = Short::number(source.port().into());
    let mut rport = false;
    for (name, value) in via.params() {
        let value = match value {
            _ if name.eq_ignore_ascii_case("received") => continue,
            _ if name.eq_ignore_ascii_case("rport") => {
                rport = true;
                Some(port.as_str())
            }
            value => value,
        };
        writer.put(";");
        writer.put(name);
        if let Some(value) = value {
            writer.put("=");
            writer.put(value);
        }
    }
    if rport || !names(via.host, source.ip()) {
        writer.put(";received=");
        writer.put(Short::ip(source.ip()).as_str());
    }
    writer.end(line);
}

/// Whether the host of sent-by is this address; a name never is (RFC 3261 section 18.2.1).
fn names(host: &str, address: IpAddr) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse() == Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Framing;

    #[track_caller]
    fn answer(head: &str, source: &str, status: u16) -> String {
        let text = format!("OPTIONS sip:a SIP/2.0\r\n{head}\r\n\r\n");
        let request = Message::parse(text.into(), Framing::Datagram).unwrap();
        let bytes = respond(&request, source.parse().unwrap(), status, "X", Some("t")).into_head();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn every_via_goes_back_and_the_topmost_says_where_it_came_from() {
        let head = "v: SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bKa;received=1.2.3.4 , SIP/2.0/TCP b;received=9.9.9.9\r\nVia: SIP/2.0/UDP c";
        let expect = "SIP/2.0 200 X\r\nVia: SIP/2.0/UDP 10.0.0.1:5070;rport=6000;branch=z9hG4bKa;received=10.0.0.1\r\n\
                      Via: SIP/2.0/TCP b;received=9.9.9.9\r\nVia: SIP/2.0/UDP c\r\n";
        assert_eq!(answer(head, "10.0.0.1:6000", 200), expect);
        let cases = [
            ("10.0.0.1", "10.0.0.1:6000", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.2:6000", "10.0.0.1;received=10.0.0.2"),
            ("host.example", "10.0.0.2:6000", "host.example;received=10.0.0.2"),
            ("[2001:DB8::1]:5", "[2001:db8::1]:5", "[2001:DB8::1]:5"),
            ("[::2]", "[2001:db8::1]:5", "[::2];received=2001:db8::1"),
        ];
        for (sent_by, source, expect) in cases {
            let expect = format!("SIP/2.0 200 X\r\nVia: SIP/2.0/UDP {expect}\r\n");
            assert_eq!(
                answer(&format!("Via: SIP/2.0/UDP {sent_by}"), source, 200),
                expect
            );
        }
    }

    #[test]
    fn a_tag_is_added_only_where_there_is_none() {
        let to = |value: &str| {
            answer(&format!("To: {value}"), "1.1.1.1:5", 200)
                .lines()
                .nth(1)
                .unwrap()
                .to_owned()
        };
        assert_eq!(to("<sip:a@b>"), "To: <sip:a@b>;tag=t");
        assert_eq!(to("sip:a@b"), "To: sip:a@b;tag=t");
        assert_eq!(
            to("\"tag=x\" <sip:a@b;tag=y>"),
            "To: \"tag=x\" <sip:a@b;tag=y>;tag=t"
        );
        assert_eq!(to("<sip:a@b>;TAG=z"), "To: <sip:a@b>;TAG=z");
    }

    #[test]
    fn the_timestamp_goes_back_on_100_only() {
        let head = "From: <sip:a@b>;tag=1\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nTimestamp: 54.2\r\nSubject: s";
        let common = "From: <sip:a@b>;tag=1\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n";
        assert_eq!(
            answer(head, "1.1.1.1:5", 100),
            format!("SIP/2.0 100 X\r\n{common}Timestamp: 54.2\r\n")
        );
        assert_eq!(
            answer(head, "1.1.1.1:5", 200),
            format!("SIP/2.0 200 X\r\n{common}")
        );
    }
}
