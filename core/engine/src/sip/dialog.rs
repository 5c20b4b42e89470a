//! A dialog: RFC 3261 section 12, one side of a call.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;

use crate::io::{Flow, Transport};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::own::Own;
use crate::sip::target::{contact_of, routes_of, routes_to, target_of};
use crate::sip::uri::Uri;
use crate::sip::write::{Short, Writer, quote_display};

/// The Max-Forwards of a request that begins here (RFC 3261 section 8.1.1.6).
pub(crate) const HOPS: u8 = 70;

/// The state that both ends keep about their call.
#[derive(Debug, Clone)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    pub(crate) local_tag: String,
    /// Empty until the peer has named its tag.
    pub(crate) remote_tag: String,
    /// Our own URI in this dialog.
    pub(crate) local_uri: String,
    /// Our display name, where no single request carries another.
    pub(crate) local_name: Option<String>,
    /// The peer as it named itself: the value of its From or To, tag included.
    pub(crate) remote: String,
    /// The remote target: the URI of the peer's Contact.
    pub(crate) target: Target,
    pub(crate) route: Vec<String>,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: Option<u32>,
    /// Whether the Call-ID is ours: who makes it waits longer after glare (RFC 3261 section 14.1).
    pub(crate) we_made_call_id: bool,
    /// The Max-Forwards of our requests.
    pub(crate) max_forwards: u8,
    /// The value of our Contact.
    pub(crate) contact: String,
    /// The way that the request which made the dialog came or went.
    pub(crate) flow: Flow,
    /// The `sent-by` of our Via.
    pub(crate) sent_by: SocketAddr,
    /// The connection is gone, and the peer has not come back; where it came from.
    pub(crate) lost: Option<IpAddr>,
    /// The way of our requests, where the peer asks for another transport than it came by.
    pub(crate) detour: Option<Detour>,
    /// Where its peer may not lead us.
    pub(crate) own: Own,
}

/// A way to the peer of a dialog beside its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detour {
    pub(crate) flow: Flow,
    /// The `sent-by` of our Via there.
    pub(crate) sent_by: SocketAddr,
}

/// Where the requests of a dialog are addressed to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    uri: String,
    /// The address that the URI names by number.
    address: Option<SocketAddr>,
    /// The peer keeps its flow alive, and is reached by that alone (RFC 5626 section 4.3: `ob`).
    kept: bool,
}

impl Target {
    /// Where a phone is reached that has registered such a flow, or that does not say where else.
    pub(crate) fn on_its_flow(uri: String) -> Self {
        Self {
            kept: true,
            ..uri.into()
        }
    }
}

impl From<String> for Target {
    fn from(uri: String) -> Self {
        let plain = Uri::parse(&uri).ok().map(|uri| uri.in_request());
        let plain = plain.filter(|plain| plain.len() < uri.len()).map(Cow::into_owned);
        let uri = plain.unwrap_or(uri);
        let address = address_in(&uri);
        let kept = Uri::parse(&uri).is_ok_and(|uri| uri.param("ob").is_some());
        Self { uri, address, kept }
    }
}

impl Deref for Target {
    type Target = str;

    fn deref(&self) -> &str {
        &self.uri
    }
}

impl Dialog {
    /// The dialog that an INVITE or SUBSCRIBE of the peer makes; `None` where it does not say where its sender is
    /// reached.
    pub(crate) fn server(
        invite: &Message,
        flow: Flow,
        local_tag: String,
        sent_by: SocketAddr,
        own: &Own,
    ) -> Option<Self> {
        let (from, to) = (invite.from().ok()?, invite.to().ok()?);
        Some(Self {
            call_id: invite.call_id().to_owned(),
            local_tag,
            remote_tag: from.tag().unwrap_or_default().to_owned(),
            local_uri: to.uri.to_owned(),
            local_name: None,
            remote: invite.header(Name::From)?.to_owned(),
            target: target_of(invite)?,
            route: routes_of(invite),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq().ok()?.number),
            we_made_call_id: false,
            max_forwards: HOPS,
            contact: String::new(),
            flow,
            sent_by,
            lost: None,
            detour: None,
            own: own.clone(),
        })
    }

    /// The dialog that a 2xx makes for which no call is there: enough for its ACK and its BYE.
    pub(crate) fn client(
        invite: &Message,
        response: &Message,
        flow: Flow,
        sent_by: SocketAddr,
        own: &Own,
    ) -> Option<Self> {
        let from = invite.from().ok()?;
        let mut dialog = Self {
            call_id: invite.call_id().to_owned(),
            local_tag: from.tag()?.to_owned(),
            remote_tag: String::new(),
            local_uri: from.uri.to_owned(),
            local_name: from.display().map(Cow::into_owned),
            remote: String::new(),
            target: invite.request_uri().to_owned().into(),
            route: Vec::new(),
            local_cseq: response.cseq().ok()?.number,
            remote_cseq: None,
            we_made_call_id: true,
            max_forwards: HOPS,
            contact: String::new(),
            flow,
            sent_by,
            lost: None,
            detour: None,
            own: own.clone(),
        };
        dialog.established_by(response);
        Some(dialog)
    }

    /// What a response to our INVITE tells about the peer; false if the router nearest to us cannot be read: then we
    /// know of none.
    pub(crate) fn established_by(&mut self, response: &Message) -> bool {
        if let Ok(to) = response.to() {
            self.remote_tag = to.tag().unwrap_or_default().to_owned();
        }
        if let Some(to) = response.header(Name::To) {
            to.clone_into(&mut self.remote);
        }
        self.retarget(response);
        let routes = routes_to(response);
        let is_known = routes.is_some();
        self.route = routes.unwrap_or_default();
        is_known
    }

    /// A target refresh (RFC 3261 section 12.2): the peer's Contact may have changed. One that leads nowhere changes
    /// nothing.
    pub(crate) fn retarget(&mut self, message: &Message) {
        if let Some(target) = contact_of(message) {
            self.target = target.to_owned().into();
            self.detour = None; // whoever knows our listeners looks for it again
        }
    }

    /// The same by a request that has come now: on UDP the way that it came is the way to the peer from now on, for
    /// a phone may have changed its network, and a NAT its port.
    pub(crate) fn refreshed_by(&mut self, request: &Message, flow: Flow) {
        self.retarget(request);
        if self.flow.transport == Transport::Udp && flow.transport == Transport::Udp {
            self.flow = flow;
        }
    }

    /// Whether a peer that sends by another transport than before has changed to it: what it came by is gone, or its
    /// Contact names the new one. Nobody is led out of TLS or a WebSocket so.
    pub(crate) fn is_left_for(&self, flow: Flow) -> bool {
        let plain = |flow: Flow| matches!(flow.transport, Transport::Udp | Transport::Tcp);
        let named = || self.next_hop().and_then(|hop| hop.1) == Some(flow.transport);
        plain(self.flow)
            && plain(flow)
            && self.flow.transport != flow.transport
            && (self.lost.is_some() || named())
    }

    /// The peer is reached by another flow from now on.
    pub(crate) const fn go_by(&mut self, flow: Flow, sent_by: SocketAddr) {
        (self.flow, self.sent_by) = (flow, sent_by);
        (self.lost, self.detour) = (None, None);
    }

    /// The first router, or the target where there is none, by number, and by which transport it wants to be reached.
    pub(crate) fn next_hop(&self) -> Option<(SocketAddr, Option<Transport>)> {
        let uri = self.route.first().map_or(&*self.target, |route| bracketed(route));
        Some((address_in(uri)?, transport_in(uri)))
    }

    /// Whether requests may go where the target says, and to nobody before it.
    pub(crate) fn is_direct(&self) -> bool {
        self.route.is_empty() && !self.target.kept
    }

    /// Whether a request of the peer is this dialog's.
    pub(crate) fn is_of(&self, request: &Message) -> bool {
        request.call_id() == self.call_id
            && request
                .from()
                .is_ok_and(|from| from.tag().unwrap_or_default() == self.remote_tag)
    }

    /// Takes the sequence number of a request of the peer; false if it is not higher than the last.
    pub(crate) fn advance(&mut self, number: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return false;
        }
        self.remote_cseq = Some(number);
        true
    }

    /// The head of our next request; `name` stands before our URI for this request only.
    pub(crate) fn request(&mut self, method: Method, branch: &str, name: Option<&str>) -> Writer {
        self.local_cseq += 1;
        self.request_again(method, self.local_cseq, branch, name)
    }

    /// The head of a request with a given sequence number (an ACK takes its INVITE's).
    pub(crate) fn request_again(
        &self,
        method: Method,
        cseq: u32,
        branch: &str,
        name: Option<&str>,
    ) -> Writer {
        let (uri, routes) = self.route_set();
        let own = Detour {
            flow: self.flow,
            sent_by: self.sent_by,
        };
        let way = self.detour.unwrap_or(own);
        let mut writer = Writer::request(method.name(), uri).via(way.flow.transport, way.sent_by, branch);
        for route in &*routes {
            writer.add_pieces("Route", [route]);
        }
        writer.add_pieces("Max-Forwards", [Short::number(self.max_forwards.into()).as_str()]);
        let name = name
            .or(self.local_name.as_deref())
            .filter(|name| !name.is_empty());
        let (uri, tag) = (self.local_uri.as_str(), self.local_tag.as_str());
        match name {
            Some(name) => writer.add_pieces("From", [&quote_display(name), " <", uri, ">;tag=", tag]),
            None => writer.add_pieces("From", ["<", uri, ">;tag=", tag]),
        }
        writer.add_pieces("To", [&self.remote]);
        writer.add_pieces("Call-ID", [&self.call_id]);
        writer.add_pieces("CSeq", [Short::number(cseq.into()).as_str(), " ", method.name()]);
        // A MESSAGE has no Contact (RFC 3428 section 4).
        if !self.contact.is_empty() && method != Method::Message {
            writer.add_pieces("Contact", [&self.contact]);
        }
        writer
    }

    /// The request URI and the Route values: loose routing, or strict where the first router asks for
    /// it (RFC 3261 section 12.2.1.1).
    fn route_set(&self) -> (&str, Cow<'_, [String]>) {
        let Some(first) = self.route.first() else {
            return (&self.target, Cow::Borrowed(&[]));
        };
        let first_uri = bracketed(first);
        if Uri::parse(first_uri).is_ok_and(|uri| uri.param("lr").is_some()) {
            return (&self.target, Cow::Borrowed(&self.route));
        }
        let mut rest = self.route[1..].to_vec();
        rest.push(format!("<{}>", &*self.target));
        (first_uri, Cow::Owned(rest))
    }

    /// The connection is gone: until there is another, the peer is called where its Contact says, or the router before
    /// it. Nobody can call a browser.
    pub(crate) fn disconnected(&mut self) {
        if !matches!(self.flow.transport, Transport::Tcp | Transport::Tls) {
            return;
        }
        self.flow.connection = 0;
        self.lost.get_or_insert(self.flow.peer.ip());
        let router = self.route.first().and_then(|route| address_in(bracketed(route)));
        if let Some(peer) = router.or(self.target.address)
            && self.may_lead(peer)
        {
            self.flow.peer = peer;
        }
    }

    /// Whether the peer may have us send to this address.
    pub(crate) fn may_lead(&self, to: SocketAddr) -> bool {
        self.own.may_lead(self.flow.peer.ip(), to)
    }

    /// Where our next request goes. A connection is used for as long as it lives; on UDP the first
    /// router or the target decides, unless the target shows an address that the peer did not come
    /// from, or says so: then it stands behind a NAT and only the way it came leads back.
    pub(crate) fn next_flow(&self) -> Flow {
        if let Some(detour) = self.detour {
            return detour.flow;
        }
        if self.flow.transport != Transport::Udp {
            return self.flow;
        }
        if let Some(route) = self.route.first() {
            // A router that is named by a name is the one that the dialog came or went by. So is one of the other
            // IP family: no socket of ours that reaches it is known here (see `detour`).
            let named = address_in(bracketed(route)).filter(|peer| self.may_lead(*peer));
            let named = named.filter(|peer| peer.is_ipv4() == self.flow.peer.is_ipv4());
            let peer = named.unwrap_or(self.flow.peer);
            return Flow { peer, ..self.flow };
        }
        match self.target.address {
            Some(peer) if peer.ip() == self.flow.peer.ip() && !self.target.kept => Flow { peer, ..self.flow },
            _ => self.flow,
        }
    }
}

/// The transport by which a URI wants to be reached that names its address by number (RFC 3263 section 4.1); `None` where
/// it names one that we do not know.
fn transport_in(uri: &str) -> Option<Transport> {
    let uri = Uri::parse(uri).ok()?;
    match uri.param("transport") {
        Some(named) => Transport::ALL
            .into_iter()
            .find(|transport| named.eq_ignore_ascii_case(transport.name())),
        None if uri.is_sips() => Some(Transport::Tls),
        None => Some(Transport::Udp),
    }
}

/// The Max-Forwards of a request that goes on behind us; `None` where it may not.
pub(crate) fn hops_left(request: &Message) -> Option<u8> {
    match request.max_forwards() {
        Some(Ok(hops)) => hops.checked_sub(1),
        _ => Some(HOPS - 1),
    }
}

/// The part between angle brackets, or the whole.
fn bracketed(value: &str) -> &str {
    match (value.find('<'), value.rfind('>')) {
        (Some(open), Some(close)) if open < close => &value[open + 1..close],
        _ => value,
    }
}

/// The address that a URI names by number, with the port that its scheme implies.
pub(crate) fn address_in(uri: &str) -> Option<SocketAddr> {
    let uri = Uri::parse(uri).ok()?;
    Some(SocketAddr::new(uri.host_ip()?, uri.port_or_default()))
}
