//! Answering an INVITE: the 200, its repeats, its ACK.

use cordboard_model::Time;

use crate::arena::Key;
use crate::call::description::is_described;
use crate::call::{Place, Stage, Unacknowledged};
use crate::door::{ACCEPT, ALLOW, SUPPORTED};
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::transaction::{response_flow, response_flow_anew};
use crate::sip::write::respond;
use crate::subscription::EVENTS;
use crate::timer::{PATIENCE, T1, T2, Timer};

impl Unacknowledged {
    /// When it is repeated once more after this time; `None` where nobody waits for the ACK any longer.
    pub(crate) fn repeat(&mut self, now: Time) -> Option<Time> {
        if now >= self.give_up_at {
            return None;
        }
        self.interval = (self.interval * 2).min(T2);
        self.repeat_at = (now + self.interval).min(self.give_up_at);
        Some(self.repeat_at)
    }
}

impl Engine {
    /// What the peer of this call has not been told of its INVITE goes by another way; what may be lost goes again at
    /// once.
    pub(crate) fn redirect_answers(&mut self, key: Key, flow: Flow) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        if let Some(transaction) = call.invite {
            self.transactions.redirect(transaction, flow);
        }
        call.progress.redirect(flow);
        let same = |waiting: &&mut Unacknowledged| waiting.flow.transport == flow.transport;
        if let Some(waiting) = call.unacknowledged.as_mut().filter(same) {
            waiting.flow = flow;
            self.wire.counts.retransmissions_out += 1;
            self.wire.send(flow, waiting.packet.clone());
        }
    }

    /// The caller's connection is gone: its answers go where the Via says, as long as it does not come back.
    pub(crate) fn strand_answers(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let way = call.invite.and_then(|transaction| {
            let way = self.transactions.flow(transaction)?;
            Some((transaction, response_flow_anew(call.request.as_ref()?, way)?))
        });
        if let Some((transaction, flow)) = way {
            self.transactions.redirect(transaction, flow);
            call.progress.redirect(flow);
        }
        if let Some(waiting) = &mut call.unacknowledged {
            waiting.flow = waiting.anew.unwrap_or(waiting.flow);
        }
    }

    /// Answers the caller: everything that the call needs is there.
    pub(crate) fn answer(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        if call.progress.holds_answer() {
            call.progress.answer_waits = true;
            return;
        }
        call.progress.stop();
        let settled = call.progress.settled;
        let told = call.leg.audio.clone();
        let (Some(request), Some(transaction)) = (call.request.take(), call.invite.take()) else {
            return;
        };
        let body = if !is_described(&request) {
            if settled {
                String::new()
            } else {
                self.make_offer(key)
            }
        } else if settled {
            // Said before and confirmed; some phones want to see it in the 200 too.
            call.origin.last().to_owned()
        } else {
            match self.answer_offer(key, &request) {
                Ok(text) => text,
                Err(refusal) => {
                    self.wire.counts.reject(refusal.reason);
                    self.restore_invite(key, transaction, request);
                    return self.refuse_call(key, "refused", refusal.status, refusal.phrase, None);
                }
            }
        };
        self.audio_begins(key, told);
        self.invites.remove(&transaction);
        self.session_requested(key, &request);
        self.accept(key, transaction, &request, &body);
        self.record_answered(key);
        self.record_kept(key);
        if let Some(call) = self.calls.get_mut(key) {
            call.stage = Stage::Answered;
            if let Place::Conference(id) = call.place {
                self.enter(key, id);
            }
        }
    }

    fn restore_invite(&mut self, key: Key, transaction: Key, request: Message) {
        if let Some(call) = self.calls.get_mut(key) {
            call.invite = Some(transaction);
            call.request = Some(request);
        }
    }

    /// Sends a 200 with a description to an INVITE, first or later, and repeats it until the ACK.
    pub(crate) fn accept(&mut self, key: Key, transaction: Key, request: &Message, body: &str) {
        let (Some(call), Some(way)) = (self.calls.get(key), self.transactions.flow(transaction)) else {
            return;
        };
        let mut response = respond(request, way.peer, 200, "OK", Some(&call.dialog.local_tag));
        for route in request.headers(Name::RecordRoute) {
            response = response.header("Record-Route", route);
        }
        let response = response
            .header("Contact", &call.dialog.contact)
            .header("Allow", ALLOW)
            .header("Allow-Events", EVENTS)
            .header("Accept", format_args!("application/sdp, {ACCEPT}"))
            .header("Supported", SUPPORTED.join(", "))
            .header("Server", &self.product);
        let response = call.session.tell(response);
        let packet = Packet::whole(match body {
            "" => response.finish(),
            body => response.body("application/sdp", body.as_bytes()),
        });
        self.transactions
            .respond(transaction, 200, packet.clone(), &mut self.wire);
        let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let now = self.wire.now;
        let (flow, anew) = (response_flow(request, way), response_flow_anew(request, way));
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.unacknowledged = Some(Unacknowledged {
            packet,
            flow,
            anew,
            cseq,
            interval: T1,
            repeat_at: now + T1,
            give_up_at: now + PATIENCE,
        });
        self.wire.timers.arm(now + T1, Timer::Answer(key));
    }

    pub(crate) fn answer_timer(&mut self, key: Key, at: Time) {
        let now = self.wire.now;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let Some(waiting) = call
            .unacknowledged
            .as_mut()
            .filter(|waiting| waiting.repeat_at == at)
        else {
            return;
        };
        let Some(repeat_at) = waiting.repeat(now) else {
            call.unacknowledged = None;
            *self.wire.counts.timeouts.entry("ack").or_default() += 1;
            return self.hang_up(key, "no_ack", Some("SIP;cause=408;text=\"No ACK\""));
        };
        let (flow, packet) = (waiting.flow, waiting.packet.clone());
        self.wire.counts.retransmissions_out += 1;
        self.wire.timers.arm(repeat_at, Timer::Answer(key));
        self.wire.send(flow, packet);
    }

    /// An ACK in the dialog of a call; whether it is, or may be a repeat of, one that was waited for.
    pub(crate) fn on_call_ack(&mut self, key: Key, ack: &Message) -> bool {
        let number = ack.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(call) = self.calls.get_mut(key) else {
            return false;
        };
        if call
            .unacknowledged
            .as_ref()
            .is_none_or(|waiting| waiting.cseq != number)
        {
            return call.dialog.remote_cseq.is_some_and(|last| number <= last);
        }
        if let Some(fault) = ack.body_fault().filter(|_| call.offered) {
            // It may come again as it should be.
            self.wire.counts.reject(fault.reason);
            return true;
        }
        call.unacknowledged = None;
        let arrives = call.stage == Stage::Answered;
        if arrives {
            call.stage = Stage::Up;
        }
        if call.offered {
            if let Err(refusal) = self.take_answer(key, ack) {
                self.wire.counts.reject(refusal.reason);
                self.hang_up(key, "bad_answer", Some("SIP;cause=488;text=\"No usable answer\""));
                return true;
            }
            self.direction_changed(key, ack, false);
        }
        self.greet(key);
        self.flush(key);
        if arrives {
            self.show_around(key);
        }
        self.advance_offer(key);
        true
    }
}
