//! Who may watch a conference, and for how long: who may not join is not shown who has (RFC 4575 section 3.6).

use std::sync::Arc;

use cordboard_model::ConferenceId;
use cordboard_model::hook::conference::Role;

use super::{NO_RESOURCE, REJECTED};
use crate::arena::Key;
use crate::auth::Identity;
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
        match self.barred(&entrance.pins, pin, caller, conference) {
            Some(_) if self.takes_part(conference, caller.identity) => Ok(Some(caller.identity)),
            Some(refusal) => Err(refusal),
            None => Ok(None),
        }
    }

    /// Whether somebody is in a conference, by a call or by the chat WebSocket.
    pub(super) fn takes_part(&self, id: ConferenceId, identity: Identity) -> bool {
        let place = identity.credential();
        let user = place.map(|place| self.directory.credential(place).owner.as_str());
        self.own_call(id, identity).is_some() || self.own_chatter(id, user).is_some()
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
        for key in watching {
            let guest = self.subscriptions.get(key).and_then(|s| s.guest);
            if !exists {
                self.lose_subscription(key, NO_RESOURCE);
            } else if guest.is_some_and(|guest| !self.takes_part(id, guest)) {
                self.lose_subscription(key, REJECTED);
            } else {
                self.notify(key);
            }
        }
    }
}
