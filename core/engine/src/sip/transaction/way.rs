//! What requests of ours are lost with: the connection that they went by, or one that could not be made. And answers
//! whose connection is gone.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::net::SocketAddr;

use super::{InviteClient, Machine, NonInviteClient, Owner, Transactions, response_flow_anew};
use crate::arena::Key;
use crate::io::{Flow, Transport};
use crate::sip::message::Message;
use crate::table::{Mixed, Table};

/// As many keys as a connection mostly has, whose place costs no allocation.
const FEW: usize = 4;

/// The connection that a request of ours went by, or whom one is to be made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Connection(u64),
    Peer(Transport, SocketAddr),
}

impl Way {
    /// `None` on UDP, where there is none.
    pub(super) fn of(flow: Flow) -> Option<Self> {
        match (flow.transport.reliable(), flow.connection) {
            (false, _) => None,
            (true, 0) => Some(Self::Peer(flow.transport, flow.peer)),
            (true, connection) => Some(Self::Connection(connection)),
        }
    }
}

/// What is lost with each way. Many a connection has one request at a time, so that it comes and goes with each.
#[derive(Debug, Default)]
pub(super) struct Ways {
    connections: Table<u64, Keys>,
    peers: HashMap<(Transport, SocketAddr), Keys>,
}

impl Ways {
    pub(super) fn insert(&mut self, way: Way, key: Key) {
        let keys = match way {
            Way::Connection(connection) => self.connections.entry(connection).or_default(),
            Way::Peer(transport, peer) => self.peers.entry((transport, peer)).or_default(),
        };
        keys.insert(key);
    }

    fn leave(&mut self, way: Way, key: Key) {
        let keys = match way {
            Way::Connection(connection) => self.connections.get_mut(&connection),
            Way::Peer(transport, peer) => self.peers.get_mut(&(transport, peer)),
        };
        if keys.is_some_and(|keys| keys.remove(key)) {
            self.take(way);
        }
    }

    fn take(&mut self, way: Way) -> Keys {
        let keys = match way {
            Way::Connection(connection) => self.connections.remove(&connection),
            Way::Peer(transport, peer) => self.peers.remove(&(transport, peer)),
        };
        keys.unwrap_or_default()
    }
}

/// The keys of one way, each once.
#[derive(Debug, Default)]
struct Keys {
    few: [Option<Key>; FEW],
    more: HashSet<Key, BuildHasherDefault<Mixed>>,
}

impl Keys {
    fn insert(&mut self, key: Key) {
        if self.few.contains(&Some(key)) || self.more.contains(&key) {
            return;
        }
        match self.few.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(key),
            None => {
                self.more.insert(key);
            }
        }
    }

    /// Whether none is left.
    fn remove(&mut self, key: Key) -> bool {
        match self.few.iter_mut().find(|place| **place == Some(key)) {
            Some(place) => *place = None,
            None => {
                self.more.remove(&key);
            }
        }
        self.more.is_empty() && self.few == [None; FEW]
    }

    /// In their order: the same inputs give the same outputs.
    fn sorted(self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.few.into_iter().flatten().chain(self.more).collect();
        keys.sort_unstable();
        keys
    }
}

impl Transactions {
    /// A connection is gone: the owners of the requests that will get no answer, and the ways that those went.
    pub(crate) fn connection_closed(&mut self, connection: u64) -> Vec<(Key, Owner, Flow)> {
        self.lost(Way::Connection(connection))
    }

    /// There is no connection, or none could be made: the owners of the requests that were to go that way. On UDP
    /// there are none: the next repeat may get through.
    pub(crate) fn unreachable(&mut self, flow: Flow) -> Vec<(Key, Owner, Flow)> {
        Way::of(flow).map_or_else(Vec::new, |way| self.lost(way))
    }

    /// Gives up a request of ours, no INVITE, where its way leads nowhere any more; false if it has its answer.
    pub(crate) fn give_up(&mut self, key: Key) -> bool {
        let waits = self.all.get(key).is_some_and(|transaction| {
            let Machine::NonInviteClient(machine) = transaction.machine else {
                return false;
            };
            machine != NonInviteClient::Completed
        });
        if waits {
            self.close(key);
        }
        waits
    }

    /// Whether a request of ours, no INVITE, has had no answer at all, not even a provisional one.
    pub(crate) fn is_unheard(&self, key: Key) -> bool {
        let machine = self.all.get(key).map(|transaction| &transaction.machine);
        matches!(machine, Some(Machine::NonInviteClient(NonInviteClient::Trying)))
    }

    /// Somebody else waits for what becomes of a request of ours from now on.
    pub(crate) fn hand_over(&mut self, key: Key, owner: Owner) {
        if let Some(transaction) = self.all.get_mut(key) {
            transaction.owner = owner;
        }
    }

    /// The sender of this request has proved who it is: if its connection ends before the answer, that goes by a new
    /// one (RFC 3261 section 18.2.2), or to a browser, which nobody can call, when it sends the request again. An INVITE is
    /// its call's affair.
    pub(crate) fn answer_anew(&mut self, key: Key, request: &Message) {
        let Some(transaction) = self.all.get_mut(key) else {
            return;
        };
        if let Machine::NonInviteServer(_) = transaction.machine
            && let Some(way) = Way::of(transaction.flow)
        {
            let anew = response_flow_anew(request, transaction.flow).unwrap_or(transaction.flow);
            transaction.anew = Some(anew.peer.port());
            self.by_way.insert(way, key);
        }
    }

    /// A request came again: if the connection of the first one is gone, its sender is back. This one may end before the
    /// answer, too, or take it along.
    pub(super) fn back(&mut self, key: Key, request: &Message, flow: Flow) {
        if let Some(transaction) = self.all.get_mut(key)
            && transaction.is_stranded()
            && transaction.flow.transport == flow.transport
        {
            transaction.flow = flow;
            self.answer_anew(key, request);
        }
    }

    /// A transaction is not lost with this way any more.
    pub(super) fn leave(&mut self, key: Key, flow: Flow) {
        if let Some(way) = Way::of(flow) {
            self.by_way.leave(way, key);
        }
    }

    fn lost(&mut self, way: Way) -> Vec<(Key, Owner, Flow)> {
        let keys = self.by_way.take(way).sorted();
        let mut owners = Vec::new();
        for key in &keys {
            if let Some(waiting) = self.all.get_mut(*key)
                && let Some(port) = waiting.anew.take()
            {
                waiting.flow.connection = 0;
                waiting.flow.peer.set_port(port);
                continue;
            }
            let waiting = self.all.get(*key).and_then(|t| match t.machine {
                Machine::InviteClient(
                    InviteClient::Calling | InviteClient::Proceeding | InviteClient::Cancelling,
                )
                | Machine::NonInviteClient(NonInviteClient::Trying | NonInviteClient::Proceeding) => {
                    Some((t.owner, t.flow))
                }
                _ => None,
            });
            if let Some((owner, flow)) = waiting {
                self.close(*key);
                owners.push((*key, owner, flow));
            }
        }
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    #[test]
    fn a_handful_of_keys_costs_no_allocation_and_each_key_is_there_once() {
        let mut arena = Arena::default();
        let all: Vec<Key> = (0..FEW + 3).map(|_| arena.insert_with(|_| ())).collect();
        let mut ways = Ways::default();
        for way in [
            Way::Connection(7),
            Way::Peer(Transport::Tcp, ([192, 0, 2, 1], 5060).into()),
        ] {
            for round in [FEW, FEW + 3] {
                for key in all[..round].iter().rev().chain(&all[..round]) {
                    ways.insert(way, *key);
                }
                assert_eq!(ways.take(way).sorted(), all[..round]);
            }
            for key in &all[..FEW] {
                ways.insert(way, *key);
            }
            ways.leave(way, all[FEW]); // one that is not there
            let keys = ways.take(way);
            assert_eq!((keys.more.capacity(), keys.sorted().len()), (0, FEW));
            for key in &all {
                ways.insert(way, *key);
            }
            for key in &all {
                ways.leave(way, *key);
            }
            assert!(ways.connections.is_empty() && ways.peers.is_empty());
        }
    }
}
