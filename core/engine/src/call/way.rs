//! The way to the peer of a call, where that asks for another transport than it came by (RFC 3263 section 4.1): a phone
//! on UDP that wants to be called by TCP, and one that used TCP for a large INVITE only (RFC 3261 section 18.1.1).

use crate::arena::Key;
use crate::call::reach::is_same;
use crate::conference::seat::Stream;
use crate::engine::Engine;
use crate::io::{Flow, Transport};
use crate::sip::dialog::{Detour, Dialog};
use crate::sip::header::NameAddr;
use crate::sip::message::Message;

impl Engine {
    /// A target refresh by a request that has come now: what it says, and the way that it came.
    pub(crate) fn refresh_target(&mut self, key: Key, request: &Message, flow: Flow) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.dialog.refreshed_by(request, flow);
        if call.dialog.is_left_for(flow) {
            self.move_call(key, flow);
            self.name_ourselves(key, flow);
        }
        self.look_for_way(key);
    }

    /// Our Contact names the transport that the peer has changed to.
    fn name_ourselves(&mut self, key: Key, flow: Flow) {
        let named = self.calls.get(key);
        let contact = named.and_then(|call| self.contact_by(&call.dialog, flow));
        if let (Some(call), Some(contact)) = (self.calls.get_mut(key), contact) {
            call.dialog.contact = contact;
        }
    }

    /// Our Contact in a dialog whose peer is reached by another flow now.
    pub(crate) fn contact_by(&self, dialog: &Dialog, flow: Flow) -> Option<String> {
        let contact = NameAddr::parse(&dialog.contact).ok()?;
        let user = contact.parsed_uri().ok()?.user_raw()?.to_owned();
        Some(self.contact(&user, flow, dialog.contact.ends_with(";isfocus")))
    }

    /// What is known from now on of a way to the peer beside its dialog's UDP.
    pub(crate) fn set_stream(&mut self, key: Key, stream: Stream) {
        self.change_ways(key, |call| call.seat.stream = stream);
    }

    /// Whether the dialog of a call has its own way to the peer, and this is another.
    pub(crate) fn has_other_way(&self, key: Key, flow: Flow) -> bool {
        let by = |flow: Flow| (flow.transport, flow.connection);
        self.calls.get(key).is_some_and(|call| {
            let dialog = &call.dialog;
            dialog.lost.is_none() && by(dialog.flow) != by(flow)
        })
    }

    /// Looks which way the requests of this call go from now on: its peer has named another target, or has lost a
    /// connection.
    pub(crate) fn look_for_way(&mut self, key: Key) {
        let Some(call) = self.calls.get(key) else {
            return;
        };
        let detour = self.detour(&call.dialog, call.seat.stream);
        if let Some(call) = self.calls.get_mut(key) {
            call.dialog.detour = detour;
        }
    }

    /// The way that the target of a dialog asks for, if that is not the dialog's own. Into a NAT no connection can be
    /// made, and what nobody has asked for must not reach strangers: only the address is called that the peer came
    /// from. A phone whose TCP connection is gone is called by UDP if its target says so, and it has not registered that
    /// by TCP. A router of the other IP family is reached from our socket of that family.
    pub(crate) fn detour(&self, dialog: &Dialog, stream: Stream) -> Option<Detour> {
        let (peer, named) = dialog.next_hop()?;
        let to = Flow { peer, ..dialog.flow };
        let flow = match (dialog.flow.transport, named?) {
            (Transport::Udp, Transport::Tcp) if dialog.is_direct() && peer.ip() == dialog.flow.peer.ip() => {
                match stream {
                    Stream::Is(flow) => Some(flow),
                    Stream::Unknown => self.by_tcp(to),
                    Stream::Fails => None,
                }
            }
            (Transport::Tcp, Transport::Udp)
                if dialog.lost == Some(peer.ip()) && !self.is_registered_by_tcp(dialog) =>
            {
                self.by(Transport::Udp, to)
            }
            (Transport::Udp, Transport::Udp)
                if !dialog.route.is_empty()
                    && peer.is_ipv4() != dialog.flow.peer.is_ipv4()
                    && dialog.may_lead(peer) =>
            {
                self.by(Transport::Udp, to)
            }
            _ => None,
        }?;
        let sent_by = self.sent_by(flow);
        Some(Detour { flow, sent_by })
    }

    fn is_registered_by_tcp(&self, dialog: &Dialog) -> bool {
        let Some(address) = self.address_of_peer(dialog) else {
            return false;
        };
        self.registrar.contacts(&address, self.wire.now).any(|binding| {
            binding.flow.transport == Transport::Tcp && is_same(&dialog.target, &binding.contact)
        })
    }
}
