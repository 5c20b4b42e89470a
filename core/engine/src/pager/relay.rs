//! A message that goes to the phones of a user at once: the sender hears what they answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cordboard_model::Time;

use super::courier::id_of;
use super::delivery::{Notice, Occasion};
use super::imdn::Fate;
use super::reach::Attempt;
use super::refusal::{Answers, asked_in};
use super::stream::{By, STREAM_PATIENCE};
use super::{Addressee, Page, PendingPager};
use crate::arena::Key;
use crate::call::contact::{NOT_IN_CLEAR, registered_flow};
use crate::call::outbox::{DATAGRAM, UDP_SAFE};
use crate::call::privacy::ANONYMOUS;
use crate::conference::copies::{one_line, tail};
use crate::conference::message::essential_headers;
use crate::engine::Engine;
use crate::io::{Flow, Output, Packet, Transport};
use crate::sip::dialog::{HOPS, hops_left};
use crate::sip::grammar::List;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::registrar::Binding;
use crate::sip::transaction::{Outcome, Owner};
use crate::sip::write::{Short, Writer, default_phrase, quote_display};

/// What the head of a message has beside its names: never less than it really is.
const HEAD: usize = 420;
/// The answer to a message that no way to the phone can carry.
pub(super) const TOO_LARGE: u16 = 413;

/// A value of a phone's refusal that is longer than this is not passed on, in bytes.
const PARTICULAR: usize = 512;

/// Stands for the status of a phone that is silent, or that there is no way to: worse than any that a phone could
/// send. No sender is told of it: a 408 to a request other than INVITE says nothing in time (RFC 4320).
pub(super) const SILENCE: u16 = 999;
const FLOW_FAILED: u16 = 430;

/// A message whose sender waits, or one that phones have.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are of the largest: a box would be an allocation each"
)]
pub(crate) enum Pager {
    /// It follows those that are kept for its addressee.
    Held(Box<Page>),
    /// Phones have it.
    Sent(Sent),
}

/// A message on its way to the contacts of a user.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(super) page: Page,
    pub(super) waiting: usize,
    /// The best answer so far; 0 before the first.
    pub(super) best: u16,
    /// What that answer says beside its status.
    pub(super) told_with: Particulars,
    /// What the refusals say of another attempt.
    pub(super) answers: Answers,
    pub(super) sent: Time,
    /// What stood in the registrar then.
    pub(super) registered: u64,
    pub(super) id: u128,
    /// No datagram holds it.
    oversize: bool,
    /// Where it went.
    pub(super) attempts: Vec<Attempt>,
    /// The addressee's credential, and its place among the messages on their way there.
    place: (usize, u64),
    /// Its sender has been answered.
    pub(super) told: bool,
}

impl Pager {
    /// The message, where its sender waits for an answer.
    pub(super) fn awaited(&self) -> Option<&PendingPager> {
        match self {
            Self::Held(page) => Some(&page.message),
            Self::Sent(sent) if !sent.told => Some(&sent.page.message),
            Self::Sent(_) => None,
        }
    }

    /// When it goes by UDP to phones on UDP that have it by a connection, if there are any.
    pub(super) fn leaves_streams(&self) -> Option<Time> {
        match self {
            Self::Sent(sent) if sent.attempts.iter().any(Attempt::is_by_stream) => {
                Some(sent.sent + STREAM_PATIENCE)
            }
            Self::Sent(_) | Self::Held(_) => None,
        }
    }
}

/// When a message came whose way to its addressee's phones is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came {
    pub(super) stamp: Time,
    pub(super) accepted: Time,
    /// It had to wait for what those phones had before it: that is none of our relay latency.
    pub(super) waited: bool,
}

/// What the copies of one message have in common.
pub(super) struct Sheet<'a> {
    pub(super) name: &'a str,
    pub(super) from: &'a str,
    /// The addressee's URI in pieces.
    pub(super) to: [&'a str; 4],
    pub(super) hops: u8,
    /// The id of a message that was kept: its Call-ID, so that a repeat after a crash is known as one.
    pub(super) id: Option<u128>,
    pub(super) tail: &'a Bytes,
}

impl Sheet<'_> {
    /// How long a copy is, in bytes: never less than it really is.
    pub(super) fn size(&self, (_, target, path): Way<'_>) -> usize {
        let to: usize = self.to.iter().map(|piece| piece.len()).sum();
        let texts = target.len() + path.len() + self.name.len() * 2 + self.from.len() + to;
        HEAD + texts + self.tail.len()
    }
}

/// The way to one phone: the flow, the Request-URI, the Path.
pub(super) type Way<'a> = (Flow, &'a str, &'a str);

impl Engine {
    /// Another number than before once a phone of these contacts has registered, or has gone; the same whichever of its
    /// flows is taken.
    pub(super) fn registered(&self, contacts: &[Binding]) -> u64 {
        let flows = contacts
            .iter()
            .flat_map(|contact| self.registrar.flows(contact, self.wire.now));
        flows.fold(0, |sum: u64, flow| {
            sum.wrapping_add(flow.serial).wrapping_add(flow.expires.0)
        })
    }

    /// The way to a contact.
    pub(super) fn way<'a>(&self, contact: &'a Binding) -> Way<'a> {
        (self.contact_flow(contact), &contact.contact, &contact.path)
    }

    /// Sends a message to contacts of its addressee, of which there is at least one; whoever chose them, one that asks
    /// for TLS goes to those alone that have it.
    pub(super) fn relay_page(&mut self, place: usize, page: Page, contacts: &[Binding]) {
        let contacts = &*page.allowed(contacts);
        if contacts.is_empty() {
            let (status, outcome) = (NOT_IN_CLEAR.status, NOT_IN_CLEAR.reason);
            return self.pager_refused(page.message.transaction, &page.message.request, status, outcome);
        }
        let id = self.relay_id(place, &page);
        let pager = self.pagers.next_key();
        let (attempts, too_large, oversize) = self.send_relay(pager, &page, id, contacts, By::Any);
        let accepted = page.message.accepted;
        if let Some(came) = page.came() {
            self.wire.counts.message("in", "pager", "relayed");
            self.page_left(&came, contacts.len());
        }
        let place = self.courier.add_relay(place, pager);
        let registered = self.registered(contacts);
        self.pagers.insert_with(|_| {
            Pager::Sent(Sent {
                page,
                waiting: contacts.len(),
                best: 0,
                told_with: Particulars::new(),
                answers: Answers::default(),
                sent: self.wire.now,
                registered,
                id,
                oversize,
                attempts,
                place,
                told: false,
            })
        });
        self.watch_page(pager, accepted);
        for _ in 0..too_large {
            self.page_answered(pager, TOO_LARGE, Particulars::new(), None);
        }
    }

    /// The id of a message. One that will never be kept needs none that a crash does not change.
    fn relay_id(&mut self, place: usize, page: &Page) -> u128 {
        match page.id {
            Some(id) => id,
            None if self.config.mail.count > 0 => {
                id_of(&page.message, self.directory.address_of_record(place))
            }
            None => u128::from(self.wire.random()) << 64 | u128::from(self.wire.random()),
        }
    }

    /// A message has gone to so many contacts of its addressee for the first time.
    pub(super) fn page_left(&mut self, came: &Came, contacts: usize) {
        let (stamp, accepted) = (came.stamp, came.accepted);
        self.wire.counts.recipients.record(contacts as f64);
        if !came.waited {
            self.wire.out.push_back(Output::Relayed { stamp });
        }
        let kind = "pager";
        self.wire.out.push_back(Output::FannedOut { kind, accepted });
    }

    /// The copies of a message to contacts of its addressee: where they went, how many were too large for every way,
    /// and whether no datagram holds one.
    pub(super) fn send_relay(
        &mut self,
        pager: Key,
        page: &Page,
        id: u128,
        contacts: &[Binding],
        by: By,
    ) -> (Vec<Attempt>, usize, bool) {
        let message = &page.message;
        let tail = tail(
            page.kind(),
            &essential_headers(&message.request, page.form),
            &page.body,
        );
        let sheet = Sheet {
            name: page.name(),
            from: &message.uri,
            to: ["sip:", &message.number, "@", &message.account.realm],
            hops: hops_left(&message.request).unwrap_or_default(),
            id: Some(id),
            tail: &tail,
        };
        let (attempts, too_large) = self.send_pages(Owner::Pager(pager), contacts, &sheet, by);
        (attempts, too_large, tail.len() > DATAGRAM - HEAD)
    }

    /// One MESSAGE to each of these phones: where they went, and how many were too large for every way.
    pub(super) fn send_pages(
        &mut self,
        owner: Owner,
        contacts: &[Binding],
        sheet: &Sheet<'_>,
        by: By,
    ) -> (Vec<Attempt>, usize) {
        let mut attempts = Vec::with_capacity(contacts.len());
        for contact in contacts {
            let stream = match by {
                By::Any => self.stream_to(contact, sheet),
                By::Own => None,
            };
            let instead_of = match stream {
                Some(_) => contact.serial,
                None => self.udp_beside(contact).unwrap_or(0),
            };
            let contact = stream.as_ref().unwrap_or(contact);
            let registered = registered_flow(contact, &self.directory.own);
            let way = (
                self.flow_by(contact, registered),
                &*contact.contact,
                &*contact.path,
            );
            let transaction = self.send_page(owner, way, sheet);
            attempts.push(Attempt::new(transaction, contact, registered, instead_of));
        }
        let too_large = attempts.iter().filter(|attempt| attempt.transaction.is_none());
        let too_large = too_large.count();
        (attempts, too_large)
    }

    /// A message is not on its way any more, or somebody else waits for what becomes of it.
    pub(super) fn end_relay(&mut self, key: Key) -> Option<Sent> {
        self.pagers
            .get(key)
            .filter(|pager| matches!(pager, Pager::Sent(_)))?;
        let Some(Pager::Sent(sent)) = self.pagers.remove(key) else {
            return None;
        };
        self.courier.relays.remove(&sent.place);
        Some(sent)
    }

    /// The way for a request of this size: what no datagram holds needs a stream, made if there is none (RFC 3261
    /// section 18.1.1). `None`: there is no way.
    fn way_for(&mut self, flow: Flow, size: usize) -> Option<Flow> {
        if flow.transport != Transport::Udp || size <= UDP_SAFE {
            return Some(flow);
        }
        if size <= DATAGRAM {
            self.wire.counts.message("out", "pager", "large_over_udp");
            return Some(flow);
        }
        let stream = self.by_tcp(flow);
        if stream.is_none() {
            self.wire.counts.message("out", "pager", "too_large");
        }
        stream
    }

    /// One MESSAGE to one phone; `None` if it is too large for every way there. Its tag is new each time: a phone that still knows the former attempt
    /// under this Call-ID would otherwise see a loop (RFC 3261 section 8.2.2.2).
    pub(super) fn send_page(
        &mut self,
        owner: Owner,
        (flow, target, path): Way<'_>,
        sheet: &Sheet<'_>,
    ) -> Option<Key> {
        let flow = self.way_for(flow, sheet.size((flow, target, path)))?;
        let (tag, sent_by) = (self.wire.short_token(), self.sent_by(flow));
        let (tag, call_id) = match sheet.id {
            Some(id) => (
                tag,
                Short::new()
                    .hexadecimal((id >> 64) as u64, 16)
                    .hexadecimal(id as u64, 16),
            ),
            None => (tag, self.wire.short_token()),
        };
        let (tag, call_id) = (tag.as_str(), call_id.as_str());
        let transaction =
            self.transactions
                .open_client(Method::Message, flow, owner, &mut self.wire, |branch| {
                    let mut writer = Writer::request("MESSAGE", target).via(flow.transport, sent_by, branch);
                    for route in List::new(path) {
                        writer = writer.pieces("Route", [route]);
                    }
                    let (name, from, [a, b, c, d]) = (sheet.name, sheet.from, sheet.to);
                    let writer = writer.pieces("Max-Forwards", [Short::number(sheet.hops.into()).as_str()]);
                    let writer = match name {
                        "" => writer.pieces("From", ["<", from, ">;tag=", tag]),
                        name => writer.pieces("From", [&quote_display(name), " <", from, ">;tag=", tag]),
                    };
                    let writer = writer
                        .pieces("To", ["<", a, b, c, d, ">"])
                        .pieces("Call-ID", [call_id])
                        .pieces("CSeq", ["1 MESSAGE"]);
                    let writer = match sheet.id {
                        Some(_) => writer.pieces("Message-ID", [call_id]),
                        None => writer,
                    };
                    Packet {
                        head: writer.into_head(),
                        tail: sheet.tail.clone(),
                    }
                });
        Some(transaction)
    }

    /// A plugin's answer to the sender: it goes back the way the message came.
    pub(super) fn reply_to_pager(&mut self, message: &PendingPager, kind: &str, body: &[u8]) {
        let from = format!("sip:{}@{}", message.number, message.account.realm);
        let target = message
            .request
            .contacts()
            .next()
            .and_then(Result::ok)
            .map(|contact| contact.uri.to_owned());
        // Who is hidden from the addressee is not from itself.
        let own = message.request.from().ok().map(|from| from.uri);
        let uri = own.filter(|_| message.uri == ANONYMOUS).unwrap_or(&message.uri);
        let target = target.unwrap_or_else(|| uri.to_owned());
        let sheet = Sheet {
            name: "",
            from: &from,
            to: [uri, "", "", ""],
            hops: HOPS,
            id: None,
            tail: &tail(kind, &[], body),
        };
        self.send_page(Owner::Farewell, (message.flow, &target, ""), &sheet);
    }

    /// Counts what a phone made of a message that was `sent` to it then; its status, [`SILENCE`] where it said nothing, `None` while it is
    /// not final.
    pub(super) fn page_status(&mut self, outcome: &Outcome<'_>, sent: Option<Time>) -> Option<u16> {
        let status = match outcome {
            Outcome::Response(response) if response.status() < 200 => return None,
            Outcome::Response(response) => response.status(),
            Outcome::Silence | Outcome::Unreachable => SILENCE,
        };
        let result = match status {
            200..=299 => "delivered",
            SILENCE | 408 => "timeout",
            415 | 488 | 405 => "unsupported",
            _ => "refused",
        };
        self.wire.counts.message("out", "pager", result);
        if let (Outcome::Response(response), Some(sent), true) = (outcome, sent, status < 300) {
            let way = Transport::ALL.into_iter().find(|transport| {
                let sent_by = response.via().map(|via| via.transport);
                sent_by.is_ok_and(|named| named.eq_ignore_ascii_case(transport.name()))
            });
            let seconds = self.wire.now.since(sent).as_secs_f64();
            let way = way.unwrap_or(Transport::Udp).name();
            self.wire.counts.delivery(way, seconds);
        }
        Some(status)
    }

    /// A phone has taken a message: its sender is told, if that was asked for; and what is kept for the phone's user
    /// can be delivered.
    fn taken_at_once(&mut self, key: Key) {
        let Some(Pager::Sent(sent)) = self.pagers.get(key) else {
            return;
        };
        let message = &sent.page.message;
        let Addressee::User(place) = message.addressee else {
            return;
        };
        let to = Arc::clone(self.directory.address_of_record(place));
        // Whoever has no time for messages may let notices of typing pass.
        let occasion = self
            .courier
            .boxes
            .front(&to)
            .map(|_| match sent.page.is_composing() {
                true => Occasion::Again,
                false => Occasion::Turn,
            });
        if let Some(wish) = sent.page.wish() {
            let (from, accepted) = (message.sender().to_owned(), message.accepted);
            let notice = Notice {
                id: sent.id,
                to: &to,
                from: &from,
                accepted,
            };
            self.notify_sender(&notice, &wish, Fate::Delivered);
        }
        if let Some(occasion) = occasion {
            self.deliver_on(&to, occasion);
        }
    }

    /// What one copy of a message came to, whose sender waits.
    pub(crate) fn pager_outcome(&mut self, key: Key, transaction: Key, outcome: Outcome<'_>) {
        let answered = matches!(outcome, Outcome::Response(_));
        if answered || !self.relay_by_udp(key, transaction) {
            self.relay_outcome(key, outcome);
        }
    }

    /// The sender hears the first acceptance, or the best of the refusals when all are in.
    pub(super) fn relay_outcome(&mut self, key: Key, outcome: Outcome<'_>) {
        let sent = match self.pagers.get(key) {
            Some(Pager::Sent(sent)) => Some(sent.sent),
            Some(Pager::Held(_)) | None => None,
        };
        if let Some(status) = self.page_status(&outcome, sent) {
            let (particulars, asked) = match outcome {
                Outcome::Response(response) => (particulars(response), asked_in(response)),
                Outcome::Silence | Outcome::Unreachable => (Particulars::new(), None),
            };
            self.page_answered(key, status, particulars, asked);
        }
    }

    /// A phone has answered finally, or said nothing; `asked`: the pause that it asked for.
    pub(super) fn page_answered(
        &mut self,
        key: Key,
        status: u16,
        particulars: Particulars,
        asked: Option<Duration>,
    ) {
        let Some(Pager::Sent(sent)) = self.pagers.get_mut(key) else {
            return;
        };
        sent.waiting = sent.waiting.saturating_sub(1);
        if status >= 300 {
            sent.answers.add(status, asked);
        }
        let status = match status {
            SILENCE if sent.oversize => TOO_LARGE,
            // A word of the proxy that should hold the phone's flow, to us as its registrar (RFC 5626 section 11.5): there
            // is no way to the phone until it registers again, whatever the size.
            FLOW_FAILED => SILENCE,
            // A challenge means nothing to the sender, a redirection is not followed, and 408 is none of ours. Nor is
            // 503: who hears it avoids the whole switch (RFC 3261 section 16.7, step 6).
            300..=399 | 401 | 407 | 408 | 503 => 480,
            status => status,
        };
        let taken = status < 300 && (sent.best == 0 || sent.best >= 300);
        if sent.best == 0 || status < sent.best {
            (sent.best, sent.told_with) = (status, particulars);
        }
        let (best, waiting) = (sent.best, sent.waiting);
        let answers = !sent.told && (best < 300 || waiting == 0);
        sent.told |= answers;
        if taken {
            self.taken_at_once(key);
        }
        if waiting > 0 {
            if let Some(Pager::Sent(sent)) = self.pagers.get(key).filter(|_| answers) {
                let message = &sent.page.message;
                let (transaction, request) = (message.transaction, message.request.clone());
                self.answer_page(transaction, &request, best, &Particulars::new());
            }
            return;
        }
        let Some(Sent { page, told_with, .. }) = self.end_relay(key).filter(|_| answers) else {
            return;
        };
        // No phone was there after all: there was no way to the only one that was known.
        if best == SILENCE
            && let Addressee::User(place) = page.message.addressee
        {
            return self.keep_page(place, page, &[]);
        }
        self.answer_page(page.message.transaction, &page.message.request, best, &told_with);
    }

    fn answer_page(&mut self, transaction: Key, request: &Message, status: u16, particulars: &Particulars) {
        self.respond_with(transaction, request, status, default_phrase(status), |response| {
            with_particulars(response, particulars)
        });
    }
}

/// The headers of a phone's refusal that its status asks for, and their values.
pub(super) type Particulars = Vec<(Name, String)>;

/// What the sender has to know beside the status of a refusal: what would be taken instead (RFC 3261 sections 21.4.6,
/// 21.4.13 and 21.4.15), or when (section 20.33). What is too long is left out, for half a list says something else.
fn particulars(response: &Message) -> Particulars {
    let names: &[Name] = match response.status() {
        405 => &[Name::Allow],
        415 => &[Name::Accept, Name::AcceptEncoding, Name::AcceptLanguage],
        420 => &[Name::Unsupported],
        404 | 413 | 480 | 486 | 500 | 503 | 600 | 603 => &[Name::RetryAfter],
        _ => &[],
    };
    let said = names.iter().filter_map(|name| {
        let all: Vec<&str> = response.headers(*name).collect();
        (!all.is_empty()).then(|| (*name, all.join(", ")))
    });
    said.filter(|(_, value)| value.len() <= PARTICULAR).collect()
}

pub(super) fn with_particulars(response: Writer, particulars: &Particulars) -> Writer {
    particulars.iter().fold(response, |response, (name, value)| {
        response.pieces(name.text(), [&one_line(value)])
    })
}
