//! Write Cordboard plugins in Rust.
//!
//! A plugin is a type that implements [`Plugin`] and the trait of each hook that it serves, exported
//! with [`export!`]:
//!
//! ```
//! use cordboard_sdk::{Message, MessageFilter, MessageVerdict, Plugin};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     max_bytes: usize,
//! }
//!
//! struct Short(Config);
//!
//! impl Plugin for Short {
//!     type Config = Config;
//!     fn start(config: Config) -> Result<Self, String> {
//!         if config.max_bytes == 0 {
//!             return Err("max_bytes must be at least 1".into());
//!         }
//!         Ok(Self(config))
//!     }
//! }
//!
//! impl MessageFilter for Short {
//!     fn filter(&mut self, message: Message) -> MessageVerdict {
//!         if message.body.len() > self.0.max_bytes {
//!             return MessageVerdict::reject(413, "Message too long");
//!         }
//!         MessageVerdict::Pass
//!     }
//! }
//!
//! cordboard_sdk::export!(Short: message_filter);
//!
//! // The same type is tested natively, without a switch.
//! let mut plugin = cordboard_sdk::testing::start::<Short>(r#"{"max_bytes": 3}"#).unwrap();
//! let message = cordboard_sdk::testing::text_message("four");
//! assert_eq!(plugin.filter(message), MessageVerdict::reject(413, "Message too long"));
//! ```
//!
//! What a plugin may use beside its own code are the powers [`log`], [`kv`], [`config`] and [`time`], and
//! [`audience`], which says whom a message is for. Each but `config` and `audience` is named under `[wants]` in the
//! plugin's `plugin.toml` and granted by the operator.
//! Compiled for anything but WebAssembly, the powers are stand-ins in memory (see [`testing`]), so that
//! `cargo test` in a plugin's folder just works.

#![deny(missing_docs)]

pub mod audience;
#[doc(hidden)]
#[allow(missing_docs, unsafe_code)]
pub mod bindings;
pub mod config;
mod export;
pub mod kv;
pub mod log;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;
mod verdict;

pub use bindings::call_router::exports::cordboard::plugin::call_router::{RouteAsk, RouteVerdict};
pub use bindings::conference_policy::exports::cordboard::plugin::conference_policy::{
    Admission, JoinAsk, JoinVerdict,
};
pub use bindings::message_filter::exports::cordboard::plugin::message_filter::{
    Message, MessageVerdict, Reply, Rewrite,
};
pub use bindings::powers::cordboard::plugin::types::{ConferenceView, Refusal, Role};

/// What every plugin is: something that is started with its configuration.
///
/// There is one instance per worker thread of the switch, and a fresh one after every trap. Fields last
/// from question to question but are not shared between instances; what must be shared or must last
/// longer belongs into [`kv`].
pub trait Plugin: Sized + 'static {
    /// The `config` table of the plugin's entry. With `#[serde(deny_unknown_fields)]` a misspelt key is
    /// reported to the operator.
    type Config: serde::de::DeserializeOwned;

    /// Makes an instance. Called often enough that it should be quick.
    ///
    /// # Errors
    /// A text for the operator keeps the plugin from being loaded: say which key is wrong and what
    /// would be right.
    fn start(config: Self::Config) -> Result<Self, String>;
}

/// The hook `conference-policy`: asked before a participant is let into a conference.
pub trait ConferencePolicy: Plugin {
    /// May this caller join, and as what?
    fn join(&mut self, ask: JoinAsk) -> JoinVerdict;
}

/// The hook `message-filter`: asked once for each message before it is relayed.
pub trait MessageFilter: Plugin {
    /// What becomes of this message?
    fn filter(&mut self, message: Message) -> MessageVerdict;
}

/// The hook `call-router`: asked once for each call that a caller begins.
pub trait CallRouter: Plugin {
    /// Where does this call go?
    fn route(&mut self, ask: RouteAsk) -> RouteVerdict;
}
