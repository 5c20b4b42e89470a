//! Places for connections: how many may be open at once, how many of one source, and who gives way when all are
//! taken.
//!
//! A stranger may hold a place for nothing. So a connection over which nobody has proved himself gives way to
//! a new one when there is no place left, the eldest first: a phone needs a moment to prove itself, and keeps
//! its place from then on.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cordboard_engine::limits::source;
use tokio::sync::Notify;

/// Seats of connections that have ended may stand in the queue up to this number, and the number of places.
const SLACK: usize = 1024;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Altogether.
    pub(crate) most: usize,
    /// Of one source: an IPv4 address or an IPv6 /64.
    pub(crate) of_source: usize,
}

/// Why there is no place for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// As many connections as may be, and each of a phone that is known.
    #[error("as many connections are open as `[sip.limits] connections` allows")]
    Full,
    /// As many of this source as may be.
    #[error("as many connections of this address are open as `[sip.limits] source_connections` allows")]
    OfSource,
}

impl NoPlace {
    /// The word by which it is counted.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Full => "connections_full",
            Self::OfSource => "source_connections_full",
        }
    }
}

/// What a connection's task and the control thread know together about it.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    known: AtomicBool,
    /// Its place has been given to another.
    given_away: AtomicBool,
    leave: Notify,
}

impl Seat {
    /// Somebody has proved himself over this connection: it keeps its place.
    pub(crate) fn prove(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Waits until the connection has to give way.
    pub(crate) async fn given_away(&self) {
        self.leave.notified().await;
    }
}

/// The places.
#[derive(Debug)]
pub(crate) struct Places {
    table: Mutex<Table>,
    /// The last connection has ended.
    empty: Notify,
}

#[derive(Debug)]
struct Table {
    bounds: Bounds,
    open: usize,
    sources: HashMap<IpAddr, usize>,
    /// Those that may have to give way, the eldest first; also some that are gone or known by now.
    strangers: VecDeque<Weak<Seat>>,
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    source: IpAddr,
    pub(crate) seat: Arc<Seat>,
}

impl Places {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            table: Mutex::new(Table {
                bounds,
                open: 0,
                sources: HashMap::new(),
                strangers: VecDeque::new(),
            }),
            empty: Notify::new(),
        }
    }

    /// Waits until no place is taken.
    pub(crate) async fn empty(&self) {
        while !self.table().sources.is_empty() {
            self.empty.notified().await;
        }
    }

    /// Other bounds hold from now on; connections that are open stay.
    pub(crate) fn limit(&self, bounds: Bounds) {
        self.table().bounds = bounds;
    }

    /// A place for a connection that came from an address.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let source = source(address);
        let mut table = self.table();
        let of_source = table.sources.get(&source).copied().unwrap_or_default();
        if of_source >= table.bounds.of_source {
            return Err(NoPlace::OfSource);
        }
        if table.open >= table.bounds.most && !table.evict() {
            return Err(NoPlace::Full);
        }
        let seat = Arc::new(Seat::default());
        table.open += 1;
        table.sources.insert(source, of_source + 1);
        table.queue(&seat);
        drop(table);
        Ok(Place {
            places: Arc::clone(self),
            source,
            seat,
        })
    }

    /// Nothing panics while it is held, so a poisoned lock holds a sound table.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes the place of the eldest stranger; false if there is none.
    fn evict(&mut self) -> bool {
        while let Some(eldest) = self.strangers.pop_front() {
            if let Some(seat) = eldest.upgrade().filter(|seat| !seat.is_known()) {
                seat.given_away.store(true, Ordering::Relaxed);
                seat.leave.notify_one();
                self.open -= 1;
                return true;
            }
        }
        false
    }

    fn queue(&mut self, seat: &Arc<Seat>) {
        if self.strangers.len() >= 2 * self.bounds.most + SLACK {
            self.strangers
                .retain(|seat| seat.upgrade().is_some_and(|seat| !seat.is_known()));
        }
        self.strangers.push_back(Arc::downgrade(seat));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.table();
        // Otherwise it counts for the one that it was given to.
        if !self.seat.given_away.load(Ordering::Relaxed) {
            table.open -= 1;
        }
        if let Some(count) = table.sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                table.sources.remove(&self.source);
            }
        }
        if table.sources.is_empty() {
            self.places.empty.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn places(most: usize, of_source: usize) -> Arc<Places> {
        Arc::new(Places::new(Bounds { most, of_source }))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn gave_way(place: &Place) -> bool {
        place.seat.given_away.load(Ordering::Relaxed)
    }

    #[test]
    fn one_source_does_not_take_all_places() {
        let places = places(10, 2);
        let first = places.take(address(1)).unwrap();
        let _second = places.take(address(1)).unwrap();
        assert_eq!(places.take(address(1)).unwrap_err(), NoPlace::OfSource);
        assert!(places.take(address(2)).is_ok());
        drop(first);
        assert!(places.take(address(1)).is_ok());
        let network = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        let _held = [places.take(network(1)).unwrap(), places.take(network(2)).unwrap()];
        assert_eq!(places.take(network(3)).unwrap_err(), NoPlace::OfSource);
    }

    #[test]
    fn the_eldest_stranger_gives_way_and_a_known_phone_stays() {
        let places = places(3, 3);
        let held = [1, 2, 3].map(|last| places.take(address(last)).unwrap());
        held[0].seat.prove();
        let newer = places.take(address(4)).unwrap();
        assert_eq!(held.each_ref().map(gave_way), [false, true, false]);
        newer.seat.prove();
        held[2].seat.prove();
        // The one that gave way has not gone yet, and counts no more.
        assert_eq!(places.take(address(5)).unwrap_err(), NoPlace::Full);
        drop(held);
        let open = places.table().open;
        assert_eq!((open, places.table().sources.len()), (1, 1));
        drop(newer);
        assert_eq!(places.table().open, 0);
    }

    #[tokio::test]
    async fn whoever_gives_way_hears_of_it() {
        let places = places(1, 1);
        let held = places.take(address(1)).unwrap();
        let _other = places.take(address(2)).unwrap();
        held.seat.given_away().await;
    }

    #[test]
    fn those_that_are_gone_are_not_remembered_for_ever() {
        let places = places(10, 10);
        for _ in 0..10_000 {
            drop(places.take(address(1)).unwrap());
        }
        assert!(places.table().strangers.len() <= 2 * 10 + SLACK);
    }

    #[test]
    fn fewer_places_than_before_hold_for_new_connections() {
        let places = places(3, 3);
        let held = [1, 2, 3].map(|last| places.take(address(last)).unwrap());
        held.iter().for_each(|place| place.seat.prove());
        places.limit(Bounds {
            most: 1,
            of_source: 1,
        });
        assert_eq!(places.take(address(4)).unwrap_err(), NoPlace::Full);
        drop(held);
        assert!(places.take(address(4)).is_ok());
    }
}
