//! Namespace `control`: joining, hands, and who is a moderator.

use cordboard_model::hook::conference::Role;
use serde_json::{Value, json};

use super::command::Control;
use super::door::{Speaker, Step};
use super::frame::event;
use super::join::plain_standing;
use super::participant::Standing;
use super::uuid::Uuid;
use crate::engine::Engine;

impl Engine {
    pub(super) fn on_control(&mut self, speaker: Speaker, command: Control) {
        match command {
            Control::Join { display_name } => return self.join_chat(speaker, &display_name),
            Control::EnterRoom => return self.enter_from_waiting_room(speaker),
            _ => {}
        }
        if speaker.step != Step::Joined {
            return self.refuse_command(speaker.connection, "control", "not_yet_joined");
        }
        match command {
            Control::RaiseHand => self.move_hand(speaker, true),
            Control::LowerHand => self.move_hand(speaker, false),
            Control::GrantModeratorRole { target } => self.change_role(speaker, target, true),
            Control::RevokeModeratorRole { target } => self.change_role(speaker, target, false),
            Control::Join { .. } | Control::EnterRoom => {}
        }
    }

    fn move_hand(&mut self, speaker: Speaker, up: bool) {
        let (id, who, now) = (speaker.room, speaker.participant, self.wire.now);
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        if up && !room.raise_hands {
            return self.refuse_command(speaker.connection, "control", "raise_hands_disabled");
        }
        if let Some(participant) = room.participants.get_mut(&who) {
            participant.hand = up;
            participant.hand_at = now;
        }
        self.announce(id, who);
        let message = if up { "hand_raised" } else { "hand_lowered" };
        self.say_to(speaker.connection, |at| {
            event("control", at, message, Value::Null)
        });
    }

    fn change_role(&mut self, speaker: Speaker, target: Uuid, grant: bool) {
        let (id, number) = (speaker.room, speaker.connection);
        let refuse = |engine: &mut Self, why| engine.refuse_command(number, "control", why);
        if !self.moderates(speaker) {
            return refuse(self, "insufficient_permissions");
        }
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        let Some(subject) = room.participants.get_mut(&target).filter(|target| target.is_in()) else {
            return refuse(self, "nothing_to_do");
        };
        if subject.is_moderator() == grant {
            return refuse(self, "nothing_to_do");
        }
        if subject.owner {
            return refuse(self, "target_is_room_owner");
        }
        subject.standing = match grant {
            true => Standing::Moderator,
            false => plain_standing(subject.kind),
        };
        let (role, connection, leg) = (subject.standing.name(), subject.connection(), subject.leg());
        let write = subject.kept.then(|| subject.write(id));
        if let Some(write) = write {
            self.write_chat(write);
        }
        if let Some(call) = leg.and_then(|leg| self.calls.get_mut(leg)) {
            call.role = if grant { Role::Moderator } else { Role::Member };
        }
        self.roster_changed(id);
        if let Some(connection) = connection {
            let updated = json!({ "new_role": role });
            self.say_to(connection, |at| event("control", at, "role_updated", updated));
        }
        self.announce(id, target);
        let message = match grant {
            true => "moderator_role_granted",
            false => "moderator_role_revoked",
        };
        let told = json!({ "target": target });
        self.say_to(number, |at| event("control", at, message, told));
    }

    /// Whether who speaks is a moderator now.
    pub(super) fn moderates(&self, speaker: Speaker) -> bool {
        self.chat
            .rooms
            .get(&speaker.room)
            .and_then(|room| room.present(speaker.participant))
            .is_some_and(super::participant::Participant::is_moderator)
    }
}
