//! The thread of the call records: writes their lines, and then has their rows written.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use cordboard_engine::record::CallRecord;

use super::file::Rotating;
use super::{Counts, Pace, Rows, line};
use crate::clock::Clock;

/// What the thread has.
pub(super) struct Writer {
    pub(super) file: Option<Rotating>,
    pub(super) rows: Arc<Rows>,
    pub(super) counts: Arc<Counts>,
    pub(super) pace: Pace,
    /// The last line could not be written: that was said.
    pub(super) failing: bool,
}

impl Writer {
    pub(super) fn run(&mut self, records: &Receiver<Box<CallRecord>>, clock: Clock) {
        let mut due = clock.now() + self.pace.alive;
        loop {
            match records.recv_timeout(due.since(clock.now())) {
                Ok(record) => {
                    let written = self.write_line(&record);
                    self.rows.end(record, written);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = clock.now();
            if now >= due {
                due = now + self.pace.alive;
                self.rows.alive(now);
            }
        }
    }

    /// Whether the line is written, or none is wanted.
    fn write_line(&mut self, record: &CallRecord) -> bool {
        let Some(file) = &mut self.file else {
            return true;
        };
        match file.write(&line::line(record)) {
            Ok(()) => {
                self.counts.written.fetch_add(1, Ordering::Relaxed);
                self.failing = false;
                true
            }
            Err(error) => {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                if !self.failing {
                    tracing::error!(path = %file.path.display(), "call records cannot be written, their lines are lost: {error}");
                }
                self.failing = true;
                false
            }
        }
    }
}
