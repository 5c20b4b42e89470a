//! What is done to a conference that is alive, whoever asks for it: mute, roles, lock, end.

use cordboard_model::media::MediaCommand;
use cordboard_model::{ConferenceId, LegId, ParticipantId};

use super::event::Event;
use crate::arena::Key;
use crate::call::Place;
use crate::engine::Engine;
use crate::io::ConferenceCommand;

/// The Reason of the BYE to one who is put out (RFC 3326).
const KICKED: &str = "SIP;cause=480;text=\"Removed from the conference\"";
/// The Reason of the BYEs when a conference is ended.
const ENDED: &str = "SIP;cause=480;text=\"The conference is over\"";

impl Engine {
    /// Does what was asked for; nothing where the conference or the participant is gone.
    pub(crate) fn control(&mut self, id: ConferenceId, command: ConferenceCommand) {
        use ConferenceCommand as Command;
        let member = match command {
            Command::Mute { participant, .. }
            | Command::Deafen { participant, .. }
            | Command::Hide { participant, .. }
            | Command::Silence { participant, .. }
            | Command::Role { participant, .. }
            | Command::Kick { participant } => self.member(id, participant),
            Command::Lock(_) | Command::End => None,
        };
        match (command, member) {
            (Command::Lock(locked), _) => self.lock(id, locked),
            (Command::End, _) => self.end_conference(id),
            (Command::Mute { muted, .. }, Some(key)) => self.mute(key, muted),
            (Command::Deafen { deaf, .. }, Some(key)) => self.deafen(key, deaf),
            (Command::Hide { hidden, .. }, Some(key)) => {
                if let Some(call) = self.calls.get_mut(key) {
                    call.leg.hidden = hidden;
                    self.describe(key);
                }
            }
            (Command::Silence { silenced, .. }, Some(key)) => {
                if let Some(call) = self.calls.get_mut(key) {
                    call.seat.silenced = silenced;
                }
            }
            (Command::Role { role, .. }, Some(key)) => {
                if let Some(call) = self.calls.get_mut(key) {
                    call.role = role;
                }
                self.roster_changed(id);
            }
            (Command::Kick { .. }, Some(key)) => self.kick(key),
            (_, None) => {}
        }
    }

    /// The call of a participant.
    fn member(&self, id: ConferenceId, participant: ParticipantId) -> Option<Key> {
        let key = self.legs.get(&LegId(participant.0)).copied()?;
        let conference = self.conferences.get(&id)?;
        let is_there = conference.members.contains(&key) || conference.waiting.contains(&key);
        is_there.then_some(key)
    }

    /// Nobody hears this participant any more, or everybody does again.
    pub(crate) fn mute(&mut self, key: Key, muted: bool) {
        let Some(call) = self.calls.get_mut(key).filter(|call| call.leg.muted != muted) else {
            return;
        };
        call.leg.muted = muted;
        let (place, waits) = (call.place, call.seat.waits);
        self.set_gate(key);
        let Place::Conference(id) = place else { return };
        if waits {
            return; // nobody knows it yet
        }
        if muted {
            self.talk_changed(id, key, false);
        }
        self.tell_about(id, if muted { Event::Mute } else { Event::Unmute }, key);
        self.roster_changed(id);
    }

    /// This participant hears nobody any more, or everybody again.
    pub(crate) fn deafen(&mut self, key: Key, deaf: bool) {
        let Some(call) = self.calls.get_mut(key).filter(|call| call.leg.deaf != deaf) else {
            return;
        };
        call.leg.deaf = deaf;
        let place = call.place;
        self.set_gate(key);
        if let Place::Conference(id) = place {
            self.roster_changed(id);
        }
    }

    pub(crate) fn set_gate(&mut self, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        let (shard, command) = (
            call.leg.shard,
            MediaCommand::Gate {
                leg: call.leg.id,
                muted: call.is_muted(),
                deaf: call.is_deaf(),
            },
        );
        self.describe(key); // who waits is not seen and sees nobody, whatever its lines say
        self.media(shard, command);
    }

    /// Puts a participant out.
    pub(crate) fn kick(&mut self, key: Key) {
        self.hang_up(key, "kicked", Some(KICKED));
    }

    /// Whether a conference is locked, which keeps out all but moderators.
    pub(crate) fn is_locked(&self, id: ConferenceId) -> bool {
        self.conferences
            .get(&id)
            .is_some_and(|conference| conference.locked)
    }

    /// Lets no more members in, or lets them in again; moderators always come in.
    pub(crate) fn lock(&mut self, id: ConferenceId, locked: bool) {
        let conference = self.conferences.get_mut(&id);
        let Some(conference) = conference.filter(|conference| conference.locked != locked) else {
            return;
        };
        conference.locked = locked;
        self.tell_all(id, if locked { Event::Lock } else { Event::Unlock });
        self.roster_changed(id);
    }

    /// Ends a conference for everybody in it.
    pub(crate) fn end_conference(&mut self, id: ConferenceId) {
        self.tell_all(id, Event::End);
        let members = self.conferences.get(&id).map(|conference| {
            let all = conference.members.iter().chain(&conference.waiting);
            all.copied().collect::<Vec<_>>()
        });
        // Whoever leaves now is not news to the others, who leave too.
        if let Some(conference) = self.conferences.get_mut(&id) {
            conference.ending = true;
        }
        for key in members.unwrap_or_default() {
            self.hang_up(key, "conference_ended", Some(ENDED));
        }
        if let Some(conference) = self.conferences.get_mut(&id) {
            conference.ending = false; // some were still on their way in
        }
    }
}
