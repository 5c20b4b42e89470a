//! What the tests stand on: a phone of its own, the switch under test, other people's programs, tones.
//!
//! Nothing here uses a crate of the switch. The client reads and writes SIP and RTP by itself, so that it is an
//! independent witness: a mistake in our parser cannot hide behind the same mistake here.

pub mod cable;
pub mod client;
pub mod http;
pub mod program;
pub mod switch;
pub mod tone;
pub mod webrtc;

use std::time::{Duration, Instant};

/// Asks `question` again until it answers or `patience` is over; `None` means that it never did.
///
/// For what has no event to wait for (a file that another program writes, a counter behind HTTP).
pub fn until<T>(patience: Duration, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = question() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
