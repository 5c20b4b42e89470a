//! A network that loses, delays, reorders and doubles, by seed and in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::Flow;
use cordboard_model::Time;

/// How bad it is, in percent.
pub(crate) const LOST: u64 = 10;
pub(crate) const LATE: u64 = 30;
pub(crate) const DOUBLED: u64 = 3;

/// What happens when.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram reaches the switch.
    ToSwitch(Flow, Bytes),
    /// A datagram reaches a phone.
    ToPhone(SocketAddr, Bytes),
    /// A phone may have to send something again.
    Again(String, u32),
    /// A phone's user does something in a call.
    Act(String, Act),
    /// A new call begins.
    Call(u32),
}

/// What users do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Answer,
    Refuse,
    Hold,
    HangUp,
    Cancel,
    /// The phone is gone from the network, in the middle of whatever it did.
    Vanish,
}

/// The network and the clock's work.
pub(crate) struct Net {
    random: u64,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    serial: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            serial: 0,
            lost: 0,
            doubled: 0,
        }
    }

    /// A number below `below`.
    pub(crate) fn chance(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    pub(crate) fn at(&mut self, at: Time, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial)));
        self.events.insert(self.serial, event);
    }

    /// Sends a datagram, or loses it.
    pub(crate) fn carry(&mut self, now: Time, make: impl Fn() -> Event) {
        if self.chance(100) < LOST {
            self.lost += 1;
            return;
        }
        let copies = if self.chance(100) < DOUBLED { 2 } else { 1 };
        self.doubled += copies - 1;
        for _ in 0..copies {
            let late = self.chance(100) < LATE;
            let most = if late { 400 } else { 20 };
            let delay = Duration::from_millis(5 + self.chance(most));
            self.at(now + delay, make());
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// The next event that is due.
    pub(crate) fn due(&mut self, now: Time) -> Option<Event> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, serial)) = self.queue.pop()?;
        self.events.remove(&serial)
    }
}
