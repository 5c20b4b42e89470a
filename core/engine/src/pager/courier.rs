//! Messages that are kept: stored before their sender is told so, delivered in order when the addressee's
//! phones are there, given up when their time is over.
//!
//! Delivery is at least once: what a phone has answered with a 2xx is taken off the disk, and what a crash
//! left there is sent again, under the same Call-ID.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use cordboard_model::Time;
use sha2::{Digest as _, Sha256};

use super::imdn::{CPIM, Fate, is_composing, wish};
use super::mailbox::{Full, Mailboxes};
use super::relay::{Sheet, way};
use super::{Page, PendingPager};
use crate::arena::{Arena, Key};
use crate::conference::copies::tail;
use crate::conference::message::essential_headers;
use crate::date::{read_sip_date, sip_date};
use crate::engine::{Engine, Subject};
use crate::io::{Output, StoreWrite, StoredMessage};
use crate::sip::dialog::HOPS;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::transaction::{Outcome, Owner};
use crate::sip::uri::Uri;
use crate::timer::Timer;

/// Messages that wait in memory until those before them, which are kept, have been delivered.
const HELD: usize = 64;
/// A message that was in vain so often is given up: a phone that says that it cannot take it now counts
/// [`REFUSAL`] times as much as one that says nothing.
const PATIENCE: u8 = 25;
const REFUSAL: u8 = 5;
/// A Date header that is further off than this comes from a clock that is wrong.
const CLOCK: Duration = Duration::from_secs(86_400);

/// Everything about kept messages.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    boxes: Mailboxes,
    deliveries: Arena<Delivery>,
    /// By address: messages that are not kept and follow those that are.
    held: HashMap<String, Vec<Page>>,
    /// When the timer runs that ends messages.
    timer: Option<Time>,
    /// What users may still send, by credential, and when that was counted.
    allowances: HashMap<usize, (f64, Time)>,
}

impl Courier {
    /// How many messages are kept.
    pub(crate) const fn len(&self) -> usize {
        self.boxes.len()
    }
}

/// A kept message on its way to the contacts of a user.
#[derive(Debug)]
struct Delivery {
    address: String,
    number: u64,
    waiting: usize,
    delivered: bool,
    /// A phone has answered.
    answered: bool,
    /// A later attempt may succeed.
    hopeful: bool,
}

/// A message that is being written to disk, and who waits to be told; nobody for one of our own.
#[derive(Debug)]
pub(crate) struct Keeping {
    address: String,
    number: u64,
    sender: Option<PendingPager>,
}

impl Engine {
    /// Takes one message from what a user may send.
    pub(super) fn may_page(&mut self, place: usize) -> bool {
        let (rate, now) = (f64::from(self.config.message_rate), self.wire.now);
        if rate == 0.0 {
            return true;
        }
        let line = self.courier.allowances.entry(place).or_insert((rate * 2.0, now));
        let left = (line.0 + now.since(line.1).as_secs_f64() * rate).min(rate * 2.0);
        let may = left >= 1.0;
        *line = (if may { left - 1.0 } else { left }, now);
        may
    }

    /// To the one contact that there is; otherwise the message is kept first.
    pub(super) fn page_to_user(&mut self, place: usize, page: Page) {
        let contacts = self.contacts_of(place);
        let address = self.directory.address_of_record(place);
        let passing = is_composing(&page.kind, &page.body);
        if contacts.len() == 1 || passing && !contacts.is_empty() {
            let held = self.courier.held.get(&address).map_or(0, Vec::len);
            if !passing && held < HELD && self.courier.boxes.is_busy(&address) {
                return self.courier.held.entry(address).or_default().push(page);
            }
            return self.relay_page(&page, &contacts);
        }
        let expires = ends(&page.message.request, self.wire.now, self.config.mail.age);
        // He may have been taken out of the configuration while the plugins thought.
        let known = self.directory.knows(&address);
        let outcome = if passing || expires.is_none() || self.config.mail.count == 0 || !known {
            "not_registered"
        } else {
            let message = self.letter_of(&page, address, expires.unwrap_or_default());
            match self.keep(message) {
                Ok((address, number)) => {
                    return self.store_kept(address, number, Some(page.message));
                }
                Err(Full) => "mailbox_full",
            }
        };
        if contacts.is_empty() {
            return self.pager_refused(page.message.transaction, &page.message.request, 480, outcome);
        }
        self.relay_page(&page, &contacts);
    }

    fn letter_of(&mut self, page: &Page, to: String, expires: Time) -> StoredMessage {
        let request = &page.message.request;
        let date = sip_date(self.wire.now);
        let mut headers = essential_headers(request);
        if request.header(Name::Date).is_none() {
            headers.push((Name::Date, &date)); // it may be read much later
        }
        StoredMessage {
            id: id_of(&page.message, &to),
            number: self.courier.boxes.next_number(),
            to,
            from: page.message.uri.clone(),
            name: page.name.clone(),
            headers: header_lines(&page.kind, &headers),
            body: page.body.clone(),
            accepted: self.wire.now,
            expires,
        }
    }

    /// Puts a message into its mailbox, not yet to be delivered; one that is there already, because its
    /// sender has not heard of that, stays what it is.
    fn keep(&mut self, message: StoredMessage) -> Result<(String, u64), Full> {
        if let Some(number) = self.courier.boxes.number_of(&message.to, message.id) {
            return Ok((message.to, number));
        }
        let place = (message.to.clone(), message.number);
        self.courier.boxes.put(message, false, Some(self.config.mail))?;
        Ok(place)
    }

    /// Writes a message to disk.
    fn store_kept(&mut self, address: String, number: u64, sender: Option<PendingPager>) {
        let Some(kept) = self.courier.boxes.get_mut(&address, number) else {
            return;
        };
        let write = StoreWrite::PutMessage(Box::new(kept.message.clone()));
        let keeping = Keeping {
            address,
            number,
            sender,
        };
        let ticket = self.ticket();
        self.subjects.insert(ticket, Subject::Keeping(Box::new(keeping)));
        self.wire.out.push_back(Output::Store { ticket, write });
    }

    /// A message is on disk, or could not be written.
    pub(crate) fn message_stored(&mut self, keeping: Keeping, ok: bool) {
        let Keeping {
            address,
            number,
            sender,
        } = keeping;
        self.wire
            .counts
            .message("in", "pager", if ok { "stored" } else { "store_failed" });
        if !ok {
            self.courier.boxes.remove(&address, number);
            if let Some(sender) = sender {
                let phrase = "Store Unavailable";
                self.respond_with(sender.transaction, &sender.request, 503, phrase, |response| {
                    response.header("Retry-After", 5)
                });
            }
            return;
        }
        if let Some(kept) = self.courier.boxes.get_mut(&address, number) {
            kept.safe = true;
        }
        self.arm_mail_timer();
        if let Some(sender) = sender {
            self.page_accepted(&sender);
        }
        self.deliver(&address);
    }

    /// A phone has registered: what was kept for its user is delivered.
    pub(crate) fn deliver_to_user(&mut self, address: &str) {
        self.deliver_again(address);
        let owner = self.place_of(address).map(|place| {
            let credential = self.directory.credential(place);
            let owner = self.directory.find(credential.account, &credential.owner);
            self.directory.address_of_record(owner.unwrap_or(place))
        });
        if let Some(owner) = owner.filter(|owner| owner != address) {
            self.deliver_again(&owner);
        }
    }

    fn deliver_again(&mut self, address: &str) {
        if let Some(kept) = self.courier.boxes.front(address) {
            kept.news = true;
            self.deliver(address);
        }
    }

    /// The credential of an address of record.
    fn place_of(&self, address: &str) -> Option<usize> {
        let (user, realm) = address.rsplit_once('@')?;
        let accounts = &self.config.accounts;
        let account = accounts.iter().find(|account| account.realm == realm)?;
        self.directory.find(account.id, user)
    }

    /// Sends the first message to an address that may be sent, if phones are there to take it.
    fn deliver(&mut self, address: &str) {
        let now = self.wire.now;
        while let Some(kept) = self.courier.boxes.front(address) {
            if kept.on_its_way || !kept.safe {
                return;
            }
            let number = kept.message.number;
            if kept.message.expires <= now {
                self.over(address, number, Fate::Failed, "expired");
                continue;
            }
            let contacts = self.place_of(address).map(|place| self.contacts_of(place));
            let contacts = contacts.unwrap_or_default();
            if contacts.is_empty() {
                break;
            }
            let Some(kept) = self.courier.boxes.front(address) else {
                return;
            };
            (kept.on_its_way, kept.news) = (true, false);
            let message = kept.message.clone();
            let delivery = self.courier.deliveries.insert_with(|_| Delivery {
                address: address.to_owned(),
                number,
                waiting: contacts.len(),
                delivered: false,
                answered: false,
                hopeful: false,
            });
            let tail = tail_of(&message);
            let sheet = Sheet {
                name: &message.name,
                from: &message.from,
                to: &format!("sip:{address}"),
                hops: HOPS,
                id: Some(message.id),
                tail: &tail,
            };
            for contact in &contacts {
                self.send_page(Owner::Delivery(delivery), way(contact), &sheet);
            }
            return;
        }
        // Nothing is on its way any more: what waited for that follows.
        for page in self.courier.held.remove(address).unwrap_or_default() {
            self.page(page);
        }
    }

    /// A phone has answered a kept message, or not.
    pub(crate) fn delivery_outcome(&mut self, key: Key, outcome: Outcome<'_>) {
        let Some(status) = self.page_status(&outcome) else {
            return;
        };
        let Some(delivery) = self.courier.deliveries.get_mut(key) else {
            return;
        };
        delivery.waiting = delivery.waiting.saturating_sub(1);
        delivery.answered |= matches!(outcome, Outcome::Response(_));
        delivery.hopeful |= !is_for_good(status);
        let first = status < 300 && !delivery.delivered;
        delivery.delivered |= first;
        let (address, number) = (delivery.address.clone(), delivery.number);
        let (done, delivered) = (delivery.waiting == 0, delivery.delivered);
        let (answered, hopeful) = (delivery.answered, delivery.hopeful);
        if done {
            self.courier.deliveries.remove(key);
        }
        if first {
            self.over(&address, number, Fate::Delivered, "");
            self.deliver(&address);
        } else if done && !delivered {
            self.not_delivered(&address, number, answered, hopeful);
        }
    }

    /// No phone took a message: it stays for the next registration, unless none ever will take it.
    fn not_delivered(&mut self, address: &str, number: u64, answered: bool, hopeful: bool) {
        let Some(kept) = self.courier.boxes.get_mut(address, number) else {
            return self.deliver(address);
        };
        kept.on_its_way = false;
        kept.vain = kept.vain.saturating_add(if answered { REFUSAL } else { 1 });
        if !hopeful || kept.vain >= PATIENCE {
            self.over(address, number, Fate::Failed, "undeliverable");
            return self.deliver(address);
        }
        if kept.message.expires <= self.wire.now || kept.news {
            return self.deliver(address); // its time is up, or a phone came meanwhile
        }
        for page in self.courier.held.remove(address).unwrap_or_default() {
            self.page(page);
        }
    }

    /// A message is not kept any longer; the sender is told, if that was asked for.
    fn over(&mut self, address: &str, number: u64, fate: Fate, outcome: &'static str) {
        let Some(message) = self.courier.boxes.remove(address, number) else {
            return;
        };
        if fate == Fate::Failed {
            self.wire.counts.message("out", "pager", outcome);
        }
        // In this order: a crash in between tells the sender twice rather than never.
        self.notify_sender(&message, fate);
        let ticket = self.ticket();
        let write = StoreWrite::DeleteMessage { id: message.id };
        self.wire.out.push_back(Output::Store { ticket, write });
    }

    /// Tells the sender what became of a message, where it asked for that (RFC 5438).
    fn notify_sender(&mut self, message: &StoredMessage, fate: Fate) {
        let Some(wish) = wish(content_type(message), &message.body) else {
            return;
        };
        let (now, id) = (self.wire.now, notification_id(message.id, fate));
        let recipient = format!("sip:{}", message.to);
        let uris = (recipient.as_str(), message.from.as_str());
        let Some(notification) = wish.tell(fate, uris, message.accepted, now, id) else {
            return;
        };
        let sender = Uri::parse(&message.from).ok();
        let sender = sender.and_then(|uri| Some(format!("{}@{}", uri.user()?, uri.host)));
        let Some(to) = sender.filter(|address| self.place_of(address).is_some()) else {
            return self.wire.counts.message("in", "pager", "unknown_destination");
        };
        let recipient_name = self
            .place_of(&message.to)
            .map(|place| self.directory.credential(place).display_name.clone());
        let notification = StoredMessage {
            id,
            number: self.courier.boxes.next_number(),
            to,
            from: recipient,
            name: recipient_name.unwrap_or_default(),
            headers: header_lines(CPIM, &[(Name::Date, &sip_date(now))]),
            body: Bytes::from(notification.body),
            accepted: now,
            expires: now + self.config.mail.age,
        };
        match self.keep(notification) {
            Ok((address, number)) => self.store_kept(address, number, None),
            Err(Full) => self.wire.counts.message("in", "pager", "mailbox_full"),
        }
    }

    fn arm_mail_timer(&mut self) {
        let Some(at) = self.courier.boxes.next_end() else {
            return;
        };
        if self.courier.timer.is_none_or(|armed| at < armed) {
            self.courier.timer = Some(at);
            self.wire.timers.arm(at, Timer::Mail);
        }
    }

    /// The time of some messages is up. One that is on its way is left to its phones.
    pub(crate) fn mail_timer(&mut self, at: Time) {
        if self.courier.timer != Some(at) {
            return;
        }
        self.courier.timer = None;
        let now = self.wire.now;
        for (address, number) in self.courier.boxes.ended(now) {
            let kept = self.courier.boxes.get_mut(&address, number);
            if kept.is_some_and(|kept| !kept.on_its_way && kept.safe) {
                self.over(&address, number, Fate::Failed, "expired");
            }
        }
        if let Some(at) = self.courier.boxes.next_end_after(now) {
            self.courier.timer = Some(at);
            self.wire.timers.arm(at, Timer::Mail);
        }
    }

    /// Takes in a message that the store kept; only before the first input.
    pub(crate) fn load_kept(&mut self, message: StoredMessage) {
        let first = self.courier.boxes.len() == 0;
        if self.courier.boxes.put(message, true, None).is_ok() {
            self.arm_mail_timer();
        }
        if first {
            let now = self.wire.now;
            self.wire.timers.arm(now, Timer::Deliver);
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

    /// Gives up what was kept for users that the configuration does not know any more.
    pub(crate) fn forget_strangers_mail(&mut self) {
        let gone = self
            .courier
            .boxes
            .numbers_where(|address| !self.directory.knows(address));
        for (address, number) in gone {
            self.over(&address, number, Fate::Failed, "unknown_destination");
        }
    }
}

/// A final status after which the same message to the same phone will fare no better.
const fn is_for_good(status: u16) -> bool {
    matches!(status, 400 | 403 | 405 | 406 | 410 | 413..=416 | 420 | 488 | 493 | 600..=699)
}

/// Until when a message is kept; `None` if it may not be kept at all. Its Expires counts from its Date
/// (RFC 3428 section 4), unless that comes from a clock that is wrong.
fn ends(request: &Message, now: Time, age: Duration) -> Option<Time> {
    let longest = now + age;
    let Some(Ok(seconds)) = request.expires() else {
        return Some(longest);
    };
    let written = request.header(Name::Date).and_then(read_sip_date);
    let from = written.filter(|written| *written <= now && now.since(*written) <= CLOCK);
    let ends = from.unwrap_or(now) + Duration::from_secs(seconds.into());
    (ends > now).then_some(ends.min(longest))
}

/// The id of a message: the same for a request that comes again after a crash, another for any other.
fn id_of(message: &PendingPager, to: &str) -> u128 {
    let request = &message.request;
    let mut hash = Sha256::new();
    let from = request.header(Name::From).unwrap_or_default();
    let number = request.header(Name::CSeq).unwrap_or_default();
    let kind = request.header(Name::ContentType).unwrap_or_default();
    for part in [&message.uri, to, from, request.call_id(), number, kind] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.update(request.body_slice());
    first_half(&hash.finalize())
}

fn notification_id(message: u128, fate: Fate) -> u128 {
    let hash = Sha256::new().chain_update(message.to_be_bytes());
    first_half(&hash.chain_update([u8::from(fate == Fate::Delivered)]).finalize())
}

fn first_half(hash: &[u8]) -> u128 {
    hash.iter()
        .take(16)
        .fold(0, |id, byte| id << 8 | u128::from(*byte))
}

/// The headers of a kept message, one a line.
fn header_lines(kind: &str, headers: &[(Name, &str)]) -> String {
    let whole = tail(kind, headers, b"");
    let text = String::from_utf8_lossy(&whole);
    let end = text.rfind("Content-Length:").unwrap_or(text.len());
    text[..end].to_owned()
}

/// The Content-Type of a kept message.
fn content_type(message: &StoredMessage) -> &str {
    let first = message.headers.lines().next().unwrap_or_default();
    first.strip_prefix("Content-Type: ").unwrap_or_default()
}

fn tail_of(message: &StoredMessage) -> Bytes {
    let length = format!("Content-Length: {}\r\n\r\n", message.body.len());
    [message.headers.as_bytes(), length.as_bytes(), &message.body]
        .concat()
        .into()
}
