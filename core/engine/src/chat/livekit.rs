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
                self.mute(leg, true);
            }
            if let Some(connection) = connection {
                let by = json!({ "moderator": speaker.participant });
                self.say_to(connection, |at| event(namespace, at, message, by));
            }
        }
        unknown
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
            self.mute(*leg, false);
        }
        for leg in after {
            self.mute(leg, true);
        }
        self.tell_room(id, to, event("livekit", at, message, told));
    }

    /// Whether a caller who comes in may not speak, for the microphones are restricted.
    pub(super) fn hold_back(&mut self, id: ConferenceId, leg: Key) {
        let room = self.chat.rooms.get(&id);
        if room.is_some_and(|room| room.unrestricted.is_some()) {
            self.mute(leg, true);
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
