//! Namespace `moderation`: who is shown out, who waits, whose hand goes down, who is called what.

use cordboard_model::ConferenceId;
use serde_json::{Value, json};

use super::Connection;
use super::command::{KickScope, Moderation, OneOrMore};
use super::door::Speaker;
use super::frame::event;
use super::participant::{Kind, Participant, Presence, shown_name};
use super::uuid::Uuid;
use crate::call::{Call, Place, Stage};
use crate::engine::Engine;

impl Engine {
    pub(super) fn on_moderation(&mut self, speaker: Speaker, command: Moderation) {
        if !self.moderates(speaker) {
            return self.refuse_command(speaker.connection, "moderation", "permission_denied");
        }
        match command {
            Moderation::Kick { target } => {
                self.show_somebody_out(speaker.room, target, "kicked", Value::Null);
            }
            Moderation::Ban { target } => self.ban(speaker, target),
            Moderation::EnableRaiseHands => self.allow_hands(speaker, true),
            Moderation::DisableRaiseHands => self.allow_hands(speaker, false),
            Moderation::ResetRaisedHands { target } => self.lower_hands(speaker, target.as_ref()),
            Moderation::EnableWaitingRoom => self.switch_waiting_room(speaker, true),
            Moderation::DisableWaitingRoom => self.switch_waiting_room(speaker, false),
            Moderation::Accept { target } => self.accept_waiting(speaker.room, target),
            Moderation::SendToWaitingRoom { target } => self.send_to_waiting_room(speaker, target),
            Moderation::Debrief { kick_scope } => self.debrief(speaker, kick_scope),
            Moderation::ChangeDisplayName { target, new_name } => self.rename(speaker, target, &new_name),
            Moderation::Mute { participants } => {
                let unknown = self.mute_all(speaker, &participants, "moderation", "muted");
                self.refuse_unknown(speaker, &unknown);
            }
            Moderation::Unmute { participants } => {
                let unknown = self.unmute_all(speaker, &participants);
                self.refuse_unknown(speaker, &unknown);
            }
        }
    }

    fn refuse_unknown(&mut self, speaker: Speaker, unknown: &[Uuid]) {
        if !unknown.is_empty() {
            let why = json!({ "error": "unknown_participants", "participants": unknown });
            self.say_to(speaker.connection, |at| event("moderation", at, "error", why));
        }
    }

    /// Somebody must go: by `kicked` or `banned`, which is also what the others hear, or at a debriefing.
    fn show_somebody_out(&mut self, id: ConferenceId, target: Uuid, message: &'static str, more: Value) {
        let known = self
            .chat
            .rooms
            .get(&id)
            .and_then(|room| room.participants.get(&target));
        let Some(presence) = known.map(|known| known.presence) else {
            return;
        };
        let reason = if message == "banned" { "banned" } else { "kicked" };
        match presence {
            Presence::Connection(number)
            | Presence::Waiting {
                connection: number, ..
            } => {
                self.say_to(number, |at| event("moderation", at, message, more));
                self.depart(number, reason, false);
                self.show_out(id, number, "removed by a moderator");
            }
            Presence::Leg(leg) => {
                self.leave_room(id, target, reason, false);
                self.kick(leg);
                self.empty_room(id);
            }
            Presence::Held(leg) => {
                self.leave_waiting_room(id, target);
                self.kick(leg);
                self.empty_room(id);
            }
            Presence::Absent => {}
        }
    }

    fn ban(&mut self, speaker: Speaker, target: Uuid) {
        let Some(room) = self.chat.rooms.get_mut(&speaker.room) else {
            return;
        };
        let Some(known) = room.participants.get(&target).filter(|known| known.is_there()) else {
            return;
        };
        let Some(user) = known.user.clone() else {
            return self.refuse_command(speaker.connection, "moderation", "cannot_ban_guest");
        };
        room.banned.insert(user.clone());
        let write = room.write();
        // All of this user, however connected.
        let same = |other: &&Participant| other.user.as_ref() == Some(&user) && other.is_there();
        let all: Vec<Uuid> = room
            .participants
            .values()
            .filter(same)
            .map(|other| other.id)
            .collect();
        self.keep_room_state(speaker.room, write);
        for one in all {
            self.show_somebody_out(speaker.room, one, "banned", Value::Null);
        }
        self.turn_away(speaker.room, &user);
    }

    /// Ends what a user who is banned has begun and not come in by: connections that have not joined, and calls
    /// that are not answered. A ticket that it has still opens nothing: the handshake asks for bans.
    fn turn_away(&mut self, id: ConferenceId, user: &str) {
        let at_the_door =
            |connection: &Connection| connection.room == id && connection.principal.user() == Some(user);
        let connections: Vec<u64> = self
            .chat
            .connections
            .iter()
            .filter(|(_, connection)| at_the_door(connection))
            .map(|(number, _)| *number)
            .collect();
        for number in connections {
            self.say_to(number, |at| event("moderation", at, "banned", Value::Null));
            self.depart(number, "banned", false);
            self.show_out(id, number, "removed by a moderator");
        }
        let arriving = |call: &Call| {
            call.place == Place::Conference(id)
                && call.user.as_deref() == Some(user)
                && !matches!(call.stage, Stage::Answered | Stage::Up)
        };
        for key in self.calls.keys() {
            if self.calls.get(key).is_some_and(arriving) {
                self.refuse_call(key, "refused", 403, "Banned From This Conference", None);
            }
        }
    }

    fn allow_hands(&mut self, speaker: Speaker, allowed: bool) {
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&speaker.room) else {
            return;
        };
        room.raise_hands = allowed;
        let (at, to, write) = (room.stamp(now), room.everyone(), room.write());
        let message = if allowed {
            "raise_hands_enabled"
        } else {
            "raise_hands_disabled"
        };
        let frame = event(
            "moderation",
            at,
            message,
            json!({ "issued_by": speaker.participant }),
        );
        self.keep_room_state(speaker.room, write);
        self.tell_room(speaker.room, to, frame);
        if !allowed {
            self.lower_hands(speaker, None);
        }
    }

    fn lower_hands(&mut self, speaker: Speaker, only: Option<&OneOrMore>) {
        let (id, now) = (speaker.room, self.wire.now);
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let mut lowered = Vec::new();
        for participant in room.participants.values_mut() {
            let named = only.is_none_or(|only| only.contains(participant.id));
            if named && participant.hand && participant.is_in() {
                participant.hand = false;
                participant.hand_at = now;
                lowered.push((participant.id, participant.connection()));
            }
        }
        for (who, connection) in lowered {
            if let Some(connection) = connection {
                let by = json!({ "issued_by": speaker.participant });
                self.say_to(connection, |at| {
                    event("moderation", at, "raised_hand_reset_by_moderator", by)
                });
            }
            self.announce(id, who);
        }
    }

    fn switch_waiting_room(&mut self, speaker: Speaker, enabled: bool) {
        let now = self.wire.now;
        let Some(room) = self.chat.rooms.get_mut(&speaker.room) else {
            return;
        };
        room.waiting_room = enabled;
        let (at, to, write) = (room.stamp(now), room.everyone(), room.write());
        let message = match enabled {
            true => "waiting_room_enabled",
            false => "waiting_room_disabled",
        };
        self.keep_room_state(speaker.room, write);
        self.tell_room(speaker.room, to, event("moderation", at, message, Value::Null));
    }

    fn accept_waiting(&mut self, id: ConferenceId, target: Uuid) {
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let Some(waiting) = room.participants.get_mut(&target) else {
            return;
        };
        let connection = match waiting.presence {
            Presence::Waiting { connection, .. } => connection,
            // A caller has nothing to ask with: it is in.
            Presence::Held(leg) => {
                waiting.admitted = true;
                self.left_the_waiting_room(id, target);
                return self.admit_caller(leg, id);
            }
            _ => return,
        };
        waiting.admitted = true;
        waiting.presence = Presence::Waiting {
            connection,
            accepted: true,
        };
        self.say_to(connection, |at| event("moderation", at, "accepted", Value::Null));
    }

    fn send_to_waiting_room(&mut self, speaker: Speaker, target: Uuid) {
        let id = speaker.room;
        let known = self.chat.rooms.get(&id).and_then(|room| room.present(target));
        let Some((owner, presence)) = known.map(|known| (known.owner, known.presence)) else {
            return;
        };
        if owner {
            let why = "cannot_send_room_owner_to_waiting_room";
            return self.refuse_command(speaker.connection, "moderation", why);
        }
        let presence = match presence {
            Presence::Connection(connection) => Presence::Waiting {
                connection,
                accepted: false,
            },
            Presence::Leg(leg) => {
                self.send_back(leg, id);
                Presence::Held(leg)
            }
            other => other,
        };
        self.move_out(id, target, presence, "sent_to_waiting_room", false);
        let room = self.chat.rooms.get_mut(&id);
        if let Some(waiting) = room.and_then(|room| room.participants.get_mut(&target)) {
            waiting.admitted = false;
        }
        self.await_admission(id, target, "sent_to_waiting_room");
    }

    fn debrief(&mut self, speaker: Speaker, scope: KickScope) {
        let (id, now) = (speaker.room, self.wire.now);
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let goes = |participant: &&Participant| {
            participant.is_there()
                && match scope {
                    KickScope::All => true,
                    KickScope::UsersAndGuests => !participant.is_moderator(),
                    KickScope::Guests => participant.kind != Kind::User && !participant.is_moderator(),
                }
        };
        let going: Vec<Uuid> = room
            .participants
            .values()
            .filter(goes)
            .map(|participant| participant.id)
            .collect();
        let staying = room.those(|participant| !going.contains(&participant.id));
        let by = json!({ "issued_by": speaker.participant });
        for one in going.iter().filter(|one| **one != speaker.participant) {
            self.show_somebody_out(id, *one, "session_ended", by.clone());
        }
        if going.contains(&speaker.participant) {
            self.show_somebody_out(id, speaker.participant, "session_ended", by.clone());
        }
        if let Some(room) = self.chat.rooms.get_mut(&id) {
            let at = room.stamp(now);
            self.tell_room(id, staying, event("moderation", at, "debriefing_started", by));
        }
    }

    fn rename(&mut self, speaker: Speaker, target: Uuid, new_name: &str) {
        let (id, number, now) = (speaker.room, speaker.connection, self.wire.now);
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let Some(known) = room
            .participants
            .get_mut(&target)
            .filter(|known| known.is_there())
        else {
            return;
        };
        if known.kind == Kind::User {
            let why = "cannot_change_name_of_registered_users";
            return self.refuse_command(number, "moderation", why);
        }
        let Some(new_name) = shown_name(new_name) else {
            return self.refuse_command(number, "moderation", "invalid_display_name");
        };
        let old_name = std::mem::replace(&mut known.name, new_name.clone());
        let write = known.kept.then(|| known.write(id));
        let leg = known.presence.call();
        let (at, everyone) = (room.stamp(now), room.everyone());
        if let Some(write) = write {
            self.write_chat(write);
        }
        if let Some(call) = leg.and_then(|leg| self.calls.get_mut(leg)) {
            call.name.clone_from(&new_name);
        }
        self.roster_changed(id);
        let told = json!({
            "target": target,
            "issued_by": speaker.participant,
            "old_name": old_name,
            "new_name": new_name,
        });
        self.tell_room(
            id,
            everyone,
            event("moderation", at, "display_name_changed", told),
        );
        self.announce(id, target);
    }
}
