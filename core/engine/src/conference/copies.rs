//! Copies of one message to the legs of a conference: what all of them share is made once, and each
//! recipient gets a form that it takes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use cordboard_model::{ConferenceId, Time};

use super::multipart::text_in;
use crate::arena::Key;
use crate::call::Call;
use crate::call::outbox::{Fanout, Outgoing};
use crate::engine::Engine;
use crate::sip::grammar::List;
use crate::sip::mime::essence;
use crate::sip::name::Name;
use crate::sip::write::Writer;

/// The type of a text that no leg wrote.
const TEXT: &str = "text/plain;charset=utf-8";

/// What a message says, the same for all its recipients.
pub(crate) struct Letter<'a> {
    /// The Content-Type, parameters included.
    pub(crate) kind: &'a str,
    /// The headers that travel with it.
    pub(crate) headers: &'a [(Name, &'a str)],
    pub(crate) body: &'a [u8],
    /// The sender's display name.
    pub(crate) name: &'a str,
    /// What is counted: `conference`, `event` or `chat`.
    pub(crate) of: &'static str,
}

impl Engine {
    /// One copy for each recipient that takes the message, or the text in it; how many that are.
    pub(crate) fn send_copies(&mut self, recipients: &[Key], letter: &Letter<'_>) -> u32 {
        self.copies_of(recipients, letter, None)
    }

    /// The same for a message that came in at `stamp` and was then `accepted`: it is measured.
    pub(crate) fn relay_copies(
        &mut self,
        recipients: &[Key],
        letter: &Letter<'_>,
        (stamp, accepted): (Time, Time),
    ) {
        let fanout = Arc::new(Fanout { accepted });
        let copies = self.copies_of(recipients, letter, Some(&fanout));
        self.wire.counts.recipients.record(f64::from(copies));
        self.relayed(letter.of, stamp, copies, fanout);
    }

    fn copies_of(&mut self, recipients: &[Key], letter: &Letter<'_>, fanout: Option<&Arc<Fanout>>) -> u32 {
        let whole = tail(letter.kind, letter.headers, letter.body);
        // Phones of one kind have one Accept: a form is made once for all of them.
        let mut forms: Vec<(String, Option<Bytes>)> = Vec::new();
        let mut copies = 0;
        for recipient in recipients {
            let Some(call) = self.calls.get(*recipient) else {
                continue;
            };
            let form = match call.accepts.as_deref() {
                Some(list) if !accepts(Some(list), letter.kind) => {
                    let known = forms.iter().find(|(other, _)| other == list);
                    known.map(|(_, form)| form.clone()).unwrap_or_else(|| {
                        let form = letter.text_for(list);
                        forms.push((list.to_owned(), form.clone()));
                        form
                    })
                }
                _ => Some(whole.clone()),
            };
            let Some(form) = form else {
                self.wire.counts.message("out", letter.of, "not_acceptable");
                continue;
            };
            let mut copy = Outgoing::message(form, letter.name, letter.of, self.wire.now);
            copy.fanout = fanout.cloned();
            copies += u32::from(self.post(*recipient, copy));
        }
        copies
    }

    /// Sends a text from chat to those legs of a conference that are chosen; how many that were.
    ///
    /// A leg that writes JSON itself gets `{"From":..,"Body":..}` in the type that it used last, any other
    /// plain text.
    pub(crate) fn chat_copies(
        &mut self,
        id: ConferenceId,
        name: &str,
        text: &str,
        chosen: impl Fn(Key, &Call) -> bool,
    ) -> u32 {
        let members = self.conferences.get(&id).map(|conference| &conference.members);
        let members = members.into_iter().flatten().copied();
        let mut by_form: Vec<(Option<String>, Vec<Key>)> = Vec::new();
        for key in members {
            let Some(call) = self.calls.get(key).filter(|call| chosen(key, call)) else {
                continue;
            };
            match by_form.iter_mut().find(|(form, _)| *form == call.seat.json) {
                Some((_, legs)) => legs.push(key),
                None => by_form.push((call.seat.json.clone(), vec![key])),
            }
        }
        let json = serde_json::json!({ "From": name, "Body": text }).to_string();
        let mut copies = 0;
        for (form, legs) in by_form {
            let letter = Letter {
                kind: form.as_deref().unwrap_or(TEXT),
                headers: &[],
                body: if form.is_some() {
                    json.as_bytes()
                } else {
                    text.as_bytes()
                },
                name,
                of: "chat",
            };
            copies += self.send_copies(&legs, &letter);
        }
        copies
    }
}

impl Letter<'_> {
    /// The text of a multipart body for a recipient that takes what `list` covers.
    fn text_for(&self, list: &str) -> Option<Bytes> {
        let part = text_in(self.kind, self.body, Some(list))?;
        // How the whole is to be shown, and is encoded, says nothing about a part of it.
        let headers: Vec<(Name, &str)> = self
            .headers
            .iter()
            .copied()
            .filter(|(name, _)| !matches!(name, Name::ContentDisposition | Name::ContentTransferEncoding))
            .collect();
        Some(tail(&part.kind, &headers, part.body))
    }
}

/// The `Body` of a JSON message of a leg, which is what chat takes of it; `None` for anything else.
pub(crate) fn json_text(kind: &str, body: &[u8]) -> Option<String> {
    let kind = essence(kind);
    if !(kind.starts_with("application/") && kind.ends_with("+json")) {
        return None;
    }
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    match object.remove("Body") {
        Some(serde_json::Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Whether an Accept list (in lower case) covers a type. Of several ranges that name it the narrowest says so, and `q=0`
/// says no (RFC 3261 section 20.1, RFC 9110 section 12.5.1); an empty list covers nothing.
pub(crate) fn accepts(list: Option<&str>, kind: &str) -> bool {
    let Some(list) = list else { return true };
    let kind = essence(kind);
    let family = kind.split('/').next().unwrap_or_default();
    let ranges = List::new(list).filter_map(|range| {
        let mut parameters = range.split(';').skip(1).map(str::trim);
        let named = essence(range);
        let narrow = match named.strip_suffix("/*") {
            Some("*") => 0,
            Some(wanted) if wanted == family => 1,
            None if named == kind => 2,
            _ => return None,
        };
        Some((narrow, !parameters.any(is_zero)))
    });
    // Where two are as narrow, one that takes it is enough.
    ranges.max().is_some_and(|(_, takes)| takes)
}

/// `q=0`, `q=0.0` and the like.
fn is_zero(parameter: &str) -> bool {
    let value = parameter.split_once('=').filter(|(name, _)| name.trim() == "q");
    value.is_some_and(|(_, value)| value.trim().parse::<f32>().is_ok_and(|value| value <= 0.0))
}

/// What all copies of a message share: the headers about its contents, the empty line, the body.
pub(crate) fn tail(kind: &str, headers: &[(Name, &str)], body: &[u8]) -> Bytes {
    let mut writer = Writer::part().pieces("Content-Type", [&one_line(kind)]);
    for (name, value) in headers {
        writer.add_pieces(name.text(), [&one_line(value)]);
    }
    writer.body("", body)
}

/// A value without control characters: it may come from a plugin.
pub(crate) fn one_line(value: &str) -> Cow<'_, str> {
    if value.contains(char::is_control) {
        Cow::Owned(value.replace(char::is_control, " "))
    } else {
        Cow::Borrowed(value)
    }
}

/// The text inside a tail whose whole was refused, in the same frame; `list` is what the peer takes, in
/// lower case, where it said so.
pub(crate) fn text_of_tail(whole: &[u8], list: Option<&str>) -> Option<Bytes> {
    let end = memchr::memmem::find(whole, b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&whole[..end]).ok()?, &whole[end + 4..]);
    let lines: Vec<(Name, &str)> = head
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (Name::of(name), value))
        .collect();
    let (_, kind) = lines.iter().find(|(name, _)| *name == Name::ContentType)?;
    let headers: Vec<(Name, &str)> = lines
        .iter()
        .copied()
        .filter(|(name, _)| !matches!(name, Name::ContentType | Name::ContentLength))
        .collect();
    let letter = Letter {
        kind,
        headers: &headers,
        body,
        name: "",
        of: "conference",
    };
    letter.text_for(list.unwrap_or("text/*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accept_list_covers_by_type_and_by_family() {
        for (list, kind, covered) in [
            (None, "text/plain", true),
            (Some("application/sdp"), "text/plain", false),
            (Some("application/sdp, text/*"), "text/html; x=y", true),
            (Some("text/plain;q=0.3"), "TEXT/PLAIN", true),
            (Some("*/*"), "application/x", true),
            (Some("text/plain,text/html;q=0"), "text/html", false),
            (Some("text/plain;q=0, */*"), "text/plain", false),
            (Some("text/plain;q=0, */*"), "text/html", true),
            (Some("text/*;q=0, text/plain;charset=utf-8"), "text/plain", true),
            (Some("*/*;q=0.000, text/*"), "text/plain", true),
            (Some("*/*;q=0.000, text/*"), "application/x", false),
            (Some("text/plain; q = 0.001"), "text/plain", true),
            (Some("text/plain;v=\"a,text/html\""), "text/html", false),
            (
                Some("text/plain;q=0, text/plain;charset=utf-8"),
                "text/plain",
                true,
            ),
            (Some(""), "text/plain", false),
        ] {
            assert_eq!(accepts(list, kind), covered, "{list:?} {kind}");
        }
    }

    #[test]
    fn a_tail_cannot_smuggle_a_header() {
        let tail = tail("text/plain\r\nX-Evil: 1", &[], b"hi");
        let text = std::str::from_utf8(&tail).unwrap();
        assert_eq!(
            text,
            "Content-Type: text/plain  X-Evil: 1\r\nContent-Length: 2\r\n\r\nhi"
        );
    }

    #[test]
    fn the_text_of_a_refused_multipart_keeps_what_travels_with_it() {
        let body = b"--b\r\nContent-Type: text/html\r\n\r\n<i>\r\n--b--";
        let headers = [(Name::Subject, "s"), (Name::ContentDisposition, "render")];
        let whole = tail("multipart/mixed;boundary=b", &headers, body);
        assert_eq!(
            text_of_tail(&whole, None).unwrap(),
            "Content-Type: text/html\r\nSubject: s\r\nContent-Length: 3\r\n\r\n<i>"
        );
        assert_eq!(text_of_tail(&whole, Some("text/plain")), None);
        assert_eq!(text_of_tail(&tail("text/plain", &[], b"hi"), None), None);
    }

    #[test]
    fn only_an_object_with_a_text_as_its_body_is_chat() {
        for (kind, body, text) in [
            (
                "application/x-myphone+JSON; v=1",
                r#"{"Body":"hi","From":"x"}"#,
                Some("hi"),
            ),
            ("application/x-myphone+json", r#"{"Body":1}"#, None),
            ("application/x-myphone+json", r#"["Body"]"#, None),
            ("application/x-myphone+json", "{", None),
            ("application/json", r#"{"Body":"hi"}"#, None),
            ("text/x+json", r#"{"Body":"hi"}"#, None),
        ] {
            assert_eq!(json_text(kind, body.as_bytes()).as_deref(), text, "{kind} {body}");
        }
    }
}
