//! Ends that have to wait: no BYE between a re-INVITE of ours and its ACK, nor between a 200 of ours and its ACK.
//!
//! Some peers drop the ACK once they have seen a request with a higher number, and refuse a BYE before the ACK. A
//! caller that has lost the 200 knows no dialog and would refuse the BYE too, and never hear that its call was
//! answered (RFC 3261 section 15): the 200 is repeated until the ACK comes, and the BYE follows that.
//! The call itself is over at once; only its BYE waits.
//!
//! A BYE by another transport than its dialog's is kept until it is answered: where that way leads nowhere, it is said
//! once more by the dialog's own. So is the last NOTIFY of a subscription.

use std::collections::HashMap;

use cordboard_model::Time;

use crate::arena::Key;
use crate::call::reach::Carried;
use crate::call::stray::acknowledge;
use crate::call::{Call, Unacknowledged};
use crate::conference::seat::Stream;
use crate::engine::Engine;
use crate::io::{Flow, Packet, Transport};
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::transaction::{Outcome, Owner};
use crate::subscription::Notify;
use crate::timer::{T2, Timer};

/// What the BYE of a call that is over waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Awaited {
    /// What our offer comes to; its transaction.
    Answer(Key),
    /// The ACK of our 200; the key that the call had.
    Ack(Key),
    /// It is said; its transaction, which may find no way.
    Way(Key),
}

/// The last request of a dialog.
#[derive(Debug)]
enum Word {
    /// With its Reason.
    Bye(Option<String>),
    Notify(Notify),
}

/// What is left of a call whose BYE waits, or of a subscription.
#[derive(Debug)]
pub(crate) struct Parting {
    dialog: Dialog,
    word: Word,
    /// The number of the INVITE whose ACK may have been lost with the BYE.
    ack: Option<u32>,
    /// The 200 that is repeated.
    unacknowledged: Option<Unacknowledged>,
    /// A connection that it goes by is gone.
    stranded: bool,
}

impl Parting {
    fn new(dialog: Dialog, word: Word) -> Self {
        Self {
            dialog,
            word,
            ack: None,
            unacknowledged: None,
            stranded: false,
        }
    }

    /// The connections that it goes by; 0 is none.
    fn connections(&self) -> [u64; 2] {
        let detour = self.dialog.detour.map_or(0, |way| way.flow.connection);
        [self.dialog.flow.connection, detour]
    }
}

/// Calls that are over and whose BYE waits.
#[derive(Debug, Default)]
pub(crate) struct Partings {
    all: HashMap<Awaited, Parting>,
    carried: Carried<Awaited>,
}

impl Partings {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a BYE waits for what this offer comes to.
    pub(crate) fn await_answer(&self, transaction: Key) -> bool {
        self.all.contains_key(&Awaited::Answer(transaction))
    }

    fn keep(&mut self, awaited: Awaited, parting: Parting) {
        for connection in parting.connections() {
            self.carried.carry(connection, awaited);
        }
        self.all.insert(awaited, parting);
    }

    fn take(&mut self, awaited: Awaited) -> Option<Parting> {
        let parting = self.all.remove(&awaited)?;
        for connection in parting.connections() {
            self.carried.drop(connection, awaited);
        }
        debug_assert!(
            !self.all.is_empty() || self.carried.is_empty(),
            "nobody is left in it"
        );
        Some(parting)
    }
}

impl Engine {
    /// Says BYE, or keeps it until the offer that is open in the dialog has come to something, or our 200 in it has
    /// its ACK.
    pub(crate) fn part(&mut self, key: Key, call: &mut Call, reason: Option<&str>) {
        let unacknowledged = call.unacknowledged.take();
        let offer = call.reoffer.open_invite();
        let waits = match (&unacknowledged, offer) {
            (Some(waiting), _) => Some((Awaited::Ack(key), waiting.repeat_at)),
            (None, Some(transaction)) => Some((Awaited::Answer(transaction), self.wire.now + T2)),
            (None, None) => None,
        };
        let parting = Parting {
            ack: call.ack,
            unacknowledged,
            ..Parting::new(call.dialog.clone(), Word::Bye(reason.map(str::to_owned)))
        };
        match waits.filter(|_| self.has_place_for_parting()) {
            Some((awaited, at)) => {
                self.partings.keep(awaited, parting);
                self.wire.timers.arm(at, Timer::Parting(awaited));
            }
            None => {
                self.take_offer_back(call);
                self.last_word(parting);
            }
        }
    }

    /// Takes back what is offered in a call that is over and that no BYE waits for: once it has been heard of, it would
    /// wait for its answer for ever. What has not been is taken back when it is (`call/reoffer`), or ends by itself.
    pub(crate) fn take_offer_back(&mut self, call: &Call) {
        if let Some(transaction) = call.reoffer.open_invite() {
            self.transactions.cancel(transaction, None, &mut self.wire);
        }
    }

    fn has_place_for_parting(&self) -> bool {
        self.partings.all.len() < self.config.limits.calls
    }

    /// The offer of a call that is over has come to this; false if nothing waits for it.
    pub(crate) fn parted(&mut self, transaction: Key, outcome: &Outcome<'_>) -> bool {
        let Some(mut parting) = self.partings.take(Awaited::Answer(transaction)) else {
            return false;
        };
        if let Outcome::Response(response) = outcome
            && (200..300).contains(&response.status())
            && let Ok(cseq) = response.cseq()
        {
            acknowledge(&mut self.wire, &parting.dialog, cseq.number);
            parting.ack = Some(cseq.number);
        }
        self.last_word(parting);
        true
    }

    /// An ACK that may be the one that the BYE of a call that is over waits for; whether it is.
    pub(crate) fn parting_confirmed(&mut self, ack: &Message, flow: Flow) -> bool {
        let Some(awaited) = self.parting_of(ack) else {
            return false;
        };
        let number = ack.cseq().map(|cseq| cseq.number).ok();
        let awaits = |parting: &Parting| parting.unacknowledged.as_ref().map(|waiting| waiting.cseq);
        if self.partings.all.get(&awaited).and_then(awaits) != number {
            return false;
        }
        let Some(mut parting) = self.partings.take(awaited) else {
            return false;
        };
        if flow.transport == parting.dialog.flow.transport && flow.transport.reliable() {
            // The phone may be back on another connection.
            parting.dialog.go_by(flow, self.sent_by(flow));
            parting.stranded = false;
        }
        self.last_word(parting);
        true
    }

    /// A request in the dialog of a call that is over and whose BYE waits: the peer's own BYE ends it. True if that is
    /// what it was.
    pub(crate) fn on_parting_request(&mut self, request: &Message, flow: Flow) -> bool {
        let Some(awaited) = self
            .parting_of(request)
            .filter(|_| request.method() == Method::Bye)
        else {
            return false;
        };
        if let Some(transaction) = self.open_server(request, flow) {
            self.partings.take(awaited);
            self.respond_with(transaction, request, 200, "OK", |response| response);
        }
        true
    }

    /// What waits for an ACK in the dialog of this request.
    fn parting_of(&self, request: &Message) -> Option<Awaited> {
        let to = request.to().ok()?;
        let tag = to.tag()?;
        let awaited = Awaited::Ack(Key::read(tag)?.0);
        let dialog = &self.partings.all.get(&awaited)?.dialog;
        (dialog.local_tag == tag && dialog.is_of(request)).then_some(awaited)
    }

    /// A connection has ended: the BYEs that wait for it go another way.
    pub(crate) fn strand_partings(&mut self, connection: u64) {
        for awaited in self.partings.carried.lose(connection) {
            let Some(parting) = self.partings.all.get_mut(&awaited) else {
                continue;
            };
            (parting.dialog.detour, parting.stranded) = (None, true);
            if parting.dialog.flow.connection != connection {
                continue;
            }
            parting.dialog.disconnected();
            if let Some(waiting) = &mut parting.unacknowledged {
                waiting.flow = waiting.anew.unwrap_or(waiting.flow);
            }
        }
    }

    /// The 200 is repeated; or what is waited for does not come, and the peer is told all the same.
    pub(crate) fn parting_timer(&mut self, awaited: Awaited, at: Time) {
        let due = |parting: &Parting| {
            let waiting = parting.unacknowledged.as_ref();
            waiting.is_none_or(|waiting| waiting.repeat_at == at)
        };
        if !self.partings.all.get(&awaited).is_some_and(due) {
            return;
        }
        let Some(mut parting) = self.partings.take(awaited) else {
            return;
        };
        if let Awaited::Answer(transaction) = awaited {
            // Otherwise one that has been heard of would wait for ever.
            self.transactions.cancel(transaction, None, &mut self.wire);
        }
        if let Some(flow) = self.follow(&mut parting)
            && let Some(waiting) = &mut parting.unacknowledged
        {
            waiting.flow = flow;
        }
        if let Some(waiting) = &mut parting.unacknowledged {
            if let Some(at) = waiting.repeat(self.wire.now) {
                let (flow, packet) = (waiting.flow, waiting.packet.clone());
                self.partings.keep(awaited, parting);
                self.wire.counts.retransmissions_out += 1;
                self.wire.timers.arm(at, Timer::Parting(awaited));
                return self.wire.send(flow, packet);
            }
            *self.wire.counts.timeouts.entry("ack").or_default() += 1;
        }
        self.last_word(parting);
    }

    /// Looks for the way to a phone whose connection is gone: by another, if it is back on that; gives that.
    fn follow(&self, parting: &mut Parting) -> Option<Flow> {
        if !parting.stranded {
            return None;
        }
        let back = self.way_back(&parting.dialog);
        if let Some(flow) = back {
            parting.dialog.go_by(flow, self.sent_by(flow));
            parting.stranded = false;
        } else {
            parting.dialog.detour = self.detour(&parting.dialog, Stream::Unknown);
        }
        back
    }

    /// Whoever waits to be told is told now, and by both ways where one may lead nowhere.
    pub(crate) fn part_all(&mut self) {
        while !self.partings.is_empty() {
            let mut waiting: Vec<_> = self.partings.all.keys().copied().collect();
            waiting.sort_unstable(); // the same inputs give the same outputs
            for awaited in waiting {
                match (self.partings.take(awaited), awaited) {
                    (Some(parting), Awaited::Way(_)) => self.say_again(parting),
                    (Some(parting), _) => self.last_word(parting),
                    (None, _) => {}
                }
            }
        }
    }

    fn last_word(&mut self, mut parting: Parting) {
        self.follow(&mut parting);
        let transaction = self.say(&mut parting);
        let dialog = &parting.dialog;
        let has_another_way = dialog.flow.transport == Transport::Udp && dialog.detour.is_some();
        if has_another_way && self.has_place_for_parting() {
            self.partings.keep(Awaited::Way(transaction), parting);
        }
    }

    /// Tells a subscriber that it is told no more. What could not be kept takes the way that the subscriber came; of the
    /// places for what is kept, calls have the last half to themselves.
    pub(crate) fn say_farewell(&mut self, mut dialog: Dialog, last: Notify) {
        if self.partings.all.len() >= self.config.limits.calls / 2 && dialog.flow.transport == Transport::Udp
        {
            dialog.detour = None;
        }
        self.last_word(Parting::new(dialog, Word::Notify(last)));
    }

    /// What the last word of a dialog that is over came to: one that was to go beside its dialog's own way and found none goes
    /// by that, after the ACK that may have been lost on the same way.
    pub(crate) fn bye_outcome(&mut self, transaction: Key, outcome: &Outcome<'_>) {
        if matches!(outcome, Outcome::Response(response) if response.status() < 200) {
            return;
        }
        let Some(parting) = self.partings.take(Awaited::Way(transaction)) else {
            return;
        };
        if matches!(outcome, Outcome::Silence | Outcome::Unreachable) {
            self.say_again(parting);
        }
    }

    fn say_again(&mut self, mut parting: Parting) {
        parting.dialog.detour = None;
        if let Some(number) = parting.ack {
            acknowledge(&mut self.wire, &parting.dialog, number);
        }
        self.say(&mut parting);
    }

    fn say(&mut self, parting: &mut Parting) -> Key {
        let Parting { dialog, word, .. } = parting;
        let flow = dialog.next_flow();
        let method = match word {
            Word::Bye(_) => Method::Bye,
            Word::Notify(_) => Method::Notify,
        };
        self.transactions.open_client(
            method,
            flow,
            Owner::Farewell,
            &mut self.wire,
            |branch| match word {
                Word::Bye(Some(reason)) => {
                    let bye = dialog.request(Method::Bye, branch, None);
                    Packet::whole(bye.header("Reason", reason).finish())
                }
                Word::Bye(None) => Packet::whole(dialog.request(Method::Bye, branch, None).finish()),
                Word::Notify(last) => last.write(dialog, branch),
            },
        )
    }
}
