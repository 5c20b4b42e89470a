//! The network: sockets that carry SIP and media.

pub(crate) mod backlog;
pub(crate) mod bind;
pub(crate) mod connection;
pub(crate) mod hoard;
pub(crate) mod keep_alive;
pub(crate) mod listen;
pub(crate) mod meter;
pub(crate) mod oversize;
pub(crate) mod place;
mod tcp;
pub(crate) mod udp;
mod upgrade;
pub(crate) mod violation;
pub(crate) mod webrtc;
mod websocket;
