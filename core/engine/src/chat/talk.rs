//! Namespace `chat`, but for sending: switching it on and off, clearing, reading, and changing what was said.

use std::sync::Arc;

use serde_json::json;

use super::command::{Chat, Scope};
use super::door::Speaker;
use super::frame::{event, message_edited};
use super::io::{ChatWrite, StoredMessage};
use super::ledger::{Effect, Question};
use super::message::{PendingChat, cut};
use super::participant::Participant;
use super::uuid::Uuid;
use crate::engine::Engine;

/// The shortest term that is searched for, in characters.
const TERM: usize = 2;

impl Engine {
    pub(super) fn on_chat_command(&mut self, speaker: Speaker, command: Chat) {
        match command {
            Chat::SendMessage { content, to } => self.send_chat(speaker, to.scope(), content),
            Chat::SetLastSeenTimestamp { timestamp, to } => self.see(speaker, to.scope(), timestamp.0),
            Chat::Enable => self.switch_chat(speaker, true),
            Chat::Disable => self.switch_chat(speaker, false),
            Chat::ClearHistory => self.clear_chat(speaker),
            Chat::GetHistoryChunk { message_index, to } => {
                self.read_chat(speaker, to.scope(), None, Some(message_index));
            }
            Chat::SearchHistory {
                term,
                message_index,
                to,
            } => {
                if term.chars().count() < TERM {
                    let why = json!({ "error": "invalid_search_term_length", "min": TERM });
                    return self.say_to(speaker.connection, |at| event("chat", at, "error", why));
                }
                self.read_chat(speaker, to.scope(), Some(term), message_index);
            }
            Chat::EditMessage { id, content } => self.edit_chat(speaker, id, content),
            Chat::DeleteMessage { id } => self.amend_chat(speaker, id, None),
        }
    }

    fn switch_chat(&mut self, speaker: Speaker, enabled: bool) {
        if !self.moderates(speaker) {
            return self.refuse_command(speaker.connection, "chat", "insufficient_permissions");
        }
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&speaker.room) else {
            return;
        };
        room.enabled = enabled;
        let (at, to, write) = (room.stamp(now), room.everyone(), room.write());
        let message = if enabled { "chat_enabled" } else { "chat_disabled" };
        let frame = event("chat", at, message, json!({ "issued_by": speaker.participant }));
        self.enter_ledger(speaker.room, Some(write), Effect::Send { to, frame });
    }

    fn clear_chat(&mut self, speaker: Speaker) {
        if !self.moderates(speaker) {
            return self.refuse_command(speaker.connection, "chat", "insufficient_permissions");
        }
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&speaker.room) else {
            return;
        };
        let (at, to) = (room.stamp(now), room.everyone());
        let write = ChatWrite::ClearGlobal {
            room: speaker.room,
            until: at,
        };
        let issued = json!({ "issued_by": speaker.participant });
        let frame = event("chat", at, "history_cleared", issued);
        self.enter_ledger(speaker.room, Some(write), Effect::Clear { to, frame });
    }

    fn read_chat(&mut self, speaker: Speaker, scope: Scope, term: Option<String>, index: Option<u64>) {
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&speaker.room) else {
            return;
        };
        let reader = room.present(speaker.participant);
        if let Scope::Group(name) = &scope
            && !reader.is_some_and(|reader| reader.in_group(name))
        {
            return self.chat_dropped("foreign_group");
        }
        let question = Question {
            connection: speaker.connection,
            reader: speaker.participant,
            scope,
            at: room.stamp(now),
            term,
            index,
        };
        self.enter_ledger(speaker.room, None, Effect::Read(Box::new(question)));
    }

    /// A message is to have another text, which the plugins see like a new message; an empty one deletes it.
    fn edit_chat(&mut self, speaker: Speaker, message: Uuid, content: String) {
        let content = cut(content);
        match self.amendable(speaker, message, Some(&content)) {
            Err(why) => self.refuse_command(speaker.connection, "chat", why),
            Ok(_) if content.is_empty() => self.amend_chat(speaker, message, None),
            Ok(old) => self.filter_chat(
                speaker,
                PendingChat {
                    connection: speaker.connection,
                    scope: old.scope.clone(),
                    content,
                    amends: Some(message),
                },
            ),
        }
    }

    /// A message as it is, if who speaks may delete it, or give it this text; else why not.
    fn amendable(
        &self,
        speaker: Speaker,
        message: Uuid,
        content: Option<&str>,
    ) -> Result<Arc<StoredMessage>, &'static str> {
        let room = self.chat.rooms.get(&speaker.room);
        let old = room.and_then(|room| Some((room, room.history.find(message)?)));
        let Some((room, old)) = old else {
            return Err("unknown_message");
        };
        let by_author = old.source == speaker.participant;
        // A moderator takes things away, but puts no words into anybody's mouth; and nobody reaches into a
        // conversation that is not his.
        let in_sight = match &old.scope {
            Scope::Global => true,
            Scope::Group(name) => room
                .present(speaker.participant)
                .is_some_and(|moderator| moderator.in_group(name)),
            Scope::Private(target) => *target == speaker.participant,
        };
        if !(by_author || self.moderates(speaker) && in_sight && content.is_none()) {
            return Err("insufficient_permissions");
        }
        if content.is_some_and(|content| !content.is_empty()) && !room.enabled {
            return Err("chat_disabled");
        }
        Ok(Arc::clone(old))
    }

    /// Deletes a message, or gives it another text: by its author, or by a moderator. An extension of ours:
    /// clients that do not know the events ignore them.
    pub(super) fn amend_chat(&mut self, speaker: Speaker, message: Uuid, content: Option<String>) {
        let old = match self.amendable(speaker, message, content.as_deref()) {
            Ok(old) => old,
            Err(why) => return self.refuse_command(speaker.connection, "chat", why),
        };
        let (id, by, now) = (speaker.room, speaker.participant, self.wire.now);
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let at = room.stamp(now);
        let audience = |other: &Participant| match &old.scope {
            Scope::Global => true,
            Scope::Group(name) => other.in_group(name),
            Scope::Private(target) => other.id == *target || other.id == old.source,
        };
        let to = room.those(audience);
        let new = content.map(|content| {
            Arc::new(StoredMessage {
                content,
                ..StoredMessage::clone(&old)
            })
        });
        let (frame, write) = match &new {
            Some(new) => (
                message_edited(at, message, by, &new.content),
                ChatWrite::EditMessage {
                    room: id,
                    message: Arc::clone(new),
                },
            ),
            None => (
                event(
                    "chat",
                    at,
                    "message_deleted",
                    json!({ "id": message, "issued_by": by }),
                ),
                ChatWrite::DeleteMessage {
                    room: id,
                    id: message,
                },
            ),
        };
        let effect = Effect::Amend {
            id: message,
            new,
            to,
            frame,
        };
        self.enter_ledger(id, Some(write), effect);
    }
}
