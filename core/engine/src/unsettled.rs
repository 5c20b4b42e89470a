//! Registrations that are being written. What cannot be written is taken back, so that memory and disk agree: each
//! binding is again what it was before, also where further REGISTERs for the same address are on their way to disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use cordboard_model::Ticket;

use crate::engine::Engine;
use crate::io::{Output, StoreWrite};
use crate::registration::Registering;
use crate::sip::registrar::Binding;
use crate::timer::Timer;

/// What one contact was before a REGISTER.
#[derive(Debug)]
pub(crate) struct Before {
    contact: Arc<str>,
    binding: Option<Box<Binding>>,
    /// It was bound by that REGISTER, and not unbound.
    bound: bool,
    /// Its row is on the disk for as long as that REGISTER is not: it writes the same contact otherwise.
    has_row: bool,
    /// The mark on the connection of the former binding, by which it is known whether that still lives.
    mark: u64,
}

/// Every REGISTER that is being written, by its address of record and ticket.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    all: BTreeMap<(Arc<str>, Ticket), Registering>,
}

impl Unsettled {
    pub(crate) fn insert(&mut self, address: Arc<str>, ticket: Ticket, registering: Registering) {
        self.all.insert((address, ticket), registering);
    }

    pub(crate) fn remove(&mut self, key: &(Arc<str>, Ticket)) -> Option<Registering> {
        self.all.remove(key)
    }

    /// The REGISTERs of an address after this one.
    fn later(&mut self, address: &Arc<str>, ticket: Ticket) -> impl Iterator<Item = &mut Registering> {
        let (from, to) = (Ticket(ticket.0 + 1), Ticket(u64::MAX));
        self.all
            .range_mut((Arc::clone(address), from)..=(Arc::clone(address), to))
            .map(|(_, registering)| registering)
    }

    /// What the next REGISTER after this one found at a contact of the same address.
    fn next_before(&mut self, address: &Arc<str>, ticket: Ticket, contact: &str) -> Option<&mut Before> {
        self.later(address, ticket)
            .flat_map(|registering| &mut registering.before)
            .find(|before| *before.contact == *contact)
    }

    /// What else the next REGISTER after this one found that names a contact.
    fn next_found(&mut self, address: &Arc<str>, ticket: Ticket, contact: &str) -> Option<&mut Vec<Before>> {
        self.later(address, ticket)
            .map(|registering| &mut registering.before)
            .find(|found| found.iter().any(|before| *before.contact == *contact))
    }
}

impl Engine {
    /// Remembers what a contact was that has just been bound or unbound.
    pub(crate) fn before(&mut self, contact: Arc<str>, binding: Option<Binding>, bound: bool) -> Before {
        let connection = binding.as_ref().map_or(0, |binding| binding.flow.connection);
        Before {
            contact,
            binding: binding.map(Box::new),
            bound,
            has_row: false,
            mark: self.registrar.mark_connection(connection),
        }
    }

    /// A REGISTER is on disk: what it has replaced there ends, and nobody needs to know any more what was before.
    pub(crate) fn settled(&mut self, address: &Arc<str>, before: Vec<Before>) {
        for before in before.iter().filter(|before| before.has_row) {
            self.delete_row(address, &before.contact);
        }
        self.forget_before(before);
    }

    fn delete_row(&mut self, address: &Arc<str>, contact: &Arc<str>) {
        if self.registrar.find_written(address, contact).is_none() {
            let (aor, contact) = (Arc::clone(address), Arc::clone(contact));
            let (ticket, write) = (self.ticket(), StoreWrite::DeleteBinding { aor, contact });
            self.wire.out.push_back(Output::Store { ticket, write });
        }
    }

    /// Nobody needs to know any more what was before.
    fn forget_before(&mut self, before: Vec<Before>) {
        for before in before {
            if let Some(binding) = before.binding {
                self.registrar
                    .unmark_connection(binding.flow.connection, before.mark);
            }
        }
    }

    /// A REGISTER could not be written, nothing of it: what was before holds again.
    pub(crate) fn take_back(&mut self, address: &Arc<str>, ticket: Ticket, before: Vec<Before>) {
        for before in before.into_iter().rev() {
            // What a later REGISTER has found there is not on disk either.
            if let Some(next) = self.unsettled.next_before(address, ticket, &before.contact) {
                let bound = next.bound;
                let found = std::mem::replace(next, Before { bound, ..before });
                self.forget_before(vec![found]);
                continue;
            }
            self.restore(address, ticket, before);
        }
    }

    fn restore(&mut self, address: &Arc<str>, ticket: Ticket, mut before: Before) {
        let now = self.wire.now;
        let there = self.registrar.find_written(address, &before.contact);
        let there = there.map(|binding| binding.serial);
        if before.bound && there.is_none() {
            return self.forget_before(vec![before]); // it has ended meanwhile
        }
        let Some(mut binding) = before.binding.take() else {
            if let Some(serial) = there {
                self.registrar.remove(address, serial);
            }
            return;
        };
        // A later REGISTER writes the same contact otherwise.
        let otherwise = self.registrar.find(address, &binding.contact);
        if let Some(other) = otherwise.filter(|_| there.is_none()) {
            let other = Arc::clone(&other.contact);
            before.binding = Some(binding);
            before.has_row = true;
            match self.unsettled.next_found(address, ticket, &other) {
                // It may fail as well. In front: what it has bound itself goes first then.
                Some(found) => found.insert(0, before),
                None => self.settled(address, vec![before]),
            }
            return;
        }
        let connection = binding.flow.connection;
        if !self.registrar.unmark_connection(connection, before.mark) {
            binding.flow.connection = 0;
        }
        if binding.expires <= now || !self.directory.knows(address) {
            if let Some(serial) = there {
                self.registrar.remove(address, serial);
            }
            return;
        }
        let expires = binding.expires;
        let (serial, _, arm) = self.registrar.put(address, *binding);
        if arm {
            self.wire.timers.arm(expires, Timer::Binding(serial));
        }
    }
}
