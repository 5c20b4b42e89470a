//! A chat client: it gets a ticket, opens a connection and says what the story says. And the disk that a chat is
//! kept on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use cordboard_engine::chat::Uuid;
use cordboard_engine::chat::io::{
    ChatInput, ChatWrite, Departure, KeptRoom, Proof, StartRequest, StoredMessage, StoredParticipant,
    StoredRoom,
};
use cordboard_engine::io::Input;
use cordboard_model::ConferenceId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{Told, World};

pub(crate) const ROOM: &str = "000000000000000000000000000000c0";
/// The invite code of the room.
pub(crate) const INVITATION: &str = "00000000-0000-0000-0000-000000001117";
pub(crate) const PROTOCOL: &str = "opentalk-signaling-json-v1.0";

pub(crate) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// A number for a request or connection.
fn number() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: u64,
    /// The participant's id, once it has joined.
    pub(crate) id: String,
    /// The token by which it may come back.
    pub(crate) resumption: String,
    read: usize,
}

/// Asks for a ticket: status and body.
pub(crate) fn start(world: &mut World, room: &str, proof: Proof, body: &Value) -> (u16, Value) {
    let request = number();
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    world.handle(Input::Chat(ChatInput::Start(Box::new(StartRequest {
        request,
        source: "198.51.100.77".parse().unwrap(),
        room: room.into(),
        proof,
        body: body.into(),
    }))));
    world
        .answers
        .remove(&request)
        .expect("a request is answered at once")
}

pub(crate) fn token(user: &str) -> Proof {
    Proof::Token(digest(&format!("{user}-token")))
}

/// Opens a connection with these subprotocols: status and what was said about it.
pub(crate) fn open(world: &mut World, protocols: Option<&str>) -> (u64, u16, Value) {
    let connection = number();
    world.handle(Input::Chat(ChatInput::Open {
        connection,
        source: "198.51.100.77".parse().unwrap(),
        secure: false,
        protocols: protocols.map(Into::into),
        upgradable: true,
    }));
    let (status, said) = world
        .answers
        .remove(&connection)
        .expect("a handshake is answered at once");
    (connection, status, said)
}

impl Client {
    /// A user's client, connected but not joined.
    pub(crate) fn user(world: &mut World, user: &str) -> Self {
        Self::begin(world, token(user), &Value::Null)
    }

    /// A guest's.
    pub(crate) fn guest(world: &mut World) -> Self {
        Self::begin(world, Proof::Invitation, &json!({ "invite_code": INVITATION }))
    }

    /// Connects with what is given.
    pub(crate) fn begin(world: &mut World, proof: Proof, body: &Value) -> Self {
        let (status, answer) = start(world, ROOM, proof, body);
        assert_eq!(status, 200, "{answer}");
        Self::opened(world, &answer)
    }

    /// With the ticket of an answer.
    pub(crate) fn opened(world: &mut World, answer: &Value) -> Self {
        let ticket = answer["ticket"].as_str().expect("a ticket");
        let (connection, status, said) = open(world, Some(&format!("{PROTOCOL}, ticket#{ticket}")));
        assert_eq!(status, 101, "{said}");
        Self {
            connection,
            id: String::new(),
            resumption: answer["resumption"].as_str().expect("a token").into(),
            read: 0,
        }
    }

    /// A user who has joined, and what it was told.
    pub(crate) fn joined(world: &mut World, user: &str) -> Self {
        let mut client = Self::user(world, user);
        client.join(world, user);
        client
    }

    /// A guest who has joined.
    pub(crate) fn guest_joined(world: &mut World, name: &str) -> Self {
        let mut client = Self::guest(world);
        client.join(world, name);
        client
    }

    /// Joins and gives the payload of `join_success`.
    pub(crate) fn join(&mut self, world: &mut World, name: &str) -> Value {
        self.say(
            world,
            "control",
            json!({ "action": "join", "display_name": name }),
        );
        let success = self.payload(world);
        assert_eq!(success["message"], "join_success", "{success}");
        self.id = success["id"].as_str().expect("an id").into();
        success
    }

    /// Sends a frame.
    pub(crate) fn raw(&self, world: &mut World, frame: &str) {
        world.handle(Input::Chat(ChatInput::Frame {
            connection: self.connection,
            frame: frame.to_owned().into(),
        }));
    }

    /// Sends a command.
    pub(crate) fn say(&self, world: &mut World, namespace: &str, payload: Value) {
        let frame = json!({ "namespace": namespace, "payload": payload });
        self.raw(world, &frame.to_string());
    }

    /// Sends a command that is no more than its name.
    pub(crate) fn act(&self, world: &mut World, namespace: &str, action: &str) {
        self.say(world, namespace, json!({ "action": action }));
    }

    /// Sends a command about somebody.
    pub(crate) fn about(&self, world: &mut World, namespace: &str, action: &str, target: &str) {
        self.say(world, namespace, json!({ "action": action, "target": target }));
    }

    /// Writes to everybody.
    pub(crate) fn write(&self, world: &mut World, content: &str) {
        let payload = json!({ "action": "send_message", "scope": "global", "content": content });
        self.say(world, "chat", payload);
    }

    /// Writes to a group or one participant.
    pub(crate) fn write_to(&self, world: &mut World, scope: &str, target: &str, content: &str) {
        let payload =
            json!({ "action": "send_message", "scope": scope, "target": target, "content": content });
        self.say(world, "chat", payload);
    }

    /// The connection ends from the client's side.
    pub(crate) fn leave(&self, world: &mut World, departure: Departure) {
        world.handle(Input::Chat(ChatInput::Closed {
            connection: self.connection,
            departure,
        }));
    }

    /// Everything that it has been told and has not looked at.
    pub(crate) fn told(&mut self, world: &World) -> Vec<Told> {
        let all = world
            .chat
            .get(&self.connection)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let news = all[self.read..].to_vec();
        self.read = all.len();
        news
    }

    /// The next frame.
    pub(crate) fn frame(&mut self, world: &World) -> Value {
        let all = world
            .chat
            .get(&self.connection)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let Some(Told::Frame(frame)) = all.get(self.read) else {
            panic!("a frame is expected, not {:?}", all.get(self.read));
        };
        self.read += 1;
        assert!(frame["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')));
        frame.clone()
    }

    /// The payload of the next frame.
    pub(crate) fn payload(&mut self, world: &World) -> Value {
        self.frame(world)["payload"].clone()
    }

    /// The name of the next event.
    pub(crate) fn next(&mut self, world: &World) -> String {
        let payload = self.payload(world);
        payload["message"]
            .as_str()
            .expect("every event has a name")
            .into()
    }

    /// What was written in the messages that it has been told, in their order; other events are left out.
    pub(crate) fn heard(&mut self, world: &World) -> Vec<String> {
        let frames = self.told(world).into_iter().filter_map(|told| match told {
            Told::Frame(frame) if frame["payload"]["message"] == "message_sent" => Some(frame),
            _ => None,
        });
        frames
            .map(|frame| {
                frame["payload"]["content"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    /// The names of the events that it has been told.
    pub(crate) fn events(&mut self, world: &World) -> Vec<String> {
        let name = |told: Told| match told {
            Told::Frame(frame) => match &frame["payload"]["error"] {
                Value::String(error) => format!("error {error}"),
                _ => frame["payload"]["message"].as_str().unwrap_or_default().into(),
            },
            Told::Closed(code) => format!("closed {code}"),
        };
        self.told(world).into_iter().map(name).collect()
    }

    /// Whether nothing new has come.
    pub(crate) fn has_nothing(&mut self, world: &World) {
        assert_eq!(self.told(world), []);
    }
}

/// What is on disk of the chat, as a store would have it.
#[derive(Debug, Default)]
pub(crate) struct ChatDisk {
    rooms: BTreeMap<ConferenceId, StoredRoom>,
    messages: BTreeMap<ConferenceId, Vec<StoredMessage>>,
    people: BTreeMap<(ConferenceId, Uuid), StoredParticipant>,
}

impl ChatDisk {
    pub(crate) fn write(&mut self, write: &ChatWrite) {
        use cordboard_engine::chat::Scope;
        match write {
            ChatWrite::Room(room) => drop(self.rooms.insert(room.id, room.clone())),
            ChatWrite::Message { room, message } => {
                let log = self.messages.entry(*room).or_default();
                log.retain(|old| old.id != message.id);
                log.push((**message).clone());
                log.sort_by_key(|message| message.at);
            }
            ChatWrite::EditMessage { room, message } => {
                let log = self.messages.entry(*room).or_default();
                if let Some(old) = log.iter_mut().find(|old| old.id == message.id) {
                    *old = (**message).clone();
                }
            }
            ChatWrite::DeleteMessage { room, id } => {
                self.messages
                    .entry(*room)
                    .or_default()
                    .retain(|old| old.id != *id);
            }
            ChatWrite::ClearGlobal { room, until } => {
                let log = self.messages.entry(*room).or_default();
                log.retain(|old| old.at > *until || old.scope != Scope::Global);
            }
            ChatWrite::ForgetMessages { room, until } => {
                self.messages
                    .entry(*room)
                    .or_default()
                    .retain(|old| old.at > *until);
            }
            ChatWrite::ForgetGroup { room, group, until } => {
                let log = self.messages.entry(*room).or_default();
                log.retain(|old| old.at > *until || old.scope != Scope::Group(group.clone()));
            }
            ChatWrite::Participant { room, participant } => {
                self.people
                    .insert((*room, participant.id), (**participant).clone());
            }
            ChatWrite::ForgetParticipant { room, id } => drop(self.people.remove(&(*room, *id))),
            ChatWrite::ForgetRoom { room } => {
                self.rooms.remove(room);
                self.messages.remove(room);
                self.people.retain(|(other, _), _| other != room);
            }
        }
    }

    pub(crate) fn rooms(mut self) -> Vec<KeptRoom> {
        let rooms = std::mem::take(&mut self.rooms);
        rooms
            .into_values()
            .map(|room| KeptRoom {
                participants: self
                    .people
                    .iter()
                    .filter(|((other, _), _)| *other == room.id)
                    .map(|(_, participant)| participant.clone())
                    .collect(),
                messages: self.messages.remove(&room.id).unwrap_or_default(),
                room,
            })
            .collect()
    }
}
