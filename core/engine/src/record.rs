//! Call detail records: what there is to say about a call when it is over, said once.
//!
//! A record waits for the totals of its media, for a few seconds at most.

use std::collections::HashMap;
use std::time::Duration;

use cordboard_model::media::{Codec, LegTotals};
use cordboard_model::{AccountId, ConferenceId, LegId, Time};

use crate::arena::Key;
use crate::call::incoming::Caller;
use crate::call::{Call, Place};
use crate::engine::Engine;
use crate::io::{Output, Transport};
use crate::sip::header::NameAddr;
use crate::sip::message::{Message, Refusal};
use crate::sip::name::Name;
use crate::timer::Timer;

/// How long a record waits for the totals of its media.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallDirection {
    /// The peer called the switch.
    In,
    /// The switch called the peer.
    Out,
}

impl CallDirection {
    /// The word in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// One call, from its INVITE to its end: one dialog with one peer, or an INVITE of somebody known that was
/// refused at once (those of strangers leave no trace but in the counters). A call between users is one record of
/// the caller and one of each phone that was rung, with the same session.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    /// Random, unique.
    pub id: u128,
    /// The id of the call that this one belongs to; its own where it belongs to none.
    pub session: u128,
    /// The SIP Call-ID.
    pub call_id: String,
    /// The account.
    pub account: AccountId,
    /// Who called.
    pub direction: CallDirection,
    /// The caller's URI.
    pub from: String,
    /// The called URI.
    pub to: String,
    /// What was dialled.
    pub number: String,
    /// The name of the user who proved himself, or whom a trusted peer named.
    pub user: Option<String>,
    /// How SIP travelled.
    pub transport: Transport,
    /// When the INVITE came or went.
    pub started: Time,
    /// When it was answered.
    pub answered: Option<Time>,
    /// When it ended.
    pub ended: Time,
    /// The codec that was spoken last.
    pub codec: Option<&'static str>,
    /// Why it ended: the reason under which ended calls are counted, or refused requests where there
    /// was no call yet.
    pub reason: &'static str,
    /// The final status of the INVITE; 0 if there was none.
    pub status: u16,
    /// The conference that it was in or on its way to.
    pub conference: Option<ConferenceId>,
    /// What its media moved; `None` if there was none, or the totals did not come in time.
    pub media: Option<LegTotals>,
}

/// What is known of a call before its end.
#[derive(Debug, Clone, Copy)]
struct Draft {
    id: u128,
    session: u128,
    account: AccountId,
    direction: CallDirection,
    started: Time,
    answered: Option<Time>,
    status: u16,
}

/// Records in the making: as many as there are calls, and those that wait for their totals.
#[derive(Debug, Default)]
pub(crate) struct Records {
    drafts: HashMap<Key, Draft>,
    waiting: HashMap<LegId, Box<CallRecord>>,
}

impl Records {
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Engine {
    /// A call begins. One that we make belongs to the session of its caller.
    pub(crate) fn record_started(&mut self, key: Key, account: AccountId, caller: Option<Key>) {
        if !self.config.records {
            return;
        }
        let id = u128::from_be_bytes(self.wire.random_bytes());
        let session = caller
            .and_then(|caller| self.records.drafts.get(&caller))
            .map_or(id, |draft| draft.session);
        let draft = Draft {
            id,
            session,
            account,
            direction: match caller {
                Some(_) => CallDirection::Out,
                None => CallDirection::In,
            },
            started: self.wire.now,
            answered: None,
            status: 0,
        };
        self.records.drafts.insert(key, draft);
    }

    /// The account of a call that is being recorded.
    pub(crate) fn recorded_account(&self, key: Key) -> AccountId {
        let draft = self.records.drafts.get(&key);
        draft.map_or(self.config.accounts[0].id, |draft| draft.account)
    }

    /// A call was answered.
    pub(crate) fn record_answered(&mut self, key: Key) {
        let now = self.wire.now;
        if let Some(draft) = self.records.drafts.get_mut(&key) {
            draft.answered.get_or_insert(now);
            draft.status = 200;
        }
    }

    /// The INVITE of a call was refused, or failed.
    pub(crate) fn record_status(&mut self, key: Key, status: u16) {
        if let Some(draft) = self.records.drafts.get_mut(&key)
            && draft.answered.is_none()
        {
            draft.status = status;
        }
    }

    /// A call is over; its leg is not closed yet.
    pub(crate) fn record_ended(&mut self, key: Key, call: &Call, reason: &'static str) {
        let Some(draft) = self.records.drafts.remove(&key) else {
            return;
        };
        let remote = NameAddr::parse(&call.dialog.remote)
            .map_or_else(|_| String::new(), |remote| remote.uri.to_owned());
        let ours = call.dialog.local_uri.clone();
        let (from, to) = match draft.direction {
            CallDirection::In => (remote, ours),
            CallDirection::Out => (ours, remote),
        };
        let record = Box::new(CallRecord {
            id: draft.id,
            session: draft.session,
            call_id: call.dialog.call_id.clone(),
            account: draft.account,
            direction: draft.direction,
            from,
            to,
            number: call.number.clone(),
            user: call.user.clone(),
            transport: call.dialog.flow.transport,
            started: draft.started,
            answered: draft.answered,
            ended: self.wire.now,
            codec: call.leg.codec().map(Codec::name),
            reason,
            status: draft.status,
            conference: match call.place {
                Place::Conference(id) => Some(id),
                Place::Bridge(_) => None,
            },
            media: None,
        });
        let leg = call.leg.id;
        // With very many that wait, the shards are not coming back to us.
        if !self.legs.contains_key(&leg) || self.records.waiting.len() >= self.config.limits.calls {
            return self.wire.out.push_back(Output::Record(record));
        }
        self.records.waiting.insert(leg, record);
        self.wire.timers.arm(self.wire.now + PATIENCE, Timer::Record(leg));
    }

    /// Refuses the INVITE of a caller who was let in at the door, before there is a call of it.
    pub(crate) fn refuse_caller(
        &mut self,
        transaction: Key,
        request: &Message,
        (caller, number): (&Caller, &str),
        conference: Option<ConferenceId>,
        refusal: Refusal,
    ) {
        let Refusal {
            status,
            phrase,
            reason,
        } = refusal;
        self.refuse_in(transaction, request, status, phrase, reason);
        self.record_refused(request, (caller, number), conference, status, reason);
    }

    /// The record of an INVITE that was refused before there was a call of it.
    pub(crate) fn record_refused(
        &mut self,
        request: &Message,
        (caller, number): (&Caller, &str),
        conference: Option<ConferenceId>,
        status: u16,
        reason: &'static str,
    ) {
        if !self.config.records {
            return;
        }
        let id = u128::from_be_bytes(self.wire.random_bytes());
        let credential = caller.identity.credential();
        let now = self.wire.now;
        let record = CallRecord {
            id,
            session: id,
            call_id: request.header(Name::CallId).unwrap_or_default().to_owned(),
            account: caller.account.id,
            direction: CallDirection::In,
            from: request
                .from()
                .map_or_else(|_| String::new(), |from| from.uri.to_owned()),
            to: format!("sip:{number}@{}", caller.account.realm),
            number: number.to_owned(),
            user: credential.map(|place| self.directory.credential(place).owner.clone()),
            transport: caller.flow.transport,
            started: now,
            answered: None,
            ended: now,
            codec: None,
            reason,
            status,
            conference,
            media: None,
        };
        self.wire.out.push_back(Output::Record(Box::new(record)));
    }

    /// The totals of a leg are here, or will not come.
    pub(crate) fn record_totals(&mut self, leg: LegId, totals: Option<LegTotals>) {
        if let Some(mut record) = self.records.waiting.remove(&leg) {
            record.media = totals;
            self.wire.out.push_back(Output::Record(record));
        }
    }
}
