//! Every timer of the house.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use cordboard_model::{ConferenceId, LegId, Ticket, Time};

use crate::arena::Key;

/// RFC 3261 section 17.1.1.1: the estimate of a round trip.
pub(crate) const T1: Duration = Duration::from_millis(500);
/// RFC 3261 section 17.1.2.2: the longest interval between repeats.
pub(crate) const T2: Duration = Duration::from_secs(4);
/// RFC 3261 section 17.1.2.2: how long a message may live in the network.
pub(crate) const T4: Duration = Duration::from_secs(5);
/// Timers B, F, H, J, L and M: 64 times T1.
pub(crate) const PATIENCE: Duration = Duration::from_secs(32);
/// Timer C of a call between users: how long the called party's phones ring (RFC 3261 section 16.6
/// asks a proxy for more than three minutes; a phone that rings longer is not going to be answered).
pub(crate) const RINGING: Duration = Duration::from_secs(180);
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
    /// A subscriber may be told again.
    Notify(Key),
    /// A chat connection that was too fast may go on (its number).
    Chat(u64),
    /// A chat room may be forgotten, or some of what was said there.
    Room(ConferenceId),
    /// Calls that are still up get their BYE.
    Drain,
}

/// What is to happen when. A timer is not taken out when it is no longer wanted: its owner knows the
/// moment it waits for and ignores any other.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Time, Timer)>>,
}

impl Timers {
    pub(crate) fn arm(&mut self, at: Time, timer: Timer) {
        self.heap.push(Reverse((at, timer)));
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The first timer that is due at `now`.
    pub(crate) fn due(&mut self, now: Time) -> Option<(Time, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
