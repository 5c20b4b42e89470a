//! Offers inside a call: re-INVITE and UPDATE (RFC 3261 section 14, RFC 3311).

use crate::arena::Key;
use crate::call::Stage;
use crate::engine::Engine;
use crate::sip::message::Message;
use crate::sip::method::Method;

impl Engine {
    pub(crate) fn on_offer(&mut self, key: Key, transaction: Key, request: Message) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let invite = request.method() == Method::Invite;
        if call.offered {
            // Our own offer is open: theirs must wait (RFC 3261 section 14.2).
            return self.refuse_in(transaction, &request, 491, "Request Pending", "glare");
        }
        if invite && (call.stage != Stage::Up || call.unacknowledged.is_some()) {
            self.wire.counts.reject("offer_too_soon");
            return self.respond_with(transaction, &request, 500, "Answer Pending", |response| {
                response.header("Retry-After", 2)
            });
        }
        if request.body_slice().is_empty() && !invite {
            call.dialog.retarget(&request);
            let contact = call.dialog.contact.clone();
            return self.respond_with(transaction, &request, 200, "OK", |response| {
                response.header("Contact", contact)
            });
        }
        let described = if request.body_slice().is_empty() {
            Ok(self.make_offer(key))
        } else {
            self.answer_offer(key, &request)
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
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.dialog.retarget(&request);
        if invite {
            return self.accept(key, transaction, &request, &text);
        }
        let contact = call.dialog.contact.clone();
        let Some(flow) = self.transactions.flow(transaction) else {
            return;
        };
        let response = crate::sip::write::respond(&request, flow.peer, 200, "OK", None)
            .header("Contact", contact)
            .header("Server", &self.product)
            .body("application/sdp", text.as_bytes());
        self.transactions.respond(
            transaction,
            200,
            crate::io::Packet::whole(response),
            &mut self.wire,
        );
    }
}
