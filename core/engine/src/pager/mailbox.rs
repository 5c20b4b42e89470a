//! What is kept for users who are not there: how much of it, in which order, until when.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use cordboard_model::Time;

use super::delivery::Occasion;
use super::relay::Came;
use crate::arena::{Arena, Key};
use crate::config::MailLimits;
use crate::io::StoredMessage;

/// How long phones that refused a message for now are left in peace: at first, and at most. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(960);

/// A kept message and how far its delivery has come.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) message: StoredMessage,
    /// It is on disk: its sender was told so, and it may be delivered.
    pub(crate) safe: bool,
    /// How often it is being written to disk now: once for each request that brought it.
    pub(crate) writes: u32,
    /// Its delivery, while phones have it and have not answered.
    pub(crate) delivery: Option<Key>,
    /// Phones have changed since it went out: on what occasion it goes to them.
    pub(crate) news: Option<Occasion>,
    /// How often it was sent in vain.
    pub(crate) vain: u8,
    /// When something counted against it last.
    pub(crate) blamed: Option<Time>,
    /// Phones were there when it came, and it has not gone to them yet.
    pub(crate) came: Option<Came>,
}

/// The messages to one address of record, in the order in which they came.
#[derive(Debug, Default)]
struct Mailbox {
    messages: VecDeque<Kept>,
    size: u64,
    /// Phones have refused the first message for now: after this pause it goes to them again.
    pausing: Option<Pausing>,
    /// How long the last pause was, were it not for what phones asked.
    pause: Duration,
}

/// The pause of an address: its timer, and when it ends.
#[derive(Debug, Clone, Copy)]
struct Pausing {
    key: Key,
    ends: Time,
}

/// What the timer of a pause finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PauseTimer {
    /// The pause of this address is over.
    Over(String),
    /// It was lengthened: the timer is to be armed again.
    Until(Time),
}

/// What stands before a message that comes for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// Nothing, or only what waits for a phone to register.
    Nothing,
    /// A message is on its way, or goes there as soon as it is on disk.
    OnItsWay,
    /// A message that phones have refused for now.
    Refused,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    boxes: HashMap<String, Mailbox>,
    /// When each message ends: by time and number, with its address.
    ends: BTreeMap<(Time, u64), String>,
    /// The addresses whose phones are left in peace for some time.
    pauses: Arena<String>,
    size: u64,
    count: usize,
    last: u64,
}

/// Why a message is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Mailboxes {
    /// How many messages are kept.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// A number higher than that of every message so far: it orders them, also over restarts.
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Takes a message in; `limits` are not asked where it was kept before.
    pub(crate) fn put(
        &mut self,
        message: StoredMessage,
        safe: bool,
        limits: Option<MailLimits>,
    ) -> Result<(), Full> {
        let size = size(&message);
        if let Some(limits) = limits {
            let (count, held) = match self.boxes.get(&message.to) {
                Some(mailbox) => (mailbox.messages.len(), mailbox.size),
                None => (0, 0),
            };
            if count >= limits.count || held + size > limits.size || self.size + size > limits.total {
                return Err(Full);
            }
        }
        self.last = self.last.max(message.number);
        self.ends
            .insert((message.expires, message.number), message.to.clone());
        let mailbox = self.boxes.entry(message.to.clone()).or_default();
        let place = mailbox
            .messages
            .partition_point(|kept| kept.message.number < message.number);
        mailbox.messages.insert(
            place,
            Kept {
                message,
                safe,
                writes: 0,
                delivery: None,
                news: None,
                vain: 0,
                blamed: None,
                came: None,
            },
        );
        mailbox.size += size;
        self.size += size;
        self.count += 1;
        Ok(())
    }

    pub(crate) fn get_mut(&mut self, address: &str, number: u64) -> Option<&mut Kept> {
        let messages = &mut self.boxes.get_mut(address)?.messages;
        messages.iter_mut().find(|kept| kept.message.number == number)
    }

    /// No phone is there any more, or none that answers: what waits now waits for a registration.
    pub(crate) fn nobody_is_there(&mut self, address: &str) {
        let mailbox = self.boxes.get_mut(address);
        for kept in mailbox.into_iter().flat_map(|mailbox| &mut mailbox.messages) {
            kept.came = None;
        }
    }

    /// The number of the message with this id, where it is kept.
    pub(crate) fn number_of(&self, address: &str, id: u128) -> Option<u64> {
        let messages = &self.boxes.get(address)?.messages;
        let kept = messages.iter().find(|kept| kept.message.id == id)?;
        Some(kept.message.number)
    }

    /// The first message to an address.
    pub(crate) fn front(&mut self, address: &str) -> Option<&mut Kept> {
        self.boxes.get_mut(address)?.messages.front_mut()
    }

    /// What stands before a message that comes for this address now.
    pub(crate) fn ahead(&self, address: &str) -> Ahead {
        let Some(mailbox) = self.boxes.get(address) else {
            return Ahead::Nothing;
        };
        let mut messages = mailbox.messages.iter();
        match mailbox.pausing {
            _ if messages.any(|kept| kept.delivery.is_some() || !kept.safe) => Ahead::OnItsWay,
            Some(_) => Ahead::Refused,
            None => Ahead::Nothing,
        }
    }

    /// Whether the phones of an address have refused a message for now, and are left in peace.
    pub(crate) fn is_pausing(&self, address: &str) -> bool {
        let mailbox = self.boxes.get(address);
        mailbox.is_some_and(|mailbox| mailbox.pausing.is_some())
    }

    /// The phones of an address have refused a message for now, and `asked` to be left in peace so long: the timer to
    /// arm, and when; none where one is armed already, whose pause may be lengthened by this.
    pub(crate) fn pause(&mut self, address: &str, asked: Duration, now: Time) -> Option<(Key, Time)> {
        let mailbox = self.boxes.get_mut(address)?;
        if let Some(pausing) = &mut mailbox.pausing {
            pausing.ends = pausing.ends.max(now + asked);
            return None;
        }
        mailbox.pause = (mailbox.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let key = self.pauses.insert_with(|_| address.to_owned());
        let ends = now + mailbox.pause.max(asked);
        mailbox.pausing = Some(Pausing { key, ends });
        Some((key, ends))
    }

    /// A phone has taken a message, or none says anything any more: there is nobody to be left in peace.
    pub(crate) fn forget_pause(&mut self, address: &str) {
        if let Some(mailbox) = self.boxes.get_mut(address) {
            mailbox.pause = Duration::ZERO;
            if let Some(pausing) = mailbox.pausing.take() {
                self.pauses.remove(pausing.key);
            }
        }
    }

    /// The timer of a pause has rung; `None` where the pause was forgotten.
    pub(crate) fn pause_timer(&mut self, key: Key, now: Time) -> Option<PauseTimer> {
        let mailbox = self.boxes.get_mut(self.pauses.get(key)?)?;
        if let Some(pausing) = mailbox.pausing.filter(|pausing| pausing.ends > now) {
            return Some(PauseTimer::Until(pausing.ends));
        }
        mailbox.pausing = None;
        self.pauses.remove(key).map(PauseTimer::Over)
    }

    /// The deliveries to an address, in the order of their messages; `news`: what has changed for their phones.
    pub(crate) fn on_their_way(&mut self, address: &str, news: Option<Occasion>) -> Vec<Key> {
        let Some(mailbox) = self.boxes.get_mut(address) else {
            return Vec::new();
        };
        let messages = mailbox.messages.iter_mut();
        messages
            .filter_map(|kept| {
                if kept.delivery.is_some() {
                    kept.news = kept.news.max(news);
                }
                kept.delivery
            })
            .collect()
    }

    pub(crate) fn remove(&mut self, address: &str, number: u64) -> Option<StoredMessage> {
        let mailbox = self.boxes.get_mut(address)?;
        let place = mailbox
            .messages
            .iter()
            .position(|kept| kept.message.number == number)?;
        let message = mailbox.messages.remove(place)?.message;
        let size = size(&message);
        mailbox.size -= size;
        if mailbox.messages.is_empty() {
            if let Some(pausing) = mailbox.pausing {
                self.pauses.remove(pausing.key);
            }
            self.boxes.remove(address);
        }
        self.ends.remove(&(message.expires, number));
        self.size -= size;
        self.count -= 1;
        Some(message)
    }

    /// When the next message ends.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.ends.keys().next().map(|(at, _)| *at)
    }

    /// When the next message ends whose time is not up.
    pub(crate) fn next_end_after(&self, now: Time) -> Option<Time> {
        let mut later = self.ends.range((now, u64::MAX)..).map(|((at, _), _)| *at);
        later.find(|at| *at > now)
    }

    /// The messages whose time is up, with their addresses.
    pub(crate) fn ended(&self, now: Time) -> Vec<(String, u64)> {
        self.ends
            .range(..=(now, u64::MAX))
            .map(|((_, number), address)| (address.clone(), *number))
            .collect()
    }

    /// The messages to every address that is chosen.
    pub(crate) fn numbers_where(&self, chosen: impl Fn(&str) -> bool) -> Vec<(String, u64)> {
        let mut found: Vec<(String, u64)> = self
            .ends
            .iter()
            .filter(|(_, address)| chosen(address))
            .map(|((_, number), address)| (address.clone(), *number))
            .collect();
        found.sort_unstable_by_key(|(_, number)| *number);
        found
    }
}

/// What a message counts as, in bytes: everything that is kept of it.
fn size(message: &StoredMessage) -> u64 {
    let names = message.to.len() + message.from.len() + message.hidden.len() + message.name.len();
    let texts = names + message.headers.len();
    (texts + message.body.len()) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn message(number: u64, to: &str, body: usize, expires: u64) -> StoredMessage {
        StoredMessage {
            id: u128::from(number),
            number,
            to: to.into(),
            from: String::new(),
            hidden: String::new(),
            name: String::new(),
            headers: String::new(),
            body: Bytes::from(vec![b'x'; body]),
            hops: 70,
            accepted: Time::default(),
            expires: Time::from_unix_seconds(expires),
        }
    }

    const LIMITS: Option<MailLimits> = Some(MailLimits {
        count: 2,
        size: 100,
        total: 150,
        age: Duration::from_secs(60),
    });

    #[test]
    fn quotas_hold_by_count_and_by_size_and_over_all() {
        let mut mail = Mailboxes::default();
        assert_eq!(mail.put(message(1, "bob", 101, 9), true, LIMITS), Err(Full));
        assert_eq!(mail.put(message(1, "bob", 40, 9), true, LIMITS), Ok(()));
        assert_eq!(
            mail.put(message(2, "bob", 60, 9), true, LIMITS),
            Err(Full),
            "the name counts too"
        );
        assert_eq!(mail.put(message(2, "bob", 40, 9), true, LIMITS), Ok(()));
        assert_eq!(mail.put(message(3, "bob", 1, 9), true, LIMITS), Err(Full));
        assert_eq!(mail.put(message(3, "carol", 90, 9), true, LIMITS), Err(Full));
        assert_eq!(mail.put(message(3, "carol", 90, 9), true, None), Ok(()));
        for (address, number) in [("bob", 1), ("bob", 2), ("carol", 3)] {
            assert!(mail.remove(address, number).is_some());
        }
        assert_eq!((mail.len(), mail.size, mail.next_end()), (0, 0, None));
        assert!(mail.boxes.is_empty() && mail.remove("bob", 1).is_none());
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_end_with_their_mailbox() {
        let mut mail = Mailboxes::default();
        let (now, nothing) = (Time::default(), Duration::ZERO);
        let over = Some(PauseTimer::Over("bob".into()));
        assert_eq!(mail.pause("bob", nothing, now), None);
        mail.put(message(1, "bob", 1, 9), true, None).unwrap();
        assert_eq!(mail.ahead("bob"), Ahead::Nothing);
        for seconds in [30, 60, 120, 240, 480, 960, 960] {
            let (key, ends) = mail.pause("bob", nothing, now).unwrap();
            assert_eq!(ends, now + Duration::from_secs(seconds));
            assert_eq!(mail.pause("bob", nothing, now), None);
            assert_eq!(mail.ahead("bob"), Ahead::Refused);
            assert_eq!(mail.pause_timer(key, ends), over);
            assert_eq!(mail.pause_timer(key, ends), None);
        }
        let (forgotten, ends) = mail.pause("bob", nothing, now).unwrap();
        mail.forget_pause("bob");
        assert_eq!(
            (mail.pause_timer(forgotten, ends), mail.ahead("bob")),
            (None, Ahead::Nothing)
        );
        let (key, ends) = mail.pause("bob", nothing, now).unwrap();
        assert_eq!(ends, now + FIRST_PAUSE);
        mail.remove("bob", 1);
        assert_eq!((mail.pause_timer(key, ends), mail.pauses.len()), (None, 0));
    }

    #[test]
    fn a_pause_is_as_long_as_was_asked_and_no_shorter_than_it_would_be() {
        let mut mail = Mailboxes::default();
        let (now, asked) = (Time::default(), Duration::from_secs);
        let over = Some(PauseTimer::Over("bob".into()));
        mail.put(message(1, "bob", 1, 9), true, None).unwrap();
        let (key, ends) = mail.pause("bob", asked(600), now).unwrap();
        assert_eq!(ends, now + asked(600));
        assert_eq!(mail.pause_timer(key, ends), over);
        // What was asked does not make the next one longer.
        let (key, ends) = mail.pause("bob", asked(5), now).unwrap();
        assert_eq!(ends, now + asked(60));
        assert_eq!(mail.pause("bob", asked(50), now + asked(20)), None);
        let longer = now + asked(70);
        assert_eq!(mail.pause_timer(key, ends), Some(PauseTimer::Until(longer)));
        assert_eq!(mail.pause("bob", asked(1), now + asked(60)), None);
        assert_eq!(mail.pause_timer(key, longer), over);
    }

    #[test]
    fn messages_stand_in_their_order_whatever_order_they_are_loaded_in() {
        let mut mail = Mailboxes::default();
        for number in [7, 3, 5] {
            mail.put(message(number, "bob", 1, 100 - number), true, None)
                .unwrap();
        }
        assert_eq!(mail.next_number(), 8);
        assert_eq!(mail.next_end(), Some(Time::from_unix_seconds(93)));
        assert_eq!(
            mail.ended(Time::from_unix_seconds(95)),
            [("bob".into(), 7), ("bob".into(), 5)]
        );
        for number in [3, 5, 7] {
            assert_eq!(mail.front("bob").unwrap().message.number, number);
            mail.remove("bob", number);
        }
    }
}
