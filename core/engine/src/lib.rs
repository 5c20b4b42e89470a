//! Every decision of Cordboard as pure state machines: SIP transactions and dialogs, registrations,
//! calls, conferences and the messages in them.
//!
//! The engine has no socket, no clock, no thread and no file. A shell tells it what happened and what
//! time it is, and then does what the engine says:
//!
//! > Mutate with [`Engine::handle`] or [`Engine::timeout`], then drain [`Engine::output`] until it is
//! > empty and ask [`Engine::next_timeout`] when to come back; only then mutate again.
//!
//! The same inputs, times and seed give the same outputs, byte for byte.

#![forbid(unsafe_code)]

mod admission;
mod arena;
mod auth;
mod call;
pub mod chat;
mod conference;
pub mod config;
pub mod counts;
mod date;
mod directory;
mod door;
mod engine;
pub mod io;
pub mod limits;
mod pager;
pub mod quality;
pub mod record;
mod registration;
pub mod sdp;
pub mod sip;
mod subscription;
mod table;
mod timer;
mod unsettled;
mod wire;

pub use admission::SCANNERS;
pub use engine::Engine;
