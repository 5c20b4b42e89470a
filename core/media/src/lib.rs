//! Moves packets: RTP, latching, SRTP, jitter buffers, codecs and the mixer, without sockets and without a clock.
//!
//! A [`Shard`] is one thread's media. Its shell binds ports, receives and sends datagrams and says what
//! time it is; see `Shard` for the order of things.

#![forbid(unsafe_code)]

mod claim;
mod code;
mod counts;
mod dial;
mod digits;
mod g711;
mod g722;
mod inlet;
mod jitter;
mod latch;
mod leg;
mod mix;
mod opus;
mod outlet;
mod output;
mod playout;
mod random;
mod rate;
mod report;
mod resample;
mod rtc;
mod rtcp;
pub mod rtp;
mod sequence;
mod serve;
mod shard;
mod sound;
mod srtp;
mod talk;
mod voice;

pub use counts::{Counts, DropReason};
pub use output::{Packet, PortRequest};
pub use rtc::{
    FeedbackKind, Identity, NoBinding, NoIdentity, PeerCounts, PeerOutcome, ResendOutcome, Transmit, WebRtc,
    answer_binding,
};
pub use shard::Shard;
