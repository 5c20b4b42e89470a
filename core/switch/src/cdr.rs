//! Call detail records on disk: JSON lines in the data folder, rotated by size, and rows of the database, through the
//! store; both by a thread of their own.
//!
//! A call that is up has a row in the store, so that it has a record even if the switch is killed. A record is
//! written once, whenever the kill comes: first its line, and then in one transaction its row is added and the call's
//! is taken out. What is found at the start is therefore a call without a record, unless its line is there: then the
//! line holds its end.

mod file;
mod line;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use cordboard_engine::io::StoreWrite;
use cordboard_engine::record::CallRecord;
use cordboard_model::{Ticket, Time};

use self::file::Rotating;
use crate::clock::Clock;
use crate::config::resolved::CdrConfig;
use crate::store::Store;

/// The file's name in the data folder; older files have a number after it, 1 being the youngest.
const NAME: &str = "cdr.jsonl";
/// Records that may wait for the disk; further ones are lost and counted.
const WAITING: usize = 10_000;
/// How often the store is told that the switch runs, while calls are up.
const ALIVE: Duration = Duration::from_secs(30);
/// The ticket of what nobody waits for.
const NOBODY: Ticket = Ticket(0);

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
            let (sender, receiver) = sync_channel(WAITING);
            let mut writer = Writer {
                file,
                rows: Arc::clone(&rows),
                counts: Arc::clone(&counts),
                failing: false,
            };
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
            let ids: Vec<u128> = calls.iter().map(|call| call.id).collect();
            file::find(&self.path, config.keep_files, &ids, since)
                .with_context(|| format!("cannot read call records from {}", self.path.display()))?
        } else {
            HashMap::new()
        };
        let mut cut_off = Vec::new();
        for call in calls {
            self.rows.begin(call.id);
            match written.remove(&call.id) {
                Some(line) => self
                    .rows
                    .end(Box::new(line::complete(call.clone(), &line).unwrap_or(call))),
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

    /// Keeps a record; never blocks.
    pub(crate) fn keep(&self, record: Box<CallRecord>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.as_ref()
            && let Err(TrySendError::Full(record) | TrySendError::Disconnected(record)) =
                sender.try_send(record)
        {
            if self.rows.config.file {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
            }
            self.rows.end(record);
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

    /// The line of a call that is over is written, or will never be.
    fn end(&self, record: Box<CallRecord>) {
        let was_up = self.up().remove(&record.id);
        if self.config.database {
            let known = record.ended.or(record.last_alive).unwrap_or(record.started);
            let write = StoreWrite::PutRecord {
                forget_before: Time(known.0) - self.config.keep,
                record,
            };
            self.store.write(NOBODY, write);
        } else if was_up {
            self.drop_call(record.id);
        }
    }
}

/// What the thread has.
struct Writer {
    file: Option<Rotating>,
    rows: Arc<Rows>,
    counts: Arc<Counts>,
    /// The last line could not be written: that was said.
    failing: bool,
}

impl Writer {
    fn run(&mut self, records: &Receiver<Box<CallRecord>>, clock: Clock) {
        let mut due = clock.now() + ALIVE;
        loop {
            match records.recv_timeout(due.since(clock.now())) {
                Ok(record) => {
                    self.write_line(&record);
                    self.rows.end(record);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = clock.now();
            if now >= due {
                due = now + ALIVE;
                if !self.rows.up().is_empty() {
                    self.rows.store.write(NOBODY, StoreWrite::Alive(now));
                }
            }
        }
    }

    fn write_line(&mut self, record: &CallRecord) {
        let Some(file) = &mut self.file else {
            return;
        };
        match file.write(&line::line(record)) {
            Ok(()) => {
                self.counts.written.fetch_add(1, Ordering::Relaxed);
                self.failing = false;
            }
            Err(error) => {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                if !self.failing {
                    tracing::error!(path = %file.path.display(), "call records cannot be written and are lost: {error}");
                }
                self.failing = true;
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use cordboard_engine::io::Transport;
    use cordboard_engine::record::CallDirection;
    use cordboard_model::AccountId;
    use cordboard_model::media::{LegTotals, PeerReport};
    use rusqlite::Connection;

    use super::*;
    use crate::config::resolved::StoreConfig;
    use crate::store::Sqlite;

    pub(crate) fn record(id: u128) -> CallRecord {
        CallRecord {
            id,
            session: 7,
            call_id: "a\"b".into(),
            account: AccountId(1),
            direction: CallDirection::In,
            from: "sip:alice@lab.test".into(),
            to: "sip:3000@lab.test".into(),
            number: "3000".into(),
            contact: "sip:alice@198.51.100.1:5060".into(),
            user: Some("alice".into()),
            transport: Transport::Udp,
            started: Time::from_unix_seconds(1_800_000_000),
            answered: None,
            ended: Some(Time(1_800_000_060_500_000_000)),
            last_alive: None,
            codec: Some("PCMU"),
            reason: "hung_up",
            status: 200,
            conference: None,
            media: Some(LegTotals {
                peer: Some(PeerReport {
                    lost: 3,
                    jitter_ms: 1.0,
                    round_trip: Some(Duration::from_micros(12_500)),
                }),
                ..LegTotals::default()
            }),
        }
    }

    /// What a call is kept as while it is up.
    pub(crate) fn call(id: u128) -> CallRecord {
        let started = Time::from_unix_seconds(1_800_000_000);
        CallRecord {
            answered: Some(started + Duration::from_secs(3)),
            ended: None,
            reason: "cut_off",
            media: None,
            ..record(id)
        }
    }

    /// A switch's life: its records, until it is dropped, which is after all was written, or killed.
    struct Life {
        cdr: Cdr,
        store: Arc<Sqlite>,
        cut_off: Vec<CallRecord>,
    }

    impl Life {
        fn begin(folder: &Path, file: bool, database: bool) -> Self {
            let store_config = StoreConfig {
                path: folder.join("cordboard.db"),
                full_sync: true,
            };
            let config = CdrConfig {
                file,
                max_size: 1 << 20,
                keep_files: 2,
                database,
                keep: Duration::from_secs(3600),
            };
            let store = Arc::new(Sqlite::open(folder, &store_config, Arc::new(|_, _| ())).unwrap());
            let shared: Arc<dyn Store> = store.clone();
            let cdr = Cdr::start(&config, folder, shared, Clock::start()).unwrap();
            let cut_off = cdr.cut_off().unwrap();
            Self { cdr, store, cut_off }
        }

        fn end(self) {
            self.cdr.close();
            self.store.close();
        }
    }

    /// Reasons in the file, reasons in the table, and calls that are up, by their ids.
    fn on_disk(folder: &Path) -> [Vec<(u128, String)>; 3] {
        let lines = fs::read_to_string(folder.join(NAME)).unwrap_or_default();
        let mut lines: Vec<_> = lines
            .lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                (
                    line::id(line.as_bytes()).unwrap(),
                    value["reason"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        lines.sort();
        let database = Connection::open(folder.join("cordboard.db")).unwrap();
        let rows = |table: &str| {
            let mut statement = database
                .prepare(&format!("SELECT id, reason FROM {table} ORDER BY id"))
                .unwrap();
            let row = |row: &rusqlite::Row<'_>| {
                let id: String = row.get(0)?;
                Ok((u128::from_str_radix(&id, 16).unwrap(), row.get(1)?))
            };
            statement
                .query_map([], row)
                .unwrap()
                .map(Result::unwrap)
                .collect()
        };
        [lines, rows("call_record"), rows("call_up")]
    }

    #[test]
    fn a_call_that_is_up_is_kept_until_its_record_is_written() {
        for (file, database) in [(true, true), (true, false), (false, true)] {
            let folder = tempfile::tempdir().unwrap();
            let life = Life::begin(folder.path(), file, database);
            for id in 1..=3 {
                life.cdr.answered(Box::new(call(id)));
            }
            life.cdr.keep(Box::new(record(2)));
            life.cdr.keep(Box::new(record(8)));
            life.end();
            let ended: Vec<_> = [2, 8].map(|id| (id, "hung_up".to_owned())).into();
            let cut: Vec<_> = [1, 3].map(|id| (id, "cut_off".to_owned())).into();
            let wanted = |wanted: bool, rows: &Vec<_>| if wanted { rows.clone() } else { Vec::new() };
            let [lines, rows, up] = on_disk(folder.path());
            assert_eq!(
                (lines, rows, up),
                (wanted(file, &ended), wanted(database, &ended), cut.clone())
            );

            let life = Life::begin(folder.path(), file, database);
            assert_eq!(
                life.cut_off.iter().map(|call| call.id).collect::<Vec<_>>(),
                [1, 3]
            );
            for call in life.cut_off.clone() {
                assert_eq!((call.ended, call.last_alive), (None, call.answered));
                life.cdr.keep(Box::new(call));
            }
            life.end();
            let all = [&cut[..1], &ended[..1], &cut[1..], &ended[1..]].concat();
            let [lines, rows, up] = on_disk(folder.path());
            assert_eq!(
                (lines, rows, up),
                (wanted(file, &all), wanted(database, &all), Vec::new())
            );
            assert!(
                Life::begin(folder.path(), file, database).cut_off.is_empty(),
                "once"
            );
        }
    }

    #[test]
    fn a_kill_between_the_line_and_the_row_makes_no_second_record() {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::begin(folder.path(), true, true);
        life.cdr.answered(Box::new(call(1)));
        life.end();
        let ended = CallRecord {
            answered: call(1).answered,
            ..record(1)
        };
        fs::write(folder.path().join(NAME), line::line(&ended)).unwrap();
        let life = Life::begin(folder.path(), true, true);
        assert!(life.cut_off.is_empty(), "{:?}", life.cut_off);
        life.end();
        let ended = vec![(1, "hung_up".to_owned())];
        assert_eq!(on_disk(folder.path()), [ended.clone(), ended, Vec::new()]);
    }

    #[test]
    fn who_wants_no_records_keeps_no_calls() {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::begin(folder.path(), false, true);
        life.cdr.answered(Box::new(call(1)));
        life.end();
        let life = Life::begin(folder.path(), false, false);
        assert!(life.cut_off.is_empty());
        life.end();
        assert_eq!(on_disk(folder.path()), [Vec::new(), Vec::new(), Vec::new()]);
    }
}
