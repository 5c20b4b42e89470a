//! What a peer has said that it can do.

use crate::sip::message::Message;
use crate::sip::name::Name;

/// The extensions that a dialog's other end knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    /// RFC 4028.
    pub(crate) timer: bool,
    /// RFC 3262.
    pub(crate) reliable: bool,
    /// RFC 3311; only where `Allow` names it.
    pub(crate) update: bool,
    /// RFC 6086; also where there is no `Allow`.
    pub(crate) info: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            timer: false,
            reliable: false,
            update: false,
            info: true,
        }
    }
}

impl Abilities {
    /// Takes over what a message says; what it is silent about stays.
    pub(crate) fn learn(&mut self, message: &Message) {
        if message.header(Name::Supported).is_some() {
            self.timer = supports(message, "timer");
            self.reliable = supports(message, "100rel") || requires(message, "100rel");
        }
        if requires(message, "timer") {
            self.timer = true;
        }
        if message.header(Name::Allow).is_some() {
            let allows = |method: &str| message.values(Name::Allow).any(|allowed| allowed == method);
            (self.update, self.info) = (allows("UPDATE"), allows("INFO"));
        }
    }
}

/// Whether a message names an extension in `Supported`.
pub(crate) fn supports(message: &Message, extension: &str) -> bool {
    message
        .values(Name::Supported)
        .any(|known| known.eq_ignore_ascii_case(extension))
}

/// Whether a message names an extension in `Require`.
pub(crate) fn requires(message: &Message, extension: &str) -> bool {
    message
        .values(Name::Require)
        .any(|wanted| wanted.eq_ignore_ascii_case(extension))
}
