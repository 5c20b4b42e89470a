//! REGISTER: RFC 3261 section 10.3. Acknowledged when the bindings are on disk.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use cordboard_model::{Ticket, Time};

use crate::arena::Key;
use crate::call::ability::supports;
use crate::date::short_sip_date;
use crate::engine::{Engine, Subject};
use crate::io::{Flow, Notice, Output, Packet, StoreWrite, StoredBinding};
use crate::pager::Occasion;
use crate::sip::grammar::List;
use crate::sip::header::NameAddr;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::registrar::{Binding, Expired};
use crate::sip::uri::Uri;
use crate::sip::write::{Short, respond};
use crate::timer::Timer;
use crate::unsettled::Before;

/// The longest contact URI and Path that are kept, in bytes.
const MAX_CONTACT: usize = 1024;
/// The longest instance that is kept, in bytes.
const MAX_INSTANCE: usize = 256;

/// How many seconds a phone may let pass between two keep-alives (RFC 5626 section 4.4): what connections bear, and
/// what NATs bear on UDP.
const FLOW_TIMER: u16 = 120;
const FLOW_TIMER_UDP: u16 = 30;

/// What a REGISTER asks for one contact.
struct Wish<'a> {
    contact: Cow<'a, str>,
    expires: Duration,
    q: u16,
    instance: String,
}

/// A REGISTER whose bindings are being written.
#[derive(Debug)]
pub(crate) struct Registering {
    transaction: Key,
    response: Packet,
    /// What is answered otherwise where they cannot be written.
    request: Message,
    /// What its contacts were before, each once for each row that is written.
    pub(crate) before: Vec<Before>,
}

/// What a REGISTER changes, and what was before.
#[derive(Debug, Default)]
struct Changes {
    writes: Vec<StoreWrite>,
    before: Vec<Before>,
    /// The bindings that it makes or renews, where there are several.
    put: Vec<u64>,
}

/// Why a REGISTER is refused.
enum Refused {
    Brief,
    Status(u16, &'static str, &'static str),
}

impl Engine {
    pub(crate) fn on_register(&mut self, request: Message, flow: Flow) {
        let domain = Uri::parse(request.request_uri()).map_or("", |uri| uri.host);
        let account = Arc::clone(self.directory.account(domain));
        let identity = match self.authenticate(&request, flow, &account) {
            Ok(identity) => identity,
            Err(denial) => return self.deny(&request, flow, &account, denial),
        };
        let Some(transaction) = self.open_server(&request, flow) else {
            return;
        };
        self.transactions.answer_anew(transaction, &request);
        let to = request.to().ok();
        let to = to.and_then(|to| Uri::parse(to.uri).ok());
        // Somebody of another account may have the same name.
        let to = to.filter(|to| !self.directory.is_of_another(account.id, to.host));
        let user = to.and_then(|to| to.user());
        let registered = user.and_then(|user| self.directory.find(account.id, &user));
        let place = match (registered, identity.trusted(), identity.credential()) {
            (Some(place), true, _) => place,
            (None, true, _) => {
                return self.refuse_in(transaction, &request, 404, "No Such User", "unknown_user");
            }
            (Some(place), false, Some(proven)) if self.directory.is_same_owner(place, proven) => place,
            _ => return self.refuse_in(transaction, &request, 403, "Not Your Address", "not_the_user"),
        };
        let address = Arc::clone(self.directory.address_of_record(place));
        match self.bind(&address, &request, flow) {
            Ok(changes) => {
                if flow.transport.reliable() {
                    self.bring_back(place, &address, &request, flow);
                }
                self.answer_registration(transaction, request, address, changes);
            }
            Err(Refused::Status(status, phrase, reason)) => {
                self.refuse_in(transaction, &request, status, phrase, reason);
            }
            Err(Refused::Brief) => {
                self.wire.counts.reject("interval_too_brief");
                let min = self.config.registration.min.as_secs();
                self.respond_with(transaction, &request, 423, "Interval Too Brief", |response| {
                    response.header("Min-Expires", min)
                });
            }
        }
    }

    /// Applies a REGISTER to the bindings, all of it or nothing, and gives what is to be written.
    fn bind(&mut self, address: &Arc<str>, request: &Message, flow: Flow) -> Result<Changes, Refused> {
        let cseq = request
            .cseq()
            .map_err(|_| Refused::Status(400, "Bad CSeq", "bad_cseq"))?
            .number;
        let out_of_order = |binding: &Binding| *binding.call_id == *request.call_id() && cseq <= binding.cseq;
        let disorder = Refused::Status(500, "Out Of Order", "cseq_out_of_order");
        if request.header(Name::Contact) == Some("*") {
            if !matches!(request.expires(), Some(Ok(0))) || request.headers(Name::Contact).count() != 1 {
                return Err(Refused::Status(400, "Contact * Needs Expires 0", "bad_contact"));
            }
            let all = self.registrar.all(address);
            if all.iter().any(out_of_order) {
                return Err(disorder);
            }
            let serials: Vec<u64> = all.iter().map(|binding| binding.serial).collect();
            let mut changes = Changes::default();
            for serial in serials {
                self.unbind_by(address, serial, &mut changes);
            }
            return Ok(changes);
        }
        let wishes = self.wishes(request, flow)?;
        let path = joined(request, Name::Path);
        if path.len() > MAX_CONTACT {
            return Err(Refused::Status(400, "Path Too Long", "bad_path"));
        }
        let is_hop = |hop: &str| NameAddr::parse(hop).is_ok_and(|hop| Uri::parse(hop.uri).is_ok());
        if !List::new(&path).all(is_hop) {
            return Err(Refused::Status(400, "Bad Path", "bad_path"));
        }
        let registrar = &self.registrar;
        let is_old = |wish: &Wish<'_>| {
            let mut meant = registrar.meant(address, &wish.contact, &wish.instance);
            meant.any(out_of_order)
        };
        if wishes.iter().any(is_old) {
            return Err(disorder);
        }
        let put = wishes.iter().filter(|wish| !wish.expires.is_zero()).count();
        if put > self.config.registration.contacts {
            return Err(Refused::Status(403, "Too Many Contacts", "too_many_contacts"));
        }
        let mut changes = Changes::default();
        // What goes makes room for what comes, wherever it stands.
        for wish in wishes.iter().filter(|wish| wish.expires.is_zero()) {
            self.unbind_meant(address, wish, &mut changes);
        }
        for wish in wishes {
            if wish.expires.is_zero() {
                self.unbind_meant(address, &wish, &mut changes); // of a contact that is asked for twice the last holds
                continue;
            }
            let serial = self.put_binding(address, wish, cseq, request, flow, &mut changes);
            if put > 1 {
                changes.put.push(serial);
            }
        }
        Ok(changes)
    }

    /// Takes out the bindings that a Contact means.
    fn unbind_meant(&mut self, address: &Arc<str>, wish: &Wish<'_>, changes: &mut Changes) {
        let meant = self.registrar.meant(address, &wish.contact, &wish.instance);
        let serials: Vec<u64> = meant.map(|binding| binding.serial).collect();
        for serial in serials {
            self.unbind_by(address, serial, changes);
        }
    }

    /// What the Contact headers ask for.
    fn wishes<'a>(&self, request: &'a Message, flow: Flow) -> Result<Vec<Wish<'a>>, Refused> {
        let bad = || Refused::Status(400, "Bad Contact", "bad_contact");
        let limits = self.config.registration;
        let general = match request.expires() {
            Some(Ok(seconds)) => Some(seconds),
            Some(Err(_)) | None => None,
        };
        let mut wishes = Vec::new();
        for contact in request.contacts() {
            let contact = contact.map_err(|_| bad())?;
            let uri = Uri::parse(contact.uri).map_err(|_| bad())?;
            if contact.uri.len() > MAX_CONTACT || !uri.is_sip() {
                return Err(bad());
            }
            let asked = contact
                .param("expires")
                .and_then(|text| text.parse::<u32>().ok())
                .or(general);
            let expires = asked.map_or(limits.default, |seconds| Duration::from_secs(seconds.into()));
            if !expires.is_zero() && expires < limits.min {
                return Err(Refused::Brief);
            }
            // It would be called in clear.
            if !expires.is_zero() && uri.is_sips() && !flow.transport.encrypted() {
                return Err(Refused::Status(400, "A SIPS Contact Needs TLS", "sips_in_clear"));
            }
            let q = contact
                .param("q")
                .and_then(|text| text.parse::<f32>().ok())
                .filter(|q| q.is_finite())
                .unwrap_or(1.0);
            wishes.push(Wish {
                // It will be a Request-URI.
                contact: uri.in_request(),
                expires: expires.min(limits.max),
                q: (q.clamp(0.0, 1.0) * 1000.0) as u16,
                instance: instance_of(&contact),
            });
        }
        Ok(wishes)
    }

    fn put_binding(
        &mut self,
        address: &Arc<str>,
        wish: Wish<'_>,
        cseq: u32,
        request: &Message,
        flow: Flow,
        changes: &mut Changes,
    ) -> u64 {
        // The same phone on the same flow again, under a new contact: the old one leads nowhere. And a contact that
        // is written in another way is another row on disk.
        let row = self.registrar.find_row(address, &wish.contact, &wish.instance);
        let kept = row.map(|row| row.serial);
        let meant = self.registrar.meant(address, &wish.contact, &wish.instance);
        let displaced = self.registrar.all(address).iter();
        let displaced = displaced.filter(|old| old.is_displaced_by(&wish.contact, &wish.instance, flow));
        let serials = meant.chain(displaced).map(|binding| binding.serial);
        let old: Vec<u64> = serials.filter(|serial| Some(*serial) != kept).collect();
        for serial in old {
            self.unbind_by(address, serial, changes);
        }
        let held = self.registrar.all(address);
        if held.len() >= self.config.registration.contacts && kept.is_none() {
            // A phone that comes back under new contacts must not lock itself out: the binding that
            // would end first makes room, but none that this very request has put there.
            let first = held
                .iter()
                .filter(|binding| !changes.put.contains(&binding.serial))
                .min_by_key(|binding| binding.expires)
                .map(|binding| binding.serial);
            if let Some(serial) = first {
                self.unbind_by(address, serial, changes);
                self.wire.counts.reject("contact_dropped");
                let address = Arc::clone(address);
                self.wire
                    .out
                    .push_back(Output::Notice(Notice::ContactDropped { address }));
            }
        }
        // A phone that renews its binding says nearly the same as before.
        let shared = |text: &str, before: Option<&Arc<str>>| match before {
            Some(before) if **before == *text => Arc::clone(before),
            _ => text.into(),
        };
        let known = self.registrar.find_row(address, &wish.contact, &wish.instance);
        let contact = shared(&wish.contact, known.map(|known| &known.contact));
        let call_id = shared(request.call_id(), known.map(|known| &known.call_id));
        let expires = self.wire.now + wish.expires;
        let binding = Binding {
            contact,
            expires,
            q: wish.q,
            call_id,
            cseq,
            flow,
            user_agent: self.registrar.agent(cut(&joined(request, Name::UserAgent), 256)),
            path: joined(request, Name::Path).into_owned(),
            instance: wish.instance,
            serial: 0,
            timer: expires,
            silent: false,
        };
        let stored = self.stored(address, &binding);
        let (serial, replaced, arm) = self.registrar.put(address, binding);
        if arm {
            self.wire.timers.arm(expires, Timer::Binding(serial));
        }
        let row = (Arc::clone(&stored.contact), stored.instance.clone());
        let before = self.before(row, replaced, true);
        changes.before.push(before);
        changes.writes.push(StoreWrite::PutBinding(Box::new(stored)));
        serial
    }

    /// Takes a binding out, as a part of what a REGISTER changes.
    fn unbind_by(&mut self, address: &Arc<str>, serial: u64, changes: &mut Changes) {
        let Some(binding) = self.registrar.remove(address, serial) else {
            return;
        };
        changes.writes.push(StoreWrite::DeleteBinding {
            aor: Arc::clone(address),
            contact: Arc::clone(&binding.contact),
            instance: binding.instance.clone(),
        });
        let row = (Arc::clone(&binding.contact), binding.instance.clone());
        changes.before.push(self.before(row, Some(binding), false));
    }

    fn unbind(&mut self, address: &Arc<str>, serial: u64) -> Option<StoreWrite> {
        let binding = self.registrar.remove(address, serial)?;
        Some(StoreWrite::DeleteBinding {
            aor: Arc::clone(address),
            contact: binding.contact,
            instance: binding.instance,
        })
    }

    fn stored(&self, address: &Arc<str>, binding: &Binding) -> StoredBinding {
        StoredBinding {
            aor: Arc::clone(address),
            contact: Arc::clone(&binding.contact),
            expires: binding.expires,
            q: binding.q,
            call_id: Arc::clone(&binding.call_id),
            cseq: binding.cseq,
            transport: binding.flow.transport,
            local: self.config.listeners[usize::from(binding.flow.listener)].address,
            peer: binding.flow.peer,
            connection: 0,
            user_agent: Arc::clone(&binding.user_agent),
            path: binding.path.clone(),
            instance: binding.instance.clone(),
        }
    }

    /// A phone has registered on a connection; it may have calls and subscriptions that have lost theirs.
    fn bring_back(&mut self, place: usize, address: &str, request: &Message, flow: Flow) {
        let owner = self.directory.credential(place).user;
        for contact in request.contacts().flatten() {
            self.phone_is_back(owner, address, contact.uri, flow);
            self.subscriber_is_back(owner, address, contact.uri, flow);
        }
    }

    /// The 200 lists what holds now; it is sent when the writes are on disk.
    fn answer_registration(
        &mut self,
        transaction: Key,
        request: Message,
        address: Arc<str>,
        Changes {
            mut writes, before, ..
        }: Changes,
    ) {
        let Some(flow) = self.transactions.flow(transaction) else {
            return;
        };
        let now = self.wire.now;
        let tag = self.wire.short_token();
        let mut response = respond(&request, flow.peer, 200, "OK", Some(tag.as_str()));
        let mut outbound = false;
        for binding in self.registrar.contacts(&address, now) {
            let seconds = Short::number(binding.expires.since(now).as_secs());
            let q = preference(binding.q);
            let instance = match binding.instance.as_str() {
                "" => ["", ""],
                instance => [";+sip.instance=", instance],
            };
            let parts = [
                "<",
                &binding.contact,
                ">;expires=",
                seconds.as_str(),
                ";q=",
                q.as_str(),
                instance[0],
                instance[1],
            ];
            response.add_pieces("Contact", parts);
            outbound |= !binding.instance.is_empty() && *binding.call_id == *request.call_id();
        }
        // We hold the phone's own flow, or the proxy next to it does (RFC 5626 section 6).
        if outbound && supports(&request, "outbound") && first_hop_holds(&request) {
            let patience = if flow.transport.reliable() {
                FLOW_TIMER
            } else {
                FLOW_TIMER_UDP
            };
            response = response
                .header("Require", "outbound")
                .header("Flow-Timer", patience);
        }
        for path in request.headers(Name::Path) {
            response.add_pieces("Path", [path]);
        }
        let date = short_sip_date(now);
        let response = response
            .pieces("Date", [date.as_str()])
            .pieces("Server", [&self.product]);
        let response = Packet::whole(response.finish());
        let write = match (writes.pop(), writes.is_empty()) {
            (None, _) => {
                return self
                    .transactions
                    .respond(transaction, 200, response, &mut self.wire);
            }
            (Some(only), true) => only,
            (Some(last), false) => {
                writes.push(last);
                StoreWrite::All(writes)
            }
        };
        let ticket = self.ticket();
        self.wire.out.push_back(Output::Store { ticket, write });
        self.subjects
            .insert(ticket, Subject::Registration(Arc::clone(&address)));
        let registering = Registering {
            transaction,
            response,
            request,
            before,
        };
        self.unsettled.insert(address, ticket, registering);
    }

    /// The bindings of a REGISTER are on disk, or cannot be brought there.
    pub(crate) fn registration_stored(&mut self, address: Arc<str>, ticket: Ticket, ok: bool) {
        let key = (address, ticket);
        let Some(registering) = self.unsettled.remove(&key) else {
            return;
        };
        let (address, _) = key;
        let Registering {
            transaction,
            response,
            request,
            before,
        } = registering;
        let occasion = if ok {
            let occasion = Before::occasion(&before);
            self.settled(&address, before);
            self.transactions
                .respond(transaction, 200, response, &mut self.wire);
            occasion
        } else {
            self.take_back(&address, ticket, before);
            self.respond_with(transaction, &request, 500, "Store Unavailable", |response| {
                response.header("Retry-After", 5)
            });
            Some(Occasion::Again) // for those that are back
        };
        self.phones_changed(&address, occasion);
    }

    /// A binding's time is up.
    pub(crate) fn binding_timer(&mut self, serial: u64, at: Time) {
        match self.registrar.expire(serial, at) {
            Some(Expired::Gone(aor, binding)) => {
                let ticket = self.ticket();
                let write = StoreWrite::DeleteBinding {
                    aor: Arc::clone(&aor),
                    contact: binding.contact,
                    instance: binding.instance,
                };
                self.wire.out.push_back(Output::Store { ticket, write });
                self.phones_changed(&aor, None);
            }
            Some(Expired::Renewed(at)) => self.wire.timers.arm(at, Timer::Binding(serial)),
            None => {}
        }
    }

    /// Ends the registrations of users and devices that the configuration does not know any more.
    pub(crate) fn unbind_strangers(&mut self) {
        let mut gone = self
            .registrar
            .bindings_where(|address| !self.directory.knows(address));
        gone.sort_unstable(); // the same inputs give the same outputs
        for (address, serial) in gone {
            if let Some(write) = self.unbind(&address, serial) {
                let ticket = self.ticket();
                self.wire.out.push_back(Output::Store { ticket, write });
            }
        }
    }

    /// Takes in what the store kept, once, before the first input.
    pub(crate) fn load_binding(&mut self, stored: StoredBinding) {
        let listeners = &self.config.listeners;
        let same = |exact: bool| {
            listeners.iter().position(|listener| {
                listener.transport == stored.transport && (!exact || listener.address == stored.local)
            })
        };
        let Some(listener) = same(true).or_else(|| same(false)) else {
            return;
        };
        let flow = Flow {
            transport: stored.transport,
            listener: u16::try_from(listener).unwrap_or_default(),
            peer: stored.peer,
            connection: stored.connection,
        };
        let binding = Binding {
            contact: stored.contact,
            expires: stored.expires,
            q: stored.q,
            call_id: stored.call_id,
            cseq: stored.cseq,
            flow,
            user_agent: self.registrar.agent(&stored.user_agent),
            path: stored.path,
            instance: stored.instance,
            serial: 0,
            timer: stored.expires,
            silent: false,
        };
        let (serial, _, arm) = self.registrar.put(&stored.aor, binding);
        if arm {
            self.wire.timers.arm(stored.expires, Timer::Binding(serial));
        }
    }
}

/// The phone and which of its flows a contact is (RFC 5626), as they are written; empty unless both are
/// there and can be kept.
fn instance_of(contact: &NameAddr<'_>) -> String {
    let (Some(instance), Some(flow)) = (contact.param("+sip.instance"), contact.param("reg-id")) else {
        return String::new();
    };
    match flow.parse::<u32>() {
        Ok(flow) if flow > 0 && !instance.is_empty() && instance.len() <= MAX_INSTANCE => {
            format!("{instance};reg-id={flow}")
        }
        _ => String::new(),
    }
}

/// Whether whoever the phone is connected to holds its flow: we, or a proxy that says so in its Path. That of the
/// proxy next to the phone is the last one.
fn first_hop_holds(request: &Message) -> bool {
    let path = joined(request, Name::Path);
    let Some(last) = List::new(&path).last() else {
        return request.values(Name::Via).count() == 1; // otherwise a proxy stands between that knows nothing of flows
    };
    NameAddr::parse(last).is_ok_and(|hop| Uri::parse(hop.uri).is_ok_and(|uri| uri.param("ob").is_some()))
}

/// All values of a header as one list.
fn joined(request: &Message, name: Name) -> Cow<'_, str> {
    let mut values = request.headers(name);
    let first = values.next().unwrap_or_default();
    values.fold(first.into(), |list, value| list + ", " + value)
}

/// A q value, which is kept in thousandths, as it is written.
fn preference(q: u16) -> Short {
    let digits = Short::number(u64::from(q) + 1000);
    match (digits.as_str().split_at(1), q) {
        (_, 1000..) => Short::number(1),
        ((_, part), _) => match part.trim_end_matches('0') {
            "" => Short::number(0),
            part => Short::new().text("0.").text(part),
        },
    }
}

/// A text cut to at most `max` bytes, on a character boundary.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_written_without_zeros_at_their_end() {
        for (q, text) in [(1000, "1"), (700, "0.7"), (330, "0.33"), (5, "0.005"), (0, "0")] {
            assert_eq!(preference(q).as_str(), text);
        }
    }
}
