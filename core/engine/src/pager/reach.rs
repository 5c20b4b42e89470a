//! Messages whose phones change while they are on their way: what went to a contact that is no more is given up, and
//! goes to those that are there now.

use std::sync::Arc;

use cordboard_model::Time;

use super::delivery::Occasion;
use super::relay::{Pager, Particulars, SILENCE, TOO_LARGE};
use super::stream::By;
use super::{Addressee, Page};
use crate::arena::Key;
use crate::call::contact::registered_flow;
use crate::engine::Engine;
use crate::io::Flow;
use crate::sip::own::Own;
use crate::sip::registrar::{Binding, Registrar, same_contact};
use crate::sip::transaction::Outcome;

/// Where phones are, and where they may not lead us.
type Known<'a> = (&'a Registrar, &'a Own);

/// A copy of a message that went to one contact.
#[derive(Debug)]
pub(super) struct Attempt {
    /// `None`: it was too large for every way there.
    pub(super) transaction: Option<Key>,
    pub(super) flow: Flow,
    contact: Arc<str>,
    /// The serial of the contact on UDP whose phone was sent it by this connection; 0: it went by the contact's own way.
    pub(super) instead_of: u64,
}

impl Attempt {
    /// One by the flow of the contact's registration, `instead_of` that of another of the same phone.
    pub(super) fn new(transaction: Option<Key>, contact: &Binding, flow: Flow, instead_of: u64) -> Self {
        Self {
            transaction,
            flow,
            contact: Arc::clone(&contact.contact),
            instead_of,
        }
    }

    /// Whether it went by a connection that its phone has beside its way on UDP.
    pub(super) const fn is_by_stream(&self) -> bool {
        self.instead_of != 0
    }

    /// Takes out the copy of this transaction, if it went so.
    pub(super) fn take_stream(attempts: &mut Vec<Self>, transaction: Key) -> Option<Self> {
        let is_it = |attempt: &Self| attempt.is_by_stream() && attempt.transaction == Some(transaction);
        let place = attempts.iter().position(is_it)?;
        Some(attempts.remove(place))
    }

    /// Whether a copy to this contact would take the same way now: it was not renewed from somewhere else.
    fn leads_to(&self, contact: &Binding, own: &Own) -> bool {
        self.flow == registered_flow(contact, own) && same_contact(&self.contact, &contact.contact)
    }

    /// Whether it went to the phone of this contact, by whichever of its flows: who has it by one is not sent it by
    /// another.
    fn is_to_phone_of(&self, contact: &Binding, (registrar, own): Known<'_>, now: Time) -> bool {
        let mut flows = registrar.flows(contact, now);
        flows.any(|flow| self.leads_to(flow, own))
    }

    /// Leaves the contacts of phones that no copy went to.
    pub(super) fn leave_new(contacts: &mut Vec<Binding>, attempts: &[Self], known: Known<'_>, now: Time) {
        contacts.retain(|contact| {
            let mut attempts = attempts.iter();
            !attempts.any(|attempt| attempt.is_to_phone_of(contact, known, now))
        });
    }

    /// Takes out the copies that went to contacts that are no more.
    fn take_gone(attempts: &mut Vec<Self>, contacts: &[Binding], known: Known<'_>, now: Time) -> Vec<Self> {
        let is_gone = |attempt: &mut Self| {
            let mut contacts = contacts.iter();
            !contacts.any(|contact| attempt.is_to_phone_of(contact, known, now))
        };
        attempts.extract_if(.., is_gone).collect()
    }
}

impl Engine {
    /// The phones of an address have changed, and perhaps only renewed what they had. What is on its way there, or to
    /// the user whose device that is, follows them; what is kept is delivered where that is an occasion, and not only
    /// a loss.
    pub(crate) fn phones_changed(&mut self, address: &Arc<str>, occasion: Option<Occasion>) {
        if self.courier.is_idle() {
            return;
        }
        let place = self.place_of(address);
        self.follow_phones(address, place, occasion);
        let owner = place.and_then(|place| {
            let credential = self.directory.credential(place);
            let owner = self.directory.find(credential.account, &credential.owner)?;
            (owner != place).then_some(owner)
        });
        if let Some(owner) = owner {
            let address = Arc::clone(self.directory.address_of_record(owner));
            self.follow_phones(&address, Some(owner), occasion);
        }
    }

    fn follow_phones(&mut self, address: &str, place: Option<usize>, occasion: Option<Occasion>) {
        let deliveries = self.courier.boxes.on_their_way(address, occasion);
        let relays = place.map_or_else(Vec::new, |place| self.courier.relays_to(place));
        let mut contacts = Vec::new();
        if !deliveries.is_empty() || !relays.is_empty() {
            let there = place.map(|place| self.contacts_of(place));
            contacts = there.unwrap_or_default();
        }
        // First what has waited longest: the others follow it.
        for key in deliveries {
            self.follow_delivery(key, &contacts);
        }
        if let Some(occasion) = occasion {
            self.deliver_on(address, occasion);
        }
        for key in relays {
            self.follow_relay(key, &contacts);
        }
    }

    /// A kept message: the phones that are gone have not answered it.
    fn follow_delivery(&mut self, key: Key, contacts: &[Binding]) {
        let Some(delivery) = self.courier.deliveries.get_mut(key) else {
            return;
        };
        let now = self.wire.now;
        for gone in Attempt::take_gone(
            &mut delivery.attempts,
            contacts,
            (&self.registrar, &self.directory.own),
            now,
        ) {
            let waited = gone
                .transaction
                .is_some_and(|gone| self.transactions.give_up(gone));
            // The connection is gone, and the phone perhaps still there.
            if waited && !(gone.is_by_stream() && self.deliver_by_udp(key, &gone)) {
                self.kept_outcome(key, Outcome::Silence);
            }
        }
    }

    /// A message whose sender waits: where nobody has it any more it begins anew, in its order; otherwise it goes to
    /// the phones, too, that have come since. Once: a phone that moves on and on gets it from the mailbox, where one
    /// message follows the other, and not all of them at each of its steps.
    fn follow_relay(&mut self, key: Key, contacts: &[Binding]) {
        let Some(Pager::Sent(sent)) = self.pagers.get(key) else {
            return;
        };
        let now = self.wire.now;
        // Of a phone on several flows that which has TLS, though another was renewed later.
        let secure = match sent.page.message.addressee {
            Addressee::User(place) if sent.page.is_secure() => {
                Some(self.contacts_for(place, sent.page.message.request.request_uri()))
            }
            Addressee::User(_) | Addressee::Conference(_) => None,
        };
        let contacts = secure.as_deref().unwrap_or(contacts);
        let Some(Pager::Sent(sent)) = self.pagers.get_mut(key) else {
            return;
        };
        let gone = Attempt::take_gone(
            &mut sent.attempts,
            contacts,
            (&self.registrar, &self.directory.own),
            now,
        );
        let given_up = gone
            .into_iter()
            .filter_map(|gone| gone.transaction)
            .filter(|gone| self.transactions.give_up(*gone))
            .count();
        let nobody = sent.waiting <= given_up && matches!(sent.best, 0 | SILENCE);
        if nobody && given_up > 0 && !sent.told {
            for _ in 0..given_up {
                self.page_status(&Outcome::Silence, None);
            }
            if let Some(sent) = self.end_relay(key)
                && let Addressee::User(place) = sent.page.message.addressee
            {
                let again = sent.page.again;
                let page = Page {
                    again: true,
                    id: Some(sent.id),
                    ..sent.page
                };
                match again {
                    false => self.page_to_user(place, page),
                    true => self.keep_page(place, page, contacts),
                }
            }
            return;
        }
        if !sent.told && !sent.page.again {
            let mut new = contacts.to_vec();
            Attempt::leave_new(
                &mut new,
                &sent.attempts,
                (&self.registrar, &self.directory.own),
                now,
            );
            if !new.is_empty() {
                let registered = self.registered(contacts);
                self.relay_to_new(key, &new, registered);
            }
        }
        for _ in 0..given_up {
            self.relay_outcome(key, Outcome::Silence);
        }
    }

    /// Sends it to more contacts; what stands in the registrar is no news then.
    fn relay_to_new(&mut self, key: Key, contacts: &[Binding], registered: u64) {
        let Some(Pager::Sent(sent)) = self.pagers.get(key) else {
            return;
        };
        let (page, id) = (sent.page.clone(), sent.id);
        let (attempts, too_large, _) = self.send_relay(key, &page, id, contacts, By::Any);
        if let Some(Pager::Sent(sent)) = self.pagers.get_mut(key) {
            sent.page.again = true;
            sent.registered = registered;
            sent.waiting += contacts.len();
            sent.attempts.extend(attempts);
        }
        for _ in 0..too_large {
            self.page_answered(key, TOO_LARGE, Particulars::new(), None);
        }
    }
}
