//! The words of Cordboard: what the engine, the media shards, the plugin host and the switch say to each other.
//!
//! Nothing here acts. A type stands here when two of the workers must agree on it; what only one of
//! them knows stays with that one.

#![forbid(unsafe_code)]

pub mod hook;
pub mod id;
pub mod measure;
pub mod media;
pub mod time;

pub use hook::{Ask, Hook, OnFailure, Verdict};
pub use id::{AccountId, ConferenceId, LegId, MixId, ParticipantId, ShardId, Ticket, UserId};
pub use time::Time;
