//! What requests of ours are lost with: the connection that they went by, or one that could not be made. And answers
//! whose connection is gone.

use std::net::SocketAddr;

use super::{InviteClient, Machine, NonInviteClient, Owner, Transactions, response_flow_anew};
use crate::arena::Key;
use crate::io::{Flow, Transport};
use crate::sip::message::Message;

/// The connection that a request of ours went by, or whom one is to be made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

    /// Somebody else waits for what becomes of a request of ours from now on.
    pub(crate) fn hand_over(&mut self, key: Key, owner: Owner) {
        if let Some(transaction) = self.all.get_mut(key) {
            transaction.owner = owner;
        }
    }

    /// The sender of this request has proved who it is: if its connection ends before the answer, that goes by a new
    /// one (RFC 3261 section 18.2.2). An INVITE is its call's affair.
    pub(crate) fn answer_anew(&mut self, key: Key, request: &Message) {
        let Some(transaction) = self.all.get_mut(key) else {
            return;
        };
        let anew = response_flow_anew(request, transaction.flow);
        let waits = matches!(transaction.machine, Machine::NonInviteServer(_));
        if let (Some(anew), Some(way), true) = (anew, Way::of(transaction.flow), waits) {
            transaction.anew = Some(anew.peer.port());
            self.by_way.entry(way).or_default().insert(key);
        }
    }

    /// A transaction is not lost with this way any more.
    pub(super) fn leave(&mut self, key: Key, flow: Flow) {
        if let Some(way) = Way::of(flow)
            && let Some(keys) = self.by_way.get_mut(&way)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_way.remove(&way);
            }
        }
    }

    fn lost(&mut self, way: Way) -> Vec<(Key, Owner, Flow)> {
        let mut keys: Vec<Key> = self.by_way.remove(&way).unwrap_or_default().into_iter().collect();
        keys.sort_unstable(); // the same inputs give the same outputs
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
