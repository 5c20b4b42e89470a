//! The shard in virtual time, with phones around it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod codecs;
mod garbage;
mod keys;
mod lossy;
mod mixing;
mod peer;
mod secure;
mod world;
