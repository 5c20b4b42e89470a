//! The store: how many messages a second are on disk, when each waits for its own commit and when they share them.
//!
//! A chat message is told after its commit, so what comes back to its sender is what was written. Beside it, a bare
//! loop on the same disk: as many texts are appended to a file at a time as were under way, and synced.

use std::io::Write as _;
use std::time::{Duration, Instant};

use cordboard_tests::client::meeting::Meeting;
use cordboard_tests::http;
use cordboard_tests::switch::{Lab, Switch};

use crate::chat::enter;

/// How long each way is measured.
const ROUND: Duration = Duration::from_secs(3);
/// Messages that are under way at a time.
const WINDOWS: [usize; 3] = [1, 16, 200];
/// When a message that has not come back counts as lost.
const LOST: Duration = Duration::from_secs(10);

/// Runs the bench.
pub fn run() {
    println!("store: chat messages on disk per second, by how many are under way");
    let switch = Lab::new().also("[messages]\nrate = 0\n").start();
    let mut alice = enter(switch.http());
    for window in WINDOWS {
        let (bare, (written, commits)) = (bare(window), write(&switch, &mut alice, window));
        println!(
            "  {window:3} under way  bare loop {bare:7.0} texts/s  cordboard {written:7.0} messages/s in {commits:.0} commits/s"
        );
    }
}

/// Messages and commits per second.
fn write(switch: &Switch, alice: &mut Meeting, window: usize) -> (f64, f64) {
    let commits =
        |switch: &Switch| http::metric(&switch.metrics(), "cordboard_store_commit_seconds_count", &[]);
    let (before, begun, mut written, mut open) = (commits(switch), Instant::now(), 0, 0);
    while begun.elapsed() < ROUND {
        while open < window {
            alice.write(&format!("{:<200}", "x")).expect("sent");
            open += 1;
        }
        alice.event(LOST, "message_sent").expect("acknowledged");
        (open, written) = (open - 1, written + 1);
    }
    let seconds = begun.elapsed().as_secs_f64();
    for _ in 0..open {
        alice.event(LOST, "message_sent").expect("acknowledged");
    }
    let commits = commits(switch) - before;
    (f64::from(written) / seconds, commits / seconds)
}

/// Texts per second with so many in each write and sync.
fn bare(texts: usize) -> f64 {
    let mut file = tempfile::tempfile().expect("a file");
    let (begun, mut written) = (Instant::now(), 0);
    while begun.elapsed() < ROUND {
        file.write_all(&vec![b'x'; 200 * texts])
            .expect("the disk takes it");
        file.sync_data().expect("the disk takes it");
        written += texts;
    }
    written as f64 / begun.elapsed().as_secs_f64()
}
