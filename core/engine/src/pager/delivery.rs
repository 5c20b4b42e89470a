//! Delivering kept messages: one after the other to an address, to all its phones, until one of them takes it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use cordboard_model::Time;
use sha2::{Digest as _, Sha256};

use super::courier::{first_half, header_lines};
use super::imdn::{CPIM, Fate, Wish, wish};
use super::mailbox::{Full, PauseTimer};
use super::reach::Attempt;
use super::refusal::{Answers, asked_in};
use super::relay::{Came, Sheet, TOO_LARGE};
use super::stream::By;
use crate::arena::Key;
use crate::date::sip_date;
use crate::engine::Engine;
use crate::io::{Output, StoreWrite, StoredMessage};
use crate::sip::dialog::HOPS;
use crate::sip::name::Name;
use crate::sip::registrar::Binding;
use crate::sip::transaction::{Outcome, Owner};
use crate::sip::transfer::Transfer;
use crate::sip::uri::Uri;
use crate::timer::Timer;

/// A message that was in vain so often is given up: a phone that refuses it counts [`REFUSAL`] times as much as one that
/// says nothing.
const PATIENCE: u8 = 25;
const REFUSAL: u8 = 5;
/// Where phones have only registered, what is in vain counts so seldom: phones register every minute, and what is wrong may
/// take some hours to be mended.
const BLAME: Duration = Duration::from_secs(3600);
/// The same where all are silent: the one that registers is, too.
const BLAME_SILENCE: Duration = Duration::from_secs(720);

/// Why the first message to an address goes out, the one that says least of it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Occasion {
    /// Some time has passed, or another message has come: that the phones are still busy or silent says nothing of this
    /// one.
    Again,
    /// A phone has registered, as phones do every minute also while their user has no time: as above where one says
    /// that, otherwise as below, but seldom.
    Registered,
    /// It is its turn, or a phone has taken another message: who refuses it now may always do so.
    Turn,
}

/// A message of whose fate its sender may want to be told.
pub(super) struct Notice<'a> {
    pub(super) id: u128,
    /// The addressee's address of record.
    pub(super) to: &'a str,
    /// The sender's URI, also where no recipient is told it.
    pub(super) from: &'a str,
    pub(super) accepted: Time,
}

/// A kept message on its way to the contacts of a user.
#[derive(Debug)]
pub(super) struct Delivery {
    address: String,
    number: u64,
    occasion: Occasion,
    /// When it went to phones first.
    pub(super) sent: Time,
    waiting: usize,
    delivered: bool,
    /// What phones have said.
    answers: Answers,
    /// Where it went.
    pub(super) attempts: Vec<Attempt>,
}

impl Delivery {
    /// One that no phone has yet.
    fn new(address: String, number: u64, occasion: Occasion, sent: Time) -> Self {
        Self {
            address,
            number,
            occasion,
            sent,
            waiting: 0,
            delivered: false,
            answers: Answers::default(),
            attempts: Vec::new(),
        }
    }

    /// One that phones have had for some time: what those said that answered, and how many have not.
    pub(super) fn begun(
        address: String,
        number: u64,
        sent: Time,
        (answers, waiting): (Answers, usize),
        attempts: Vec<Attempt>,
    ) -> Self {
        Self {
            waiting,
            answers,
            attempts,
            ..Self::new(address, number, Occasion::Turn, sent)
        }
    }

    /// What counts against its message, now that no phone took it; `blamed`: how long ago something counted last.
    fn in_vain(&self, blamed: Option<Duration>) -> u8 {
        let Answers {
            refused,
            busy,
            later,
            never,
            ..
        } = self.answers;
        // What is not the time for hours upon hours may be so because of the message: the rest waits behind it.
        let (weight, seldom) = match self.occasion {
            Occasion::Turn => return if refused { REFUSAL } else { 1 },
            _ if busy => return 0,
            _ if later => (1, BLAME),
            Occasion::Again => return 0,
            Occasion::Registered if refused => (REFUSAL, BLAME),
            // The one that registers may be the one that never takes any, and the other asleep.
            Occasion::Registered if never => (1, BLAME),
            Occasion::Registered => (1, BLAME_SILENCE),
        };
        match blamed.is_some_and(|ago| ago < seldom) {
            true => 0,
            false => weight,
        }
    }
}

impl Engine {
    /// The credential of an address of record.
    pub(super) fn place_of(&self, address: &str) -> Option<usize> {
        let (user, realm) = address.rsplit_once('@')?;
        let accounts = &self.config.accounts;
        let account = accounts.iter().find(|account| account.realm == realm)?;
        self.directory.find(account.id, user)
    }

    /// Sends the first message to an address, as below, in its course: it is its turn, unless phones have refused it
    /// for now.
    pub(super) fn deliver(&mut self, address: &str) {
        let occasion = match self.courier.boxes.is_pausing(address) {
            true => Occasion::Again,
            false => Occasion::Turn,
        };
        self.deliver_on(address, occasion);
    }

    /// Sends the first message to an address that may be sent, if phones are there to take it. One that is on its
    /// way goes to the phones, too, that have come since.
    pub(super) fn deliver_on(&mut self, address: &str, occasion: Occasion) {
        let now = self.wire.now;
        while let Some(kept) = self.courier.boxes.front(address) {
            let (number, news, on_its_way) = (kept.message.number, kept.news, kept.delivery);
            let expired = kept.message.expires <= now;
            if !kept.safe || on_its_way.is_some() && (news.is_none() || expired) {
                return;
            }
            if expired {
                self.over(address, number, Fate::Failed, "expired");
                continue;
            }
            let contacts = self.place_of(address).map(|place| self.contacts_of(place));
            let mut contacts = contacts.unwrap_or_default();
            if let Some(delivery) = on_its_way.and_then(|key| self.courier.deliveries.get(key)) {
                let known = (&self.registrar, &self.directory.own);
                Attempt::leave_new(&mut contacts, &delivery.attempts, known, now);
                if contacts.is_empty() {
                    return;
                }
            }
            if contacts.is_empty() {
                self.courier.boxes.nobody_is_there(address);
                break;
            }
            let delivery = on_its_way.unwrap_or_else(|| {
                let delivery = Delivery::new(address.to_owned(), number, occasion, now);
                self.courier.deliveries.insert_with(|_| delivery)
            });
            let Some(kept) = self.courier.boxes.front(address) else {
                return;
            };
            (kept.delivery, kept.news) = (Some(delivery), None);
            let (message, came) = (kept.message.clone(), kept.came.take());
            return self.send_kept(delivery, &message, came, (&contacts, By::Any));
        }
        // Nothing is on its way any more: what waited for that follows.
        self.release_held(address);
    }

    /// Sends a kept message to contacts of its addressee, as a part of one delivery.
    fn send_kept(
        &mut self,
        key: Key,
        message: &StoredMessage,
        came: Option<Came>,
        (contacts, by): (&[Binding], By),
    ) {
        let sheet = Sheet {
            name: &message.name,
            from: &message.from,
            to: ["sip:", &message.to, "", ""],
            hops: message.hops,
            id: Some(message.id),
            tail: &tail_of(message),
        };
        let (attempts, too_large) = self.send_pages(Owner::Delivery(key), contacts, &sheet, by);
        if let Some(delivery) = self.courier.deliveries.get_mut(key) {
            delivery.waiting += contacts.len();
            delivery.attempts.extend(attempts);
        }
        if let Some(came) = came {
            self.page_left(&came, contacts.len());
        }
        for _ in 0..too_large {
            self.delivery_answered(key, TOO_LARGE, None);
        }
    }

    /// What one copy of a kept message came to.
    pub(crate) fn delivery_outcome(&mut self, key: Key, transaction: Key, outcome: Outcome<'_>) {
        let delivery = self.courier.deliveries.get_mut(key);
        let stream = delivery
            .filter(|_| !matches!(outcome, Outcome::Response(_)))
            .and_then(|delivery| Attempt::take_stream(&mut delivery.attempts, transaction));
        if !stream.is_some_and(|stream| self.deliver_by_udp(key, &stream)) {
            self.kept_outcome(key, outcome);
        }
    }

    /// One copy has had no answer by a connection: whether it goes out once more by its phone's own way.
    pub(super) fn deliver_by_udp(&mut self, key: Key, stream: &Attempt) -> bool {
        let Some(own) = self.leave_silent(stream) else {
            return false;
        };
        let Some(delivery) = self.courier.deliveries.get(key) else {
            return false;
        };
        let (address, number) = (delivery.address.clone(), delivery.number);
        let kept = self.courier.boxes.get_mut(&address, number);
        let Some(message) = kept.map(|kept| kept.message.clone()) else {
            return false; // another phone has it
        };
        if message.expires <= self.wire.now {
            return false;
        }
        self.page_status(&Outcome::Silence, None);
        if let Some(delivery) = self.courier.deliveries.get_mut(key) {
            delivery.waiting = delivery.waiting.saturating_sub(1);
        }
        self.send_kept(key, &message, None, (&[own], By::Own));
        true
    }

    /// A phone has answered a kept message, or not.
    pub(super) fn kept_outcome(&mut self, key: Key, outcome: Outcome<'_>) {
        let sent = self.courier.deliveries.get(key).map(|delivery| delivery.sent);
        if let Some(status) = self.page_status(&outcome, sent) {
            let asked = match outcome {
                Outcome::Response(response) => asked_in(response),
                Outcome::Silence | Outcome::Unreachable => None,
            };
            self.delivery_answered(key, status, asked);
        }
    }

    /// A phone has answered a kept message finally, or said nothing; `asked`: the pause that it asked for.
    fn delivery_answered(&mut self, key: Key, status: u16, asked: Option<Duration>) {
        let Some(delivery) = self.courier.deliveries.get_mut(key) else {
            return;
        };
        delivery.waiting = delivery.waiting.saturating_sub(1);
        if status >= 300 {
            delivery.answers.add(status, asked);
        }
        let first = status < 300 && !delivery.delivered;
        delivery.delivered |= first;
        let (address, number) = (delivery.address.clone(), delivery.number);
        let (done, delivered) = (delivery.waiting == 0, delivery.delivered);
        let ended = if done {
            self.courier.deliveries.remove(key)
        } else {
            None
        };
        if first {
            self.courier.boxes.forget_pause(&address);
            self.over(&address, number, Fate::Delivered, "");
            self.deliver(&address);
        } else if let Some(ended) = ended.filter(|_| !delivered) {
            self.not_delivered(&ended);
        }
    }

    /// No phone took a message: it stays for the next registration, unless none ever will take it. Where one said that
    /// it cannot take it now, it is asked again after a pause.
    fn not_delivered(&mut self, delivery: &Delivery) {
        let (address, number) = (delivery.address.as_str(), delivery.number);
        let (answers, now) = (&delivery.answers, self.wire.now);
        let Some(kept) = self.courier.boxes.get_mut(address, number) else {
            return self.deliver(address);
        };
        kept.delivery = None;
        let news = kept.news.take();
        let vain = delivery.in_vain(kept.blamed.map(|at| now.since(at)));
        kept.vain = kept.vain.saturating_add(vain);
        if vain > 0 {
            kept.blamed = Some(now);
        }
        if !answers.hopeful || kept.vain >= PATIENCE {
            self.over(address, number, Fate::Failed, "undeliverable");
            return self.deliver(address);
        }
        if let Some(occasion) = news {
            return self.deliver_on(address, occasion); // a phone came meanwhile
        }
        if kept.message.expires <= now {
            return self.deliver(address);
        }
        self.courier.boxes.nobody_is_there(address);
        if !answers.refused {
            self.courier.boxes.forget_pause(address);
        } else if let Some((key, ends)) = self.courier.boxes.pause(address, answers.pause(), now) {
            self.wire.timers.arm(ends, Timer::Redelivery(key));
        }
        self.release_held(address);
    }

    /// Phones that refused a message for now have been left in peace for some time.
    pub(crate) fn redelivery_timer(&mut self, key: Key) {
        match self.courier.boxes.pause_timer(key, self.wire.now) {
            Some(PauseTimer::Over(address)) => self.deliver_on(&address, Occasion::Again),
            Some(PauseTimer::Until(ends)) => self.wire.timers.arm(ends, Timer::Redelivery(key)),
            None => {}
        }
    }

    /// A message is not kept any longer; the sender is told, if that was asked for.
    pub(super) fn over(&mut self, address: &str, number: u64, fate: Fate, outcome: &'static str) {
        let Some(message) = self.courier.boxes.remove(address, number) else {
            return;
        };
        if fate == Fate::Failed {
            self.wire.counts.message("out", "pager", outcome);
        }
        // In this order: a crash in between tells the sender twice rather than never.
        let notice = Notice {
            id: message.id,
            to: &message.to,
            from: match message.hidden.as_str() {
                "" => &message.from,
                hidden => hidden,
            },
            accepted: message.accepted,
        };
        if let Some(wish) = wish(header(&message, "Content-Type"), &own_body(&message)) {
            self.notify_sender(&notice, &wish, fate);
        }
        let ticket = self.ticket();
        let write = StoreWrite::DeleteMessage { id: message.id };
        self.wire.out.push_back(Output::Store { ticket, write });
    }

    /// Tells the sender what became of a message, where it asked for that (RFC 5438).
    pub(super) fn notify_sender(&mut self, message: &Notice<'_>, wish: &Wish, fate: Fate) {
        let (now, id) = (self.wire.now, notification_id(message.id, fate));
        let recipient = format!("sip:{}", message.to);
        let uris = (recipient.as_str(), message.from);
        let Some(notification) = wish.tell(fate, uris, message.accepted, now, id) else {
            return;
        };
        let sender = Uri::parse(message.from).ok();
        let sender =
            sender.and_then(|uri| Some(format!("{}@{}", uri.user()?, uri.host.to_ascii_lowercase())));
        let Some(to) = sender.filter(|address| self.place_of(address).is_some()) else {
            return self.wire.counts.message("in", "pager", "unknown_destination");
        };
        let recipient_name = self
            .place_of(message.to)
            .map(|place| self.directory.credential(place).display_name.clone());
        let notification = StoredMessage {
            id,
            number: self.courier.boxes.next_number(),
            to,
            from: recipient,
            hidden: String::new(),
            name: recipient_name.unwrap_or_default(),
            headers: header_lines(CPIM, &[(Name::Date, &sip_date(now))]),
            body: Bytes::from(notification.body),
            hops: HOPS,
            accepted: now,
            expires: now + self.config.mail.age,
        };
        match self.keep(notification.clone()) {
            Ok((address, number)) => self.store_kept(address, number, None),
            Err(Full) => {
                self.wire.counts.message("in", "pager", "mailbox_full");
                self.send_once(&notification);
            }
        }
    }

    /// What cannot be kept is sent to the phones that are there, and forgotten.
    fn send_once(&mut self, message: &StoredMessage) {
        let contacts = self.place_of(&message.to).map(|place| self.contacts_of(place));
        let sheet = Sheet {
            name: &message.name,
            from: &message.from,
            to: ["sip:", &message.to, "", ""],
            hops: message.hops,
            id: Some(message.id),
            tail: &tail_of(message),
        };
        for contact in contacts.unwrap_or_default() {
            self.send_page(Owner::Farewell, self.way(&contact), &sheet);
        }
    }

    /// Everything is loaded: what was on its way when the switch ended goes out again.
    pub(crate) fn deliver_all(&mut self) {
        let mut addresses: Vec<String> = self
            .courier
            .boxes
            .numbers_where(|_| true)
            .into_iter()
            .map(|(address, _)| address)
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        for address in addresses {
            self.deliver(&address);
        }
    }
}

fn notification_id(message: u128, fate: Fate) -> u128 {
    let hash = Sha256::new().chain_update(message.to_be_bytes());
    first_half(&hash.chain_update([u8::from(fate == Fate::Delivered)]).finalize())
}

/// A header that is kept with a message; empty where it has none.
fn header<'a>(message: &'a StoredMessage, name: &str) -> &'a str {
    let mut lines = message.headers.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_default()
}

/// The body of a kept message, before it was encoded for the way.
fn own_body(message: &StoredMessage) -> Cow<'_, [u8]> {
    let transfer = Transfer::of(Some(header(message, "Content-Transfer-Encoding")));
    let own = transfer.undone(&message.body);
    own.unwrap_or(Cow::Borrowed(&message.body))
}

fn tail_of(message: &StoredMessage) -> Bytes {
    let length = format!("Content-Length: {}\r\n\r\n", message.body.len());
    [message.headers.as_bytes(), length.as_bytes(), &message.body]
        .concat()
        .into()
}
