//! Messages whose sender waits long: it hears in time, and never a 408 (RFC 4320). What its addressee's phones have
//! not answered by then goes into the mailbox; where that may not be, the sender is told that nobody answers.

use std::sync::Arc;
use std::time::Duration;

use super::delivery::{Delivery, Occasion};
use super::relay::{Pager, SILENCE, with_particulars};
use super::{Addressee, Page};
use crate::arena::Key;
use crate::engine::Engine;
use crate::sip::registrar::Binding;
use crate::sip::transaction::Owner;
use crate::sip::write::default_phrase;
use crate::timer::{TRYING, Timer};

/// How long after a message came its sender is answered, whatever its addressee's phones do: three quarters of the
/// sender's Timer F, for the first of its copies may have been lost.
const DEADLINE: Duration = Duration::from_secs(24);

impl Engine {
    /// Holds a message back until those before it, which are kept, have been delivered.
    pub(super) fn hold_page(&mut self, address: String, page: Page) {
        let accepted = page.message.accepted;
        let key = self.pagers.insert_with(|_| Pager::Held(Box::new(page)));
        self.courier.held.entry(address).or_default().push(key);
        self.watch_page(key, accepted);
    }

    /// Nothing is on its way to an address any more: what waited for that follows, unless its time has passed.
    pub(super) fn release_held(&mut self, address: &str) {
        for key in self.courier.held.remove(address).unwrap_or_default() {
            if let Some(Pager::Held(mut page)) = self.pagers.remove(key) {
                if page.is_over(self.wire.now) {
                    self.pager_refused(page.message.transaction, &page.message.request, 480, "expired");
                    continue;
                }
                page.held = true;
                self.page(*page);
            }
        }
    }

    /// A message goes into the mailbox at once: those that came before it and wait go there first, or it would overtake
    /// them. What may not be kept goes on waiting, and so does what follows it: whether any does.
    pub(super) fn keep_held(&mut self, place: usize, contacts: &[Binding]) -> bool {
        let address = Arc::clone(self.directory.address_of_record(place));
        let mut left = Vec::new();
        for key in self.courier.held.remove(&*address).unwrap_or_default() {
            let Some(Pager::Held(page)) = self.pagers.get_mut(key) else {
                continue;
            };
            page.held = true;
            let page = page.clone();
            let kept = left.is_empty().then(|| self.put_aside(place, &page));
            let Some(Ok(kept)) = kept else {
                left.push(key);
                continue;
            };
            self.pagers.remove(key);
            self.store_page(kept, *page, contacts);
        }
        let waits = !left.is_empty();
        if waits {
            self.courier.held.insert(address.to_string(), left);
        }
        waits
    }

    /// The sender of this message will not wait for ever.
    pub(super) fn watch_page(&mut self, key: Key, accepted: cordboard_model::Time) {
        let now = self.wire.now;
        let length = (accepted + TRYING).since(now);
        self.wire.timers.arm_after(length, now, Timer::Page(key));
    }

    /// The sender of a message has waited for some time.
    pub(crate) fn page_timer(&mut self, key: Key) {
        let Some(message) = self.pagers.get(key).and_then(Pager::awaited) else {
            return;
        };
        let end = message.accepted + DEADLINE;
        if self.wire.now >= end {
            return self.page_overdue(key);
        }
        let (transaction, request) = (message.transaction, message.request.clone());
        let left = self.pagers.get(key).and_then(Pager::leaves_streams);
        if left.is_some_and(|left| left <= self.wire.now) {
            self.wire.timers.arm(end, Timer::Page(key));
            return self.leave_streams(key);
        }
        // RFC 4320 section 4.1: by now over UDP, too.
        self.trying(transaction, &request);
        let next = left.map_or(end, |left| left.min(end));
        self.wire.timers.arm(next, Timer::Page(key));
    }

    fn page_overdue(&mut self, key: Key) {
        match self.pagers.get(key) {
            Some(Pager::Held(_)) => {
                if let Some(Pager::Held(page)) = self.pagers.remove(key)
                    && let Addressee::User(place) = page.message.addressee
                {
                    let address = &**self.directory.address_of_record(place);
                    if let Some(keys) = self.courier.held.get_mut(address) {
                        keys.retain(|held| *held != key);
                        if keys.is_empty() {
                            self.courier.held.remove(address);
                        }
                    }
                    self.keep_page(place, *page, &[]);
                }
            }
            Some(Pager::Sent(sent)) => {
                let (page, best, before) = (sent.page.clone(), sent.best, sent.registered);
                self.phones_are_slow(key, page, best, before);
            }
            None => {}
        }
    }

    /// Phones have a message and say nothing: from now on it is one that is kept and on its way.
    fn phones_are_slow(&mut self, key: Key, page: Page, best: u16, before: u64) {
        let Addressee::User(place) = page.message.addressee else {
            return;
        };
        let news = self.registered(&self.contacts_of(place)) != before;
        let kept = self.put_aside(place, &page);
        let (address, number) = match kept {
            Ok(kept) => kept,
            Err(outcome) => return self.tell_of_silence(key, best, outcome),
        };
        let Some(sent) = self.end_relay(key) else {
            return;
        };
        let transactions: Vec<Key> = sent.attempts.iter().filter_map(|to| to.transaction).collect();
        let mut owner = Owner::Farewell;
        if let Some(kept) = self.courier.boxes.get_mut(&address, number) {
            kept.news = kept.news.max(news.then_some(Occasion::Registered));
            // The same message may be there from before a crash, and on its way already.
            if kept.delivery.is_none() {
                let state = (sent.answers, sent.waiting);
                let delivery = Delivery::begun(address.clone(), number, sent.sent, state, sent.attempts);
                let delivery = self.courier.deliveries.insert_with(|_| delivery);
                (kept.delivery, owner) = (Some(delivery), Owner::Delivery(delivery));
            }
        }
        for transaction in transactions {
            self.transactions.hand_over(transaction, owner);
        }
        self.store_kept(address, number, Some(page.message));
    }

    /// The sender hears what the best of the phones that did answer said, or that nobody does.
    fn tell_of_silence(&mut self, key: Key, best: u16, outcome: &'static str) {
        let Some(Pager::Sent(sent)) = self.pagers.get_mut(key) else {
            return;
        };
        sent.told = true;
        let (transaction, request) = (sent.page.message.transaction, sent.page.message.request.clone());
        let particulars = std::mem::take(&mut sent.told_with);
        let (status, phrase) = match (best, outcome) {
            (0 | SILENCE, "mailbox_full") => (480, "Mailbox Full"),
            (0 | SILENCE, _) => (480, "Phone Does Not Answer"),
            (best, _) => (best, default_phrase(best)),
        };
        self.wire.counts.message("in", "pager", "no_answer");
        self.respond_with(transaction, &request, status, phrase, |response| {
            with_particulars(response, &particulars)
        });
    }
}
