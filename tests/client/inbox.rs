//! Everything a phone has received, and waiting for more.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::text::Message;

/// A message and the moment it came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// When the reading thread had it.
    pub at: Instant,
    /// What came.
    pub message: Message,
}

/// Keeps all that came, in order; nothing is ever taken out, so several waiters may look at the same message.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    heard: Mutex<Vec<Heard>>,
    more: Condvar,
}

impl Inbox {
    pub(super) fn push(&self, message: Message) {
        self.lock().push(Heard {
            at: Instant::now(),
            message,
        });
        self.more.notify_all();
    }

    /// How many messages have come so far: a place to start looking from.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// All that came and is wanted.
    pub(super) fn select(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Heard> {
        self.lock()
            .iter()
            .filter(|h| wanted(&h.message))
            .cloned()
            .collect()
    }

    /// The first wanted message from place `from` on; waits for it at most `patience`.
    pub(super) fn wait(
        &self,
        from: usize,
        patience: Duration,
        wanted: impl Fn(&Message) -> bool,
    ) -> Option<Heard> {
        let deadline = Instant::now() + patience;
        let mut heard = self.lock();
        let mut next = from;
        loop {
            if let Some(found) = heard[next.min(heard.len())..].iter().find(|h| wanted(&h.message)) {
                return Some(found.clone());
            }
            next = heard.len();
            let left = deadline.checked_duration_since(Instant::now())?;
            heard = self
                .more
                .wait_timeout(heard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
