//! What a request must say for a dialog to be made of it: where its sender is reached, and by way of whom.

use crate::sip::dialog::Target;
use crate::sip::header::NameAddr;
use crate::sip::message::{Message, Refusal};
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::uri::scheme_len;

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
/// Record-Route that leads nowhere; [`old_target`] says what an INVITE may do all the same.
pub(crate) fn unusable(request: &Message) -> Option<Refusal> {
    let mut contacts = request.contacts();
    match (contacts.next(), contacts.next()) {
        (Some(Ok(contact)), None) if leads_somewhere(&contact) => {}
        _ if old_target(request).is_some() => {}
        (None, _) => return Some(NO_CONTACT),
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
pub(crate) fn target_of(request: &Message) -> Option<Target> {
    let named = contact_of(request).map(|contact| contact.to_owned().into());
    named.or_else(|| old_target(request).map(|from| Target::on_its_flow(from.to_owned())))
}

/// A caller need not name a Contact, as in RFC 2543 (RFC 4475 section 3.4.1 has such an INVITE), and its only one may be
/// a SIP URI that cannot be read (port 0, a zone, a semicolon too many): its From is what it called from, and the way
/// that it came where our requests go.
fn old_target(request: &Message) -> Option<&str> {
    let from = request.from().ok()?;
    let mut contacts = request.contacts();
    let says_nothing = match (contacts.next(), contacts.next()) {
        (None, _) => true,
        (Some(Ok(contact)), None) => is_meant_as_sip(contact.uri) && !leads_somewhere(&contact),
        _ => false,
    };
    let is_reached = says_nothing && request.method() == Method::Invite && leads_somewhere(&from);
    is_reached.then_some(from.uri)
}

fn is_meant_as_sip(uri: &str) -> bool {
    let scheme = scheme_len(uri).map_or("", |len| &uri[..len]);
    ["sip", "sips"]
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name))
}

/// The routers between us and the sender of a request, in their order; none of them where one cannot be read.
pub(crate) fn routes_of(request: &Message) -> Vec<String> {
    if !routes_lead_somewhere(request) {
        return Vec::new();
    }
    request.values(Name::RecordRoute).map(str::to_owned).collect()
}

/// The routers between us and the sender of a response, the nearest first: what we send goes to that one, and what the
/// others are called is for it to read. `None` where it cannot be read itself.
pub(crate) fn routes_to(response: &Message) -> Option<Vec<String>> {
    let mut routes: Vec<String> = response.values(Name::RecordRoute).map(str::to_owned).collect();
    routes.reverse();
    let leads = |route: &String| NameAddr::parse(route).is_ok_and(|route| leads_somewhere(&route));
    routes.first().is_none_or(leads).then_some(routes)
}

fn routes_lead_somewhere(message: &Message) -> bool {
    let leads = |route: Result<NameAddr<'_>, _>| route.is_ok_and(|route| leads_somewhere(&route));
    message.addresses(Name::RecordRoute).all(leads)
}

/// Whether requests can be sent there: a SIP or SIPS URI that can be read has a host.
fn leads_somewhere(address: &NameAddr<'_>) -> bool {
    address.parsed_uri().is_ok_and(|uri| uri.is_sip())
}
