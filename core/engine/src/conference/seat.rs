//! What a call remembers of its part in a conference and of the ways to its peer.

use cordboard_model::Time;

use crate::io::Flow;

/// A participant's own state, beside its dialog and its media.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    /// When the call began.
    pub(crate) began: Time,
    /// The JSON type of its last message that chat could read.
    pub(crate) json: Option<String>,
    /// May not write.
    pub(crate) silenced: bool,
    /// Is in the waiting room: neither hears nor is heard, whatever its leg says.
    pub(crate) waits: bool,
    /// Is muted only because a moderator has restricted the microphones.
    pub(crate) restricted: bool,
    /// What the others have been told about its talking.
    pub(crate) talking: bool,
    /// A reliable way to a peer whose dialog is on UDP: for what is too large for a datagram.
    pub(crate) stream: Stream,
}

/// What is known of a reliable way to a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// Only what the registrar may know.
    Unknown,
    /// The peer itself has used this one in its dialog.
    Is(Flow),
    /// It was tried, and led nowhere.
    Fails,
}

impl Stream {
    /// The connection that it is; 0 is none.
    pub(crate) const fn connection(self) -> u64 {
        match self {
            Self::Is(flow) => flow.connection,
            Self::Unknown | Self::Fails => 0,
        }
    }
}

impl Seat {
    pub(crate) const fn new(began: Time) -> Self {
        Self {
            began,
            json: None,
            silenced: false,
            waits: false,
            restricted: false,
            talking: false,
            stream: Stream::Unknown,
        }
    }
}
