//! Runs plugins: wasmtime lives here and only here.
//!
//! [`Host::ask`] puts a question into a bounded queue and returns at once; a worker thread asks the
//! hook's chain of plugins and hands the verdict to the callback that was given at the start. A plugin
//! that traps, loops, bombs memory, answers nonsense or is not there costs one verdict: what stands in
//! for it is what the operator chose for its place in the chain.
//!
//! Limits of a call: the deadline by wasmtime's epochs (a tick is a millisecond), memory by a store
//! limit, data that crosses the border by wasmtime's hostcall fuel, answers by their fields' sizes.
//! After any trap the instance is thrown away and a fresh one made for the next question.
//!
//! Invariants:
//! * Nothing here waits for a plugin on the caller's thread, except [`Host::load`], which compiles.
//! * A plugin is given what its manifest wants and the config grants, and nothing else: what is not
//!   granted is not even linked.
//! * Every question gets exactly one verdict.

#![deny(unsafe_code)]

mod api;
mod bounds;
mod chain;
mod count;
mod engine;
mod grant;
mod guest;
mod host;
mod import;
mod limits;
mod load;
mod manifest;
mod plugin;
mod queue;
mod repair;
mod ticker;
mod worker;

pub use chain::ChainEntry;
pub use count::{Counts, HookCounts, ImportCounts, ImportOutcome, Outcome, PluginCounts};
pub use grant::{Grant, UnknownGrant};
pub use host::{Asked, Host, HostConfig, HostError, OnKvWrite, OnVerdict, PluginInfo, PluginState};
pub use import::kv::{KvEntry, KvWrite};
pub use limits::Clock;
pub use load::{LoadError, PluginSpec, Wasm};
