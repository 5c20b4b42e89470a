//! The registrar's bindings: RFC 3261 section 10, contacts by address of record.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use cordboard_model::Time;

use crate::io::Flow;
use crate::sip::uri::Uri;
use crate::table::Table;

/// Kinds of phones that share the text of their User-Agent.
const AGENTS: usize = 10_000;

/// A registered contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) contact: Arc<str>,
    pub(crate) expires: Time,
    /// 0 to 1000: the q value times 1000.
    pub(crate) q: u16,
    pub(crate) call_id: Arc<str>,
    pub(crate) cseq: u32,
    /// The way that the REGISTER came: the way back to the phone.
    pub(crate) flow: Flow,
    pub(crate) user_agent: Arc<str>,
    pub(crate) path: String,
    /// The phone and which of its flows (RFC 5626), empty unless it gave both.
    pub(crate) instance: String,
    /// Unique while the switch runs; timers know a binding by it.
    pub(crate) serial: u64,
    /// When its timer runs: at its end, or before, where it was renewed since.
    pub(crate) timer: Time,
    /// What was sent by it had no answer since it was registered so; told of connections that phones on UDP have too.
    pub(crate) silent: bool,
}

impl Binding {
    /// Whether one phone, since it was last switched on, has made both.
    pub(crate) fn is_of_phone(&self, other: &Self) -> bool {
        self.call_id == other.call_id || self.phone().is_some_and(|phone| other.phone() == Some(phone))
    }

    /// The phone, by whatever flow it is reached; none if it gave no instance.
    pub(crate) fn phone(&self) -> Option<&str> {
        let (phone, _) = self.instance.rsplit_once(";reg-id=")?;
        Some(phone)
    }

    /// Whether another phone stood where one registers now: it has been given a new instance, or has been replaced.
    /// Behind a proxy two phones may look so.
    pub(crate) fn is_displaced_by(&self, contact: &str, instance: &str, flow: Flow) -> bool {
        let there = (self.flow.peer, self.flow.connection) == (flow.peer, flow.connection);
        let same = |phone| instance.starts_with(phone);
        there
            && self.path.is_empty()
            && same_contact(&self.contact, contact)
            && self.phone().is_some_and(|phone| !same(phone))
    }

    /// Whether a Contact of a REGISTER means this binding: by phone and flow, whatever its contact is now (RFC 5626
    /// section 6); where either does not give them, by contact.
    fn is_meant(&self, contact: &str, instance: &str) -> bool {
        if self.instance.is_empty() || instance.is_empty() {
            same_contact(&self.contact, contact)
        } else {
            self.instance == instance
        }
    }
}

/// What the timer of a binding found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Its time is up; its address of record.
    Gone(Arc<str>, Box<Binding>),
    /// It was renewed: look again then.
    Renewed(Time),
}

/// Every binding.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    /// The most preferred contact of each address of record before the others.
    by_address: Table<Arc<str>, Vec<Binding>>,
    by_serial: Table<u64, Arc<str>>,
    by_connection: Table<u64, HashSet<u64>>,
    /// One copy of each User-Agent: a million phones are of a few hundred kinds.
    agents: HashSet<Arc<str>>,
    serial: u64,
}

impl Registrar {
    pub(crate) fn len(&self) -> usize {
        self.by_serial.len()
    }

    /// All contacts of an address of record, also those whose time is just up, the most preferred first.
    pub(crate) fn all(&self, address: &str) -> &[Binding] {
        self.by_address.get(address).map_or(&[], Vec::as_slice)
    }

    /// The contacts of an address of record that hold at `now`, the most preferred first.
    pub(crate) fn contacts(&self, address: &str, now: Time) -> impl Iterator<Item = &Binding> {
        self.all(address).iter().filter(move |b| b.expires > now)
    }

    /// The flows that hold at `now` of the phone that has registered this contact (RFC 5626): the contact itself, and
    /// those of the same address of record and instance.
    pub(crate) fn flows<'a>(&'a self, contact: &'a Binding, now: Time) -> impl Iterator<Item = &'a Binding> {
        let address = self.by_serial.get(&contact.serial);
        let all = self.contacts(address.map_or("", |address| &**address), now);
        all.filter(move |flow| {
            let same = |phone| flow.phone() == Some(phone);
            flow.serial == contact.serial || contact.phone().is_some_and(same)
        })
    }

    /// The binding of this serial, if it holds at `now`.
    pub(crate) fn binding(&self, serial: u64, now: Time) -> Option<&Binding> {
        let address = self.by_serial.get(&serial)?;
        self.contacts(address, now)
            .find(|binding| binding.serial == serial)
    }

    /// The phone of this serial says nothing on this connection of its own.
    pub(crate) fn mark_silent(&mut self, serial: u64, connection: u64) {
        let bindings = self
            .by_serial
            .get(&serial)
            .and_then(|address| self.by_address.get_mut(address));
        for binding in bindings.into_iter().flatten() {
            binding.silent |= connection != 0 && binding.flow.connection == connection;
        }
    }

    pub(crate) fn find(&self, address: &str, contact: &str) -> Option<&Binding> {
        self.all(address)
            .iter()
            .find(|binding| same_contact(&binding.contact, contact))
    }

    /// The bindings that a Contact of a REGISTER means, of this phone and flow (empty: it gave none).
    pub(crate) fn meant(
        &self,
        address: &str,
        contact: &str,
        instance: &str,
    ) -> impl Iterator<Item = &Binding> {
        self.all(address)
            .iter()
            .filter(move |binding| binding.is_meant(contact, instance))
    }

    /// The binding of exactly this writing, phone and flow: the row on disk.
    pub(crate) fn find_row(&self, address: &str, contact: &str, instance: &str) -> Option<&Binding> {
        self.all(address)
            .iter()
            .find(|binding| *binding.contact == *contact && binding.instance == instance)
    }

    /// Marks a connection, so that it is known later whether it has been closed; 0 is none.
    pub(crate) fn mark_connection(&mut self, connection: u64) -> u64 {
        if connection == 0 {
            return 0;
        }
        self.serial += 1; // no binding has this number
        self.by_connection
            .entry(connection)
            .or_default()
            .insert(self.serial);
        self.serial
    }

    /// Takes a mark off again; whether the connection still lives.
    pub(crate) fn unmark_connection(&mut self, connection: u64, mark: u64) -> bool {
        let lives = self.by_connection.contains_key(&connection);
        self.forget_connection(connection, mark);
        lives
    }

    /// Adds or refreshes a binding; gives its serial number, what it replaced, and whether a timer is to
    /// be armed for its end: a binding that is renewed again and again has one timer, not many.
    pub(crate) fn put(&mut self, address: &Arc<str>, mut binding: Binding) -> (u64, Option<Binding>, bool) {
        let bindings = self.by_address.entry(Arc::clone(address)).or_default();
        let connection = binding.flow.connection;
        binding.timer = binding.expires;
        let mut arm = true;
        let (serial, replaced) = match bindings
            .iter_mut()
            .find(|b| b.is_meant(&binding.contact, &binding.instance))
        {
            Some(old) => {
                binding.serial = old.serial;
                if old.timer <= binding.expires {
                    (binding.timer, arm) = (old.timer, false);
                }
                (old.serial, Some(std::mem::replace(old, binding)))
            }
            None => {
                self.serial += 1;
                binding.serial = self.serial;
                // Most have one contact only, where a Vec would make room for four.
                bindings.reserve_exact(1);
                bindings.push(binding);
                self.by_serial.insert(self.serial, Arc::clone(address));
                (self.serial, None)
            }
        };
        bindings.sort_by_key(|binding| std::cmp::Reverse((binding.q, binding.serial)));
        let old = replaced.as_ref().map_or(0, |old| old.flow.connection);
        if old != connection {
            self.forget_connection(old, serial);
            if connection != 0 {
                self.by_connection.entry(connection).or_default().insert(serial);
            }
        }
        (serial, replaced, arm)
    }

    /// The one copy of a User-Agent that all its phones share.
    pub(crate) fn agent(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.agents.get(text) {
            return Arc::clone(known);
        }
        if self.agents.len() >= AGENTS {
            self.agents.retain(|agent| Arc::strong_count(agent) > 1);
        }
        let agent: Arc<str> = text.into();
        // Who makes up a new one each time is not given a place.
        if self.agents.len() < AGENTS {
            self.agents.insert(Arc::clone(&agent));
        }
        agent
    }

    /// Takes a binding out.
    pub(crate) fn remove(&mut self, address: &str, serial: u64) -> Option<Binding> {
        let bindings = self.by_address.get_mut(address)?;
        let place = bindings.iter().position(|binding| binding.serial == serial)?;
        let binding = bindings.remove(place);
        if bindings.is_empty() {
            self.by_address.remove(address);
        }
        self.by_serial.remove(&serial);
        self.forget_connection(binding.flow.connection, serial);
        Some(binding)
    }

    /// The bindings of every address of record that is chosen: address and serial number, in no order.
    pub(crate) fn bindings_where(&self, chosen: impl Fn(&str) -> bool) -> Vec<(Arc<str>, u64)> {
        self.by_address
            .iter()
            .filter(|(address, _)| chosen(address))
            .flat_map(|(address, bindings)| {
                bindings
                    .iter()
                    .map(|binding| (Arc::clone(address), binding.serial))
            })
            .collect()
    }

    /// A connection is gone: its contacts stay, but the way to them must be found anew.
    pub(crate) fn connection_closed(&mut self, connection: u64) {
        for serial in self.by_connection.remove(&connection).unwrap_or_default() {
            let bindings = self
                .by_serial
                .get(&serial)
                .and_then(|address| self.by_address.get_mut(address));
            if let Some(binding) = bindings
                .into_iter()
                .flatten()
                .find(|binding| binding.serial == serial)
            {
                binding.flow.connection = 0;
            }
        }
    }

    fn forget_connection(&mut self, connection: u64, serial: u64) {
        if connection == 0 {
            return;
        }
        if let Entry::Occupied(mut serials) = self.by_connection.entry(connection) {
            serials.get_mut().remove(&serial);
            if serials.get().is_empty() {
                serials.remove();
            }
        }
    }

    /// The timer of a binding has run; nothing if it is not the one that the binding waits for.
    pub(crate) fn expire(&mut self, serial: u64, at: Time) -> Option<Expired> {
        let address = self.by_serial.get(&serial)?.clone();
        let binding = self
            .by_address
            .get_mut(&address)?
            .iter_mut()
            .find(|b| b.serial == serial && b.timer == at)?;
        if binding.expires > at {
            binding.timer = binding.expires;
            return Some(Expired::Renewed(binding.expires));
        }
        let binding = self.remove(&address, serial)?;
        Some(Expired::Gone(address, Box::new(binding)))
    }
}

/// Whether two contacts are one (RFC 3261 section 19.1.4).
pub(crate) fn same_contact(one: &str, other: &str) -> bool {
    one == other
        || match (Uri::parse(one), Uri::parse(other)) {
            (Ok(one), Ok(other)) => one.equals(&other),
            _ => false,
        }
}
