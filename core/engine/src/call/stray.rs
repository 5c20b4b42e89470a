//! Answers that nobody waits for any more, each of which wants its ACK all the same: a 2xx that came
//! again, and the 2xx of a second phone behind one contact, which also wants a BYE.

use crate::arena::Key;
use crate::call::Call;
use crate::engine::Engine;
use crate::io::Packet;
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::transaction::Owner;
use crate::wire::Wire;

impl Engine {
    /// Sends the ACK of a 2xx in its call's dialog and keeps its number for when the 2xx comes again.
    pub(crate) fn acknowledge(&mut self, key: Key, response: &Message) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let Ok(cseq) = response.cseq() else { return };
        call.ack = Some(cseq.number);
        acknowledge(&mut self.wire, &call.dialog, cseq.number);
    }

    /// The 2xx to our INVITE came again: its ACK was lost. By the dialog's own way it gets through also where the other
    /// that the peer asks for leads nowhere: no transaction tells of that.
    pub(crate) fn late_answer(&mut self, response: &Message) {
        let ours = || {
            let from = response.from().ok()?;
            let (to, cseq) = (response.to().ok()?, response.cseq().ok()?);
            let key = Key::read(from.tag()?)?.0;
            let call = self.calls.get(key)?;
            let ours = from.tag() == Some(call.dialog.local_tag.as_str())
                && to.tag() == Some(call.dialog.remote_tag.as_str());
            (ours && call.ack == Some(cseq.number)).then_some((key, cseq.number))
        };
        let Some((key, number)) = ours() else {
            return self.wire.counts.reject("stray_response");
        };
        if let Some(Call { dialog, .. }) = self.calls.get_mut(key) {
            let detour = dialog.detour.take();
            acknowledge(&mut self.wire, dialog, number);
            dialog.detour = detour;
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
        let Some(mut dialog) = Dialog::client(&invite, response, flow, sent_by, &self.directory.own) else {
            return self.wire.counts.reject("stray_response");
        };
        let way = dialog.next_flow();
        acknowledge(&mut self.wire, &dialog, dialog.local_cseq);
        if hang_up && self.transactions.is_first_of(transaction, &dialog.remote_tag) {
            self.transactions
                .open_client(Method::Bye, way, Owner::Farewell, &mut self.wire, |branch| {
                    Packet::whole(dialog.request(Method::Bye, branch, None).finish())
                });
        }
    }
}

/// Sends the ACK of the 2xx to our INVITE with this number.
pub(crate) fn acknowledge(wire: &mut Wire, dialog: &Dialog, number: u32) {
    let branch = format!("z9hG4bK{:016x}", wire.random());
    let ack = dialog.request_again(Method::Ack, number, &branch, None);
    *wire.counts.requests_out.entry(Method::Ack).or_default() += 1;
    wire.send(dialog.next_flow(), Packet::whole(ack.finish()));
}
