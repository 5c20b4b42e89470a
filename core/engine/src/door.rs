//! The door: every SIP message comes in here, is checked, matched and handed on.

use std::sync::Arc;

use cordboard_model::Time;

use crate::arena::Key;
use crate::call::contact::{NOT_IN_CLEAR, warn_of_sips};
use crate::call::description::DESCRIPTIONS;
use crate::call::incoming::Caller;
use crate::conference::seat::Stream;
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::mime::is_encoded;
use crate::sip::name::Name;
use crate::sip::transaction::{Outcome, response_flow};
use crate::sip::uri::Uri;
use crate::sip::write::{Short, Writer, default_phrase, respond};
use crate::subscription::EVENTS;

/// The methods that we take, for `Allow`.
pub(crate) const ALLOW: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, UPDATE, PRACK, INFO";
/// The body types of a MESSAGE, for `Accept`.
pub(crate) const ACCEPT: &str = "text/*, application/*, message/cpim, multipart/*";
/// Seconds after which who was refused because there was no room may ask again.
pub(crate) const FULL: u64 = 10;
/// The same while the switch is on its way down: by then another one may be up.
const DRAINED: u64 = 30;
/// Extensions that a request may require.
pub(crate) const SUPPORTED: &[&str] = &["path", "outbound", "timer", "100rel"];
/// What a request may require of those whom it passes (RFC 3323 section 6.1).
const PASSING: &[&str] = &["privacy"];

impl Engine {
    pub(crate) fn on_message(&mut self, flow: Flow, message: Message, stamp: Time) {
        let is_request = message.is_request();
        let identity = match is_request {
            true => self.transactions.identity(&message, message.method()),
            false => None,
        };
        if !self.admits(&message, identity, flow, stamp) {
            return;
        }
        if is_request {
            self.on_request(message, identity, flow, stamp);
        } else {
            self.on_response(&message);
        }
    }

    fn on_response(&mut self, response: &Message) {
        // With more than our own Via it has lost its way (RFC 3261 section 8.1.3.3).
        if response.check_response().is_err() || response.values(Name::Via).nth(1).is_some() {
            return self.wire.counts.reject("bad_response");
        }
        match self.transactions.response(response, &mut self.wire) {
            Ok(Some((transaction, owner))) => {
                self.on_outcome(transaction, owner, Outcome::Response(response));
            }
            Ok(None) => {}
            // A 2xx may come again after its transaction is over: the call knows it (RFC 6026).
            Err(_) if response.method() == Method::Invite && (200..300).contains(&response.status()) => {
                self.late_answer(response);
            }
            Err(_) => self.wire.counts.reject("stray_response"),
        }
    }

    fn on_request(&mut self, request: Message, identity: Option<u128>, flow: Flow, stamp: Time) {
        let method = request.method();
        *self.wire.counts.requests_in.entry(method).or_default() += 1;
        if let Err(refusal) = request.check_request() {
            self.wire.counts.reject(refusal.reason);
            if method == Method::Ack {
                return; // nothing answers an ACK
            }
            return self.respond_stateless(&request, flow, refusal.status, refusal.phrase, |response| {
                response
            });
        }
        if method == Method::Ack {
            return self.on_ack(&request, flow);
        }
        let Some(identity) = identity else {
            return self.wire.counts.reject("bad_via");
        };
        if let Some(transaction) = self.transactions.server(identity) {
            return self
                .transactions
                .repeated(transaction, &request, flow, &mut self.wire);
        }
        if method != Method::Cancel && self.transactions.is_own(&request) {
            // Forked to several such contacts it would come back as more and more (RFC 5393).
            self.wire.counts.reject("looped");
            return self.respond_stateless(&request, flow, 482, "Loop Detected", |response| response);
        }
        if matches!(method, Method::Publish | Method::Refer | Method::Other) {
            return self.not_allowed(&request, flow);
        }
        let unknown = unknown_extensions(&request);
        // A CANCEL means its request, whatever it requires (RFC 3261 section 8.2.2.3).
        if !unknown.is_empty() && method != Method::Cancel {
            self.wire.counts.reject("bad_extension");
            return self.respond_stateless(&request, flow, 420, "Bad Extension", |response| {
                response.header("Unsupported", unknown)
            });
        }
        let in_dialog = request
            .to()
            .is_ok_and(|to| to.tag().is_some_and(|tag| !tag.is_empty()));
        if !in_dialog && method != Method::Cancel && self.transactions.is_merged(&request) {
            // The same request by another way (RFC 3261 section 8.2.2.2).
            self.wire.counts.reject("merged");
            return self.respond_stateless(&request, flow, 482, "Loop Detected", |response| response);
        }
        match method {
            Method::Cancel => self.on_cancel(&request, flow),
            Method::Options if !in_dialog => self.on_options(&request, flow),
            _ if in_dialog => self.on_dialog_request(request, flow, stamp),
            Method::Register => self.on_register(request, flow),
            Method::Invite => self.on_invite(request, flow),
            Method::Message => self.on_pager_message(request, flow, stamp),
            Method::Subscribe => self.on_subscribe(request, flow),
            Method::Bye | Method::Info | Method::Update | Method::Notify | Method::Prack => {
                self.wire.counts.reject("no_dialog");
                self.respond_stateless(
                    &request,
                    flow,
                    481,
                    "Call/Transaction Does Not Exist",
                    |response| response,
                );
            }
            Method::Ack | Method::Options | Method::Publish | Method::Refer | Method::Other => {}
        }
    }

    fn on_ack(&mut self, ack: &Message, flow: Flow) {
        let invite = self.transactions.identity(ack, Method::Invite);
        let transaction = invite.and_then(|identity| self.transactions.server(identity));
        if let Some(transaction) = transaction {
            self.transactions.acknowledged(transaction, &mut self.wire);
        }
        // The ACK of a 2xx has a branch of its own, except with peers of RFC 2543.
        let awaited = match self.call_of(ack) {
            Some(call) => self.on_call_ack(call, ack),
            None => self.parting_confirmed(ack, flow),
        };
        if transaction.is_none() && !awaited && !invite.is_some_and(|invite| has_tag_of(ack, invite)) {
            self.wire.counts.reject("stray_ack");
        }
    }

    /// RFC 3261 section 9.2.
    fn on_cancel(&mut self, cancel: &Message, flow: Flow) {
        let invite = self
            .transactions
            .identity(cancel, Method::Invite)
            .and_then(|identity| self.transactions.server(identity));
        let Some(invite) = invite else {
            self.wire.counts.reject("no_transaction");
            return self.respond_stateless(cancel, flow, 481, "Call/Transaction Does Not Exist", |r| r);
        };
        let Some(transaction) = self.open_server(cancel, flow) else {
            return;
        };
        let call = self.call_of_invite(invite);
        let tag = call
            .and_then(|call| self.calls.get(call))
            .map(|call| call.dialog.local_tag.clone());
        // Where no dialog is (its plugins are still asked, or the call is over), the 200 has a tag of its own.
        let tag = tag.unwrap_or_else(|| format!("{:016x}", self.transactions.name_of(cancel)));
        let Some(way) = self.transactions.flow(transaction) else {
            return;
        };
        let response = respond(cancel, way.peer, 200, "OK", Some(&tag)).finish();
        self.transactions
            .respond(transaction, 200, Packet::whole(response), &mut self.wire);
        match call {
            Some(call) => self.cancelled(call, cancel),
            None => self.cancel_route(invite),
        }
    }

    fn on_options(&mut self, request: &Message, flow: Flow) {
        let status = if self.draining { 503 } else { 200 };
        let supported = SUPPORTED.join(", ");
        let may: [(_, &[&str], _); 6] = [
            ("Allow", &[ALLOW], 1),
            ("Allow-Events", &[EVENTS], 1),
            ("Supported", &[&supported], 1),
            ("Accept", &["application/sdp, ", ACCEPT], 1),
            ("Accept-Encoding", &["identity"], 1),
            ("Accept-Language", &["en"], 1),
        ];
        let later = |response: Writer| match status {
            503 => response.header("Retry-After", DRAINED),
            _ => response,
        };
        self.reply(request, flow, (status, default_phrase(status)), later, &may);
    }

    fn not_allowed(&mut self, request: &Message, flow: Flow) {
        self.wire.counts.reject("method_not_allowed");
        self.respond_stateless(request, flow, 405, "Method Not Allowed", |response| {
            response.header("Allow", ALLOW)
        });
    }

    fn on_dialog_request(&mut self, request: Message, flow: Flow, stamp: Time) {
        if let Some(key) = self.subscription_of(&request) {
            return self.on_subscription_request(key, &request, flow);
        }
        let Some(key) = self.call_of(&request) else {
            if self.on_early_request(&request, flow) || self.on_parting_request(&request, flow) {
                return;
            }
            self.wire.counts.reject("no_dialog");
            return self.respond_stateless(&request, flow, 481, "Call/Transaction Does Not Exist", |r| r);
        };
        let Some(transaction) = self.open_server(&request, flow) else {
            return;
        };
        let number = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        if !call.dialog.advance(number) {
            return self.refuse_in(transaction, &request, 500, "Out Of Order", "cseq_out_of_order");
        }
        // A phone whose connection broke comes back on another: the dialog follows it.
        if flow.transport == call.dialog.flow.transport && flow.transport.reliable() {
            self.move_call(key, flow);
        } else if flow.transport.reliable() && flow.peer.ip() == call.dialog.flow.peer.ip() {
            self.set_stream(key, Stream::Is(flow));
        }
        match request.method() {
            Method::Bye => self.on_bye(key, transaction, &request),
            Method::Message => self.on_call_message(key, transaction, request, stamp),
            Method::Invite | Method::Update => self.on_offer(key, transaction, request, flow),
            Method::Prack => self.on_prack(key, transaction, &request),
            Method::Info => self.on_info(key, transaction, &request),
            Method::Options => self.tell_abilities(transaction, &request),
            // We take SUBSCRIBE there, but not in a dialog that is another's (RFC 6665 section 4.5.2).
            Method::Subscribe => {
                self.refuse_in(
                    transaction,
                    &request,
                    403,
                    "Subscribe Outside The Call",
                    "subscribe_in_call",
                );
            }
            _ => {
                self.wire.counts.reject("method_not_allowed");
                self.respond_with(transaction, &request, 405, "Method Not Allowed", |response| {
                    response.header("Allow", ALLOW)
                });
            }
        }
    }

    /// Answers an OPTIONS inside a dialog.
    pub(crate) fn tell_abilities(&mut self, transaction: Key, request: &Message) {
        self.respond_with(transaction, request, 200, "OK", |response| {
            response
                .header("Allow", ALLOW)
                .header("Allow-Events", EVENTS)
                .header("Accept", format_args!("application/sdp, {ACCEPT}"))
                .header("Supported", SUPPORTED.join(", "))
        });
    }

    /// The call whose dialog a request of the peer belongs to: our tag leads straight to it.
    pub(crate) fn call_of(&self, request: &Message) -> Option<Key> {
        let to = request.to().ok()?;
        let tag = to.tag()?;
        let (key, _) = Key::read(tag)?;
        let call = self.calls.get(key)?;
        // Before the phone has answered, its dialogs are early ones.
        let made = call.dialling.is_none();
        (made && call.dialog.local_tag == tag && call.dialog.is_of(request)).then_some(key)
    }

    /// What a request outside of any dialog needs before it is looked at: an address that can be read, somebody who
    /// is who he says, a transaction. Who asks and what was dialled; `None`: the request has its answer.
    pub(crate) fn let_in(&mut self, request: &Message, flow: Flow) -> Option<(Key, Caller, String)> {
        let Ok(uri) = Uri::parse(request.request_uri()) else {
            self.wire.counts.reject("bad_uri");
            self.respond_stateless(request, flow, 400, "Bad Request-URI", |response| response);
            return None;
        };
        if uri.is_sips() && !flow.transport.encrypted() {
            self.wire.counts.reject(NOT_IN_CLEAR.reason);
            let (status, phrase) = (NOT_IN_CLEAR.status, NOT_IN_CLEAR.phrase);
            self.respond_stateless(request, flow, status, phrase, warn_of_sips);
            return None;
        }
        let account = Arc::clone(self.directory.account(uri.host));
        let dialled = self.directory.dialled(account.id, &uri);
        let identity = match self.authenticate(request, flow, &account) {
            Ok(identity) => identity,
            Err(denial) => {
                self.deny(request, flow, &account, denial);
                return None;
            }
        };
        let caller = Caller {
            flow,
            identity,
            account,
            lost: false,
        };
        let transaction = self.open_server(request, flow)?;
        self.transactions.answer_anew(transaction, request);
        Some((transaction, caller, dialled))
    }

    /// Whether nothing new begins any more; then the request has its answer.
    pub(crate) fn closing(&mut self, request: &Message, flow: Flow) -> bool {
        if self.draining {
            self.wire.counts.reject("draining");
            self.respond_stateless(request, flow, 503, "Shutting Down", |response| {
                response.header("Retry-After", DRAINED)
            });
        }
        self.draining
    }

    /// Opens a server transaction, unless there are too many: then the request is refused at once.
    pub(crate) fn open_server(&mut self, request: &Message, flow: Flow) -> Option<Key> {
        if self.transactions.len() >= self.config.limits.transactions {
            self.wire.counts.reject("overload");
            self.respond_stateless(request, flow, 503, "Overloaded", |response| {
                response.header("Retry-After", FULL)
            });
            return None;
        }
        let identity = self.transactions.identity(request, request.method())?;
        Some(self.transactions.open_server(identity, request, flow, &self.wire))
    }

    /// Answers a request and keeps nothing of it (RFC 3261 section 8.2.7): the same request gets the
    /// same answer.
    pub(crate) fn respond_stateless(
        &mut self,
        request: &Message,
        flow: Flow,
        status: u16,
        phrase: &str,
        add: impl FnOnce(Writer) -> Writer,
    ) {
        self.reply(request, flow, (status, phrase), add, &[]);
    }

    /// The same, with headers that may be left out (name, value in pieces, and how many times as long as the
    /// request the answer may become by it). Over UDP a stranger may have written another's address
    /// onto a request, and the answer must not be worth the trouble: what would make it longer than
    /// allowed is left out.
    pub(crate) fn reply(
        &mut self,
        request: &Message,
        flow: Flow,
        (status, phrase): (u16, &str),
        must: impl FnOnce(Writer) -> Writer,
        may: &[(&str, &[&str], usize)],
    ) {
        if request.header(Name::Via).is_none() {
            return self.wire.counts.reject("bad_via"); // whose answer it is could not be told
        }
        let tag = Short::new().hexadecimal(self.transactions.name_of(request), 16);
        let mut response = must(respond(request, flow.peer, status, phrase, Some(tag.as_str())));
        let free = flow.transport.reliable() || self.directory.trusts(flow.peer.ip());
        let mut slimmed = false;
        let product: &[&str] = &[&self.product];
        for (name, value, times) in may.iter().copied().chain([("Server", product, 1)]) {
            let length: usize = value.iter().map(|piece| piece.len()).sum();
            let grown = response.size() + name.len() + length + 4;
            if free || grown <= request.raw().len() * times {
                response.add_all(name, value);
            } else {
                slimmed = true;
            }
        }
        self.wire.counts.slimmed += u64::from(slimmed);
        *self
            .wire
            .counts
            .responses_out
            .entry((request.method(), status))
            .or_default() += 1;
        self.wire
            .send(response_flow(request, flow), Packet::whole(response.finish()));
    }

    /// Answers within a transaction; the To tag is the call's where there is one.
    pub(crate) fn respond_with(
        &mut self,
        transaction: Key,
        request: &Message,
        status: u16,
        phrase: &str,
        add: impl FnOnce(Writer) -> Writer,
    ) {
        let Some(flow) = self.transactions.flow(transaction) else {
            return;
        };
        let token;
        let tag = match self
            .call_of_invite(transaction)
            .and_then(|call| self.calls.get(call))
        {
            Some(call) => &call.dialog.local_tag,
            None => {
                token = self.wire.short_token();
                token.as_str()
            }
        };
        let response =
            add(respond(request, flow.peer, status, phrase, Some(tag))).pieces("Server", [&self.product]);
        self.transactions.respond(
            transaction,
            status,
            Packet::whole(response.finish()),
            &mut self.wire,
        );
    }

    /// Refuses a request within its transaction and counts why.
    pub(crate) fn refuse_in(
        &mut self,
        transaction: Key,
        request: &Message,
        status: u16,
        phrase: &str,
        reason: &'static str,
    ) {
        self.wire.counts.reject(reason);
        self.respond_with(transaction, request, status, phrase, |response| match status {
            415 => taken_instead(response, request, DESCRIPTIONS),
            480 if reason == NOT_IN_CLEAR.reason => warn_of_sips(response),
            503 => response.header("Retry-After", FULL),
            _ => response,
        });
    }
}

/// Whether an ACK is for an answer that left no state behind: its tag is the name of its INVITE.
fn has_tag_of(ack: &Message, invite: u128) -> bool {
    let tag = Short::new().hexadecimal(invite as u64, 16);
    ack.to().is_ok_and(|to| to.tag() == Some(tag.as_str()))
}

/// What a 415 says of the bodies that we take: their types, and that we undo no encoding where that was what is wrong
/// (RFC 3261 section 8.2.3).
pub(crate) fn taken_instead(response: Writer, request: &Message, types: &str) -> Writer {
    let response = response.header("Accept", types);
    match is_encoded(request) {
        true => response.header("Accept-Encoding", "identity"),
        false => response,
    }
}

/// The required extensions that we do not know, in the words of the request; empty where we know all.
fn unknown_extensions(request: &Message) -> String {
    if request.header(Name::Require).is_none() && request.header(Name::ProxyRequire).is_none() {
        return String::new();
    }
    let is_in = |words: &[&str], wanted: &str| words.iter().any(|known| known.eq_ignore_ascii_case(wanted));
    let required = request.values(Name::Require);
    let unknown = required.filter(|wanted| !is_in(SUPPORTED, wanted));
    let passing = request.values(Name::ProxyRequire);
    let unknown =
        unknown.chain(passing.filter(|wanted| !is_in(SUPPORTED, wanted) && !is_in(PASSING, wanted)));
    unknown.collect::<Vec<_>>().join(", ")
}
