//! Messages to phones that have registered both on UDP and on a connection: what is large goes by that (RFC 3261 section
//! 18.1.1), and by UDP where nobody answers there, as on one that a NAT between has forgotten.

use std::slice::from_ref;
use std::time::Duration;

use super::reach::Attempt;
use super::relay::{Pager, Particulars, Sheet, TOO_LARGE};
use crate::arena::Key;
use crate::call::outbox::UDP_SAFE;
use crate::engine::Engine;
use crate::io::Transport;
use crate::sip::registrar::Binding;
use crate::sip::transaction::Outcome;

/// How long a phone may say nothing on such a connection while a sender waits: half of what that one is given, so that
/// as much is left for UDP.
pub(super) const STREAM_PATIENCE: Duration = Duration::from_secs(12);

/// What a copy for a phone on UDP may go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A connection beside UDP, where that is better.
    Any,
    /// The contact's own way alone: it went by a connection in vain, and who makes one after the other would be sent it
    /// for ever.
    Own,
}

impl Engine {
    /// The connection that a phone on UDP has beside that, for what should not go by UDP: the one that it renewed last,
    /// unless it has been silent there since.
    pub(super) fn stream_to(&self, contact: &Binding, sheet: &Sheet<'_>) -> Option<Binding> {
        let way = (contact.flow, &*contact.contact, &*contact.path);
        if contact.flow.transport != Transport::Udp || sheet.size(way) <= UDP_SAFE {
            return None;
        }
        let flows = self.registrar.flows(contact, self.wire.now);
        let streams = flows.filter(|other| other.flow.transport.reliable() && other.flow.connection != 0);
        let last = streams.max_by_key(|stream| stream.expires);
        last.filter(|stream| !stream.silent).cloned()
    }

    /// The contact on UDP of a phone that is sent something by its own TCP connection, which it renewed later: it goes
    /// there once nobody answers here. Whoever has TLS is not left for what is in clear.
    pub(super) fn udp_beside(&self, contact: &Binding) -> Option<u64> {
        if contact.flow.transport != Transport::Tcp || contact.flow.connection == 0 {
            return None;
        }
        let flows = self.registrar.flows(contact, self.wire.now);
        let on_udp = flows.filter(|other| other.flow.transport == Transport::Udp);
        on_udp.max_by_key(|other| other.expires).map(|other| other.serial)
    }

    /// The phones that have a message by such connections have said nothing for long: their copies go by UDP.
    pub(super) fn leave_streams(&mut self, key: Key) {
        let Some(Pager::Sent(sent)) = self.pagers.get(key) else {
            return;
        };
        if sent.page.is_over(self.wire.now) {
            return; // it goes nowhere else
        }
        let by_stream = sent.attempts.iter().filter(|attempt| attempt.is_by_stream());
        let transactions = by_stream.filter_map(|attempt| attempt.transaction);
        // Where a phone has said that it works on it the connection lives.
        let transactions: Vec<Key> = transactions
            .filter(|transaction| self.transactions.is_unheard(*transaction))
            .collect();
        for transaction in transactions {
            if self.transactions.give_up(transaction) {
                self.pager_outcome(key, transaction, Outcome::Silence);
            }
        }
    }

    /// The contact on UDP that a copy was for which went by a connection in vain; that is not taken again before the
    /// phone renews it. `None`: it went by the contact's own way, or that is no more.
    pub(super) fn leave_silent(&mut self, stream: &Attempt) -> Option<Binding> {
        self.registrar
            .mark_silent(stream.instead_of, stream.flow.connection);
        let own = self.registrar.binding(stream.instead_of, self.wire.now)?;
        (own.flow.transport == Transport::Udp).then(|| own.clone())
    }

    /// A copy of a message whose sender waits has had no answer: whether it goes out once more by its phone's own way.
    pub(super) fn relay_by_udp(&mut self, key: Key, transaction: Key) -> bool {
        let Some(Pager::Sent(sent)) = self.pagers.get_mut(key).filter(|pager| pager.awaited().is_some())
        else {
            return false;
        };
        let Some(stream) = Attempt::take_stream(&mut sent.attempts, transaction) else {
            return false;
        };
        let (page, id) = (sent.page.clone(), sent.id);
        let Some(own) = self
            .leave_silent(&stream)
            .filter(|_| !page.is_over(self.wire.now))
        else {
            return false;
        };
        self.page_status(&Outcome::Silence, None);
        let (attempts, too_large, _) = self.send_relay(key, &page, id, from_ref(&own), By::Own);
        if let Some(Pager::Sent(sent)) = self.pagers.get_mut(key) {
            sent.attempts.extend(attempts);
        }
        for _ in 0..too_large {
            self.page_answered(key, TOO_LARGE, Particulars::new(), None);
        }
        true
    }
}
