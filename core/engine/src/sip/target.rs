//! What a request must say for a dialog to be made of it: where its sender is reached, and by way of whom.

use crate::sip::header::NameAddr;
use crate::sip::message::{Message, Refusal};
use crate::sip::method::Method;
use crate::sip::name::Name;

const fn bad(phrase: &'static str, reason: &'static str) -> Refusal {
    Refusal {
        status: 400,
        phrase,
        reason,
    }
}

const NO_CONTACT: Refusal = bad("Missing Contact", "bad_contact");
const BAD_CONTACT: Refusal = bad("Bad Contact", "bad_contact");
const BAD_ROUTE: Refusal = bad("Bad Record-Route", "bad_record_route");

/// Why no dialog can be made of a request: it has other than one Contact (RFC 3261 section 8.1.1.8), or a Contact or
/// Record-Route that leads nowhere.
pub(crate) fn unusable(request: &Message) -> Option<Refusal> {
    let mut contacts = request.contacts();
    match (contacts.next(), contacts.next()) {
        (None, _) if old_target(request).is_some() => {}
        (None, _) => return Some(NO_CONTACT),
        (Some(Ok(contact)), None) if leads_somewhere(&contact) => {}
        _ => return Some(BAD_CONTACT),
    }
    (!routes_lead_somewhere(request)).then_some(BAD_ROUTE)
}

/// The URI of a message's first Contact, if a request can be sent there.
pub(crate) fn contact_of(message: &Message) -> Option<&str> {
    let contact = message.contacts().next()?.ok()?;
    leads_somewhere(&contact).then_some(contact.uri)
}

/// Where the sender of a request is reached that makes a dialog.
pub(crate) fn target_of(request: &Message) -> Option<&str> {
    contact_of(request).or_else(|| old_target(request))
}

/// A caller need not name a Contact, as in RFC 2543 (RFC 4475 section 3.4.1 has such an INVITE): its From is what it
/// called from, and its own address where our requests go.
fn old_target(request: &Message) -> Option<&str> {
    let from = request.from().ok()?;
    let says_nothing = request.header(Name::Contact).is_none();
    let is_reached = says_nothing && request.method() == Method::Invite && leads_somewhere(&from);
    is_reached.then_some(from.uri)
}

/// The routers between us and the sender of a message, in their order; none of them where one cannot be read.
pub(crate) fn routes_of(message: &Message) -> Vec<String> {
    if !routes_lead_somewhere(message) {
        return Vec::new();
    }
    message.values(Name::RecordRoute).map(str::to_owned).collect()
}

fn routes_lead_somewhere(message: &Message) -> bool {
    let leads = |route: Result<NameAddr<'_>, _>| route.is_ok_and(|route| leads_somewhere(&route));
    message.addresses(Name::RecordRoute).all(leads)
}

/// Whether requests can be sent there: a SIP or SIPS URI that can be read has a host.
fn leads_somewhere(address: &NameAddr<'_>) -> bool {
    address.parsed_uri().is_ok_and(|uri| uri.is_sip())
}
