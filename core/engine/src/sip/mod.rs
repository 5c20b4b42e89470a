//! SIP (RFC 3261): messages, transactions, dialogs, registrations, digests.

pub(crate) mod byte;
pub(crate) mod dialog;
pub mod digest;
pub(crate) mod grammar;
pub mod header;
pub mod message;
pub mod method;
pub(crate) mod mime;
pub mod name;
pub(crate) mod own;
pub(crate) mod registrar;
pub(crate) mod target;
pub(crate) mod transaction;
pub(crate) mod transfer;
pub mod uri;
pub mod write;
