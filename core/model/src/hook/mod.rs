//! Hooks: the places where a plugin is asked, what it is asked and what it may answer.
//!
//! A hook is IO for the engine: an [`Ask`] goes out with a ticket, a [`Verdict`] comes back, and when
//! none came in time the hook's own default ([`OnFailure`]) applies.

pub mod conference;
pub mod message;
pub mod route;

use std::fmt;

/// The hooks of the first version, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Asked before a participant is let into a conference.
    ConferencePolicy,
    /// Asked once for each message, before it is relayed.
    MessageFilter,
    /// Asked for each INVITE outside of a call, before the directory is.
    CallRouter,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 3] = [Self::ConferencePolicy, Self::MessageFilter, Self::CallRouter];

    /// The name in config files, WIT and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConferencePolicy => "conference-policy",
            Self::MessageFilter => "message-filter",
            Self::CallRouter => "call-router",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands for a verdict when a plugin trapped, was too slow or is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// As if the plugin had answered "pass".
    Pass,
    /// What was asked for is refused.
    Refuse,
}

/// A question to the plugins of one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// May this participant join, and as what?
    Join(conference::JoinAsk),
    /// What becomes of this message?
    Message(message::MessageAsk),
    /// Where does this call go?
    Route(route::RouteAsk),
}

impl Ask {
    /// The hook that answers this question.
    pub const fn hook(&self) -> Hook {
        match self {
            Self::Join(_) => Hook::ConferencePolicy,
            Self::Message(_) => Hook::MessageFilter,
            Self::Route(_) => Hook::CallRouter,
        }
    }

    /// The verdict that stands in when the whole chain failed, timed out or could not be asked.
    pub fn failed(&self, rule: OnFailure) -> Verdict {
        match self {
            Self::Join(_) => Verdict::Join(conference::JoinVerdict::failed(rule)),
            Self::Message(_) => Verdict::Message(message::MessageVerdict::failed(rule)),
            Self::Route(_) => Verdict::Route(route::RouteVerdict::failed(rule)),
        }
    }
}

/// An answer to the [`Ask`] of the same kind, the chain's plugins taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// To [`Ask::Join`].
    Join(conference::JoinVerdict),
    /// To [`Ask::Message`].
    Message(message::MessageVerdict),
    /// To [`Ask::Route`].
    Route(route::RouteVerdict),
}
