//! The shard in virtual time, with phones around it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod garbage;
mod lossy;
mod mixing;
mod peer;
mod world;
