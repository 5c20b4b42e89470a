//! The world around an engine: a network that delivers at once, shards that always have a port, a store
//! that always writes, plugins that say what the story says, and a clock that the story moves.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::Engine;
use cordboard_engine::chat::config::{ChatConfig, ChatUser, RoomConfig};
use cordboard_engine::chat::io::ChatOutput;
use cordboard_engine::config::{
    AbuseLimits, Account, ChainRule, ConferenceConfig, Config, Credential, DigestAlgorithm, Entrance, Hooks,
    Limits, Listener, MailLimits, RegistrationLimits,
};
use cordboard_engine::io::{
    Flow, Input, Notice, Output, StoreWrite, StoredBinding, StoredMessage, Transport,
};
use cordboard_engine::limits::Ban;
use cordboard_engine::record::CallRecord;
use cordboard_engine::sip::digest::{ha1_md5, ha1_sha256};
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_model::hook::OnFailure;
use cordboard_model::media::peer::{Candidate, IceCredentials, LocalPeer, PeerCommand, PeerEvent};
use cordboard_model::media::{Codec, LegTotals, MediaCommand, MediaEvent};
use cordboard_model::{AccountId, Ask, ConferenceId, Ticket, Time, UserId, Verdict};

use crate::meeting::ChatDisk;

/// A message that the engine sent.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) flow: Flow,
    pub(crate) message: Message,
}

/// The world.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    /// Everything that was sent and that no phone has taken yet.
    pub(crate) wire: VecDeque<Delivery>,
    pub(crate) media: Vec<MediaCommand>,
    pub(crate) writes: Vec<StoreWrite>,
    /// Questions to plugins that the story has to answer.
    pub(crate) asked: VecDeque<(Ticket, Ask)>,
    /// Whether the store says that it wrote.
    pub(crate) disk_works: bool,
    pub(crate) drained: bool,
    pub(crate) bans: Vec<Ban>,
    /// Until when PINs are refused to whom has guessed them.
    pub(crate) pins_refused: Vec<Time>,
    /// The addresses of record of contacts that gave way.
    pub(crate) dropped: Vec<String>,
    pub(crate) records: Vec<CallRecord>,
    /// Calls that are up, as they are kept for the case that the switch is killed.
    pub(crate) kept: Vec<CallRecord>,
    /// Whether shards report what a leg moved.
    pub(crate) totals_come: bool,
    /// What the switch measures: how long each message took to relay, and each fan-out, by kind.
    pub(crate) relays: Vec<Duration>,
    pub(crate) fanouts: Vec<(&'static str, Duration)>,
    /// Connections that the engine wants closed.
    pub(crate) closed: Vec<u64>,
    /// What chat clients were told, by connection: frames, and the code of the close.
    pub(crate) chat: BTreeMap<u64, Vec<Told>>,
    /// Answers to requests for tickets and handshakes, by the number of the request or connection.
    pub(crate) answers: BTreeMap<u64, (u16, serde_json::Value)>,
    /// Writes of the chat wait until the story commits them.
    pub(crate) disk_waits: bool,
    /// So do all others.
    pub(crate) disk_hangs: bool,
    uncommitted: Vec<(Ticket, StoreWrite)>,
    ports: u16,
    config: Config,
}

/// What a chat client is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Frame(serde_json::Value),
    Closed(u16),
}

pub(crate) const REALM: &str = "lab.test";

pub(crate) fn config() -> Config {
    let account = AccountId(1);
    let credential = |name: &str, owner: &str, display: &str| Credential {
        account,
        user: UserId(owner.bytes().map(u128::from).sum()),
        username: name.into(),
        owner: owner.into(),
        display_name: display.into(),
        ha1_md5: Some(ha1_md5(name, REALM, "secret")),
        ha1_sha256: Some(ha1_sha256(name, REALM, "secret")),
    };
    let entrance = |number: &str| Entrance {
        numbers: vec![number.into()],
        ..Entrance::default()
    };
    Config {
        node: "story".into(),
        public_ip: vec!["192.0.2.1".parse().unwrap()],
        listeners: [Transport::Udp, Transport::Tcp, Transport::Ws]
            .map(|transport| Listener {
                transport,
                address: "192.0.2.1:5060".parse().unwrap(),
            })
            .to_vec(),
        accounts: vec![Account {
            id: account,
            realm: REALM.into(),
        }],
        credentials: vec![
            credential("alice", "alice", "Alice"),
            credential("bob", "bob", "Bob"),
            credential("bob-desk", "bob", "Bob"),
            credential("carol", "carol", "Carol"),
            credential("frank", "frank", "Frank"),
            credential("grace", "grace", "Grace"),
        ],
        conferences: vec![ConferenceConfig {
            id: ConferenceId(0xc0),
            account,
            name: "Daily".into(),
            member: entrance("3000"),
            moderator: Entrance {
                pins: vec!["1234".into()],
                ..entrance("3001")
            },
            max_participants: 100,
            chat: true,
            room: RoomConfig {
                owner: Some("alice".into()),
                invite_codes: vec![0x1117],
                ..RoomConfig::default()
            },
            outside_messages: false,
            send_events: false,
            echo_events: false,
            forward_audio: false,
            video: true,
        }],
        chat: ChatConfig {
            users: chat_users(account),
            ..ChatConfig::default()
        },
        trusted: Vec::new(),
        digests: vec![DigestAlgorithm::Md5, DigestAlgorithm::Sha256],
        max_message: 64 << 10,
        message_rate: 100,
        mail: MailLimits::default(),
        session_expires: Duration::ZERO,
        rtp_timeout: Duration::ZERO,
        registration: RegistrationLimits::default(),
        shards: 2,
        codecs: Codec::ALL.to_vec(),
        limits: Limits::default(),
        abuse: AbuseLimits::default(),
        records: true,
        hooks: Hooks::default(),
    }
}

/// Alice and bob share a group, bob and carol another.
fn chat_users(account: AccountId) -> Vec<ChatUser> {
    let user = |name: &str, display: &str, groups: &[&str]| ChatUser {
        account,
        username: name.into(),
        display_name: display.into(),
        token: Some(crate::meeting::digest(&format!("{name}-token"))),
        groups: groups.iter().map(ToString::to_string).collect(),
    };
    vec![
        user("alice", "Alice", &["/Lab/Backend", "/Lab/Lead"]),
        user("bob", "Bob", &["/Lab/Backend", "/Lab/Tea"]),
        user("carol", "Carol", &["/Lab/Tea"]),
    ]
}

/// A chain for a hook, as far as the engine knows it.
pub(crate) const fn chain(on_failure: OnFailure) -> Option<ChainRule> {
    Some(ChainRule {
        deadline: Duration::from_millis(20),
        on_failure,
    })
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let now = Time::from_unix_seconds(1_800_000_000);
        let engine = Engine::new(config.clone(), [7; 32], now);
        Self {
            engine,
            now,
            wire: VecDeque::new(),
            media: Vec::new(),
            writes: Vec::new(),
            asked: VecDeque::new(),
            disk_works: true,
            drained: false,
            bans: Vec::new(),
            pins_refused: Vec::new(),
            dropped: Vec::new(),
            records: Vec::new(),
            kept: Vec::new(),
            totals_come: true,
            relays: Vec::new(),
            fanouts: Vec::new(),
            closed: Vec::new(),
            chat: BTreeMap::new(),
            answers: BTreeMap::new(),
            disk_waits: false,
            disk_hangs: false,
            uncommitted: Vec::new(),
            ports: 20_000,
            config,
        }
    }

    /// As after kill -9: a new engine that knows what the old one had written.
    pub(crate) fn restart(&mut self) {
        let mut kept: Vec<StoredBinding> = Vec::new();
        let mut disk = ChatDisk::default();
        let mut mail: Vec<StoredMessage> = Vec::new();
        for write in &self.writes {
            match write {
                StoreWrite::PutBinding(new) => {
                    kept.retain(|old| {
                        (&old.aor, &old.contact, &old.instance) != (&new.aor, &new.contact, &new.instance)
                    });
                    kept.push((**new).clone());
                }
                StoreWrite::PutRecord { .. }
                | StoreWrite::PutCall(_)
                | StoreWrite::DeleteCall { .. }
                | StoreWrite::Alive { .. }
                | StoreWrite::All(_) => {}
                StoreWrite::Chat(write) => disk.write(write),
                StoreWrite::PutMessage(new) => {
                    mail.retain(|old| old.id != new.id);
                    mail.push((**new).clone());
                }
                StoreWrite::DeleteMessage { id } => mail.retain(|old| old.id != *id),
                StoreWrite::DeleteBinding {
                    aor,
                    contact,
                    instance,
                } => {
                    kept.retain(|old| (&old.aor, &old.contact, &old.instance) != (aor, contact, instance));
                }
            }
        }
        self.engine = Engine::new(self.config.clone(), [8; 32], self.now);
        for binding in kept {
            self.engine.load(binding);
        }
        for room in disk.rooms() {
            self.engine.load_chat(room);
        }
        self.uncommitted.clear();
        for call in std::mem::take(&mut self.kept) {
            self.engine.load_call(call);
        }
        self.drain();
        for message in mail {
            self.engine.load_message(message);
        }
        self.wire.clear();
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.engine.handle(input, self.now);
        self.drain();
    }

    /// The operator changes the configuration while the switch runs.
    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.engine.reconfigure(self.config.clone(), self.now);
        self.drain();
    }

    /// A message from a phone arrives.
    pub(crate) fn receive(&mut self, flow: Flow, text: &str, body: &[u8]) {
        let raw: Bytes = [text.as_bytes(), body].concat().into();
        let message = Message::parse(raw, Framing::Datagram).expect("a phone's message can be read");
        self.handle(Input::Message {
            flow,
            message,
            stamp: self.now,
        });
    }

    /// Lets time pass; every timer runs at its own moment.
    pub(crate) fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.engine.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// The next question to plugins.
    pub(crate) fn question(&mut self) -> (Ticket, Ask) {
        self.asked.pop_front().expect("the plugins are asked")
    }

    pub(crate) fn answer(&mut self, ticket: Ticket, verdict: Verdict) {
        self.handle(Input::Verdict { ticket, verdict });
    }

    /// Everything on its way to an address, taken off the wire.
    pub(crate) fn take(&mut self, peer: SocketAddr) -> Vec<Delivery> {
        let (mine, others): (VecDeque<_>, _) = self
            .wire
            .drain(..)
            .partition(|delivery| delivery.flow.peer == peer);
        self.wire = others;
        mine.into()
    }

    /// No transaction, dialog, conference or leg is left.
    pub(crate) fn is_clean(&self) {
        let gauges = self.engine.gauges();
        assert_eq!(
            (
                gauges.transactions,
                gauges.dialogs,
                gauges.bridges,
                gauges.conferences
            ),
            (0, 0, 0, 0),
            "transactions, dialogs, calls between users and conferences that are left"
        );
        let mut open: Vec<_> = Vec::new();
        for command in &self.media {
            match command {
                MediaCommand::Open { leg, .. } | MediaCommand::Peer(PeerCommand::Open { leg, .. }) => {
                    open.push(*leg);
                }
                MediaCommand::Close { leg } => open.retain(|other| other != leg),
                _ => {}
            }
        }
        assert!(open.is_empty(), "legs that are left: {open:?}");
    }

    /// The disk has written what waits.
    pub(crate) fn commit(&mut self, ok: bool) {
        self.commit_first(self.uncommitted.len(), ok);
    }

    /// The disk has written the first of what waits.
    pub(crate) fn commit_first(&mut self, count: usize, ok: bool) {
        for (ticket, write) in self.uncommitted.drain(..count).collect::<Vec<_>>() {
            if ok {
                self.written(write);
            }
            self.handle(Input::Stored { ticket, ok });
        }
    }

    fn written(&mut self, write: StoreWrite) {
        match write {
            StoreWrite::All(writes) => self.writes.extend(writes),
            write => self.writes.push(write),
        }
    }

    fn chatted(&mut self, output: ChatOutput) {
        let read = |text: &[u8]| serde_json::from_slice(text).expect("the engine writes JSON");
        match output {
            ChatOutput::Answer {
                request,
                status,
                body,
            } => {
                self.answers.insert(request, (status, read(&body)));
            }
            ChatOutput::Opened { connection, protocol } => {
                self.answers.insert(connection, (101, protocol.into()));
            }
            ChatOutput::Refused {
                connection,
                status,
                body,
            } => {
                self.answers.insert(connection, (status, read(&body)));
            }
            ChatOutput::Send { to, frame } => {
                for connection in to.iter() {
                    let told = Told::Frame(read(&frame));
                    self.chat.entry(*connection).or_default().push(told);
                }
            }
            ChatOutput::Close { connection, code, .. } => {
                let told = self.chat.entry(connection).or_default();
                told.push(Told::Closed(code));
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.output() {
            match output {
                Output::Send { flow, packet } => {
                    let raw: Bytes = [packet.head, packet.tail].concat().into();
                    let message =
                        Message::parse(raw, Framing::Stream).expect("the engine's message can be read");
                    self.wire.push_back(Delivery { flow, message });
                }
                Output::Media { command, .. } => {
                    self.media.push(command.clone());
                    if let MediaCommand::Open { leg, .. } = command {
                        self.ports += 2;
                        let event = MediaEvent::Opened {
                            leg,
                            port: self.ports,
                        };
                        self.engine.handle(Input::Media(event), self.now);
                    } else if let MediaCommand::Peer(PeerCommand::Open { leg, .. }) = command {
                        let local = local_peer(leg.0);
                        let event = MediaEvent::Peer(PeerEvent::Opened { leg, local });
                        self.engine.handle(Input::Media(event), self.now);
                    } else if let MediaCommand::Close { leg } = command
                        && self.totals_come
                    {
                        let totals = LegTotals {
                            packets_in: leg.0,
                            ..LegTotals::default()
                        };
                        let event = MediaEvent::Closed { leg, totals };
                        self.engine.handle(Input::Media(event), self.now);
                    }
                }
                Output::Store { ticket, write }
                    if self.disk_hangs || self.disk_waits && matches!(write, StoreWrite::Chat(_)) =>
                {
                    self.uncommitted.push((ticket, write));
                }
                Output::Store { ticket, write } => {
                    if self.disk_works {
                        self.written(write);
                    }
                    let ok = self.disk_works;
                    self.engine.handle(Input::Stored { ticket, ok }, self.now);
                }
                Output::Ask { ticket, ask } => self.asked.push_back((ticket, ask)),
                Output::Answered(record) => self.kept.push(*record),
                Output::Record(record) => {
                    self.kept.retain(|kept| kept.id != record.id);
                    self.records.push(*record);
                }
                Output::Notice(Notice::Banned(ban)) => self.bans.push(ban),
                Output::Drained => self.drained = true,
                Output::Close { connection } => self.closed.push(connection),
                Output::Chat(output) => self.chatted(output),
                Output::Relayed { stamp } => self.relays.push(self.now.since(stamp)),
                Output::FannedOut { kind, accepted } => self.fanouts.push((kind, self.now.since(accepted))),
                Output::Notice(Notice::PinsRefused { until, .. }) => self.pins_refused.push(until),
                Output::Notice(Notice::ContactDropped { address }) => self.dropped.push(address.to_string()),
                Output::Proven { .. } => {}
            }
        }
    }
}

/// Our end of a WebRTC peer's transport.
fn local_peer(number: u64) -> LocalPeer {
    let address = "192.0.2.1:10000".parse().unwrap();
    LocalPeer {
        ice: IceCredentials {
            ufrag: format!("ours{number}"),
            pwd: "0123456789abcdefghijkl".to_owned().into(),
        },
        fingerprint: [0xab; 32],
        candidates: [false, true].map(|tcp| Candidate { address, tcp }).to_vec(),
    }
}
