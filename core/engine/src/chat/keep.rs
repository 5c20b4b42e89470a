//! How long a room's chat is kept: while somebody is there, for a time, or for ever; and what was kept when the
//! switch starts.

use std::sync::Arc;

use cordboard_model::ConferenceId;

use super::Principal;
use super::config::Keep;
use super::io::{ChatWrite, KeptRoom};
use super::participant::Participant;
use super::room::Room;
use super::ticket::{Admission, RESUMPTION_LIFE};
use crate::engine::Engine;
use crate::timer::Timer;

impl Engine {
    /// Takes in a room that the store kept; only before the first input. Who was there when the switch ended
    /// may come back as if it had just been cut off.
    pub fn load_chat(&mut self, kept: KeptRoom) {
        let (id, now) = (kept.room.id, self.wire.now);
        let Some(config) = self.directory.conference(id).map(Arc::clone) else {
            self.write_chat(ChatWrite::ForgetRoom { room: id });
            return;
        };
        let account = config.account;
        let mut room = Room::new(config, now);
        room.enabled = kept.room.enabled;
        room.waiting_room = kept.room.waiting_room;
        room.raise_hands = kept.room.raise_hands;
        room.banned = kept.room.banned.into_iter().collect();
        room.kept = true;
        room.reserved = now + RESUMPTION_LIFE;
        for message in kept.messages {
            room.history.add(Arc::new(message), usize::MAX);
        }
        if let Some(newest) = room.history.newest() {
            room.stamped(newest);
        }
        for stored in kept.participants {
            let gone = stored.left;
            let participant = Participant::load(stored, now);
            let since = gone.unwrap_or(now);
            if let Some(hash) = participant.resumption
                && since + RESUMPTION_LIFE > now
            {
                let principal = match &participant.user {
                    Some(username) => Principal::User {
                        account,
                        username: username.clone(),
                    },
                    None => Principal::Guest,
                };
                let admission = Admission {
                    room: id,
                    principal,
                    participant: participant.id,
                    resumption: hash,
                };
                self.chat.resumptions.add(hash, &admission, since);
            }
            room.participants.insert(participant.id, participant);
        }
        self.chat.rooms.insert(id, room);
        self.empty_room(id);
    }

    /// The configuration is another: rooms that are alive follow it where they are still configured.
    pub(crate) fn reconfigure_chat(&mut self) {
        let ids: Vec<ConferenceId> = self.chat.rooms.keys().copied().collect();
        for id in ids {
            if let Some(config) = self.directory.conference(id).map(Arc::clone)
                && let Some(room) = self.chat.rooms.get_mut(&id)
            {
                room.config = config;
            }
            self.empty_room(id);
        }
    }

    pub(crate) fn room_timer(&mut self, id: ConferenceId) {
        self.empty_room(id);
    }

    /// Writes what holds in a room; nobody waits for it.
    pub(super) fn keep_room_state(&mut self, id: ConferenceId, write: ChatWrite) {
        if let Some(room) = self.chat.rooms.get_mut(&id) {
            room.kept = true;
        }
        self.write_chat(write);
    }

    /// Lets go of what is too old, and of a room that nobody is in, as the configuration says.
    pub(super) fn empty_room(&mut self, id: ConferenceId) {
        let (keep, now) = (self.config.chat.keep, self.wire.now);
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        if let Keep::For(span) = keep {
            let gone = room.history.forget_until(now - span);
            let next = room.history.oldest().map(|oldest| oldest + span);
            if let Some(until) = gone {
                self.write_chat(ChatWrite::ForgetMessages { room: id, until });
            }
            if let Some(next) = next {
                self.wake_room(id, next);
            }
        }
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        if !room.is_empty() || !room.ledger.is_empty() {
            return;
        }
        if now < room.reserved {
            let until = room.reserved;
            return self.wake_room(id, until);
        }
        if keep != Keep::WhileOccupied && room.history.len() > 0 {
            if !std::mem::take(&mut room.banned).is_empty() {
                let write = room.write();
                self.keep_room_state(id, write);
            }
            return;
        }
        let kept = room.kept;
        self.chat.rooms.remove(&id);
        self.chat.resumptions.remove_room(id);
        if kept {
            self.write_chat(ChatWrite::ForgetRoom { room: id });
        }
    }

    /// The room is looked at again then; sooner, if an earlier look is due.
    fn wake_room(&mut self, id: ConferenceId, at: cordboard_model::Time) {
        let Some(room) = self.chat.rooms.get_mut(&id) else {
            return;
        };
        if room.wakes.is_none_or(|due| due > at || due <= self.wire.now) {
            room.wakes = Some(at);
            self.wire.timers.arm(at, Timer::Room(id));
        }
    }
}
