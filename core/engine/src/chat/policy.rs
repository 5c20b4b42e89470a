//! The policy plugins' say about those who join by the chat WebSocket.

use cordboard_model::Ask;
use cordboard_model::hook::conference::{Admission, JoinAsk, JoinVerdict, Role};
use serde_json::json;

use super::Waiting;
use super::command::Scope;
use super::door::{Speaker, Step};
use super::frame::{event, message_sent};
use super::io::StoredMessage;
use super::join::plain_standing;
use super::participant::{Participant, Standing, shown_name};
use super::uuid::Uuid;
use crate::config::ChainRule;
use crate::engine::{Engine, Subject};

/// The longest greeting that a plugin may give, in bytes.
const MAX_TEXT: usize = 1024;

/// A join whose verdict is awaited.
#[derive(Debug)]
pub(crate) struct PendingJoin {
    connection: u64,
    participant: Participant,
}

impl Engine {
    /// The same hook as for callers; nothing was dialled.
    pub(super) fn ask_about_chatter(&mut self, speaker: Speaker, participant: Participant, rule: ChainRule) {
        let (number, conference) = (speaker.connection, self.view(speaker.room));
        let ticket = self.ticket();
        let Some(connection) = self.chat.connections.get_mut(&number) else {
            return;
        };
        connection.asking = Some(ticket);
        let ask = JoinAsk {
            conference,
            number: String::new(),
            user: participant.user.clone(),
            display_name: participant.name.clone(),
            transport: connection.transport,
            role: match participant.is_moderator() {
                true => Role::Moderator,
                false => Role::Member,
            },
        };
        let pending = PendingJoin {
            connection: number,
            participant,
        };
        self.ask(ticket, rule, Ask::Join(ask), Subject::ChatJoin(Box::new(pending)));
    }

    /// The plugins have spoken about a join.
    pub(crate) fn chat_join_decided(&mut self, pending: PendingJoin, verdict: JoinVerdict) {
        let number = pending.connection;
        let Some(connection) = self.chat.connections.get_mut(&number) else {
            self.wire.counts.stale_verdicts += 1;
            return;
        };
        connection.asking = None;
        // Who has gone meanwhile and said nothing more never was there.
        let gone = matches!(connection.backlog.front(), Some(Waiting::Closed(_)));
        if let Some(speaker) = self.speaker(number).filter(|_| !gone) {
            match verdict {
                JoinVerdict::Admit(admission) => self.admit_chatter(speaker, pending.participant, admission),
                JoinVerdict::Refuse { reason, .. } => {
                    self.chat_joined("refused");
                    self.deny_join(number, &reason);
                }
            }
        }
        self.work_off(number);
    }

    /// Comes in as the plugins say. Whether it is heard does not matter: it has no voice.
    fn admit_chatter(&mut self, speaker: Speaker, mut participant: Participant, admission: Admission) {
        if let Some(name) = admission.display_name.as_deref().and_then(shown_name) {
            participant.name = name;
        }
        match admission.role {
            Some(Role::Moderator) => participant.standing = Standing::Moderator,
            Some(Role::Member) if !participant.owner => {
                participant.standing = plain_standing(participant.kind);
            }
            _ => {}
        }
        self.come_in(speaker, participant);
        let greeting = admission
            .greeting
            .filter(|text| !text.is_empty() && text.len() <= MAX_TEXT);
        let joined = self
            .speaker(speaker.connection)
            .is_some_and(|now| now.step == Step::Joined);
        if let Some(content) = greeting.filter(|_| joined) {
            let id = Uuid::random(self.wire.random_bytes());
            self.say_to(speaker.connection, |at| {
                message_sent(&StoredMessage {
                    id,
                    source: Uuid(0),
                    at,
                    scope: Scope::Global,
                    content,
                })
            });
        }
    }

    pub(super) fn deny_join(&mut self, number: u64, reason: &str) {
        let why = json!({ "error": "insufficient_permissions", "text": reason });
        self.say_to(number, |at| event("control", at, "error", why));
    }
}
