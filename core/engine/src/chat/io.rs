//! What the chat is told, what it asks its shell to do, and what of it is kept on disk.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use cordboard_model::{ConferenceId, Time};

use super::command::Scope;
use super::uuid::Uuid;

/// What the chat can be told. Requests and connections have numbers that the shell never uses twice.
#[derive(Debug)]
pub enum ChatInput {
    /// Somebody asks for a ticket over HTTP.
    Start(Box<StartRequest>),
    /// Somebody wants to open the chat WebSocket.
    Open {
        /// The connection that it would be.
        connection: u64,
        /// The other end.
        source: IpAddr,
        /// Whether it is inside TLS.
        secure: bool,
        /// The Sec-WebSocket-Protocol headers, joined by commas; `None` where there is none.
        protocols: Option<String>,
        /// Whether the request is one that a WebSocket can begin with.
        upgradable: bool,
    },
    /// A text or binary frame has come.
    Frame {
        /// The connection.
        connection: u64,
        /// The frame's payload, defragmented.
        frame: Bytes,
    },
    /// A connection is gone; nothing can be sent on it any more.
    Closed {
        /// The connection.
        connection: u64,
        /// How it went.
        departure: Departure,
    },
}

/// A request for a ticket: `POST /v1/rooms/{room_id}/start` or `.../start_invited`.
#[derive(Debug)]
pub struct StartRequest {
    /// Comes back with the answer.
    pub request: u64,
    /// Where it comes from.
    pub source: IpAddr,
    /// The room's id as it stands in the path.
    pub room: String,
    /// How the caller proves who it is.
    pub proof: Proof,
    /// The body.
    pub body: Bytes,
}

/// How somebody who asks for a ticket proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By a user's token: its SHA-256.
    Token([u8; 32]),
    /// By a token, but none was sent.
    NoToken,
    /// By the invite code in the body.
    Invitation,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The client closed it.
    Quit,
    /// It broke, fell silent, or the client says that it goes away for a moment (1001).
    Lost,
}

/// What the chat asks its shell to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatOutput {
    /// Answer a request for a ticket.
    Answer {
        /// The request.
        request: u64,
        /// The HTTP status.
        status: u16,
        /// The body, JSON.
        body: Bytes,
    },
    /// The WebSocket may open.
    Opened {
        /// The connection.
        connection: u64,
        /// The subprotocol that was chosen.
        protocol: &'static str,
    },
    /// It may not.
    Refused {
        /// The connection that it would have been.
        connection: u64,
        /// The HTTP status.
        status: u16,
        /// The body, JSON.
        body: Bytes,
    },
    /// Send a text frame to each of these connections.
    Send {
        /// The connections.
        to: Arc<[u64]>,
        /// The frame's payload: UTF-8.
        frame: Bytes,
    },
    /// Close a connection after what was sent on it.
    Close {
        /// The connection.
        connection: u64,
        /// The WebSocket close code.
        code: u16,
        /// For people.
        reason: &'static str,
    },
}

/// A message as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its id.
    pub id: Uuid,
    /// The participant who wrote it.
    pub source: Uuid,
    /// When it was taken; strictly increasing within a room.
    pub at: Time,
    /// Whom it is for.
    pub scope: Scope,
    /// The text.
    pub content: String,
}

/// A room as it is kept on disk, without its messages and people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoom {
    /// The room, which is the conference.
    pub id: ConferenceId,
    /// Whether one may write.
    pub enabled: bool,
    /// Whether there is a waiting room.
    pub waiting_room: bool,
    /// Whether hands may be raised.
    pub raise_hands: bool,
    /// Users who may not come back while the room lives, sorted.
    pub banned: Vec<String>,
}

/// A participant as it is kept on disk: whom messages are from, and who may come back.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredParticipant {
    /// The participant.
    pub id: Uuid,
    /// `user`, `guest` or `sip`.
    pub kind: String,
    /// The user behind it, where one was proven.
    pub user: Option<String>,
    /// The name shown to others.
    pub name: String,
    /// `guest`, `user` or `moderator`.
    pub role: String,
    /// When it joined last.
    pub joined: Time,
    /// When it left, if it has.
    pub left: Option<Time>,
    /// SHA-256 of the token by which it may come back.
    pub resumption: Option<[u8; 32]>,
    /// What it has seen, as JSON.
    pub last_seen: String,
}

impl std::fmt::Debug for StoredParticipant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredParticipant")
            .field("id", &self.id)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// A change of what is kept of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatWrite {
    /// The room is as this says.
    Room(StoredRoom),
    /// A new message.
    Message {
        /// The room.
        room: ConferenceId,
        /// The message.
        message: Arc<StoredMessage>,
    },
    /// A message, known by its id and its date, has another text; nothing, if it is not there any more.
    EditMessage {
        /// The room.
        room: ConferenceId,
        /// The message as it is now.
        message: Arc<StoredMessage>,
    },
    /// A message is deleted.
    DeleteMessage {
        /// The room.
        room: ConferenceId,
        /// The message.
        id: Uuid,
    },
    /// All global messages up to this moment are deleted.
    ClearGlobal {
        /// The room.
        room: ConferenceId,
        /// The last that goes.
        until: Time,
    },
    /// All messages up to this moment are too old or too many.
    ForgetMessages {
        /// The room.
        room: ConferenceId,
        /// The last that goes.
        until: Time,
    },
    /// A group's messages up to this moment are deleted.
    ForgetGroup {
        /// The room.
        room: ConferenceId,
        /// The group.
        group: String,
        /// The last that goes.
        until: Time,
    },
    /// A participant, new or changed.
    Participant {
        /// The room.
        room: ConferenceId,
        /// The participant.
        participant: Box<StoredParticipant>,
    },
    /// A participant of long ago.
    ForgetParticipant {
        /// The room.
        room: ConferenceId,
        /// The participant.
        id: Uuid,
    },
    /// Nothing of the room is kept any more.
    ForgetRoom {
        /// The room.
        room: ConferenceId,
    },
}

impl ChatWrite {
    /// The room that it is about.
    pub(crate) const fn room(&self) -> ConferenceId {
        match self {
            Self::Room(state) => state.id,
            Self::Message { room, .. }
            | Self::EditMessage { room, .. }
            | Self::DeleteMessage { room, .. }
            | Self::ClearGlobal { room, .. }
            | Self::ForgetMessages { room, .. }
            | Self::ForgetGroup { room, .. }
            | Self::Participant { room, .. }
            | Self::ForgetParticipant { room, .. }
            | Self::ForgetRoom { room } => *room,
        }
    }
}

/// All that was kept of one room, for [`Engine::load_chat`](crate::Engine::load_chat).
#[derive(Debug, Clone)]
pub struct KeptRoom {
    /// The room.
    pub room: StoredRoom,
    /// Its people.
    pub participants: Vec<StoredParticipant>,
    /// Its messages, oldest first.
    pub messages: Vec<StoredMessage>,
}
