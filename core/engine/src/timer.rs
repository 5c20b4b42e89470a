//! Every timer of the house.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use cordboard_model::{ConferenceId, LegId, Ticket, Time};

use crate::arena::Key;
use crate::call::parting::Awaited;

/// RFC 3261 section 17.1.1.1: the estimate of a round trip.
pub(crate) const T1: Duration = Duration::from_millis(500);
/// RFC 3261 section 17.1.2.2: the longest interval between repeats.
pub(crate) const T2: Duration = Duration::from_secs(4);
/// RFC 3261 section 17.1.2.2: how long a message may live in the network.
pub(crate) const T4: Duration = Duration::from_secs(5);
/// Timers B, F, H, J, L and M: 64 times T1.
pub(crate) const PATIENCE: Duration = Duration::from_secs(32);
/// RFC 4320 section 4.1: when the sender of a request other than INVITE begins to repeat it every [`T2`], over UDP:
/// by then it is told 100 if there is no answer yet.
pub(crate) const TRYING: Duration = Duration::from_millis(3500);
/// Timer C of a call between users: how long the called party's phones ring (RFC 3261 section 16.6
/// asks a proxy for more than three minutes; a phone that rings longer is not going to be answered).
pub(crate) const RINGING: Duration = Duration::from_secs(180);
/// How long they ring at most, however often they say that they do.
pub(crate) const RINGING_MOST: Duration = Duration::from_secs(600);
/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Timers A, E, G: a transaction repeats its message.
    Repeat(Key),
    /// Timers B, D, F, H, I, J, K, L, M: a transaction leaves its state.
    End(Key),
    /// RFC 3261 section 13.3.1.4: the 2xx to an INVITE is repeated until the ACK comes.
    Answer(Key),
    /// RFC 3262 section 3: a reliable provisional response is repeated until its PRACK comes.
    Progress(Key),
    /// RFC 4028: the session of a call is to be refreshed, or is over.
    Session(Key),
    /// An offer of ours inside a call is made again, or has waited too long for its answer.
    Reoffer(Key),
    /// The BYE of a call that is over waits: our 200 is repeated, or it has waited long enough.
    Parting(Awaited),
    /// The called party's phones have rung long enough.
    Ringing(Key),
    /// The verdict on this question is overdue.
    Verdict(Ticket),
    /// A registered contact ends (its serial number).
    Binding(u64),
    /// A call's record waits no longer for the totals of its media.
    Record(LegId),
    /// A subscription ends.
    Subscription(Key),
    /// A subscriber whose connection broke has not come back.
    Lost(Key),
    /// A subscriber may be told again.
    Notify(Key),
    /// A chat connection that was too fast may go on (its number).
    Chat(u64),
    /// A chat room may be forgotten, or some of what was said there.
    Room(ConferenceId),
    /// The sender of a message waits for what its addressee's phones answer.
    Page(Key),
    /// The time of kept messages is up.
    Mail,
    /// Phones that refused a kept message for now may be asked again.
    Redelivery(Key),
    /// Everything is loaded: kept messages go out.
    Deliver,
    /// Changes of who talks in a conference may be told.
    Talking(ConferenceId),
    /// Calls that are still up get their BYE.
    Drain,
}

/// The lengths of most timers: there may be hundreds of thousands of each.
const LENGTHS: [Duration; 4] = [T1, T4, PATIENCE, TRYING];

/// What is to happen when. A timer is not taken out when it is no longer wanted: its owner knows the
/// moment it waits for and ignores any other.
///
/// Time only goes on, so timers of one length become due in the order in which they were armed: each
/// usual length has a queue of its own, and only the others are sorted.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queues: [VecDeque<(Time, Timer)>; LENGTHS.len()],
    sorted: BinaryHeap<Reverse<(Time, Timer)>>,
}

impl Timers {
    /// Arms a timer for a moment.
    pub(crate) fn arm(&mut self, at: Time, timer: Timer) {
        self.sorted.push(Reverse((at, timer)));
    }

    /// Arms a timer for some time after `now`, which never goes back.
    pub(crate) fn arm_after(&mut self, length: Duration, now: Time, timer: Timer) {
        let at = now + length;
        let queue = LENGTHS.iter().position(|usual| *usual == length);
        match queue.map(|place| &mut self.queues[place]) {
            Some(queue) if queue.back().is_none_or(|(last, _)| *last <= at) => queue.push_back((at, timer)),
            _ => self.arm(at, timer),
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        let queued = self.queues.iter().filter_map(|queue| queue.front());
        let sorted = self.sorted.peek().map(|Reverse(entry)| entry);
        queued.chain(sorted).map(|(at, _)| *at).min()
    }

    /// The first timer that is due at `now`.
    pub(crate) fn due(&mut self, now: Time) -> Option<(Time, Timer)> {
        let first = self.next().filter(|first| *first <= now)?;
        let is_first = |entry: Option<&(Time, Timer)>| entry.is_some_and(|(at, _)| *at == first);
        match self.queues.iter_mut().find(|queue| is_first(queue.front())) {
            Some(queue) => queue.pop_front(),
            None => self.sorted.pop().map(|Reverse(entry)| entry),
        }
    }
}

/// A moment that is put off again and again: it has one timer at a time, not one for each.
///
/// Its owner knows the moment itself, and sets it again when the timer rings too early.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alarm {
    armed: Option<Time>,
}

impl Alarm {
    /// Whether a timer is to be armed for `at`: not if one rings before.
    pub(crate) fn set(&mut self, at: Time) -> bool {
        let news = self.armed.is_none_or(|armed| at < armed);
        if news {
            self.armed = Some(at);
        }
        news
    }

    /// Whether it was the timer that counts which rang at `at`; then none is armed any more.
    pub(crate) fn rang(&mut self, at: Time) -> bool {
        self.armed.take_if(|armed| *armed == at).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_become_due_in_their_order_whatever_their_length() {
        let mut timers = Timers::default();
        let ms = |number: u64| Time(number * 1_000_000);
        let mut armed = Vec::new();
        for number in 0..300_u64 {
            let now = ms(number * 37);
            let length =
                [T1, PATIENCE, TRYING, Duration::from_millis(number * 7919 % 9000)][number as usize % 4];
            timers.arm_after(length, now, Timer::Binding(number));
            armed.push((now + length, number));
        }
        timers.arm_after(T1, ms(5), Timer::Drain); // a clock that goes back does no harm
        armed.push((ms(505), u64::MAX));
        armed.sort_unstable();
        let mut due = Vec::new();
        while let Some(at) = timers.next() {
            assert_eq!(timers.due(Time(at.0 - 1)), None, "not before its time");
            let (told, timer) = timers.due(at).unwrap();
            assert_eq!(told, at);
            due.push(match timer {
                Timer::Binding(number) => (at, number),
                _ => (at, u64::MAX),
            });
        }
        assert!(due.is_sorted_by_key(|(at, _)| *at));
        due.sort_unstable();
        assert_eq!(due, armed);
    }
}
