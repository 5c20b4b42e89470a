//! Messages that are kept: stored before their sender is told so, delivered in order when the addressee's
//! phones are there (`delivery`), given up when their time is over.
//!
//! Delivery is at least once: what a phone has answered with a 2xx is taken off the disk, and what a crash
//! left there is sent again, under the same Call-ID.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cordboard_model::Time;
use sha2::{Digest as _, Sha256};

use super::delivery::{Delivery, Occasion};
use super::imdn::Fate;
use super::mailbox::{Ahead, Full, Mailboxes};
use super::{Page, PendingPager};
use crate::arena::{Arena, Key};
use crate::call::contact::NOT_IN_CLEAR;
use crate::conference::copies::tail;
use crate::conference::message::essential_headers;
use crate::date::{read_sip_date, sip_date};
use crate::engine::{Engine, Subject};
use crate::io::{Output, StoreWrite, StoredMessage};
use crate::sip::dialog::hops_left;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::registrar::Binding;
use crate::timer::{Alarm, Timer};

/// Messages that wait in memory until those before them, which are kept, have been delivered.
const HELD: usize = 64;
/// A Date header that is further off than this comes from a clock that is wrong.
const CLOCK: Duration = Duration::from_secs(86_400);

/// Everything about kept messages.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    pub(super) boxes: Mailboxes,
    pub(super) deliveries: Arena<Delivery>,
    /// By address: messages that are not kept and follow those that are.
    pub(super) held: HashMap<String, Vec<Key>>,
    /// Messages that phones have and that are not kept: by the addressee's credential, in the order in which they
    /// went out.
    pub(super) relays: BTreeMap<(usize, u64), Key>,
    /// How many went out so far.
    relayed: u64,
    /// When the first message ends.
    alarm: Alarm,
    /// What users may still send, by credential, and when that was counted.
    allowances: HashMap<usize, (f64, Time)>,
}

impl Courier {
    /// How many messages are kept.
    pub(crate) const fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether nothing is kept or on its way to anybody.
    pub(super) fn is_idle(&self) -> bool {
        self.boxes.len() == 0 && self.relays.is_empty()
    }

    /// The messages that the phones of a credential have and that are not kept, the first before the others.
    pub(super) fn relays_to(&self, place: usize) -> Vec<Key> {
        let all = self.relays.range((place, 0)..=(place, u64::MAX));
        all.map(|(_, key)| *key).collect()
    }

    /// A message has gone out to the phones of a credential; its place among the others.
    pub(super) fn add_relay(&mut self, place: usize, pager: Key) -> (usize, u64) {
        self.relayed += 1;
        let place = (place, self.relayed);
        self.relays.insert(place, pager);
        place
    }
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

    /// To the one contact that there is, after what is kept for it and can be delivered; otherwise the message is kept
    /// first.
    pub(super) fn page_to_user(&mut self, place: usize, page: Page) {
        let contacts = self.contacts_for(place, page.message.request.request_uri());
        if contacts.is_empty() && page.is_secure() && !self.contacts_of(place).is_empty() {
            let (status, outcome) = (NOT_IN_CLEAR.status, NOT_IN_CLEAR.reason);
            return self.pager_refused(page.message.transaction, &page.message.request, status, outcome);
        }
        let passing = page.is_composing();
        if contacts.len() == 1 || passing && !contacts.is_empty() {
            let address = &**self.directory.address_of_record(place);
            let held = self.courier.held.get(address).map_or(0, Vec::len);
            if !passing && held < HELD {
                match self.courier.boxes.ahead(address) {
                    Ahead::OnItsWay => return self.hold_page(address.to_owned(), page),
                    // Who refused that may have time now; who still has none is asked for this one alone.
                    Ahead::Refused if !page.held => {
                        let address = address.to_owned();
                        self.hold_page(address.clone(), page);
                        return self.deliver_on(&address, Occasion::Again);
                    }
                    Ahead::Refused | Ahead::Nothing => {}
                }
            }
            return self.relay_page(place, page, &contacts);
        }
        if self.keep_held(place, &contacts) && !contacts.is_empty() {
            let address = self.directory.address_of_record(place).to_string();
            if self.courier.held.get(&address).map_or(0, Vec::len) < HELD {
                return self.hold_page(address, page);
            }
        }
        self.keep_page(place, page, &contacts);
    }

    /// Keeps a message; where that may not be, it goes to the contacts that there are.
    pub(super) fn keep_page(&mut self, place: usize, page: Page, contacts: &[Binding]) {
        let outcome = match self.put_aside(place, &page) {
            Ok(kept) => return self.store_page(kept, page, contacts),
            Err(outcome) => outcome,
        };
        if contacts.is_empty() {
            return self.pager_refused(page.message.transaction, &page.message.request, 480, outcome);
        }
        self.relay_page(place, page, contacts);
    }

    /// Writes a message to disk that has been put into the mailbox, while these contacts are there.
    pub(super) fn store_page(&mut self, (address, number): (String, u64), page: Page, contacts: &[Binding]) {
        let kept = self.courier.boxes.get_mut(&address, number);
        if let Some(kept) = kept.filter(|kept| kept.delivery.is_none() && !contacts.is_empty()) {
            kept.came = page.came();
        }
        self.store_kept(address, number, Some(page.message));
    }

    /// Puts a message into the mailbox of its addressee; what is counted where that may not be.
    pub(super) fn put_aside(&mut self, place: usize, page: &Page) -> Result<(String, u64), &'static str> {
        let address = self.directory.address_of_record(place).as_ref().to_owned();
        let now = self.wire.now;
        let longest = now + self.config.mail.age;
        let expires = page.expiry().map_or(longest, |expiry| expiry.min(longest));
        // He may have been taken out of the configuration while the plugins thought.
        let may = self.config.mail.count > 0 && self.directory.knows(&address);
        // What is kept goes to whichever phones come, also those that are reached in clear.
        let may = may && !page.is_secure();
        if !may || page.is_composing() || expires <= now {
            return Err("not_registered");
        }
        let message = self.letter_of(page, address, expires);
        self.keep(message).map_err(|Full| "mailbox_full")
    }

    fn letter_of(&mut self, page: &Page, to: String, expires: Time) -> StoredMessage {
        let request = &page.message.request;
        let date = sip_date(self.wire.now);
        let mut headers = essential_headers(request, page.form);
        if request.header(Name::Date).is_none() {
            headers.push((Name::Date, &date)); // it may be read much later
        }
        StoredMessage {
            id: id_of(&page.message, &to),
            number: self.courier.boxes.next_number(),
            to,
            hidden: match &page.message.hidden {
                Some(hidden) if page.wish().is_some() => hidden.clone(),
                Some(_) | None => String::new(),
            },
            from: page.message.uri.clone(),
            name: page.name().to_owned(),
            headers: header_lines(page.kind(), &headers),
            body: page.body.clone(),
            hops: hops_left(request).unwrap_or_default(),
            accepted: self.wire.now,
            expires,
        }
    }

    /// Puts a message into its mailbox, not yet to be delivered; one that is there already, because its
    /// sender has not heard of that, stays what it is.
    pub(super) fn keep(&mut self, message: StoredMessage) -> Result<(String, u64), Full> {
        if let Some(number) = self.courier.boxes.number_of(&message.to, message.id) {
            return Ok((message.to, number));
        }
        let place = (message.to.clone(), message.number);
        self.courier.boxes.put(message, false, Some(self.config.mail))?;
        Ok(place)
    }

    /// Writes a message to disk.
    pub(super) fn store_kept(&mut self, address: String, number: u64, sender: Option<PendingPager>) {
        let Some(kept) = self.courier.boxes.get_mut(&address, number) else {
            return;
        };
        kept.writes += 1;
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
        // A request that came again: the message is on disk from another time, and perhaps delivered by now.
        let kept = self.courier.boxes.get_mut(&address, number);
        let (safe, last) = kept.map_or((true, false), |kept| {
            kept.writes = kept.writes.saturating_sub(1);
            kept.safe |= ok;
            (kept.safe, kept.writes == 0)
        });
        let outcome = if safe { "stored" } else { "store_failed" };
        self.wire.counts.message("in", "pager", outcome);
        // That another one has come, or has not, says nothing of the first, which may have been in vain before.
        let front = self.courier.boxes.front(&address);
        let is_front = front.is_some_and(|front| front.message.number == number);
        if !safe {
            if let Some(sender) = sender {
                let phrase = "Store Unavailable";
                self.respond_with(sender.transaction, &sender.request, 503, phrase, |response| {
                    response.header("Retry-After", 5)
                });
            }
            if !last {
                return; // the same message may yet be written for the other request
            }
            self.courier.boxes.remove(&address, number);
        } else {
            self.arm_mail_timer();
            if let Some(sender) = sender {
                self.page_accepted(&sender);
            }
        }
        match is_front {
            true => self.deliver(&address),
            false => self.deliver_on(&address, Occasion::Again),
        }
        // What has not left by now waits for phones.
        let kept = self.courier.boxes.get_mut(&address, number);
        if let Some(came) = kept.and_then(|kept| kept.came.as_mut()) {
            came.waited = true;
        }
    }

    fn arm_mail_timer(&mut self) {
        let end = self.courier.boxes.next_end();
        if let Some(at) = end.filter(|at| self.courier.alarm.set(*at)) {
            self.wire.timers.arm(at, Timer::Mail);
        }
    }

    /// The time of some messages is up. One that is on its way is left to its phones.
    pub(crate) fn mail_timer(&mut self, at: Time) {
        if !self.courier.alarm.rang(at) {
            return;
        }
        let now = self.wire.now;
        for (address, number) in self.courier.boxes.ended(now) {
            let kept = self.courier.boxes.get_mut(&address, number);
            if kept.is_some_and(|kept| kept.delivery.is_none() && kept.safe) {
                self.over(&address, number, Fate::Failed, "expired");
            }
        }
        let end = self.courier.boxes.next_end_after(now);
        if let Some(at) = end.filter(|at| self.courier.alarm.set(*at)) {
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

/// When the time of a message that came then is over: its Expires counts from its Date (RFC 3428 section 4), unless that
/// comes from a clock that is wrong. `None`: it has no Expires.
pub(super) fn expiry(request: &Message, came: Time) -> Option<Time> {
    let seconds = request.expires()?.ok()?;
    let written = request.header(Name::Date).and_then(read_sip_date);
    let from = written.filter(|written| *written <= came && came.since(*written) <= CLOCK);
    Some(from.unwrap_or(came) + Duration::from_secs(seconds.into()))
}

/// The id of a message: the same for a request that comes again after a crash, another for any other.
pub(super) fn id_of(message: &PendingPager, to: &str) -> u128 {
    let request = &message.request;
    let mut hash = Sha256::new();
    let from = request.header(Name::From).unwrap_or_default();
    let number = request.header(Name::CSeq).unwrap_or_default();
    let kind = request.header(Name::ContentType).unwrap_or_default();
    for part in [message.uri.as_str(), to, from, request.call_id(), number, kind] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.update(request.body_slice());
    first_half(&hash.finalize())
}

pub(super) fn first_half(hash: &[u8]) -> u128 {
    hash.iter()
        .take(16)
        .fold(0, |id, byte| id << 8 | u128::from(*byte))
}

/// The headers of a kept message, one a line.
pub(super) fn header_lines(kind: &str, headers: &[(Name, &str)]) -> String {
    let whole = tail(kind, headers, b"");
    let text = String::from_utf8_lossy(&whole);
    let end = text.rfind("Content-Length:").unwrap_or(text.len());
    text[..end].to_owned()
}
