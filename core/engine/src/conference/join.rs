//! Coming and going: the plugins decide who may join, the roster knows who is in.

use cordboard_model::hook::conference::{Admission, JoinAsk, JoinVerdict, Role};
use cordboard_model::{Ask, ConferenceId};

use crate::arena::Key;
use crate::call::{Call, Place, Stage};
use crate::conference::event::Event;
use crate::engine::{Engine, Subject};
use crate::io::Flow;
use crate::record::PLUGIN_FAILED;

/// The phrase of the answer to who may not come in because of a lock.
pub(crate) const LOCKED: &str = "Conference Is Locked";
/// The longest greeting and display name that a plugin may give, in bytes.
const MAX_TEXT: usize = 1024;

impl Engine {
    pub(crate) fn joined(&mut self, outcome: &'static str, flow: Flow) {
        *self
            .wire
            .counts
            .joins
            .entry((flow.transport.name(), outcome))
            .or_default() += 1;
    }

    /// Asks the policy plugins, if there are any, whether this call may join.
    pub(crate) fn ask_to_join(&mut self, key: Key, id: ConferenceId) {
        let user = self.calls.get(key).and_then(|call| call.user.as_deref());
        if self.chat_bans(id, user) {
            return self.refuse_call(key, "refused", 403, "Banned From This Conference", None);
        }
        let Some(rule) = self.config.hooks.conference_policy else {
            return self.open_leg(key);
        };
        let conference = self.view(id);
        let Some(call) = self.calls.get(key) else { return };
        let ask = Ask::Join(JoinAsk {
            conference,
            number: call.number.clone(),
            user: call.user.clone(),
            display_name: call.name.clone(),
            transport: call.dialog.flow.transport.name(),
            role: call.role,
        });
        let ticket = self.ticket();
        self.ask(ticket, rule, ask, Subject::Join(key));
    }

    pub(crate) fn join_decided(&mut self, key: Key, verdict: JoinVerdict) {
        let Some(call) = self.calls.get_mut(key) else {
            self.wire.counts.stale_verdicts += 1; // the caller has hung up meanwhile
            return;
        };
        match verdict {
            JoinVerdict::Admit(Admission {
                muted,
                deaf,
                role,
                display_name,
                greeting,
            }) => {
                call.leg.muted = muted.unwrap_or(call.leg.muted);
                call.leg.deaf = deaf.unwrap_or(call.leg.deaf);
                call.role = role.unwrap_or(call.role);
                call.greeting = usable_greeting(greeting);
                if let Some(name) = display_name.filter(|name| name.len() <= MAX_TEXT) {
                    call.name = name;
                }
                let (role, place, flow) = (call.role, call.place, call.dialog.flow);
                // It may have been locked while the plugins were asked.
                if let Place::Conference(id) = place
                    && role == Role::Member
                    && self.is_locked(id)
                {
                    self.joined("locked", flow);
                    return self.refuse_call(key, "refused", 403, LOCKED, None);
                }
                self.open_leg(key);
            }
            JoinVerdict::Failed => {
                let flow = call.dialog.flow;
                self.joined("refused", flow);
                // No 503: who hears that avoids the whole switch.
                self.refuse_call(key, PLUGIN_FAILED, 500, "Policy Unavailable", None);
            }
            JoinVerdict::Refuse { code, reason } => {
                let code = if (400..700).contains(&code) { code } else { 403 };
                let flow = call.dialog.flow;
                self.joined("refused", flow);
                let header = format!(
                    "SIP;cause={code};text={}",
                    crate::sip::write::quote_display(&reason)
                );
                self.refuse_call(key, "refused", code, &reason, Some(&header));
            }
        }
    }

    /// The call was answered: it is a participant now, or has to wait until it is let in.
    pub(crate) fn enter(&mut self, key: Key, id: ConferenceId) {
        let Some(conference) = self.conferences.get_mut(&id) else {
            return;
        };
        conference.arriving = conference.arriving.saturating_sub(1);
        let outcome = if self.has_to_wait(key, id) {
            self.hold(key, id);
            "waiting"
        } else {
            self.take_in(key, id);
            "joined"
        };
        if let Some(flow) = self.calls.get(key).map(|call| call.dialog.flow) {
            self.joined(outcome, flow);
        }
    }

    /// Makes a call a participant, and tells everybody.
    pub(super) fn take_in(&mut self, key: Key, id: ConferenceId) {
        let Some(conference) = self.conferences.get_mut(&id) else {
            return;
        };
        conference.members.push(key);
        let first = !std::mem::replace(&mut conference.started, true);
        self.roster_changed(id);
        if first {
            self.tell_all(id, Event::Start);
        }
        self.tell_about(id, Event::Join, key);
        self.welcome(id, key);
        self.chat_leg_joined(key, id);
    }

    /// The call is over, whether it had come in or not.
    pub(crate) fn left(&mut self, key: Key, id: ConferenceId, call: &Call) {
        let Some(conference) = self.conferences.get_mut(&id) else {
            return;
        };
        let was_in = matches!(call.stage, Stage::Answered | Stage::Up);
        let waited = conference.waiting.contains(&key);
        let tell = was_in && !waited && !conference.ending;
        if waited {
            conference.waiting.retain(|waiting| *waiting != key);
        } else if was_in {
            conference.members.retain(|member| *member != key);
        } else {
            conference.arriving = conference.arriving.saturating_sub(1);
        }
        if conference.occupants() == 0 {
            self.conferences.remove(&id);
        }
        if tell {
            self.tell_of_leaving(id, call);
        }
        self.roster_changed(id);
        self.chat_leg_left(key, id);
    }
}

/// A plugin's greeting, if there is one that may be sent.
pub(crate) fn usable_greeting(greeting: Option<String>) -> Option<String> {
    greeting.filter(|text| !text.is_empty() && text.len() <= MAX_TEXT)
}
