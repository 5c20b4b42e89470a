//! Keys that are pressed inside a call, by INFO (RFC 6086, and the older use without packages) or as RTP
//! events (RFC 4733): in a call between users the other side gets them, in a conference nobody does.

use cordboard_model::LegId;
use cordboard_model::media::MediaCommand;

use crate::arena::Key;
use crate::call::description::is_optional;
use crate::call::outbox::Outgoing;
use crate::call::{Call, Place, Stage};
use crate::door::taken_instead;
use crate::engine::Engine;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::mime::{essence, is_encoded};
use crate::sip::name::Name;

/// The bodies that tell of a key.
const KEYS: &str = "application/dtmf-relay, application/dtmf";
/// The largest body of a key press, in bytes.
const MAX_BODY: usize = 256;

impl Engine {
    pub(crate) fn on_info(&mut self, key: Key, transaction: Key, request: &Message) {
        if request.other("Info-Package").is_some() {
            self.wire.counts.reject("info_package");
            return self.respond_with(transaction, request, 469, "Bad Info Package", |response| {
                response.header("Recv-Info", "")
            });
        }
        let kind = request.header(Name::ContentType).unwrap_or_default();
        let kind = &*essence(kind);
        let relay = kind == "application/dtmf-relay";
        let known = relay || kind == "application/dtmf";
        if known && !is_encoded(request) {
            let Some(digit) = digit(request.body_slice(), relay) else {
                return self.refuse_in(transaction, request, 400, "No Such Key", "bad_dtmf");
            };
            self.key_told(key, digit, kind, &request.body());
        } else if !request.body_slice().is_empty() && !is_optional(request) {
            self.wire.counts.reject("unsupported_body");
            return self.respond_with(transaction, request, 415, "Unsupported Media Type", |response| {
                taken_instead(response, request, KEYS)
            });
        }
        self.respond_with(transaction, request, 200, "OK", |response| response);
    }

    /// An INFO tells of a key: the other side is told in the same way, or hears it if it takes none or has not answered.
    fn key_told(&mut self, key: Key, digit: char, kind: &str, body: &[u8]) {
        for other in self.hearers(key) {
            let takes = |call: &&Call| call.peer.info && matches!(call.stage, Stage::Answered | Stage::Up);
            if self.calls.get(other).filter(takes).is_none() {
                self.press(other, digit);
                continue;
            }
            let message = Outgoing {
                method: Method::Info,
                tail: crate::conference::copies::tail(kind, &[], body),
                name: String::new(),
                of: "conference",
                queued: self.wire.now,
                fanout: None,
                again: false,
                by_stream: false,
            };
            self.post(other, message);
        }
    }

    /// A shard has heard a key.
    pub(crate) fn key_heard(&mut self, leg: LegId, digit: char) {
        let Some(key) = self.legs.get(&leg) else {
            return;
        };
        for other in self.hearers(*key) {
            self.press(other, digit);
        }
    }

    /// Who is to hear the keys that are pressed on this side of a call: before the answer, every phone that the caller
    /// hears.
    fn hearers(&self, key: Key) -> Vec<Key> {
        let Some(Place::Bridge(place)) = self.calls.get(key).map(|call| call.place) else {
            return Vec::new();
        };
        match (self.other_side(place, key), self.bridges.get(place)) {
            (Some(other), _) => vec![other],
            (None, Some(bridge)) => bridge.forks.clone(),
            (None, None) => Vec::new(),
        }
    }

    /// Presses a key towards a peer whose media is set up: as an event, or as a tone where it takes none.
    fn press(&mut self, key: Key, digit: char) {
        let Some(call) = self.calls.get(key) else {
            return;
        };
        if call.leg.audio.is_none() || call.abandoned {
            return;
        }
        let (leg, shard) = (call.leg.id, call.leg.shard);
        let text = digit.to_string();
        self.media(shard, MediaCommand::Digits { leg, text });
    }
}

/// The key that a body names: `Signal=5` in the relay form, the key alone in the other.
fn digit(body: &[u8], relay: bool) -> Option<char> {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| text.len() <= MAX_BODY)?;
    let word = if relay {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let (_, signal) = pairs
            .into_iter()
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("signal"))?;
        signal.trim()
    } else {
        text.trim()
    };
    match word {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut characters = word.chars();
            let digit = characters.next()?.to_ascii_uppercase();
            let is_key = matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D');
            (is_key && characters.next().is_none()).then_some(digit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_both_forms() {
        let cases: &[(&str, bool, Option<char>)] = &[
            ("Signal=5\r\nDuration=160\r\n", true, Some('5')),
            ("signal= #\nDuration=160", true, Some('#')),
            ("Signal=10", true, Some('*')),
            ("Signal=11", true, Some('#')),
            ("Signal=d", true, Some('D')),
            ("Signal=16", true, None),
            ("Signal=", true, None),
            ("Duration=160", true, None),
            ("7", false, Some('7')),
            (" * \r\n", false, Some('*')),
            ("77", false, None),
            ("x", false, None),
            ("", false, None),
        ];
        for (body, relay, expect) in cases {
            assert_eq!(digit(body.as_bytes(), *relay), *expect, "{body:?}");
        }
        assert_eq!(digit(&[0xff], false), None);
    }
}
