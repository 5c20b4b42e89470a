//! Session timers (RFC 4028): a call whose peer has vanished without a BYE does not stay for ever.

use std::time::Duration;

use cordboard_model::Time;

use crate::arena::Key;
use crate::call::ability::{requires, supports};
use crate::call::{Call, Stage};
use crate::engine::Engine;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::write::Writer;
use crate::timer::{Alarm, PATIENCE, Timer};

/// The shortest interval that RFC 4028 section 4 allows, and the shortest that we take.
pub(crate) const MIN_SE: Duration = Duration::from_secs(90);
/// The longest: a day. Longer ones are shortened.
const MAX_SE: Duration = Duration::from_secs(86_400);
/// What anything longer is read as.
const BEYOND: Duration = Duration::from_secs(86_401);
/// The Reason of the BYE when nobody has refreshed the session.
const EXPIRED: &str = "SIP;cause=408;text=\"Session expired\"";

/// Who sends the refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refresher {
    Us,
    Peer,
}

/// What both ends have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) interval: Duration,
    pub(crate) refresher: Refresher,
    ends: Time,
}

/// The session timer of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Session {
    terms: Option<Terms>,
    /// The shortest interval that the peer takes, where it has said so.
    peer_min: Duration,
    /// The shortest interval that the peer takes is longer than any of ours: nothing is agreed, and we alone ask now and
    /// then whether it is there.
    alone: bool,
    /// When something is to be done.
    due: Option<Time>,
    alarm: Alarm,
}

impl Session {
    /// A 422 has named the peer's shortest interval; false if that is nothing new. Where it is longer than we take, the
    /// request is repeated without a session timer.
    pub(crate) fn too_brief(&mut self, response: &Message) -> bool {
        let wanted = seconds(response.header(Name::MinSe)).unwrap_or_default();
        if wanted > MAX_SE {
            return !std::mem::replace(&mut self.alone, true);
        }
        let news = wanted > self.peer_min;
        self.peer_min = if news { wanted } else { self.peer_min };
        news
    }

    /// The headers of a request of ours that begins or refreshes the session. The one who refreshes now
    /// goes on doing so; at the beginning the peer may choose.
    pub(crate) fn ask(&self, writer: Writer, wanted: Duration) -> Writer {
        let (interval, role) = match self.terms {
            Some(terms) if terms.refresher == Refresher::Us => (terms.interval, ";refresher=uac"),
            Some(terms) => (terms.interval, ";refresher=uas"),
            None => (wanted, ""),
        };
        if interval.is_zero() || self.alone {
            return writer;
        }
        let interval = interval.max(self.peer_min).max(MIN_SE).as_secs();
        let writer = writer.header("Session-Expires", format_args!("{interval}{role}"));
        if self.peer_min > MIN_SE {
            return writer.header("Min-SE", self.peer_min.as_secs());
        }
        writer
    }

    /// The headers of our 2xx to a request that begins or refreshes the session.
    pub(crate) fn tell(&self, writer: Writer) -> Writer {
        let Some(terms) = self.terms.filter(|_| !self.alone) else {
            return writer;
        };
        let seconds = terms.interval.as_secs();
        match terms.refresher {
            Refresher::Us => writer.header("Session-Expires", format_args!("{seconds};refresher=uas")),
            Refresher::Peer => writer
                .header("Session-Expires", format_args!("{seconds};refresher=uac"))
                .header("Require", "timer"),
        }
    }
}

/// Whether a request asks for a shorter session than we take. Only one who knows session timers can be
/// told so (RFC 4028 section 9).
pub(crate) fn is_too_brief(request: &Message) -> bool {
    (supports(request, "timer") || requires(request, "timer"))
        && seconds(request.header(Name::SessionExpires)).is_some_and(|asked| asked < MIN_SE)
}

/// The delta-seconds at the beginning of a Session-Expires or Min-SE, of any length.
fn seconds(value: Option<&str>) -> Option<Duration> {
    let digits = value?.split(';').next()?.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().map_or(BEYOND, Duration::from_secs).min(BEYOND))
}

/// Who a Session-Expires names as the refresher: true for `uac`.
fn refresher_is_uac(value: &str) -> Option<bool> {
    let mut params = value.split(';').skip(1).filter_map(|param| param.split_once('='));
    let (_, role) = params.find(|(name, _)| name.trim().eq_ignore_ascii_case("refresher"))?;
    match role.trim() {
        role if role.eq_ignore_ascii_case("uac") => Some(true),
        role if role.eq_ignore_ascii_case("uas") => Some(false),
        _ => None,
    }
}

impl Engine {
    /// Refuses a request whose session would be too short; true if it was.
    pub(crate) fn refused_as_too_brief(&mut self, transaction: Key, request: &Message) -> bool {
        if !is_too_brief(request) {
            return false;
        }
        self.wire.counts.reject("session_too_brief");
        self.respond_with(
            transaction,
            request,
            422,
            "Session Interval Too Small",
            |response| response.header("Min-SE", MIN_SE.as_secs()),
        );
        true
    }

    /// A request of the peer that we accept begins or refreshes the session (RFC 4028 section 9).
    pub(crate) fn session_requested(&mut self, key: Key, request: &Message) {
        let (wanted, now) = (self.config.session_expires, self.wire.now);
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let value = request.header(Name::SessionExpires);
        let knows = call.peer.timer;
        let before = call.session.terms;
        // Longer than the least that everybody on the way takes, and than what we take (section 9).
        let least = seconds(request.header(Name::MinSe)).unwrap_or_default();
        let asked = seconds(value);
        call.session.alone = least > MAX_SE;
        let interval = match (asked, before) {
            _ if call.session.alone => wanted,
            (Some(asked), _) => asked.clamp(MIN_SE, MAX_SE),
            (None, Some(terms)) => terms.interval.max(least),
            // For a peer that knows no session timers we refresh alone: what answers no re-INVITE is gone.
            (None, None) if !wanted.is_zero() => wanted.max(least).max(MIN_SE),
            (None, None) => Duration::ZERO,
        };
        if interval.is_zero() {
            (call.session.terms, call.session.due) = (None, None);
            return;
        }
        let named = value.and_then(refresher_is_uac).map(|uac| match uac {
            true => Refresher::Peer,
            false => Refresher::Us,
        });
        let refresher = match (knows && !call.session.alone, named, before) {
            (false, ..) => Refresher::Us,
            (true, Some(named), _) => named,
            (true, None, Some(terms)) => terms.refresher,
            (true, None, None) => Refresher::Peer,
        };
        agree(call, interval, refresher, now);
        self.arm_session(key);
    }

    /// The peer has accepted a request of ours that begins or refreshes the session (section 7.2).
    pub(crate) fn session_answered(&mut self, key: Key, response: &Message) {
        let (wanted, now) = (self.config.session_expires, self.wire.now);
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let value = response.header(Name::SessionExpires);
        let refresher = match value.and_then(refresher_is_uac) {
            Some(false) => Refresher::Peer,
            _ => Refresher::Us,
        };
        // A peer that says nothing of timers is asked now and then whether it is there (section 7.2).
        let interval = seconds(value).unwrap_or(wanted);
        if interval.is_zero() {
            (call.session.terms, call.session.due) = (None, None);
            return;
        }
        agree(call, interval.clamp(MIN_SE, MAX_SE), refresher, now);
        self.arm_session(key);
    }

    /// We refresh after half the interval; what is not refreshed shortly before its end is over
    /// (section 10).
    fn arm_session(&mut self, key: Key) {
        let now = self.wire.now;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let Some(terms) = call.session.terms else { return };
        let due = match terms.refresher {
            Refresher::Us => now + terms.interval / 2,
            Refresher::Peer => terms.ends,
        };
        self.wait_session(key, due);
    }

    fn wait_session(&mut self, key: Key, due: Time) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.session.due = Some(due);
        if call.session.alarm.set(due) {
            self.wire.timers.arm(due, Timer::Session(key));
        }
    }

    pub(crate) fn session_timer(&mut self, key: Key, at: Time) {
        let now = self.wire.now;
        let rang = |call: &mut &mut Call| call.session.alarm.rang(at);
        let Some(call) = self.calls.get_mut(key).take_if(rang) else {
            return;
        };
        let (Some(terms), Some(due)) = (call.session.terms, call.session.due) else {
            return;
        };
        if now < due {
            return self.wait_session(key, due);
        }
        // An UPDATE before the answer may have begun it; how long phones ring is not its business.
        if !matches!(call.stage, Stage::Answered | Stage::Up) {
            call.session.due = None;
            return;
        }
        if now >= terms.ends {
            *self.wire.counts.timeouts.entry("session").or_default() += 1;
            return self.hang_up(key, "session_expired", Some(EXPIRED));
        }
        self.wait_session(key, terms.ends);
        self.refresh(key);
    }
}

fn agree(call: &mut Call, interval: Duration, refresher: Refresher, now: Time) {
    let ends = now + (interval - PATIENCE.min(interval / 3));
    call.session.terms = Some(Terms {
        interval,
        refresher,
        ends,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_as_the_grammar_has_it() {
        let cases = [
            ("1800", Some(1800), None),
            ("90;refresher=uac", Some(90), Some(true)),
            ("90 ; Refresher = UAS ;x", Some(90), Some(false)),
            ("90;refresher=me", Some(90), None),
            ("86400", Some(86_400), None),
            ("4294967296", Some(86_401), None),
            ("99999999999999999999999", Some(86_401), None),
            ("", None, None),
            ("-5", None, None),
            ("ninety", None, None),
        ];
        for (text, interval, role) in cases {
            assert_eq!(seconds(Some(text)).map(|d| d.as_secs()), interval, "{text}");
            assert_eq!(refresher_is_uac(text), role, "{text}");
        }
    }
}
