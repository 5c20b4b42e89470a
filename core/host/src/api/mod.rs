//! What the rest of the host knows about a plugin, whatever version of the WIT it was built for.
//!
//! A new version of the interface is a new file beside `v1` and a line in [`prepare`].

mod v1;

use cordboard_model::Hook;
use cordboard_model::hook::conference::{JoinAsk, JoinVerdict};
use cordboard_model::hook::message::{MessageAsk, MessageVerdict};
use cordboard_model::hook::route::{RouteAsk, RouteVerdict};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::grant::Grant;
use crate::import::Powers;

/// The interface versions that are served, for messages.
pub(crate) const SERVED: &str = "0.1";

/// A compiled plugin, ready to make instances.
pub(crate) trait Prepared: Send + Sync {
    /// The hooks that it implements.
    fn hooks(&self) -> &[Hook];

    /// Makes an instance; what it runs on the way has `ticks` milliseconds.
    fn instantiate(&self, powers: Powers, ticks: u64) -> wasmtime::Result<Box<dyn Instance>>;
}

/// One instance. After any error it must not be used again.
pub(crate) trait Instance: Send {
    /// Begins a call: what follows has `ticks` milliseconds.
    fn begin(&mut self, ticks: u64);

    /// Lets the plugin start; its own text if it does not want to.
    fn start(&mut self) -> wasmtime::Result<Result<(), String>>;

    /// Asks `conference-policy`; `None` is "no opinion".
    fn join(&mut self, ask: &JoinAsk) -> wasmtime::Result<Option<JoinVerdict>>;

    /// Asks `message-filter`.
    fn filter(&mut self, ask: &MessageAsk) -> wasmtime::Result<MessageVerdict>;

    /// Asks `call-router`.
    fn route(&mut self, ask: &RouteAsk) -> wasmtime::Result<RouteVerdict>;
}

/// The powers that a component uses, or the name of an import that is none.
pub(crate) fn used(engine: &Engine, component: &Component) -> Result<Vec<Grant>, String> {
    let kind = component.component_type();
    let mut used = Vec::new();
    for (import, _) in kind.imports(engine) {
        match v1::power(import) {
            Some(Some(grant)) => used.push(grant),
            // Nothing to grant.
            Some(None) => {}
            None => return Err(import.to_owned()),
        }
    }
    Ok(used)
}

/// Whether a version in a stamp is one that [`prepare`] can serve.
pub(crate) fn is_served(version: &str) -> bool {
    v1::serves(version)
}

/// Links a component with the powers given, and nothing else.
pub(crate) fn prepare(
    engine: &Engine,
    component: &Component,
    powers: &[Grant],
) -> wasmtime::Result<Box<dyn Prepared>> {
    Ok(Box::new(v1::Plugin::new(engine, component, powers)?))
}
