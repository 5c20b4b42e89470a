//! Calls whose connection ends. They go on: what we have to say meanwhile goes to where the phone says it is reached,
//! and by the new connection as soon as the same phone has registered on it.

use std::collections::{BTreeSet, HashMap};

use cordboard_model::UserId;

use crate::arena::Key;
use crate::call::Call;
use crate::engine::Engine;
use crate::io::Flow;
use crate::sip::uri::Uri;

/// Which calls go by which connection, and which have lost theirs.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    by_connection: HashMap<u64, BTreeSet<Key>>,
    /// By the users whose phones they are to.
    stranded: HashMap<UserId, BTreeSet<Key>>,
}

impl Engine {
    /// The requests of this call go by a connection from now on, if its flow is one.
    pub(crate) fn carry(&mut self, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        let connection = call.dialog.flow.connection;
        if connection != 0 {
            self.carried
                .by_connection
                .entry(connection)
                .or_default()
                .insert(key);
        }
    }

    /// The call is over.
    pub(crate) fn drop_carried(&mut self, key: Key, call: &Call) {
        remove(&mut self.carried.by_connection, call.dialog.flow.connection, key);
        if let Some(owner) = call.owner {
            remove(&mut self.carried.stranded, owner, key);
        }
    }

    /// The peer of this call is reached by another flow now.
    pub(crate) fn move_call(&mut self, key: Key, flow: Flow) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let before = std::mem::replace(&mut call.dialog.flow, flow).connection;
        let owner = call.owner;
        if before == flow.connection {
            return;
        }
        remove(&mut self.carried.by_connection, before, key);
        if let Some(owner) = owner {
            remove(&mut self.carried.stranded, owner, key);
        }
        self.carry(key);
        self.videos_changed(key); // what it could not be told
    }

    /// A connection has ended.
    pub(crate) fn strand_calls(&mut self, connection: u64) {
        let lost = self.carried.by_connection.remove(&connection);
        for key in lost.unwrap_or_default() {
            let Some(call) = self.calls.get_mut(key) else {
                continue;
            };
            if call.dialog.flow.connection != connection {
                continue;
            }
            call.dialog.disconnected();
            if let Some(owner) = call.owner {
                self.carried.stranded.entry(owner).or_default().insert(key);
            }
        }
    }

    /// A phone of `owner` has registered `contact` on a connection: its calls go by that.
    pub(crate) fn phone_is_back(&mut self, owner: UserId, contact: &str, flow: Flow) {
        let Some(stranded) = self.carried.stranded.get(&owner) else {
            return;
        };
        let is_of_phone = |key: &&Key| {
            let call = self.calls.get(**key);
            call.is_some_and(|call| {
                call.dialog.flow.transport == flow.transport && is_same(&call.dialog.target, contact)
            })
        };
        let back: Vec<Key> = stranded.iter().filter(is_of_phone).copied().collect();
        for key in back {
            self.move_call(key, flow);
            self.flush(key);
            self.advance_offer(key);
        }
    }
}

/// Whether two contacts are of one phone; how they are reached may have changed.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    match (Uri::parse(one), Uri::parse(other)) {
        (Ok(one), Ok(other)) => one.host == other.host && one.user() == other.user(),
        _ => false,
    }
}

fn remove<K: std::hash::Hash + Eq>(sets: &mut HashMap<K, BTreeSet<Key>>, of: K, key: Key) {
    if let Some(set) = sets.get_mut(&of) {
        set.remove(&key);
        if set.is_empty() {
            sets.remove(&of);
        }
    }
}
