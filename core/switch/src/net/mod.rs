//! Sockets: how bytes come in and go out.

pub(crate) mod udp;
