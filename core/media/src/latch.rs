//! Where a leg's peer really is: symmetric RTP that a stranger cannot take over (RFC 7362 section 4).
//!
//! Packets go where the peer's description says until valid ones show where it really sends from; then its
//! audio is sent back there. Who is believed, best first: the address that the peer announced; the host that it
//! announced, and the host that its signalling comes from; and a stranger to both, but only in the case that a NAT
//! makes: the peer announced another host than the one it signals from, it is to send, nobody better known was
//! found, and it is the first half minute after a description. A source that is held is left for a better known one,
//! for the very same stream from elsewhere (the NAT has moved it), and when it is silent after new signalling.
//! Silence alone lets nobody in: phones that are muted or listen are silent. Where each packet is proven (SRTP) any
//! place may be the peer's.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cordboard_model::Time;

/// After this long without a packet a source that has not settled is given up.
const ABANDONED: Duration = Duration::from_secs(2);
/// For this long a report of the same stream says that its source is there: three intervals of RTCP.
const REPORTED: Duration = Duration::from_secs(15);
/// After this long without a packet the same stream may come from elsewhere (a NAT has moved it).
const PAUSED: Duration = Duration::from_millis(60);
/// How far ahead the sequence numbers of a stream that moves may be, besides those of the time that has passed.
const FOLLOWS: u128 = 200;
/// The shortest packets are this long (RFC 3551 has 10 ms for G.722, and 20 ms for most).
const SHORTEST: Duration = Duration::from_millis(10);
/// Sequence numbers less far ahead than this are ahead (RFC 3550 appendix A.1).
const HALF: u128 = 1 << 15;
/// How much its timestamps may be ahead of the time that has passed.
const AHEAD: Duration = Duration::from_secs(1);
/// For how long after a description strangers are listened to: a phone may first send when early media ends.
const SEARCH: Duration = Duration::from_secs(30);
/// Packets in order that a source must send that the peer did not name.
const PROBATION: u8 = 3;
/// The same for a stranger where the announced host could be reached by us: it must come and stay.
const LONG_PROBATION: u8 = 50;
/// Packets after which a source is there to stay.
const SETTLED: u8 = 50;
/// How many packets in between may be lost, or late, without its probation starting over.
const TOLERATED: i16 = 50;
/// A source on probation that pauses for this long gives way to another one.
const INTERRUPTED: Duration = Duration::from_millis(200);

/// How well a source is known; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The peer announced it.
    Announced,
    /// A host that the peer announced or signals from, another port.
    NamedHost,
    /// Anything else.
    Stranger,
}

/// What packets from a source that is not held may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The peer is not to send: no stranger moves anything. A phone that listens from behind a NAT keeps its way open
    /// by packets all the same (RFC 6263).
    Closed,
    /// They may be the peer's.
    Open,
    /// They are the peer's, by a key that nobody else has.
    Proven,
}

/// A packet that reads as RTP of the negotiated kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knock {
    pub(crate) source: SocketAddr,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    /// Units of its timestamps per second.
    pub(crate) clock: u32,
    /// When it came.
    pub(crate) stamp: Time,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    rank: Rank,
    /// Its last packet.
    last: Knock,
    /// How many came, up to [`SETTLED`].
    count: u8,
    /// When its last report came.
    reported: Option<Time>,
    /// Signalling has said since its last packet that the peer sends: then reports do not tell where its audio is to
    /// come from, as they may be of a stream that a NAT has given a new port.
    awaited: bool,
}

impl Held {
    /// A packet of it has come.
    fn note(&mut self, knock: &Knock) {
        (self.last, self.awaited) = (*knock, false);
        self.count = self.count.saturating_add(1).min(SETTLED);
    }

    /// Whether a packet from elsewhere continues the stream that is held.
    fn goes_on_as(&self, knock: &Knock) -> bool {
        let passed = knock.stamp.since(self.last.stamp);
        let numbers = u128::from(knock.sequence.wrapping_sub(self.last.sequence));
        let furthest = FOLLOWS + passed.as_millis() / SHORTEST.as_millis();
        let units = knock.timestamp.wrapping_sub(self.last.timestamp);
        let most = (passed + AHEAD).as_millis() * u128::from(knock.clock) / 1000;
        knock.ssrc == self.last.ssrc
            && (1..=furthest.min(HALF - 1)).contains(&numbers)
            && u128::from(units) <= most
            && passed >= PAUSED
    }

    /// Whether nothing tells any more that the peer is there.
    fn is_gone(&self, now: Time) -> bool {
        let reported = self.reported.is_some_and(|at| now.since(at) < REPORTED);
        now.since(self.last.stamp) >= ABANDONED && (self.awaited || !reported)
    }

    /// Whether it is there to stay.
    fn is_settled(&self) -> bool {
        !self.awaited && (self.rank == Rank::Announced || self.count == SETTLED)
    }
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    rank: Rank,
    last: Knock,
    count: u8,
}

/// The source that a leg takes packets from, and sends to.
#[derive(Debug)]
pub(crate) struct Latch {
    announced: SocketAddr,
    /// The host that the peer's signalling comes from, if that is known.
    signaller: Option<IpAddr>,
    /// When that was said last.
    since: Time,
    held: Option<Held>,
    candidate: Option<Candidate>,
    /// Where the transport has proven that the peer is: then nothing else decides.
    pinned: Option<SocketAddr>,
}

impl Latch {
    pub(crate) const fn new(announced: SocketAddr, signaller: Option<IpAddr>, now: Time) -> Self {
        Self {
            announced,
            signaller,
            since: now,
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

    /// The peer has been described again, as one that `sends` or not: the search is open again. The source that is
    /// held stays, unless the peer is elsewhere now, and may be followed by another one if it sends no more.
    pub(crate) fn signal(&mut self, address: SocketAddr, signaller: Option<IpAddr>, sends: bool, now: Time) {
        let same = address == self.announced;
        let held = self.held.filter(|held| same || held.last.source == address);
        *self = Self {
            pinned: self.pinned,
            ..Self::new(address, signaller, now)
        };
        self.held = held.map(|held| Held {
            rank: self.rank(held.last.source),
            count: 0,
            awaited: sends,
            ..held
        });
    }

    /// Whether the peer is at the host that it named, as far as is known.
    pub(crate) fn is_where_named(&self) -> bool {
        self.destination().ip() == self.announced.ip()
    }

    /// Where packets for the peer go.
    pub(crate) fn destination(&self) -> SocketAddr {
        let found = self.pinned.or(self.held.map(|held| held.last.source));
        found.unwrap_or(self.announced)
    }

    /// Whether a packet is the peer's.
    pub(crate) fn admit(&mut self, knock: &Knock, door: Door) -> bool {
        if self.is_pinned() {
            return true;
        }
        if let Some(held) = &mut self.held
            && held.last.source == knock.source
        {
            held.note(knock);
            return true;
        }
        let rank = self.rank(knock.source);
        if door == Door::Closed && rank == Rank::Stranger {
            return false;
        }
        // The same stream from elsewhere is as well known as it was.
        if let Some(held) = &mut self.held
            && held.goes_on_as(knock)
        {
            held.note(knock);
            self.candidate = None;
            return true;
        }
        let Some(needed) = self.needed(rank, knock.stamp, door) else {
            return false;
        };
        let count = self.on_probation(rank, knock);
        if count.is_none_or(|count| count < needed) {
            return false;
        }
        self.candidate = None;
        self.held = Some(Held {
            rank,
            last: *knock,
            count: 1,
            reported: None,
            awaited: false,
        });
        true
    }

    /// A report about the stream of this SSRC came from the host that is held: its sender is there, if silent.
    pub(crate) fn reported(&mut self, source: IpAddr, ssrc: u32, stamp: Time) {
        if let Some(held) = &mut self.held
            && (held.last.source.ip(), held.last.ssrc) == (source, ssrc)
        {
            held.reported = Some(stamp);
        }
    }

    /// How many packets make this source the peer's; `None` if none do now.
    fn needed(&self, rank: Rank, now: Time, door: Door) -> Option<u8> {
        if let Some(held) = &self.held
            && rank >= held.rank
        {
            let follows = match rank {
                Rank::Announced => true,
                _ if door == Door::Proven => true,
                Rank::NamedHost => !held.is_settled(),
                // Only another stranger, and not before what is held had time to send again.
                Rank::Stranger => {
                    held.rank == rank && !held.is_settled() && now.since(self.since) >= ABANDONED
                }
            };
            if !follows || !held.is_gone(now) {
                return None;
            }
        }
        match rank {
            Rank::Announced => Some(1),
            Rank::NamedHost => Some(PROBATION),
            Rank::Stranger if door == Door::Proven => Some(PROBATION),
            Rank::Stranger => self.needed_of_strangers(now),
        }
    }

    /// Strangers are for peers behind a NAT that do not signal from where their media comes from.
    fn needed_of_strangers(&self, now: Time) -> Option<u8> {
        let host = self.announced.ip();
        if self.signaller == Some(host) || now.since(self.since) >= SEARCH {
            return None;
        }
        Some(if is_private(host) {
            PROBATION
        } else {
            LONG_PROBATION
        })
    }

    /// Counts a packet of a source that is not believed yet; `None` if it does not count.
    fn on_probation(&mut self, rank: Rank, knock: &Knock) -> Option<u8> {
        let mut count = 1;
        if let Some(candidate) = &self.candidate {
            let last = &candidate.last;
            let steps = knock.sequence.wrapping_sub(last.sequence).cast_signed();
            let recent = knock.stamp.since(last.stamp) < INTERRUPTED;
            if (last.source, last.ssrc) == (knock.source, knock.ssrc) {
                if (1..=TOLERATED).contains(&steps) {
                    count = candidate.count.saturating_add(1);
                } else if (-TOLERATED..=0).contains(&steps) {
                    // Late, or sent twice by the network.
                    return None;
                }
            } else if recent && rank >= candidate.rank {
                // Who comes between others does not undo what they have shown.
                return None;
            }
        }
        self.candidate = Some(Candidate {
            rank,
            last: *knock,
            count,
        });
        Some(count)
    }

    fn rank(&self, source: SocketAddr) -> Rank {
        if source == self.announced {
            Rank::Announced
        } else if source.ip() == self.announced.ip() || Some(source.ip()) == self.signaller {
            Rank::NamedHost
        } else {
            Rank::Stranger
        }
    }
}

/// Whether an address means something only inside a network that we need not be in (RFC 1918, 4193, 6598).
fn is_private(host: IpAddr) -> bool {
    match host {
        IpAddr::V4(host) => {
            let [first, second, ..] = host.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            host.is_private() || shared || host.is_loopback() || host.is_link_local() || host.is_unspecified()
        }
        IpAddr::V6(host) => {
            host.is_unique_local()
                || host.is_loopback()
                || host.is_unicast_link_local()
                || host.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests;
