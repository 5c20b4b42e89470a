//! The switch while strangers flood it and while the network is bad: who is in a call hears no gap, who is
//! known gets through, and memory stays bounded.
//!
//! Each flood lasts a second; a minute with `CORDBOARD_LONG` (`tests/run long`), `CORDBOARD_FLOOD_SECONDS`
//! seconds where that is set. What was measured is printed.

mod datagrams;
mod lossy;
mod peers;
mod requests;
mod streams;
mod witness;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The machine belongs to one flood at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A flood that failed has said so; the next one starts anew.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a flood lasts.
fn length() -> Duration {
    let asked = std::env::var("CORDBOARD_FLOOD_SECONDS").ok();
    let asked = asked.map(|text| {
        text.parse()
            .expect("CORDBOARD_FLOOD_SECONDS is a number of seconds")
    });
    let usual = if is_long() { 60 } else { 1 };
    Duration::from_secs(asked.unwrap_or(usual))
}

/// Whether `tests/run long` was asked for.
fn is_long() -> bool {
    std::env::var_os("CORDBOARD_LONG").is_some()
}

/// An address of strangers: the `number`th of 65,536 on the loopback, none of which is a phone's.
fn stranger(number: usize) -> SocketAddr {
    let [.., high, low] = (number as u32).to_be_bytes();
    SocketAddr::from(([127, 240, high, low], 0))
}
