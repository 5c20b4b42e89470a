//! The questions that wait for a worker: bounded, and fair between hooks.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use cordboard_model::{Ask, Hook, Ticket};

use crate::chain::Chain;
use crate::count::hook_index;
use crate::plugin::locked;

/// A question on its way.
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) ask: Ask,
    pub(crate) chain: Arc<Chain>,
    /// When its verdict is of no use any more.
    pub(crate) expiry: Instant,
}

/// One worker's queue: a row for each hook, served in turn, so that a flood of messages to a slow
/// filter does not keep people from joining.
pub(crate) struct Queue {
    rows: Mutex<Rows>,
    ready: Condvar,
    limit: usize,
}

#[derive(Default)]
struct Rows {
    of_hooks: [VecDeque<Job>; Hook::ALL.len()],
    next: usize,
    closed: bool,
}

impl Queue {
    /// A queue that holds at most `limit` questions of each hook.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            rows: Mutex::default(),
            ready: Condvar::new(),
            limit,
        }
    }

    /// Puts a question at the end of its row, or gives it back if there is no room.
    pub(crate) fn push(&self, job: Job) -> Result<(), Box<Job>> {
        let mut rows = locked(&self.rows);
        let row = &mut rows.of_hooks[hook_index(job.ask.hook())];
        if row.len() >= self.limit {
            return Err(Box::new(job));
        }
        row.push_back(job);
        drop(rows);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for a question; `None` once the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<Job> {
        let mut rows = locked(&self.rows);
        loop {
            if let Some(job) = rows.take() {
                return Some(job);
            }
            if rows.closed {
                return None;
            }
            rows = self.ready.wait(rows).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the worker end when it has answered what waits.
    pub(crate) fn close(&self) {
        locked(&self.rows).closed = true;
        self.ready.notify_all();
    }

    /// How many questions wait.
    pub(crate) fn len(&self) -> usize {
        locked(&self.rows).of_hooks.iter().map(VecDeque::len).sum()
    }
}

impl Rows {
    fn take(&mut self) -> Option<Job> {
        for turn in 0..self.of_hooks.len() {
            let row = (self.next + turn) % self.of_hooks.len();
            if let Some(job) = self.of_hooks[row].pop_front() {
                self.next = row + 1;
                return Some(job);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::tests::{join_ask, message_ask};

    fn job(ticket: u64, ask: Ask) -> Job {
        Job {
            ticket: Ticket(ticket),
            ask,
            chain: Arc::default(),
            expiry: Instant::now(),
        }
    }

    #[test]
    fn a_full_row_gives_the_question_back_and_leaves_the_other_row_open() {
        let queue = Queue::new(2);
        assert!(queue.push(job(1, message_ask("a"))).is_ok());
        assert!(queue.push(job(2, message_ask("a"))).is_ok());
        assert_eq!(
            queue.push(job(3, message_ask("a"))).unwrap_err().ticket,
            Ticket(3)
        );
        assert!(queue.push(job(4, join_ask())).is_ok());
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn hooks_take_turns_and_a_closed_queue_is_emptied_first() {
        let queue = Queue::new(9);
        for (ticket, ask) in [
            (1, message_ask("a")),
            (2, message_ask("a")),
            (3, message_ask("a")),
            (4, join_ask()),
        ] {
            assert!(queue.push(job(ticket, ask)).is_ok());
        }
        queue.close();
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop())
            .map(|job| job.ticket.0)
            .collect();
        assert_eq!(order, [4, 1, 2, 3]);
    }
}
