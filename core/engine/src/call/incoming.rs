//! An INVITE outside any dialog: who calls whom, and may they.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use cordboard_model::ConferenceId;
use cordboard_model::hook::conference::Role;

use crate::arena::Key;
use crate::auth::Identity;
use crate::call::ability::Abilities;
use crate::call::outbox::Outbox;
use crate::call::peer::is_peer_request;
use crate::call::privacy::Privacy;
use crate::call::reliable::Progress;
use crate::call::reoffer::Reoffer;
use crate::call::route::Dialled;
use crate::call::session::Session;
use crate::call::{Call, Leg, Place, Stage};
use crate::conference::join::LOCKED;
use crate::conference::seat::Seat;
use crate::config::Account;
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::dialog::Dialog;
use crate::sip::message::{Message, Refusal};
use crate::sip::name::Name;
use crate::sip::target::unusable;
use crate::sip::write::respond;

/// As many calls as may be.
pub(crate) const TOO_MANY_CALLS: Refusal = Refusal {
    status: 503,
    phrase: "Too Many Calls",
    reason: "too_many_calls",
};
const WRONG_PIN: Refusal = Refusal {
    status: 403,
    phrase: "Dial The Number, An Asterisk And The PIN",
    reason: "wrong_pin",
};
const CONFERENCE_LOCKED: Refusal = Refusal {
    status: 403,
    phrase: LOCKED,
    reason: "conference_locked",
};
const CONFERENCE_FULL: Refusal = Refusal {
    status: 486,
    phrase: "Conference Full",
    reason: "conference_full",
};

/// A caller who was let in at the door, before the callee is known.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) flow: Flow,
    pub(crate) identity: Identity,
    pub(crate) account: Arc<Account>,
    /// The connection that it came by is gone, and it has not come back.
    pub(crate) lost: bool,
}

impl Engine {
    pub(crate) fn on_invite(&mut self, request: Message, flow: Flow) {
        if self.closing(&request, flow) {
            return;
        }
        let Some((transaction, caller, dialled)) = self.let_in(&request, flow) else {
            return;
        };
        if self.refused_as_too_brief(transaction, &request) {
            return;
        }
        let (number, pin) = self.directory.without_pin(caller.account.id, dialled);
        if self.calls.len() >= self.config.limits.calls {
            return self.refuse_caller(transaction, &request, (&caller, &number), None, TOO_MANY_CALLS);
        }
        self.route_call(transaction, request, caller, number, pin);
    }

    #[allow(clippy::too_many_arguments)] // each is a different fact about one call, used once
    pub(crate) fn call_conference(
        &mut self,
        transaction: Key,
        request: Message,
        caller: Caller,
        id: ConferenceId,
        role: Role,
        dialled: Dialled,
        pin: Option<&str>,
    ) {
        let config = self
            .directory
            .conference(id)
            .expect("a number leads to a conference that is configured");
        let entrance = match role {
            Role::Member => &config.member,
            Role::Moderator => &config.moderator,
        };
        let (muted, deaf) = (entrance.join_muted, entrance.join_deaf);
        let config = Arc::clone(config);
        let full = self.is_full(id);
        let refusal = if role == Role::Member && self.is_locked(id) {
            self.joined("locked", caller.flow);
            Some(CONFERENCE_LOCKED)
        } else if let Some(refusal) = self.barred(id, role, pin) {
            self.joined("refused", caller.flow);
            Some(refusal)
        } else if full {
            self.joined("full", caller.flow);
            Some(CONFERENCE_FULL)
        } else {
            let private = Privacy::of(&request).refused_among_many();
            let private = private.or_else(|| unusable(&request));
            private.or_else(|| self.unacceptable_offer(&request, caller.flow, config.video))
        };
        if let Some(refusal) = refusal {
            let who = (&caller, dialled.number.as_str());
            return self.refuse_caller(transaction, &request, who, Some(id), refusal);
        }
        self.trying(transaction, &request);
        let (mix, shard) = self.conference_mix(config);
        let leg = self.new_leg(mix, shard, muted, deaf);
        let Some(call) = self.open_call(
            transaction,
            request,
            &caller,
            Place::Conference(id),
            leg,
            dialled,
            true,
        ) else {
            return;
        };
        if let Some(call) = self.calls.get_mut(call) {
            call.role = role;
        }
        self.ask_to_join(call, id);
    }

    /// Why a number of a conference leads nowhere without another PIN; `None` if it leads there.
    pub(crate) fn barred(&self, id: ConferenceId, role: Role, pin: Option<&str>) -> Option<Refusal> {
        let config = self.directory.conference(id)?;
        let pins = match role {
            Role::Member => &config.member.pins,
            Role::Moderator => &config.moderator.pins,
        };
        let opens = pins.is_empty() || pin.is_some_and(|pin| pins.iter().any(|known| known == pin));
        (!opens).then_some(WRONG_PIN)
    }

    /// 100 Trying, so that the caller stops repeating while plugins and shards are asked.
    pub(crate) fn trying(&mut self, transaction: Key, request: &Message) {
        if self.transactions.is_answered(transaction) {
            return;
        }
        let Some(flow) = self.transactions.flow(transaction) else {
            return;
        };
        let response = respond(request, flow.peer, 100, "Trying", None).finish();
        self.transactions
            .respond(transaction, 100, Packet::whole(response), &mut self.wire);
    }

    /// Makes the call of an INVITE that we take.
    #[allow(clippy::too_many_arguments)] // each is a different fact about one call, used once
    pub(crate) fn open_call(
        &mut self,
        transaction: Key,
        request: Message,
        caller: &Caller,
        place: Place,
        mut leg: Leg,
        dialled: Dialled,
        focus: bool,
    ) -> Option<Key> {
        leg.bundle = is_peer_request(&request, caller.flow).then(Box::default);
        let secret = self.wire.token();
        let sent_by = self.sent_by(caller.flow);
        let Dialled { number, leads_to } = dialled;
        let contact = self.contact(&leads_to, caller.flow, focus);
        let mut dialog = Dialog::server(&request, caller.flow, String::new(), sent_by)?;
        dialog.contact = contact;
        dialog.local_uri = format!("sip:{number}@{}", caller.account.realm);
        let credential = caller
            .identity
            .credential()
            .map(|place| self.directory.credential(place));
        let shown = request
            .from()
            .ok()
            .and_then(|from| from.display().map(Cow::into_owned));
        let name = shown
            .filter(|name| !name.trim().is_empty())
            .or_else(|| credential.map(|credential| credential.display_name.clone()))
            .unwrap_or_default();
        let (owner, user) = (
            credential.map(|credential| credential.user),
            credential.map(|credential| credential.owner.clone()),
        );
        let accepts = accepted(&request);
        let mut peer = Abilities::default();
        peer.learn(&request);
        let origin = self.new_origin();
        let (trusted, now) = (caller.identity.trusted(), self.wire.now);
        let allowance = (f64::from(self.config.message_rate) * 2.0, now);
        let call = self.calls.insert_with(|key| {
            dialog.local_tag = format!("{}.{secret}", key.text());
            Call {
                dialog,
                stage: Stage::Deciding,
                place,
                invite: Some(transaction),
                request: Some(request),
                dialling: None,
                ack: None,
                unacknowledged: None,
                leg,
                origin,
                offered: false,
                owner,
                user,
                name,
                number,
                hidden: false,
                role: Role::Member,
                trusted,
                abandoned: false,
                greeting: None,
                accepts,
                outbox: Outbox::default(),
                peer,
                reoffer: Reoffer::default(),
                session: Session::default(),
                progress: Progress::default(),
                early: Vec::new(),
                reason: None,
                why: None,
                pending: VecDeque::new(),
                allowance,
                seat: Seat::new(now),
            }
        });
        self.invites.insert(transaction, call);
        if caller.lost {
            self.strand_call(call, caller.flow.connection);
        } else {
            self.carry(call);
            self.look_for_way(call);
        }
        self.record_started(call, caller.account.id, None);
        Some(call)
    }

    /// The call that an INVITE transaction of a peer made.
    pub(crate) fn call_of_invite(&self, transaction: Key) -> Option<Key> {
        self.invites.get(&transaction).copied()
    }
}

/// What a peer's Accept lists, in lower case; `None` where it says nothing (then anything may be sent).
pub(crate) fn accepted(message: &Message) -> Option<String> {
    // An empty one says something, too: nothing is taken (RFC 3261 section 20.1).
    let all: Vec<&str> = message.headers(Name::Accept).collect();
    (!all.is_empty()).then(|| all.join(",").to_ascii_lowercase())
}
