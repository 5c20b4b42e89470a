//! Callers who do not want to be named (RFC 3323, RFC 3325): what they ask for, and what the called side is told.

use crate::sip::message::{Message, Refusal};
use crate::sip::name::Name;
use crate::sip::uri::{Uri, contains};

/// The URI of somebody who is not named (RFC 3323 section 4.1).
pub(crate) const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";
/// The display name beside it.
pub(crate) const ANONYMOUS_NAME: &str = "Anonymous";

/// What is asked for is critical and cannot be had (RFC 3323 section 5).
pub(crate) const NOT_PRIVATE: Refusal = Refusal {
    status: 500,
    phrase: "Privacy Cannot Be Provided",
    reason: "no_privacy",
};

/// What hides the caller's name and addresses.
const HIDES: [&str; 3] = ["id", "user", "header"];
/// What needs nothing else: media and history end at the switch.
const GIVEN: [&str; 4] = ["none", "critical", "session", "history"];

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Privacy {
    /// The called side is not told who sends it.
    pub(crate) hides: bool,
    /// It is not to go on without.
    pub(crate) critical: bool,
    /// Something is asked for that is not known here.
    unknown: bool,
}

impl Privacy {
    /// What a request asks for by its Privacy header, or by a From that names nobody.
    pub(crate) fn of(request: &Message) -> Self {
        let values = request.headers(Name::Privacy);
        let words = values.flat_map(|value| value.split([';', ',']));
        let (mut none, mut asked) = (false, false);
        let mut privacy = Self {
            hides: false,
            critical: false,
            unknown: false,
        };
        for word in words.map(str::trim).filter(|word| !word.is_empty()) {
            let is_one_of = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
            none |= is_one_of(&["none"]);
            asked |= is_one_of(&HIDES);
            privacy.critical |= is_one_of(&["critical"]);
            privacy.unknown |= !is_one_of(&HIDES) && !is_one_of(&GIVEN);
        }
        privacy.hides = !none && (asked || is_anonymous(request));
        privacy
    }

    /// Why a request cannot go on to one user.
    pub(crate) fn refused(self) -> Option<Refusal> {
        (self.critical && self.unknown).then_some(NOT_PRIVATE)
    }

    /// The same where all participants see each other.
    pub(crate) fn refused_among_many(self) -> Option<Refusal> {
        (self.critical && (self.unknown || self.hides)).then_some(NOT_PRIVATE)
    }
}

/// Whether the From is that of somebody who does not want to be named.
fn is_anonymous(request: &Message) -> bool {
    const NOWHERE: &str = "anonymous.invalid";
    let is_nobody = |uri: &str| {
        contains(uri, NOWHERE) && Uri::parse(uri).is_ok_and(|uri| uri.host.eq_ignore_ascii_case(NOWHERE))
    };
    request.from().is_ok_and(|from| is_nobody(from.uri))
}
