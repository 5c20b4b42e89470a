//! How the operator wants the chat to be.

use std::time::Duration;

use cordboard_model::AccountId;

/// What holds for all rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatConfig {
    /// How long messages are kept.
    pub keep: Keep,
    /// The most messages that are kept of one room; with more, the oldest go.
    pub history: usize,
    /// The most chat connections at once.
    pub connections: usize,
    /// The most of them from one address.
    pub connections_per_source: usize,
    /// Users who may ask for a ticket, and their groups.
    pub users: Vec<ChatUser>,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self {
            keep: Keep::WhileOccupied,
            history: 10_000,
            connections: 10_000,
            connections_per_source: 2_000,
            users: Vec::new(),
        }
    }
}

/// How long a room's chat is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Until the last participant has left.
    WhileOccupied,
    /// Each message for so long, whether somebody is there or not.
    For(Duration),
    /// For ever.
    Forever,
}

/// A user, as far as chat is concerned.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatUser {
    /// The account.
    pub account: AccountId,
    /// The user name, which is also the owner of the user's SIP credentials.
    pub username: String,
    /// The name shown to others where the client gives none.
    pub display_name: String,
    /// SHA-256 of the token that opens rooms; `None`: the user gets no tickets.
    pub token: Option<[u8; 32]>,
    /// The groups that the user is a member of.
    pub groups: Vec<String>,
}

impl std::fmt::Debug for ChatUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatUser")
            .field("username", &self.username)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// The chat room of one conference.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RoomConfig {
    /// The user who may do everything in it.
    pub owner: Option<String>,
    /// Codes that let guests in.
    pub invite_codes: Vec<u128>,
    /// SHA-256 of the password that guests must give, if there is one.
    pub password: Option<[u8; 32]>,
    /// Whether all but moderators wait until they are let in.
    pub waiting_room: bool,
}

impl std::fmt::Debug for RoomConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomConfig")
            .field("owner", &self.owner)
            .field("invite_codes", &self.invite_codes.len())
            .field("has_password", &self.password.is_some())
            .field("waiting_room", &self.waiting_room)
            .finish()
    }
}
