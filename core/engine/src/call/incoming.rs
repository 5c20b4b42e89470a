//! An INVITE outside any dialog: who calls whom, and may they.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use cordboard_model::hook::conference::Role;
use cordboard_model::{ConferenceId, UserId};

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
const TOO_MANY_CALLS: Refusal = Refusal {
    status: 503,
    phrase: "Too Many Calls",
    reason: "too_many_calls",
};
/// As many calls as one user may have: nobody takes all the ports of the media. No 503: a gateway that calls as one
/// user, or a proxy before it, would avoid the whole switch (RFC 3261 section 21.5.4).
const TOO_MANY_OF_USER: Refusal = Refusal {
    status: 480,
    phrase: "Too Many Calls Of This User",
    reason: "too_many_calls_of_user",
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
        if let Some(refusal) = self.has_no_room(&caller) {
            return self.refuse_caller(transaction, &request, (&caller, &number), None, refusal);
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
        let config = Arc::clone(config);
        let entrance = match role {
            Role::Member => &config.member,
            Role::Moderator => &config.moderator,
        };
        let barred = match role == Role::Member && self.is_locked(id) {
            true => Some(("locked", CONFERENCE_LOCKED)),
            false => self
                .barred(&entrance.pins, pin, &caller, id)
                .map(|refusal| ("refused", refusal)),
        };
        if let Some((outcome, refusal)) = barred {
            self.joined(outcome, caller.flow);
            let who = (&caller, dialled.number.as_str());
            self.refuse_caller(transaction, &request, who, Some(id), refusal);
            return self.pin_was_wrong(refusal, &caller);
        }
        let refusal = if self.is_full(id) {
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
        let (muted, deaf) = (entrance.join_muted, entrance.join_deaf);
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

    /// Why there is no room for one more call of this caller; `None` if there is.
    pub(crate) fn has_no_room(&self, caller: &Caller) -> Option<Refusal> {
        let limits = &self.config.limits;
        if self.calls.len() >= limits.calls {
            return Some(TOO_MANY_CALLS);
        }
        let made = self.counted(caller).and_then(|user| self.callers.get(&user));
        let full = limits.user_calls > 0 && made.is_some_and(|made| *made >= limits.user_calls);
        full.then_some(TOO_MANY_OF_USER)
    }

    /// The user whose calls a call of this caller is counted among.
    fn counted(&self, caller: &Caller) -> Option<UserId> {
        match caller.identity {
            Identity::User(place) => Some(self.directory.credential(place).user),
            Identity::Trusted(_) => None,
        }
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
        let mut dialog = Dialog::server(&request, caller.flow, String::new(), sent_by, &self.directory.own)?;
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
        let counted = self.counted(caller);
        if let Some(user) = counted {
            *self.callers.entry(user).or_default() += 1;
        }
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
                counted,
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
