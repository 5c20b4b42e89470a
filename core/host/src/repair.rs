//! Makes fresh instances beside the serving threads, for plugins that take longer to start than a
//! question may take.
//!
//! After a failure a worker makes the fresh instance itself, within the next question's deadline: mostly
//! that takes microseconds. Only if the deadline passes during that start does the work come here.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::ticker::Ticker;
use crate::worker;

/// One place that wants an instance. There is at most one per place at a time, so the row of them is
/// bounded by the number of plugins and workers.
pub(crate) type Repair = Box<dyn FnOnce() + Send>;

/// Starts the thread; it ends when every sender is gone.
pub(crate) fn start(ticker: Arc<Ticker>) -> std::io::Result<Sender<Repair>> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().name("plugin-repair".into());
    thread.spawn(move || work(&receiver, &ticker))?;
    Ok(sender)
}

fn work(repairs: &Receiver<Repair>, ticker: &Ticker) {
    worker::step_back();
    for repair in repairs {
        let _running = ticker.running();
        repair();
    }
}
