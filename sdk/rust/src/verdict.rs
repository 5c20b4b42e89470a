//! Short ways to write verdicts, and what an absent change means.

use crate::{Admission, JoinVerdict, MessageVerdict, Refusal, Reply, Rewrite, RouteVerdict};

#[expect(
    clippy::derivable_impls,
    reason = "the type is generated, so nothing can be derived here"
)]
impl Default for Admission {
    fn default() -> Self {
        Self {
            muted: None,
            deaf: None,
            role: None,
            display_name: None,
            greeting: None,
        }
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the type is generated, so nothing can be derived here"
)]
impl Default for Rewrite {
    fn default() -> Self {
        Self {
            content_type: None,
            body: None,
            display_name: None,
        }
    }
}

impl JoinVerdict {
    /// Not let in: a final SIP status from 400 to 699, and one line for the caller.
    pub fn refuse(code: u16, reason: impl Into<String>) -> Self {
        Self::Refuse(Refusal {
            code,
            reason: reason.into(),
        })
    }

    /// Let in unchanged, and shown a text.
    pub fn greet(greeting: impl Into<String>) -> Self {
        Self::Admit(Admission {
            greeting: Some(greeting.into()),
            ..Admission::default()
        })
    }
}

impl MessageVerdict {
    /// Relayed to nobody, and the sender is told: a final SIP status from 400 to 699, and one line.
    pub fn reject(code: u16, reason: impl Into<String>) -> Self {
        Self::Reject(Refusal {
            code,
            reason: reason.into(),
        })
    }

    /// Relayed with another body.
    pub fn with_body(body: impl Into<Vec<u8>>) -> Self {
        Self::Rewrite(Rewrite {
            body: Some(body.into()),
            ..Rewrite::default()
        })
    }

    /// Relayed to nobody; the sender gets this text back.
    pub fn reply(text: impl Into<String>) -> Self {
        Self::Reply(Reply {
            content_type: "text/plain;charset=utf-8".into(),
            body: text.into().into_bytes(),
        })
    }
}

impl RouteVerdict {
    /// To the conference behind this number.
    pub fn conference(number: impl Into<String>) -> Self {
        Self::Conference(number.into())
    }

    /// To the phones of this user, or to this one device.
    pub fn user(user: impl Into<String>) -> Self {
        Self::User(user.into())
    }

    /// Nowhere: a final SIP status from 400 to 699, and one line for the caller.
    pub fn refuse(code: u16, reason: impl Into<String>) -> Self {
        Self::Refuse(Refusal {
            code,
            reason: reason.into(),
        })
    }
}
