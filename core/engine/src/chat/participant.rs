//! Somebody in a room: a user, a guest, or a caller.

use std::collections::BTreeMap;

use cordboard_model::{ConferenceId, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::command::Scope;
use super::io::{ChatWrite, StoredParticipant};
use super::rfc3339::Stamp;
use super::uuid::Uuid;
use crate::arena::Key;

/// The most conversations whose last seen message one participant can keep.
const SEEN: usize = 1000;

/// How somebody takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Guest,
    Sip,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Guest => "guest",
            Self::Sip => "sip",
        }
    }

    fn read(name: &str) -> Self {
        match name {
            "user" => Self::User,
            "sip" => Self::Sip,
            _ => Self::Guest,
        }
    }
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Guest,
    User,
    Moderator,
}

impl Standing {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::User => "user",
            Self::Moderator => "moderator",
        }
    }

    fn read(name: &str) -> Self {
        match name {
            "moderator" => Self::Moderator,
            "user" => Self::User,
            _ => Self::Guest,
        }
    }
}

/// Where somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// In the room, by a chat connection.
    Connection(u64),
    /// In the room, by a call.
    Leg(Key),
    /// In the waiting room; a moderator may have let it in already.
    Waiting { connection: u64, accepted: bool },
    /// In the waiting room by a call, which hears nothing and is not heard.
    Held(Key),
    /// Gone.
    Absent,
}

impl Presence {
    /// The call behind it, whether it is in the room or waits.
    pub(crate) const fn call(self) -> Option<Key> {
        match self {
            Self::Leg(leg) | Self::Held(leg) => Some(leg),
            Self::Connection(_) | Self::Waiting { .. } | Self::Absent => None,
        }
    }
}

/// What a participant has read, conversation by conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastSeen {
    global: Option<String>,
    private: BTreeMap<Uuid, String>,
    group: BTreeMap<String, String>,
}

impl LastSeen {
    /// Notes a date; false if there are too many.
    pub(crate) fn set(&mut self, scope: Scope, date: String) -> bool {
        if self.private.len() + self.group.len() >= SEEN {
            let known = match &scope {
                Scope::Global => true,
                Scope::Group(name) => self.group.contains_key(name),
                Scope::Private(id) => self.private.contains_key(id),
            };
            if !known {
                return false;
            }
        }
        match scope {
            Scope::Global => self.global = Some(date),
            Scope::Group(name) => drop(self.group.insert(name, date)),
            Scope::Private(id) => drop(self.private.insert(id, date)),
        }
        true
    }

    /// As it stands in `join_success`.
    pub(crate) fn add_to(&self, chat: &mut Value) {
        chat["last_seen_timestamp_global"] = json!(self.global);
        chat["last_seen_timestamps_private"] = json!(self.private);
        chat["last_seen_timestamps_group"] = json!(self.group);
    }
}

/// One participant.
#[derive(Debug, Clone)]
pub(crate) struct Participant {
    pub(crate) id: Uuid,
    pub(crate) kind: Kind,
    /// The user behind it, where one was proven.
    pub(crate) user: Option<String>,
    pub(crate) name: String,
    pub(crate) standing: Standing,
    pub(crate) owner: bool,
    pub(crate) groups: Vec<String>,
    pub(crate) hand: bool,
    pub(crate) hand_at: Time,
    pub(crate) joined: Time,
    pub(crate) left: Option<Time>,
    /// Lower joined earlier.
    pub(crate) order: u64,
    pub(crate) presence: Presence,
    /// A moderator has let it in once.
    pub(crate) admitted: bool,
    pub(crate) last_seen: LastSeen,
    /// SHA-256 of the token by which it may come back.
    pub(crate) resumption: Option<[u8; 32]>,
    /// Whether it is on disk.
    pub(crate) kept: bool,
}

impl Participant {
    pub(crate) const fn new(id: Uuid, kind: Kind, name: String, now: Time) -> Self {
        Self {
            id,
            kind,
            user: None,
            name,
            standing: match kind {
                Kind::User => Standing::User,
                Kind::Guest | Kind::Sip => Standing::Guest,
            },
            owner: false,
            groups: Vec::new(),
            hand: false,
            hand_at: now,
            joined: now,
            left: None,
            order: 0,
            presence: Presence::Absent,
            admitted: false,
            last_seen: LastSeen {
                global: None,
                private: BTreeMap::new(),
                group: BTreeMap::new(),
            },
            resumption: None,
            kept: false,
        }
    }

    /// Whether it is in the room, not only waiting for it.
    pub(crate) const fn is_in(&self) -> bool {
        matches!(self.presence, Presence::Connection(_) | Presence::Leg(_))
    }

    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.presence, Presence::Waiting { .. } | Presence::Held(_))
    }

    /// Whether it takes up the room: it is there, or would like to be.
    pub(crate) const fn is_there(&self) -> bool {
        !matches!(self.presence, Presence::Absent)
    }

    /// Its chat connection, if it is in the room by one.
    pub(crate) const fn connection(&self) -> Option<u64> {
        match self.presence {
            Presence::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    pub(crate) const fn leg(&self) -> Option<Key> {
        match self.presence {
            Presence::Leg(leg) => Some(leg),
            _ => None,
        }
    }

    pub(crate) const fn is_moderator(&self) -> bool {
        matches!(self.standing, Standing::Moderator)
    }

    pub(crate) fn in_group(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group == name)
    }

    /// The groups that it has in common with another.
    pub(crate) fn shared<'g>(&'g self, other: &Self) -> Vec<&'g str> {
        let both = self.groups.iter().filter(|group| other.in_group(group));
        both.map(String::as_str).collect()
    }

    fn control(&self) -> Value {
        json!({
            "display_name": self.name,
            "role": self.standing.name(),
            "participation_kind": self.kind.name(),
            "hand_is_up": self.hand,
            "hand_updated_at": Stamp(self.hand_at),
            "joined_at": Stamp(self.joined),
            "left_at": self.left.map(Stamp),
            "is_room_owner": self.owner,
        })
    }

    /// As another sees it who shares these groups.
    pub(crate) fn card(&self, groups: &[&str]) -> Value {
        json!({ "id": self.id, "control": self.control(), "chat": { "groups": groups } })
    }

    /// As it is seen in the waiting room.
    pub(crate) fn waiting_card(&self) -> Value {
        json!({ "id": self.id, "control": self.control() })
    }

    pub(crate) fn write(&self, room: ConferenceId) -> ChatWrite {
        let stored = StoredParticipant {
            id: self.id,
            kind: self.kind.name().into(),
            user: self.user.clone(),
            name: self.name.clone(),
            role: self.standing.name().into(),
            joined: self.joined,
            left: self.left,
            resumption: self.resumption,
            last_seen: serde_json::to_string(&self.last_seen).expect("its keys are texts"),
        };
        ChatWrite::Participant {
            room,
            participant: Box::new(stored),
        }
    }

    /// Somebody who was there before the switch started.
    pub(crate) fn load(stored: StoredParticipant, now: Time) -> Self {
        let mut participant = Self::new(stored.id, Kind::read(&stored.kind), stored.name, now);
        participant.user = stored.user;
        participant.standing = Standing::read(&stored.role);
        participant.joined = stored.joined;
        participant.hand_at = stored.joined;
        participant.left = Some(stored.left.unwrap_or(now));
        participant.resumption = stored.resumption;
        participant.last_seen = serde_json::from_str(&stored.last_seen).unwrap_or_default();
        participant.kept = true;
        participant
    }
}

/// A name as it is shown: outer white space gone, inner runs one blank; `None` if nothing or too much is left.
pub(crate) fn shown_name(given: &str) -> Option<String> {
    let name = given.split_whitespace().collect::<Vec<_>>().join(" ");
    (1..=100).contains(&name.len()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(shown_name("  Ann \t B "), Some("Ann B".into()));
        assert_eq!(shown_name(" \u{a0} "), None);
        assert_eq!(shown_name(&"x".repeat(100)).map(|name| name.len()), Some(100));
        assert_eq!(shown_name(&"x".repeat(101)), None);
        assert_eq!(shown_name(&"ä".repeat(51)), None, "bytes count");
    }

    #[test]
    fn what_was_seen_is_kept_and_bounded() {
        let mut seen = LastSeen::default();
        for n in 0..SEEN {
            assert!(seen.set(Scope::Private(Uuid(n as u128)), "a".into()));
        }
        assert!(!seen.set(Scope::Group("one more".into()), "a".into()));
        assert!(seen.set(Scope::Private(Uuid(0)), "b".into()) && seen.set(Scope::Global, "c".into()));
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<LastSeen>(&text).unwrap(), seen);
        let mut chat = json!({});
        LastSeen::default().add_to(&mut chat);
        assert_eq!(
            chat,
            json!({
                "last_seen_timestamp_global": null,
                "last_seen_timestamps_private": {},
                "last_seen_timestamps_group": {},
            })
        );
    }
}
