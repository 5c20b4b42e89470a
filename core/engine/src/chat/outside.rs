//! Messages to a conference from outside of any call in it: chat of whoever sent them.

use cordboard_model::ConferenceId;

use super::command::Scope;
use super::config::Keep;
use super::participant::{Kind, Participant};
use super::text::chat_text;
use super::uuid::Uuid;
use crate::conference::message::Form;
use crate::engine::Engine;

/// Who sends from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outsider<'a> {
    /// The URI that was proven, or that a trusted peer named.
    pub(crate) uri: &'a str,
    pub(crate) user: Option<&'a str>,
    /// The name on the message.
    pub(crate) name: &'a str,
}

impl Engine {
    /// The participant that a user is by the chat WebSocket, if it is one.
    pub(crate) fn own_chatter(&self, id: ConferenceId, user: Option<&str>) -> Option<Uuid> {
        let mut chatters = self.chatters_of(id);
        chatters
            .find(|chatter| user.is_some() && chatter.user.as_deref() == user)
            .map(|chatter| chatter.id)
    }

    /// Whether a user waits at the door of a conference, by a chat connection or a call.
    pub(crate) fn has_to_be_let_in(&self, id: ConferenceId, user: Option<&str>) -> bool {
        let room = self.chat.rooms.get(&id);
        let mut all = room.into_iter().flat_map(|room| room.participants.values());
        user.is_some() && all.any(|other| other.is_waiting() && other.user.as_deref() == user)
    }

    /// A message from outside was relayed to the callers: as far as it is a text, it is chat. Whoever is not in
    /// the room is introduced to it once, as somebody who is not there.
    pub(crate) fn chat_from_outside(
        &mut self,
        id: ConferenceId,
        outsider: Outsider<'_>,
        kind: &str,
        form: Form,
        body: &[u8],
    ) {
        let text = chat_text(kind, form, body);
        let nobody = self.config.chat.keep == Keep::WhileOccupied && !self.chat.rooms.contains_key(&id);
        if text.is_empty() || nobody {
            return;
        }
        let source = match self.own_chatter(id, outsider.user) {
            Some(who) => who,
            None => self.introduce(id, outsider),
        };
        self.count_chat("accepted");
        self.post_chat(id, source, Scope::Global, text, true);
    }

    fn introduce(&mut self, id: ConferenceId, outsider: Outsider<'_>) -> Uuid {
        let now = self.wire.now;
        let who = Uuid::of_name(&format!("{id} {}", outsider.uri));
        let Some(room) = self.chat_room(id) else {
            return who;
        };
        // An address is nobody's name here: chat clients are not told it.
        let name = match outsider.name.trim() {
            "" => "Caller".to_owned(),
            name => name.to_owned(),
        };
        if let Some(known) = room.participants.get_mut(&who) {
            known.name = name;
            return who;
        }
        let mut participant = Participant::new(who, Kind::Sip, name, now);
        participant.user = outsider.user.map(str::to_owned);
        room.participants.insert(who, participant);
        let at = room.stamp(now);
        for (to, frame) in room.about(who, "joined", at) {
            self.tell_room(id, to, frame);
        }
        self.leave_room(id, who, "quit", false);
        who
    }
}
