//! Conferences: made by the first who joins, gone with the last.

pub(crate) mod channel;
pub(crate) mod control;
pub(crate) mod copies;
pub(crate) mod event;
pub(crate) mod info;
pub(crate) mod join;
pub(crate) mod message;
pub(crate) mod multipart;
mod pin;
pub(crate) mod seat;
pub(crate) mod talking;
pub(crate) mod video;
pub(crate) mod waiting;

use std::sync::Arc;

use cordboard_model::hook::conference::ConferenceView;
use cordboard_model::{ConferenceId, MixId, ShardId, Time};

use crate::arena::Key;
use crate::call::Place;
use crate::conference::talking::Talk;
use crate::config::ConferenceConfig;
use crate::engine::Engine;

/// A conference that is alive.
#[derive(Debug)]
pub(crate) struct Conference {
    /// As it is configured, or was while it was.
    pub(crate) config: Arc<ConferenceConfig>,
    pub(crate) mix: MixId,
    pub(crate) shard: ShardId,
    /// The calls in it, in the order in which they joined.
    pub(crate) members: Vec<Key>,
    /// The calls that a moderator has not let in yet, or has sent back: they neither hear nor are heard.
    pub(crate) waiting: Vec<Key>,
    /// Calls that are on their way in.
    pub(crate) arriving: usize,
    /// When the first came.
    pub(crate) began: Time,
    /// Whether its participants were told that it began.
    pub(crate) started: bool,
    /// Only moderators come in.
    pub(crate) locked: bool,
    /// Everybody is being put out.
    pub(crate) ending: bool,
    pub(crate) talk: Talk,
}

impl Conference {
    pub(crate) fn occupants(&self) -> usize {
        self.members.len() + self.waiting.len() + self.arriving
    }
}

impl Engine {
    /// The mix of a conference for one more who arrives; makes the conference if it is the first.
    pub(crate) fn conference_mix(&mut self, config: Arc<ConferenceConfig>) -> (MixId, ShardId) {
        let id = config.id;
        if !self.conferences.contains_key(&id) {
            let (mix, shard) = (MixId(self.number()), self.quiet_shard());
            self.conferences.insert(
                id,
                Conference {
                    config,
                    mix,
                    shard,
                    members: Vec::new(),
                    waiting: Vec::new(),
                    arriving: 0,
                    began: self.wire.now,
                    started: false,
                    locked: false,
                    ending: false,
                    talk: Talk::default(),
                },
            );
        }
        let conference = self.conferences.get_mut(&id).expect("inserted above");
        conference.arriving += 1;
        (conference.mix, conference.shard)
    }

    /// What plugins are told about a conference: its callers and its chat clients are participants alike.
    pub(crate) fn view(&self, id: ConferenceId) -> ConferenceView {
        let callers = self.conferences.get(&id).map_or(0, |alive| alive.members.len());
        let participants = callers + self.chatters(id);
        ConferenceView {
            id,
            name: self
                .conference_config(id)
                .map(|config| config.name.clone())
                .unwrap_or_default(),
            participants: u32::try_from(participants).unwrap_or(u32::MAX),
        }
    }

    /// Whether a conference has as many participants as it may have, those on their way in counted.
    pub(crate) fn is_full(&self, id: ConferenceId) -> bool {
        let callers = self.conferences.get(&id).map_or(0, Conference::occupants);
        let most = self.conference_config(id).map(|config| config.max_participants);
        most.is_some_and(|most| callers + self.chatters(id) >= most as usize)
    }

    /// The name of the conference that a call is in.
    pub(crate) fn conference_name(&self, key: Key) -> String {
        match self.calls.get(key).map(|call| call.place) {
            Some(Place::Conference(id)) => self.view(id).name,
            _ => String::new(),
        }
    }
}
