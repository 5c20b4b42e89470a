//! Ends that have to wait: no BYE between a re-INVITE of ours and its ACK, nor between a 200 of ours and its ACK.
//!
//! Some peers drop the ACK once they have seen a request with a higher number, and refuse a BYE before the ACK. A
//! caller that has lost the 200 knows no dialog and would refuse the BYE too, and never hear that its call was
//! answered (RFC 3261 section 15): the 200 is repeated until the ACK comes, and the BYE follows that.
//! The call itself is over at once; only its BYE waits.

use cordboard_model::Time;

use crate::arena::Key;
use crate::call::{Call, Unacknowledged};
use crate::conference::seat::Stream;
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::transaction::{Outcome, Owner};
use crate::timer::{T2, Timer};

/// What the BYE of a call that is over waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Awaited {
    /// What our offer comes to; its transaction.
    Answer(Key),
    /// The ACK of our 200; the key that the call had.
    Ack(Key),
}

/// What is left of a call whose BYE waits.
#[derive(Debug)]
pub(crate) struct Parting {
    dialog: Dialog,
    reason: Option<String>,
    /// The 200 that is repeated.
    unacknowledged: Option<Unacknowledged>,
    /// Its connection is gone.
    stranded: bool,
}

impl Engine {
    /// Says BYE, or keeps it until the offer that is open in the dialog has come to something, or our 200 in it has
    /// its ACK.
    pub(crate) fn part(&mut self, key: Key, mut call: Call, reason: Option<&str>) -> Call {
        let unacknowledged = call.unacknowledged.take();
        let offer = call.reoffer.open_invite();
        let (awaited, at) = match (&unacknowledged, offer) {
            (Some(waiting), _) => (Awaited::Ack(key), waiting.repeat_at),
            (None, Some(transaction)) => (Awaited::Answer(transaction), self.wire.now + T2),
            (None, None) => {
                self.bye(&mut call, reason);
                return call;
            }
        };
        if self.partings.len() >= self.config.limits.calls {
            self.bye(&mut call, reason);
            return call;
        }
        let parting = Parting {
            dialog: call.dialog.clone(),
            reason: reason.map(str::to_owned),
            unacknowledged,
            stranded: false,
        };
        self.partings.insert(awaited, parting);
        self.wire.timers.arm(at, Timer::Parting(awaited));
        call
    }

    /// The offer of a call that is over has come to this; false if nothing waits for it.
    pub(crate) fn parted(&mut self, transaction: Key, outcome: &Outcome<'_>) -> bool {
        let Some(mut parting) = self.partings.remove(&Awaited::Answer(transaction)) else {
            return false;
        };
        if let Outcome::Response(response) = outcome
            && (200..300).contains(&response.status())
            && let Ok(cseq) = response.cseq()
        {
            let branch = format!("z9hG4bK{:016x}", self.wire.random());
            let ack = parting
                .dialog
                .request_again(Method::Ack, cseq.number, &branch, None);
            *self.wire.counts.requests_out.entry(Method::Ack).or_default() += 1;
            let flow = parting.dialog.next_flow();
            self.wire.send(flow, Packet::whole(ack.finish()));
        }
        self.last_word(&mut parting);
        true
    }

    /// An ACK that may be the one that the BYE of a call that is over waits for.
    pub(crate) fn parting_confirmed(&mut self, ack: &Message, flow: Flow) {
        let Some(awaited) = self.parting_of(ack) else {
            return;
        };
        let number = ack.cseq().map(|cseq| cseq.number).ok();
        let awaits = |parting: &Parting| parting.unacknowledged.as_ref().map(|waiting| waiting.cseq);
        if self.partings.get(&awaited).and_then(awaits) != number {
            return;
        }
        let Some(mut parting) = self.partings.remove(&awaited) else {
            return;
        };
        if flow.transport == parting.dialog.flow.transport && flow.transport.reliable() {
            // The phone may be back on another connection.
            parting.dialog.go_by(flow, self.sent_by(flow));
            parting.stranded = false;
        }
        self.last_word(&mut parting);
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
            self.partings.remove(&awaited);
            self.respond_with(transaction, request, 200, "OK", |response| response);
        }
        true
    }

    /// What waits for an ACK in the dialog of this request.
    fn parting_of(&self, request: &Message) -> Option<Awaited> {
        let to = request.to().ok()?;
        let tag = to.tag()?;
        let awaited = Awaited::Ack(Key::read(tag)?.0);
        let dialog = &self.partings.get(&awaited)?.dialog;
        (dialog.local_tag == tag && dialog.is_of(request)).then_some(awaited)
    }

    /// A connection has ended: the BYEs that wait for it go another way.
    pub(crate) fn strand_partings(&mut self, connection: u64) {
        for parting in self.partings.values_mut() {
            if parting.dialog.flow.connection != connection {
                continue;
            }
            parting.dialog.disconnected();
            parting.stranded = true;
            if let Some(waiting) = &mut parting.unacknowledged {
                waiting.flow = waiting.anew.unwrap_or(waiting.flow);
            }
        }
    }

    /// The 200 is repeated; or what is waited for does not come, and the peer is told all the same.
    pub(crate) fn parting_timer(&mut self, awaited: Awaited, at: Time) {
        let now = self.wire.now;
        let stranded = self.partings.get(&awaited).filter(|parting| parting.stranded);
        let back = stranded.and_then(|parting| self.way_back(&parting.dialog));
        let back = back.map(|flow| (flow, self.sent_by(flow)));
        let Some(parting) = self.partings.get_mut(&awaited) else {
            return;
        };
        if let Some((flow, sent_by)) = back {
            parting.dialog.go_by(flow, sent_by);
            parting.stranded = false;
            if let Some(waiting) = &mut parting.unacknowledged {
                waiting.flow = flow;
            }
        }
        if let Some(waiting) = &mut parting.unacknowledged {
            if waiting.repeat_at != at {
                return;
            }
            if let Some(at) = waiting.repeat(now) {
                let (flow, packet) = (waiting.flow, waiting.packet.clone());
                self.wire.counts.retransmissions_out += 1;
                self.wire.timers.arm(at, Timer::Parting(awaited));
                return self.wire.send(flow, packet);
            }
            *self.wire.counts.timeouts.entry("ack").or_default() += 1;
        }
        if let Some(mut parting) = self.partings.remove(&awaited) {
            self.last_word(&mut parting);
        }
    }

    /// Whoever waits to be told is told now.
    pub(crate) fn part_all(&mut self) {
        let mut waiting: Vec<_> = self.partings.drain().collect();
        waiting.sort_unstable_by_key(|(awaited, _)| *awaited); // the same inputs give the same outputs
        for (_, mut parting) in waiting {
            self.last_word(&mut parting);
        }
    }

    fn last_word(&mut self, parting: &mut Parting) {
        if parting.stranded {
            parting.dialog.detour = self.detour(&parting.dialog, Stream::Unknown);
        }
        let Parting { dialog, reason, .. } = parting;
        self.say_bye(dialog, reason.as_deref());
    }

    fn bye(&mut self, call: &mut Call, reason: Option<&str>) {
        self.say_bye(&mut call.dialog, reason);
    }

    fn say_bye(&mut self, dialog: &mut Dialog, reason: Option<&str>) {
        let flow = dialog.next_flow();
        self.transactions
            .open_client(Method::Bye, flow, Owner::Farewell, &mut self.wire, |branch| {
                let writer = dialog.request(Method::Bye, branch, None);
                Packet::whole(match reason {
                    Some(reason) => writer.header("Reason", reason).finish(),
                    None => writer.finish(),
                })
            });
    }
}
