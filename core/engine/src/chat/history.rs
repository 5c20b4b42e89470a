//! What was said in a room: one log in the order of its dates, seen through a scope.

use std::collections::VecDeque;
use std::sync::Arc;

use cordboard_model::Time;
use serde_json::{Value, json};

use super::command::Scope;
use super::frame::stored;
use super::io::StoredMessage;
use super::uuid::Uuid;

/// The most messages in one chunk.
const CHUNK: usize = 100;
/// The most bytes of text that one room keeps, whatever the number of its messages.
const MAX_BYTES: usize = 32 << 20;

/// The messages of a room, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    log: VecDeque<Arc<StoredMessage>>,
    bytes: usize,
}

/// Which of a room's messages somebody may see as one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View<'v> {
    Global,
    Group(&'v str),
    /// Between these two.
    Private(Uuid, Uuid),
}

impl<'v> View<'v> {
    /// The conversation that a scope names for a participant.
    pub(crate) fn of(reader: Uuid, scope: &'v Scope) -> Self {
        match scope {
            Scope::Global => Self::Global,
            Scope::Group(name) => Self::Group(name),
            Scope::Private(other) => Self::Private(reader, *other),
        }
    }

    fn shows(self, message: &StoredMessage) -> bool {
        match (self, &message.scope) {
            (Self::Global, Scope::Global) => true,
            (Self::Group(name), Scope::Group(group)) => name == group,
            (Self::Private(one, other), Scope::Private(target)) => {
                (message.source, *target) == (one, other) || (message.source, *target) == (other, one)
            }
            _ => false,
        }
    }
}

impl History {
    pub(crate) fn len(&self) -> usize {
        self.log.len()
    }

    /// Adds a message that is younger than all others; gives the date up to which the oldest had to go.
    pub(crate) fn add(&mut self, message: Arc<StoredMessage>, most: usize) -> Option<Time> {
        self.bytes += message.content.len();
        self.log.push_back(message);
        let mut gone = None;
        while self.log.len() > most.max(1) || (self.bytes > MAX_BYTES && self.log.len() > 1) {
            gone = self.pop();
        }
        gone
    }

    fn pop(&mut self) -> Option<Time> {
        let oldest = self.log.pop_front()?;
        self.bytes -= oldest.content.len();
        Some(oldest.at)
    }

    /// Forgets what was said up to `until`; gives the date up to which something went.
    pub(crate) fn forget_until(&mut self, until: Time) -> Option<Time> {
        let mut gone = None;
        while self.log.front().is_some_and(|oldest| oldest.at <= until) {
            gone = self.pop();
        }
        gone
    }

    /// When the oldest message was said.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.log.front().map(|message| message.at)
    }

    pub(crate) fn newest(&self) -> Option<Time> {
        self.log.back().map(|message| message.at)
    }

    fn retain(&mut self, keep: impl Fn(&StoredMessage) -> bool) {
        self.log.retain(|message| keep(message));
        self.bytes = self.log.iter().map(|message| message.content.len()).sum();
    }

    /// Deletes the global messages.
    pub(crate) fn clear_global(&mut self) {
        self.retain(|message| message.scope != Scope::Global);
    }

    /// Deletes the messages of a group up to a moment; whether there were any.
    pub(crate) fn clear_group(&mut self, name: &str, until: Time) -> bool {
        let before = self.log.len();
        self.retain(|message| message.at > until || !View::Group(name).shows(message));
        self.log.len() < before
    }

    pub(crate) fn find(&self, id: Uuid) -> Option<&Arc<StoredMessage>> {
        self.log.iter().rev().find(|message| message.id == id)
    }

    /// Deletes a message; whether it was there.
    pub(crate) fn delete(&mut self, id: Uuid) -> bool {
        let before = self.log.len();
        self.retain(|message| message.id != id);
        self.log.len() < before
    }

    /// Puts another version of a message into its place; whether it was there.
    pub(crate) fn replace(&mut self, new: Arc<StoredMessage>) -> bool {
        let Some(place) = self.log.iter_mut().find(|message| message.id == new.id) else {
            return false;
        };
        self.bytes = self.bytes - place.content.len() + new.content.len();
        *place = new;
        true
    }

    /// Whether one of the messages is from this participant.
    pub(crate) fn has_author(&self, id: Uuid) -> bool {
        self.log.iter().any(|message| message.source == id)
    }

    /// The histories that a joiner is given: of everybody, of its groups, of each correspondent. In one pass.
    pub(crate) fn of_joiner(&self, reader: Uuid, groups: &[String]) -> Value {
        let mut room = Vec::new();
        let mut of_groups: Vec<Vec<Value>> = vec![Vec::new(); groups.len()];
        let mut private: Vec<(Uuid, Vec<Value>)> = Vec::new();
        for message in &self.log {
            let list = match &message.scope {
                Scope::Global => &mut room,
                Scope::Group(name) => match groups.iter().position(|group| group == name) {
                    Some(place) => &mut of_groups[place],
                    None => continue,
                },
                Scope::Private(target) => {
                    let other = match (message.source == reader, *target == reader) {
                        (true, _) => *target,
                        (false, true) => message.source,
                        (false, false) => continue,
                    };
                    let place = private.iter().position(|(known, _)| *known == other);
                    let place = place.unwrap_or_else(|| {
                        private.push((other, Vec::new()));
                        private.len() - 1
                    });
                    &mut private[place].1
                }
            };
            list.push(json!(stored(message)));
        }
        let groups = groups.iter().zip(of_groups);
        let groups: Vec<_> = groups
            .map(|(name, history)| json!({ "name": name, "history": history }))
            .collect();
        let private: Vec<_> = private
            .into_iter()
            .map(|(other, history)| json!({ "correspondent": other, "history": history }))
            .collect();
        json!({ "room_history": room, "groups_history": groups, "private_history": private })
    }

    /// The messages of a conversation up to the one with this index, at most a hundred, counted from 0 = oldest;
    /// with a term, only messages that hold it are there and counted. Without an index: the newest.
    pub(crate) fn chunk(&self, view: View<'_>, term: Option<&str>, index: Option<u64>) -> Value {
        let fits = |message: &&Arc<StoredMessage>| {
            view.shows(message) && term.is_none_or(|term| message.content.contains(term))
        };
        let all: Vec<_> = self.log.iter().filter(fits).collect();
        let last = match index {
            None => all.len().checked_sub(1),
            Some(index) => usize::try_from(index).ok().filter(|index| *index < all.len()),
        };
        let Some(last) = last else {
            return json!({ "messages": [], "next_index": null });
        };
        let first = (last + 1).saturating_sub(CHUNK);
        let messages: Vec<_> = all[first..=last].iter().map(|message| stored(message)).collect();
        json!({ "messages": messages, "next_index": first.checked_sub(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u64, source: u128, scope: Scope) -> Arc<StoredMessage> {
        Arc::new(StoredMessage {
            id: Uuid(u128::from(n)),
            source: Uuid(source),
            at: Time(n),
            scope,
            content: format!("number {n}"),
        })
    }

    #[test]
    fn a_chunk_ends_at_its_index_and_names_the_next_older_one() {
        let mut history = History::default();
        for n in 0..250 {
            assert_eq!(history.add(message(n, 1, Scope::Global), 1000), None);
        }
        for (index, first, count, next) in [
            (None, 150, 100, json!(149)),
            (Some(149), 50, 100, json!(49)),
            (Some(49), 0, 50, json!(null)),
            (Some(99), 0, 100, json!(null)),
            (Some(0), 0, 1, json!(null)),
        ] {
            let chunk = history.chunk(View::Global, None, index);
            let messages = chunk["messages"].as_array().unwrap();
            assert_eq!(messages.len(), count, "{index:?}");
            assert_eq!(messages[0]["content"], format!("number {first}"), "{index:?}");
            assert_eq!(chunk["next_index"], next, "{index:?}");
        }
        let beyond = history.chunk(View::Global, None, Some(250));
        assert_eq!(beyond, json!({ "messages": [], "next_index": null }));
        let found = history.chunk(View::Global, Some("number 24"), None);
        assert_eq!(
            found["messages"].as_array().unwrap().len(),
            11,
            "24 and 240 to 249"
        );
    }

    #[test]
    fn each_conversation_is_seen_by_its_own_people() {
        let mut history = History::default();
        let scopes = [
            (1, Scope::Global),
            (1, Scope::Private(Uuid(2))),
            (2, Scope::Private(Uuid(1))),
            (3, Scope::Private(Uuid(1))),
            (2, Scope::Private(Uuid(3))),
            (1, Scope::Group("a".into())),
        ];
        for (n, (source, scope)) in (0..).zip(scopes) {
            history.add(message(n, source, scope), 100);
        }
        let seen = history.of_joiner(Uuid(1), &["a".into(), "b".into()]);
        assert_eq!(seen["room_history"].as_array().unwrap().len(), 1);
        let private: Vec<_> = seen["private_history"].as_array().unwrap().iter().collect();
        assert_eq!(private.len(), 2, "one entry per correspondent");
        assert_eq!(private[0]["history"].as_array().unwrap().len(), 2, "both ways");
        assert_eq!(seen["groups_history"][1], json!({ "name": "b", "history": [] }));
        let stranger = history.of_joiner(Uuid(9), &[]);
        assert_eq!(stranger["private_history"], json!([]));
        assert_eq!(stranger["groups_history"], json!([]));
        history.clear_global();
        assert_eq!(history.len(), 5);
    }

    #[test]
    fn too_many_and_too_old_ones_go() {
        let mut history = History::default();
        for n in 0..5 {
            history.add(message(n, 1, Scope::Global), 3);
        }
        assert_eq!((history.len(), history.oldest()), (3, Some(Time(2))));
        assert_eq!(history.forget_until(Time(3)), Some(Time(3)));
        assert_eq!(history.forget_until(Time(3)), None);
        assert_eq!(history.bytes, "number 4".len());
    }
}
