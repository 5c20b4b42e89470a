//! What belongs to a plugin's name and outlives its builds and instances.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::count::Counters;
use crate::import::kv::Store;
use crate::limits::Bucket;

/// Log lines at once and per second of one plugin.
const LOG_BURST: u32 = 100;
const LOG_PER_SECOND: u32 = 50;
/// Lines at once and per second that the host writes about one plugin's failures.
const FAILURE_BURST: u32 = 10;
const FAILURES_PER_SECOND: u32 = 1;

/// The lasting part of a plugin.
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) counts: Counters,
    pub(crate) kv: Mutex<Store>,
    pub(crate) log: Mutex<Bucket>,
    pub(crate) failures: Mutex<Bucket>,
}

impl Plugin {
    /// A plugin with the entries that an earlier run of the switch left.
    pub(crate) fn new(name: &str, kv: &Store) -> Self {
        Self {
            name: name.to_owned(),
            counts: Counters::new(),
            kv: Mutex::new(kv.clone()),
            log: Mutex::new(Bucket::new(LOG_BURST, LOG_PER_SECOND)),
            failures: Mutex::new(Bucket::new(FAILURE_BURST, FAILURES_PER_SECOND)),
        }
    }
}

/// Locks, also after a panic of another holder: what these locks guard is whole between two statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
