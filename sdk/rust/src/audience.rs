//! Whom the message is for that a [`MessageFilter`](crate::MessageFilter) is asked about.

pub use crate::bindings::powers::cordboard::plugin::audience::Audience;

/// Whom the message is for; [`Audience::Everybody`] while no message is asked about.
pub fn current() -> Audience {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::powers::cordboard::plugin::audience::current();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::audience()
}
