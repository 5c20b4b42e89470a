//! A small phone: registers, calls, talks, sends and receives messages, over UDP, TCP and WebSocket.

mod call;
mod digest;
mod inbox;
mod link;
mod phone;
mod rtp;
mod text;

pub use call::{Call, Note};
pub use digest::{Algorithm, answer as digest_answer};
pub use inbox::Heard;
pub use phone::{Account, Phone};
pub use rtp::{Packet, Rtp, longest_gap, sequence_holes};
pub use text::{Message, display_name, parameter, uri};

use std::sync::atomic::{AtomicU64, Ordering};

/// A word that no other call of this function has given: for tags, branches and Call-IDs.
pub fn token() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos());
    format!("{:x}{nanos:x}x{count:x}", std::process::id())
}
