//! INFO inside a call (RFC 6086, and the older use without packages): keys that were pressed.

use crate::arena::Key;
use crate::call::Place;
use crate::call::outbox::Outgoing;
use crate::engine::Engine;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;

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
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let relay = kind.eq_ignore_ascii_case("application/dtmf-relay");
        if relay || kind.eq_ignore_ascii_case("application/dtmf") {
            if digit(request.body_slice(), relay).is_none() {
                return self.refuse_in(transaction, request, 400, "No Such Key", "bad_dtmf");
            }
            self.key_pressed(key, kind, &request.body());
        }
        self.respond_with(transaction, request, 200, "OK", |response| response);
    }

    /// In a call between users the other side gets the key; in a conference nobody does.
    fn key_pressed(&mut self, key: Key, kind: &str, body: &[u8]) {
        let Some(Place::Bridge(bridge)) = self.calls.get(key).map(|call| call.place) else {
            return;
        };
        let Some(other) = self
            .other_side(bridge, key)
            .filter(|other| self.calls.get(*other).is_some_and(|call| call.peer.info))
        else {
            return;
        };
        let message = Outgoing {
            method: Method::Info,
            tail: crate::conference::copies::tail(kind, &[], body),
            name: String::new(),
            of: "conference",
            queued: self.wire.now,
            again: false,
            by_stream: false,
        };
        self.post(other, message);
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
