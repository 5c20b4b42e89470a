//! Answers that nobody waits for any more, each of which wants its ACK all the same: a 2xx that came
//! again, and the 2xx of a second phone behind one contact, which also wants a BYE.

use crate::arena::Key;
use crate::engine::Engine;
use crate::io::Packet;
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::transaction::Owner;

impl Engine {
    /// Sends the ACK of a 2xx in its call's dialog and keeps it for when the 2xx comes again.
    pub(crate) fn acknowledge(&mut self, key: Key, response: &Message) {
        let branch = format!("z9hG4bK{:016x}", self.wire.random());
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let Ok(cseq) = response.cseq() else { return };
        let ack = call.dialog.request_again(Method::Ack, cseq.number, &branch, None);
        let ack = Packet::whole(ack.finish());
        call.ack = Some((cseq.number, ack.clone()));
        let flow = call.dialog.next_flow();
        *self.wire.counts.requests_out.entry(Method::Ack).or_default() += 1;
        self.wire.send(flow, ack);
    }

    /// The 2xx to our INVITE came again: its ACK was lost.
    pub(crate) fn late_answer(&mut self, response: &Message) {
        let ack = || {
            let from = response.from().ok()?;
            let (to, cseq) = (response.to().ok()?, response.cseq().ok()?);
            let call = self.calls.get(Key::read(from.tag()?)?.0)?;
            let ours = from.tag() == Some(call.dialog.local_tag.as_str())
                && to.tag() == Some(call.dialog.remote_tag.as_str());
            let (number, ack) = call.ack.clone()?;
            (ours && number == cseq.number).then(|| (call.dialog.next_flow(), ack))
        };
        match ack() {
            Some((flow, ack)) => self.wire.send(flow, ack),
            None => self.wire.counts.reject("stray_response"),
        }
    }

    /// A 2xx that makes a call which nobody wants: another phone has answered, or the caller is gone.
    /// It gets its ACK each time, and one BYE unless the dialog has had one.
    pub(crate) fn dismiss(&mut self, transaction: Key, response: &Message, hang_up: bool) {
        if !(200..300).contains(&response.status()) {
            return;
        }
        let Some((invite, flow)) = self.transactions.request_of(transaction) else {
            return;
        };
        let sent_by = self.sent_by(flow);
        let Some(mut dialog) = Dialog::client(&invite, response, flow, sent_by) else {
            return self.wire.counts.reject("stray_response");
        };
        let branch = format!("z9hG4bK{:016x}", self.wire.random());
        let way = dialog.next_flow();
        let ack = dialog.request_again(Method::Ack, dialog.local_cseq, &branch, None);
        *self.wire.counts.requests_out.entry(Method::Ack).or_default() += 1;
        self.wire.send(way, Packet::whole(ack.finish()));
        if hang_up && self.transactions.is_first_of(transaction, &dialog.remote_tag) {
            self.transactions
                .open_client(Method::Bye, way, Owner::Farewell, &mut self.wire, |branch| {
                    Packet::whole(dialog.request(Method::Bye, branch, None).finish())
                });
        }
    }
}
