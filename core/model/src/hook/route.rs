//! The `call-router` hook: where a call goes.

use crate::hook::OnFailure;

/// The question: where does this call go?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteAsk {
    /// The domain of the account that the call is in.
    pub realm: String,
    /// What was dialled, without a PIN.
    pub number: String,
    /// The authenticated user, if there is one.
    pub user: Option<String>,
    /// The name that the caller shows.
    pub display_name: String,
    /// How the caller is connected: `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: &'static str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteVerdict {
    /// Where the dialled number leads.
    Pass,
    /// To the conference behind this number of the same account. Its PIN, if it has one, must still have
    /// been dialled.
    Conference(String),
    /// To the phones of this user, or this one device, of the same account.
    User(String),
    /// Nowhere: the status (a SIP final status from 400 to 699) and a reason for people.
    Refuse {
        /// From 400 to 699; anything else becomes 403.
        code: u16,
        /// Shown to the caller.
        reason: String,
    },
    /// Nowhere, as a plugin failed that is to refuse then. None says so itself.
    Failed,
}

impl RouteVerdict {
    /// What stands for a verdict that never came.
    pub fn failed(rule: OnFailure) -> Self {
        match rule {
            OnFailure::Pass => Self::Pass,
            OnFailure::Refuse => Self::Failed,
        }
    }
}
