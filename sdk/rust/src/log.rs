//! Power `log`: lines in the switch's log, marked with the plugin's name.
//!
//! A line is at most 1024 bytes, the rest is cut. More than 50 lines a second are dropped and counted.

pub use crate::bindings::powers::cordboard::plugin::log::Level;

/// Writes a line.
pub fn write(level: Level, text: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::powers::cordboard::plugin::log::write(level, text);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::write_log(level, text);
}

/// Writes a line that helps the plugin's author.
pub fn debug(text: impl AsRef<str>) {
    write(Level::Debug, text.as_ref());
}

/// Writes a line about ordinary work.
pub fn info(text: impl AsRef<str>) {
    write(Level::Info, text.as_ref());
}

/// Writes a line about something that the operator may want to change.
pub fn warn(text: impl AsRef<str>) {
    write(Level::Warn, text.as_ref());
}

/// Writes a line about something that went wrong.
pub fn error(text: impl AsRef<str>) {
    write(Level::Error, text.as_ref());
}

/// From now on, a panic's message is logged before the trap that it becomes. Without this, the switch's
/// log says only that the plugin trapped.
pub fn panics() {
    std::panic::set_hook(Box::new(|panic| error(panic.to_string())));
}
