//! Where a leg's peer really is: symmetric RTP that a stranger cannot take over (RFC 7362 section 4).
//!
//! At first packets go where the peer's description says. The first valid packets show where the peer
//! really sends from, and its audio is sent back there. From then on another source counts only if it is
//! better known than the one in use, or carries the same stream on after that one fell silent, or if that
//! one has been silent for long.

use std::net::SocketAddr;
use std::time::Duration;

use cordboard_model::Time;

/// After this long without a packet any source may take over.
const ABANDONED: Duration = Duration::from_secs(2);
/// After this long without a packet the same stream may come from elsewhere (a NAT has moved it).
const PAUSED: Duration = Duration::from_millis(60);
/// How far ahead the sequence numbers of a stream that moves may be.
const FOLLOWS: u16 = 200;
/// Packets in a row that a source must send that the peer did not name.
const PROBATION: u8 = 3;

/// How well a source is known; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The peer named it, or it was the first that proved itself.
    Known,
    /// The host that the peer named, another port.
    SameHost,
    /// Anything else.
    Stranger,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    address: SocketAddr,
    rank: Rank,
    ssrc: u32,
    sequence: u16,
    seen: Time,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    count: u8,
}

/// The source that a leg takes packets from, and sends to.
#[derive(Debug)]
pub(crate) struct Latch {
    signalled: SocketAddr,
    home: Option<SocketAddr>,
    held: Option<Held>,
    candidate: Option<Candidate>,
    /// Where the transport has proven that the peer is: then nothing else decides.
    pinned: Option<SocketAddr>,
}

impl Latch {
    pub(crate) const fn new(signalled: SocketAddr) -> Self {
        Self {
            signalled,
            home: None,
            held: None,
            candidate: None,
            pinned: None,
        }
    }

    /// The transport has proven that the peer is here, and proves each packet.
    pub(crate) const fn pin(&mut self, address: SocketAddr) {
        self.pinned = Some(address);
    }

    /// Whether the transport proves where the peer is.
    pub(crate) const fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// The peer has named an address again; a new one starts the search anew.
    pub(crate) fn signal(&mut self, address: SocketAddr) {
        if address != self.signalled {
            *self = Self {
                pinned: self.pinned,
                held: self.held.filter(|held| held.address == address),
                ..Self::new(address)
            };
        }
    }

    /// Whether the peer is at the host that it named, as far as is known.
    pub(crate) fn is_where_named(&self) -> bool {
        self.destination().ip() == self.signalled.ip()
    }

    /// Where packets for the peer go.
    pub(crate) fn destination(&self) -> SocketAddr {
        let found = self.pinned.or(self.held.map(|held| held.address));
        found.unwrap_or(self.signalled)
    }

    /// Whether a packet that reads as RTP of the negotiated kind is the peer's.
    pub(crate) fn admit(&mut self, source: SocketAddr, ssrc: u32, sequence: u16, stamp: Time) -> bool {
        if self.is_pinned() {
            return true;
        }
        if let Some(held) = &mut self.held
            && held.address == source
        {
            (held.ssrc, held.sequence, held.seen) = (ssrc, sequence, stamp);
            return true;
        }
        let rank = self.rank(source);
        let Some(needed) = self.needed(rank, ssrc, sequence, stamp) else {
            return false;
        };
        let count = match self.candidate {
            Some(last)
                if last.address == source
                    && last.ssrc == ssrc
                    && (1..=3).contains(&sequence.wrapping_sub(last.sequence)) =>
            {
                last.count + 1
            }
            _ => 1,
        };
        if count < needed {
            self.candidate = Some(Candidate {
                address: source,
                ssrc,
                sequence,
                count,
            });
            return false;
        }
        self.candidate = None;
        self.home.get_or_insert(source);
        self.held = Some(Held {
            address: source,
            rank,
            ssrc,
            sequence,
            seen: stamp,
        });
        true
    }

    /// How many packets in a row make this source the peer's; `None` if none do now.
    fn needed(&self, rank: Rank, ssrc: u32, sequence: u16, stamp: Time) -> Option<u8> {
        let probation = if rank == Rank::Known { 1 } else { PROBATION };
        let Some(held) = self.held else {
            return Some(probation);
        };
        let silent = stamp.since(held.seen);
        let ahead = sequence.wrapping_sub(held.sequence);
        if ssrc == held.ssrc && (1..=FOLLOWS).contains(&ahead) && silent >= PAUSED {
            return Some(1);
        }
        (rank < held.rank || silent >= ABANDONED).then_some(probation)
    }

    fn rank(&self, source: SocketAddr) -> Rank {
        if source == self.signalled || self.home == Some(source) {
            Rank::Known
        } else if source.ip() == self.signalled.ip() {
            Rank::SameHost
        } else {
            Rank::Stranger
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALLED: &str = "10.0.0.5:4000";
    const NAT: &str = "203.0.113.9:61000";
    const ATTACKER: &str = "198.51.100.1:5555";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const fn ms(ms: u64) -> Time {
        Time(1_000_000_000 + ms * 1_000_000)
    }

    /// Sends `count` packets, 20 ms apart, and returns how many were admitted.
    fn feed(latch: &mut Latch, source: &str, ssrc: u32, first: u16, from_ms: u64, count: u16) -> u16 {
        (0..count)
            .filter(|i| {
                latch.admit(
                    at(source),
                    ssrc,
                    first.wrapping_add(*i),
                    ms(from_ms + u64::from(*i) * 20),
                )
            })
            .count() as u16
    }

    #[test]
    fn the_named_address_counts_from_its_first_packet() {
        let mut latch = Latch::new(at(SIGNALLED));
        assert_eq!(latch.destination(), at(SIGNALLED));
        assert_eq!(feed(&mut latch, SIGNALLED, 1, 65_534, 0, 5), 5);
    }

    #[test]
    fn a_phone_behind_nat_is_found_and_a_flood_does_not_move_it() {
        let mut latch = Latch::new(at(SIGNALLED));
        assert_eq!(feed(&mut latch, NAT, 1, 65_534, 0, 10), 8);
        assert_eq!(latch.destination(), at(NAT));
        for i in 0..50 {
            assert_eq!(
                feed(&mut latch, ATTACKER, 2, 100 + i, 200 + u64::from(i) * 20, 1),
                0
            );
            assert_eq!(feed(&mut latch, NAT, 1, 8 + i, 201 + u64::from(i) * 20, 1), 1);
        }
        assert_eq!(latch.destination(), at(NAT));
    }

    #[test]
    fn who_comes_before_the_named_address_loses_to_it() {
        let mut latch = Latch::new(at(SIGNALLED));
        assert_eq!(feed(&mut latch, ATTACKER, 2, 0, 0, 5), 3);
        assert_eq!(feed(&mut latch, SIGNALLED, 1, 0, 100, 2), 2);
        assert_eq!(latch.destination(), at(SIGNALLED));
        assert_eq!(feed(&mut latch, ATTACKER, 2, 5, 140, 5), 0);
    }

    #[test]
    fn a_single_stray_packet_moves_nothing() {
        let mut latch = Latch::new(at(SIGNALLED));
        assert_eq!(feed(&mut latch, ATTACKER, 2, 7, 0, 1), 0);
        assert_eq!(latch.destination(), at(SIGNALLED));
    }

    #[test]
    fn the_same_stream_from_elsewhere_is_followed_once_the_old_place_is_silent() {
        let mut latch = Latch::new(at(SIGNALLED));
        feed(&mut latch, SIGNALLED, 1, 0, 0, 10);
        assert_eq!(
            feed(&mut latch, NAT, 1, 10, 190, 1),
            0,
            "the old place sent 10 ms ago"
        );
        assert_eq!(feed(&mut latch, NAT, 1, 13, 260, 3), 3);
        assert_eq!(latch.destination(), at(NAT));
    }

    #[test]
    fn after_long_silence_another_source_may_take_over_but_the_first_comes_home() {
        let mut latch = Latch::new(at(SIGNALLED));
        feed(&mut latch, NAT, 1, 0, 0, 10);
        assert_eq!(feed(&mut latch, ATTACKER, 2, 0, 1_000, 5), 0);
        assert_eq!(feed(&mut latch, ATTACKER, 2, 0, 3_000, 5), 3);
        assert_eq!(feed(&mut latch, NAT, 1, 10, 3_100, 1), 1);
        assert_eq!(latch.destination(), at(NAT));
    }

    #[test]
    fn a_new_description_starts_anew_and_the_same_one_does_not() {
        let mut latch = Latch::new(at(SIGNALLED));
        feed(&mut latch, NAT, 1, 0, 0, 10);
        latch.signal(at(SIGNALLED));
        assert_eq!(latch.destination(), at(NAT));
        latch.signal(at("10.0.0.6:4000"));
        assert_eq!(latch.destination(), at("10.0.0.6:4000"));
    }
}
