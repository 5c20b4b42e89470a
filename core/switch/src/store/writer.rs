//! The store's thread: takes what waits into one transaction, commits, reports.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cordboard_engine::io::StoreWrite;
use cordboard_host::KvWrite;
use cordboard_model::Ticket;
use rusqlite::Connection;

use super::sqlite::{apply, apply_kv};
use super::{OnStored, StoreCounts};

/// Writes that may wait; further ones are refused.
pub(super) const WAITING: usize = 100_000;
/// Writes in one transaction: bounds how long the first of them waits.
const GROUP: usize = 5_000;
/// A commit begins so long after the one before it, or later: under load the groups grow, and a commit costs
/// nearly the same whatever is in it. What comes after a pause is committed at once.
const PACE: Duration = Duration::from_millis(3);
/// A group of so many writes is a load: the next one waits longer, and is larger.
const LOAD: usize = 16;
/// The pace under load: who registers waits that long at most, and the disk is synced fifty times a second.
const PACE_UNDER_LOAD: Duration = Duration::from_millis(20);
/// How long a plugin's changes wait after a commit failed.
const PAUSE: Duration = Duration::from_secs(1);

type KvChanges = BTreeMap<(String, String), Option<Vec<u8>>>;

/// What waits for the thread.
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    writes: Vec<(Ticket, StoreWrite)>,
    kv: KvChanges,
    closed: bool,
    /// The thread waits to be told that there is something.
    idle: bool,
    counts: StoreCounts,
}

/// One transaction's worth.
struct Group {
    writes: Vec<(Ticket, StoreWrite)>,
    kv: KvChanges,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            filled: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the write was taken.
    pub(super) fn push(&self, ticket: Ticket, write: StoreWrite) -> bool {
        let mut state = self.state();
        if state.closed || state.writes.len() >= WAITING {
            state.counts.refused += 1;
            return false;
        }
        state.writes.push((ticket, write));
        self.rouse(state);
        true
    }

    pub(super) fn keep(&self, write: KvWrite<'_>) {
        let mut state = self.state();
        state.kv.insert(
            (write.plugin.into(), write.key.into()),
            write.value.map(Into::into),
        );
        self.rouse(state);
    }

    /// Wakes the thread if it waits: telling one that works already costs a system call for nothing.
    fn rouse(&self, mut state: MutexGuard<'_, State>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.filled.notify_one();
        }
    }

    pub(super) fn counts(&self) -> StoreCounts {
        let state = self.state();
        StoreCounts {
            waiting: state.writes.len() + state.kv.len(),
            ..state.counts.clone()
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.rouse(state);
    }

    /// Waits for something to write, and until `not_before`; `None` when closed and empty.
    fn take(&self, not_before: Instant) -> Option<Group> {
        let mut state = self.state();
        while state.writes.is_empty() && state.kv.is_empty() {
            if state.closed {
                return None;
            }
            state.idle = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let left = not_before.saturating_duration_since(Instant::now());
        if !left.is_zero() && !state.closed {
            drop(state);
            std::thread::sleep(left);
            state = self.state();
        }
        let group = state.writes.len().min(GROUP);
        let rest = state.writes.split_off(group);
        let writes = std::mem::replace(&mut state.writes, rest);
        Some(Group {
            writes,
            kv: std::mem::take(&mut state.kv),
        })
    }

    /// Puts a plugin's changes back, unless newer ones have come. Returns whether the thread goes on.
    fn put_back(&self, kv: KvChanges) -> bool {
        let mut state = self.state();
        for (key, value) in kv {
            state.kv.entry(key).or_insert(value);
        }
        !state.closed
    }
}

/// Works until the queue is closed and empty.
pub(super) fn run(mut connection: Connection, queue: &Queue, on_stored: &OnStored) {
    let mut not_before = Instant::now();
    while let Some(group) = queue.take(not_before) {
        let rows = (group.writes.len() + group.kv.len()) as u64;
        let begun = Instant::now();
        not_before = begun + pace(group.writes.len());
        let outcome = commit(&mut connection, &group);
        let ok = outcome.is_ok();
        {
            let mut state = queue.state();
            state.counts.commit_seconds.record_duration(begun.elapsed());
            *(if ok {
                &mut state.counts.written
            } else {
                &mut state.counts.failed
            }) += rows;
        }
        let tickets: Vec<Ticket> = group.writes.iter().map(|(ticket, _)| *ticket).collect();
        if !tickets.is_empty() {
            on_stored(&tickets, ok);
        }
        if let Err(error) = outcome {
            tracing::error!(
                rows,
                "the database cannot be written, nothing of this group is stored: {error}"
            );
            if !queue.put_back(group.kv) {
                return;
            }
            // A full disk does not get emptier by hammering on it; writes meanwhile are one group.
            std::thread::sleep(PAUSE);
        }
    }
}

/// How long after the beginning of a commit of so many writes the next one begins.
const fn pace(writes: usize) -> Duration {
    if writes < LOAD { PACE } else { PACE_UNDER_LOAD }
}

fn commit(connection: &mut Connection, group: &Group) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (_, write) in &group.writes {
        apply(&transaction, write)?;
    }
    for ((plugin, key), value) in &group.kv {
        apply_kv(&transaction, plugin, key, value.as_deref())?;
    }
    transaction.commit()
}
