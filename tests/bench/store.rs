//! The store: how many messages a second are on disk, when each waits for its own commit and when they share them.
//!
//! A chat message is told after its commit, so what comes back to its sender is what was written. Beside it, bare
//! SQLite on the same disk with the same durability: one row a commit, and as many as were under way.

use std::time::{Duration, Instant};

use cordboard_tests::client::meeting::Meeting;
use cordboard_tests::http;
use cordboard_tests::switch::{Lab, Switch};
use rusqlite::Connection;

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
            "  {window:3} under way  bare SQLite {bare:7.0} rows/s  cordboard {written:7.0} messages/s in {commits:.0} commits/s"
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

/// Rows per second with so many in each commit.
fn bare(rows: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let mut database = Connection::open(folder.path().join("bare.db")).expect("a database");
    let begin = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 CREATE TABLE message (room BLOB, at INTEGER, id BLOB, content TEXT, PRIMARY KEY (room, at))";
    database.execute_batch(begin).expect("it is empty");
    let (begun, mut number) = (Instant::now(), 0_i64);
    while begun.elapsed() < ROUND {
        let group = database.transaction().expect("nobody else writes");
        for _ in 0..rows {
            number += 1;
            let values = (&[7_u8; 16], number, number.to_be_bytes(), "x".repeat(200));
            let insert = "INSERT INTO message VALUES (?1, ?2, ?3, ?4)";
            group
                .prepare_cached(insert)
                .and_then(|mut row| row.execute(values))
                .expect("written");
        }
        group.commit().expect("committed");
    }
    number as f64 / begun.elapsed().as_secs_f64()
}
