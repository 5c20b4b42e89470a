//! SIGHUP: the config file and the certificates are read again and applied whole, or not at all.
//!
//! Everything is read and checked before anything is touched. What belongs to open sockets, files and
//! threads cannot change while they are open: a file that changes it is refused, saying so.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cordboard_engine::config::Listener;
use tokio::sync::watch;

use crate::config::{self, Loaded, Mistakes, Resolved};
use crate::control::{Answer, ControlHandle};
use crate::log::Level;
use crate::net::connection::Connections;
use crate::plugins::Loader;
use crate::tls::Material;

/// How often each outcome came.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
}

impl Reloads {
    /// Outcome and count.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 2] {
        [("applied", &self.applied), ("refused", &self.refused)]
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }
}

/// Why a file is not applied.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    #[error("{} cannot change while the switch runs: restart it", .0.join(", "))]
    NeedsRestart(Vec<&'static str>),
    #[error("{0:#}")]
    Tls(anyhow::Error),
}

/// The config that holds now, and everybody who must hear of another.
pub(crate) struct Running {
    pub(crate) config: Resolved,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) control: ControlHandle,
    pub(crate) connections: Connections,
    pub(crate) plugins: Loader,
    pub(crate) level: Level,
    pub(crate) reloads: Arc<Reloads>,
    /// SHA-256 of the tokens that open the HTTP routes of operators.
    pub(crate) tokens: watch::Sender<Vec<[u8; 32]>>,
}

impl Running {
    /// How long calls may go on after SIGTERM.
    pub(crate) const fn drain_timeout(&self) -> Duration {
        self.config.node.drain_timeout
    }

    /// Reads the file again and applies it, or says why not.
    pub(crate) fn reload(&mut self) {
        let file = self.config.file.clone();
        match self.read(&file) {
            Ok((config, material)) => {
                self.apply(config, material);
                self.reloads.applied.fetch_add(1, Ordering::Relaxed);
                tracing::info!(file = %file.display(), "the config is reloaded");
            }
            Err(refusal) => {
                self.reloads.refused.fetch_add(1, Ordering::Relaxed);
                if let Refusal::Mistakes(Mistakes(mistakes)) = &refusal {
                    for mistake in mistakes {
                        tracing::error!("{mistake}");
                    }
                }
                let why = refusal.to_string();
                let why = why.lines().next_back().unwrap_or_default();
                tracing::error!(file = %file.display(), "the config is not reloaded, the old one holds: {why}");
            }
        }
    }

    fn read(&self, file: &Path) -> Result<(Resolved, Material), Refusal> {
        let Loaded { config, warnings } = config::load(file)?;
        let changed = needs_restart(&self.config, &config);
        if !changed.is_empty() {
            return Err(Refusal::NeedsRestart(changed));
        }
        let material = Material::of(&config).map_err(Refusal::Tls)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok((config, material))
    }

    /// Nothing here can fail.
    fn apply(&mut self, config: Resolved, material: Material) {
        self.connections.keys.replace(material);
        self.connections
            .limit(config.sip.connections, config.messages.max_size);
        self.level.set(&config.log.level);
        // The host first: the engine asks about a hook only when its chain is there.
        self.plugins.follow(&config);
        self.tokens.send_replace(config.tokens.clone());
        let engine = config.engine_config(self.listeners.clone());
        self.control.answer(Answer::Reconfigure(Box::new(engine)));
        self.config = config;
    }
}

/// The keys that differ and belong to what is open already.
fn needs_restart(old: &Resolved, new: &Resolved) -> Vec<&'static str> {
    let (old, new) = (fixed(old), fixed(new));
    old.into_iter()
        .zip(new)
        .filter(|(old, new)| old != new)
        .map(|((key, _), _)| key)
        .collect()
}

fn fixed(config: &Resolved) -> [(&'static str, String); 20] {
    let Resolved {
        node,
        log,
        sip,
        http,
        media,
        store,
        cdr,
        ..
    } = config;
    [
        ("node.name", node.name.clone()),
        ("node.data_dir", node.data_dir.display().to_string()),
        ("log.format", format!("{:?}", log.format)),
        ("sip.udp", format!("{:?}", sip.udp)),
        ("sip.tcp", format!("{:?}", sip.tcp)),
        ("sip.tls", format!("{:?}", sip.tls)),
        ("sip.ws", format!("{:?}", sip.ws)),
        ("sip.wss", format!("{:?}", sip.wss)),
        ("http.listen", format!("{:?}", http.listen)),
        ("http.tls", format!("{:?}", http.tls)),
        ("http.connections", http.connections.to_string()),
        ("http.timeout", format!("{:?}", http.timeout)),
        ("media.shards", media.shards.to_string()),
        ("media.rtp_ports", format!("{:?}", media.rtp_ports)),
        ("media.webrtc_port", format!("{:?}", media.webrtc_port)),
        ("store.path", store.path.display().to_string()),
        ("store.sync", store.full_sync.to_string()),
        ("cdr", format!("{cdr:?}")),
        ("plugins.build", config.plugins.build.to_string()),
        ("plugins.setup", config.plugins.setup.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Resolved {
        let text = format!("media.shards = 1\n{text}");
        config::parse(Path::new("x.toml"), &text).unwrap().config
    }

    #[test]
    fn what_belongs_to_sockets_and_threads_needs_a_restart() {
        let old = config("sip.udp = [\"127.0.0.1:5060\"]\nhttp.listen = [\"127.0.0.1:8080\"]\n");
        let new = config(
            "sip.udp = [\"127.0.0.1:5062\"]\nhttp.listen = [\"127.0.0.1:8080\"]\nhttp.tls = [\"127.0.0.1:8443\"]\n",
        );
        assert_eq!(needs_restart(&old, &new), ["sip.udp", "http.tls"]);
        assert_eq!(needs_restart(&old, &old), [""; 0]);
    }

    #[test]
    fn people_limits_and_hooks_do_not() {
        let old = config("sip.udp = [\"127.0.0.1:5060\"]\n");
        let new = config(
            "sip.udp = [\"127.0.0.1:5060\"]\nsip.trusted = [\"10.0.0.0/8\"]\nsip.limits.calls = 5\nmessages.rate = 1\n\
             log.level = \"debug\"\nnode.public_ip = \"192.0.2.1\"\n\
             plugin = [{ name = \"p\", wasm = \"p.wasm\" }]\nhooks.message-filter = [{ plugin = \"p\" }]\n\
             user = [{ id = \"00000000000000000000000000000011\", username = \"alice\", password = \"x\" }]\n",
        );
        assert_eq!(needs_restart(&old, &new), [""; 0]);
    }
}
