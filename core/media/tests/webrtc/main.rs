//! WebRTC peers in virtual time: browsers made of the `rtc-dtls` and `rtc-srtp` crates around one shard.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_types, reason = "the crates of the browsers want instants")]
#![allow(
    clippy::disallowed_methods,
    reason = "one instant is taken as the beginning of virtual time"
)]

mod attack;
mod browser;
mod connect;
mod extension;
mod loudest;
mod stream;
mod stun;
mod video;
mod world;
