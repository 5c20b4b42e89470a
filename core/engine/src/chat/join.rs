//! Coming in and going: by the door, through the waiting room, and back.

use cordboard_model::ConferenceId;
use serde_json::{Value, json};

use super::command::Scope;
use super::config::Keep;
use super::door::{Speaker, Step};
use super::frame::event;
use super::ledger::{Effect, Welcome};
use super::participant::{Kind, Participant, Presence, Standing, shown_name};
use super::ticket::RESUMPTION_LIFE;
use super::uuid::Uuid;
use crate::conference::event::Event;
use crate::engine::Engine;

impl Engine {
    /// The first command: come in, or wait.
    pub(super) fn join_chat(&mut self, speaker: Speaker, name: &str) {
        let number = speaker.connection;
        if speaker.step != Step::Outside {
            return self.refuse_command(number, "control", "already_joined");
        }
        let Some(name) = shown_name(name) else {
            return self.refuse_command(number, "control", "invalid_username");
        };
        let Some(participant) = self.arrival(speaker, name) else {
            return;
        };
        if self.is_full(speaker.room) {
            return self.block_join(number);
        }
        if self.shuts_out(&participant, speaker) {
            return;
        }
        match self.config.hooks.conference_policy {
            Some(rule) => self.ask_about_chatter(speaker, participant, rule),
            None => self.come_in(speaker, participant),
        }
    }

    /// Whether the conference is locked to this participant, which is then told so.
    fn shuts_out(&mut self, participant: &Participant, speaker: Speaker) -> bool {
        let locked = self.is_locked(speaker.room) && !participant.is_moderator();
        if locked {
            self.chat_joined("locked");
            self.deny_join(speaker.connection, "the conference is locked");
        }
        locked
    }

    fn block_join(&mut self, number: u64) {
        self.chat_joined("full");
        let blocked = json!({ "reason": "participant_limit_reached" });
        self.say_to(number, |at| event("control", at, "join_blocked", blocked));
    }

    /// Into the room, or into the waiting room where there is one.
    pub(super) fn come_in(&mut self, speaker: Speaker, participant: Participant) {
        let (number, now) = (speaker.connection, self.wire.now);
        // Both may have come about while plugins were asked.
        if self.is_full(speaker.room) {
            return self.block_join(number);
        }
        if self.shuts_out(&participant, speaker) {
            return;
        }
        let Some(room) = self.chat.rooms.get_mut(&speaker.room) else {
            return;
        };
        if participant
            .user
            .as_ref()
            .is_some_and(|user| room.banned.contains(user))
        {
            self.chat_joined("refused");
            return self.deny_join(number, "a moderator has banned you from this room");
        }
        if !room.waiting_room || participant.is_moderator() || participant.admitted {
            return self.enter_room(speaker, participant);
        }
        let left = participant.left;
        let id = participant.id;
        let presence = Presence::Waiting {
            connection: number,
            accepted: false,
        };
        room.admit(participant, presence, now);
        if let Some(waiting) = room.participants.get_mut(&id) {
            waiting.left = left;
        }
        self.chat_joined("waiting");
        self.await_admission(speaker.room, id, "in_waiting_room");
    }

    /// Tells somebody that it waits, and the others that somebody does.
    pub(super) fn await_admission(&mut self, id: ConferenceId, who: Uuid, message: &'static str) {
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let (at, everyone) = (room.stamp(now), room.everyone());
        let Some(waiting) = room.participants.get(&who) else {
            return;
        };
        let card = waiting.waiting_card();
        if let Presence::Waiting { connection, .. } = waiting.presence {
            let told = event("moderation", at, message, Value::Null);
            self.tell_room(id, [connection].into(), told);
        }
        self.tell_room(id, everyone, event("moderation", at, "joined_waiting_room", card));
    }

    /// From the waiting room, once a moderator has said so.
    pub(super) fn enter_from_waiting_room(&mut self, speaker: Speaker) {
        if speaker.step != (Step::Waiting { accepted: true }) {
            let why = "not_accepted_or_not_in_waiting_room";
            return self.refuse_command(speaker.connection, "control", why);
        }
        if self.is_full(speaker.room) {
            return self.block_join(speaker.connection);
        }
        let Some(room) = self.chat.rooms.get(&speaker.room) else {
            return;
        };
        let Some(participant) = room.participants.get(&speaker.participant).cloned() else {
            return;
        };
        if self.chat_bans(speaker.room, participant.user.as_deref()) {
            return self.deny_join(speaker.connection, "a moderator has banned you from this room");
        }
        self.left_the_waiting_room(speaker.room, speaker.participant);
        self.enter_room(speaker, participant);
    }

    /// Tells those in the room that somebody does not wait any longer.
    pub(super) fn left_the_waiting_room(&mut self, id: ConferenceId, who: Uuid) {
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let (at, everyone) = (room.stamp(now), room.everyone());
        let gone = json!({ "id": who });
        self.tell_room(id, everyone, event("moderation", at, "left_waiting_room", gone));
    }

    /// Who comes: somebody new, or one who was here before.
    pub(super) fn arrival(&self, speaker: Speaker, name: String) -> Option<Participant> {
        let connection = self.chat.connections.get(&speaker.connection)?;
        let room = self.chat.rooms.get(&speaker.room)?;
        let user = connection.principal.user();
        let kind = if user.is_some() { Kind::User } else { Kind::Guest };
        let known = room.participants.get(&speaker.participant).cloned();
        let mut participant =
            known.unwrap_or_else(|| Participant::new(speaker.participant, kind, name.clone(), self.wire.now));
        participant.name = name;
        participant.user = user.map(str::to_owned);
        participant.groups = self.groups_of(room.config.account, user);
        participant.owner = user.is_some() && user == room.config.room.owner.as_deref();
        participant.standing = room.standing_of(&participant);
        participant.resumption = Some(connection.resumption);
        Some(participant)
    }

    /// The groups of a user.
    pub(super) fn groups_of(&self, account: cordboard_model::AccountId, user: Option<&str>) -> Vec<String> {
        let known = self.config.chat.users.iter();
        known
            .filter(|known| known.account == account && Some(known.username.as_str()) == user)
            .flat_map(|known| known.groups.iter().cloned())
            .collect()
    }

    fn enter_room(&mut self, speaker: Speaker, mut participant: Participant) {
        let (id, who, now) = (speaker.room, speaker.participant, self.wire.now);
        participant.hand = false;
        participant.kept = true;
        let node = self.config.node.clone();
        let owner = self.owner_of(id);
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        room.admit(participant, Presence::Connection(speaker.connection), now);
        let at = room.stamp(now);
        let joined = room.about(who, "joined", at);
        let at = room.stamp(now);
        let Some(joiner) = room.participants.get(&who) else {
            return;
        };
        let control = json!({
            "message": "join_success",
            "id": who,
            "display_name": joiner.name,
            "role": joiner.standing.name(),
            "is_room_owner": joiner.owner,
            "tariff": tariff(),
            "enabled_modules": ["chat", "moderation"],
            "participants": room.others(joiner),
            "room_info": { "id": Uuid::from(id), "created_by": created_by(owner.as_deref().unwrap_or(&node)) },
            "moderation": room.moderation(joiner),
        });
        let mut chat = json!({ "enabled": room.enabled });
        joiner.last_seen.add_to(&mut chat);
        let welcome = Welcome {
            connection: speaker.connection,
            participant: who,
            at,
            groups: joiner.groups.clone(),
            control,
            chat,
        };
        let write = joiner.write(id);
        for (to, frame) in joined {
            self.tell_room(id, to, frame);
        }
        self.enter_ledger(id, Some(write), Effect::Welcome(Box::new(welcome)));
        self.tell_of_chatter(id, Event::Join, who);
        self.forget_the_gone(id);
        self.chat_joined("joined");
    }

    /// The shown name of a room's owner.
    fn owner_of(&self, id: ConferenceId) -> Option<String> {
        let config = self.conference_config(id)?;
        let owner = config.room.owner.as_deref()?;
        let users = self.config.chat.users.iter();
        users
            .filter(|user| user.account == config.account && user.username == owner)
            .map(|user| user.display_name.clone())
            .next()
    }

    /// Somebody who was in the room is gone; the others hear why.
    pub(super) fn leave_room(&mut self, id: ConferenceId, who: Uuid, reason: &'static str, seat: bool) {
        self.move_out(id, who, Presence::Absent, reason, seat);
    }

    /// As [`Engine::leave_room`], to wherever it is then.
    pub(super) fn move_out(
        &mut self,
        id: ConferenceId,
        who: Uuid,
        presence: Presence,
        reason: &'static str,
        seat: bool,
    ) {
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let by_chat = room
            .present(who)
            .is_some_and(|leaving| leaving.connection().is_some());
        room.place(who, presence);
        if seat {
            room.reserved = room.reserved.max(now + RESUMPTION_LIFE);
        }
        let at = room.stamp(now);
        let Some(participant) = room.participants.get_mut(&who) else {
            return;
        };
        participant.left = Some(now);
        participant.hand = false;
        if matches!(reason, "kicked" | "banned") {
            participant.resumption = None;
        }
        let (groups, kept) = (participant.groups.clone(), participant.kept);
        let write = participant.write(id);
        let everyone = room.everyone();
        let abandoned: Vec<String> = groups
            .into_iter()
            .filter(|group| {
                !room
                    .participants
                    .values()
                    .any(|other| other.is_there() && other.in_group(group))
            })
            .collect();
        if kept {
            self.write_chat(write);
        }
        let left = json!({ "id": who, "reason": reason });
        self.tell_room(id, everyone, event("control", at, "left", left));
        if by_chat {
            self.tell_of_chatter(id, Event::Leave, who);
        }
        // A group's history goes with its last member, unless that one may be back in a moment.
        if !seat && self.config.chat.keep == Keep::WhileOccupied {
            for group in abandoned {
                // Who comes back before its turn in the ledger may have written to the group again.
                let effect = Effect::ForgetGroup { group, until: at };
                self.enter_ledger(id, None, effect);
            }
        }
        self.forget_the_gone(id);
    }

    /// Somebody who waited does so no longer.
    pub(super) fn leave_waiting_room(&mut self, id: ConferenceId, who: Uuid) {
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        room.place(who, Presence::Absent);
        if room.participants.get(&who).is_some_and(|p| p.left.is_none()) {
            room.participants.remove(&who); // never was in the room
        }
        self.left_the_waiting_room(id, who);
    }

    fn forget_the_gone(&mut self, id: ConferenceId) {
        let gone = self
            .chat
            .rooms
            .get_mut(&id)
            .and_then(super::room::Room::forget_one);
        if let Some(gone) = gone {
            let write = super::io::ChatWrite::ForgetParticipant { room: id, id: gone };
            self.write_chat(write);
        }
    }

    /// Tells the others how a participant is now.
    pub(super) fn announce(&mut self, id: ConferenceId, who: Uuid) {
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let at = room.stamp(now);
        for (to, frame) in room.about(who, "update", at) {
            self.tell_room(id, to, frame);
        }
    }

    pub(super) fn chat_joined(&mut self, outcome: &'static str) {
        *self.wire.counts.joins.entry(("chat", outcome)).or_default() += 1;
    }

    /// Notes what somebody has read.
    pub(super) fn see(&mut self, speaker: Speaker, scope: Scope, date: String) {
        let Some(room) = self.chat.rooms.get_mut(&speaker.room) else {
            return;
        };
        let Some(reader) = room.participants.get_mut(&speaker.participant) else {
            return;
        };
        if let Scope::Group(name) = &scope
            && !reader.in_group(name)
        {
            return self.chat_dropped("foreign_group");
        }
        if !reader.last_seen.set(scope, date) {
            return self.chat_dropped("too_many_conversations");
        }
        let write = reader.write(speaker.room);
        self.write_chat(write);
    }
}

/// There are no tariffs here; clients read the modules from this.
fn tariff() -> Value {
    let none = json!({ "features": [] });
    json!({
        "id": Uuid(0),
        "name": "default",
        "quotas": {},
        "modules": { "core": none, "chat": none, "moderation": none },
    })
}

fn created_by(name: &str) -> Value {
    json!({ "title": "", "firstname": "", "lastname": "", "display_name": name, "avatar_url": "" })
}

/// What somebody is who is no moderator any more.
pub(super) const fn plain_standing(kind: Kind) -> Standing {
    match kind {
        Kind::User => Standing::User,
        Kind::Guest | Kind::Sip => Standing::Guest,
    }
}
