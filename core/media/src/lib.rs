//! Moves packets: RTP, latching, jitter buffers, G.711 and the mixer, without sockets and without a clock.
//!
//! A [`Shard`] is one thread's media. Its shell binds ports, receives and sends datagrams and says what
//! time it is; see `Shard` for the order of things.

#![forbid(unsafe_code)]

mod counts;
mod digits;
mod g711;
mod inlet;
mod jitter;
mod latch;
mod leg;
mod mix;
mod outlet;
mod output;
mod random;
mod report;
mod rtcp;
pub mod rtp;
mod sequence;
mod shard;
mod sound;
mod talk;

pub use counts::{Counts, DropReason};
pub use output::{Packet, PortRequest};
pub use report::PeerReport;
pub use shard::Shard;
