//! Ends that have to wait: no BYE between a re-INVITE of ours and its ACK.
//!
//! Some peers drop the ACK once they have seen a request with a higher number, and refuse a BYE before the ACK.
//! The call itself is over at once; only its BYE follows when our offer has come to something.

use crate::arena::Key;
use crate::call::Call;
use crate::engine::Engine;
use crate::io::Packet;
use crate::sip::dialog::Dialog;
use crate::sip::method::Method;
use crate::sip::transaction::{Outcome, Owner};
use crate::timer::{T2, Timer};

/// What is left of a call whose BYE waits.
#[derive(Debug)]
pub(crate) struct Parting {
    dialog: Dialog,
    reason: Option<String>,
}

impl Engine {
    /// Says BYE, or keeps it until the offer that is open in the dialog has come to something.
    pub(crate) fn part(&mut self, mut call: Call, reason: Option<&str>) -> Call {
        let Some(transaction) = call.reoffer.open_invite() else {
            self.bye(&mut call, reason);
            return call;
        };
        let parting = Parting {
            dialog: call.dialog.clone(),
            reason: reason.map(str::to_owned),
        };
        self.partings.insert(transaction, parting);
        self.wire
            .timers
            .arm(self.wire.now + T2, Timer::Parting(transaction));
        call
    }

    /// The offer of a call that is over has come to this; false if nothing waits for it.
    pub(crate) fn parted(&mut self, transaction: Key, outcome: &Outcome<'_>) -> bool {
        let Some(mut parting) = self.partings.remove(&transaction) else {
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

    /// The answer does not come: the peer is told all the same.
    pub(crate) fn parting_timer(&mut self, transaction: Key) {
        if let Some(mut parting) = self.partings.remove(&transaction) {
            self.last_word(&mut parting);
        }
    }

    /// Whoever waits to be told is told now.
    pub(crate) fn part_all(&mut self) {
        let mut waiting: Vec<_> = self.partings.drain().collect();
        waiting.sort_unstable_by_key(|(transaction, _)| *transaction); // the same inputs give the same outputs
        for (_, mut parting) in waiting {
            self.last_word(&mut parting);
        }
    }

    fn last_word(&mut self, parting: &mut Parting) {
        let Parting { dialog, reason } = parting;
        self.say_bye(dialog, reason.as_deref());
    }

    pub(crate) fn bye(&mut self, call: &mut Call, reason: Option<&str>) {
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
