//! Messages outside any call (RFC 3428): to every contact of a registered user, or into a conference
//! by one who takes part in it.

use cordboard_model::hook::message::{MessageAsk, MessageVerdict};
use cordboard_model::{Ask, ConferenceId, Time};

use crate::arena::Key;
use crate::auth::Identity;
use crate::call::Place;
use crate::call::bridge::contact_flow;
use crate::conference::copies::tail;
use crate::conference::message::{essential_headers, relayed_type};
use crate::config::Account;
use crate::directory::Destination;
use crate::door::ACCEPT;
use crate::engine::{Engine, Subject};
use crate::io::{Flow, Output, Packet};
use crate::sip::dialog::{HOPS, hops_left};
use crate::sip::grammar::List;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::transaction::{Outcome, Owner};
use crate::sip::uri::Uri;
use crate::sip::write::{Short, Writer, default_phrase, quote_display};

/// A message between users whose verdict is awaited.
#[derive(Debug)]
pub(crate) struct PendingPager {
    pub(crate) transaction: Key,
    pub(crate) request: Message,
    flow: Flow,
    account: Account,
    /// The sender: display name and URI.
    name: String,
    uri: String,
    user: Option<String>,
    /// The addressee: credential and what was dialled.
    place: usize,
    number: String,
    stamp: Time,
    accepted: Time,
}

/// A message on its way to the contacts of a user.
#[derive(Debug)]
pub(crate) struct Pager {
    transaction: Key,
    request: Message,
    waiting: usize,
    best: u16,
    sent: Time,
}

impl Engine {
    pub(crate) fn on_pager_message(&mut self, request: Message, flow: Flow, stamp: Time) {
        let Ok(uri) = Uri::parse(request.request_uri()) else {
            self.wire.counts.reject("bad_uri");
            return self.respond_stateless(&request, flow, 400, "Bad Request-URI", |response| response);
        };
        let (domain, number) = (uri.host.to_owned(), uri.user().unwrap_or_default().into_owned());
        let account = self.directory.account(&domain).clone();
        let identity = match self.authenticate(&request, flow, &account) {
            Ok(identity) => identity,
            Err(denial) => return self.deny(&request, flow, &account, denial),
        };
        let Some(transaction) = self.open_server(&request, flow) else {
            return;
        };
        match self.directory.destination(account.id, &number) {
            None => self.pager_refused(transaction, &request, 404, "unknown_destination"),
            Some(Destination::Conference(id, _)) => {
                self.message_to_conference(transaction, request, identity, id, stamp);
            }
            Some(Destination::User(place)) => {
                let kind = request.header(Name::ContentType).unwrap_or_default();
                if request.body_slice().is_empty() || !relayed_type(kind) {
                    return self.pager_refused(transaction, &request, 415, "unsupported");
                }
                if request.body_slice().len() > self.config.max_message {
                    return self.pager_refused(transaction, &request, 413, "too_large");
                }
                if hops_left(&request).is_none() {
                    return self.pager_refused(transaction, &request, 483, "too_many_hops");
                }
                let message = self.pending_pager(
                    transaction,
                    request,
                    flow,
                    account,
                    identity,
                    place,
                    number,
                    stamp,
                );
                self.ask_about_pager(message);
            }
        }
    }

    fn pager_refused(&mut self, transaction: Key, request: &Message, status: u16, outcome: &'static str) {
        *self
            .wire
            .counts
            .messages
            .entry(("in", "pager", outcome))
            .or_default() += 1;
        self.respond_with(
            transaction,
            request,
            status,
            default_phrase(status),
            |response| match status {
                415 => response.header("Accept", ACCEPT),
                _ => response,
            },
        );
    }

    /// A participant may send into the conference outside the call's dialog too; nobody else may.
    fn message_to_conference(
        &mut self,
        transaction: Key,
        request: Message,
        identity: Identity,
        id: ConferenceId,
        stamp: Time,
    ) {
        let user = identity
            .credential()
            .map(|place| self.directory.credential(place).owner.clone());
        let members = self
            .conferences
            .get(&id)
            .map_or(&[][..], |conference| &conference.members);
        let own = members.iter().copied().find(|key| {
            self.calls.get(*key).is_some_and(|call| {
                call.place == Place::Conference(id) && call.user.is_some() && call.user == user
            })
        });
        match own {
            Some(call) => self.on_call_message(call, transaction, request, stamp),
            None => self.pager_refused(transaction, &request, 403, "not_a_participant"),
        }
    }

    #[allow(clippy::too_many_arguments)] // each is a different fact about one message, used once
    fn pending_pager(
        &mut self,
        transaction: Key,
        request: Message,
        flow: Flow,
        account: Account,
        identity: Identity,
        place: usize,
        number: String,
        stamp: Time,
    ) -> PendingPager {
        let sender = identity
            .credential()
            .map(|place| self.directory.credential(place).clone());
        let from = request.from().ok();
        let shown = from
            .as_ref()
            .and_then(|from| from.display().map(std::borrow::Cow::into_owned));
        let name = shown
            .filter(|name| !name.trim().is_empty())
            .or_else(|| sender.as_ref().map(|sender| sender.display_name.clone()))
            .unwrap_or_default();
        // What a trusted proxy says about the sender stands; a phone's own claim does not.
        let uri = match &sender {
            Some(sender) => format!("sip:{}@{}", sender.username, account.realm),
            None => from.map_or_else(
                || format!("sip:anonymous@{}", account.realm),
                |from| from.uri.to_owned(),
            ),
        };
        let user = sender.map(|sender| sender.owner);
        let accepted = self.wire.now;
        PendingPager {
            transaction,
            request,
            flow,
            account,
            name,
            uri,
            user,
            place,
            number,
            stamp,
            accepted,
        }
    }

    fn ask_about_pager(&mut self, message: PendingPager) {
        let Some(rule) = self.config.hooks.message_filter else {
            return self.pager_decided(message, MessageVerdict::Pass);
        };
        let ask = Ask::Message(MessageAsk {
            conference: None,
            user: message.user.clone(),
            display_name: message.name.clone(),
            transport: message.flow.transport.name(),
            content_type: message
                .request
                .header(Name::ContentType)
                .unwrap_or_default()
                .to_owned(),
            body: message.request.body(),
        });
        let ticket = self.ticket();
        self.ask(ticket, rule, ask, Subject::Pager(Box::new(message)));
    }

    pub(crate) fn pager_decided(&mut self, message: PendingPager, verdict: MessageVerdict) {
        let (kind, body) = (
            message.request.header(Name::ContentType).unwrap_or_default(),
            message.request.body(),
        );
        let outcome = match verdict {
            MessageVerdict::Pass => return self.page(&message, kind, &message.name, &body),
            MessageVerdict::Rewrite(new) => {
                let kind = new.content_type.as_deref().unwrap_or(kind);
                let name = new.display_name.as_deref().unwrap_or(&message.name);
                return self.page(&message, kind, name, new.body.as_deref().unwrap_or(&body));
            }
            MessageVerdict::Reject { code, reason } => {
                let code = if (400..700).contains(&code) { code } else { 403 };
                let header = format!("SIP;cause={code};text={}", quote_display(&reason));
                self.respond_with(message.transaction, &message.request, code, &reason, |response| {
                    response.header("Reason", header)
                });
                "rejected"
            }
            MessageVerdict::Drop => {
                self.respond_with(
                    message.transaction,
                    &message.request,
                    202,
                    "Accepted",
                    |response| response,
                );
                "dropped"
            }
            MessageVerdict::Reply { content_type, body } => {
                self.respond_with(
                    message.transaction,
                    &message.request,
                    202,
                    "Accepted",
                    |response| response,
                );
                self.reply_to_pager(&message, &content_type, &body);
                "replied"
            }
        };
        *self
            .wire
            .counts
            .messages
            .entry(("in", "pager", outcome))
            .or_default() += 1;
    }

    /// Sends a message to every contact of its addressee.
    fn page(&mut self, message: &PendingPager, kind: &str, name: &str, body: &[u8]) {
        let contacts = self.contacts_of(message.place);
        if contacts.is_empty() {
            return self.pager_refused(message.transaction, &message.request, 480, "not_registered");
        }
        *self
            .wire
            .counts
            .messages
            .entry(("in", "pager", "relayed"))
            .or_default() += 1;
        let tail = tail(kind, &essential_headers(&message.request), body);
        let to = format!("sip:{}@{}", message.number, message.account.realm);
        let pager = self.pagers.insert_with(|_| Pager {
            transaction: message.transaction,
            request: message.request.clone(),
            waiting: contacts.len(),
            best: 0,
            sent: self.wire.now,
        });
        let hops = hops_left(&message.request).unwrap_or_default();
        for contact in &contacts {
            let way = (
                contact_flow(contact),
                contact.contact.as_str(),
                contact.path.as_str(),
            );
            self.send_page(Owner::Pager(pager), way, (name, &message.uri), &to, hops, &tail);
        }
        self.wire.counts.recipients.record(contacts.len() as f64);
        self.wire
            .counts
            .fanout("pager", self.wire.now.since(message.accepted).as_secs_f64());
        self.wire.out.push_back(Output::Relayed { stamp: message.stamp });
    }

    /// One MESSAGE to one contact.
    fn send_page(
        &mut self,
        owner: Owner,
        (flow, target, path): (Flow, &str, &str),
        (name, from): (&str, &str),
        to: &str,
        hops: u8,
        tail: &bytes::Bytes,
    ) {
        let (tag, call_id, sent_by) = (self.wire.token(), self.wire.token(), self.sent_by(flow));
        self.transactions
            .open_client(Method::Message, flow, owner, &mut self.wire, |branch| {
                let mut writer = Writer::request("MESSAGE", target).via(flow.transport, sent_by, branch);
                for route in List::new(path) {
                    writer = writer.pieces("Route", [route]);
                }
                let writer = writer.pieces("Max-Forwards", [Short::number(hops.into()).as_str()]);
                let writer = match name {
                    "" => writer.pieces("From", ["<", from, ">;tag=", &tag]),
                    name => writer.pieces("From", [&quote_display(name), " <", from, ">;tag=", &tag]),
                };
                let head = writer
                    .pieces("To", ["<", to, ">"])
                    .pieces("Call-ID", [&call_id])
                    .pieces("CSeq", ["1 MESSAGE"])
                    .into_head();
                Packet {
                    head,
                    tail: tail.clone(),
                }
            });
    }

    /// A plugin's answer to the sender: it goes back the way the message came.
    fn reply_to_pager(&mut self, message: &PendingPager, kind: &str, body: &[u8]) {
        let from = format!("sip:{}@{}", message.number, message.account.realm);
        let target = message
            .request
            .contacts()
            .next()
            .and_then(Result::ok)
            .map(|contact| contact.uri.to_owned());
        let target = target.unwrap_or_else(|| message.uri.clone());
        let way = (message.flow, target.as_str(), "");
        self.send_page(
            Owner::Farewell,
            way,
            ("", &from),
            &message.uri,
            HOPS,
            &tail(kind, &[], body),
        );
    }

    /// The sender hears the first acceptance, or the best of the refusals when all are in.
    pub(crate) fn pager_outcome(&mut self, key: Key, outcome: Outcome<'_>) {
        let status = match outcome {
            Outcome::Response(response) if response.status() < 200 => return,
            Outcome::Response(response) => response.status(),
            Outcome::Silence => 408,
        };
        let result = match status {
            200..=299 => "delivered",
            408 => "timeout",
            415 | 488 | 405 => "unsupported",
            _ => "refused",
        };
        *self
            .wire
            .counts
            .messages
            .entry(("out", "pager", result))
            .or_default() += 1;
        let Some(pager) = self.pagers.get_mut(key) else {
            return;
        };
        pager.waiting = pager.waiting.saturating_sub(1);
        // A challenge means nothing to the sender, and a redirection is not followed.
        let status = if matches!(status, 300..=399 | 401 | 407) {
            480
        } else {
            status
        };
        if pager.best == 0 || status < pager.best {
            pager.best = status;
        }
        let (best, waiting) = (pager.best, pager.waiting);
        if best < 300 || waiting == 0 {
            let (transaction, request, sent) = (pager.transaction, pager.request.clone(), pager.sent);
            if waiting == 0 {
                self.pagers.remove(key);
            }
            if best < 300 {
                let way = self
                    .transactions
                    .flow(transaction)
                    .map(|flow| flow.transport.name());
                let waited = self.wire.now.since(sent).as_secs_f64();
                if let Some(transport) = way {
                    self.wire.counts.delivery(transport, waited);
                }
            }
            self.respond_with(transaction, &request, best, default_phrase(best), |response| {
                response
            });
        }
    }
}
