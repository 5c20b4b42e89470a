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
/// the same whatever is in it. What comes after a pause is committed at once.
const PACE: Duration = Duration::from_millis(3);
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
        drop(state);
        self.filled.notify_one();
        true
    }

    pub(super) fn keep(&self, write: KvWrite<'_>) {
        let mut state = self.state();
        state.kv.insert(
            (write.plugin.into(), write.key.into()),
            write.value.map(Into::into),
        );
        drop(state);
        self.filled.notify_one();
    }

    pub(super) fn counts(&self) -> StoreCounts {
        let state = self.state();
        StoreCounts {
            waiting: state.writes.len() + state.kv.len(),
            ..state.counts.clone()
        }
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
    }

    /// Waits for something to write, and until `not_before`; `None` when closed and empty.
    fn take(&self, not_before: Instant) -> Option<Group> {
        let mut state = self.state();
        while state.writes.is_empty() && state.kv.is_empty() {
            if state.closed {
                return None;
            }
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
    let mut begun = Instant::now();
    while let Some(group) = queue.take(begun + PACE) {
        let rows = (group.writes.len() + group.kv.len()) as u64;
        begun = Instant::now();
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
        for (ticket, _) in &group.writes {
            on_stored(*ticket, ok);
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
