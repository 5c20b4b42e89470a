//! Chat in conferences over WebSocket: rooms, people, messages, moderation.
//!
//! A conference is a room. Callers are participants of it like those who come by the chat WebSocket; what
//! callers write is global chat there, and the other way round (`leg`). Everything that a room says goes
//! through its `ledger`, so that all hear it in one order and nothing is told before it is on disk.

pub(crate) mod command;
pub mod config;
mod control;
mod door;
mod frame;
mod history;
pub mod io;
mod join;
mod keep;
mod ledger;
mod leg;
mod livekit;
mod message;
mod moderation;
mod outside;
mod page;
mod participant;
mod policy;
mod refusal;
mod rfc3339;
mod room;
mod start;
mod talk;
mod text;
mod ticket;
mod uuid;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use cordboard_model::{AccountId, ConferenceId, Ticket, Time};

pub use command::Scope;
pub(crate) use message::PendingChat;
pub(crate) use outside::Outsider;
pub(crate) use participant::Participant;
pub(crate) use policy::PendingJoin;
pub use uuid::Uuid;

use self::io::{ChatInput, Departure};
use self::ledger::Row;
use self::room::Room;
use self::ticket::{Resumptions, Tickets};
use crate::counts::ChatGauges;
use crate::engine::Engine;

/// Who somebody has proven to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    User { account: AccountId, username: String },
    Guest,
}

impl Principal {
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::User { username, .. } => Some(username),
            Self::Guest => None,
        }
    }
}

/// What waits for its turn on a connection.
#[derive(Debug)]
enum Waiting {
    Frame(Bytes),
    Closed(Departure),
}

/// A chat connection.
#[derive(Debug)]
pub(crate) struct Connection {
    room: ConferenceId,
    participant: Uuid,
    principal: Principal,
    /// SHA-256 of the token by which its participant may come back.
    resumption: [u8; 32],
    source: IpAddr,
    transport: &'static str,
    /// Frames per second: what is left of the allowance, and when it was counted.
    allowance: (f64, Time),
    /// Its join, or a message of it, whose verdict is awaited.
    asking: Option<Ticket>,
    /// What came after that message, or too fast.
    backlog: VecDeque<Waiting>,
    /// A timer will look at the backlog.
    woken: bool,
}

/// All of the chat.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    rooms: BTreeMap<ConferenceId, Room>,
    connections: BTreeMap<u64, Connection>,
    sources: HashMap<IpAddr, usize>,
    tickets: Tickets,
    resumptions: Resumptions,
    /// The writes that are on their way: of which room, and of what in it.
    waits: HashMap<Ticket, (ConferenceId, Row)>,
}

impl Chat {
    pub(crate) fn gauges(&self) -> ChatGauges {
        ChatGauges {
            connections: self.connections.len(),
            participants: self.rooms.values().map(Room::chatters).sum(),
            rooms: self.rooms.len(),
            messages: self.rooms.values().map(|room| room.history.len()).sum(),
            waiting: self.waits.len(),
        }
    }
}

impl Engine {
    pub(crate) fn on_chat(&mut self, input: ChatInput) {
        match input {
            ChatInput::Start(request) => self.on_chat_start(&request),
            ChatInput::Open {
                connection,
                source,
                secure,
                protocols,
                upgradable,
            } => {
                let wish = door::Wish {
                    connection,
                    source,
                    secure,
                    upgradable,
                };
                self.on_chat_open(&wish, protocols.as_deref());
            }
            ChatInput::Frame { connection, frame } => self.on_chat_frame(connection, frame),
            ChatInput::Closed {
                connection,
                departure,
            } => self.on_chat_closed(connection, departure),
        }
    }

    /// The room of a conference, made if it is not there; `None` if there is no such conference.
    pub(crate) fn chat_room(&mut self, id: ConferenceId) -> Option<&mut Room> {
        if !self.chat.rooms.contains_key(&id) {
            let alive = self.conferences.get(&id).map(|conference| &conference.config);
            let config = Arc::clone(alive.or_else(|| self.directory.conference(id))?);
            self.chat.rooms.insert(id, Room::new(config, self.wire.now));
        }
        self.chat.rooms.get_mut(&id)
    }

    /// How many take part in a conference by a chat connection.
    pub(crate) fn chatters(&self, id: ConferenceId) -> usize {
        self.chat.rooms.get(&id).map_or(0, Room::chatters)
    }

    /// How many conferences have participants by chat connection and none by call.
    pub(crate) fn chat_conferences(&self) -> usize {
        let rooms = self.chat.rooms.iter();
        rooms
            .filter(|(id, room)| !self.conferences.contains_key(id) && room.chatters() > 0)
            .count()
    }

    /// They themselves.
    pub(crate) fn chatters_of(&self, id: ConferenceId) -> impl Iterator<Item = &Participant> {
        let room = self.chat.rooms.get(&id);
        let all = room.into_iter().flat_map(|room| room.participants.values());
        all.filter(|participant| participant.connection().is_some())
    }

    /// Somebody who is known in a room.
    pub(crate) fn chatter(&self, id: ConferenceId, who: Uuid) -> Option<&Participant> {
        self.chat.rooms.get(&id)?.participants.get(&who)
    }

    /// Whether all but moderators wait until they are let in.
    pub(crate) fn is_guarded(&self, id: ConferenceId) -> bool {
        match self.chat.rooms.get(&id) {
            Some(room) => room.waiting_room,
            None => self
                .conference_config(id)
                .is_some_and(|config| config.room.waiting_room),
        }
    }

    /// Whether one may write in a conference, as its moderators decided.
    pub(crate) fn chat_is_enabled(&self, id: ConferenceId) -> bool {
        self.chat.rooms.get(&id).is_none_or(|room| room.enabled)
    }

    /// Whether a user may not come into a conference.
    pub(crate) fn chat_bans(&self, id: ConferenceId, user: Option<&str>) -> bool {
        let room = self.chat.rooms.get(&id);
        room.zip(user)
            .is_some_and(|(room, user)| room.banned.contains(user))
    }

    /// Counts what was dropped.
    pub(crate) fn chat_dropped(&mut self, reason: &'static str) {
        *self.wire.counts.chat_dropped.entry(reason).or_default() += 1;
    }
}
