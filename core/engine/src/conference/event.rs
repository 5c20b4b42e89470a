//! Conference events: what happens in a conference, told to its participants as messages in their calls.

use std::borrow::Cow;

use cordboard_model::hook::conference::Role;
use cordboard_model::{ConferenceId, Time};
use serde::Serialize;

use super::copies::Letter;
use crate::arena::Key;
use crate::call::Call;
use crate::chat::{Participant, Uuid};
use crate::conference::Conference;
use crate::date::event_time;
use crate::engine::Engine;
use crate::sip::header::NameAddr;
use crate::sip::uri::Uri;

/// The type of an event.
const TYPE: &str = "application/x-asterisk-confbridge-event+json";

/// What can happen in a conference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Start,
    End,
    Join,
    Leave,
    Mute,
    Unmute,
    /// Began to talk, or stopped.
    Talking(bool),
    Lock,
    Unlock,
}

impl Event {
    const fn name(self) -> &'static str {
        match self {
            Self::Start => "ConfbridgeStart",
            Self::End => "ConfbridgeEnd",
            Self::Join => "ConfbridgeJoin",
            Self::Leave => "ConfbridgeLeave",
            Self::Mute => "ConfbridgeMute",
            Self::Unmute => "ConfbridgeUnmute",
            Self::Talking(_) => "ConfbridgeTalking",
            Self::Lock => "ConfbridgeLock",
            Self::Unlock => "ConfbridgeUnlock",
        }
    }
}

/// Sent to the one who comes in: everybody who is there.
const WELCOME: &str = "ConfbridgeWelcome";

/// The document, in the order in which its clients know it.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    bridge: Bridge<'a>,
    channels: Vec<Channel<'a>>,
}

#[derive(Serialize)]
struct Bridge<'a> {
    id: String,
    name: &'a str,
    creationtime: String,
    video_mode: &'static str,
}

#[derive(Serialize)]
struct Channel<'a> {
    id: String,
    name: String,
    state: &'static str,
    protocol_id: Cow<'a, str>,
    caller: Caller<'a>,
    creationtime: String,
    language: &'static str,
    admin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    muted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    talking_status: Option<&'static str>,
}

#[derive(Serialize)]
struct Caller<'a> {
    name: &'a str,
    number: String,
}

impl Engine {
    /// Tells everybody what happened to one participant, whose call may be over already.
    pub(crate) fn tell_about(&mut self, id: ConferenceId, event: Event, key: Key) {
        if let Some(call) = self.calls.get(key)
            && let Some(conference) = self.telling(id)
        {
            let text = document(event, conference, self.wire.now, vec![channel(event, call)]);
            self.tell(id, event, &text, Some(key));
        }
    }

    /// The same for a call that is not among the calls any more.
    pub(crate) fn tell_of_leaving(&mut self, id: ConferenceId, call: &Call) {
        if let Some(conference) = self.telling(id) {
            let text = document(
                Event::Leave,
                conference,
                self.wire.now,
                vec![channel(Event::Leave, call)],
            );
            self.tell(id, Event::Leave, &text, None);
        }
    }

    /// Tells callers that somebody has joined or left by the chat WebSocket.
    pub(crate) fn tell_of_chatter(&mut self, id: ConferenceId, event: Event, who: Uuid) {
        if let Some(participant) = self.chatter(id, who)
            && let Some(conference) = self.telling(id)
        {
            let text = document(event, conference, self.wire.now, vec![chat_channel(participant)]);
            self.tell(id, event, &text, None);
        }
        self.roster_changed(id);
    }

    /// Tells everybody what happened to the conference as a whole.
    pub(crate) fn tell_all(&mut self, id: ConferenceId, event: Event) {
        if let Some(conference) = self.telling(id) {
            let text = document(event, conference, self.wire.now, Vec::new());
            self.tell(id, event, &text, None);
        }
    }

    /// Tells one who has come in who is there.
    pub(crate) fn welcome(&mut self, id: ConferenceId, key: Key) {
        let Some(conference) = self.telling(id) else {
            return;
        };
        let members = conference.members.iter().filter_map(|key| self.calls.get(*key));
        let members = members.map(|call| channel(Event::Join, call));
        let channels = members.chain(self.chatters_of(id).map(chat_channel)).collect();
        let text = render(WELCOME, conference, self.wire.now, channels);
        self.post_event(&[key], &text, id);
    }

    fn telling(&self, id: ConferenceId) -> Option<&Conference> {
        self.conferences
            .get(&id)
            .filter(|conference| conference.config.send_events)
    }

    fn tell(&mut self, id: ConferenceId, event: Event, text: &str, about: Option<Key>) {
        let Some(conference) = self.conferences.get(&id) else {
            return;
        };
        let echo = conference.config.echo_events;
        let mut listeners = conference.members.clone();
        listeners.retain(|member| echo || Some(*member) != about);
        if matches!(event, Event::Talking(_)) {
            // Who falls behind misses first what matters least.
            let most = self.config.limits.dialog_queue / 2;
            let all = listeners.len();
            listeners.retain(|key| {
                self.calls
                    .get(*key)
                    .is_some_and(|call| call.outbox.waiting() < most)
            });
            for _ in listeners.len()..all {
                self.wire.counts.message("out", "event", "behind");
            }
        }
        self.post_event(&listeners, text, id);
    }

    fn post_event(&mut self, listeners: &[Key], text: &str, id: ConferenceId) {
        let name = self.view(id).name;
        let letter = Letter {
            kind: TYPE,
            headers: &[],
            body: text.as_bytes(),
            name: &name,
            of: "event",
        };
        self.send_copies(listeners, &letter);
    }
}

fn document(event: Event, conference: &Conference, now: Time, channels: Vec<Channel<'_>>) -> String {
    render(event.name(), conference, now, channels)
}

fn render(kind: &str, conference: &Conference, now: Time, channels: Vec<Channel<'_>>) -> String {
    let id = conference.config.id.to_string();
    let (a, b, c, d, e) = (&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    let document = Document {
        kind,
        timestamp: event_time(now),
        bridge: Bridge {
            id: format!("{a}-{b}-{c}-{d}-{e}"),
            name: &conference.config.name,
            creationtime: event_time(conference.began),
            video_mode: if conference.config.video { "sfu" } else { "none" },
        },
        channels,
    };
    serde_json::to_string(&document).expect("texts, flags and lists become JSON")
}

/// A participant, as the event wants to see it.
fn channel(event: Event, call: &Call) -> Channel<'_> {
    let number = number(call);
    let leg = call.leg.id;
    Channel {
        id: call.channel(),
        name: format!("SIP/{number}-{:08x}", leg.0),
        state: "Up",
        protocol_id: Cow::Borrowed(&call.dialog.call_id),
        caller: Caller {
            name: &call.name,
            number,
        },
        creationtime: event_time(call.seat.began),
        language: "en",
        admin: call.role == Role::Moderator,
        muted: (!matches!(event, Event::Mute | Event::Unmute)).then_some(call.leg.muted),
        talking_status: match event {
            Event::Talking(true) => Some("on"),
            Event::Talking(false) => Some("off"),
            _ => None,
        },
    }
}

/// A participant by the chat WebSocket. It has no call, so what stands for the Call-ID is its id there; and
/// nobody hears it.
fn chat_channel(participant: &Participant) -> Channel<'_> {
    let (id, user) = (participant.id.to_string(), participant.user.as_deref());
    let number = user.unwrap_or("anonymous").to_owned();
    Channel {
        name: format!("Chat/{number}-{}", &id[..8]),
        state: "Up",
        protocol_id: Cow::Owned(id.clone()),
        id,
        caller: Caller {
            name: &participant.name,
            number,
        },
        creationtime: event_time(participant.joined),
        language: "en",
        admin: participant.is_moderator(),
        muted: Some(true),
        talking_status: None,
    }
}

/// Who takes part: the user who was proven, else what a trusted peer says.
fn number(call: &Call) -> String {
    let said = || {
        let peer = NameAddr::parse(&call.dialog.remote).ok()?;
        Some(Uri::parse(peer.uri).ok()?.user()?.into_owned())
    };
    call.user
        .clone()
        .or_else(said)
        .unwrap_or_else(|| "anonymous".to_owned())
}
