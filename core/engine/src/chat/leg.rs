//! Callers are participants: they are listed, what they write is global chat, and what is chatted reaches them as
//! messages in their calls.

use bytes::Bytes;
use cordboard_model::ConferenceId;
use cordboard_model::hook::conference::Role;
use serde::Deserialize;
use serde_json::json;

use super::command::Scope;
use super::message::cut;
use super::participant::{Kind, Participant, Presence, Standing};
use super::uuid::Uuid;
use crate::arena::Key;
use crate::call::Place;
use crate::engine::Engine;

const PLAIN: &str = "text/plain;charset=utf-8";

/// The object that many conference clients write.
#[derive(Deserialize)]
struct Spoken {
    #[serde(rename = "Body")]
    body: String,
}

impl Engine {
    /// A caller is in the conference now.
    pub(crate) fn chat_leg_joined(&mut self, key: Key, id: ConferenceId) {
        let Some(call) = self.calls.get(key) else {
            return;
        };
        let (name, user, role) = (call.name.clone(), call.user.clone(), call.role);
        let now = self.wire.now;
        let who = Uuid::random(self.wire.random_bytes());
        let account = self.conference_config(id).map(|config| config.account);
        let groups = account.map(|account| self.groups_of(account, user.as_deref()));
        let Some(room) = self.chat_room(id) else {
            return;
        };
        let name = if name.trim().is_empty() {
            "Caller".to_owned()
        } else {
            name
        };
        let mut participant = Participant::new(who, Kind::Sip, name, now);
        participant.owner = user.is_some() && user == room.config.room.owner;
        if participant.owner || role == Role::Moderator {
            participant.standing = Standing::Moderator;
        }
        participant.user = user;
        participant.groups = groups.unwrap_or_default();
        room.admit(participant, Presence::Leg(key), now);
        let at = room.stamp(now);
        for (to, frame) in room.about(who, "joined", at) {
            self.tell(id, to, frame);
        }
        self.hold_back(id, key);
    }

    /// A caller has gone.
    pub(crate) fn chat_leg_left(&mut self, key: Key, id: ConferenceId) {
        let leg = self.chat.rooms.get(&id).and_then(|room| room.legs.get(&key));
        if let Some(who) = leg.map(|leg| leg.participant) {
            self.leave_room(id, who, "quit", false);
        }
        self.empty_room(id);
    }

    /// A caller's message was accepted and relayed to the other callers: as far as it is a text, it is chat.
    pub(crate) fn chat_from_leg(&mut self, key: Key, kind: &str, body: &[u8]) {
        let Some(Place::Conference(id)) = self.calls.get(key).map(|call| call.place) else {
            return;
        };
        let Some(leg) = self
            .chat
            .rooms
            .get_mut(&id)
            .and_then(|room| room.legs.get_mut(&key))
        else {
            return;
        };
        let essence = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let text = match essence.as_str() {
            "text/html" => plain(&String::from_utf8_lossy(body)),
            text if text.starts_with("text/") => String::from_utf8_lossy(body).into_owned(),
            json if json.starts_with("application/") && json.ends_with("+json") => {
                let Ok(Spoken { body }) = serde_json::from_slice(body) else {
                    return;
                };
                leg.speaks = Some(kind.to_owned());
                body
            }
            _ => return,
        };
        let (who, text) = (leg.participant, cut(text));
        if !text.is_empty() {
            self.count_chat("accepted");
            self.post_chat(id, who, Scope::Global, text);
        }
    }

    /// A chat message reaches callers, each in the type in which it writes itself.
    pub(super) fn text_to_legs(&mut self, id: ConferenceId, legs: &[Key], name: &str, text: &str) {
        let mut bodies: Vec<(Option<String>, Bytes)> = Vec::new();
        for key in legs {
            let Some(leg) = self.chat.rooms.get(&id).and_then(|room| room.legs.get(key)) else {
                continue;
            };
            let kind = leg.speaks.clone();
            let known = bodies.iter().find(|(made, _)| *made == kind);
            let body = match known {
                Some((_, body)) => body.clone(),
                None => {
                    let body: Bytes = match &kind {
                        Some(_) => json!({ "From": name, "Body": text }).to_string().into(),
                        None => text.to_owned().into(),
                    };
                    bodies.push((kind.clone(), body.clone()));
                    body
                }
            };
            self.text_to_call(*key, kind.as_deref().unwrap_or(PLAIN), name, &body);
        }
    }
}

/// The text of a page: its tags taken out, the five named characters put back.
fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        text.push_str(&rest[..open]);
        match rest[open..].find('>') {
            Some(close) => rest = &rest[open + close + 1..],
            None => {
                rest = "";
                break;
            }
        }
    }
    text.push_str(rest);
    for (name, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ] {
        text = text.replace(name, character);
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_its_text() {
        for (html, text) in [
            ("<p>Hi <b>Bob</b>!</p>", "Hi Bob!"),
            ("a &lt; b &amp;lt; c", "a < b &lt; c"),
            ("unfinished <b", "unfinished"),
            ("none", "none"),
            ("<script>", ""),
        ] {
            assert_eq!(plain(html), text, "{html}");
        }
    }
}
