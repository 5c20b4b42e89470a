//! What chat clients are told: one JSON object per frame, always with a date.

use bytes::Bytes;
use cordboard_model::Time;
use serde::Serialize;
use serde_json::{Value, json};

use super::command::Scope;
use super::io::StoredMessage;
use super::rfc3339::Stamp;
use super::uuid::Uuid;

/// A frame of a namespace.
pub(crate) fn frame(namespace: &str, at: Time, payload: &impl Serialize) -> Bytes {
    let payload = serde_json::to_string(payload).expect("what we say has texts as keys");
    enveloped(namespace, at, &payload)
}

/// A frame around a payload that is JSON already.
pub(crate) fn enveloped(namespace: &str, at: Time, payload: &str) -> Bytes {
    format!(
        "{{\"namespace\":\"{namespace}\",\"timestamp\":\"{}\",\"payload\":{payload}}}",
        Stamp(at)
    )
    .into()
}

/// An event without anything but its name, or with what is in `more`.
pub(crate) fn event(namespace: &str, at: Time, message: &str, more: Value) -> Bytes {
    let mut payload = more;
    if payload.is_null() {
        payload = json!({});
    }
    payload["message"] = message.into();
    frame(namespace, at, &payload)
}

/// An error of a namespace.
pub(crate) fn error(namespace: &str, at: Time, error: &str) -> Bytes {
    event(namespace, at, "error", json!({ "error": error }))
}

/// The event that tells of a message; its envelope's date is the message's.
pub(crate) fn message_sent(message: &StoredMessage) -> Bytes {
    #[derive(Serialize)]
    struct MessageSent<'m> {
        message: &'static str,
        #[serde(flatten)]
        said: Said<'m>,
    }
    let payload = MessageSent {
        message: "message_sent",
        said: said(message),
    };
    frame("chat", message.at, &payload)
}

/// The event that tells of a message's new text.
pub(crate) fn message_edited(at: Time, id: Uuid, by: Uuid, content: &str) -> Bytes {
    let told = json!({ "id": id, "issued_by": by, "content": content });
    event("chat", at, "message_edited", told)
}

/// A message of a history.
pub(crate) fn stored(message: &StoredMessage) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Stored<'m> {
        #[serde(flatten)]
        said: Said<'m>,
        timestamp: Stamp,
    }
    Stored {
        said: said(message),
        timestamp: Stamp(message.at),
    }
}

#[derive(Serialize)]
struct Said<'m> {
    id: Uuid,
    source: Uuid,
    content: &'m str,
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target<'m>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Target<'m> {
    Group(&'m str),
    Participant(Uuid),
}

fn said(message: &StoredMessage) -> Said<'_> {
    Said {
        id: message.id,
        source: message.source,
        content: &message.content,
        scope: message.scope.name(),
        target: match &message.scope {
            Scope::Global => None,
            Scope::Group(name) => Some(Target::Group(name)),
            Scope::Private(id) => Some(Target::Participant(*id)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_looks_like_the_contract_says() {
        let message = StoredMessage {
            id: Uuid(1),
            source: Uuid(2),
            at: Time::from_unix_seconds(1_795_318_200),
            scope: Scope::Group("/Org/Backend".into()),
            content: "hi".into(),
        };
        let text = String::from_utf8(message_sent(&message).to_vec()).unwrap();
        assert_eq!(
            text,
            "{\"namespace\":\"chat\",\"timestamp\":\"2026-11-22T03:30:00Z\",\"payload\":{\"message\":\"message_sent\",\
             \"id\":\"00000000-0000-0000-0000-000000000001\",\"source\":\"00000000-0000-0000-0000-000000000002\",\
             \"content\":\"hi\",\"scope\":\"group\",\"target\":\"/Org/Backend\"}}"
        );
        let kept = serde_json::to_value(stored(&message)).unwrap();
        assert_eq!(kept["timestamp"], "2026-11-22T03:30:00Z");
        let global = StoredMessage {
            scope: Scope::Global,
            ..message
        };
        assert!(
            serde_json::to_value(stored(&global))
                .unwrap()
                .get("target")
                .is_none()
        );
    }

    #[test]
    fn an_event_may_be_no_more_than_its_name() {
        let text = event("moderation", Time(0), "accepted", Value::Null);
        assert_eq!(
            text,
            "{\"namespace\":\"moderation\",\"timestamp\":\"1970-01-01T00:00:00Z\",\"payload\":{\"message\":\"accepted\"}}"
        );
    }
}
