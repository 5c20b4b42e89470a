//! Why there is no ticket, or no WebSocket: what is answered over HTTP.

use bytes::Bytes;
use serde_json::json;

/// A status, a code for programs, a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    message: &'static str,
}

/// The code of an `invite_code` that is none.
const INVALID_CODE: &str = "validation_failed";

pub(super) const INVALID_INVITE: Refusal = refused(422, INVALID_CODE, "`invite_code` must be a UUID");
pub(super) const NOT_FOUND: Refusal = refused(
    404,
    "not_found",
    "there is no such room, or the invitation is not valid",
);
pub(super) const WRONG_TOKEN: Refusal = refused(401, "unauthorized", "this token is nobody's");
pub(super) const WRONG_PASSWORD: Refusal = refused(
    401,
    "wrong_room_password",
    "the password of the room is missing or wrong",
);
/// The source has guessed too often.
pub(super) const GUESSED: Refusal = refused(
    429,
    "too_many_requests",
    "too many wrong proofs have come from this address; try again later",
);
/// A moderator keeps the user out.
pub(super) const BANNED: Refusal = refused(
    403,
    "banned_from_room",
    "a moderator has banned you from this room",
);
pub(super) const DRAINING: Refusal = refused(
    503,
    "service_unavailable",
    "the switch takes no new connections and will end",
);

pub(super) const fn refused(status: u16, code: &'static str, message: &'static str) -> Refusal {
    Refusal {
        status,
        code,
        message,
    }
}

impl Refusal {
    /// As JSON; clients know the shape of what is wrong with an invite code.
    pub(super) fn body(self) -> Bytes {
        let Self { code, message, .. } = self;
        let mut body = json!({ "code": code, "message": message });
        if code == INVALID_CODE {
            body["errors"] = json!([{ "field": "invite_code", "code": "invalid_value", "message": message }]);
        }
        body.to_string().into()
    }
}
