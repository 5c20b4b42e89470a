//! A room: who is in it, what holds there, what was said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cordboard_model::{ConferenceId, Time};
use serde_json::{Value, json};

use super::frame::event;
use super::history::History;
use super::io::{ChatWrite, StoredRoom};
use super::ledger::{Entry, Row};
use super::participant::{Participant, Presence, Standing};
use super::uuid::Uuid;
use crate::arena::Key;
use crate::config::ConferenceConfig;

/// Those who left and are still named to joiners, at most; with more, those go who wrote nothing.
const GONE: usize = 2000;

/// A room. It is there while somebody is in it or may come back, or while its messages are kept.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) config: Arc<ConferenceConfig>,
    /// Whether one may write.
    pub(crate) enabled: bool,
    pub(crate) waiting_room: bool,
    pub(crate) raise_hands: bool,
    /// While microphones are restricted: who may speak nevertheless.
    pub(crate) unrestricted: Option<BTreeSet<Uuid>>,
    pub(crate) participants: BTreeMap<Uuid, Participant>,
    /// The participants behind calls.
    pub(crate) legs: BTreeMap<Key, Uuid>,
    /// Users who may not come back while the room lives.
    pub(crate) banned: BTreeSet<String>,
    pub(crate) history: History,
    /// What is to be said and done, in this order.
    pub(crate) ledger: VecDeque<Entry>,
    /// Somebody who was cut off may come back until then, so an empty room waits.
    pub(crate) reserved: Time,
    /// Whether anything of it is on disk, or on its way there.
    pub(crate) kept: bool,
    /// Whether a failed commit lost what holds in it.
    lost: bool,
    /// Whom a failed commit lost.
    lost_people: BTreeSet<Uuid>,
    /// When a timer looks at it.
    pub(crate) wakes: Option<Time>,
    everyone: Option<Arc<[u64]>>,
    stamp: Time,
    serial: u64,
}

impl Room {
    pub(crate) fn new(config: Arc<ConferenceConfig>, now: Time) -> Self {
        Self {
            enabled: config.chat,
            waiting_room: config.room.waiting_room,
            raise_hands: true,
            unrestricted: None,
            participants: BTreeMap::new(),
            legs: BTreeMap::new(),
            banned: BTreeSet::new(),
            history: History::default(),
            ledger: VecDeque::new(),
            reserved: now,
            kept: false,
            lost: false,
            lost_people: BTreeSet::new(),
            wakes: None,
            everyone: None,
            stamp: now,
            serial: 0,
            config,
        }
    }

    /// A date later than any before in this room.
    pub(crate) fn stamp(&mut self, now: Time) -> Time {
        self.stamp = now.max(self.stamp + Duration::from_nanos(1));
        self.stamp
    }

    /// No date of this room is earlier than this one from now on.
    pub(crate) fn stamped(&mut self, at: Time) {
        self.stamp = self.stamp.max(at);
    }

    /// Somebody comes in, or back.
    pub(crate) fn admit(&mut self, mut participant: Participant, presence: Presence, now: Time) {
        self.serial += 1;
        participant.order = self.serial;
        participant.presence = presence;
        participant.joined = now;
        participant.left = None;
        self.leave_place(participant.id);
        if let Some(leg) = presence.call() {
            self.legs.insert(leg, participant.id);
        }
        self.participants.insert(participant.id, participant);
    }

    /// Whoever this is: it is not where it was any more.
    fn leave_place(&mut self, id: Uuid) {
        if let Some(leg) = self.participants.get(&id).and_then(|known| known.presence.call()) {
            self.legs.remove(&leg);
        }
        self.everyone = None;
    }

    /// Changes where somebody is.
    pub(crate) fn place(&mut self, id: Uuid, presence: Presence) {
        self.leave_place(id);
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.presence = presence;
            if let Some(leg) = presence.call() {
                self.legs.insert(leg, id);
            }
        }
    }

    /// The connections of all who are in the room.
    pub(crate) fn everyone(&mut self) -> Arc<[u64]> {
        let participants = &self.participants;
        let everyone = self.everyone.get_or_insert_with(|| {
            participants
                .values()
                .filter_map(Participant::connection)
                .collect()
        });
        Arc::clone(everyone)
    }

    /// The connections of those in the room whom `chosen` takes.
    pub(crate) fn those(&self, chosen: impl Fn(&Participant) -> bool) -> Arc<[u64]> {
        self.participants
            .values()
            .filter(|participant| chosen(participant))
            .filter_map(Participant::connection)
            .collect()
    }

    /// The calls of those in the room whom `chosen` takes, sorted.
    pub(crate) fn legs_of(&self, chosen: impl Fn(&Participant) -> bool) -> Vec<Key> {
        let all = self.participants.values();
        let mut legs: Vec<Key> = all
            .filter(|participant| chosen(participant))
            .filter_map(Participant::leg)
            .collect();
        legs.sort_unstable();
        legs
    }

    /// Somebody who is in the room.
    pub(crate) fn present(&self, id: Uuid) -> Option<&Participant> {
        self.participants
            .get(&id)
            .filter(|participant| participant.is_in())
    }

    /// How many are in the room by a chat connection.
    pub(crate) fn chatters(&self) -> usize {
        match &self.everyone {
            Some(everyone) => everyone.len(),
            None => self
                .participants
                .values()
                .filter_map(Participant::connection)
                .count(),
        }
    }

    /// Whether nobody is there, nor waits to be.
    pub(crate) fn is_empty(&self) -> bool {
        !self.participants.values().any(Participant::is_there)
    }

    /// The others, as somebody who joins sees them: those who are there and those who left, in the order of
    /// their coming.
    pub(crate) fn others(&self, joiner: &Participant) -> Vec<Value> {
        let mut others: Vec<_> = self
            .participants
            .values()
            .filter(|other| other.id != joiner.id && (other.is_in() || other.left.is_some()))
            .collect();
        others.sort_unstable_by_key(|other| other.order);
        others
            .iter()
            .map(|other| other.card(&other.shared(joiner)))
            .collect()
    }

    /// Those who wait, as moderators see them.
    pub(crate) fn waiting(&self) -> Vec<Value> {
        let mut waiting: Vec<_> = self.participants.values().filter(|p| p.is_waiting()).collect();
        waiting.sort_unstable_by_key(|participant| participant.order);
        waiting.iter().map(|p| p.waiting_card()).collect()
    }

    /// An event about a participant, for each set of groups that others share with it.
    pub(crate) fn about(&self, id: Uuid, message: &str, at: Time) -> Vec<(Arc<[u64]>, bytes::Bytes)> {
        let Some(subject) = self.participants.get(&id) else {
            return Vec::new();
        };
        let mut audiences: BTreeMap<Vec<&str>, Vec<u64>> = BTreeMap::new();
        for other in self.participants.values().filter(|other| other.id != id) {
            if let Some(connection) = other.connection() {
                audiences
                    .entry(subject.shared(other))
                    .or_default()
                    .push(connection);
            }
        }
        audiences
            .into_iter()
            .map(|(groups, to)| (to.into(), event("control", at, message, subject.card(&groups))))
            .collect()
    }

    /// What moderators, and in part everybody, are told at joining.
    pub(crate) fn moderation(&self, joiner: &Participant) -> Value {
        let mut told = json!({ "raise_hands_enabled": self.raise_hands });
        if joiner.is_moderator() {
            told["waiting_room_enabled"] = self.waiting_room.into();
            told["waiting_room_participants"] = self.waiting().into();
        }
        told
    }

    /// The role that somebody has who comes in by itself.
    pub(crate) fn standing_of(&self, participant: &Participant) -> Standing {
        if participant.owner {
            return Standing::Moderator;
        }
        participant.standing
    }

    /// Forgets somebody who left long ago and wrote nothing, where too many did.
    pub(crate) fn forget_one(&mut self) -> Option<Uuid> {
        let gone = self.participants.values().filter(|p| !p.is_there());
        if gone.clone().count() <= GONE {
            return None;
        }
        let mut gone: Vec<_> = gone.map(|p| (p.left, p.id)).collect();
        gone.sort_unstable();
        let silent = gone.iter().find(|(_, id)| !self.history.has_author(*id));
        let (_, id) = silent.or_else(|| gone.first()).copied()?;
        self.participants.remove(&id);
        Some(id)
    }

    /// A commit failed, and this with it.
    pub(crate) fn lost(&mut self, row: Row) {
        match row {
            Row::Room => self.lost = true,
            Row::Participant(id) => drop(self.lost_people.insert(id)),
            Row::Other => {}
        }
    }

    /// What must be written before anything else of this room is: nothing, nearly always.
    pub(crate) fn unwritten(&mut self) -> Vec<ChatWrite> {
        let mut writes = Vec::new();
        if std::mem::take(&mut self.lost) || !self.kept {
            self.kept = true;
            writes.push(self.write());
        }
        if !self.lost_people.is_empty() {
            let lost = std::mem::take(&mut self.lost_people);
            let known = lost.iter().filter_map(|id| self.participants.get(id));
            writes.extend(known.map(|participant| participant.write(self.id())));
        }
        writes
    }

    pub(crate) fn write(&self) -> ChatWrite {
        ChatWrite::Room(StoredRoom {
            id: self.id(),
            enabled: self.enabled,
            waiting_room: self.waiting_room,
            raise_hands: self.raise_hands,
            banned: self.banned.iter().cloned().collect(),
        })
    }

    pub(crate) fn id(&self) -> ConferenceId {
        self.config.id
    }
}
