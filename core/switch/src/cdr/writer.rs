//! The thread of the call records: writes their lines at once, and their rows when the lines are synced.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use cordboard_engine::record::CallRecord;
use cordboard_model::Time;

use super::file::Rotating;
use super::{Counts, Pace, Rows, line};
use crate::clock::Clock;

/// Lines that wait to be synced; with so many they do not wait longer.
const BATCH: usize = 1000;

/// What the thread has.
pub(super) struct Writer {
    file: Option<Rotating>,
    rows: Arc<Rows>,
    counts: Arc<Counts>,
    pace: Pace,
    /// Of calls with a row: their lines are written and not synced.
    #[expect(clippy::vec_box, reason = "they come in their boxes, and go on in them")]
    unsynced: Vec<Box<CallRecord>>,
    /// Lines that are written and not synced, of calls with and without a row.
    lines: u64,
    /// When lines are to be synced, if any are not.
    sync_at: Option<Time>,
    /// The last line could not be written, or the last lines not synced: that was said.
    failing: bool,
}

impl Writer {
    pub(super) const fn new(
        file: Option<Rotating>,
        rows: Arc<Rows>,
        counts: Arc<Counts>,
        pace: Pace,
    ) -> Self {
        Self {
            file,
            rows,
            counts,
            pace,
            unsynced: Vec::new(),
            lines: 0,
            sync_at: None,
            failing: false,
        }
    }

    pub(super) fn run(&mut self, records: &Receiver<Box<CallRecord>>, clock: Clock) {
        let mut alive_at = clock.now() + self.pace.alive;
        loop {
            let due = self.sync_at.map_or(alive_at, |at| at.min(alive_at));
            match records.recv_timeout(due.since(clock.now())) {
                Ok(record) => self.write(record, clock.now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            let now = clock.now();
            if self.sync_at.is_some_and(|at| at <= now) || self.unsynced.len() >= BATCH {
                self.sync();
            }
            if now >= alive_at {
                alive_at = now + self.pace.alive;
                self.rows.alive(now);
            }
        }
    }

    fn write(&mut self, record: Box<CallRecord>, now: Time) {
        let Some(file) = &mut self.file else {
            return self.rows.end(record, true);
        };
        match file.write(&line::line(&record)) {
            Ok(()) => {
                self.counts.written.fetch_add(1, Ordering::Relaxed);
                self.lines += 1;
                self.sync_at.get_or_insert(now + self.pace.sync);
                // Without a row there is nothing to go by after a kill: the record does not wait.
                if self.rows.has(&record) {
                    self.unsynced.push(record);
                } else {
                    self.rows.end(record, true);
                }
            }
            Err(error) => {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                if !self.failing {
                    tracing::error!(path = %file.path.display(), "call records cannot be written, their lines are lost: {error}");
                }
                self.failing = true;
                self.rows.end(record, false);
            }
        }
    }

    /// Only a line that is on the disk itself takes the place of a row.
    fn sync(&mut self) {
        let (Some(_), Some(file)) = (self.sync_at.take(), &mut self.file) else {
            return;
        };
        let synced = file.sync();
        let lines = std::mem::take(&mut self.lines);
        if synced.is_err() {
            self.counts.lost.fetch_add(lines, Ordering::Relaxed);
        }
        if let Err(error) = &synced
            && !self.failing
        {
            tracing::error!(path = %file.path.display(), "call records cannot be synced, their lines may be lost: {error}");
        }
        self.failing = synced.is_err();
        for record in self.unsynced.drain(..) {
            self.rows.end(record, synced.is_ok());
        }
    }
}
