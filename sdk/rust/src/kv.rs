//! Power `kv`: what must outlast an instance. Every plugin sees its own keys only, all of its instances
//! see the same ones, and they are kept over restarts of the switch.
//!
//! A key is from 1 to 256 bytes long, a value at most 64 KiB; a plugin has at most 10,000 keys and 4 MiB
//! altogether, and may make 64 changes within one call.

pub use crate::bindings::powers::cordboard::plugin::kv::Error;

#[cfg(not(target_arch = "wasm32"))]
use crate::testing::kv as power;

#[cfg(target_arch = "wasm32")]
use crate::bindings::powers::cordboard::plugin::kv as power;

/// The value of a key.
pub fn get(key: &str) -> Option<Vec<u8>> {
    power::get(key)
}

/// Sets the value of a key.
///
/// # Errors
/// A limit of this power is reached.
pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    power::set(key, value)
}

/// Removes a key and says whether it was there.
///
/// # Errors
/// Too many changes within one call.
pub fn delete(key: &str) -> Result<bool, Error> {
    power::delete(key)
}

/// The keys that begin with `prefix` and come after `after` (empty: from the first), in order; at most
/// `limit`, and never more than 1000.
pub fn keys(prefix: &str, after: &str, limit: u32) -> Vec<String> {
    power::keys(prefix, after, limit)
}

/// Adds to a number (absent counts as 0) and gives back the sum. Several instances may do so at once and
/// none is lost, unlike with [`get`] and [`set`].
///
/// # Errors
/// The value is not a number, or a limit of this power is reached.
pub fn increment(key: &str, by: i64) -> Result<i64, Error> {
    power::increment(key, by)
}
