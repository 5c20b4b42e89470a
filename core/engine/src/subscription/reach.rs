//! The ways to subscribers: the same as those of calls (`call/way`). Subscriptions whose connection ends go on for a
//! time: a phone on TCP or TLS is called where its Contact says when there is something to tell, and any phone that
//! registers or subscribes again on a new connection is told everything by that.

use std::time::Duration;

use cordboard_model::{Time, UserId};

use super::Subscription;
use crate::arena::Key;
use crate::conference::seat::Stream;
use crate::engine::Engine;
use crate::io::{Flow, Transport};
use crate::sip::message::Message;
use crate::timer::Timer;

/// How long a phone whose connection broke has to come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// The connection of a subscription is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    /// It is forgotten then.
    until: Time,
    /// The phone was called in vain.
    pub(super) tried: bool,
}

impl Subscription {
    /// Whether there is a way to the subscriber that has not been tried in vain.
    pub(super) fn is_reachable(&self) -> bool {
        let may_be_called = matches!(self.dialog.flow.transport, Transport::Tcp | Transport::Tls);
        self.lost.is_none_or(|lost| may_be_called && !lost.tried)
    }

    /// Whether the next NOTIFY goes by no connection of the subscriber's, but to where its Contact says.
    pub(super) fn is_called(&self) -> bool {
        self.by_call(self.dialog.next_flow())
    }

    /// Whether the last one went so.
    pub(super) fn was_called(&self) -> bool {
        self.by_call(self.sent)
    }

    fn by_call(&self, flow: Flow) -> bool {
        self.dialog.flow.transport.reliable() && flow.connection == 0
    }

    /// Whether the last one went to a subscriber on UDP by TCP, for which its Contact asks.
    pub(super) fn went_beside(&self) -> bool {
        self.sent.transport.reliable() && self.dialog.flow.transport == Transport::Udp
    }

    /// Whether the subscriber has come by another way since the last NOTIFY was sent.
    pub(super) fn has_moved(&self) -> bool {
        self.lost.is_none() && self.sent != self.dialog.next_flow()
    }
}

impl Engine {
    /// A connection has ended.
    pub(crate) fn strand_subscriptions(&mut self, connection: u64) {
        for key in self.watchers.lose(connection) {
            if self.subscriber_has_returned(key) {
                self.tell_again(key);
            } else if let Some(subscription) = self.subscriptions.get_mut(key) {
                subscription.dialog.disconnected();
                self.look_for_subscriber(key);
                self.subscriber_lost(key, false);
            }
        }
    }

    /// Looks which way the requests of this subscription go from now on: its subscriber has named another target, or
    /// has lost its connection.
    pub(super) fn look_for_subscriber(&mut self, key: Key) {
        let way = self.subscriptions.get(key);
        let detour = way.and_then(|s| self.detour(&s.dialog, s.stream));
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.dialog.detour = detour;
        }
    }

    /// A target refresh by a SUBSCRIBE that has come now: what it says, and the way that it came.
    pub(super) fn refresh_subscriber(&mut self, key: Key, request: &Message, flow: Flow) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        subscription.dialog.refreshed_by(request, flow);
        if subscription.dialog.is_left_for(flow) {
            let contact = self
                .subscriptions
                .get(key)
                .and_then(|s| self.contact_by(&s.dialog, flow));
            self.move_subscription(key, flow);
            if let (Some(subscription), Some(contact)) = (self.subscriptions.get_mut(key), contact) {
                subscription.dialog.contact = contact;
            }
        }
        self.look_for_subscriber(key);
    }

    /// No connection led to a subscriber on UDP whose Contact asks for one: it is told the way that it came.
    pub(super) fn leave_stream(&mut self, key: Key) {
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.stream = Stream::Fails;
        }
        self.look_for_subscriber(key);
    }

    /// Whether the subscriber has registered on another connection before this one was known to be dead; then it is
    /// reached by that.
    pub(super) fn subscriber_has_returned(&mut self, key: Key) -> bool {
        let dialog = self.subscriptions.get(key).map(|s| &s.dialog);
        let Some(flow) = dialog.and_then(|dialog| self.way_back(dialog)) else {
            return false;
        };
        self.move_subscription(key, flow);
        true
    }

    pub(super) fn subscriber_lost(&mut self, key: Key, tried: bool) {
        let until = self.wire.now + PATIENCE;
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        if let Some(lost) = &mut subscription.lost {
            lost.tried |= tried;
            return;
        }
        subscription.lost = Some(Lost { until, tried });
        let owner = subscription.owner;
        if let Some(owner) = owner {
            self.watchers.strand(owner, key);
        }
        self.wire.timers.arm(until, Timer::Lost(key));
    }

    /// The subscriber has not come back in time.
    pub(crate) fn lost_timer(&mut self, key: Key, at: Time) {
        let lost = self.subscriptions.get(key).and_then(|s| s.lost);
        if lost.is_some_and(|lost| lost.until == at) {
            let ended = &mut self.wire.counts.subscriptions_ended;
            *ended.entry("connection_lost").or_default() += 1;
            self.drop_subscription(key);
        }
    }

    /// The subscriber is reached by this flow from now on.
    pub(super) fn move_subscription(&mut self, key: Key, flow: Flow) {
        let sent_by = self.sent_by(flow);
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let before = subscription.dialog.flow.connection;
        subscription.dialog.go_by(flow, sent_by);
        let owner = subscription.owner;
        subscription.lost = None;
        self.watchers.drop(before, key);
        self.watchers.found(owner, key);
        self.watchers.carry(flow.connection, key);
        self.look_for_subscriber(key);
    }

    /// A phone of `owner` has registered `contact` for `address` on a connection: it is told there what it missed.
    pub(crate) fn subscriber_is_back(&mut self, owner: UserId, address: &str, contact: &str, flow: Flow) {
        let is_of_phone = |key: &Key| {
            self.subscriptions.get(*key).is_some_and(|subscription| {
                let dialog = &subscription.dialog;
                dialog.flow.transport == flow.transport
                    && self.is_same_phone(address, &dialog.target, contact)
            })
        };
        let back: Vec<Key> = self.watchers.stranded(owner).filter(is_of_phone).collect();
        for key in back {
            self.move_subscription(key, flow);
            self.tell_again(key);
        }
    }

    /// A NOTIFY was answered: wherever it went, the subscriber is there.
    pub(super) fn subscriber_answers(&mut self, key: Key) {
        if let Some(subscription) = self.subscriptions.get_mut(key)
            && subscription.lost.take().is_some()
        {
            let owner = subscription.owner;
            self.watchers.found(owner, key);
        }
    }

    /// Who gives way to a new subscription of the same subscriber: one whose connection is gone.
    pub(super) fn forget_a_lost_one(&mut self, owner: Option<UserId>) -> bool {
        let first = owner.and_then(|owner| self.watchers.stranded(owner).next());
        if let Some(key) = first {
            let ended = &mut self.wire.counts.subscriptions_ended;
            *ended.entry("connection_lost").or_default() += 1;
            self.drop_subscription(key);
        }
        first.is_some()
    }

    /// Forgets a subscription; what it was.
    pub(super) fn drop_subscription(&mut self, key: Key) -> Option<Subscription> {
        let subscription = self.subscriptions.remove(key)?;
        let connection = subscription.dialog.flow.connection;
        self.watchers.drop(connection, key);
        self.watchers.found(subscription.owner, key);
        Some(subscription)
    }
}
