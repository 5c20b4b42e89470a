//! Power `time`: the clock.

/// Milliseconds since the Unix epoch, UTC.
pub fn now() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::powers::cordboard::plugin::time::now();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::time()
}
