//! Session descriptions of WebRTC peers (RFC 8829, RFC 9143): one transport for all lines, Unified Plan.
//!
//! A peer's own camera has a line that only it sends on. What others send travels on lines of their own, which
//! we add, turn off and use again; no line ever moves or loses its name.

mod bundle;
mod extension;
mod line;
mod plan;
mod read;
mod transport;
mod video;
mod write;

pub use bundle::{Bundle, Terms};
pub use plan::Wanted;
pub use transport::is_webrtc;

#[cfg(test)]
mod tests;
