//! Senders whose connection ends before they are answered. Their answers go where their Via says (RFC 3261 section
//! 18.2.2), and are kept for the time that a sender on UDP would repeat: who repeats the same request on another
//! connection hears the answer there, and its message is not sent twice.

use super::relay::Pager;
use crate::engine::{Engine, Subject};
use crate::sip::transaction::response_flow_anew;

impl Engine {
    /// A connection has ended.
    pub(crate) fn strand_senders(&mut self, connection: u64) {
        let asked = self.subjects.values().filter_map(|subject| match subject {
            Subject::Pager(message) => Some(&**message),
            Subject::Keeping(keeping) => keeping.sender.as_ref(),
            _ => None,
        });
        let on_their_way = self.pagers.values().filter_map(Pager::awaited);
        for message in asked.chain(on_their_way) {
            if message.flow.connection == connection {
                let anew = response_flow_anew(&message.request, message.flow);
                self.transactions.strand(message.transaction, anew);
            }
        }
    }
}
