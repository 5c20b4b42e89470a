//! WebRTC clients by the hundred in one process: ICE checks, DTLS and SRTP by the crates of the webrtc-rs family, one
//! UDP socket each, and no picture. They load a switch, watch what it does under attack, and measure it.

mod camera;
mod crowd;
mod peer;
mod reader;
pub mod sdp;
mod sip;
mod stun;

pub use camera::{Camera, Film, Sent, now};
pub use crowd::{Crowd, Seen};
pub use peer::{Identity, Opened, Peer, Remote};
pub use reader::Reader;
pub use sdp::{Description, Part};
pub use sip::Meeting;
