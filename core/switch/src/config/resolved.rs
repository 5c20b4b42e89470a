//! The configuration as it is meant: every default filled in, every reference followed, checked.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use cordboard_engine::chat::config::ChatConfig;
use cordboard_engine::config::{
    AbuseLimits, Account, ChainRule, ConferenceConfig, Config, Credential, DigestAlgorithm, Hooks, Limits,
    Listener, MailLimits, RegistrationLimits,
};
use cordboard_host::{Grant, PluginSpec, Wasm};
use cordboard_model::hook::{Hook, OnFailure};
use cordboard_model::media::Codec;
use ipnet::IpNet;

use crate::net::place::Bounds;
use crate::tls::{Pair, Roots};

/// What the way to the plugins and back may cost beyond their own deadlines: the host ends a call at the
/// next tick of a millisecond, and its verdict should be there before the engine stops waiting for it.
const HOP: Duration = Duration::from_millis(4);

/// The whole of it.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The file it was read from.
    pub(crate) file: PathBuf,
    /// This node.
    pub(crate) node: Node,
    /// The log.
    pub(crate) log: Log,
    /// SIP.
    pub(crate) sip: Sip,
    /// Certificates.
    pub(crate) tls: Tls,
    /// HTTP.
    pub(crate) http: Http,
    /// Media.
    pub(crate) media: Media,
    /// The database.
    pub(crate) store: StoreConfig,
    /// Messages.
    pub(crate) messages: Messages,
    /// Chat.
    pub(crate) chat: ChatConfig,
    /// Call detail records.
    pub(crate) cdr: CdrConfig,
    /// Plugins.
    pub(crate) plugins: Plugins,
    /// At least one; the first is the default one.
    pub(crate) accounts: Vec<Account>,
    /// SHA-256 of the tokens of all accounts.
    pub(crate) tokens: Vec<[u8; 32]>,
    /// Users and devices.
    pub(crate) credentials: Vec<Credential>,
    /// Conferences.
    pub(crate) conferences: Vec<ConferenceConfig>,
    /// The hook chains that have at least one plugin.
    pub(crate) chains: Vec<Chain>,
}

/// This node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// The data folder.
    pub(crate) data_dir: PathBuf,
    /// At least one.
    pub(crate) public_ip: Vec<IpAddr>,
    /// How long calls may go on after SIGTERM.
    pub(crate) drain_timeout: Duration,
}

/// The log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// A filter of `tracing`.
    pub(crate) level: String,
    /// Text or JSON.
    pub(crate) format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// SIP.
#[derive(Debug, Clone)]
pub(crate) struct Sip {
    /// UDP addresses.
    pub(crate) udp: Vec<SocketAddr>,
    /// TCP addresses.
    pub(crate) tcp: Vec<SocketAddr>,
    /// TLS addresses.
    pub(crate) tls: Vec<SocketAddr>,
    /// WebSocket addresses.
    pub(crate) ws: Vec<SocketAddr>,
    /// Secure WebSocket addresses.
    pub(crate) wss: Vec<SocketAddr>,
    /// Networks whose requests need no digest.
    pub(crate) trusted: Vec<IpNet>,
    /// Digest algorithms in the order in which they are offered.
    pub(crate) digests: Vec<DigestAlgorithm>,
    /// The session interval asked of peers; 0 = none.
    pub(crate) session_expires: Duration,
    /// Bounds of a registration's life.
    pub(crate) registration: RegistrationLimits,
    /// The engine's bounds.
    pub(crate) limits: Limits,
    /// What one source may do.
    pub(crate) abuse: AbuseLimits,
    /// Connections open at once, TCP, TLS and WebSocket together.
    pub(crate) connections: Bounds,
}

impl Sip {
    /// How many addresses there are.
    pub(crate) const fn addresses(&self) -> usize {
        self.udp.len() + self.tcp.len() + self.tls.len() + self.ws.len() + self.wss.len()
    }
}

/// Certificates.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// What the switch shows; `None`: a pair of the data folder, made if need be.
    pub(crate) pair: Option<Pair>,
    /// Whom the switch believes; `None`: the authorities of this machine.
    pub(crate) roots: Option<Roots>,
}

/// HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// Its addresses.
    pub(crate) listen: Vec<SocketAddr>,
    /// Its addresses with TLS.
    pub(crate) tls: Vec<SocketAddr>,
    /// Connections open at once.
    pub(crate) connections: usize,
    /// For a request to come in, and for its answer to go out.
    pub(crate) timeout: Duration,
}

/// Media.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    /// Media threads, at least 1.
    pub(crate) shards: u16,
    /// UDP ports for RTP and RTCP.
    pub(crate) rtp_ports: RangeInclusive<u16>,
    /// How long a phone that has sent audio may send nothing; zero: for ever.
    pub(crate) rtp_timeout: Duration,
    /// The first shard's UDP port for WebRTC, if it is served; the other shards have the next ones.
    pub(crate) webrtc_port: Option<u16>,
    /// The audio codecs, most wanted first; at least one, each once.
    pub(crate) codecs: Vec<Codec>,
}

/// The database.
#[derive(Debug, Clone)]
pub(crate) struct StoreConfig {
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether each commit reaches the disk before it is acknowledged.
    pub(crate) full_sync: bool,
}

/// Messages.
#[derive(Debug, Clone)]
pub(crate) struct Messages {
    /// The largest body, in bytes.
    pub(crate) max_size: usize,
    /// Per second and sender, 0 = no limit.
    pub(crate) rate: u32,
    /// What is kept for users who are not there.
    pub(crate) mail: MailLimits,
}

/// Call detail records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CdrConfig {
    /// Whether there is a file.
    pub(crate) file: bool,
    /// Its largest size, in bytes.
    pub(crate) max_size: u64,
    /// How many full files are kept.
    pub(crate) keep_files: u32,
    /// Whether they are kept in the database.
    pub(crate) database: bool,
    /// How long.
    pub(crate) keep: Duration,
}

/// Plugins.
#[derive(Debug, Clone)]
pub(crate) struct Plugins {
    /// Whether `source` folders are built.
    pub(crate) build: bool,
    /// Whether a build may fetch what it needs.
    pub(crate) setup: bool,
    /// The configured plugins.
    pub(crate) list: Vec<PluginConfig>,
}

/// One plugin.
#[derive(Clone)]
pub(crate) struct PluginConfig {
    /// Its name.
    pub(crate) name: String,
    /// Where its code is.
    pub(crate) origin: Origin,
    /// Its `config` table as JSON text. It may hold secrets.
    pub(crate) config: String,
    /// The powers that the operator grants.
    pub(crate) grants: Vec<Grant>,
    /// Bytes of memory of one instance.
    pub(crate) memory: u64,
}

impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginConfig")
            .field("name", &self.name)
            .field("origin", &self.origin)
            .field("grants", &self.grants)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

impl PluginConfig {
    /// What the host is told, once there is a compiled file.
    pub(crate) fn spec(&self, wasm: PathBuf) -> PluginSpec {
        PluginSpec {
            name: self.name.clone(),
            wasm: Wasm::Path(wasm),
            config_json: self.config.clone(),
            grants: self.grants.clone(),
            memory_limit: self.memory,
        }
    }
}

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A folder of source code.
    Source(PathBuf),
    /// A compiled component.
    Wasm(PathBuf),
}

/// The plugins of one hook, in the order in which they are asked.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// The hook.
    pub(crate) hook: Hook,
    /// At least one.
    pub(crate) entries: Vec<ChainEntry>,
}

/// A plugin in a chain.
#[derive(Debug, Clone)]
pub(crate) struct ChainEntry {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// How long it may take, waiting included.
    pub(crate) deadline: Duration,
    /// What stands for its verdict when none comes.
    pub(crate) on_failure: OnFailure,
}

impl Chain {
    /// What the engine must know: the time of all plugins together, and `refuse` if any of them says so.
    pub(crate) fn rule(&self) -> ChainRule {
        let refuse = self
            .entries
            .iter()
            .any(|entry| entry.on_failure == OnFailure::Refuse);
        ChainRule {
            deadline: self.entries.iter().map(|entry| entry.deadline).sum::<Duration>() + HOP,
            on_failure: if refuse {
                OnFailure::Refuse
            } else {
                OnFailure::Pass
            },
        }
    }
}

impl Resolved {
    /// Whether any address has TLS.
    pub(crate) const fn has_tls(&self) -> bool {
        !(self.sip.tls.is_empty() && self.sip.wss.is_empty() && self.http.tls.is_empty())
    }

    /// What the engine is told; `listeners` are the sockets as they were bound, in the order of their
    /// indexes.
    pub(crate) fn engine_config(&self, listeners: Vec<Listener>) -> Config {
        let rule = |hook| {
            self.chains
                .iter()
                .find(|chain| chain.hook == hook)
                .map(Chain::rule)
        };
        Config {
            node: self.node.name.clone(),
            public_ip: self.node.public_ip.clone(),
            listeners,
            accounts: self.accounts.clone(),
            credentials: self.credentials.clone(),
            conferences: self.conferences.clone(),
            trusted: self.sip.trusted.clone(),
            digests: self.sip.digests.clone(),
            max_message: self.messages.max_size,
            message_rate: self.messages.rate,
            mail: self.messages.mail,
            session_expires: self.sip.session_expires,
            registration: self.sip.registration,
            shards: self.media.shards,
            rtp_timeout: self.media.rtp_timeout,
            codecs: self.media.codecs.clone(),
            limits: self.sip.limits,
            abuse: self.sip.abuse,
            chat: self.chat.clone(),
            records: self.cdr.file || self.cdr.database,
            hooks: Hooks {
                conference_policy: rule(Hook::ConferencePolicy),
                message_filter: rule(Hook::MessageFilter),
                call_router: rule(Hook::CallRouter),
            },
        }
    }
}
