//! Offers of the peer inside a call: re-INVITE and UPDATE (RFC 3261 section 14, RFC 3311).

use crate::arena::Key;
use crate::call::Stage;
use crate::call::description::is_described;
use crate::door::{ALLOW, SUPPORTED};
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::write::respond;

/// Why an offer is not looked at now.
enum Wait {
    /// Ours is open: 491.
    Ours,
    /// An earlier one of theirs is not answered: 500, and when to come back.
    Theirs,
}

impl Engine {
    pub(crate) fn on_offer(&mut self, key: Key, transaction: Key, request: Message, flow: Flow) {
        match self.must_wait(key, &request) {
            Some(Wait::Ours) => {
                return self.refuse_in(transaction, &request, 491, "Request Pending", "glare");
            }
            Some(Wait::Theirs) => {
                self.wire.counts.reject("offer_too_soon");
                let seconds = 1 + self.wire.random() % 10;
                return self.respond_with(transaction, &request, 500, "Answer Pending", |response| {
                    response.header("Retry-After", seconds)
                });
            }
            None => {}
        }
        if self.refused_as_too_brief(transaction, &request) {
            return;
        }
        let invite = request.method() == Method::Invite;
        let described = match (is_described(&request), invite) {
            (false, true) => Ok(self.make_offer(key)),
            (false, false) => Ok(String::new()),
            (true, _) => self.answer_offer(key, &request),
        };
        let text = match described {
            Ok(text) => text,
            // What was agreed before still holds.
            Err(refusal) => {
                return self.refuse_in(
                    transaction,
                    &request,
                    refusal.status,
                    refusal.phrase,
                    refusal.reason,
                );
            }
        };
        self.refresh_target(key, &request, flow);
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.peer.learn(&request);
        // The phone may have changed its network and be described as before.
        if let Some(audio) = call.leg.audio.clone() {
            self.set_audio(key, audio);
        }
        self.session_requested(key, &request);
        match invite {
            true => self.accept(key, transaction, &request, &text),
            false => self.respond_described(key, transaction, &request, &text),
        }
        self.direction_changed(key, &request, true);
        self.advance_offer(key);
    }

    /// One offer at a time (RFC 3261 section 14.2, RFC 3311 section 5.2). An UPDATE without an offer
    /// waits for nothing.
    fn must_wait(&self, key: Key, request: &Message) -> Option<Wait> {
        let call = self.calls.get(key)?;
        let invite = request.method() == Method::Invite;
        if !invite && !is_described(request) {
            return None;
        }
        if call.offered || call.reoffer.is_open() {
            return Some(Wait::Ours);
        }
        let unanswered = call.invite.is_some() && !call.progress.settled;
        let unfinished = invite && (call.stage != Stage::Up || call.unacknowledged.is_some());
        (unanswered || unfinished).then_some(Wait::Theirs)
    }

    /// A 200 to a request other than INVITE inside a call, with a description or without.
    pub(crate) fn respond_described(&mut self, key: Key, transaction: Key, request: &Message, text: &str) {
        let (Some(call), Some(flow)) = (self.calls.get(key), self.transactions.flow(transaction)) else {
            return;
        };
        let mut response = respond(request, flow.peer, 200, "OK", None).header("Server", &self.product);
        if request.method() == Method::Update {
            response = response
                .copy(request, Name::RecordRoute)
                .header("Contact", &call.dialog.contact)
                .header("Allow", ALLOW)
                .header("Supported", SUPPORTED.join(", "));
            response = call.session.tell(response);
        }
        let packet = Packet::whole(match text {
            "" => response.finish(),
            text => response.body("application/sdp", text.as_bytes()),
        });
        self.transactions
            .respond(transaction, 200, packet, &mut self.wire);
    }
}
