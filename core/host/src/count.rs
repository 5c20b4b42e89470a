//! What is counted about plugins; the switch turns a snapshot of it into metrics.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cordboard_model::Hook;
use cordboard_model::measure::{HOOK_BOUNDS, Histogram};

use crate::grant::Grant;
use crate::limits::count;
use crate::plugin::locked;

/// What became of one plugin's part in one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No opinion, or the message as it is.
    Pass,
    /// Let in, with or without changes.
    Admit,
    /// Not let in, or the call goes nowhere.
    Refuse,
    /// The call goes somewhere else than its number says.
    Route,
    /// The message goes to nobody.
    Drop,
    /// The message goes on with new contents.
    Rewrite,
    /// The message goes to nobody and is answered.
    Reply,
    /// The message goes to nobody and the sender is told.
    Reject,
    /// Failure: the plugin's code stopped itself.
    Trap,
    /// Failure: the deadline passed.
    Timeout,
    /// Failure: more memory than it may have.
    Memory,
    /// Failure: an answer with fields out of bounds.
    Invalid,
    /// Failure: not loaded, or it does not implement the hook.
    Missing,
    /// Failure: it was not asked, because too many questions were waiting.
    QueueFull,
    /// Failure: it was not asked, because the question had waited too long.
    Expired,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 15] = [
        Self::Pass,
        Self::Admit,
        Self::Refuse,
        Self::Route,
        Self::Drop,
        Self::Rewrite,
        Self::Reply,
        Self::Reject,
        Self::Trap,
        Self::Timeout,
        Self::Memory,
        Self::Invalid,
        Self::Missing,
        Self::QueueFull,
        Self::Expired,
    ];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Admit => "admit",
            Self::Refuse => "refuse",
            Self::Route => "route",
            Self::Drop => "drop",
            Self::Rewrite => "rewrite",
            Self::Reply => "reply",
            Self::Reject => "reject",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Invalid => "invalid",
            Self::Missing => "missing",
            Self::QueueFull => "queue_full",
            Self::Expired => "expired",
        }
    }

    /// Whether what stands for the plugin's verdict is the operator's choice and not its own.
    pub const fn is_failure(self) -> bool {
        self as usize >= Self::Trap as usize
    }
}

/// What became of one use of a power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImportOutcome {
    /// Done.
    Ok,
    /// Not done: what was asked for is over a limit or wrong.
    Refused,
    /// Not done: too many at a time.
    Limited,
}

impl ImportOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Refused, Self::Limited];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Limited => "limited",
        }
    }
}

/// A snapshot of everything that is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// Per plugin, by name.
    pub plugins: Vec<PluginCounts>,
    /// Questions that wait for a worker now.
    pub waiting: usize,
}

/// What is counted about one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginCounts {
    /// Its name.
    pub plugin: String,
    /// One for each hook in which it ever had a part.
    pub hooks: Vec<HookCounts>,
    /// Uses of powers that happened.
    pub imports: Vec<ImportCounts>,
    /// WebAssembly memory of all of its instances, in bytes.
    pub memory_bytes: u64,
    /// How often a build of it was loaded.
    pub loads_ok: u64,
    /// How often a build of it was refused.
    pub loads_failed: u64,
}

/// What is counted about one plugin in one hook.
#[derive(Debug, Clone, PartialEq)]
pub struct HookCounts {
    /// The hook.
    pub hook: Hook,
    /// How long its calls took, making a fresh instance included, failed ones included.
    pub seconds: Histogram,
    /// How often each outcome came about; those that never did are left out.
    pub outcomes: Vec<(Outcome, u64)>,
}

/// How often a power was used with an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportCounts {
    /// The power.
    pub import: Grant,
    /// The outcome.
    pub outcome: ImportOutcome,
    /// How often.
    pub count: u64,
}

/// The counters of one plugin.
pub(crate) struct Counters {
    hooks: [HookCounters; Hook::ALL.len()],
    imports: [[AtomicU64; ImportOutcome::ALL.len()]; Grant::ALL.len()],
    pub(crate) memory: AtomicU64,
    pub(crate) loads_ok: AtomicU64,
    pub(crate) loads_failed: AtomicU64,
}

struct HookCounters {
    seconds: Mutex<Histogram>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

impl Counters {
    pub(crate) fn new() -> Self {
        let hook = |_| HookCounters {
            seconds: Mutex::new(Histogram::new(HOOK_BOUNDS)),
            outcomes: Default::default(),
        };
        Self {
            hooks: Hook::ALL.map(hook),
            imports: Default::default(),
            memory: AtomicU64::new(0),
            loads_ok: AtomicU64::new(0),
            loads_failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn import(&self, import: Grant, outcome: ImportOutcome) {
        count(&self.imports[import as usize][outcome as usize]);
    }

    pub(crate) fn outcome(&self, hook: Hook, outcome: Outcome) {
        count(&self.hooks[hook_index(hook)].outcomes[outcome as usize]);
    }

    pub(crate) fn took(&self, hook: Hook, span: Duration) {
        locked(&self.hooks[hook_index(hook)].seconds).record_duration(span);
    }

    /// A snapshot under a plugin's name.
    pub(crate) fn snapshot(&self, plugin: &str) -> PluginCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let hooks = Hook::ALL
            .into_iter()
            .zip(&self.hooks)
            .map(|(hook, counters)| HookCounts {
                hook,
                seconds: locked(&counters.seconds).clone(),
                outcomes: Outcome::ALL
                    .into_iter()
                    .map(|outcome| (outcome, read(&counters.outcomes[outcome as usize])))
                    .filter(|(_, count)| *count > 0)
                    .collect(),
            });
        let imports = Grant::ALL.into_iter().flat_map(|import| {
            ImportOutcome::ALL
                .into_iter()
                .map(move |outcome| (import, outcome))
        });
        PluginCounts {
            plugin: plugin.to_owned(),
            hooks: hooks.filter(|hook| !hook.outcomes.is_empty()).collect(),
            imports: imports
                .map(|(import, outcome)| {
                    let count = read(&self.imports[import as usize][outcome as usize]);
                    ImportCounts {
                        import,
                        outcome,
                        count,
                    }
                })
                .filter(|import| import.count > 0)
                .collect(),
            memory_bytes: read(&self.memory),
            loads_ok: read(&self.loads_ok),
            loads_failed: read(&self.loads_failed),
        }
    }
}

/// A hook's place in tables.
pub(crate) const fn hook_index(hook: Hook) -> usize {
    match hook {
        Hook::ConferencePolicy => 0,
        Hook::MessageFilter => 1,
        Hook::CallRouter => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_the_order_of_their_indexes() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, grant) in Grant::ALL.into_iter().enumerate() {
            assert_eq!(grant as usize, index);
        }
        for (index, outcome) in ImportOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, hook) in Hook::ALL.into_iter().enumerate() {
            assert_eq!(hook_index(hook), index);
        }
    }

    #[test]
    fn what_never_happened_is_left_out() {
        let counters = Counters::new();
        counters.outcome(Hook::MessageFilter, Outcome::Timeout);
        counters.took(Hook::MessageFilter, Duration::from_millis(5));
        counters.import(Grant::Log, ImportOutcome::Limited);
        let snapshot = counters.snapshot("x");
        assert_eq!(snapshot.hooks.len(), 1);
        assert_eq!(snapshot.hooks[0].outcomes, [(Outcome::Timeout, 1)]);
        assert_eq!(snapshot.hooks[0].seconds.count(), 1);
        assert_eq!(
            snapshot.imports,
            [ImportCounts {
                import: Grant::Log,
                outcome: ImportOutcome::Limited,
                count: 1
            }]
        );
    }
}
