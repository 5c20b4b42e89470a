//! Call detail records on disk: JSON lines in the data folder, rotated by size, and rows of the database, through the
//! store; both by a thread of their own.
//!
//! A call that is up has a row in the store, so that it has a record even if the switch is killed. A record is
//! written once, whenever the kill comes: first its line, and then in one transaction its row is added and the call's
//! is taken out. What is found at the start is therefore a call without a record, unless its line is there: then the
//! line holds its end. Where only lines are wanted, the call's row goes when its line is there, and not before. There
//! means synced: a power cut takes no line whose call is taken out.

mod file;
mod line;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SendError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use cordboard_engine::io::StoreWrite;
use cordboard_engine::record::CallRecord;
use cordboard_model::{Ticket, Time};

use self::file::Rotating;
use self::writer::Writer;
use crate::clock::Clock;
use crate::config::resolved::CdrConfig;
use crate::store::Store;

/// The file's name in the data folder; older files have a number after it, 1 being the youngest.
const NAME: &str = "cdr.jsonl";
/// The ticket of what nobody waits for.
const NOBODY: Ticket = Ticket(0);

/// How much and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Records that may wait for the disk; the lines of further ones are lost and counted.
    waiting: usize,
    /// How often the store is told that the switch runs, while calls are up.
    alive: Duration,
    /// How long lines wait to be synced, as many at once as come meanwhile.
    sync: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            waiting: 10_000,
            alive: Duration::from_secs(30),
            sync: Duration::from_millis(100),
        }
    }
}

/// What became of records for the file.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

/// The way to both places.
pub(crate) struct Cdr {
    rows: Arc<Rows>,
    path: PathBuf,
    counts: Arc<Counts>,
    sender: Mutex<Option<SyncSender<Box<CallRecord>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Cdr {
    /// Opens the file, if one is wanted, and starts the thread, if any records are.
    ///
    /// # Errors
    /// The file cannot be opened, or the system gives no thread.
    pub(crate) fn start(
        config: &CdrConfig,
        folder: &Path,
        store: Arc<dyn Store>,
        clock: Clock,
        pace: Pace,
    ) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let path = folder.join(NAME);
        let rows = Arc::new(Rows {
            config: *config,
            store,
            up: Mutex::default(),
        });
        let (mut way, mut worker) = (None, None);
        if config.file || config.database {
            let open = || Rotating::open(path.clone(), config.max_size, config.keep_files);
            let file = config.file.then(open).transpose().with_context(|| {
                format!("cannot write call records to {}; correct its owner and mode, or set `[cdr] file` to false", path.display())
            })?;
            let (sender, receiver) = sync_channel(pace.waiting);
            let mut writer = Writer::new(file, Arc::clone(&rows), Arc::clone(&counts), pace);
            let thread = std::thread::Builder::new().name("cdr".into());
            worker = Some(thread.spawn(move || writer.run(&receiver, clock))?);
            way = Some(sender);
        }
        Ok(Self {
            rows,
            path,
            counts,
            sender: Mutex::new(way),
            thread: Mutex::new(worker),
        })
    }

    /// The calls that were up when the switch was stopped the last time, for the engine; their records are not written
    /// yet. Only before the first call.
    ///
    /// # Errors
    /// The database or the file cannot be read.
    pub(crate) fn cut_off(&self) -> anyhow::Result<Vec<CallRecord>> {
        let calls = self.rows.store.load_calls()?;
        let config = &self.rows.config;
        let Some(since) = calls.iter().map(|call| call.started).min() else {
            return Ok(calls);
        };
        if !config.file && !config.database {
            tracing::warn!(
                calls = calls.len(),
                "calls that were cut off get no records: `[cdr]` wants none"
            );
            calls.iter().for_each(|call| self.rows.drop_call(call.id));
            return Ok(Vec::new());
        }
        let mut written = if config.file {
            let ids: HashSet<u128> = calls.iter().map(|call| call.id).collect();
            file::find(&self.path, config.keep_files, &ids, since)
                .with_context(|| format!("cannot read call records from {}", self.path.display()))?
        } else {
            HashMap::new()
        };
        let mut cut_off = Vec::new();
        for call in calls {
            match written.remove(&call.id) {
                Some(line) => self
                    .rows
                    .over(Box::new(line::complete(call.clone(), &line).unwrap_or(call))),
                None => cut_off.push(call),
            }
        }
        if !cut_off.is_empty() {
            tracing::warn!(
                calls = cut_off.len(),
                "calls were cut off when the switch stopped; their records say so"
            );
        }
        Ok(cut_off)
    }

    /// A call is up: keeps what its record will be if the switch is killed; never blocks.
    pub(crate) fn answered(&self, record: Box<CallRecord>) {
        self.rows.begin(record.id);
        self.rows.store.write(NOBODY, StoreWrite::PutCall(record));
    }

    /// Keeps a record; never blocks but for those of calls that were cut off. They come all at once, more of them than
    /// may wait, and before anybody is served.
    pub(crate) fn keep(&self, record: Box<CallRecord>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else {
            return;
        };
        let sent = if record.ended.is_none() {
            sender.send(record).map_err(|SendError(record)| record)
        } else {
            sender.try_send(record).map_err(|error| match error {
                TrySendError::Full(record) | TrySendError::Disconnected(record) => record,
            })
        };
        if let Err(record) = sent {
            if self.rows.config.file {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
            }
            self.rows.end(record, !self.rows.config.file);
        }
    }

    /// Records written to the file, and lost.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counts.written), read(&self.counts.lost))
    }

    /// Writes what waits and ends.
    pub(crate) fn close(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread of the call records panicked; the last ones may be lost");
        }
    }
}

/// What the store has of calls.
struct Rows {
    config: CdrConfig,
    store: Arc<dyn Store>,
    /// The ids of the calls that have a row, or one on its way.
    up: Mutex<HashSet<u128>>,
}

impl Rows {
    fn up(&self) -> MutexGuard<'_, HashSet<u128>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: u128) {
        self.up().insert(id);
    }

    fn drop_call(&self, id: u128) {
        self.store.write(NOBODY, StoreWrite::DeleteCall { id });
    }

    /// Whether the call has a row: it was up, now or when the switch was stopped the last time.
    fn has(&self, record: &CallRecord) -> bool {
        record.ended.is_none() || self.up().contains(&record.id)
    }

    /// A call is over, and its line `written`, or none is wanted. Without a line and a database its row stays, for a
    /// record after the next start.
    fn end(&self, record: Box<CallRecord>, written: bool) {
        let has_row = self.has(&record);
        self.up().remove(&record.id);
        if self.config.database || written && has_row {
            self.over(record);
        }
    }

    /// Whatever was kept of a call that is over gives way to its record.
    fn over(&self, record: Box<CallRecord>) {
        if self.config.database {
            let known = record.ended.or(record.last_alive).unwrap_or(record.started);
            let write = StoreWrite::PutRecord {
                forget_before: Time(known.0) - self.config.keep,
                record,
            };
            self.store.write(NOBODY, write);
        } else {
            self.drop_call(record.id);
        }
    }

    /// The switch runs, and with it the calls that are up: what is kept of others is of before. Under the lock, so that
    /// no call's row comes before this write without the call being among those that are up.
    fn alive(&self, at: Time) {
        let up = self.up();
        if !up.is_empty() {
            let up = up.clone();
            self.store.write(NOBODY, StoreWrite::Alive { at, up });
        }
    }
}
