//! Conferences: made by the first who joins, gone with the last.

pub(crate) mod info;
pub(crate) mod join;
pub(crate) mod message;

use cordboard_model::hook::conference::ConferenceView;
use cordboard_model::{MixId, ShardId};

use crate::arena::Key;
use crate::call::Place;
use crate::engine::Engine;

/// A conference that is alive.
#[derive(Debug)]
pub(crate) struct Conference {
    pub(crate) mix: MixId,
    pub(crate) shard: ShardId,
    /// The calls in it, in the order in which they joined.
    pub(crate) members: Vec<Key>,
    /// Calls that are on their way in.
    pub(crate) arriving: usize,
}

impl Conference {
    pub(crate) fn occupants(&self) -> usize {
        self.members.len() + self.arriving
    }
}

impl Engine {
    /// The mix of a conference for one more who arrives; makes the conference if it is the first.
    pub(crate) fn conference_mix(&mut self, place: usize) -> (MixId, ShardId) {
        if !self.conferences.contains_key(&place) {
            let (mix, shard) = (MixId(self.number()), self.quiet_shard());
            self.conferences.insert(
                place,
                Conference {
                    mix,
                    shard,
                    members: Vec::new(),
                    arriving: 0,
                },
            );
        }
        let conference = self.conferences.get_mut(&place).expect("inserted above");
        conference.arriving += 1;
        (conference.mix, conference.shard)
    }

    /// What plugins are told about a conference.
    pub(crate) fn view(&self, place: usize) -> ConferenceView {
        let config = &self.config.conferences[place];
        let participants = self
            .conferences
            .get(&place)
            .map_or(0, |conference| conference.members.len());
        ConferenceView {
            id: config.id,
            name: config.name.clone(),
            participants: u32::try_from(participants).unwrap_or(u32::MAX),
        }
    }

    /// The name of the conference that a call is in.
    pub(crate) fn conference_name(&self, key: Key) -> String {
        match self.calls.get(key).map(|call| call.place) {
            Some(Place::Conference(place)) => self.config.conferences[place].name.clone(),
            _ => String::new(),
        }
    }
}
