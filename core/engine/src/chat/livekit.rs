//! Namespace `livekit`, as far as it is about being heard; and muting, whichever way it is asked for.

use std::collections::BTreeSet;

use cordboard_model::ConferenceId;
use serde_json::{Value, json};

use super::command::Livekit;
use super::door::Speaker;
use super::frame::event;
use super::participant::Participant;
use super::uuid::Uuid;
use crate::arena::Key;
use crate::engine::Engine;

impl Engine {
    pub(super) fn on_livekit(&mut self, speaker: Speaker, command: Livekit) {
        if !self.moderates(speaker) {
            return self.refuse_command(speaker.connection, "livekit", "insufficient_permissions");
        }
        match command {
            Livekit::ForceMute { participants } => {
                self.mute_all(speaker, &participants, "livekit", "force_muted");
            }
            Livekit::EnableMicrophoneRestrictions {
                unrestricted_participants,
            } => {
                let told = json!({ "unrestricted_participants": unrestricted_participants });
                let free = unrestricted_participants.into_iter().collect();
                self.restrict_microphones(speaker, Some(free), "microphone_restrictions_enabled", told);
            }
            Livekit::DisableMicrophoneRestrictions => {
                let told = Value::Null;
                self.restrict_microphones(speaker, None, "microphone_restrictions_disabled", told);
            }
        }
    }

    /// Mutes those of the named who are in the room; gives the others.
    pub(super) fn mute_all(
        &mut self,
        speaker: Speaker,
        named: &[Uuid],
        namespace: &'static str,
        message: &'static str,
    ) -> Vec<Uuid> {
        let mut unknown = Vec::new();
        for target in named.iter().collect::<BTreeSet<_>>() {
            let room = self.chat.rooms.get(&speaker.room);
            let Some(known) = room.and_then(|room| room.present(*target)) else {
                unknown.push(*target);
                continue;
            };
            let (connection, leg) = (known.connection(), known.leg());
            if let Some(leg) = leg {
                self.lift_restriction(leg); // it outlasts one
                self.mute(leg, true);
            }
            if let Some(connection) = connection {
                let by = json!({ "moderator": speaker.participant });
                self.say_to(connection, |at| event(namespace, at, message, by));
            }
        }
        unknown
    }

    /// Lets those of the named be heard again who are in the room; gives the others.
    pub(super) fn unmute_all(&mut self, speaker: Speaker, named: &[Uuid]) -> Vec<Uuid> {
        let mut unknown = Vec::new();
        for target in named.iter().collect::<BTreeSet<_>>() {
            let room = self.chat.rooms.get_mut(&speaker.room);
            let Some((room, known)) = room.and_then(|room| {
                let known = room.present(*target)?;
                let known = (known.connection(), known.leg());
                Some((room, known))
            }) else {
                unknown.push(*target);
                continue;
            };
            if let Some(free) = &mut room.unrestricted {
                free.insert(*target);
            }
            let (connection, leg) = known;
            if let Some(leg) = leg {
                self.lift_restriction(leg);
                self.mute(leg, false);
            }
            if let Some(connection) = connection {
                let by = json!({ "moderator": speaker.participant });
                self.say_to(connection, |at| event("moderation", at, "unmuted", by));
            }
        }
        unknown
    }

    /// Notes that a caller is not held back by a restriction; whether it was, and only by that.
    fn lift_restriction(&mut self, leg: Key) -> bool {
        let call = self.calls.get_mut(leg);
        call.is_some_and(|call| std::mem::take(&mut call.seat.restricted))
    }

    fn restrict(&mut self, leg: Key) {
        if let Some(call) = self.calls.get_mut(leg)
            && !call.leg.muted
        {
            call.seat.restricted = true;
            self.mute(leg, true);
        }
    }

    fn restrict_microphones(
        &mut self,
        speaker: Speaker,
        free: Option<BTreeSet<Uuid>>,
        message: &'static str,
        told: Value,
    ) {
        let (id, now) = (speaker.room, self.wire.now);
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        // Who was held back only by the restriction speaks again when it ends.
        let held = |room: &super::room::Room| room.legs_of(|p| room.holds_back(p));
        let before = held(room);
        room.unrestricted = free;
        let after = held(room);
        let (at, to) = (room.stamp(now), room.everyone());
        for leg in before.iter().filter(|leg| !after.contains(leg)) {
            if self.lift_restriction(*leg) {
                self.mute(*leg, false);
            }
        }
        for leg in after {
            self.restrict(leg);
        }
        self.tell_room(id, to, event("livekit", at, message, told));
    }

    /// Whether a caller who comes in may not speak, for the microphones are restricted.
    pub(super) fn hold_back(&mut self, id: ConferenceId, leg: Key) {
        let room = self.chat.rooms.get(&id);
        let caller = room.and_then(|room| Some((room, room.participants.get(room.legs.get(&leg)?)?)));
        if caller.is_some_and(|(room, caller)| room.holds_back(caller)) {
            self.restrict(leg);
        }
    }
}

impl super::room::Room {
    fn holds_back(&self, participant: &Participant) -> bool {
        self.unrestricted
            .as_ref()
            .is_some_and(|free| !free.contains(&participant.id) && !participant.is_moderator())
    }
}
