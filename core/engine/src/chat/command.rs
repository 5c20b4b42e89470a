//! What chat clients say: one JSON object per frame, read into types.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::rfc3339;
use super::uuid::Uuid;

/// The frame around every command.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'f> {
    pub(crate) namespace: String,
    #[serde(borrow)]
    payload: &'f RawValue,
}

/// A command of one of the namespaces that are served.
#[derive(Debug)]
pub(crate) enum Command {
    Control(Control),
    Chat(Chat),
    Moderation(Moderation),
    Livekit(Livekit),
}

/// Why a frame holds no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not JSON, no envelope, or a payload of a namespace that is not as it must be.
    Json,
    /// A namespace that nobody serves.
    Namespace,
}

/// Who a chat command is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everybody in the room.
    Global,
    /// The members of a group.
    Group(String),
    /// One participant.
    Private(Uuid),
}

impl Scope {
    /// The word in frames.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Group(_) => "group",
            Self::Private(_) => "private",
        }
    }

    /// What stands beside it.
    pub fn target(&self) -> Option<String> {
        match self {
            Self::Global => None,
            Self::Group(name) => Some(name.clone()),
            Self::Private(id) => Some(id.to_string()),
        }
    }

    /// Reads what [`Scope::name`] and [`Scope::target`] wrote.
    pub fn read(name: &str, target: Option<&str>) -> Option<Self> {
        match (name, target) {
            ("global", _) => Some(Self::Global),
            ("group", Some(group)) => Some(Self::Group(group.to_owned())),
            ("private", Some(id)) => id.parse().ok().map(Self::Private),
            _ => None,
        }
    }
}

/// As it stands in a payload.
#[derive(Debug, Deserialize)]
struct Addressed {
    scope: String,
    #[serde(default)]
    target: Value,
}

impl TryFrom<Addressed> for Scope {
    type Error = &'static str;

    fn try_from(addressed: Addressed) -> Result<Self, &'static str> {
        Self::read(&addressed.scope, addressed.target.as_str()).ok_or("no scope, or not its target")
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "Addressed")]
pub(crate) struct To(Scope);

impl To {
    pub(crate) fn scope(self) -> Scope {
        self.0
    }
}

impl TryFrom<Addressed> for To {
    type Error = &'static str;

    fn try_from(addressed: Addressed) -> Result<Self, &'static str> {
        Scope::try_from(addressed).map(Self)
    }
}

/// A date, as it is written back.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Date(pub(crate) String);

impl TryFrom<String> for Date {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        rfc3339::normalise(&text).map(Self).ok_or("no date (RFC 3339)")
    }
}

/// Namespace `control`.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum Control {
    Join { display_name: String },
    EnterRoom,
    RaiseHand,
    LowerHand,
    GrantModeratorRole { target: Uuid },
    RevokeModeratorRole { target: Uuid },
}

/// Namespace `chat`.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum Chat {
    #[serde(rename = "enable_chat")]
    Enable,
    #[serde(rename = "disable_chat")]
    Disable,
    SendMessage {
        content: String,
        #[serde(flatten)]
        to: To,
    },
    ClearHistory,
    SetLastSeenTimestamp {
        timestamp: Date,
        #[serde(flatten)]
        to: To,
    },
    GetHistoryChunk {
        message_index: u64,
        #[serde(flatten)]
        to: To,
    },
    SearchHistory {
        term: String,
        #[serde(default)]
        message_index: Option<u64>,
        #[serde(flatten)]
        to: To,
    },
    /// An extension of ours.
    EditMessage {
        id: Uuid,
        content: String,
    },
    /// An extension of ours.
    DeleteMessage {
        id: Uuid,
    },
}

/// Namespace `moderation`.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum Moderation {
    Kick {
        target: Uuid,
    },
    Ban {
        target: Uuid,
    },
    EnableRaiseHands,
    DisableRaiseHands,
    ResetRaisedHands {
        #[serde(default)]
        target: Option<OneOrMore>,
    },
    EnableWaitingRoom,
    DisableWaitingRoom,
    Accept {
        target: Uuid,
    },
    SendToWaitingRoom {
        target: Uuid,
    },
    Debrief {
        kick_scope: KickScope,
    },
    ChangeDisplayName {
        target: Uuid,
        new_name: String,
    },
    Mute {
        participants: Vec<Uuid>,
    },
    /// An extension of ours: a caller cannot unmute itself.
    Unmute {
        participants: Vec<Uuid>,
    },
}

/// Namespace `livekit`: only what is about being heard.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum Livekit {
    ForceMute {
        participants: Vec<Uuid>,
    },
    EnableMicrophoneRestrictions {
        #[serde(default)]
        unrestricted_participants: Vec<Uuid>,
    },
    DisableMicrophoneRestrictions,
}

/// One participant or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMore {
    One(Uuid),
    More(Vec<Uuid>),
}

impl OneOrMore {
    pub(crate) fn contains(&self, id: Uuid) -> bool {
        match self {
            Self::One(one) => *one == id,
            Self::More(more) => more.contains(&id),
        }
    }
}

/// Who goes at a debriefing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KickScope {
    Guests,
    UsersAndGuests,
    All,
}

impl<'f> Envelope<'f> {
    /// # Errors
    /// It is no JSON, or no envelope.
    pub(crate) fn read(frame: &'f [u8]) -> Result<Self, Unreadable> {
        let is_object = frame.trim_ascii_start().starts_with(b"{"); // a list of the same is none
        let envelope = serde_json::from_slice(frame).ok().filter(|_| is_object);
        envelope.ok_or(Unreadable::Json)
    }

    /// # Errors
    /// Nobody serves the namespace, or its payload is not as it must be.
    pub(crate) fn command(&self) -> Result<Command, Unreadable> {
        fn read<'p, T: Deserialize<'p>>(payload: &'p RawValue) -> Result<T, Unreadable> {
            let command = serde_json::from_str(payload.get()).ok();
            command
                .filter(|_| payload.get().starts_with('{'))
                .ok_or(Unreadable::Json)
        }
        match self.namespace.as_str() {
            "control" => read(self.payload).map(Command::Control),
            "chat" => read(self.payload).map(Command::Chat),
            "moderation" => read(self.payload).map(Command::Moderation),
            "livekit" => read(self.payload).map(Command::Livekit),
            _ => Err(Unreadable::Namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frame: &str) -> Result<Command, Unreadable> {
        Envelope::read(frame.as_bytes()).and_then(|envelope| envelope.command())
    }

    #[test]
    fn commands_are_read_and_what_is_not_known_in_them_ignored() {
        let frame = r#"{"namespace":"chat","more":1,"payload":{"action":"send_message","scope":"group",
            "target":"/Lab","content":"hi","extra":[]}}"#;
        let Ok(Command::Chat(Chat::SendMessage { content, to })) = read(frame) else {
            panic!("a message");
        };
        assert_eq!(
            (content.as_str(), to.scope()),
            ("hi", Scope::Group("/Lab".into()))
        );
        let frame = r#"{"payload":{"content":"","scope":"global","target":7,"action":"send_message"},"namespace":"chat"}"#;
        assert!(matches!(read(frame), Ok(Command::Chat(Chat::SendMessage { .. }))));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (frame, why) in [
            ("", Unreadable::Json),
            ("[]", Unreadable::Json),
            ("[\"control\",{\"action\":\"raise_hand\"}]", Unreadable::Json),
            (
                "{\"namespace\":\"control\",\"payload\":[\"raise_hand\"]}",
                Unreadable::Json,
            ),
            ("{\"namespace\":\"chat\"}", Unreadable::Json),
            ("{\"payload\":{}}", Unreadable::Json),
            ("{\"namespace\":\"chat\",\"payload\":\"x\"}", Unreadable::Json),
            (
                "{\"namespace\":\"chat\",\"payload\":{\"action\":\"dance\"}}",
                Unreadable::Json,
            ),
            (
                "{\"namespace\":\"chat\",\"payload\":{\"action\":\"send_message\",\"scope\":\"private\",\
                  \"target\":\"ann\",\"content\":\"x\"}}",
                Unreadable::Json,
            ),
            (
                "{\"namespace\":\"control\",\"payload\":{\"action\":\"join\"}}",
                Unreadable::Json,
            ),
            (
                "{\"namespace\":\"polls\",\"payload\":{\"action\":\"x\"}}",
                Unreadable::Namespace,
            ),
        ] {
            assert_eq!(read(frame).unwrap_err(), why, "{frame}");
        }
    }

    #[test]
    fn hands_are_reset_for_one_for_some_for_none_or_for_all() {
        let id = "0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21";
        for (target, of) in [
            (format!(",\"target\":\"{id}\""), Some(true)),
            (format!(",\"target\":[\"{id}\"]"), Some(true)),
            (",\"target\":[]".to_owned(), Some(false)),
            (String::new(), None),
        ] {
            let frame = format!(
                "{{\"namespace\":\"moderation\",\"payload\":{{\"action\":\"reset_raised_hands\"{target}}}}}"
            );
            let Ok(Command::Moderation(Moderation::ResetRaisedHands { target })) = read(&frame) else {
                panic!("{frame}");
            };
            let id = id.parse().unwrap();
            assert_eq!(target.map(|target| target.contains(id)), of, "{frame}");
        }
    }
}
