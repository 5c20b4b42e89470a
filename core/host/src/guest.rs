//! One build of a plugin: its instances, one per worker, and how they are asked.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cordboard_model::Hook;
use cordboard_model::hook::conference::{JoinAsk, JoinVerdict};
use cordboard_model::hook::message::{Audience, MessageAsk, MessageVerdict};
use cordboard_model::hook::route::{RouteAsk, RouteVerdict};
use wasmtime::Trap;

use crate::api::{Instance, Prepared};
use crate::bounds::{self, OutOfBounds};
use crate::count::Outcome;
use crate::host::PluginInfo;
use crate::import::Powers;
use crate::limits::{Clock, MemoryExceeded, MemoryMeter, START_DEADLINE};
use crate::plugin::{Plugin, locked};
use crate::repair::Repair;
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
    /// A fresh instance is being made and is not there yet, or could not be made a moment ago.
    #[error("it is being restarted")]
    Restarting,
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
            Self::Restarting => Outcome::Missing,
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

/// How long after a failed restart the next one is tried.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// What makes instances.
struct Maker {
    setting: Setting,
    prepared: Box<dyn Prepared>,
}

/// How many starts in a row may miss a question's deadline before they are made elsewhere: one or two
/// may be the machine's fault.
const SLOW_STARTS: u32 = 3;

/// One worker's place for an instance.
struct Place {
    /// Empty after a failure.
    instance: Option<Box<dyn Instance>>,
    restart: Restart,
}

/// How a fresh instance comes into an empty place.
#[derive(Clone, Copy)]
enum Restart {
    /// The worker makes it for the next question; so many starts in a row were too slow for that.
    Inline(u32),
    /// It takes longer than a question may take, and is being made elsewhere.
    Elsewhere,
    /// That failed; not before this moment again.
    After(Instant),
}

/// One build of a plugin.
pub(crate) struct Guest {
    pub(crate) info: PluginInfo,
    maker: Arc<Maker>,
    /// One place per worker; only that worker takes from it.
    places: Vec<Arc<Mutex<Place>>>,
    repairs: Sender<Repair>,
}

impl Guest {
    /// Makes and starts an instance for each of `workers`.
    pub(crate) fn new(
        setting: Setting,
        prepared: Box<dyn Prepared>,
        info: PluginInfo,
        workers: usize,
        repairs: Sender<Repair>,
    ) -> Result<Self, Failure> {
        let maker = Arc::new(Maker { setting, prepared });
        let mut places = Vec::new();
        for _ in 0..workers {
            places.push(Arc::new(Mutex::new(Place::with(maker.fresh(START_DEADLINE)?))));
        }
        Ok(Self {
            info,
            maker,
            places,
            repairs,
        })
    }

    /// Whether it implements a hook.
    pub(crate) fn serves(&self, hook: Hook) -> bool {
        self.maker.prepared.hooks().contains(&hook)
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

    /// Asks about a call.
    pub(crate) fn route(
        &self,
        worker: usize,
        deadline: Duration,
        ask: &RouteAsk,
    ) -> Result<RouteVerdict, Failure> {
        let verdict = self.call(worker, deadline, |instance| instance.route(ask))?;
        Ok(bounds::route(verdict)?)
    }

    /// Calls the worker's instance, or a fresh one if the last call ended in a failure. The deadline
    /// holds for making and calling it together.
    fn call<A>(
        &self,
        worker: usize,
        deadline: Duration,
        ask: impl FnOnce(&mut dyn Instance) -> wasmtime::Result<A>,
    ) -> Result<A, Failure> {
        // Taken out for the call, so that nothing but an instance that came through it whole goes back.
        let taken = locked(&self.places[worker]).instance.take();
        let mut instance = match taken {
            Some(mut instance) => {
                instance.begin(ticks(deadline));
                instance
            }
            None => self.restart(worker, deadline)?,
        };
        let answer = ask(instance.as_mut())?;
        locked(&self.places[worker]).instance = Some(instance);
        Ok(answer)
    }

    /// Makes a fresh instance within a question's deadline, begun for what is left of it. If the start
    /// alone takes longer, it is made elsewhere, and the questions until then go without.
    fn restart(&self, worker: usize, deadline: Duration) -> Result<Box<dyn Instance>, Failure> {
        let place = &self.places[worker];
        let start = Instant::now();
        let slow = match locked(place).restart {
            Restart::Inline(slow) => slow,
            Restart::After(moment) if moment <= start => 0,
            Restart::Elsewhere | Restart::After(_) => return Err(Failure::Restarting),
        };
        let made = self.maker.fresh(deadline);
        let left = deadline.saturating_sub(start.elapsed());
        match made {
            Ok(mut instance) => {
                locked(place).restart = Restart::Inline(0);
                instance.begin(ticks(left));
                Ok(instance)
            }
            Err(Failure::Timeout) if slow + 1 >= SLOW_STARTS => {
                let (maker, place) = (self.maker.clone(), place.clone());
                locked(&place).restart = Restart::Elsewhere;
                // The thread lives as long as this sender does.
                let _ = self.repairs.send(Box::new(move || maker.refill(&place)));
                Err(Failure::Timeout)
            }
            Err(failure) => {
                let slow = if matches!(failure, Failure::Timeout) {
                    slow + 1
                } else {
                    0
                };
                locked(place).restart = Restart::Inline(slow);
                Err(failure)
            }
        }
    }
}

impl Place {
    fn with(instance: Box<dyn Instance>) -> Self {
        Self {
            instance: Some(instance),
            restart: Restart::Inline(0),
        }
    }
}

impl Maker {
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
            audience: Audience::Everybody,
            memory: MemoryMeter::new(plugin.clone(), *memory_limit),
        };
        let mut instance = self.prepared.instantiate(powers, ticks(deadline))?;
        instance.begin(ticks(deadline));
        instance.start()?.map_err(Failure::Start)?;
        Ok(instance)
    }

    /// Puts a fresh instance into an empty place, however long that takes within the limit of a start.
    fn refill(&self, place: &Mutex<Place>) {
        let made = self.fresh(START_DEADLINE);
        let mut place = locked(place);
        match made {
            Ok(instance) => *place = Place::with(instance),
            Err(failure) => {
                place.restart = Restart::After(Instant::now() + RESTART_PAUSE);
                let plugin = self.setting.plugin.name.as_str();
                tracing::warn!(target: "plugin", plugin, "a restart failed: {failure}");
            }
        }
    }
}
