//! How calls end: BYE from either side, CANCEL, refusal, the switch going down.

use cordboard_model::UserId;

use crate::arena::Key;
use crate::call::{Call, Place, Stage};
use crate::conference::event::Event;
use crate::door::FULL;
use crate::engine::{Engine, Subject};
use crate::io::Packet;
use crate::record::ENDS;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::write::respond;

/// The Reason of the BYEs that end a drain (RFC 3326).
const SHUTDOWN: &str = "SIP;cause=503;text=\"The switch is shutting down\"";

/// The longest Reason that is passed on, in bytes.
const MAX_REASON: usize = 512;

impl Engine {
    pub(crate) fn on_bye(&mut self, key: Key, transaction: Key, request: &Message) {
        self.respond_with(transaction, request, 200, "OK", |response| response);
        self.record_status(key, 487);
        let unanswered = self.calls.get(key).is_some_and(|call| call.invite.is_some());
        let why = if unanswered { "cancelled" } else { "hung_up" };
        if let Some(call) = self.forget(key, why) {
            self.take_offer_back(&call);
            self.refuse_invite(&call, 487, "Request Terminated", None);
            self.leave(key, &call, reason_of(request).as_deref());
        }
    }

    /// The caller took its INVITE back, and may have said why.
    pub(crate) fn cancelled(&mut self, key: Key, cancel: &Message) {
        self.record_status(key, 487);
        if let Some(call) = self.forget(key, "cancelled") {
            self.refuse_invite(&call, 487, "Request Terminated", None);
            self.leave(key, &call, reason_of(cancel).as_deref());
        }
    }

    /// Ends a call that is not answered yet: a caller hears the status, a callee is cancelled.
    pub(crate) fn refuse_call(
        &mut self,
        key: Key,
        why: &'static str,
        status: u16,
        phrase: &str,
        reason: Option<&str>,
    ) {
        if self.abandon(key, why, reason) {
            return;
        }
        self.record_status(key, status);
        let Some(call) = self.forget(key, why) else {
            return;
        };
        self.refuse_invite(&call, status, phrase, reason);
        self.leave(key, &call, reason);
    }

    /// Ends a call from our side, whatever its stage.
    pub(crate) fn hang_up(&mut self, key: Key, why: &'static str, reason: Option<&str>) {
        if self.abandon(key, why, reason) {
            return;
        }
        self.record_status(key, 503); // what a caller hears who has no answer yet
        let Some(mut call) = self.forget(key, why) else {
            return;
        };
        match call.stage {
            Stage::Answered | Stage::Up => self.part(key, &mut call, reason),
            _ => self.refuse_invite(&call, 503, "Service Unavailable", reason),
        }
        self.leave(key, &call, reason);
    }

    /// Every call that is still up at the end of a drain.
    pub(crate) fn hang_up_all(&mut self) {
        for conference in self.conferences.values_mut() {
            conference.ending = true;
        }
        let mut alive: Vec<_> = self.conferences.keys().copied().collect();
        alive.sort_unstable(); // the same inputs give the same outputs
        for id in alive {
            self.tell_all(id, Event::End);
            if let Some(conference) = self.conferences.get_mut(&id) {
                conference.ending = true;
            }
        }
        for key in self.calls.keys() {
            self.hang_up(key, "shutdown", Some(SHUTDOWN));
        }
    }

    /// Takes a call out of every table but those of its place.
    pub(crate) fn forget(&mut self, key: Key, why: &'static str) -> Option<Call> {
        let mut call = self.calls.remove(key)?;
        let why = *call.why.get_or_insert(why);
        debug_assert!(
            ENDS.iter().any(|(word, _)| *word == why),
            "{why} is a word of records"
        );
        *self.wire.counts.calls_ended.entry(why).or_default() += 1;
        self.record_ended(key, &call, why);
        if let Some(user) = call.counted {
            self.made_one_less(user);
        }
        self.drop_carried(key, &call);
        self.close_leg(&call.leg);
        if let Some(invite) = call.invite {
            self.invites.remove(&invite);
        }
        // Its messages that wait for a verdict: RFC 3261 section 15.1.2 wants an answer to each.
        for (ticket, decided) in std::mem::take(&mut call.pending) {
            let waiting = match (decided, self.subjects.remove(&ticket)) {
                (Some((message, _)), _) | (None, Some(Subject::Message(message))) => message,
                _ => continue,
            };
            self.respond_with(
                waiting.transaction,
                &waiting.request,
                487,
                "Request Terminated",
                |response| response,
            );
        }
        Some(call)
    }

    /// A call that this user had made is over.
    fn made_one_less(&mut self, user: UserId) {
        if let Some(made) = self.callers.get_mut(&user) {
            *made -= 1;
            if *made == 0 {
                self.callers.remove(&user);
            }
        }
    }

    /// The final answer to an INVITE that is still open.
    fn refuse_invite(&mut self, call: &Call, status: u16, phrase: &str, reason: Option<&str>) {
        let (Some(transaction), Some(request)) = (call.invite, &call.request) else {
            return;
        };
        let Some(flow) = self.transactions.flow(transaction) else {
            return;
        };
        let mut response = respond(request, flow.peer, status, phrase, Some(&call.dialog.local_tag));
        if let Some(reason) = reason {
            response = response.header("Reason", reason);
        }
        if status == 503 {
            response = response.header("Retry-After", FULL);
        }
        let packet = Packet::whole(response.header("Server", &self.product).finish());
        self.transactions
            .respond(transaction, status, packet, &mut self.wire);
    }

    /// Tells the conference or the other side that this call is gone.
    pub(crate) fn leave(&mut self, key: Key, call: &Call, reason: Option<&str>) {
        match call.place {
            Place::Conference(id) => {
                self.left(key, id, call);
                self.others_look(key, call.place);
            }
            Place::Bridge(bridge) => self.bridge_side_ended(bridge, key, call, reason),
        }
    }
}

/// Why a peer ends a call, as far as it is passed on (RFC 3326).
fn reason_of(request: &Message) -> Option<String> {
    let all: Vec<&str> = request.headers(Name::Reason).collect();
    let text = all.join(", ");
    (!text.is_empty() && text.len() <= MAX_REASON).then_some(text)
}
