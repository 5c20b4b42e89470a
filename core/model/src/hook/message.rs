//! The `message-filter` hook: what becomes of a message, whatever client sent it.

use bytes::Bytes;

use crate::hook::OnFailure;
use crate::hook::conference::ConferenceView;

/// The question: what becomes of this message? Asked once per message, not per recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageAsk {
    /// The conference it was sent to; `None` for a message between users.
    pub conference: Option<ConferenceView>,
    /// The authenticated user who sent it, if there is one.
    pub user: Option<String>,
    /// The name that the sender shows on this message.
    pub display_name: String,
    /// How the sender is connected: `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: &'static str,
    /// Whom it is for.
    pub audience: Audience,
    /// The Content-Type, parameters included. That of a chat message is `text/plain;charset=utf-8`.
    pub content_type: String,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// Whom a message is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Audience {
    /// Everybody else in the conference.
    #[default]
    Everybody,
    /// The members of a group who are in the conference, by the group's name.
    Group(String),
    /// One alone: a participant of the conference by its id (a UUID); of a message between users the address
    /// that was written to (`user@realm`); the other side, without a name, of a message in a call between users.
    One(Option<String>),
}

/// New contents for a message; `None` leaves a thing as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The Content-Type, parameters included.
    pub content_type: Option<String>,
    /// The body.
    pub body: Option<Bytes>,
    /// The sender's name on this message.
    pub display_name: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageVerdict {
    /// Relayed as it is.
    Pass,
    /// Relayed to nobody; the sender is told that it was accepted.
    Drop,
    /// Relayed with new contents.
    Rewrite(Rewrite),
    /// Relayed to nobody; the sender gets this message back.
    Reply {
        /// The Content-Type of the answer.
        content_type: String,
        /// Its body.
        body: Bytes,
    },
    /// Relayed to nobody, and the sender is told so.
    Reject {
        /// From 400 to 699; anything else becomes 403.
        code: u16,
        /// Shown to the sender.
        reason: String,
    },
}

impl MessageVerdict {
    /// What stands for a verdict that never came. No 503: phones that hear it avoid the whole switch.
    pub fn failed(rule: OnFailure) -> Self {
        match rule {
            OnFailure::Pass => Self::Pass,
            OnFailure::Refuse => Self::Reject {
                code: 500,
                reason: "Message filter unavailable".into(),
            },
        }
    }
}
