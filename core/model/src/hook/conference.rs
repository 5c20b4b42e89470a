//! The `conference-policy` hook: who may join, and as what.

use crate::hook::OnFailure;
use crate::id::ConferenceId;

/// What a plugin is told about a conference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConferenceView {
    /// Its id, also the chat room's.
    pub id: ConferenceId,
    /// Its configured name.
    pub name: String,
    /// How many participants it has now.
    pub participants: u32,
}

/// A participant's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// May listen, speak and write.
    Member,
    /// May also mute, kick and lock.
    Moderator,
}

/// The question: may this caller join?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAsk {
    /// The conference, as it is before the join.
    pub conference: ConferenceView,
    /// The number that was dialled.
    pub number: String,
    /// The authenticated user, if there is one.
    pub user: Option<String>,
    /// The name that the caller shows.
    pub display_name: String,
    /// How the caller is connected: `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: &'static str,
    /// The role that the dialled number gives.
    pub role: Role,
}

/// What a plugin changes about a participant whom it lets in; `None` leaves a thing as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// Whether nobody hears this participant.
    pub muted: Option<bool>,
    /// Whether this participant hears nobody.
    pub deaf: Option<bool>,
    /// Member or moderator.
    pub role: Option<Role>,
    /// The name that the others see.
    pub display_name: Option<String>,
    /// A text shown to the participant alone, after the join.
    pub greeting: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinVerdict {
    /// Let in, with these changes.
    Admit(Admission),
    /// Not let in: the status (a SIP final status from 400 to 699) and a reason for people.
    Refuse {
        /// From 400 to 699; anything else becomes 403.
        code: u16,
        /// Shown to the caller.
        reason: String,
    },
    /// Not let in, as a plugin failed that is to refuse then. None says so itself.
    Failed,
}

impl JoinVerdict {
    /// What stands for a verdict that never came.
    pub fn failed(rule: OnFailure) -> Self {
        match rule {
            OnFailure::Pass => Self::Admit(Admission::default()),
            OnFailure::Refuse => Self::Failed,
        }
    }
}
