//! The network: sockets that carry SIP and media.

pub(crate) mod connection;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod websocket;
