//! Registrations that are being written. What cannot be written is taken back, so that memory and disk agree: each
//! binding is again what it was before, also where further REGISTERs for the same address are on their way to disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use cordboard_model::Ticket;

use crate::engine::Engine;
use crate::io::{Output, StoreWrite};
use crate::pager::Occasion;
use crate::registration::Registering;
use crate::sip::registrar::Binding;
use crate::timer::Timer;

/// A contact as it was written, and the phone and flow that it was said to be.
type Row = (Arc<str>, String);

/// What one contact was before a REGISTER.
#[derive(Debug)]
pub(crate) struct Before {
    row: Row,
    binding: Option<Box<Binding>>,
    /// It was bound by that REGISTER, and not unbound.
    bound: bool,
    /// Its row is on the disk for as long as that REGISTER is not: it writes the same contact otherwise.
    has_row: bool,
    /// The mark on the connection of the former binding, by which it is known whether that still lives.
    mark: u64,
}

impl Before {
    /// On what occasion a REGISTER that is on disk has messages delivered: none, where it only took contacts out.
    pub(crate) fn occasion(all: &[Self]) -> Option<Occasion> {
        let bound = all.iter().any(|before| before.bound);
        bound.then_some(Occasion::Registered)
    }
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

    /// What each REGISTER of an address after this one found.
    fn later(&mut self, address: &Arc<str>, ticket: Ticket) -> impl Iterator<Item = &mut Vec<Before>> {
        let (from, to) = (Ticket(ticket.0 + 1), Ticket(u64::MAX));
        self.all
            .range_mut((Arc::clone(address), from)..=(Arc::clone(address), to))
            .map(|(_, registering)| &mut registering.before)
    }

    /// What the next REGISTER after this one found at a contact of the same address.
    fn next_before(&mut self, address: &Arc<str>, ticket: Ticket, row: &Row) -> Option<&mut Before> {
        let mut all = self.later(address, ticket).flatten();
        all.find(|before| before.row == *row)
    }

    /// All that the next REGISTER after this one found that names one of these contacts.
    fn next_of(&mut self, address: &Arc<str>, ticket: Ticket, rows: &[Row]) -> Option<&mut Vec<Before>> {
        let names = |found: &&mut Vec<Before>| found.iter().any(|before| rows.contains(&before.row));
        self.later(address, ticket).find(names)
    }
}

impl Engine {
    /// Remembers what a contact was that has just been bound or unbound.
    pub(crate) fn before(&mut self, row: Row, binding: Option<Binding>, bound: bool) -> Before {
        let connection = binding.as_ref().map_or(0, |binding| binding.flow.connection);
        Before {
            row,
            binding: binding.map(Box::new),
            bound,
            has_row: false,
            mark: self.registrar.mark_connection(connection),
        }
    }

    /// A REGISTER is on disk: what it stands there instead of goes, and nobody needs to know any more what was before.
    pub(crate) fn settled(&mut self, address: &Arc<str>, before: Vec<Before>) {
        for before in before.iter().filter(|before| before.has_row) {
            let (contact, instance) = before.row.clone();
            if self.registrar.find_row(address, &contact, &instance).is_none() {
                let (ticket, aor) = (self.ticket(), Arc::clone(address));
                let write = StoreWrite::DeleteBinding {
                    aor,
                    contact,
                    instance,
                };
                self.wire.out.push_back(Output::Store { ticket, write });
            }
        }
        self.forget_before(before);
    }

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
            if let Some(next) = self.unsettled.next_before(address, ticket, &before.row) {
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
        let (contact, instance) = &before.row;
        let there = self.registrar.find_row(address, contact, instance);
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
        let meant = self.registrar.meant(address, &binding.contact, &binding.instance);
        let row = |binding: &Binding| (Arc::clone(&binding.contact), binding.instance.clone());
        let others: Vec<Row> = meant.map(row).collect();
        if there.is_none() && !others.is_empty() {
            (before.binding, before.has_row) = (Some(binding), true);
            match self.unsettled.next_of(address, ticket, &others) {
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
