//! The policy plugins' say about those who join by the chat WebSocket.

use cordboard_model::Ask;
use cordboard_model::hook::conference::{Admission, JoinAsk, JoinVerdict, Role};
use serde_json::json;

use super::Waiting;
use super::command::Scope;
use super::door::{Speaker, Step};
use super::frame::event;
use super::join::plain_standing;
use super::participant::{Participant, Standing, shown_name};
use super::uuid::Uuid;
use crate::conference::join::usable_greeting;
use crate::config::ChainRule;
use crate::engine::{Engine, Subject};

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
            let Some(participant) = self.still_arriving(speaker, pending.participant) else {
                return self.close_without_room(number);
            };
            match verdict {
                JoinVerdict::Admit(admission) => self.admit_chatter(speaker, participant, admission),
                JoinVerdict::Refuse { reason, .. } => {
                    self.chat_joined("refused");
                    self.deny_join(number, &reason);
                }
                JoinVerdict::Failed => {
                    self.chat_joined("refused");
                    self.deny_join(number, "Policy unavailable");
                }
            }
        }
        self.work_off(number);
    }

    /// Who comes, now that the plugins have spoken: the room may have emptied and gone meanwhile, and with it what
    /// was known of the joiner. `None`: there is no such conference any more.
    fn still_arriving(&mut self, speaker: Speaker, asked: Participant) -> Option<Participant> {
        if self.chat.rooms.contains_key(&speaker.room) {
            return Some(asked);
        }
        self.chat_room(speaker.room)?;
        self.arrival(speaker, asked.name)
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
        let joined = self
            .speaker(speaker.connection)
            .is_some_and(|now| now.step == Step::Joined);
        if let Some(greeting) = usable_greeting(admission.greeting).filter(|_| joined) {
            self.echo_chat(speaker, Scope::Global, Uuid(0), greeting);
        }
    }

    pub(super) fn deny_join(&mut self, number: u64, reason: &str) {
        let why = json!({ "error": "insufficient_permissions", "text": reason });
        self.say_to(number, |at| event("control", at, "error", why));
    }
}
