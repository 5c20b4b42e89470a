//! The request for a ticket: who may open a room.

use bytes::Bytes;
use cordboard_model::ConferenceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Principal;
use super::io::{ChatOutput, Proof, StartRequest};
use super::refusal::{
    BANNED, DRAINING, GUESSED, INVALID_INVITE, NOT_FOUND, Refusal, WRONG_PASSWORD, WRONG_TOKEN, refused,
};
use super::ticket::{Admission, digest};
use super::uuid::Uuid;
use crate::engine::Engine;

/// What stands in the body; all of it may be missing.
#[derive(Default, Deserialize)]
struct StartBody {
    #[serde(default)]
    breakout_room: Value,
    #[serde(default)]
    resumption: Option<String>,
    #[serde(default)]
    invite_code: Value,
    #[serde(default)]
    password: Option<String>,
}

impl Engine {
    pub(crate) fn on_chat_start(&mut self, request: &StartRequest) {
        let (status, body, outcome) = match self.chat_ticket(request) {
            Ok(body) => (200, body, "given"),
            Err(refusal) => (refusal.status, refusal.body(), refusal.code),
        };
        *self.wire.counts.chat_tickets.entry(outcome).or_default() += 1;
        self.chat_out(ChatOutput::Answer {
            request: request.request,
            status,
            body,
        });
    }

    fn chat_ticket(&mut self, request: &StartRequest) -> Result<Bytes, Refusal> {
        if self.is_banned(request.source, self.wire.now) {
            return Err(GUESSED);
        }
        let body = match request.body.trim_ascii() {
            [] => StartBody::default(),
            // A list would be taken for the fields in their order.
            text => match serde_json::from_slice(text) {
                Ok(body) if text[0] == b'{' => body,
                _ => {
                    return Err(refused(
                        400,
                        "invalid_json",
                        "the body is not the JSON that is expected here",
                    ));
                }
            },
        };
        let (room, principal) = match request.proof {
            Proof::Invitation => match self.invited(request, &body) {
                Err(refusal) if refusal == WRONG_PASSWORD && body.password.is_some() => {
                    self.wrong_secret(request.source);
                    return Err(refusal);
                }
                invited => (invited?, Principal::Guest),
            },
            Proof::Token(token) => match self.proven(request, token) {
                Err(refusal) if refusal == WRONG_TOKEN => {
                    self.wrong_secret(request.source);
                    return Err(refusal);
                }
                proven => {
                    self.limits.proven(request.source, self.wire.now);
                    proven?
                }
            },
            Proof::NoToken => {
                return Err(refused(
                    401,
                    "unauthorized",
                    "send the user's token: Authorization: Bearer ...",
                ));
            }
        };
        if self.chat_bans(room, principal.user()) {
            return Err(BANNED);
        }
        if !body.breakout_room.is_null() {
            return Err(refused(
                400,
                "no_breakout_rooms",
                "this room has no breakout rooms",
            ));
        }
        let now = self.wire.now;
        if self.draining {
            return Err(DRAINING);
        }
        if !(self.chat.tickets.has_room(now) && self.chat.resumptions.has_room(now)) {
            return Err(refused(
                503,
                "too_many_tickets",
                "too many tickets wait to be used; try again later",
            ));
        }
        let participant = self.resumed(&body, room, &principal)?;
        let participant = participant.unwrap_or_else(|| Uuid::random(self.wire.random_bytes()));
        let ticket = hex::encode(self.wire.random_bytes::<32>());
        let resumption = hex::encode(self.wire.random_bytes::<32>());
        let admission = Admission {
            room,
            principal,
            participant,
            resumption: digest(&resumption),
        };
        self.chat.resumptions.add(admission.resumption, &admission, now);
        self.chat.tickets.add(&ticket, admission, now);
        Ok(json!({ "ticket": ticket, "resumption": resumption })
            .to_string()
            .into())
    }

    /// The participant whom a token brings back; the token is used up by that.
    fn resumed(
        &mut self,
        body: &StartBody,
        room: ConferenceId,
        principal: &Principal,
    ) -> Result<Option<Uuid>, Refusal> {
        let Some(token) = &body.resumption else {
            return Ok(None);
        };
        let known = self.chat.resumptions.find(token, room, principal, self.wire.now);
        // An unknown token is no error: somebody new comes.
        let Some(participant) = known.map(|known| known.participant) else {
            return Ok(None);
        };
        let is_there =
            |connection: &super::Connection| connection.participant == participant && connection.room == room;
        if self.chat.connections.values().any(is_there) {
            return Err(refused(
                400,
                "session_running",
                "the session of this token is still connected",
            ));
        }
        self.chat.resumptions.remove(&digest(token));
        Ok(Some(participant))
    }

    fn proven(&self, request: &StartRequest, token: [u8; 32]) -> Result<(ConferenceId, Principal), Refusal> {
        let user = self
            .config
            .chat
            .users
            .iter()
            .find(|user| user.token == Some(token));
        let Some(user) = user else {
            return Err(WRONG_TOKEN);
        };
        let room = self.named_room(&request.room)?;
        let config = self.directory.conference(room);
        if config.is_none_or(|config| config.account != user.account) {
            return Err(NOT_FOUND);
        }
        let principal = Principal::User {
            account: user.account,
            username: user.username.clone(),
        };
        Ok((room, principal))
    }

    fn invited(&self, request: &StartRequest, body: &StartBody) -> Result<ConferenceId, Refusal> {
        let code = body
            .invite_code
            .as_str()
            .and_then(|code| code.parse::<Uuid>().ok());
        let Some(code) = code else {
            return Err(INVALID_INVITE);
        };
        let room = self.named_room(&request.room)?;
        let Some(inviting) = self.directory.room_of_invitation(code.0) else {
            return Err(NOT_FOUND);
        };
        if inviting != room {
            return Err(refused(400, "bad_request", "the invite code is for another room"));
        }
        let password = self
            .directory
            .conference(room)
            .and_then(|config| config.room.password);
        let given = body.password.as_deref().map(digest);
        if password.is_some() && given != password {
            return Err(WRONG_PASSWORD);
        }
        Ok(room)
    }

    fn named_room(&self, room: &str) -> Result<ConferenceId, Refusal> {
        let id = room.parse().ok();
        match id.filter(|id| self.directory.conference(*id).is_some()) {
            Some(id) => Ok(id),
            None => Err(NOT_FOUND),
        }
    }
}
