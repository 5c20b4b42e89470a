//! What must hold in a chat room whatever its clients say: shared by the mutations and the fuzz target.

#[path = "../../benches/house/mod.rs"]
mod house;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::Engine;
use cordboard_engine::chat::config::{ChatConfig, ChatUser, RoomConfig};
use cordboard_engine::chat::io::{ChatInput, ChatOutput, Proof, StartRequest};
use cordboard_engine::config::{ConferenceConfig, Config, Entrance};
use cordboard_engine::io::{Input, Output};
use cordboard_model::{AccountId, ConferenceId, Time};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The longest text that may be told, in bytes.
const LONGEST: usize = 4096;

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn config() -> Config {
    let account = AccountId(1);
    let user = |name: &str| ChatUser {
        account,
        username: name.into(),
        display_name: name.into(),
        token: Some(digest(name)),
        groups: vec!["/Lab".into()],
    };
    Config {
        conferences: vec![ConferenceConfig {
            id: ConferenceId(1),
            account,
            name: "Daily".into(),
            member: Entrance::default(),
            moderator: Entrance::default(),
            max_participants: 100,
            chat: true,
            room: RoomConfig {
                owner: Some("alice".into()),
                invite_codes: vec![1],
                ..RoomConfig::default()
            },
            outside_messages: false,
            send_events: false,
            echo_events: false,
            video: false,
            forward_audio: false,
        }],
        chat: ChatConfig {
            users: vec![user("alice"), user("bob")],
            ..ChatConfig::default()
        },
        ..house::config()
    }
}

/// A room with a moderator, a user and a guest, who come back whenever they are shown out.
pub(crate) struct Room {
    engine: Engine,
    now: Time,
    numbers: u64,
    /// The connections of the three, by place.
    clients: [u64; 3],
    open: BTreeSet<u64>,
    answers: BTreeMap<u64, (u16, Bytes)>,
    /// The date that each connection was told last, and the ids of the messages that it knows.
    told: BTreeMap<u64, (String, BTreeSet<String>)>,
    /// Frames that were told.
    pub(crate) frames: usize,
}

impl Room {
    /// Everybody has joined.
    pub(crate) fn new() -> Self {
        let now = Time::from_unix_seconds(1_800_000_000);
        let mut room = Self {
            engine: Engine::new(config(), [7; 32], now),
            now,
            numbers: 0,
            clients: [0; 3],
            open: BTreeSet::new(),
            answers: BTreeMap::new(),
            told: BTreeMap::new(),
            frames: 0,
        };
        for place in 0..3 {
            room.connect(place);
        }
        room
    }

    /// Somebody says something; who is not connected any more comes back first.
    pub(crate) fn say(&mut self, place: usize, frame: &[u8]) {
        let place = place % 3;
        if !self.open.contains(&self.clients[place]) {
            self.connect(place);
        }
        let connection = self.clients[place];
        if self.open.contains(&connection) {
            let frame = Bytes::copy_from_slice(frame);
            self.input(ChatInput::Frame { connection, frame });
        }
    }

    fn connect(&mut self, place: usize) {
        let (proof, body) = match place {
            0 => (Proof::Token(digest("alice")), String::new()),
            1 => (Proof::Token(digest("bob")), String::new()),
            _ => {
                let code = "00000000-0000-0000-0000-000000000001";
                (Proof::Invitation, json!({ "invite_code": code }).to_string())
            }
        };
        let source = "198.51.100.7".parse().expect("an address");
        self.numbers += 1;
        let request = self.numbers;
        self.input(ChatInput::Start(Box::new(StartRequest {
            request,
            source,
            room: ConferenceId(1).to_string(),
            proof,
            body: body.into(),
        })));
        let (status, answer) = self.answers.remove(&request).expect("it is answered at once");
        if status != 200 {
            assert_eq!(status, 403, "nothing but a ban keeps them away");
            return;
        }
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let ticket = answer["ticket"].as_str().expect("a ticket");
        self.numbers += 1;
        let connection = self.numbers;
        self.input(ChatInput::Open {
            connection,
            source,
            secure: false,
            protocols: Some(format!("opentalk-signaling-json-v1.0, ticket#{ticket}")),
            upgradable: true,
        });
        assert!(self.open.contains(&connection), "a fresh ticket opens");
        self.clients[place] = connection;
        self.say(
            place,
            br#"{"namespace":"control","payload":{"action":"join","display_name":"N"}}"#,
        );
    }

    fn input(&mut self, input: ChatInput) {
        self.now = self.now + Duration::from_millis(1);
        self.engine.handle(Input::Chat(input), self.now);
        while let Some(output) = self.engine.output() {
            match output {
                Output::Store { ticket, .. } => {
                    self.engine.handle(Input::Stored { ticket, ok: true }, self.now);
                }
                Output::Chat(output) => self.output(output),
                _ => {}
            }
        }
    }

    fn output(&mut self, output: ChatOutput) {
        match output {
            ChatOutput::Answer {
                request,
                status,
                body,
            } => drop(self.answers.insert(request, (status, body))),
            ChatOutput::Opened { connection, .. } => drop(self.open.insert(connection)),
            ChatOutput::Refused { .. } => {}
            ChatOutput::Close { connection, .. } => {
                assert!(self.open.remove(&connection), "closed once");
                self.told.remove(&connection);
            }
            ChatOutput::Send { to, frame } => {
                let frame: Value = serde_json::from_slice(&frame).expect("frames are JSON");
                for connection in to.iter() {
                    self.check(*connection, &frame);
                }
            }
        }
    }

    /// What must hold of every frame that somebody is told.
    fn check(&mut self, connection: u64, frame: &Value) {
        self.frames += 1;
        assert!(self.open.contains(&connection), "told after its close: {frame}");
        let at = frame["timestamp"].as_str().expect("every frame has a date");
        let payload = &frame["payload"];
        assert!(
            payload["message"].is_string() && frame["namespace"].is_string(),
            "{frame}"
        );
        let (last, known) = self.told.entry(connection).or_default();
        assert!(padded(at) >= padded(last), "{at} after {last}");
        at.clone_into(last);
        if payload["message"] == "message_sent" {
            let (id, content) = (payload["id"].to_string(), payload["content"].as_str());
            assert!(
                content.is_some_and(|text| (1..=LONGEST).contains(&text.len())),
                "{frame}"
            );
            assert!(known.insert(id), "told twice: {frame}");
        }
    }
}

/// A date with all nine digits of its fraction, so that texts compare like moments.
fn padded(at: &str) -> String {
    let (seconds, fraction) = at
        .trim_end_matches('Z')
        .split_once('.')
        .unwrap_or((at.trim_end_matches('Z'), ""));
    format!("{seconds}.{fraction:0<9}")
}
