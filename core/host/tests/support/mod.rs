//! A host with really built plugins, and what its callback was given.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "progress of a build that may take minutes")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cordboard_host::{
    Asked, ChainEntry, Counts, Grant, Host, HostConfig, LoadError, Outcome, PluginInfo, PluginSpec, Wasm,
};
use cordboard_model::hook::conference::{ConferenceView, JoinAsk, Role};
use cordboard_model::hook::message::{Audience, MessageAsk, MessageVerdict};
use cordboard_model::hook::route::RouteAsk;
use cordboard_model::{Ask, ConferenceId, Hook, OnFailure, Ticket, Verdict};

/// So long that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// A deadline that a busy machine does not make too short.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);
/// A deadline for plugins that are to miss it.
pub(crate) const SHORT: Duration = Duration::from_millis(5);

const MIB: u64 = 1 << 20;

/// The component of a plugin's folder, given from the top of the checkout.
pub(crate) fn component(folder: &str) -> PathBuf {
    let top =
        Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder")).join("../..");
    let mut options =
        cordboard_plugin_build::Options::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
    options.target = Some(top.join("plugins/target/wasm"));
    options.setup = true;
    options.progress = Arc::new(|line| println!("{line}"));
    match cordboard_plugin_build::build(&top.join(folder), &options) {
        Ok(built) => built.wasm,
        Err(error) => panic!("{error}"),
    }
}

/// A plugin of that folder with every power granted.
pub(crate) fn spec(name: &str, folder: &str, config: &str) -> PluginSpec {
    PluginSpec {
        name: name.into(),
        wasm: Wasm::Path(component(folder)),
        config_json: config.into(),
        grants: Grant::ALL.to_vec(),
        memory_limit: 16 * MIB,
    }
}

pub(crate) fn hostile(name: &str, config: &str) -> PluginSpec {
    spec(name, "tests/plugins/hostile", config)
}

pub(crate) fn entry(plugin: &str, deadline: Duration, on_failure: OnFailure) -> ChainEntry {
    ChainEntry {
        plugin: plugin.into(),
        deadline,
        on_failure,
    }
}

/// A host and its verdicts.
pub(crate) struct Bench {
    pub(crate) host: Host,
    verdicts: Mutex<Receiver<(Ticket, Verdict)>>,
    early: Mutex<HashMap<Ticket, Verdict>>,
    next: Mutex<u64>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let (sender, receiver) = channel();
        let sender = Mutex::new(sender);
        let mut config = HostConfig::new(Arc::new(move |ticket, verdict| {
            sender.lock().unwrap().send((ticket, verdict)).unwrap();
        }));
        config.queue_time = AMPLE;
        change(&mut config);
        Self {
            host: Host::new(config).unwrap(),
            verdicts: Mutex::new(receiver),
            early: Mutex::default(),
            next: Mutex::new(1),
        }
    }

    pub(crate) fn load(&self, spec: PluginSpec) -> PluginInfo {
        self.host.load(spec).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn refused(&self, spec: PluginSpec) -> LoadError {
        self.host.load(spec).unwrap_err()
    }

    /// One plugin alone in the chain of the messages.
    pub(crate) fn filter_with(&self, plugin: &str, deadline: Duration, on_failure: OnFailure) {
        self.host
            .set_chain(Hook::MessageFilter, vec![entry(plugin, deadline, on_failure)]);
    }

    /// Asks without waiting.
    pub(crate) fn ask(&self, ask: Ask) -> Ticket {
        let ticket = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            Ticket(*next)
        };
        if let Asked::Answered(verdict) = self.host.ask(ticket, ask) {
            self.early.lock().unwrap().insert(ticket, verdict);
        }
        ticket
    }

    /// The verdict of a question; each comes once.
    pub(crate) fn verdict(&self, ticket: Ticket) -> Verdict {
        loop {
            if let Some(verdict) = self.early.lock().unwrap().remove(&ticket) {
                return verdict;
            }
            let (other, verdict) = self
                .verdicts
                .lock()
                .unwrap()
                .recv_timeout(PATIENCE)
                .expect("a verdict comes");
            let before = self.early.lock().unwrap().insert(other, verdict);
            assert_eq!(before, None, "{other:?} was answered twice");
        }
    }

    /// What becomes of a text that a user sends.
    pub(crate) fn message(&self, text: &str) -> MessageVerdict {
        self.answered(message("alice", "text/plain", text))
    }

    pub(crate) fn answered(&self, ask: Ask) -> MessageVerdict {
        match self.verdict(self.ask(ask)) {
            Verdict::Message(verdict) => verdict,
            other => panic!("{other:?}"),
        }
    }

    /// What was counted for a plugin in a hook.
    pub(crate) fn count(&self, plugin: &str, hook: Hook, outcome: Outcome) -> u64 {
        count(&self.host.counts(), plugin, hook, outcome)
    }
}

pub(crate) fn count(counts: &Counts, plugin: &str, hook: Hook, outcome: Outcome) -> u64 {
    let plugin = counts
        .plugins
        .iter()
        .find(|counts| counts.plugin == plugin)
        .expect("the plugin is known");
    let hook = plugin.hooks.iter().find(|counts| counts.hook == hook);
    let found = hook.and_then(|hook| hook.outcomes.iter().find(|(counted, _)| *counted == outcome));
    found.map_or(0, |(_, count)| *count)
}

pub(crate) fn conference() -> ConferenceView {
    ConferenceView {
        id: ConferenceId(0xc0),
        name: "Daily".into(),
        participants: 2,
    }
}

pub(crate) fn message(user: &str, content_type: &str, text: &str) -> Ask {
    Ask::Message(MessageAsk {
        conference: Some(conference()),
        user: Some(user.into()),
        display_name: format!("{user} \"Q\" ☃"),
        transport: "udp",
        audience: Audience::Everybody,
        content_type: content_type.into(),
        body: text.to_owned().into(),
    })
}

pub(crate) fn join(display_name: &str) -> Ask {
    Ask::Join(JoinAsk {
        conference: conference(),
        number: "3000".into(),
        user: None,
        display_name: display_name.into(),
        transport: "ws",
        role: Role::Member,
    })
}

pub(crate) fn route(display_name: &str) -> Ask {
    Ask::Route(RouteAsk {
        realm: "lab.test".into(),
        number: "4711".into(),
        user: Some("alice".into()),
        display_name: display_name.into(),
        transport: "tcp",
    })
}

pub(crate) fn rewritten(body: &str) -> MessageVerdict {
    MessageVerdict::Rewrite(cordboard_model::hook::message::Rewrite {
        body: Some(body.to_owned().into()),
        ..Default::default()
    })
}
