//! Session descriptions (RFC 8866) and the offer/answer model (RFC 3264).

mod crypto;
mod negotiate;
mod offer_answer;
pub mod rtc;
mod session;

pub use negotiate::{Capabilities, Origin};
pub use offer_answer::{Negotiated, accept_answer, answer, offer};
pub use session::{Attribute, Connection, Media, RtpMap, Session};
