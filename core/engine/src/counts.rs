//! What the engine counts: plain integers that the switch turns into metrics at a scrape.

use cordboard_model::measure::{FANOUT_BOUNDS, Histogram, RECIPIENT_BOUNDS, TRANSACTION_BOUNDS};
use std::collections::BTreeMap;

use crate::sip::method::Method;

/// Everything that the engine counts. Keys are closed sets: their number does not grow with the load.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Requests by method, taken in.
    pub requests_in: BTreeMap<Method, u64>,
    /// Requests by method, sent (repeats not counted).
    pub requests_out: BTreeMap<Method, u64>,
    /// Final and provisional responses that we sent, by method and status code.
    pub responses_out: BTreeMap<(Method, u16), u64>,
    /// Responses that we got, by method and status code.
    pub responses_in: BTreeMap<(Method, u16), u64>,
    /// From request to final response, by method, as server.
    pub server_seconds: BTreeMap<Method, Histogram>,
    /// From request to final response, by method, as client.
    pub client_seconds: BTreeMap<Method, Histogram>,
    /// Requests and responses that we sent again.
    pub retransmissions_out: u64,
    /// Requests that came again and were absorbed.
    pub retransmissions_in: u64,
    /// Timers that ended a transaction, by RFC 3261 name (`B`, `F`, `H`, `L` ...); `late_answer` where an answer of
    /// ours came too late to be sent (RFC 4320).
    pub timeouts: BTreeMap<&'static str, u64>,
    /// What was refused at the door, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Joins by transport and outcome.
    pub joins: BTreeMap<(&'static str, &'static str), u64>,
    /// Messages by direction (`in`, `out`), kind (`conference`, `event`, `pager`, `chat`) and outcome.
    pub messages: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// From accepting a message to handing over its last copy to a dialog, by kind.
    pub fanout_seconds: BTreeMap<&'static str, Histogram>,
    /// From handing a copy to a dialog to its final response, by transport.
    pub delivery_seconds: BTreeMap<&'static str, Histogram>,
    /// How many receive one message.
    pub recipients: Histogram,
    /// Verdicts that came for nothing: too late, or their subject was gone.
    pub stale_verdicts: u64,
    /// Questions whose deadline passed in the engine, by hook.
    pub hook_timeouts: BTreeMap<&'static str, u64>,
    /// Sources banned, by what they did.
    pub bans: BTreeMap<&'static str, u64>,
    /// Answers to strangers that were made shorter so that they are no larger than the request.
    pub slimmed: u64,
    /// Subscriptions that ended without the subscriber's wish, by reason.
    pub subscriptions_ended: BTreeMap<&'static str, u64>,
    /// Calls ended, by reason.
    pub calls_ended: BTreeMap<&'static str, u64>,
    /// Requests for chat tickets, by outcome.
    pub chat_tickets: BTreeMap<&'static str, u64>,
    /// What the chat refused or dropped, by reason.
    pub chat_dropped: BTreeMap<&'static str, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests_in: BTreeMap::new(),
            requests_out: BTreeMap::new(),
            responses_out: BTreeMap::new(),
            responses_in: BTreeMap::new(),
            server_seconds: BTreeMap::new(),
            client_seconds: BTreeMap::new(),
            retransmissions_out: 0,
            retransmissions_in: 0,
            timeouts: BTreeMap::new(),
            rejected: BTreeMap::new(),
            joins: BTreeMap::new(),
            messages: BTreeMap::new(),
            fanout_seconds: BTreeMap::new(),
            delivery_seconds: BTreeMap::new(),
            recipients: Histogram::new(RECIPIENT_BOUNDS),
            stale_verdicts: 0,
            hook_timeouts: BTreeMap::new(),
            bans: BTreeMap::new(),
            slimmed: 0,
            subscriptions_ended: BTreeMap::new(),
            calls_ended: BTreeMap::new(),
            chat_tickets: BTreeMap::new(),
            chat_dropped: BTreeMap::new(),
        }
    }
}

impl Counts {
    pub(crate) fn server_transaction(&mut self, method: Method, seconds: f64) {
        histogram(&mut self.server_seconds, method, TRANSACTION_BOUNDS).record(seconds);
    }

    pub(crate) fn client_transaction(&mut self, method: Method, seconds: f64) {
        histogram(&mut self.client_seconds, method, TRANSACTION_BOUNDS).record(seconds);
    }

    pub(crate) fn fanout(&mut self, kind: &'static str, seconds: f64) {
        histogram(&mut self.fanout_seconds, kind, FANOUT_BOUNDS).record(seconds);
    }

    pub(crate) fn delivery(&mut self, transport: &'static str, seconds: f64) {
        histogram(&mut self.delivery_seconds, transport, FANOUT_BOUNDS).record(seconds);
    }

    /// A message: direction, kind and what became of it.
    pub(crate) fn message(&mut self, direction: &'static str, kind: &'static str, outcome: &'static str) {
        *self.messages.entry((direction, kind, outcome)).or_default() += 1;
    }

    pub(crate) fn reject(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_default() += 1;
    }
}

fn histogram<'a, K: Ord>(
    map: &'a mut BTreeMap<K, Histogram>,
    key: K,
    bounds: &'static [f64],
) -> &'a mut Histogram {
    map.entry(key).or_insert_with(|| Histogram::new(bounds))
}

/// What is alive now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Transactions of all four kinds.
    pub transactions: usize,
    /// Dialogs.
    pub dialogs: usize,
    /// Calls between users: each is a mix of two.
    pub bridges: usize,
    /// Registered contacts.
    pub registrations: usize,
    /// Subscriptions to conferences.
    pub subscriptions: usize,
    /// Conferences with at least one participant, by call or by chat.
    pub conferences: usize,
    /// Participants by call, by transport, in the order of [`Transport::ALL`](crate::io::Transport::ALL).
    pub participants: [usize; 5],
    /// Messages that are kept for users who are not there.
    pub kept_messages: usize,
    /// Messages that wait in dialogs for the answers to earlier ones.
    pub queued_messages: usize,
    /// Whether the switch is draining.
    pub draining: bool,
    /// Sources that are banned.
    pub banned: usize,
    /// The chat.
    pub chat: ChatGauges,
}

/// What is alive in the chat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChatGauges {
    /// Chat connections.
    pub connections: usize,
    /// Participants by chat connection: those who wait to be let in are none.
    pub participants: usize,
    /// Rooms that somebody is in, or whose messages are kept.
    pub rooms: usize,
    /// Messages in the histories of all rooms.
    pub messages: usize,
    /// Messages and other changes that wait for their commit.
    pub waiting: usize,
}
