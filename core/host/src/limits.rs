//! What a plugin may use up, in one place, and the meters for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cordboard_model::Time;
use wasmtime::ResourceLimiter;

use crate::plugin::Plugin;

/// The clock that the import `time` shows.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// The largest component that is loaded: compiling takes memory and time in proportion.
pub(crate) const COMPONENT_BYTES: usize = 64 << 20;
/// What a guest may hand over in one crossing of the border, all strings and lists together.
pub(crate) const CROSSING_BYTES: usize = 1 << 20;
/// How long an instance may take to start when a plugin is loaded.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(2);
/// Entries in all tables of an instance together, each one pointer wide.
const TABLE_ENTRIES: usize = 100_000;
/// Core instances, tables and memories of one component.
const PARTS: usize = 64;

/// Why a store refused memory: travels through wasmtime as the reason of the trap.
#[derive(Debug, thiserror::Error)]
#[error("wanted {wanted} bytes of memory; its limit is {limit} (`memory` in the plugin's entry)")]
pub(crate) struct MemoryExceeded {
    wanted: u64,
    limit: u64,
}

/// The memory meter of one instance.
pub(crate) struct MemoryMeter {
    plugin: Arc<Plugin>,
    limit: u64,
    used: u64,
    table_entries: usize,
}

impl MemoryMeter {
    /// A meter for a fresh instance; `limit` in bytes counts all of its memories together.
    pub(crate) fn new(plugin: Arc<Plugin>, limit: u64) -> Self {
        Self {
            plugin,
            limit,
            used: 0,
            table_entries: 0,
        }
    }
}

impl Drop for MemoryMeter {
    fn drop(&mut self) {
        self.plugin.counts.memory.fetch_sub(self.used, Ordering::Relaxed);
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let wanted = self.used.saturating_add(more);
        if wanted > self.limit {
            return Err(wasmtime::Error::new(MemoryExceeded {
                wanted,
                limit: self.limit,
            }));
        }
        self.used = wanted;
        self.plugin.counts.memory.fetch_add(more, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.table_entries = self.table_entries.saturating_add(desired.saturating_sub(current));
        Ok(self.table_entries <= TABLE_ENTRIES)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

/// Lets through so many at once and so many a second.
#[derive(Debug)]
pub(crate) struct Bucket {
    capacity: f64,
    per_second: f64,
    level: f64,
    filled: Option<Instant>,
    refused: u64,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(capacity: u32, per_second: u32) -> Self {
        let capacity = f64::from(capacity);
        Self {
            capacity,
            per_second: f64::from(per_second),
            level: capacity,
            filled: None,
            refused: 0,
        }
    }

    /// Takes one; `Some` with how many were refused since the last that was not, `None` if refused.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        let since = self
            .filled
            .map_or(Duration::ZERO, |filled| now.saturating_duration_since(filled));
        self.filled = Some(now);
        self.level = (self.level + since.as_secs_f64() * self.per_second).min(self.capacity);
        if self.level < 1.0 {
            self.refused += 1;
            return None;
        }
        self.level -= 1.0;
        Some(std::mem::take(&mut self.refused))
    }
}

/// Counts in an atomic.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_through_its_capacity_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, 10);
        assert_eq!(
            [bucket.take(start), bucket.take(start), bucket.take(start)],
            [Some(0), Some(0), None]
        );
        let later = start + Duration::from_millis(100);
        assert_eq!([bucket.take(later), bucket.take(later)], [Some(1), None]);
    }

    #[test]
    fn memory_over_the_limit_is_refused_with_both_numbers_and_given_back_at_the_end() {
        let plugin = Arc::new(Plugin::new("test", &Default::default()));
        let mut meter = MemoryMeter::new(plugin.clone(), 100);
        assert!(meter.memory_growing(0, 60, None).is_ok());
        assert_eq!(plugin.counts.memory.load(Ordering::Relaxed), 60);
        let error = meter.memory_growing(60, 101, None).unwrap_err();
        assert!(error.to_string().contains("wanted 101 bytes"), "{error}");
        drop(meter);
        assert_eq!(plugin.counts.memory.load(Ordering::Relaxed), 0);
    }
}
