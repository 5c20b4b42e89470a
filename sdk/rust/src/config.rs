//! The plugin's own configuration, as the operator wrote it. Needs no grant.

use serde::de::DeserializeOwned;

/// The `config` table of the plugin's entry as JSON text; `{}` if there is none.
pub fn json() -> String {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::powers::cordboard::plugin::config::json();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::config()
}

/// The configuration as a type of the plugin's. [`Plugin::start`](crate::Plugin::start) gets it already
/// read.
///
/// # Errors
/// Which key is wrong, for the operator.
pub fn read<C: DeserializeOwned>() -> Result<C, String> {
    serde_json::from_str(&json()).map_err(|error| {
        // The JSON is the switch's, so a line and column in it would tell the operator nothing.
        let text = error.to_string();
        let what = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(what, _)| what);
        format!("config: {what}")
    })
}
