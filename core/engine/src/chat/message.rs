//! A chat message: checked, shown to the plugins once, stored, delivered.

use std::sync::Arc;

use bytes::Bytes;
use cordboard_model::hook::message::{Audience, MessageAsk, MessageVerdict};
use cordboard_model::{Ask, ConferenceId};
use serde_json::json;

use super::command::Scope;
use super::door::Speaker;
use super::frame::{event, message_edited, message_sent};
use super::io::{ChatWrite, StoredMessage};
use super::ledger::{Delivery, Effect};
use super::participant::Participant;
use super::uuid::Uuid;
use crate::engine::{Engine, Subject};

/// The longest text, in bytes; what is beyond is cut off.
const LONGEST: usize = 4096;
/// What plugins are told that a chat message is.
const TEXT: &str = "text/plain;charset=utf-8";

/// A text whose verdict is awaited: a new message, or what an old one is to say.
#[derive(Debug)]
pub(crate) struct PendingChat {
    pub(super) connection: u64,
    pub(super) scope: Scope,
    pub(super) content: String,
    /// The message that it is a new text of.
    pub(super) amends: Option<Uuid>,
}

/// A text as it is taken: cut where a character begins.
pub(super) fn cut(mut content: String) -> String {
    content.truncate(content.floor_char_boundary(LONGEST));
    content
}

impl Engine {
    pub(super) fn send_chat(&mut self, speaker: Speaker, scope: Scope, content: String) {
        if content.is_empty() {
            return self.count_chat("empty");
        }
        if !self.may_write(speaker, &scope) {
            return;
        }
        self.filter_chat(
            speaker,
            PendingChat {
                connection: speaker.connection,
                scope,
                content: cut(content),
                amends: None,
            },
        );
    }

    /// Whether somebody may write there now; why not is said or counted.
    fn may_write(&mut self, speaker: Speaker, scope: &Scope) -> bool {
        let Some(room) = self.chat.rooms.get(&speaker.room) else {
            return false;
        };
        let Some(sender) = room.present(speaker.participant) else {
            self.chat_dropped("not_joined");
            return false;
        };
        if !room.enabled {
            self.count_chat("disabled");
            self.refuse_command(speaker.connection, "chat", "chat_disabled");
            return false;
        }
        if let Scope::Group(name) = scope
            && !sender.in_group(name)
        {
            self.count_chat("foreign_group");
            return false;
        }
        true
    }

    /// Shows a text to the plugins; the sender's next commands wait for their verdict.
    pub(super) fn filter_chat(&mut self, speaker: Speaker, pending: PendingChat) {
        let Some(rule) = self.config.hooks.message_filter else {
            return self.chat_decided(pending, MessageVerdict::Pass);
        };
        let ask = self.chat_ask(speaker, &pending);
        let ticket = self.ticket();
        if let Some(connection) = self.chat.connections.get_mut(&speaker.connection) {
            connection.asking = Some(ticket);
        }
        self.ask(ticket, rule, Ask::Message(ask), Subject::Chat(Box::new(pending)));
    }

    fn chat_ask(&self, speaker: Speaker, pending: &PendingChat) -> MessageAsk {
        let room = self.chat.rooms.get(&speaker.room);
        let sender = room.and_then(|room| room.participants.get(&speaker.participant));
        let transport = self
            .chat
            .connections
            .get(&speaker.connection)
            .map_or("ws", |connection| connection.transport);
        MessageAsk {
            conference: Some(self.view(speaker.room)),
            user: sender.and_then(|sender| sender.user.clone()),
            display_name: sender.map(|sender| sender.name.clone()).unwrap_or_default(),
            transport,
            audience: match &pending.scope {
                Scope::Global => Audience::Everybody,
                Scope::Group(name) => Audience::Group(name.clone()),
                Scope::Private(target) => Audience::One(Some(target.to_string())),
            },
            content_type: TEXT.into(),
            body: Bytes::copy_from_slice(pending.content.as_bytes()),
        }
    }

    /// The plugins have spoken; the sender's next commands may be taken after this one.
    pub(crate) fn chat_decided(&mut self, pending: PendingChat, verdict: MessageVerdict) {
        let number = pending.connection;
        let asked = match self.chat.connections.get_mut(&number) {
            Some(connection) => connection.asking.take().is_some(),
            None => {
                self.wire.counts.stale_verdicts += 1;
                return;
            }
        };
        if let Some(speaker) = self.speaker(number) {
            self.apply_chat_verdict(speaker, pending, verdict);
        }
        if asked {
            self.work_off(number);
        }
    }

    fn apply_chat_verdict(&mut self, speaker: Speaker, pending: PendingChat, verdict: MessageVerdict) {
        // A moderator may have been faster.
        if !self.may_write(speaker, &pending.scope) {
            return;
        }
        let PendingChat {
            scope,
            content,
            amends,
            ..
        } = pending;
        match verdict {
            MessageVerdict::Pass => {
                self.count_chat("accepted");
                self.write_down(speaker, scope, content, amends);
            }
            MessageVerdict::Rewrite(new) => {
                let new = new.body.map(|body| String::from_utf8_lossy(&body).into_owned());
                let content = cut(new.unwrap_or(content));
                if content.is_empty() {
                    return self.count_chat("dropped");
                }
                self.count_chat("rewritten");
                self.write_down(speaker, scope, content, amends);
            }
            // The sender sees what it sees when all is well; nobody else does, and nothing is kept.
            MessageVerdict::Drop => {
                self.count_chat("dropped");
                match amends {
                    Some(id) => {
                        let by = speaker.participant;
                        self.say_to(speaker.connection, |at| message_edited(at, id, by, &content));
                    }
                    None => self.echo_chat(speaker, scope, speaker.participant, content),
                }
            }
            MessageVerdict::Reply { body, .. } => {
                self.count_chat("replied");
                let text = cut(String::from_utf8_lossy(&body).into_owned());
                self.echo_chat(speaker, scope, Uuid(0), text);
            }
            MessageVerdict::Reject { reason, .. } => {
                self.count_chat("rejected");
                let why = json!({ "error": "insufficient_permissions", "text": reason });
                self.say_to(speaker.connection, |at| event("chat", at, "error", why));
            }
        }
    }

    /// What the plugins let pass: a message, or the new text of one.
    fn write_down(&mut self, speaker: Speaker, scope: Scope, content: String, amends: Option<Uuid>) {
        match amends {
            Some(id) => self.amend_chat(speaker, id, Some(content)),
            None => self.post_chat(speaker.room, speaker.participant, scope, content, false),
        }
    }

    /// A message for one alone: its sender's own, or one of nobody's (a `source` of 0).
    pub(super) fn echo_chat(&mut self, speaker: Speaker, scope: Scope, source: Uuid, content: String) {
        let id = Uuid::random(self.wire.random_bytes());
        self.say_to(speaker.connection, |at| {
            message_sent(&StoredMessage {
                id,
                source,
                at,
                scope,
                content,
            })
        });
    }

    /// A message that is accepted: to the store, and from there to those whom it is for; `relayed`: the calls
    /// have it already, as it was.
    pub(super) fn post_chat(
        &mut self,
        id: ConferenceId,
        source: Uuid,
        scope: Scope,
        content: String,
        relayed: bool,
    ) {
        let now = self.wire.now;
        let message = Uuid::random(self.wire.random_bytes());
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let at = room.stamp(now);
        let hears = |other: &Participant| match &scope {
            Scope::Global => true,
            Scope::Group(name) => other.in_group(name),
            Scope::Private(target) => other.id == *target || other.id == source,
        };
        let sender = room.participants.get(&source);
        let name = sender.map(|sender| sender.name.clone()).unwrap_or_default();
        let legs = match relayed {
            true => Vec::new(),
            false => room.legs_of(hears),
        };
        let to = match &scope {
            Scope::Global => room.everyone(),
            _ => room.those(hears),
        };
        let unknown_author = room
            .participants
            .get_mut(&source)
            .filter(|sender| !sender.kept)
            .map(|sender| {
                sender.kept = true;
                sender.write(id)
            });
        let message = Arc::new(StoredMessage {
            id: message,
            source,
            at,
            scope,
            content,
        });
        let delivery = Delivery {
            message: Arc::clone(&message),
            to,
            legs,
            name,
            accepted: now,
            count: !relayed,
        };
        if let Some(write) = unknown_author {
            self.keep_chat(id, write);
        }
        let write = ChatWrite::Message { room: id, message };
        self.enter_ledger(id, Some(write), Effect::Message(Box::new(delivery)));
    }

    pub(super) fn count_chat(&mut self, outcome: &'static str) {
        *self
            .wire
            .counts
            .messages
            .entry(("in", "chat", outcome))
            .or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_a_character_begins() {
        for (before, length) in [
            ("x".repeat(4096), 4096),
            ("x".repeat(4097), 4096),
            ("x".repeat(4095) + "äö", 4095),
            ("ä".repeat(3000), 4096),
            ("x".to_owned() + &"\u{1f600}".repeat(2000), 4093),
        ] {
            let after = cut(before.clone());
            assert_eq!(after.len(), length);
            assert!(before.starts_with(&after));
        }
    }
}
