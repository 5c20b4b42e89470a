//! Call detail records: what there is to say about a call when it is over, said once.
//!
//! A record waits for the totals of its media, for a few seconds at most. Of a call that is answered it is said at once
//! what its record will be if nobody hears of the call again: kept on disk, and loaded at the next start if the switch
//! was killed meanwhile.

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
    /// What was dialled, wherever plugins led it to: the user part of the called URI without a PIN, the same in all
    /// records of a session.
    pub number: String,
    /// Where the peer is reached: the URI of its Contact; in the record of a called phone the contact that was
    /// called. Empty where it named none.
    pub contact: String,
    /// The name of the user who proved himself, or whom a trusted peer named.
    pub user: Option<String>,
    /// How SIP travelled.
    pub transport: Transport,
    /// When the INVITE came or went.
    pub started: Time,
    /// When it was answered.
    pub answered: Option<Time>,
    /// When it ended; `None` if nobody knows, as the switch was stopped meanwhile.
    pub ended: Option<Time>,
    /// Where the end is not known: when the switch is last known to have run.
    pub last_alive: Option<Time>,
    /// The codec that was spoken last.
    pub codec: Option<&'static str>,
    /// Why it ended, in one of the words of [`ENDS`]; where an INVITE was refused before there was a call, the reason
    /// under which refused requests are counted.
    pub reason: &'static str,
    /// The final status of the INVITE; 0 if there was none.
    pub status: u16,
    /// The conference that it was in or on its way to.
    pub conference: Option<ConferenceId>,
    /// What its media moved; `None` if there was none, or the totals did not come in time.
    pub media: Option<LegTotals>,
}

/// Why calls end, in the words of records and of the counter of ended calls. In a call between users each side has
/// its own word, and the cause is in the record of the side that it happened on.
pub const ENDS: &[(&str, &str)] = &[
    ("hung_up", "The peer of this record hung up."),
    ("other_side", "The other side of a call between users hung up."),
    ("no_media", "The peer of this record sent audio no more."),
    (
        "other_side_no_media",
        "The other side of a call between users sent audio no more.",
    ),
    (
        "other_side_lost",
        "The other side of a call between users ended for another reason; its record says which.",
    ),
    ("cancelled", "The caller gave up before the answer."),
    (
        "busy",
        "The phone is busy (486, 600); of a caller: all that were called.",
    ),
    ("declined", "Somebody at the phone declined (603, 607, 608)."),
    (
        "no_answer",
        "Nobody answered: the phones rang long enough, or the phone said so (408, 480).",
    ),
    (
        "unreachable",
        "The phone said nothing at all, or there is no way to it.",
    ),
    (
        "refused",
        "Refused with another status, or by the conference or its plugins.",
    ),
    (
        PLUGIN_FAILED,
        "A plugin that was asked whether it may join failed, and is to refuse then (`on_failure`).",
    ),
    ("answered_elsewhere", "Another phone of the called user answered."),
    (
        "refused_elsewhere",
        "Another phone of the called user refused for all (6xx).",
    ),
    ("kicked", "A moderator put it out of the conference."),
    ("conference_ended", "The conference was ended."),
    ("session_expired", "No refresh of the session came (RFC 4028)."),
    ("no_ack", "The peer did not confirm an answer (ACK, PRACK)."),
    (
        "no_answer_to_offer",
        "The peer did not answer an offer inside the call.",
    ),
    (
        "connection_lost",
        "The peer's connection is gone, and no offer inside the call has found another way to it.",
    ),
    ("bad_answer", "The peer's answer to an offer cannot be used."),
    ("gone", "The peer does not know the call any more (408, 481)."),
    ("media_lost", "The network path of a WebRTC peer was lost."),
    (
        "media_refused",
        "The media connection of a WebRTC peer could not be made.",
    ),
    ("media_closed", "A WebRTC peer closed its media connection."),
    ("no_media_port", "No port was free for its media."),
    ("shutdown", "The switch went down."),
    (
        CUT_OFF,
        "The switch stopped before the end of the call (a crash, `kill -9`, a power cut), or could not write that it had ended; written at its next start.",
    ),
];

/// Plugins had a say about a call, and failed.
pub(crate) const PLUGIN_FAILED: &str = "plugin_failed";

/// The end of calls whose end nobody has seen.
const CUT_OFF: &str = "cut_off";

/// What is known of a call before its end.
#[derive(Debug, Clone)]
struct Draft {
    id: u128,
    session: u128,
    account: AccountId,
    direction: CallDirection,
    started: Time,
    answered: Option<Time>,
    status: u16,
    /// Who calls, where the called phone is told somebody else.
    caller: Option<String>,
}

impl Draft {
    /// What there is to say now, before an end and without media.
    fn record(&self, call: &Call) -> CallRecord {
        let remote = NameAddr::parse(&call.dialog.remote)
            .map_or_else(|_| String::new(), |remote| remote.uri.to_owned());
        let ours = call.dialog.local_uri.clone();
        let (from, to) = match self.direction {
            CallDirection::In => (remote, ours),
            CallDirection::Out => (self.caller.clone().unwrap_or(ours), remote),
        };
        CallRecord {
            id: self.id,
            session: self.session,
            call_id: call.dialog.call_id.clone(),
            account: self.account,
            direction: self.direction,
            from,
            to,
            number: call.number.clone(),
            contact: call.dialog.target.to_string(),
            user: call.user.clone(),
            transport: call.dialog.flow.transport,
            started: self.started,
            answered: self.answered,
            ended: None,
            last_alive: None,
            codec: call.leg.codec().map(Codec::name),
            reason: CUT_OFF,
            status: self.status,
            conference: match call.place {
                Place::Conference(id) => Some(id),
                Place::Bridge(_) => None,
            },
            media: None,
        }
    }
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
            caller: None,
        };
        self.records.drafts.insert(key, draft);
    }

    /// Who really calls a phone that is not told (RFC 3323): records know it.
    pub(crate) fn record_caller(&mut self, key: Key, uri: String) {
        if let Some(draft) = self.records.drafts.get_mut(&key) {
            draft.caller = Some(uri);
        }
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

    /// A call is answered and agreed on: what its record will be if nobody hears of it again.
    pub(crate) fn record_kept(&mut self, key: Key) {
        if let (Some(draft), Some(call)) = (self.records.drafts.get(&key), self.calls.get(key)) {
            let record = Box::new(draft.record(call));
            self.wire.out.push_back(Output::Answered(record));
        }
    }

    /// Takes in a call that was up when the switch was stopped, as [`Output::Answered`] told of it; only before the
    /// first input. Its record is said again, now for good, and its end counted.
    pub fn load_call(&mut self, record: CallRecord) {
        *self.wire.counts.calls_ended.entry(record.reason).or_default() += 1;
        self.wire.out.push_back(Output::Record(Box::new(record)));
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
        let record = Box::new(CallRecord {
            ended: Some(self.wire.now),
            reason,
            ..draft.record(call)
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
            contact: request
                .contacts()
                .next()
                .and_then(Result::ok)
                .map_or_else(String::new, |contact| contact.uri.to_owned()),
            user: credential.map(|place| self.directory.credential(place).owner.clone()),
            transport: caller.flow.transport,
            started: now,
            answered: None,
            ended: Some(now),
            last_alive: None,
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
