//! The registrar's bindings: RFC 3261 section 10, contacts by address of record.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use cordboard_model::Time;

use crate::io::Flow;
use crate::sip::uri::Uri;

/// A registered contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) contact: String,
    pub(crate) expires: Time,
    /// 0 to 1000: the q value times 1000.
    pub(crate) q: u16,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    /// The way that the REGISTER came: the way back to the phone.
    pub(crate) flow: Flow,
    pub(crate) user_agent: String,
    pub(crate) path: String,
    /// The phone and which of its flows (RFC 5626), empty unless it gave both.
    pub(crate) instance: String,
    /// Unique while the switch runs; timers know a binding by it.
    pub(crate) serial: u64,
}

/// Every binding.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    by_address: HashMap<String, Vec<Binding>>,
    by_serial: HashMap<u64, String>,
    by_connection: HashMap<u64, HashSet<u64>>,
    serial: u64,
}

impl Registrar {
    pub(crate) fn len(&self) -> usize {
        self.by_serial.len()
    }

    /// The contacts of an address of record that hold at `now`, the most preferred first.
    pub(crate) fn contacts(&self, address: &str, now: Time) -> Vec<&Binding> {
        let mut contacts: Vec<&Binding> = self
            .by_address
            .get(address)
            .into_iter()
            .flatten()
            .filter(|b| b.expires > now)
            .collect();
        contacts.sort_by_key(|binding| std::cmp::Reverse((binding.q, binding.serial)));
        contacts
    }

    pub(crate) fn find(&self, address: &str, contact: &str) -> Option<&Binding> {
        self.by_address
            .get(address)?
            .iter()
            .find(|binding| same_contact(&binding.contact, contact))
    }

    /// The binding of the same phone and flow (RFC 5626 section 6), whatever its contact is now.
    pub(crate) fn find_instance(&self, address: &str, instance: &str) -> Option<&Binding> {
        self.by_address
            .get(address)?
            .iter()
            .find(|binding| !instance.is_empty() && binding.instance == instance)
    }

    /// Adds or refreshes a binding; gives its serial number and what it replaced.
    pub(crate) fn put(&mut self, address: &str, mut binding: Binding) -> (u64, Option<Binding>) {
        let bindings = self.by_address.entry(address.to_owned()).or_default();
        let connection = binding.flow.connection;
        let (serial, replaced) = match bindings
            .iter_mut()
            .find(|b| same_contact(&b.contact, &binding.contact))
        {
            Some(old) => {
                binding.serial = old.serial;
                (old.serial, Some(std::mem::replace(old, binding)))
            }
            None => {
                self.serial += 1;
                binding.serial = self.serial;
                bindings.push(binding);
                self.by_serial.insert(self.serial, address.to_owned());
                (self.serial, None)
            }
        };
        if let Some(old) = &replaced {
            self.forget_connection(old.flow.connection, serial);
        }
        if connection != 0 {
            self.by_connection.entry(connection).or_default().insert(serial);
        }
        (serial, replaced)
    }

    /// Takes a binding out.
    pub(crate) fn remove(&mut self, address: &str, serial: u64) -> Option<Binding> {
        let Entry::Occupied(mut entry) = self.by_address.entry(address.to_owned()) else {
            return None;
        };
        let place = entry.get().iter().position(|binding| binding.serial == serial)?;
        let binding = entry.get_mut().swap_remove(place);
        if entry.get().is_empty() {
            entry.remove();
        }
        self.by_serial.remove(&serial);
        self.forget_connection(binding.flow.connection, serial);
        Some(binding)
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
        if let Entry::Occupied(mut serials) = self.by_connection.entry(connection) {
            serials.get_mut().remove(&serial);
            if serials.get().is_empty() {
                serials.remove();
            }
        }
    }

    /// Takes a binding out if it ends at exactly `at`: a later refresh keeps it.
    pub(crate) fn expire(&mut self, serial: u64, at: Time) -> Option<(String, Binding)> {
        let address = self.by_serial.get(&serial)?.clone();
        let ends = self
            .by_address
            .get(&address)?
            .iter()
            .find(|b| b.serial == serial)?
            .expires;
        if ends != at {
            return None;
        }
        self.remove(&address, serial).map(|binding| (address, binding))
    }
}

fn same_contact(one: &str, other: &str) -> bool {
    one == other
        || match (Uri::parse(one), Uri::parse(other)) {
            (Ok(one), Ok(other)) => one.equals(&other),
            _ => false,
        }
}
