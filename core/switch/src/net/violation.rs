//! What a WebSocket peer may not send, and with which code its connection ends for that (RFC 6455 section 7.4.1).

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// What a peer did that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A message larger than any that is taken.
    Size,
    /// A text frame, or the reason of a close, that is not UTF-8.
    Text,
    /// Frames that may not be, or not there: unmasked, with unknown bits, continuing nothing.
    Frame,
}

impl Violation {
    /// What the peer did, where it was the peer, and it is still there to be told.
    pub(crate) const fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Capacity(_) => Some(Self::Size),
            Error::Utf8(_) => Some(Self::Text),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
            Error::Protocol(_) => Some(Self::Frame),
            _ => None,
        }
    }

    /// How the peer is told.
    pub(crate) fn close(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Size => (CloseCode::Size, "the message is too large"),
            Self::Text => (CloseCode::Invalid, "the text is not UTF-8"),
            Self::Frame => (CloseCode::Protocol, "the frame breaks RFC 6455"),
        };
        CloseFrame {
            code,
            reason: reason.into(),
        }
    }

    /// As what it is counted.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Size => "too_large",
            Self::Text => "websocket_text",
            Self::Frame => "websocket_frame",
        }
    }
}
