//! The house that the benches measure, and that the mutated chat room stands in.

use std::net::SocketAddr;
use std::time::Duration;

use cordboard_engine::config::{
    AbuseLimits, Account, Config, DigestAlgorithm, Hooks, Limits, Listener, MailLimits, RegistrationLimits,
};
use cordboard_engine::io::Transport;
use cordboard_model::AccountId;

/// Where the house listens, by UDP.
pub(crate) fn server() -> SocketAddr {
    "192.0.2.1:5060".parse().expect("an address")
}

/// One domain, nobody in it, no limits on how often anybody may ask.
pub(crate) fn config() -> Config {
    Config {
        node: "bench".into(),
        public_ip: vec![server().ip()],
        listeners: vec![Listener {
            transport: Transport::Udp,
            address: server(),
        }],
        accounts: vec![Account {
            id: AccountId(1),
            realm: "lab.test".into(),
        }],
        credentials: Vec::new(),
        conferences: Vec::new(),
        trusted: Vec::new(),
        digests: vec![DigestAlgorithm::Md5, DigestAlgorithm::Sha256],
        max_message: 64 << 10,
        message_rate: 0,
        registration: RegistrationLimits::default(),
        mail: MailLimits::default(),
        codecs: cordboard_model::media::Codec::ALL.to_vec(),
        shards: 1,
        limits: Limits::default(),
        session_expires: Duration::ZERO,
        rtp_timeout: Duration::ZERO,
        abuse: AbuseLimits {
            requests_per_second: 0,
            user_requests_per_second: 0,
            ..AbuseLimits::default()
        },
        chat: cordboard_engine::chat::config::ChatConfig::default(),
        records: false,
        hooks: Hooks::default(),
    }
}
