//! The PIN that opens an entrance of a conference: what is wrong counts, and whoever guesses is refused for a time.

use cordboard_model::ConferenceId;

use crate::auth::Identity;
use crate::call::incoming::Caller;
use crate::engine::Engine;
use crate::io::{Notice, Output};
use crate::limits::Offence;
use crate::sip::message::Refusal;

/// What the caller hears says nothing about which of these it is.
const PHRASE: &str = "Dial The Number, An Asterisk And The PIN";

/// None was dialled.
const MISSING: Refusal = Refusal {
    status: 403,
    phrase: PHRASE,
    reason: "missing_pin",
};
const WRONG: Refusal = Refusal {
    status: 403,
    phrase: PHRASE,
    reason: "wrong_pin",
};
/// The caller has guessed before: right or wrong, it is not looked at.
const REFUSED: Refusal = Refusal {
    status: 403,
    phrase: PHRASE,
    reason: "pin_refused",
};

impl Engine {
    /// Why what a caller has dialled does not open an entrance with these PINs; `None` if it does. Trusted networks may
    /// try as often as they like.
    pub(crate) fn barred(
        &mut self,
        pins: &[String],
        dialled: Option<&str>,
        caller: &Caller,
        conference: ConferenceId,
    ) -> Option<Refusal> {
        if pins.is_empty() {
            return None;
        }
        let Some(pin) = dialled else {
            return Some(MISSING);
        };
        let (now, address) = (self.wire.now, caller.flow.peer.ip());
        let user = match caller.identity {
            Identity::User(place) => Some(self.directory.credential(place).user),
            Identity::Trusted(_) => None,
        };
        if user.is_some_and(|user| self.limits.pins_are_refused(user, conference, address, now)) {
            return Some(REFUSED);
        }
        if pins.iter().any(|known| known == pin) {
            return None;
        }
        if let Some(user) = user
            && let Some(refused) = self.limits.wrong_pin(user, conference, address, now)
        {
            self.wire.out.push_back(Output::Notice(Notice::PinsRefused {
                user,
                conference,
                source: refused.source,
                until: refused.until,
            }));
        }
        Some(WRONG)
    }

    /// A caller was told why it is not let in: a wrong PIN is an offence. Its source is no forgery, as it has just
    /// answered a challenge.
    pub(crate) fn pin_was_wrong(&mut self, refusal: Refusal, caller: &Caller) {
        if refusal.reason == WRONG.reason && !caller.identity.trusted() {
            self.offended(caller.flow, Offence::WrongPin);
        }
    }
}
