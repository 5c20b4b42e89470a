//! Who may watch a conference, and for how long: who may not join is not shown who has (RFC 4575 section 3.6).

use std::collections::HashSet;
use std::sync::Arc;

use cordboard_model::ConferenceId;
use cordboard_model::hook::conference::Role;

use super::{NO_RESOURCE, REJECTED};
use crate::arena::Key;
use crate::auth::Identity;
use crate::call::Place;
use crate::call::incoming::Caller;
use crate::engine::Engine;
use crate::sip::message::Refusal;

impl Engine {
    /// Whether a subscriber is shown who is in a conference: `None` if for good, else as whom, while he takes part.
    pub(super) fn may_watch(
        &mut self,
        conference: ConferenceId,
        role: Role,
        pin: Option<&str>,
        caller: &Caller,
    ) -> Result<Option<Identity>, Refusal> {
        let Some(config) = self.directory.conference(conference).map(Arc::clone) else {
            return Ok(None);
        };
        let entrance = match role {
            Role::Member => &config.member,
            Role::Moderator => &config.moderator,
        };
        // Whoever is in needs no PIN, and is not told whether one would do.
        if !entrance.pins.is_empty() && self.takes_part(conference, caller.identity) {
            return Ok(Some(caller.identity));
        }
        self.barred(&entrance.pins, pin, caller, conference)
            .map_or(Ok(None), Err)
    }

    /// Whether somebody is in a conference, by a call or by the chat WebSocket.
    pub(super) fn takes_part(&self, id: ConferenceId, identity: Identity) -> bool {
        let place = identity.credential();
        let user = place.map(|place| self.directory.credential(place).owner.as_str());
        self.own_call(id, identity).is_some() || self.own_chatter(id, user).is_some()
    }

    /// The names of the users for whom that holds.
    fn who_takes_part(&self, id: ConferenceId) -> HashSet<&str> {
        let members = self.conferences.get(&id).map(|conference| &conference.members);
        let calls = members
            .into_iter()
            .flatten()
            .filter_map(|key| self.calls.get(*key));
        let here = calls.filter(|call| call.place == Place::Conference(id));
        let callers = here.filter_map(|call| call.user.as_deref());
        let chatters = self.chatters_of(id).filter_map(|chatter| chatter.user.as_deref());
        callers.chain(chatters).collect()
    }

    /// Who is in a conference has changed, or whether it is configured.
    pub(crate) fn roster_changed(&mut self, id: ConferenceId) {
        let watching: Vec<Key> = self
            .subscriptions
            .keys()
            .into_iter()
            .filter(|key| self.subscriptions.get(*key).is_some_and(|s| s.conference == id))
            .collect();
        let exists = self.conference_config(id).is_some();
        let gone = self.gone_guests(id, &watching);
        for key in watching {
            if !exists {
                self.lose_subscription(key, NO_RESOURCE);
            } else if gone.contains(&key) {
                self.lose_subscription(key, REJECTED);
            } else {
                self.notify(key);
            }
        }
    }

    /// Which of these subscribers were let watch while they took part, and do so no more.
    fn gone_guests(&self, id: ConferenceId, watching: &[Key]) -> HashSet<Key> {
        let guest = |key: &Key| Some((*key, self.subscriptions.get(*key)?.guest?));
        let mut guests = watching.iter().filter_map(guest).peekable();
        if guests.peek().is_none() {
            return HashSet::new();
        }
        let here = self.who_takes_part(id);
        let is_here = |guest: Identity| {
            let place = guest.credential();
            place.is_some_and(|place| here.contains(self.directory.credential(place).owner.as_str()))
        };
        guests
            .filter(|(_, guest)| !is_here(*guest))
            .map(|(key, _)| key)
            .collect()
    }
}
