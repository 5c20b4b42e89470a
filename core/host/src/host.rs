//! The host: plugins by name, chains by hook, workers, and the questions that go in.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use cordboard_model::{Ask, Hook, Ticket, Time, Verdict};
use wasmtime::Engine;

use crate::chain::{Chain, ChainEntry, Link};
use crate::count::{Counts, Outcome, hook_index};
use crate::guest::{Guest, Setting};
use crate::import::kv::{KvEntry, KvWrite, Store};
use crate::limits::{Clock, count};
use crate::load::{LoadError, PluginSpec};
use crate::plugin::{Plugin, locked};
use crate::queue::{Job, Queue};
use crate::repair::Repair;
use crate::ticker::Ticker;
use crate::{engine, load, repair, worker};

/// Takes a verdict, on the worker's thread. It should only pass it on; what it takes, the next question
/// waits.
pub type OnVerdict = Arc<dyn Fn(Ticket, Verdict) + Send + Sync>;

/// Takes a change of a plugin's `kv`, to be kept on disk. Called on the worker's thread while the
/// plugin's keys are locked, in the order of the changes: it should only pass the change on.
pub type OnKvWrite = Arc<dyn Fn(KvWrite<'_>) + Send + Sync>;

/// How a host is made.
pub struct HostConfig {
    /// How many threads ask plugins; from 1 to 64.
    pub workers: usize,
    /// How many questions of one hook may wait for one worker.
    pub queue_limit: usize,
    /// How long a question may wait beyond what its chain's deadlines allow.
    pub queue_time: Duration,
    /// The clock that plugins with the power `time` see.
    pub clock: Clock,
    /// What plugins kept before the switch was restarted.
    pub kv: Vec<KvEntry>,
    /// Told of every change to what plugins keep.
    pub on_kv_write: OnKvWrite,
    /// Given the verdict of every question that was queued.
    pub on_verdict: OnVerdict,
}

impl HostConfig {
    /// Two workers, 1024 waiting questions for each hook and worker, 100 ms of waiting, the system's
    /// clock, and nothing kept in `kv` beyond the process's life.
    pub fn new(on_verdict: OnVerdict) -> Self {
        let now = || {
            let since = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            Time::default() + since
        };
        Self {
            workers: 2,
            queue_limit: 1024,
            queue_time: Duration::from_millis(100),
            clock: Arc::new(now),
            kv: Vec::new(),
            on_kv_write: Arc::new(|_| ()),
            on_verdict,
        }
    }
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// WebAssembly cannot be run on this machine.
    #[error("wasmtime does not run here: {0}")]
    Engine(String),
    /// No threads.
    #[error("cannot start the plugin threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// What became of a question at the door.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an answered question does not come back through the callback"]
pub enum Asked {
    /// It waits for a worker; the callback gets its verdict.
    Queued,
    /// Answered at once: the hook has no plugins, or there was no room in the queue.
    Answered(Verdict),
}

/// What is known of a build that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginInfo {
    /// The plugin's own version.
    pub version: String,
    /// The version of the plugin interface that it was built for.
    pub api: String,
    /// The hooks that it implements.
    pub hooks: Vec<Hook>,
}

/// Whether a plugin serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginState {
    /// Its name.
    pub name: String,
    /// The build that is loaded; `None` if there is none.
    pub loaded: Option<PluginInfo>,
    /// What is wrong: why none is loaded, why the last one was not taken, or which hook it is listed
    /// for without implementing it.
    pub problem: Option<String>,
}

impl PluginState {
    /// Whether questions that should reach it do.
    pub const fn is_ready(&self) -> bool {
        self.loaded.is_some() && self.problem.is_none()
    }
}

/// A plugin's place in the host: its lasting part and the build that serves now.
pub(crate) struct Slot {
    pub(crate) plugin: Arc<Plugin>,
    guest: RwLock<Option<Arc<Guest>>>,
    problem: Mutex<Option<String>>,
    /// Held while a build is loaded, so that of two the later one wins.
    loading: Mutex<()>,
}

impl Slot {
    /// The build that serves now.
    pub(crate) fn guest(&self) -> Option<Arc<Guest>> {
        self.guest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, guest: Option<Arc<Guest>>) {
        let old = std::mem::replace(
            &mut *self.guest.write().unwrap_or_else(PoisonError::into_inner),
            guest,
        );
        // Calls that run keep the old build alive; its memory is given back outside of the lock.
        drop(old);
    }
}

/// The plugin host.
pub struct Host {
    engine: Engine,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    /// What plugins kept, until they are first named.
    kept: Mutex<BTreeMap<String, Store>>,
    chains: RwLock<[Arc<Chain>; Hook::ALL.len()]>,
    queues: Vec<Arc<Queue>>,
    threads: Vec<JoinHandle<()>>,
    ticker: Arc<Ticker>,
    repairs: Sender<Repair>,
    queue_time: Duration,
    clock: Clock,
    on_kv_write: OnKvWrite,
}

impl Host {
    /// Starts a host without plugins.
    ///
    /// # Errors
    /// This machine gives no threads, or no memory that may be executed.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let engine = engine::new().map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let ticker = Arc::new(Ticker::new(engine.clone())?);
        let workers = config.workers.clamp(1, 64);
        let queues: Vec<_> = (0..workers)
            .map(|_| Arc::new(Queue::new(config.queue_limit.max(1))))
            .collect();
        let mut host = Self {
            engine,
            slots: Mutex::default(),
            kept: Mutex::new(kept(config.kv)),
            chains: RwLock::default(),
            queues,
            threads: Vec::new(),
            repairs: repair::start(ticker.clone())?,
            ticker,
            queue_time: config.queue_time,
            clock: config.clock,
            on_kv_write: config.on_kv_write,
        };
        for (number, queue) in host.queues.iter().enumerate() {
            let (queue, ticker, on_verdict) = (queue.clone(), host.ticker.clone(), config.on_verdict.clone());
            let thread = std::thread::Builder::new().name(format!("plugin-{number}"));
            host.threads
                .push(thread.spawn(move || worker::work(number, &queue, &ticker, &on_verdict))?);
        }
        Ok(host)
    }

    /// Loads a build of a plugin and puts it in the place of the one that serves. Calls that run end
    /// with the old build. Compiling takes from milliseconds to a minute, on a thread of low priority;
    /// the caller waits for it.
    ///
    /// # Errors
    /// Why the build is not taken; the old one, if any, goes on serving.
    pub fn load(&self, spec: PluginSpec) -> Result<PluginInfo, LoadError> {
        let slot = self.slot(&spec.name);
        let _one_at_a_time = locked(&slot.loading);
        let made = load::read(spec.wasm).and_then(|bytes| {
            let setting = Setting {
                plugin: slot.plugin.clone(),
                config: spec.config_json.into(),
                clock: self.clock.clone(),
                on_kv_write: self.on_kv_write.clone(),
                memory_limit: spec.memory_limit,
            };
            self.make(&bytes, &spec.grants, setting)
        });
        match made {
            Ok(guest) => {
                let info = guest.info.clone();
                slot.replace(Some(Arc::new(guest)));
                *locked(&slot.problem) = None;
                count(&slot.plugin.counts.loads_ok);
                tracing::info!(target: "plugin", plugin = spec.name, version = info.version, "plugin loaded");
                Ok(info)
            }
            Err(error) => {
                count(&slot.plugin.counts.loads_failed);
                *locked(&slot.problem) = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Makes a build on a thread of its own, whose priority does not disturb the caller's.
    fn make(&self, bytes: &[u8], grants: &[crate::Grant], setting: Setting) -> Result<Guest, LoadError> {
        let (workers, repairs) = (self.queues.len(), self.repairs.clone());
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("plugin-load".into());
            let made = thread.spawn_scoped(scope, || {
                worker::step_back();
                let _running = self.ticker.running();
                load::make(&self.engine, bytes, grants, setting, workers, repairs)
            });
            match made {
                Ok(made) => made
                    .join()
                    .unwrap_or_else(|_| Err(LoadError::Compile("the compiler crashed".into()))),
                Err(error) => Err(LoadError::NoThread(error)),
            }
        })
    }

    /// Notes that a plugin is configured but has no build yet, and why: shown by [`Host::state`].
    /// A build that serves goes on serving.
    pub fn set_problem(&self, plugin: &str, why: impl Into<String>) {
        *locked(&self.slot(plugin).problem) = Some(why.into());
    }

    /// Takes a plugin out of service, as when its entry was removed. Its keys in `kv` stay.
    pub fn unload(&self, plugin: &str) {
        let slot = locked(&self.slots).remove(plugin);
        if let Some(slot) = slot {
            let _after_a_load = locked(&slot.loading);
            slot.replace(None);
            locked(&self.kept).insert(plugin.to_owned(), locked(&slot.plugin.kv).clone());
        }
    }

    /// Sets a hook's chain for the questions that are asked from now on.
    pub fn set_chain(&self, hook: Hook, entries: Vec<ChainEntry>) {
        let links = entries.into_iter().map(|entry| Link {
            slot: self.slot(&entry.plugin),
            deadline: entry.deadline,
            on_failure: entry.on_failure,
        });
        let chain = Arc::new(Chain {
            links: links.collect(),
        });
        self.chains.write().unwrap_or_else(PoisonError::into_inner)[hook_index(hook)] = chain;
    }

    fn chain(&self, hook: Hook) -> Arc<Chain> {
        self.chains.read().unwrap_or_else(PoisonError::into_inner)[hook_index(hook)].clone()
    }

    /// The longest time from [`Host::ask`] to a verdict: the deadlines of the hook's chain and the
    /// waiting that is allowed. Zero if the hook has no plugins.
    pub fn deadline(&self, hook: Hook) -> Duration {
        let chain = self.chain(hook);
        if chain.links.is_empty() {
            Duration::ZERO
        } else {
            chain.deadline() + self.queue_time
        }
    }

    /// Asks the plugins of a hook, without waiting for them.
    pub fn ask(&self, ticket: Ticket, ask: Ask) -> Asked {
        let chain = self.chain(ask.hook());
        if chain.links.is_empty() {
            return Asked::Answered(ask.failed(cordboard_model::OnFailure::Pass));
        }
        let expiry = Instant::now() + chain.deadline() + self.queue_time;
        let queue = &self.queues[worker::choose(&ask, self.queues.len())];
        match queue.push(Job {
            ticket,
            ask,
            chain,
            expiry,
        }) {
            Ok(()) => Asked::Queued,
            Err(job) => Asked::Answered(job.chain.unasked(&job.ask, Outcome::QueueFull)),
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let slots: Vec<Arc<Slot>> = locked(&self.slots).values().cloned().collect();
        Counts {
            plugins: slots
                .iter()
                .map(|slot| slot.plugin.counts.snapshot(&slot.plugin.name))
                .collect(),
            waiting: self.queues.iter().map(|queue| queue.len()).sum(),
        }
    }

    /// Which of the plugins that were named serve, and what is wrong with the others.
    pub fn state(&self) -> Vec<PluginState> {
        let slots: Vec<Arc<Slot>> = locked(&self.slots).values().cloned().collect();
        slots.iter().map(|slot| self.state_of(slot)).collect()
    }

    fn state_of(&self, slot: &Arc<Slot>) -> PluginState {
        let loaded = slot.guest().map(|guest| guest.info.clone());
        let unserved = loaded.as_ref().and_then(|info| {
            let listed = |hook: &Hook| {
                self.chain(*hook)
                    .links
                    .iter()
                    .any(|link| Arc::ptr_eq(&link.slot, slot))
            };
            let hook = Hook::ALL
                .into_iter()
                .find(|hook| listed(hook) && !info.hooks.contains(hook))?;
            Some(format!(
                "it is listed under [hooks] for {hook}, which it does not implement"
            ))
        });
        let absent = || loaded.is_none().then(|| "it is not loaded yet".to_owned());
        let problem = locked(&slot.problem).clone().or(unserved).or_else(absent);
        PluginState {
            name: slot.plugin.name.clone(),
            loaded,
            problem,
        }
    }

    /// The place of a plugin, made when it is first named.
    fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = locked(&self.slots);
        if let Some(slot) = slots.get(name) {
            return slot.clone();
        }
        let kept = locked(&self.kept).remove(name).unwrap_or_default();
        let slot = Arc::new(Slot {
            plugin: Arc::new(Plugin::new(name, &kept)),
            guest: RwLock::default(),
            problem: Mutex::default(),
            loading: Mutex::default(),
        });
        slots.insert(name.to_owned(), slot.clone());
        slot
    }
}

impl Drop for Host {
    /// Answers what waits, then ends the threads.
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.close();
        }
        for thread in self.threads.drain(..) {
            // A worker catches panics itself; there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

/// Sorts what plugins kept by plugin. What is over a limit was over it by an older switch's measure and
/// is left out.
fn kept(entries: Vec<KvEntry>) -> BTreeMap<String, Store> {
    let mut stores: BTreeMap<String, Store> = BTreeMap::new();
    for KvEntry { plugin, key, value } in entries {
        if stores
            .entry(plugin.clone())
            .or_default()
            .set(&key, &value)
            .is_err()
        {
            tracing::warn!(target: "plugin", plugin, "a kept key is over today's limits and is not shown to the plugin");
        }
    }
    stores
}
