//! The way to a contact that a phone has registered.

use crate::config::Listener;
use crate::engine::Engine;
use crate::io::{Flow, Transport};
use crate::sip::dialog::address_in;
use crate::sip::grammar::List;
use crate::sip::message::Refusal;
use crate::sip::own::Own;
use crate::sip::registrar::Binding;
use crate::sip::uri::{Uri, contains};
use crate::sip::write::Writer;

impl Engine {
    /// The flow to a contact outside any dialog: that of its registration, or by TCP where a contact that was
    /// registered by UDP asks for that (RFC 3263 section 4.1), can be connected to, and we take TCP.
    pub(crate) fn contact_flow(&self, binding: &Binding) -> Flow {
        self.flow_by(binding, registered_flow(binding, &self.directory.own))
    }

    /// The same for one whose [`registered_flow`] is known.
    pub(crate) fn flow_by(&self, binding: &Binding, registered: Flow) -> Flow {
        let by_tcp = asks_for_tcp(binding).then(|| self.by_tcp(registered));
        by_tcp
            .flatten()
            .unwrap_or_else(|| self.by_its_family(registered, binding.flow))
    }

    /// The same way from a socket of ours that is of its peer's IP family: a hop of the Path, or the Contact, may be of
    /// another one than the REGISTER came by. Where we have none, connections are made all the same, and on UDP the
    /// way that the REGISTER came by is the only one.
    fn by_its_family(&self, flow: Flow, came: Flow) -> Flow {
        let own = self.config.listeners[usize::from(flow.listener)].address;
        if flow.connection != 0 || own.is_ipv4() == flow.peer.is_ipv4() {
            return flow;
        }
        let other = if flow.transport.reliable() { flow } else { came };
        self.by(flow.transport, flow).unwrap_or(other)
    }

    /// The same way by TCP.
    pub(crate) fn by_tcp(&self, flow: Flow) -> Option<Flow> {
        self.by(Transport::Tcp, flow)
    }

    /// The same way by this transport, from our first socket of its peer's IP family, on connections by one that is
    /// there or a new one; `None` where we have no such socket.
    pub(crate) fn by(&self, transport: Transport, flow: Flow) -> Option<Flow> {
        let is_it = |listener: &Listener| {
            // Each socket is of one family, `[::]` too.
            listener.transport == transport && listener.address.is_ipv4() == flow.peer.is_ipv4()
        };
        let place = self.config.listeners.iter().position(is_it)?;
        Some(Flow {
            transport,
            listener: u16::try_from(place).ok()?,
            connection: 0,
            ..flow
        })
    }
}

/// The flow of a registration: the connection that it came on while that lives, or on UDP the way that a phone keeps
/// alive itself (RFC 5626); otherwise its first Path hop, or the address that its URI names, unless that is one behind a
/// NAT, or on our own machine, which this phone may not lead us to.
pub(crate) fn registered_flow(binding: &Binding, own: &Own) -> Flow {
    if binding.flow.connection != 0 || is_kept(binding) {
        return binding.flow;
    }
    let from = binding.flow.peer.ip();
    let named = |uri: &str| address_in(uri).filter(|named| own.may_lead(from, *named));
    let first = List::new(&binding.path).next();
    if let Some(hop) = first.and_then(|first| named(first.trim_matches(['<', '>']))) {
        return Flow {
            peer: hop,
            ..binding.flow
        };
    }
    match named(&binding.contact) {
        Some(peer) if peer.ip() == binding.flow.peer.ip() => Flow { peer, ..binding.flow },
        // The source port of a connection that is gone leads nowhere: only the named one can.
        Some(peer) if binding.flow.transport.reliable() => Flow { peer, ..binding.flow },
        _ => binding.flow,
    }
}

/// Whether a phone on UDP wants to be called by TCP at the address that it came from; into a NAT no connection can be
/// made.
fn asks_for_tcp(binding: &Binding) -> bool {
    let asked = || {
        let uri = Uri::parse(&binding.contact).ok();
        let named = uri.and_then(|uri| uri.param("transport"));
        named.is_some_and(|named| named.eq_ignore_ascii_case("tcp"))
    };
    // What most phones do not have comes first: this is asked for every message, and reading a URI is work.
    binding.flow.transport == Transport::Udp
        && binding.path.is_empty()
        && !is_kept(binding)
        && contains(&binding.contact, "tcp")
        && asked()
        && address_in(&binding.contact).is_some_and(|named| named.ip() == binding.flow.peer.ip())
}

/// The values of a stored Path, as a route set.
pub(crate) fn routes(path: &str) -> Vec<String> {
    List::new(path).map(str::to_owned).collect()
}

/// Whether there is a way to a contact: over TCP and TLS a connection can be made anew, a WebSocket's
/// other end cannot be called. One that asks for TLS is not called in clear.
pub(crate) fn reachable(binding: &Binding) -> bool {
    let transport = binding.flow.transport;
    let can_be_called = binding.flow.connection != 0 || !matches!(transport, Transport::Ws | Transport::Wss);
    can_be_called && (transport.encrypted() || !is_sips(&binding.contact))
}

/// Whether what is sent to a contact goes by TLS on each hop: it has registered by that, and where a proxy stands
/// before it, it asks that of the proxy too (RFC 5630 section 3.1.3).
pub(crate) fn is_secure(binding: &Binding) -> bool {
    binding.flow.transport.encrypted() && (binding.path.is_empty() || is_sips(&binding.contact))
}

/// Whether a URI asks for TLS on each hop.
pub(crate) fn is_sips(uri: &str) -> bool {
    let scheme = uri.as_bytes().get(..5);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}

/// A request to a `sips:` URI that could only go on in clear (RFC 5630 section 5.3), or has come so. Its sender may ask
/// again with `sip:`, knowing what that is.
pub(crate) const NOT_IN_CLEAR: Refusal = Refusal {
    status: 480,
    phrase: "SIPS Not Allowed",
    reason: "sips_not_allowed",
};

/// The warning that tells such a 480 from any other (RFC 5630 section 6.1).
pub(crate) fn warn_of_sips(response: Writer) -> Writer {
    response.header(
        "Warning",
        format_args!("380 cordboard \"{}\"", NOT_IN_CLEAR.phrase),
    )
}

/// Whether a phone keeps the way open by which it has registered, and is to be reached by that: on UDP.
pub(crate) fn is_kept(binding: &Binding) -> bool {
    !binding.instance.is_empty() && binding.path.is_empty() && binding.flow.transport == Transport::Udp
}
