//! The shard in virtual time, with phones around it.

mod garbage;
mod lossy;
mod mixing;
mod peer;
mod world;
