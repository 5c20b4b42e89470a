//! Call detail records on disk: JSON lines in the data folder, rotated by size, written by a thread of
//! their own; and rows of the database, through the store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context as _;
use cordboard_engine::io::StoreWrite;
use cordboard_engine::record::CallRecord;
use cordboard_model::{Ticket, Time};
use serde_json::json;

use crate::config::resolved::CdrConfig;
use crate::store::Store;

/// The file's name in the data folder; older files have a number after it, 1 being the youngest.
const NAME: &str = "cdr.jsonl";
/// Records that may wait for the disk; further ones are lost and counted.
const WAITING: usize = 10_000;

/// What became of records for the file.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

/// The way to both places.
pub(crate) struct Cdr {
    config: CdrConfig,
    store: Arc<dyn Store>,
    counts: Arc<Counts>,
    sender: Mutex<Option<SyncSender<Box<CallRecord>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Cdr {
    /// Opens the file and starts the thread, if a file is wanted.
    ///
    /// # Errors
    /// The file cannot be opened, or the system gives no thread.
    pub(crate) fn start(config: &CdrConfig, folder: &Path, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let (mut way, mut worker) = (None, None);
        if config.file {
            let path = folder.join(NAME);
            let mut file = Rotating::open(path.clone(), config.max_size, config.keep_files).with_context(|| {
                format!("cannot write call records to {}; correct its owner and mode, or set `[cdr] file` to false", path.display())
            })?;
            let (sender, receiver) = sync_channel(WAITING);
            let counts = Arc::clone(&counts);
            let thread = std::thread::Builder::new().name("cdr".into());
            worker = Some(thread.spawn(move || run(&receiver, &mut file, &counts))?);
            way = Some(sender);
        }
        Ok(Self {
            config: *config,
            store,
            counts,
            sender: Mutex::new(way),
            thread: Mutex::new(worker),
        })
    }

    /// Keeps a record; never blocks.
    pub(crate) fn keep(&self, record: Box<CallRecord>) {
        if self.config.database {
            let write = StoreWrite::PutRecord {
                forget_before: Time(record.ended.0) - self.config.keep,
                record: record.clone(),
            };
            self.store.write(Ticket(0), write);
        }
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.as_ref()
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sender.try_send(record)
        {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
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

fn run(records: &Receiver<Box<CallRecord>>, file: &mut Rotating, counts: &Counts) {
    let mut failing = false;
    for record in records {
        match file.write(&line(&record)) {
            Ok(()) => {
                counts.written.fetch_add(1, Ordering::Relaxed);
                failing = false;
            }
            Err(error) => {
                counts.lost.fetch_add(1, Ordering::Relaxed);
                if !failing {
                    tracing::error!(path = %file.path.display(), "call records cannot be written and are lost: {error}");
                }
                failing = true;
            }
        }
    }
}

/// Seconds since the Unix epoch, with milliseconds.
fn seconds(time: Time) -> f64 {
    (time.0 / 1_000_000) as f64 / 1000.0 // exact to the millisecond for the next 285,000 years
}

/// A record as one line of JSON.
pub(crate) fn line(record: &CallRecord) -> String {
    let media = record.media.map(|totals| {
        json!({
            "packets_in": totals.packets_in,
            "packets_out": totals.packets_out,
            "lost": totals.lost,
            "late": totals.late,
            "jitter_ms": totals.jitter_ms,
            "peer": totals.peer.map(|peer| json!({
                "lost": peer.lost,
                "jitter_ms": peer.jitter_ms,
                "round_trip_ms": peer.round_trip.map(|time| time.as_secs_f64() * 1000.0),
            })),
        })
    });
    let line = json!({
        "id": format!("{:032x}", record.id),
        "session": format!("{:032x}", record.session),
        "call_id": record.call_id,
        "account": record.account.to_string(),
        "direction": record.direction.name(),
        "from": record.from,
        "to": record.to,
        "number": record.number,
        "contact": record.contact,
        "user": record.user,
        "transport": record.transport.name(),
        "started": seconds(record.started),
        "answered": record.answered.map(seconds),
        "ended": seconds(record.ended),
        "codec": record.codec,
        "reason": record.reason,
        "status": record.status,
        "conference": record.conference.map(|id| id.to_string()),
        "media": media,
    });
    format!("{line}\n")
}

/// A file that makes room when it is full.
struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    keep: u32,
}

impl Rotating {
    fn open(path: PathBuf, max_size: u64, keep: u32) -> io::Result<Self> {
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path,
            file,
            size,
            max_size,
            keep,
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.max_size {
            self.rotate()?;
        }
        // What was left of a line by a full disk must not spoil the next one.
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let _ = self.file.set_len(self.size); // the same trouble; the first error says more
            return Err(error);
        }
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.keep).rev() {
            if numbered(number).exists() {
                fs::rename(numbered(number), numbered(number + 1))?;
            }
        }
        match self.keep {
            0 => fs::remove_file(&self.path)?,
            _ => fs::rename(&self.path, numbered(1))?,
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use cordboard_engine::io::Transport;
    use cordboard_engine::record::CallDirection;
    use cordboard_model::AccountId;
    use cordboard_model::media::{LegTotals, PeerReport};

    use super::*;

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
            ended: Time(1_800_000_060_500_000_000),
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

    #[test]
    fn a_record_is_one_line_of_json() {
        let line = line(&record(1));
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["call_id"], "a\"b");
        assert_eq!(
            (&read["started"], &read["ended"]),
            (&json!(1_800_000_000.0), &json!(1_800_000_060.5))
        );
        assert_eq!(
            (&read["answered"], &read["media"]["lost"]),
            (&json!(null), &json!(0))
        );
    }

    #[test]
    fn full_files_are_numbered_and_the_eldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut file = Rotating::open(path.clone(), 10, 2).unwrap();
        for line in ["aaaaaa\n", "bbbbbb\n", "cc\n", "dddddd\n", "eeeeee\n"] {
            file.write(line).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("cdr.jsonl").unwrap(), "eeeeee\n");
        assert_eq!(read("cdr.jsonl.1").unwrap(), "dddddd\n");
        assert_eq!(read("cdr.jsonl.2").unwrap(), "bbbbbb\ncc\n");
        assert_eq!(read("cdr.jsonl.3"), None);
        drop(file);
        let mut again = Rotating::open(path, 10, 2).unwrap();
        again.write("ff\n").unwrap();
        assert_eq!(
            read("cdr.jsonl").unwrap(),
            "eeeeee\nff\n",
            "it goes on where it was"
        );
    }
}
