//! Who talks: told at once when it was quiet, then gathered, so that a crowd does not flood its own
//! conference.

use std::time::Duration;

use cordboard_model::{ConferenceId, LegId, Time};

use super::event::Event;
use crate::arena::Key;
use crate::call::Place;
use crate::engine::Engine;
use crate::timer::Timer;

/// Changes within this time after the last ones were told are told together at its end.
const GATHER: Duration = Duration::from_millis(200);

/// What is not told yet in one conference.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    /// Whose talking has changed, in the order in which it did, and to what.
    changed: Vec<(Key, bool)>,
    /// Nothing is told before this.
    quiet_until: Time,
    /// A timer is armed for that.
    timed: bool,
}

impl Engine {
    /// A participant began or stopped to talk.
    pub(crate) fn talking(&mut self, leg: LegId, on: bool) {
        let Some(key) = self.legs.get(&leg).copied() else {
            return;
        };
        let Some(call) = self.calls.get(key) else { return };
        let (place, on) = (call.place, on && !call.is_muted());
        if let Place::Conference(id) = place {
            self.talk_changed(id, key, on);
        }
    }

    pub(crate) fn talk_changed(&mut self, id: ConferenceId, key: Key, on: bool) {
        let now = self.wire.now;
        let Some(conference) = self.conferences.get_mut(&id) else {
            return;
        };
        if !conference.config.send_events || !conference.members.contains(&key) {
            return;
        }
        let talk = &mut conference.talk;
        match talk.changed.iter_mut().find(|(other, _)| *other == key) {
            Some((_, state)) => *state = on,
            None => talk.changed.push((key, on)),
        }
        if talk.quiet_until <= now {
            return self.tell_talking(id);
        }
        if !talk.timed {
            talk.timed = true;
            let at = talk.quiet_until;
            self.wire.timers.arm(at, Timer::Talking(id));
        }
    }

    /// What was gathered may be told.
    pub(crate) fn talking_timer(&mut self, id: ConferenceId) {
        if let Some(conference) = self.conferences.get_mut(&id) {
            conference.talk.timed = false;
            self.tell_talking(id);
        }
    }

    /// Who has stopped again since the last time, or has left, is not worth a word.
    fn tell_talking(&mut self, id: ConferenceId) {
        let now = self.wire.now;
        let Some(conference) = self.conferences.get_mut(&id) else {
            return;
        };
        let changed = std::mem::take(&mut conference.talk.changed);
        let mut told = false;
        for (key, on) in changed {
            let Some(call) = self.calls.get_mut(key).filter(|call| call.seat.talking != on) else {
                continue;
            };
            call.seat.talking = on;
            told = true;
            self.tell_about(id, Event::Talking(on), key);
        }
        if told && let Some(conference) = self.conferences.get_mut(&id) {
            conference.talk.quiet_until = now + GATHER;
        }
    }
}
