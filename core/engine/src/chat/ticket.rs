//! Tickets, by which a connection is opened once, and tokens, by which a participant comes back.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use cordboard_model::{ConferenceId, Time};
use sha2::{Digest, Sha256};

use super::Principal;
use super::uuid::Uuid;

/// How long a ticket is good.
const TICKET_LIFE: Duration = Duration::from_secs(30);
/// How long somebody may stay away and come back as the same participant.
pub(crate) const RESUMPTION_LIFE: Duration = Duration::from_secs(120);
/// Tickets that nobody has used yet, at most.
const TICKETS: usize = 20_000;
/// Participants who may come back, at most, those who are there included.
const RESUMPTIONS: usize = 200_000;

/// What a ticket opens.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(crate) room: ConferenceId,
    pub(crate) principal: Principal,
    pub(crate) participant: Uuid,
    pub(crate) resumption: [u8; 32],
}

/// The tickets that nobody has used yet. Only their hashes are known here.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    live: HashMap<[u8; 32], Admission>,
    order: VecDeque<(Time, [u8; 32])>,
}

impl Tickets {
    fn forget(&mut self, now: Time) {
        while let Some((until, hash)) = self.order.front().copied().filter(|(until, _)| *until <= now) {
            debug_assert!(until <= now);
            self.live.remove(&hash);
            self.order.pop_front();
        }
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&mut self, now: Time) -> bool {
        self.forget(now);
        self.order.len() < TICKETS
    }

    pub(crate) fn add(&mut self, ticket: &str, admission: Admission, now: Time) {
        let hash = digest(ticket);
        self.live.insert(hash, admission);
        self.order.push_back((now + TICKET_LIFE, hash));
    }

    /// Whether a ticket is good; it stays so.
    pub(crate) fn knows(&mut self, ticket: &str, now: Time) -> bool {
        self.forget(now);
        self.live.contains_key(&digest(ticket))
    }

    /// Uses a ticket up.
    pub(crate) fn take(&mut self, ticket: &str, now: Time) -> Option<Admission> {
        self.forget(now);
        self.live.remove(&digest(ticket))
    }
}

/// A participant who may come back.
#[derive(Debug, Clone)]
pub(crate) struct Resumption {
    pub(crate) room: ConferenceId,
    pub(crate) principal: Principal,
    pub(crate) participant: Uuid,
    /// `None` while it is there.
    until: Option<Time>,
}

/// Who may come back, by the hash of the token.
#[derive(Debug, Default)]
pub(crate) struct Resumptions {
    live: HashMap<[u8; 32], Resumption>,
    swept: Time,
}

impl Resumptions {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&mut self, now: Time) -> bool {
        if self.live.len() >= RESUMPTIONS / 2 && now.since(self.swept) >= RESUMPTION_LIFE / 8 {
            self.swept = now;
            self.live
                .retain(|_, known| known.until.is_none_or(|until| until > now));
        }
        self.live.len() < RESUMPTIONS
    }

    pub(crate) fn add(&mut self, hash: [u8; 32], admission: &Admission, now: Time) {
        self.insert(hash, admission, Some(now + RESUMPTION_LIFE));
    }

    fn insert(&mut self, hash: [u8; 32], admission: &Admission, until: Option<Time>) {
        let resumption = Resumption {
            room: admission.room,
            principal: admission.principal.clone(),
            participant: admission.participant,
            until,
        };
        self.live.insert(hash, resumption);
    }

    /// The participant behind a token that is good in this room for this principal.
    pub(crate) fn find(
        &self,
        token: &str,
        room: ConferenceId,
        principal: &Principal,
        now: Time,
    ) -> Option<&Resumption> {
        self.live
            .get(&digest(token))
            .filter(|known| known.until.is_none_or(|until| until > now))
            .filter(|known| known.room == room && known.principal == *principal)
    }

    /// The participant is there: its token does not age. It may have been forgotten with the room that others left
    /// while its ticket waited.
    pub(crate) fn hold(&mut self, admission: &Admission) {
        self.insert(admission.resumption, admission, None);
    }

    /// The participant has gone: its token ages from now on.
    pub(crate) fn release(&mut self, hash: &[u8; 32], now: Time) {
        if let Some(known) = self.live.get_mut(hash) {
            known.until = Some(now + RESUMPTION_LIFE);
        }
    }

    pub(crate) fn remove(&mut self, hash: &[u8; 32]) {
        self.live.remove(hash);
    }

    /// Nobody comes back to this room as who he was.
    pub(crate) fn remove_room(&mut self, room: ConferenceId) {
        self.live
            .retain(|_, known| known.room != room || known.until.is_none());
    }
}

/// By which tickets, tokens and passwords are known.
pub(crate) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: ConferenceId = ConferenceId(1);

    fn admission(participant: u128) -> Admission {
        Admission {
            room: ROOM,
            principal: Principal::Guest,
            participant: Uuid(participant),
            resumption: digest("token"),
        }
    }

    #[test]
    fn a_ticket_is_good_once_and_for_thirty_seconds() {
        let (mut tickets, now) = (Tickets::default(), Time::from_unix_seconds(100));
        tickets.add("a", admission(1), now);
        tickets.add("b", admission(2), now);
        assert!(tickets.knows("a", now) && tickets.take("a", now).is_some());
        assert!(tickets.take("a", now).is_none());
        assert!(tickets.knows("b", now + Duration::from_millis(29_999)));
        assert!(!tickets.knows("b", now + TICKET_LIFE));
        assert!(tickets.live.is_empty() && tickets.order.is_empty());
    }

    #[test]
    fn a_token_is_good_for_its_room_and_person_and_ages_only_while_away() {
        let (mut tokens, now) = (Resumptions::default(), Time::from_unix_seconds(100));
        let hash = digest("token");
        tokens.add(hash, &admission(1), now);
        let find = |tokens: &Resumptions, at| tokens.find("token", ROOM, &Principal::Guest, at).is_some();
        assert!(find(&tokens, now + Duration::from_secs(119)));
        assert!(!find(&tokens, now + RESUMPTION_LIFE));
        tokens.hold(&admission(1));
        assert!(find(&tokens, now + RESUMPTION_LIFE * 10));
        let user = Principal::User {
            account: AccountId(1),
            username: "alice".into(),
        };
        assert!(tokens.find("token", ROOM, &user, now).is_none(), "another person");
        assert!(
            tokens
                .find("token", ConferenceId(2), &Principal::Guest, now)
                .is_none()
        );
        tokens.release(&hash, now + RESUMPTION_LIFE);
        assert!(find(&tokens, now + RESUMPTION_LIFE) && !find(&tokens, now + RESUMPTION_LIFE * 2));
    }

    use cordboard_model::AccountId;
}
