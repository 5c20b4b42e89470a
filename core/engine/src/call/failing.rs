//! Phones that do not take a call: what their callers hear of it (RFC 3261 section 16.7), and what records say.

use crate::arena::Key;
use crate::call::{Call, Place};
use crate::engine::Engine;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::write::quote_display;

/// No word came from the phone.
const UNREACHABLE: &str = "unreachable";

/// Why a phone did not take a call.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) phrase: String,
    /// The Reason that it gave (RFC 6432).
    pub(crate) reason: Option<String>,
    /// The word for it in records.
    pub(crate) why: &'static str,
}

impl Failure {
    /// One that the switch finds itself.
    pub(crate) fn ours(status: u16, phrase: &str, why: &'static str) -> Self {
        Self {
            status,
            phrase: phrase.to_owned(),
            reason: None,
            why,
        }
    }

    /// What the phone itself has said.
    pub(crate) fn said(response: &Message) -> Self {
        let status = response.status();
        let why = match status {
            486 | 600 => "busy",
            603 | 607 | 608 => "declined",
            408 | 480 => "no_answer",
            430 => UNREACHABLE,
            _ => "refused",
        };
        Self {
            reason: response.header(Name::Reason).map(str::to_owned),
            ..Self::ours(status, response.reason(), why)
        }
    }

    /// The phone says nothing at all (RFC 3261 section 8.1.3.1: as if it had said 408).
    pub(crate) fn silent() -> Self {
        Self::ours(408, "Request Timeout", UNREACHABLE)
    }

    /// There is no way to the phone (RFC 3261 section 8.1.3.1: as if it had said 503).
    pub(crate) fn unreachable() -> Self {
        Self::ours(503, "Service Unavailable", UNREACHABLE)
    }

    /// It was given up, and its last word does not come (RFC 3261 section 9.1: as if it had said 487).
    pub(crate) fn given_up() -> Self {
        Self::ours(487, "Request Terminated", UNREACHABLE)
    }

    /// What a caller is told of it. What a phone does not take of an INVITE of ours is not what the caller has sent, and
    /// the headers that say so are not its business (RFC 3261 sections 8.2.2.3 and 8.2.3). A challenge is not its business: it could not answer it. Nor is where else the
    /// phone would be called: calls are not redirected. 430 is a word between the phone's proxy and its registrar (RFC
    /// 5626 section 11.5). A 503 would speak of the switch and have the caller keep
    /// away from it: it becomes 500 where the phone has said it (RFC 3261 section 16.7 step 6).
    fn told(self) -> Self {
        match self.status {
            415 => Self::ours(488, "Not Acceptable Here", self.why),
            300..=399 | 401 | 405 | 407 | 420 | 421 | 430 | 494 => {
                Self::ours(480, "Temporarily Unavailable", self.why)
            }
            503 if self.why == UNREACHABLE => Self::ours(480, "Temporarily Unavailable", self.why),
            503 => Self {
                status: 500,
                phrase: "Server Internal Error".into(),
                ..self
            },
            _ => self,
        }
    }
}

/// Why a call between users ends on this side, when the other one has ended like that.
pub(crate) fn at_the_other_side(other: &Call) -> &'static str {
    match other.why.unwrap_or_default() {
        "hung_up" => "other_side",
        "no_media" => "other_side_no_media",
        // It is the end of both.
        why @ ("cancelled" | "no_answer" | "shutdown" | "no_media_port") => why,
        _ => "other_side_lost",
    }
}

impl Engine {
    /// A phone does not take the call.
    pub(crate) fn fork_failed(&mut self, key: Key, failure: Failure) {
        self.record_status(key, failure.status);
        let Some(call) = self.forget(key, failure.why) else {
            return;
        };
        if let Place::Bridge(bridge) = call.place {
            let told = failure.told();
            let for_all = told.status >= 600;
            self.record_failure(bridge, told);
            if for_all {
                self.refused_everywhere(bridge);
            }
        }
        self.leave(key, &call, None);
    }

    /// Keeps the best of the refusals: a 6xx before all, else the lowest.
    pub(crate) fn record_failure(&mut self, bridge: Key, failure: Failure) {
        let Some(bridge) = self.bridges.get_mut(bridge) else {
            return;
        };
        let rank = |status: u16| if status >= 600 { 0 } else { status };
        let best = bridge.best.as_ref();
        if best.is_none_or(|best| rank(failure.status) < rank(best.status)) {
            bridge.best = Some(failure);
        }
    }

    /// The called party wants the call on no phone: all others stop ringing and the caller hears of it at once
    /// (RFC 3261 sections 16.7 step 5 and 21.6). An answer that is on its way now gets its ACK and its BYE.
    fn refused_everywhere(&mut self, key: Key) {
        let Some(bridge) = self.bridges.get(key).filter(|bridge| bridge.winner.is_none()) else {
            return;
        };
        let Some(best) = bridge.best.clone() else {
            return;
        };
        let (caller, forks) = (bridge.caller, bridge.forks.clone());
        let reason = format!("SIP;cause={};text={}", best.status, quote_display(&best.phrase));
        for fork in forks {
            self.hang_up(fork, "refused_elsewhere", Some(&reason));
        }
        self.refuse_call(
            caller,
            best.why,
            best.status,
            &best.phrase,
            best.reason.as_deref(),
        );
    }
}
