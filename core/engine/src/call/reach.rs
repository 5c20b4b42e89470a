//! Calls whose connection ends. They go on: what we have to say meanwhile goes to where the phone says it is reached,
//! and by the new connection as soon as the same phone has registered on it. Subscriptions do the same, for a time
//! (`subscription/reach`).

use std::collections::{BTreeSet, HashMap};

use cordboard_model::UserId;

use crate::arena::Key;
use crate::call::Call;
use crate::conference::seat::Stream;
use crate::engine::Engine;
use crate::io::Flow;
use crate::sip::dialog::Dialog;
use crate::sip::header::NameAddr;
use crate::sip::uri::Uri;

/// Which dialogs go by which connection, and which have lost theirs.
#[derive(Debug)]
pub(crate) struct Carried<K = Key> {
    by_connection: HashMap<u64, BTreeSet<K>>,
    /// By the users whose phones they are to.
    stranded: HashMap<UserId, BTreeSet<K>>,
}

impl<K> Default for Carried<K> {
    fn default() -> Self {
        Self {
            by_connection: HashMap::new(),
            stranded: HashMap::new(),
        }
    }
}

impl<K: Copy + Ord> Carried<K> {
    /// This dialog goes by a connection; 0 is none.
    pub(crate) fn carry(&mut self, connection: u64, key: K) {
        if connection != 0 {
            self.by_connection.entry(connection).or_default().insert(key);
        }
    }

    /// It does not any more.
    pub(crate) fn drop(&mut self, connection: u64, key: K) {
        remove(&mut self.by_connection, connection, key);
    }

    /// It is not, or no longer, among those that have lost theirs.
    pub(crate) fn found(&mut self, owner: Option<UserId>, key: K) {
        if let Some(owner) = owner {
            remove(&mut self.stranded, owner, key);
        }
    }

    /// Whether no dialog is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_connection.is_empty() && self.stranded.is_empty()
    }

    /// A connection has ended: the dialogs that went by it.
    pub(crate) fn lose(&mut self, connection: u64) -> BTreeSet<K> {
        self.by_connection.remove(&connection).unwrap_or_default()
    }

    /// This dialog has lost its connection.
    pub(crate) fn strand(&mut self, owner: UserId, key: K) {
        self.stranded.entry(owner).or_default().insert(key);
    }

    /// The dialogs with phones of this user that have lost theirs.
    pub(crate) fn stranded(&self, owner: UserId) -> impl Iterator<Item = K> {
        self.stranded.get(&owner).into_iter().flatten().copied()
    }
}

impl Engine {
    /// The requests of this call go by a connection from now on, if its flow is one.
    pub(crate) fn carry(&mut self, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        self.carried.carry(call.dialog.flow.connection, key);
    }

    /// The call is over.
    pub(crate) fn drop_carried(&mut self, key: Key, call: &Call) {
        for connection in connections(call) {
            self.carried.drop(connection, key);
        }
        self.carried.found(call.owner, key);
        debug_assert!(
            self.calls.len() > 0 || self.carried.is_empty(),
            "nobody is left in it"
        );
    }

    /// Changes which ways lead to the peer of a call, keeps book of the connections that it depends on, and looks
    /// which way its requests go from now on.
    pub(crate) fn change_ways(&mut self, key: Key, change: impl FnOnce(&mut Call)) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let before = connections(call);
        change(call);
        let after = connections(call);
        for connection in before
            .into_iter()
            .filter(|connection| !after.contains(connection))
        {
            self.carried.drop(connection, key);
        }
        for connection in after
            .into_iter()
            .filter(|connection| !before.contains(connection))
        {
            self.carried.carry(connection, key);
        }
        self.look_for_way(key);
    }

    /// The peer of this call is reached by another flow now.
    pub(crate) fn move_call(&mut self, key: Key, flow: Flow) {
        let sent_by = self.sent_by(flow);
        let Some(call) = self.calls.get(key) else {
            return;
        };
        let before = call.dialog.flow;
        if before == flow {
            return;
        }
        let owner = call.owner;
        self.change_ways(key, |call| call.dialog.go_by(flow, sent_by));
        self.carried.found(owner, key);
        if before.connection == flow.connection {
            return;
        }
        self.redirect_answers(key, flow);
        self.videos_changed(key); // what it could not be told
    }

    /// The address of record that the peer of a dialog would have.
    pub(crate) fn address_of_peer(&self, dialog: &Dialog) -> Option<String> {
        let uri = NameAddr::parse(&dialog.remote).ok()?.parsed_uri().ok()?;
        Some(format!(
            "{}@{}",
            uri.user()?,
            self.directory.account(uri.host).realm
        ))
    }

    /// By which other connection the peer of a dialog has registered, if it has: phones that change their network come
    /// back before the end of the old connection is noticed.
    pub(crate) fn way_back(&self, dialog: &Dialog) -> Option<Flow> {
        let address = self.address_of_peer(dialog)?;
        let is_back = |flow: Flow| {
            flow.connection != 0
                && flow.connection != dialog.flow.connection
                && flow.transport == dialog.flow.transport
        };
        self.registrar
            .contacts(&address, self.wire.now)
            .find(|binding| {
                is_back(binding.flow) && self.is_same_phone(&address, &dialog.target, &binding.contact)
            })
            .map(|binding| binding.flow)
    }

    /// Whether two contacts of one address are of one phone. Two phones of one user on one machine may differ in their
    /// ports alone: then each has registered its contact, under a Call-ID of its own (RFC 3261 section 10.2), and is
    /// another program or still there.
    pub(crate) fn is_same_phone(&self, address: &str, one: &str, other: &str) -> bool {
        let registered = |contact| self.registrar.find(address, contact);
        is_same(one, other)
            && match (registered(one), registered(other)) {
                (Some(one), Some(other)) => {
                    let is_there = one.flow.connection != 0 || !one.flow.transport.reliable();
                    one.is_of_phone(other) || !is_there && one.user_agent == other.user_agent
                }
                _ => true,
            }
    }

    /// A connection has ended; gives the calls whose dialogs went by it.
    pub(crate) fn strand_calls(&mut self, connection: u64) -> BTreeSet<Key> {
        let mut lost = self.carried.lose(connection);
        lost.retain(|key| self.strand_call(*key, connection));
        self.strand_partings(connection);
        lost
    }

    /// The same for one of those that depend on it; whether its dialog does.
    pub(crate) fn strand_call(&mut self, key: Key, connection: u64) -> bool {
        let Some(call) = self.calls.get_mut(key) else {
            return false;
        };
        if call.seat.stream.connection() == connection {
            call.seat.stream = Stream::Unknown;
        }
        let is_lost = call.dialog.flow.connection == connection;
        if is_lost {
            call.dialog.disconnected();
            if let Some(owner) = call.owner {
                self.carried.strand(owner, key);
            }
            self.strand_answers(key);
        }
        self.look_for_way(key);
        is_lost
    }

    /// Those of them whose phones have come back already go on by their new connections.
    pub(crate) fn resume_calls(&mut self, lost: &BTreeSet<Key>) {
        for key in lost {
            let call = self.calls.get(*key).filter(|call| call.owner.is_some());
            if let Some(flow) = call.and_then(|call| self.way_back(&call.dialog)) {
                self.resume(*key, flow);
            }
        }
    }

    fn resume(&mut self, key: Key, flow: Flow) {
        self.move_call(key, flow);
        self.flush(key);
        self.advance_offer(key);
    }

    /// A phone of `owner` has registered `contact` for `address` on a connection: its calls go by that.
    pub(crate) fn phone_is_back(&mut self, owner: UserId, address: &str, contact: &str, flow: Flow) {
        let is_of_phone = |key: &Key| {
            let call = self.calls.get(*key);
            call.is_some_and(|call| {
                call.dialog.flow.transport == flow.transport
                    && self.is_same_phone(address, &call.dialog.target, contact)
            })
        };
        let back: Vec<Key> = self.carried.stranded(owner).filter(is_of_phone).collect();
        for key in back {
            self.resume(key, flow);
        }
    }
}

/// The connections that a call depends on; 0 is none.
fn connections(call: &Call) -> [u64; 2] {
    [call.dialog.flow.connection, call.seat.stream.connection()]
}

/// Whether two contacts are of one phone; how they are reached may have changed.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    match (Uri::parse(one), Uri::parse(other)) {
        (Ok(one), Ok(other)) => one.host == other.host && one.user() == other.user(),
        _ => false,
    }
}

fn remove<O: std::hash::Hash + Eq, K: Ord>(sets: &mut HashMap<O, BTreeSet<K>>, of: O, key: K) {
    if let Some(set) = sets.get_mut(&of) {
        set.remove(&key);
        if set.is_empty() {
            sets.remove(&of);
        }
    }
}
