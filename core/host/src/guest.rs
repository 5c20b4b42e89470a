//! One build of a plugin: its instances, one per worker, and how they are asked.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cordboard_model::Hook;
use cordboard_model::hook::conference::{JoinAsk, JoinVerdict};
use cordboard_model::hook::message::{MessageAsk, MessageVerdict};
use wasmtime::Trap;

use crate::api::{Instance, Prepared};
use crate::bounds::{self, OutOfBounds};
use crate::count::Outcome;
use crate::host::PluginInfo;
use crate::import::Powers;
use crate::limits::{Clock, MemoryExceeded, MemoryMeter};
use crate::plugin::{Plugin, locked};
use crate::ticker::ticks;

/// Why a call gave no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The deadline passed.
    #[error("its deadline passed")]
    Timeout,
    /// More memory than it may have.
    #[error("{0}")]
    Memory(String),
    /// The plugin's code stopped itself, or broke a rule of WebAssembly or of the border.
    #[error("{0}")]
    Trap(String),
    /// A fresh instance did not want to start, though an earlier one did.
    #[error("it did not start: {0}")]
    Start(String),
    /// An answer with a field out of bounds.
    #[error("its answer was not taken: {0}")]
    Invalid(#[from] OutOfBounds),
}

impl Failure {
    /// As what it is counted.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout => Outcome::Timeout,
            Self::Memory(_) => Outcome::Memory,
            Self::Trap(_) | Self::Start(_) => Outcome::Trap,
            Self::Invalid(_) => Outcome::Invalid,
        }
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
            return Self::Memory(exceeded.to_string());
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Timeout,
            Some(trap) => Self::Trap(trap.to_string()),
            None => Self::Trap(error.root_cause().to_string()),
        }
    }
}

/// What every instance of a build is made with.
pub(crate) struct Setting {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) config: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) on_kv_write: crate::OnKvWrite,
    /// Bytes of memory that one instance may have.
    pub(crate) memory_limit: u64,
}

/// One build of a plugin.
pub(crate) struct Guest {
    pub(crate) info: PluginInfo,
    setting: Setting,
    prepared: Box<dyn Prepared>,
    /// One place per worker; only that worker takes from it. Empty after a failure.
    instances: Vec<Mutex<Option<Box<dyn Instance>>>>,
}

impl Guest {
    /// Makes and starts an instance for each of `workers`, each within `deadline`.
    pub(crate) fn new(
        setting: Setting,
        prepared: Box<dyn Prepared>,
        info: PluginInfo,
        workers: usize,
        deadline: Duration,
    ) -> Result<Self, Failure> {
        let mut guest = Self {
            info,
            setting,
            prepared,
            instances: Vec::new(),
        };
        for _ in 0..workers {
            let instance = guest.fresh(deadline)?;
            guest.instances.push(Mutex::new(Some(instance)));
        }
        Ok(guest)
    }

    /// Whether it implements a hook.
    pub(crate) fn serves(&self, hook: Hook) -> bool {
        self.prepared.hooks().contains(&hook)
    }

    /// Makes and starts an instance.
    fn fresh(&self, deadline: Duration) -> Result<Box<dyn Instance>, Failure> {
        let Setting {
            plugin,
            config,
            clock,
            on_kv_write,
            memory_limit,
        } = &self.setting;
        let powers = Powers {
            plugin: plugin.clone(),
            config: config.clone(),
            clock: clock.clone(),
            on_kv_write: on_kv_write.clone(),
            kv_writes: 0,
            memory: MemoryMeter::new(plugin.clone(), *memory_limit),
        };
        let mut instance = self.prepared.instantiate(powers, ticks(deadline))?;
        instance.begin(ticks(deadline));
        instance.start()?.map_err(Failure::Start)?;
        Ok(instance)
    }

    /// Asks about a join; `None` is "no opinion".
    pub(crate) fn join(
        &self,
        worker: usize,
        deadline: Duration,
        ask: &JoinAsk,
    ) -> Result<Option<JoinVerdict>, Failure> {
        let verdict = self.call(worker, deadline, |instance| instance.join(ask))?;
        Ok(verdict.map(bounds::join).transpose()?)
    }

    /// Asks about a message.
    pub(crate) fn filter(
        &self,
        worker: usize,
        deadline: Duration,
        ask: &MessageAsk,
    ) -> Result<MessageVerdict, Failure> {
        let verdict = self.call(worker, deadline, |instance| instance.filter(ask))?;
        Ok(bounds::message(verdict)?)
    }

    /// Calls the worker's instance, or a fresh one if the last call ended in a failure. The deadline
    /// holds for making and calling it together.
    fn call<A>(
        &self,
        worker: usize,
        deadline: Duration,
        ask: impl FnOnce(&mut dyn Instance) -> wasmtime::Result<A>,
    ) -> Result<A, Failure> {
        let mut place = locked(&self.instances[worker]);
        // Taken out for the call, so that nothing but an instance that came through it whole goes back.
        let mut instance = match place.take() {
            Some(mut instance) => {
                instance.begin(ticks(deadline));
                instance
            }
            None => {
                let start = Instant::now();
                let mut instance = self.fresh(deadline)?;
                instance.begin(ticks(deadline.saturating_sub(start.elapsed())));
                instance
            }
        };
        let answer = ask(instance.as_mut())?;
        *place = Some(instance);
        Ok(answer)
    }
}
