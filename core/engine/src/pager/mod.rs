//! Messages outside any call (RFC 3428): to every contact of a registered user, kept for one who is not
//! there, or into a conference by one who takes part in it.

mod courier;
mod delivery;
mod imdn;
mod mailbox;
mod overdue;
mod reach;
mod refusal;
mod relay;
mod stream;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use cordboard_model::hook::message::{Audience, MessageAsk, MessageVerdict};
use cordboard_model::{Ask, ConferenceId, Time};

use self::courier::expiry;
pub(crate) use self::courier::{Courier, Keeping};
pub(crate) use self::delivery::Occasion;
use self::imdn::{Wish, is_composing, wish};
use self::relay::Came;
pub(crate) use self::relay::Pager;
use crate::arena::Key;
use crate::auth::Identity;
use crate::call::Place;
use crate::call::contact::{NOT_IN_CLEAR, is_secure, is_sips, warn_of_sips};
use crate::call::incoming::Caller;
use crate::call::privacy::{ANONYMOUS, ANONYMOUS_NAME, NOT_PRIVATE, Privacy};
use crate::chat::Outsider;
use crate::conference::copies::Letter;
use crate::conference::message::{Form, essential_headers, going_out, own_body, relayed_type};
use crate::config::Account;
use crate::directory::Destination;
use crate::door::{ACCEPT, taken_instead};
use crate::engine::{Engine, Subject};
use crate::io::Flow;
use crate::sip::dialog::hops_left;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::registrar::Binding;
use crate::sip::write::{default_phrase, quote_display};

/// Whom a message is for.
#[derive(Debug, Clone, Copy)]
enum Addressee {
    /// A user or device: its credential.
    User(usize),
    /// Those in a conference, from one who is not.
    Conference(ConferenceId),
}

/// A message whose verdict is awaited.
#[derive(Debug, Clone)]
pub(crate) struct PendingPager {
    pub(crate) transaction: Key,
    pub(crate) request: Message,
    flow: Flow,
    account: Arc<Account>,
    /// The sender as its addressee is told: display name and URI.
    name: String,
    uri: String,
    /// The sender's URI, where its addressee is told another.
    hidden: Option<String>,
    user: Option<Arc<str>>,
    addressee: Addressee,
    /// What was dialled.
    number: String,
    stamp: Time,
    accepted: Time,
    /// Plugins are asked about it.
    asked: bool,
}

/// A message that the plugins have seen, as it goes out.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    message: PendingPager,
    /// What a plugin has put in place of the Content-Type.
    new_kind: Option<String>,
    /// What a plugin has put in place of the sender's name.
    new_name: Option<String>,
    /// It had to wait for its addressee's phones: the time until it leaves says nothing of the switch.
    held: bool,
    body: Bytes,
    form: Form,
    /// It was on its way before, and has been counted.
    again: bool,
    /// Its id, once it has been on its way.
    id: Option<u128>,
}

impl PendingPager {
    /// The sender's URI.
    fn sender(&self) -> &str {
        self.hidden.as_deref().unwrap_or(&self.uri)
    }
}

impl Page {
    fn kind(&self) -> &str {
        let kind = || self.message.request.header(Name::ContentType);
        self.new_kind.as_deref().or_else(kind).unwrap_or_default()
    }

    /// Its body as its sender wrote it, before it was encoded for the way.
    fn own_body(&self) -> Cow<'_, [u8]> {
        let own = self.form.transfer().undone(&self.body);
        own.unwrap_or(Cow::Borrowed(&self.body))
    }

    /// Whether it only says that somebody is writing.
    fn is_composing(&self) -> bool {
        is_composing(self.kind(), &self.own_body())
    }

    /// What its sender wants to be told of its delivery.
    fn wish(&self) -> Option<Wish> {
        wish(self.kind(), &self.own_body())
    }

    /// When its time is over by its own Expires, if it has one.
    fn expiry(&self) -> Option<Time> {
        expiry(&self.message.request, self.message.accepted)
    }

    /// Whether its time is over.
    fn is_over(&self, now: Time) -> bool {
        self.expiry().is_some_and(|expiry| expiry <= now)
    }

    /// Whether it may only go by TLS.
    fn is_secure(&self) -> bool {
        is_sips(self.message.request.request_uri())
    }

    /// Those of its addressee's contacts that it may go to: where it asks for TLS on each hop, only those that have it.
    fn allowed<'a>(&self, contacts: &'a [Binding]) -> Cow<'a, [Binding]> {
        match self.is_secure() {
            true => contacts
                .iter()
                .filter(|contact| is_secure(contact))
                .cloned()
                .collect(),
            false => Cow::Borrowed(contacts),
        }
    }

    /// When it came, where its way to phones is still to be measured.
    fn came(&self) -> Option<Came> {
        let (stamp, accepted) = (self.message.stamp, self.message.accepted);
        let waited = self.held;
        (!self.again).then_some(Came {
            stamp,
            accepted,
            waited,
        })
    }

    fn name(&self) -> &str {
        self.new_name.as_deref().unwrap_or(&self.message.name)
    }
}

impl Engine {
    pub(crate) fn on_pager_message(&mut self, request: Message, flow: Flow, stamp: Time) {
        let Some((transaction, caller, number)) = self.let_in(&request, flow) else {
            return;
        };
        let Caller {
            identity, account, ..
        } = caller;
        let addressee = match self.directory.destination(account.id, &number) {
            None => return self.pager_refused(transaction, &request, 404, "unknown_destination"),
            Some(Destination::User(place)) => Addressee::User(place),
            Some(Destination::Conference(id, _)) => {
                // A participant may send outside the call's dialog too.
                if let Some(call) = self.own_call(id, identity) {
                    return self.on_call_message(call, transaction, request, stamp);
                }
                Addressee::Conference(id)
            }
        };
        let privacy = Privacy::of(&request);
        if let Err((status, outcome)) = self.page_allowed(&request, identity, addressee, privacy) {
            return self.pager_refused(transaction, &request, status, outcome);
        }
        let message = self.pending_pager(
            transaction,
            request,
            flow,
            account,
            identity,
            addressee,
            number,
            privacy.hides,
            stamp,
        );
        self.ask_about_pager(message);
    }

    /// The rules that hold before any plugin is asked, cheapest first: the status and what is counted.
    fn page_allowed(
        &mut self,
        request: &Message,
        identity: Identity,
        addressee: Addressee,
        privacy: Privacy,
    ) -> Result<(), (u16, &'static str)> {
        let kind = request.header(Name::ContentType).unwrap_or_default();
        if let Addressee::Conference(id) = addressee {
            let sender = identity.credential();
            let sender = sender.map(|place| self.directory.credential(place));
            self.may_page_conference(id, sender.map(|sender| sender.owner.as_str()))?;
        }
        if request.body_slice().is_empty() || !relayed_type(kind) || self.cannot_be_read(request) {
            return Err((415, "unsupported"));
        }
        if request.body_slice().len() > self.config.max_message {
            return Err((413, "too_large"));
        }
        if hops_left(request).is_none() {
            return Err((483, "too_many_hops"));
        }
        let refused = match addressee {
            Addressee::User(_) => privacy.refused(),
            Addressee::Conference(_) => privacy.refused_among_many(),
        };
        if let Some(refusal) = refused {
            return Err((refusal.status, refusal.reason));
        }
        match identity {
            Identity::User(place) if !self.may_page(place) => Err((503, "rate_limited")),
            _ => Ok(()),
        }
    }

    /// What moderators may change at any moment: whether somebody who is in no call there may write to a
    /// conference now.
    fn may_page_conference(&self, id: ConferenceId, user: Option<&str>) -> Result<(), (u16, &'static str)> {
        if self.chat_bans(id, user) {
            return Err((403, "banned"));
        }
        let chats = self.own_chatter(id, user).is_some();
        if !chats && self.has_to_be_let_in(id, user) {
            return Err((403, "waiting"));
        }
        match self.conference_config(id) {
            Some(config) if !config.outside_messages && !chats => Err((403, "not_a_participant")),
            Some(config) if !config.chat || !self.chat_is_enabled(id) => Err((403, "disabled")),
            _ => Ok(()),
        }
    }

    fn pager_refused(&mut self, transaction: Key, request: &Message, status: u16, outcome: &'static str) {
        self.wire.counts.message("in", "pager", outcome);
        let phrase = match outcome {
            "banned" => "Banned From This Conference",
            "waiting" => "You Are In The Waiting Room",
            "not_a_participant" => "You Are Not In This Conference",
            "disabled" => "Chat Is Disabled",
            "mailbox_full" => "Mailbox Full",
            "rate_limited" => "Too Many Messages",
            "no_privacy" => NOT_PRIVATE.phrase,
            "sips_not_allowed" => NOT_IN_CLEAR.phrase,
            _ => default_phrase(status),
        };
        self.respond_with(transaction, request, status, phrase, |response| match status {
            480 if outcome == NOT_IN_CLEAR.reason => warn_of_sips(response),
            415 => taken_instead(response, request, ACCEPT),
            403 => response.header("Reason", format_args!("SIP;cause=403;text=\"{phrase}\"")),
            503 => response.header("Retry-After", 1),
            _ => response,
        });
    }

    /// The call by which somebody takes part in a conference, if there is one.
    pub(crate) fn own_call(&self, id: ConferenceId, identity: Identity) -> Option<Key> {
        let user = &self.directory.credential(identity.credential()?).owner;
        let members = &self.conferences.get(&id)?.members;
        let is_own = |key: &Key| {
            let call = self.calls.get(*key);
            call.is_some_and(|call| call.place == Place::Conference(id) && call.user.as_ref() == Some(user))
        };
        members.iter().copied().find(is_own)
    }

    #[allow(clippy::too_many_arguments)] // each is a different fact about one message, used once
    fn pending_pager(
        &mut self,
        transaction: Key,
        request: Message,
        flow: Flow,
        account: Arc<Account>,
        identity: Identity,
        addressee: Addressee,
        number: String,
        hides: bool,
        stamp: Time,
    ) -> PendingPager {
        let place = identity.credential();
        let sender = place.map(|place| self.directory.credential(place));
        let from = request.from().ok();
        let shown = from.as_ref().and_then(|from| from.display().map(Cow::into_owned));
        let name = shown
            .filter(|name| !name.trim().is_empty())
            .or_else(|| sender.map(|sender| sender.display_name.clone()))
            .unwrap_or_default();
        // What a trusted proxy says about the sender stands; a phone's own claim does not.
        let uri = match sender {
            Some(sender) => ["sip:", &sender.username, "@", &account.realm].concat(),
            None => from.map_or_else(
                || format!("sip:anonymous@{}", account.realm),
                |from| from.uri.to_owned(),
            ),
        };
        let (name, uri, hidden) = match addressee {
            Addressee::User(_) if hides => (ANONYMOUS_NAME.into(), ANONYMOUS.into(), Some(uri)),
            _ => (name, uri, None),
        };
        let user = place.map(|place| Arc::clone(self.directory.owner(place)));
        let accepted = self.wire.now;
        PendingPager {
            transaction,
            request,
            flow,
            account,
            name,
            uri,
            hidden,
            user,
            addressee,
            number,
            stamp,
            accepted,
            asked: false,
        }
    }

    fn ask_about_pager(&mut self, mut message: PendingPager) {
        let Some(rule) = self.config.hooks.message_filter else {
            return self.pager_decided(message, MessageVerdict::Pass);
        };
        message.asked = true;
        let ask = Ask::Message(MessageAsk {
            conference: match message.addressee {
                Addressee::Conference(id) => Some(self.view(id)),
                Addressee::User(_) => None,
            },
            user: message.user.as_deref().map(str::to_owned),
            display_name: message.name.clone(),
            transport: message.flow.transport.name(),
            audience: match message.addressee {
                Addressee::Conference(_) => Audience::Everybody,
                Addressee::User(_) => {
                    Audience::One(Some(format!("{}@{}", message.number, message.account.realm)))
                }
            },
            content_type: message
                .request
                .header(Name::ContentType)
                .unwrap_or_default()
                .to_owned(),
            body: own_body(&message.request),
        });
        let ticket = self.ticket();
        self.ask(ticket, rule, ask, Subject::Pager(Box::new(message)));
    }

    pub(crate) fn pager_decided(&mut self, message: PendingPager, verdict: MessageVerdict) {
        // A moderator may have been faster than the plugins.
        if let Addressee::Conference(id) = message.addressee
            && let Err((status, outcome)) = self.may_page_conference(id, message.user.as_deref())
        {
            return self.pager_refused(message.transaction, &message.request, status, outcome);
        }
        let (body, form) = going_out(&message.request, message.asked);
        let mut page = Page {
            new_kind: None,
            new_name: None,
            held: false,
            body,
            form,
            again: false,
            id: None,
            message,
        };
        let message = &page.message;
        let outcome = match verdict {
            MessageVerdict::Pass => return self.page(page),
            MessageVerdict::Rewrite(new) => {
                (page.new_kind, page.new_name) = (new.content_type, new.display_name);
                page.body = new.body.unwrap_or(page.body);
                return self.page(page);
            }
            MessageVerdict::Reject { code, reason } => {
                let code = rejection(code);
                let header = format!("SIP;cause={code};text={}", quote_display(&reason));
                self.respond_with(message.transaction, &message.request, code, &reason, |response| {
                    response.header("Reason", header)
                });
                "rejected"
            }
            MessageVerdict::Drop => {
                self.page_accepted(message);
                "dropped"
            }
            MessageVerdict::Reply { content_type, body } => {
                self.page_accepted(message);
                self.reply_to_pager(message, &content_type, &body);
                "replied"
            }
        };
        self.wire.counts.message("in", "pager", outcome);
    }

    fn page_accepted(&mut self, message: &PendingPager) {
        self.respond_with(
            message.transaction,
            &message.request,
            202,
            "Accepted",
            |response| response,
        );
    }

    fn page(&mut self, page: Page) {
        match page.message.addressee {
            Addressee::User(place) => self.page_to_user(place, page),
            Addressee::Conference(id) => self.page_to_conference(id, &page),
        }
    }

    fn page_to_conference(&mut self, id: ConferenceId, page: &Page) {
        let message = &page.message;
        self.page_accepted(message);
        self.wire.counts.message("in", "pager", "relayed");
        let members = self
            .conferences
            .get(&id)
            .map(|conference| conference.members.clone());
        let letter = Letter {
            kind: page.kind(),
            headers: &essential_headers(&message.request, page.form),
            body: &page.body,
            name: page.name(),
            of: "conference",
        };
        let times = (message.stamp, message.accepted);
        self.relay_copies(&members.unwrap_or_default(), &letter, times);
        let outsider = Outsider {
            uri: &message.uri,
            user: message.user.as_deref(),
            name: page.name(),
        };
        self.chat_from_outside(id, outsider, page.kind(), page.form, &page.body);
    }
}

/// The status of a MESSAGE that a plugin refuses: what it says, if that is one that may be sent. 408 may not
/// (RFC 4320 section 4.2).
pub(crate) const fn rejection(code: u16) -> u16 {
    match code {
        408 => 480,
        400..=699 => code,
        _ => 403,
    }
}
