//! Makes the milliseconds by which deadlines of plugin calls are counted.
//!
//! The thread ticks only while some call runs and for a moment after, then it sleeps until the next
//! call: an idle switch is not woken a thousand times a second for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// One tick.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without a call before the thread sleeps: calls often come in rows, and waking costs the caller.
const IDLE_TICKS: u32 = 100;

/// The thread and how to wake it.
pub(crate) struct Ticker {
    state: Arc<State>,
    thread: Thread,
    join: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// While this lives, time goes on for the engine's deadlines.
pub(crate) struct Running<'a>(&'a State);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn new(engine: Engine) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let own = state.clone();
        let join = std::thread::Builder::new()
            .name("plugin-tick".into())
            .spawn(move || tick(&engine, &own))?;
        Ok(Self {
            state,
            thread: join.thread().clone(),
            join: Some(join),
        })
    }

    /// To be held while a guest may run.
    pub(crate) fn running(&self) -> Running<'_> {
        self.state.running.fetch_add(1, Ordering::SeqCst);
        if self.state.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.state)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(join) = self.join.take() {
            // It cannot panic; and if it did, there is nobody left to tell.
            let _ = join.join();
        }
    }
}

/// How many ticks a span is: never less than the span, and one more because the current one has begun.
pub(crate) fn ticks(span: Duration) -> u64 {
    u64::try_from(span.as_micros().div_ceil(TICK.as_micros()))
        .unwrap_or(u64::MAX - 1)
        .saturating_add(1)
}

fn tick(engine: &Engine, state: &State) {
    let mut idle = 0;
    let mut last = Instant::now();
    while !state.stop.load(Ordering::SeqCst) {
        if idle >= IDLE_TICKS {
            state.asleep.store(true, Ordering::SeqCst);
            // A call that begins from here on sees `asleep` and wakes the thread, or was seen here.
            if state.running.load(Ordering::SeqCst) == 0 && !state.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            state.asleep.store(false, Ordering::SeqCst);
            idle = 0;
            last = Instant::now();
        }
        std::thread::sleep(TICK);
        // A late thread catches up, so that deadlines are as long as they say.
        while last.elapsed() >= TICK {
            last += TICK;
            engine.increment_epoch();
        }
        idle = if state.running.load(Ordering::SeqCst) == 0 {
            idle + 1
        } else {
            0
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_shorter_than_it_says() {
        assert_eq!(ticks(Duration::from_millis(5)), 6);
        assert_eq!(ticks(Duration::from_micros(4001)), 6);
        assert_eq!(ticks(Duration::ZERO), 1);
        assert!(ticks(Duration::MAX) > 1 << 40);
    }
}
