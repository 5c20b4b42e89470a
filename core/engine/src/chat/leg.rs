//! Callers are participants: they are listed, what they write is global chat, and what is chatted reaches them as
//! messages in their calls.

use cordboard_model::ConferenceId;
use cordboard_model::hook::conference::Role;

use super::command::Scope;
use super::participant::{Kind, Participant, Presence, Standing};
use super::text::chat_text;
use super::uuid::Uuid;
use crate::arena::Key;
use crate::call::Place;
use crate::conference::message::Form;
use crate::engine::Engine;

impl Engine {
    /// The participant behind a call: who waited by it, or somebody new.
    fn caller(&mut self, key: Key, id: ConferenceId) -> Option<Participant> {
        let room = self.chat_room(id)?;
        let known = room.legs.get(&key).and_then(|who| room.participants.get(who));
        if let Some(known) = known {
            return Some(known.clone());
        }
        let call = self.calls.get(key)?;
        let (name, user, role) = (call.name.clone(), call.user.clone(), call.role);
        let now = self.wire.now;
        let who = Uuid::random(self.wire.random_bytes());
        let account = self.conference_config(id).map(|config| config.account);
        let groups = account.map(|account| self.groups_of(account, user.as_deref()));
        let room = self.chat_room(id)?;
        let name = if name.trim().is_empty() {
            "Caller".to_owned()
        } else {
            name
        };
        let mut participant = Participant::new(who, Kind::Sip, name, now);
        participant.owner = user.is_some() && user == room.config.room.owner;
        if participant.owner || role == Role::Moderator {
            participant.standing = Standing::Moderator;
        }
        participant.user = user;
        participant.groups = groups.unwrap_or_default();
        Some(participant)
    }

    /// A caller has to wait until it is let in.
    pub(crate) fn chat_leg_waits(&mut self, key: Key, id: ConferenceId) {
        let (now, caller) = (self.wire.now, self.caller(key, id));
        if let Some(participant) = caller
            && let Some(room) = self.chat_room(id)
        {
            let who = participant.id;
            room.admit(participant, Presence::Held(key), now);
            self.await_admission(id, who, "in_waiting_room");
        }
    }

    /// A caller is in the conference now.
    pub(crate) fn chat_leg_joined(&mut self, key: Key, id: ConferenceId) {
        let (now, caller) = (self.wire.now, self.caller(key, id));
        let (Some(participant), Some(room)) = (caller, self.chat_room(id)) else {
            return;
        };
        let who = participant.id;
        room.admit(participant, Presence::Leg(key), now);
        let at = room.stamp(now);
        for (to, frame) in room.about(who, "joined", at) {
            self.tell_room(id, to, frame);
        }
        self.hold_back(id, key);
    }

    /// A caller has gone.
    pub(crate) fn chat_leg_left(&mut self, key: Key, id: ConferenceId) {
        let room = self.chat.rooms.get(&id);
        let caller = room.and_then(|room| room.participants.get(room.legs.get(&key)?));
        match caller.map(|caller| (caller.id, caller.is_in())) {
            Some((who, true)) => self.leave_room(id, who, "quit", false),
            Some((who, false)) => self.leave_waiting_room(id, who),
            None => {}
        }
        self.empty_room(id);
    }

    /// A caller's message was accepted and relayed to the other callers: as far as it is a text, it is chat.
    pub(crate) fn chat_from_leg(&mut self, key: Key, kind: &str, form: Form, body: &[u8]) {
        let Some(Place::Conference(id)) = self.calls.get(key).map(|call| call.place) else {
            return;
        };
        let legs = self.chat.rooms.get(&id).map(|room| &room.legs);
        let Some(who) = legs.and_then(|legs| legs.get(&key)).copied() else {
            return;
        };
        let text = chat_text(kind, form, body);
        if !text.is_empty() {
            self.count_chat("accepted");
            self.post_chat(id, who, Scope::Global, text, true);
        }
    }
}
