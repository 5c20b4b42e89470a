//! What follows from a request that is there: the ACK and the CANCEL of an INVITE, and where a response goes.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::io::{Flow, Packet, Transport};
use crate::sip::message::{Framing, Message};
use crate::sip::name::Name;
use crate::sip::write::Writer;

/// The ACK or CANCEL of an INVITE that was sent: the same branch, route, call and number.
pub(super) fn follow_up(
    invite: &Packet,
    method: &'static str,
    to: Option<&str>,
    reason: Option<&str>,
) -> Option<Bytes> {
    let invite = Message::parse(invite.head.clone(), Framing::Datagram).ok()?;
    let number = invite.cseq().ok()?.number;
    let mut request = Writer::request(method, invite.request_uri());
    for name in [Name::Via, Name::Route] {
        for value in invite.headers(name) {
            request = request.header(name.text(), value);
        }
    }
    if let Some(reason) = reason {
        request = request.header("Reason", reason);
    }
    let request = request
        .header("Max-Forwards", 70)
        .header("From", invite.header(Name::From)?)
        .header("To", to.or_else(|| invite.header(Name::To))?)
        .header("Call-ID", invite.call_id())
        .header("CSeq", format_args!("{number} {method}"));
    Some(request.finish())
}

/// Where a response goes whose connection is gone: by a new one to where its request came from and the port that it
/// names (RFC 3261 section 18.2.2). `None` where none can be made.
pub(crate) fn response_flow_anew(request: &Message, flow: Flow) -> Option<Flow> {
    let usual = match flow.transport {
        Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Udp | Transport::Ws | Transport::Wss => return None,
    };
    let port = request.via().ok()?.port.unwrap_or(usual);
    Some(Flow {
        peer: SocketAddr::new(flow.peer.ip(), port),
        connection: 0,
        ..flow
    })
}

/// Where a response goes: RFC 3261 section 18.2.2 and RFC 3581.
pub(crate) fn response_flow(request: &Message, flow: Flow) -> Flow {
    if flow.transport != Transport::Udp {
        return flow;
    }
    match request.via() {
        Ok(via) if via.param("rport").is_none() => Flow {
            peer: SocketAddr::new(flow.peer.ip(), via.port.unwrap_or(5060)),
            ..flow
        },
        _ => flow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_its_connection_goes_to_the_port_of_the_via() {
        let cases = [
            (Transport::Tcp, "192.0.2.9:5099", Some(5099)),
            (Transport::Tcp, "phone.example", Some(5060)),
            (Transport::Tls, "phone.example", Some(5061)),
            (Transport::Ws, "phone.invalid", None),
        ];
        for (transport, sent_by, port) in cases {
            let text = format!(
                "INVITE sip:bob@lab.test SIP/2.0\r\nVia: SIP/2.0/{} {sent_by};branch=z9hG4bKa\r\n\r\n",
                transport.via()
            );
            let request = Message::parse(text.into_bytes().into(), Framing::Datagram).unwrap();
            let flow = Flow {
                transport,
                listener: 1,
                peer: "198.51.100.1:40000".parse().unwrap(),
                connection: 7,
            };
            let anew = response_flow_anew(&request, flow);
            let expected = port.map(|port| (SocketAddr::new(flow.peer.ip(), port), 0));
            assert_eq!(anew.map(|flow| (flow.peer, flow.connection)), expected);
        }
    }
}
