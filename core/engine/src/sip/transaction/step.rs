//! What a transaction's machine wants done: the same few things for all four of them.

use std::time::Duration;

/// What becomes of the timer that repeats the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Keep,
    Stop,
    In(Duration),
}

/// What becomes of the timer that ends the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Keep,
    Never,
    In(Duration),
}

/// One step of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Send the kept message: the request of a client, the last response of a server.
    pub(crate) send: bool,
    pub(crate) repeat: Repeat,
    pub(crate) end: End,
    /// Hand the response to the transaction's owner.
    pub(crate) deliver: bool,
    /// Send the ACK of a refused INVITE.
    pub(crate) acknowledge: bool,
    /// The transaction is over now.
    pub(crate) over: bool,
}

impl Step {
    pub(crate) const fn nothing() -> Self {
        Self {
            send: false,
            repeat: Repeat::Keep,
            end: End::Keep,
            deliver: false,
            acknowledge: false,
            over: false,
        }
    }

    pub(crate) const fn send() -> Self {
        Self {
            send: true,
            ..Self::nothing()
        }
    }

    pub(crate) const fn over() -> Self {
        Self {
            over: true,
            ..Self::nothing()
        }
    }

    pub(crate) const fn repeating(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    pub(crate) const fn ending(self, after: Duration) -> Self {
        Self {
            end: End::In(after),
            ..self
        }
    }

    pub(crate) const fn without_end(self) -> Self {
        Self {
            end: End::Never,
            ..self
        }
    }

    pub(crate) const fn delivering(self) -> Self {
        Self {
            deliver: true,
            ..self
        }
    }

    pub(crate) const fn acknowledging(self) -> Self {
        Self {
            acknowledge: true,
            ..self
        }
    }

    pub(crate) const fn and_over(self) -> Self {
        Self { over: true, ..self }
    }
}
