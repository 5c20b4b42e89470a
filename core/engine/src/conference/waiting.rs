//! Callers in the waiting room: their calls are up, but they neither hear nor are heard, are written to by nobody
//! and listed to nobody but by the chat, until a moderator lets them in.

use cordboard_model::ConferenceId;
use cordboard_model::hook::conference::Role;

use super::event::Event;
use crate::arena::Key;
use crate::call::{Place, Stage};
use crate::engine::Engine;

impl Engine {
    /// Whether a caller has to wait until a moderator lets it in. Moderators and the owner never do.
    pub(super) fn has_to_wait(&self, key: Key, id: ConferenceId) -> bool {
        let Some(call) = self.calls.get(key) else {
            return false;
        };
        let owner = self
            .conference_config(id)
            .and_then(|config| config.room.owner.as_deref());
        let owns = owner.is_some() && owner == call.user.as_deref();
        self.is_guarded(id) && call.role != Role::Moderator && !owns
    }

    /// A caller comes, and has to wait.
    pub(super) fn hold(&mut self, key: Key, id: ConferenceId) {
        self.set_aside(key, id);
        self.chat_leg_waits(key, id);
    }

    /// A participant has to wait from now on.
    pub(crate) fn send_back(&mut self, key: Key, id: ConferenceId) {
        self.talk_changed(id, key, false);
        if let Some(conference) = self.conferences.get_mut(&id) {
            conference.members.retain(|member| *member != key);
        }
        self.set_aside(key, id);
        self.tell_about(id, Event::Leave, key);
        self.roster_changed(id);
        self.others_look(key, Place::Conference(id));
        self.videos_changed(key);
        self.advance_offer(key);
    }

    fn set_aside(&mut self, key: Key, id: ConferenceId) {
        let Some(conference) = self.conferences.get_mut(&id) else {
            return;
        };
        conference.waiting.push(key);
        if let Some(call) = self.calls.get_mut(key) {
            call.seat.waits = true;
        }
        self.set_gate(key);
    }

    /// A caller who waited is a participant now.
    pub(crate) fn admit_caller(&mut self, key: Key, id: ConferenceId) {
        let Some(conference) = self.conferences.get_mut(&id) else {
            return;
        };
        conference.waiting.retain(|waiting| *waiting != key);
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.seat.waits = false;
        let up = call.stage == Stage::Up;
        self.set_gate(key);
        self.take_in(key, id);
        if up {
            self.show_around(key);
            self.advance_offer(key);
        }
    }
}
