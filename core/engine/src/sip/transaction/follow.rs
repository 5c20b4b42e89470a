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
