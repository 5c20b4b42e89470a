//! A message inside a call: checked, shown to the plugins once, relayed to everybody else.

use std::borrow::Cow;

use bytes::Bytes;
use cordboard_model::hook::message::{Audience, MessageAsk, MessageVerdict};
use cordboard_model::{Ask, Ticket, Time};

use crate::arena::Key;
use crate::call::outbox::Outgoing;
use crate::call::{Call, Place};
use crate::conference::copies::{Letter, json_text, tail};
use crate::door::{ACCEPT, taken_instead};
use crate::engine::{Engine, Subject};
use crate::pager::rejection;
use crate::sip::message::Message;
use crate::sip::mime::{essence, is_encoded, transfer_of};
use crate::sip::name::Name;
use crate::sip::transfer::Transfer;
use crate::sip::write::quote_display;

/// The headers that travel with a message, beside its Content-Type.
const RELAYED: [Name; 4] = [
    Name::Subject,
    Name::ContentDisposition,
    Name::ContentLanguage,
    Name::Date,
];

/// A message whose verdict is awaited.
#[derive(Debug)]
pub(crate) struct PendingMessage {
    pub(crate) sender: Key,
    pub(crate) transaction: Key,
    pub(crate) request: Message,
    pub(crate) stamp: Time,
    pub(crate) accepted: Time,
    /// Plugins are asked about it.
    asked: bool,
}

/// The form in which a message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it came.
    Sent(Transfer),
    /// As plugins have seen or written it: whoever undid more would read what they have not.
    Seen,
}

impl Form {
    /// How its body is encoded.
    pub(crate) const fn transfer(self) -> Transfer {
        match self {
            Self::Sent(transfer) => transfer,
            Self::Seen => Transfer::Plain,
        }
    }
}

/// Why a message is refused at once.
struct Refused {
    status: u16,
    phrase: &'static str,
    outcome: &'static str,
}

impl Engine {
    pub(crate) fn on_call_message(&mut self, key: Key, transaction: Key, request: Message, stamp: Time) {
        if let Err(refused) = self.message_allowed(key, &request) {
            return self.refuse_message(transaction, &request, &refused);
        }
        let Some(call) = self.calls.get(key) else { return };
        let accepted = self.wire.now;
        let ask = self
            .config
            .hooks
            .message_filter
            .map(|rule| (rule, self.message_ask(call, &request)));
        let message = PendingMessage {
            sender: key,
            transaction,
            request,
            stamp,
            accepted,
            asked: ask.is_some(),
        };
        let ticket = self.ticket();
        if let Some(call) = self.calls.get_mut(key) {
            call.pending.push_back((ticket, None));
        }
        match ask {
            Some((rule, ask)) => self.ask(
                ticket,
                rule,
                Ask::Message(ask),
                Subject::Message(Box::new(message)),
            ),
            None => self.message_decided(ticket, message, MessageVerdict::Pass),
        }
    }

    fn refuse_message(&mut self, transaction: Key, request: &Message, refused: &Refused) {
        self.wire.counts.message("in", "conference", refused.outcome);
        let Refused { status, phrase, .. } = *refused;
        self.respond_with(transaction, request, status, phrase, |response| match status {
            415 => taken_instead(response, request, ACCEPT),
            503 => response.header("Retry-After", 1),
            403 => response.header("Reason", format_args!("SIP;cause=403;text=\"{phrase}\"")),
            _ => response,
        });
    }

    /// The rules that moderators may change at any moment: whether this caller may write now.
    fn may_write_in(&self, call: &Call) -> Result<(), Refused> {
        let refused = |phrase, outcome| {
            Err(Refused {
                status: 403,
                phrase,
                outcome,
            })
        };
        if let Place::Conference(id) = call.place
            && (!self.chat_is_enabled(id) || self.conferences.get(&id).is_some_and(|c| !c.config.chat))
        {
            return refused("Chat Is Disabled", "disabled");
        }
        if call.seat.waits {
            return refused("You Are In The Waiting Room", "waiting");
        }
        if call.seat.silenced {
            return refused("You Are Muted In Chat", "silenced");
        }
        Ok(())
    }

    /// The rules that hold before any plugin is asked, cheapest first.
    fn message_allowed(&mut self, key: Key, request: &Message) -> Result<(), Refused> {
        let refused = |status, phrase, outcome| {
            Err(Refused {
                status,
                phrase,
                outcome,
            })
        };
        let kind = request.header(Name::ContentType).unwrap_or_default();
        if request.body_slice().is_empty() || !relayed_type(kind) || self.cannot_be_read(request) {
            return refused(415, "Unsupported Media Type", "unsupported");
        }
        if request.body_slice().len() > self.config.max_message {
            return refused(413, "Request Entity Too Large", "too_large");
        }
        let (rate, now) = (f64::from(self.config.message_rate), self.wire.now);
        let Some(call) = self.calls.get(key) else {
            return refused(481, "Gone", "gone");
        };
        self.may_write_in(call)?;
        let Some(call) = self.calls.get_mut(key) else {
            return refused(481, "Gone", "gone");
        };
        if rate > 0.0 && !call.trusted {
            let (left, at) = call.allowance;
            let left = (left + now.since(at).as_secs_f64() * rate).min(rate * 2.0);
            call.allowance = (left.max(1.0) - 1.0, now);
            if left < 1.0 {
                call.allowance = (left, now);
                return refused(503, "Too Many Messages", "rate_limited");
            }
        }
        if call.pending.len() >= self.config.limits.dialog_queue {
            return refused(503, "Too Many Messages", "queue_full");
        }
        Ok(())
    }

    /// Whether a message stands in a form that nobody takes, or that hides from plugins what recipients may read.
    pub(crate) fn cannot_be_read(&self, request: &Message) -> bool {
        let asks = self.config.hooks.message_filter.is_some();
        is_encoded(request) || asks && !transfer_of(request).is_known()
    }

    fn message_ask(&self, call: &Call, request: &Message) -> MessageAsk {
        MessageAsk {
            conference: match call.place {
                Place::Conference(id) => Some(self.view(id)),
                Place::Bridge(_) => None,
            },
            user: call.user.clone(),
            display_name: sender_name(call, request),
            transport: call.dialog.flow.transport.name(),
            audience: match call.place {
                Place::Conference(_) => Audience::Everybody,
                Place::Bridge(_) => Audience::One(None),
            },
            content_type: request.header(Name::ContentType).unwrap_or_default().to_owned(),
            body: own_body(request),
        }
    }

    /// A verdict is here. One sender's messages are relayed in the order in which they came, so it may
    /// have to wait for those before it.
    pub(crate) fn message_decided(
        &mut self,
        ticket: Ticket,
        message: PendingMessage,
        verdict: MessageVerdict,
    ) {
        let sender = message.sender;
        let Some(call) = self.calls.get_mut(sender) else {
            self.wire.counts.stale_verdicts += 1;
            return;
        };
        if let Some(entry) = call.pending.iter_mut().find(|(waiting, _)| *waiting == ticket) {
            entry.1 = Some((Box::new(message), verdict));
        }
        while let Some(call) = self.calls.get_mut(sender) {
            if call.pending.front().is_none_or(|(_, decided)| decided.is_none()) {
                break;
            }
            if let Some((_, Some((message, verdict)))) = call.pending.pop_front() {
                self.apply_verdict(&message, verdict);
            }
        }
    }

    fn apply_verdict(&mut self, message: &PendingMessage, verdict: MessageVerdict) {
        let Some(call) = self.calls.get(message.sender) else {
            return;
        };
        let request = &message.request;
        // A moderator may have been faster than the plugins.
        if let Err(refused) = self.may_write_in(call) {
            return self.refuse_message(message.transaction, request, &refused);
        }
        let kind = request.header(Name::ContentType).unwrap_or_default();
        let name = sender_name(call, request);
        let (body, form) = going_out(request, message.asked);
        let outcome = match verdict {
            MessageVerdict::Reject { code, reason } => {
                let code = rejection(code);
                self.wire.counts.message("in", "conference", "rejected");
                let header = format!("SIP;cause={code};text={}", quote_display(&reason));
                return self.respond_with(message.transaction, request, code, &reason, |response| {
                    response.header("Reason", header)
                });
            }
            MessageVerdict::Drop => "dropped",
            MessageVerdict::Reply { content_type, body } => {
                self.accept_message(message);
                let name = self.conference_name(message.sender);
                let tail = tail(&content_type, &[], &body);
                let answer = Outgoing::message(tail, &name, "conference", self.wire.now);
                self.post(message.sender, answer);
                self.wire.counts.message("in", "conference", "replied");
                return;
            }
            MessageVerdict::Pass => {
                self.relay(message, kind, &name, &body, form);
                "relayed"
            }
            MessageVerdict::Rewrite(new) => {
                let kind = new.content_type.as_deref().unwrap_or(kind);
                let name = new.display_name.as_deref().unwrap_or(&name);
                self.relay(message, kind, name, new.body.as_deref().unwrap_or(&body), form);
                "rewritten"
            }
        };
        if outcome == "dropped" {
            self.accept_message(message);
        }
        self.wire.counts.message("in", "conference", outcome);
    }

    fn accept_message(&mut self, message: &PendingMessage) {
        self.respond_with(
            message.transaction,
            &message.request,
            202,
            "Accepted",
            |response| response,
        );
    }

    /// One copy for each of the others; the sender's answer waits for none of theirs.
    fn relay(&mut self, message: &PendingMessage, kind: &str, name: &str, body: &[u8], form: Form) {
        self.accept_message(message);
        let own = form.transfer().undone(body);
        if own.is_some_and(|own| json_text(kind, &own).is_some())
            && let Some(call) = self.calls.get_mut(message.sender)
        {
            call.seat.json = Some(kind.to_owned());
        }
        let letter = Letter {
            kind,
            headers: &essential_headers(&message.request, form),
            body,
            name,
            of: "conference",
        };
        let times = (message.stamp, message.accepted);
        self.relay_copies(&self.others(message.sender), &letter, times);
        self.chat_from_leg(message.sender, kind, form, body);
    }

    /// Everybody who hears a call's messages, but the call itself.
    fn others(&self, sender: Key) -> Vec<Key> {
        match self.calls.get(sender).map(|call| call.place) {
            Some(Place::Conference(id)) => {
                let members = self
                    .conferences
                    .get(&id)
                    .map(|conference| conference.members.as_slice());
                members
                    .unwrap_or_default()
                    .iter()
                    .copied()
                    .filter(|member| *member != sender)
                    .collect()
            }
            Some(Place::Bridge(bridge)) => self.other_side(bridge, sender).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

/// The name on a message: its own From's, else the caller's.
fn sender_name(call: &Call, request: &Message) -> String {
    if call.hidden {
        return call.shown_name().to_owned();
    }
    let own = request
        .from()
        .ok()
        .and_then(|from| from.display().map(Cow::into_owned));
    own.filter(|name| !name.trim().is_empty())
        .unwrap_or_else(|| call.name.clone())
}

/// The headers of a message that its recipients get too, in this form.
pub(crate) fn essential_headers(request: &Message, form: Form) -> Vec<(Name, &str)> {
    // How a body is encoded travels with it, and not with what plugins have seen.
    let encoding = match form.transfer().is_plain() {
        true => &[][..],
        false => &[Name::ContentTransferEncoding],
    };
    let names = RELAYED.iter().chain(encoding);
    names
        .filter_map(|name| Some((*name, request.header(*name)?)))
        .collect()
}

/// The body that goes out for a request, and its form: where plugins were asked, what they were shown.
pub(crate) fn going_out(request: &Message, asked: bool) -> (Bytes, Form) {
    match asked {
        true => (own_body(request), Form::Seen),
        false => (request.body(), Form::Sent(transfer_of(request))),
    }
}

/// The body of a message as plugins see it: as its sender wrote it, before it was encoded for the way.
pub(crate) fn own_body(request: &Message) -> Bytes {
    match transfer_of(request).undone(request.body_slice()) {
        Some(Cow::Owned(own)) => own.into(),
        Some(Cow::Borrowed(_)) | None => request.body(),
    }
}

/// Whether messages of this type are relayed.
pub(crate) fn relayed_type(kind: &str) -> bool {
    let kind = essence(kind);
    match kind.split_once('/') {
        Some(("text" | "application" | "multipart", subtype)) => !subtype.is_empty(),
        _ => kind == "message/cpim",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_relayed_by_family() {
        for (kind, relayed) in [
            ("text/plain;charset=utf-8", true),
            ("application/x-myphone-confbridge-chat+json", true),
            ("Message/CPIM", true),
            ("multipart/mixed; boundary=x", true),
            ("image/png", false),
            ("message/rfc822", false),
            ("text", false),
            ("text/", false),
            ("", false),
        ] {
            assert_eq!(relayed_type(kind), relayed, "{kind}");
        }
    }
}
