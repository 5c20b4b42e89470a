//! What a room says, in one order for everybody: what must be on disk first waits for its commit, and what comes
//! after it waits behind it.
//!
//! Who hears something is settled when it is said, what a joiner reads of the past when its turn comes: so
//! nothing is both missing from a history and not delivered, and nothing comes twice.

use std::sync::Arc;

use bytes::Bytes;
use cordboard_model::{ConferenceId, Ticket, Time};
use serde_json::Value;

use super::command::Scope;
use super::frame::{enveloped, event, message_sent};
use super::history::View;
use super::io::{ChatOutput, ChatWrite, StoredMessage};
use super::room::Room;
use super::uuid::Uuid;
use crate::arena::Key;
use crate::engine::Engine;
use crate::io::{Output, StoreWrite};

/// What a write is about, as far as it has to be repeated where it is lost: the messages after it are worth
/// nothing without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// The room itself.
    Room,
    /// One of its people.
    Participant(Uuid),
    /// Anything else; whoever waits for it is told nothing.
    Other,
}

impl Row {
    fn of(write: &ChatWrite) -> Self {
        match write {
            ChatWrite::Room(_) => Self::Room,
            ChatWrite::Participant { participant, .. } => Self::Participant(participant.id),
            _ => Self::Other,
        }
    }
}

/// Something that a room has to say or do.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The write that must be safe before.
    waits: Option<Ticket>,
    effect: Effect,
}

/// What it is.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Nothing any more: its write failed.
    Void,
    /// A frame for these connections.
    Send { to: Arc<[u64]>, frame: Bytes },
    /// The connection is closed.
    Close {
        connection: u64,
        code: u16,
        reason: &'static str,
    },
    /// A message becomes part of the history and is delivered.
    Message(Box<Delivery>),
    /// The global history is deleted, and everybody told.
    Clear { to: Arc<[u64]>, frame: Bytes },
    /// A message is deleted, or has a new text.
    Amend {
        id: Uuid,
        new: Option<Arc<StoredMessage>>,
        to: Arc<[u64]>,
        frame: Bytes,
    },
    /// A group's history up to this moment is deleted.
    ForgetGroup { group: String, until: Time },
    /// A joiner is told that it is in, and what was said before.
    Welcome(Box<Welcome>),
    /// A part of a history, or what was found in it.
    Read(Box<Question>),
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<StoredMessage>,
    pub(crate) to: Arc<[u64]>,
    /// The calls that get it as a text, sorted.
    pub(crate) legs: Vec<Key>,
    /// The sender's name, for calls.
    pub(crate) name: String,
    /// When it was taken.
    pub(crate) accepted: Time,
    /// Whether its fan-out is counted here; that of a caller's message is by the call.
    pub(crate) count: bool,
}

/// A `join_success` but for the histories.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) connection: u64,
    pub(crate) participant: Uuid,
    pub(crate) at: Time,
    pub(crate) groups: Vec<String>,
    pub(crate) control: Value,
    pub(crate) chat: Value,
}

/// Somebody asks for a part of a history.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) connection: u64,
    pub(crate) reader: Uuid,
    pub(crate) scope: Scope,
    pub(crate) at: Time,
    /// What is searched for, if something is.
    pub(crate) term: Option<String>,
    pub(crate) index: Option<u64>,
}

impl Engine {
    /// Puts something into a room's ledger; with a write, it waits for the commit.
    pub(crate) fn enter_ledger(&mut self, id: ConferenceId, write: Option<ChatWrite>, effect: Effect) {
        let waits = write.map(|write| self.keep_chat(id, write));
        if let Some(room) = self.chat.rooms.get_mut(&id) {
            room.ledger.push_back(Entry { waits, effect });
        }
        self.settle_ledger(id);
    }

    /// Says something to some of a room.
    pub(crate) fn tell_room(&mut self, id: ConferenceId, to: Arc<[u64]>, frame: Bytes) {
        if !to.is_empty() {
            self.enter_ledger(id, None, Effect::Send { to, frame });
        }
    }

    /// Closes a connection after all that was said to it before.
    pub(crate) fn show_out(&mut self, id: ConferenceId, connection: u64, reason: &'static str) {
        let code = 1000;
        if !self.chat.rooms.contains_key(&id) {
            // The room went with its last participant, and had nothing left to say.
            return self.chat_out(ChatOutput::Close {
                connection,
                code,
                reason,
            });
        }
        let effect = Effect::Close {
            connection,
            code,
            reason,
        };
        self.enter_ledger(id, None, effect);
    }

    /// Writes to the store. The room, and who may come back to it, is on disk before anything else of it; what of
    /// that was lost to a failed commit is written once more.
    pub(crate) fn keep_chat(&mut self, id: ConferenceId, write: ChatWrite) -> Ticket {
        let first = self.chat.rooms.get_mut(&id).map(Room::unwritten);
        for first in first.unwrap_or_default() {
            self.write_chat(first);
        }
        self.write_chat(write)
    }

    /// Writes to the store what nobody waits for.
    pub(crate) fn write_chat(&mut self, write: ChatWrite) -> Ticket {
        let ticket = self.ticket();
        self.chat.waits.insert(ticket, (write.room(), Row::of(&write)));
        let write = StoreWrite::Chat(write);
        self.wire.out.push_back(Output::Store { ticket, write });
        ticket
    }

    /// A write is safe, or lost; whether it was one of the chat's.
    pub(crate) fn chat_stored(&mut self, ticket: Ticket, ok: bool) -> bool {
        let Some((id, row)) = self.chat.waits.remove(&ticket) else {
            return false;
        };
        if !ok {
            self.chat_dropped("not_stored");
        }
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return true;
        };
        if !ok {
            room.lost(row);
        }
        if let Some(entry) = room.ledger.iter_mut().find(|entry| entry.waits == Some(ticket)) {
            entry.waits = None;
            // What was to be remembered is not; what only tells is told all the same.
            let lost = matches!(
                entry.effect,
                Effect::Message(_) | Effect::Clear { .. } | Effect::Amend { .. }
            );
            if !ok && lost {
                entry.effect = Effect::Void;
            }
        }
        self.settle_ledger(id);
        true
    }

    /// Does what nothing stands in the way of.
    fn settle_ledger(&mut self, id: ConferenceId) {
        while let Some(room) = self.chat.rooms.get_mut(&id)
            && room.ledger.front().is_some_and(|entry| entry.waits.is_none())
            && let Some(entry) = room.ledger.pop_front()
        {
            self.take_effect(id, entry.effect);
        }
        if self
            .chat
            .rooms
            .get(&id)
            .is_some_and(|room| room.ledger.is_empty())
        {
            self.empty_room(id);
        }
    }

    fn take_effect(&mut self, id: ConferenceId, effect: Effect) {
        match effect {
            Effect::Void => {}
            Effect::Send { to, frame } => self.chat_out(ChatOutput::Send { to, frame }),
            Effect::Close {
                connection,
                code,
                reason,
            } => self.chat_out(ChatOutput::Close {
                connection,
                code,
                reason,
            }),
            Effect::Message(delivery) => self.deliver_chat(id, *delivery),
            Effect::Clear { to, frame } => {
                if let Some(room) = self.chat.rooms.get_mut(&id) {
                    room.history.clear_global();
                }
                self.chat_out(ChatOutput::Send { to, frame });
            }
            Effect::Amend {
                id: message,
                new,
                to,
                frame,
            } => {
                let room = self.chat.rooms.get_mut(&id);
                let changed = room.is_some_and(|room| match new {
                    Some(new) => room.history.replace(new),
                    None => room.history.delete(message),
                });
                // What went before has neither a new text nor a second end.
                if changed {
                    self.chat_out(ChatOutput::Send { to, frame });
                }
            }
            Effect::ForgetGroup { group, until } => {
                if let Some(room) = self.chat.rooms.get_mut(&id)
                    && room.history.clear_group(&group, until)
                {
                    let write = ChatWrite::ForgetGroup {
                        room: id,
                        group,
                        until,
                    };
                    self.write_chat(write);
                }
            }
            Effect::Welcome(welcome) => self.welcome_client(id, *welcome),
            Effect::Read(question) => self.answer_question(id, *question),
        }
    }

    pub(crate) fn chat_out(&mut self, output: ChatOutput) {
        self.wire.out.push_back(Output::Chat(output));
    }

    fn deliver_chat(&mut self, id: ConferenceId, delivery: Delivery) {
        let most = self.config.chat.history;
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let gone = room.history.add(Arc::clone(&delivery.message), most);
        if let Some(until) = gone {
            self.write_chat(ChatWrite::ForgetMessages { room: id, until });
        }
        let copies = delivery.to.len() + delivery.legs.len();
        if !delivery.to.is_empty() {
            let frame = message_sent(&delivery.message);
            self.chat_out(ChatOutput::Send {
                to: delivery.to,
                frame,
            });
        }
        if !delivery.legs.is_empty() {
            let (name, text) = (&delivery.name, &delivery.message.content);
            self.chat_copies(id, name, text, |leg, _| delivery.legs.binary_search(&leg).is_ok());
        }
        if delivery.count {
            self.wire.counts.recipients.record(copies as f64);
            let seconds = self.wire.now.since(delivery.accepted).as_secs_f64();
            self.wire.counts.fanout("chat", seconds);
        }
    }

    fn welcome_client(&mut self, id: ConferenceId, welcome: Welcome) {
        let Some(room) = self.chat.rooms.get(&id) else {
            return;
        };
        let mut chat = room.history.of_joiner(welcome.participant, &welcome.groups);
        if let (Some(chat), Value::Object(more)) = (chat.as_object_mut(), welcome.chat) {
            chat.extend(more);
        }
        // The same state under both names, written once.
        let chat = chat.to_string();
        let mut payload = welcome.control.to_string();
        payload.pop();
        payload.push_str(&format!(",\"chat\":{chat},\"module_data\":{{\"chat\":{chat}}}}}"));
        let frame = enveloped("control", welcome.at, &payload);
        self.chat_out(ChatOutput::Send {
            to: [welcome.connection].into(),
            frame,
        });
    }

    fn answer_question(&mut self, id: ConferenceId, question: Question) {
        let Some(room) = self.chat.rooms.get(&id) else {
            return;
        };
        let view = View::of(question.reader, &question.scope);
        let chunk = room.history.chunk(view, question.term.as_deref(), question.index);
        let (message, answer) = if question.term.is_some() {
            let mut answer = serde_json::json!({ "matches": chunk, "scope": question.scope.name() });
            if let Some(target) = question.scope.target() {
                answer["target"] = target.into();
            }
            ("search_results", answer)
        } else {
            match &question.scope {
                Scope::Global => ("room_chat_history_chunk", serde_json::json!({ "history": chunk })),
                Scope::Group(name) => (
                    "group_chat_history_chunk",
                    serde_json::json!({ "id": Uuid::of_name(name), "name": name, "history": chunk }),
                ),
                Scope::Private(other) => (
                    "private_chat_history_chunk",
                    serde_json::json!({ "correspondent": other, "history": chunk }),
                ),
            }
        };
        let frame = event("chat", question.at, message, answer);
        self.chat_out(ChatOutput::Send {
            to: [question.connection].into(),
            frame,
        });
    }
}
