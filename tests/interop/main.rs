//! The stories of the house, told with real programs: each test is one of them.
//!
//! The switch is the real binary. The other side is sipp, baresip, sipsak or promtool where they can do it, and
//! the phone of `cordboard_tests::client` where what counts is a byte or a moment. Stories with audio take turns:
//! on two cores they would measure each other.

mod audio;
mod baresip;
mod browser;
mod calls;
mod chat;
mod chat_together;
mod jssip;
mod linphone;
mod lossy;
mod messages;
mod operator;
mod plugins;
mod readme;
mod registration;
mod restart;
mod scanner;
mod sipp;
mod video;
mod writing;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long something that should happen at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// The turn of a story that needs the machine for itself.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A story that failed has said so; the next one starts anew.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `tests/run long` was asked for.
fn long() -> bool {
    std::env::var_os("CORDBOARD_LONG").is_some()
}
