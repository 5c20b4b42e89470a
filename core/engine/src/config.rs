//! What the engine is told about its world: the configuration as it is meant, already checked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cordboard_model::hook::OnFailure;
use cordboard_model::media::Codec;
use cordboard_model::{AccountId, ConferenceId, UserId};
use ipnet::IpNet;

use crate::chat::config::{ChatConfig, RoomConfig};
use crate::io::Transport;

/// The whole of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name, shown in `Server` and `User-Agent`.
    pub node: String,
    /// Addresses for SDP, Via and Contact, at least one.
    pub public_ip: Vec<IpAddr>,
    /// The sockets that SIP comes in by; a [`Flow`](crate::io::Flow) names one by its index.
    pub listeners: Vec<Listener>,
    /// The accounts; the first is the default one.
    pub accounts: Vec<Account>,
    /// Users and their devices: everything that has a digest name.
    pub credentials: Vec<Credential>,
    /// The conferences.
    pub conferences: Vec<ConferenceConfig>,
    /// Networks whose requests need no digest.
    pub trusted: Vec<IpNet>,
    /// The digest algorithms that are offered, in this order; at least one.
    pub digests: Vec<DigestAlgorithm>,
    /// The largest body of a MESSAGE, in bytes.
    pub max_message: usize,
    /// Messages per second that one sender may send on average (twice as many at once), 0 = no limit.
    /// Senders in [`Config::trusted`] have none.
    pub message_rate: u32,
    /// What is kept for users who are not there.
    pub mail: MailLimits,
    /// The session interval that we ask for (RFC 4028), at least 90 s; 0 = none is asked for, only granted.
    pub session_expires: Duration,
    /// Bounds of a registration's life.
    pub registration: RegistrationLimits,
    /// How many media shards there are; at least 1.
    pub shards: u16,
    /// The codecs that are taken, and offered in this order; at least one.
    pub codecs: Vec<Codec>,
    /// How long a phone that has sent media may send none, RTP and RTCP, before its call is ended; while it is on
    /// hold, it may. 0 = for ever.
    pub rtp_timeout: Duration,
    /// Bounds at the door.
    pub limits: Limits,
    /// What one source may do before it is left without answers.
    pub abuse: AbuseLimits,
    /// The chat of all conferences.
    pub chat: ChatConfig,
    /// Whether a record is made of each call.
    pub records: bool,
    /// The hook chains that have at least one plugin.
    pub hooks: Hooks,
}

/// A socket that SIP comes in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// How SIP travels there.
    pub transport: Transport,
    /// The address it is bound to, with the real port.
    pub address: SocketAddr,
}

/// An account: a tenant with a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its domain, which is also the digest realm.
    pub realm: String,
}

/// A digest name: a user's own or a device's.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The account.
    pub account: AccountId,
    /// The user who owns it.
    pub user: UserId,
    /// The SIP user part and digest name.
    pub username: String,
    /// The owner's user name (the same for the user's own credential).
    pub owner: String,
    /// The name shown to others.
    pub display_name: String,
    /// MD5(user:realm:password), RFC 7616 section 3.4.2.
    pub ha1_md5: Option<[u8; 16]>,
    /// SHA-256(user:realm:password).
    pub ha1_sha256: Option<[u8; 32]>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A digest algorithm (RFC 7616, RFC 8760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// `MD5`, which every phone knows.
    Md5,
    /// `SHA-256`.
    Sha256,
}

/// A conference that the operator configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConferenceConfig {
    /// Its id.
    pub id: ConferenceId,
    /// Its account.
    pub account: AccountId,
    /// Its name.
    pub name: String,
    /// What members dial.
    pub member: Entrance,
    /// What moderators dial.
    pub moderator: Entrance,
    /// The most participants at once.
    pub max_participants: u32,
    /// Whether participants may send messages.
    pub chat: bool,
    /// Its chat room.
    pub room: RoomConfig,
    /// Whether messages to its number are taken from users who do not take part.
    pub outside_messages: bool,
    /// Whether participants are told what happens, by messages in their calls.
    pub send_events: bool,
    /// Whether one is also told what one did oneself.
    pub echo_events: bool,
    /// Whether browsers hear the loudest of the others each on a line of its own, instead of in the mix.
    pub forward_audio: bool,
    /// Whether browsers see each other.
    pub video: bool,
}

/// The way into a conference for one role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entrance {
    /// The numbers that are dialled.
    pub numbers: Vec<String>,
    /// One of these is asked for; none is asked for where this is empty.
    pub pins: Vec<String>,
    /// Whether one comes in muted.
    pub join_muted: bool,
    /// Whether one comes in deaf.
    pub join_deaf: bool,
}

/// Bounds of a registration's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationLimits {
    /// Shorter ones are refused with 423.
    pub min: Duration,
    /// Longer ones are shortened.
    pub max: Duration,
    /// What holds where the phone does not say.
    pub default: Duration,
    /// The most contacts of one address of record.
    pub contacts: usize,
}

impl Default for RegistrationLimits {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(60),
            max: Duration::from_secs(7200),
            default: Duration::from_secs(3600),
            contacts: 10,
        }
    }
}

/// Bounds of what is kept for users who are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailLimits {
    /// The most messages to one address of record; 0 = none is kept at all.
    pub count: usize,
    /// What they may take together, in bytes.
    pub size: u64,
    /// What all of them may take together, in bytes.
    pub total: u64,
    /// How long one is kept.
    pub age: Duration,
}

impl Default for MailLimits {
    fn default() -> Self {
        Self {
            count: 100,
            size: 1 << 20,
            total: 64 << 20,
            age: Duration::from_secs(7 * 86_400),
        }
    }
}

/// Bounds at the door: what is over them is refused and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transactions alive at once.
    pub transactions: usize,
    /// Calls (dialogs) alive at once.
    pub calls: usize,
    /// Of these, at most so many that one user has made, by all his devices; 0 = no limit. Users who come from
    /// [`Config::trusted`] have none.
    pub user_calls: usize,
    /// Messages that wait in one dialog for the answers to earlier ones.
    pub dialog_queue: usize,
    /// Questions to plugins that are open at once.
    pub asks: usize,
    /// Subscriptions alive at once.
    pub subscriptions: usize,
    /// How long a message may have waited before strangers are refused; new calls are refused at twice
    /// that. Zero = waiting is no sign of overload.
    pub lag: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions: 500_000,
            calls: 20_000,
            user_calls: 100,
            dialog_queue: 256,
            asks: 10_000,
            subscriptions: 10_000,
            lag: Duration::from_millis(500),
        }
    }
}

/// What one source may do before it is left without answers. Sources are IPv4 addresses and IPv6 /64
/// networks; those in [`Config::trusted`] have no limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbuseLimits {
    /// So many offences within the window are a ban; 0 = nobody is banned.
    pub ban_after: u32,
    /// In which offences are counted together.
    pub window: Duration,
    /// How long the first ban holds; each further one of the same source holds twice as long.
    pub ban_time: Duration,
    /// The longest ban.
    pub ban_time_max: Duration,
    /// How long a source at which somebody proved himself is treated with more patience.
    pub proven_for: Duration,
    /// Requests per second of a source that prove nobody (four seconds' worth at once); 0 = no limit.
    pub requests_per_second: u32,
    /// Requests per second outside of calls of one proven user (four seconds' worth at once);
    /// 0 = no limit.
    pub user_requests_per_second: u32,
    /// Sources (and users) that are remembered; with more, the eldest are forgotten. At least 1.
    pub sources: usize,
    /// Whether programs known as scanners get answers.
    pub answer_scanners: bool,
}

/// The hook chains, as far as the engine must know them: whether to ask, and what holds if nobody answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hooks {
    /// The `conference-policy` chain.
    pub conference_policy: Option<ChainRule>,
    /// The `message-filter` chain.
    pub message_filter: Option<ChainRule>,
    /// The `call-router` chain.
    pub call_router: Option<ChainRule>,
}

/// What the engine knows of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainRule {
    /// How long the whole chain may take, waiting included.
    pub deadline: Duration,
    /// What holds if no verdict came by then.
    pub on_failure: OnFailure,
}
