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
mod tests {
    use super::*;

    const SIGNALLED: &str = "10.0.0.5:4000";
    const NAT: &str = "203.0.113.9:61000";
    const ATTACKER: &str = "198.51.100.1:5555";
    const PUBLIC: &str = "192.0.2.7:4000";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const fn ms(ms: u64) -> Time {
        Time(1_000_000_000 + ms * 1_000_000)
    }

    /// A phone that announces an address; its signalling comes from a host.
    fn latch(announced: &str, signaller: &str) -> Latch {
        Latch::new(at(announced), Some(signaller.parse().unwrap()), ms(0))
    }

    fn unknown() -> Latch {
        Latch::new(at(SIGNALLED), None, ms(0))
    }

    fn signal(latch: &mut Latch, announced: &str, signaller: &str, sends: bool, at_ms: u64) {
        latch.signal(at(announced), Some(signaller.parse().unwrap()), sends, ms(at_ms));
    }

    /// Sends `count` packets, 20 ms apart, and returns how many were admitted.
    fn feed_by(
        latch: &mut Latch,
        door: Door,
        (source, ssrc): (&str, u32),
        first: u16,
        from_ms: u64,
        count: u16,
    ) -> u16 {
        let packets = (0..count).map(|i| Knock {
            source: at(source),
            ssrc,
            sequence: first.wrapping_add(i),
            timestamp: u32::from(first.wrapping_add(i)) * 160,
            clock: 8000,
            stamp: ms(from_ms + u64::from(i) * 20),
        });
        packets.filter(|packet| latch.admit(packet, door)).count() as u16
    }

    fn feed(latch: &mut Latch, source: &str, ssrc: u32, first: u16, from_ms: u64, count: u16) -> u16 {
        feed_by(latch, Door::Open, (source, ssrc), first, from_ms, count)
    }

    #[test]
    fn the_named_address_counts_from_its_first_packet() {
        let mut latch = unknown();
        assert_eq!(latch.destination(), at(SIGNALLED));
        assert_eq!(feed(&mut latch, SIGNALLED, 1, 65_534, 0, 5), 5);
    }

    #[test]
    fn a_phone_behind_nat_is_found_and_a_flood_does_not_move_it() {
        let mut latch = unknown();
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
        let mut latch = unknown();
        assert_eq!(feed(&mut latch, ATTACKER, 2, 0, 0, 5), 3);
        assert_eq!(feed(&mut latch, SIGNALLED, 1, 0, 100, 2), 2);
        assert_eq!(latch.destination(), at(SIGNALLED));
        assert_eq!(feed(&mut latch, ATTACKER, 2, 5, 140, 5), 0);
    }

    #[test]
    fn a_single_stray_packet_moves_nothing() {
        let mut latch = unknown();
        assert_eq!(feed(&mut latch, ATTACKER, 2, 7, 0, 1), 0);
        assert_eq!(latch.destination(), at(SIGNALLED));
    }

    #[test]
    fn the_same_stream_from_elsewhere_is_followed_once_the_old_place_is_silent() {
        let mut latch = latch(PUBLIC, "192.0.2.7");
        feed(&mut latch, PUBLIC, 1, 0, 0, 10);
        assert_eq!(
            feed(&mut latch, NAT, 1, 10, 190, 1),
            0,
            "the old place sent 10 ms ago"
        );
        assert_eq!(feed(&mut latch, NAT, 1, 13, 260, 3), 3);
        assert_eq!(latch.destination(), at(NAT));
        // It may be as long as a pause in which nothing is sent.
        assert_eq!(feed(&mut latch, "203.0.113.9:7000", 1, 16, 60_000, 1), 1);
    }

    #[test]
    fn a_stream_whose_numbers_do_not_go_on_is_another_one() {
        for (ssrc, sequence, timestamp) in [(2, 10, 1600), (1, 600, 1600), (1, 8, 1600), (1, 10, 90_000)] {
            let mut latch = latch(PUBLIC, "192.0.2.7");
            feed(&mut latch, PUBLIC, 1, 0, 0, 10);
            let knock = Knock {
                source: at(NAT),
                ssrc,
                sequence,
                timestamp,
                clock: 8000,
                stamp: ms(3000),
            };
            assert!(!latch.admit(&knock, Door::Open), "{ssrc} {sequence} {timestamp}");
        }
    }

    /// Nobody takes what a silent phone is to hear: who announces what, signals from where, sends itself so many
    /// packets; who then comes when, and sends 200 packets.
    #[test]
    fn attacks_that_fail() {
        let cases = [
            (PUBLIC, "192.0.2.7", 25, ATTACKER, 2600),
            (PUBLIC, "192.0.2.7", 25, ATTACKER, 60_000),
            (PUBLIC, "192.0.2.7", 0, ATTACKER, 0),
            (PUBLIC, "192.0.2.7", 1, "192.0.2.7:9999", 60_000),
            // Behind a NAT, or called by way of a proxy.
            (SIGNALLED, "203.0.113.9", 100, ATTACKER, 5000),
            (SIGNALLED, "203.0.113.9", 100, "203.0.113.9:5", 5000),
            (SIGNALLED, "203.0.113.9", 0, ATTACKER, 30_000),
            (PUBLIC, "203.0.113.1", 1, ATTACKER, 2600),
        ];
        for case @ (announced, signaller, sent, attacker, when) in cases {
            let mut latch = latch(announced, signaller);
            let real = if announced == SIGNALLED { NAT } else { announced };
            feed(&mut latch, real, 1, 0, 0, sent);
            let held = latch.destination();
            let start = u64::from(sent) * 20 + when;
            assert_eq!(feed(&mut latch, attacker, 2, 0, start, 200), 0, "{case:?}");
            assert_eq!(latch.destination(), held, "{case:?}");
        }
    }

    #[test]
    fn who_is_not_to_send_is_looked_for_where_it_signals_from_alone() {
        let mut latch = latch(SIGNALLED, "203.0.113.9");
        let stranger = feed_by(&mut latch, Door::Closed, (ATTACKER, 1), 0, 100, 200);
        assert_eq!((stranger, latch.destination()), (0, at(SIGNALLED)));
        assert_eq!(feed_by(&mut latch, Door::Closed, (NAT, 1), 0, 9000, 4), 2);
        assert_eq!(latch.destination(), at(NAT));
        assert_eq!(
            feed_by(&mut latch, Door::Closed, (ATTACKER, 2), 0, 15_000, 200),
            0
        );
        assert_eq!(
            feed_by(&mut latch, Door::Closed, (NAT, 1), 4, 9080, 4),
            4,
            "a place that is known stays so"
        );
    }

    /// Where the media really comes from, and which of its packets is the first that is believed.
    #[test]
    fn honest_phones_are_found() {
        let cases = [
            (PUBLIC, "192.0.2.7", PUBLIC, 1),
            (PUBLIC, "192.0.2.7", "192.0.2.7:9999", 3),
            (SIGNALLED, "203.0.113.9", NAT, 3),
            // The NAT has several addresses.
            (SIGNALLED, "203.0.113.9", "203.0.113.10:61000", 3),
            // A proxy, and a phone that knows its public address or does not.
            (PUBLIC, "203.0.113.1", PUBLIC, 1),
            (PUBLIC, "203.0.113.1", NAT, 50),
        ];
        for (announced, signaller, real, first) in cases {
            let mut latch = latch(announced, signaller);
            assert_eq!(
                feed(&mut latch, real, 1, 0, 8000, 100),
                101 - first,
                "{announced} {signaller} {real}"
            );
            assert_eq!(latch.destination(), at(real));
        }
    }

    #[test]
    fn a_better_known_source_ends_what_a_stranger_has_got() {
        let mut latch = latch(SIGNALLED, "203.0.113.9");
        assert_eq!(feed(&mut latch, ATTACKER, 2, 0, 0, 200), 198);
        // Its flood does not keep the phone from being counted.
        for i in 0..3 {
            feed(&mut latch, ATTACKER, 2, 200 + i, 4000 + u64::from(i) * 20, 1);
            feed(&mut latch, NAT, 1, i, 4001 + u64::from(i) * 20, 1);
        }
        assert_eq!(latch.destination(), at(NAT));
    }

    #[test]
    fn who_came_first_and_did_not_stay_gives_way() {
        let mut latch = latch(SIGNALLED, "203.0.113.9");
        assert_eq!(feed(&mut latch, "203.0.113.9:5", 2, 0, 0, 4), 2);
        assert_eq!(feed(&mut latch, NAT, 1, 0, 100, 10), 0);
        assert_eq!(feed(&mut latch, NAT, 1, 10, 2100, 10), 8);
        assert_eq!(latch.destination(), at(NAT));
    }

    #[test]
    fn reports_say_that_a_silent_phone_is_there() {
        let mut latch = latch(SIGNALLED, "203.0.113.9");
        feed(&mut latch, NAT, 1, 0, 0, 10);
        latch.reported(at(NAT).ip(), 1, ms(5000));
        assert_eq!(feed(&mut latch, "203.0.113.9:5", 2, 0, 10_000, 10), 0);
        latch.reported(at(NAT).ip(), 2, ms(15_000));
        latch.reported(at(ATTACKER).ip(), 1, ms(15_000));
        assert_eq!(feed(&mut latch, "203.0.113.9:5", 2, 0, 20_000, 10), 8);
    }

    #[test]
    fn new_signalling_lets_a_known_host_follow_one_that_is_silent() {
        let mut latch = latch(SIGNALLED, "203.0.113.9");
        feed(&mut latch, NAT, 1, 0, 0, 100);
        signal(&mut latch, SIGNALLED, "203.0.113.9", true, 60_000);
        assert_eq!(feed(&mut latch, ATTACKER, 2, 0, 60_000, 100), 0);
        assert_eq!(feed(&mut latch, "203.0.113.9:5", 3, 0, 63_000, 10), 8);
        // The phone is in another network, where it has the same address.
        feed(&mut latch, "203.0.113.9:5", 3, 10, 63_200, 100);
        signal(&mut latch, SIGNALLED, "198.51.100.20", true, 70_000);
        assert_eq!(feed(&mut latch, "198.51.100.21:5", 3, 40_000, 72_000, 10), 8);
    }

    /// Early media rings for long, or the phone listens first: the search begins when it may send.
    #[test]
    fn who_may_send_only_later_is_found_then() {
        for (announced, signaller, first) in [
            (SIGNALLED, "198.51.100.7", 3),
            (SIGNALLED, "203.0.113.8", 3),
            (PUBLIC, "198.51.100.7", 50),
        ] {
            let mut latch = latch(announced, signaller);
            signal(&mut latch, announced, signaller, true, 40_000);
            assert_eq!(
                feed(&mut latch, NAT, 1, 0, 40_500, 100),
                101 - first,
                "{signaller}"
            );
        }
    }

    /// A call is held, and goes on from another port: who announced what, signals from where, sent from where before
    /// and sends from where later; and how soon it is heard, in packets from the resumption.
    #[test]
    fn who_resumes_by_a_new_port_is_heard() {
        let elsewhere = "203.0.113.9:62000";
        let cases = [
            (SIGNALLED, "203.0.113.9", NAT, elsewhere, 3),
            (SIGNALLED, "198.51.100.7", NAT, elsewhere, 103),
            (PUBLIC, "198.51.100.7", NAT, elsewhere, 150),
            (PUBLIC, "192.0.2.7", PUBLIC, "192.0.2.7:9999", 3),
            (PUBLIC, "198.51.100.7", PUBLIC, "192.0.2.7:9999", 3),
        ];
        // With the stream of before, whose numbers start over, and with another one.
        for (case, ssrc) in cases.iter().flat_map(|case| [(case, 1), (case, 2)]) {
            let (announced, signaller, before, later, first) = *case;
            let mut latch = latch(announced, signaller);
            assert!(feed(&mut latch, before, 1, 5000, 0, 100) > 50);
            signal(&mut latch, announced, signaller, false, 2000);
            latch.reported(at(before).ip(), 1, ms(59_000));
            assert_eq!(feed_by(&mut latch, Door::Closed, (later, 2), 0, 59_000, 10), 0);
            signal(&mut latch, announced, signaller, true, 60_000);
            latch.reported(at(later).ip(), ssrc, ms(60_000));
            assert_eq!(
                feed(&mut latch, later, ssrc, 0, 60_000, 200),
                201 - first,
                "{case:?}"
            );
        }
    }

    /// Who is back where it was keeps its place, whoever was quicker; and no stranger follows a better known one.
    #[test]
    fn resumption_does_not_help_strangers() {
        for (signaller, silent, packets) in [("198.51.100.7", 1500, 75), ("203.0.113.9", 30_000, 1000)] {
            let mut latch = latch(SIGNALLED, signaller);
            feed(&mut latch, NAT, 1, 0, 0, 100);
            signal(&mut latch, SIGNALLED, signaller, false, 2000);
            signal(&mut latch, SIGNALLED, signaller, true, 60_000);
            assert_eq!(
                feed(&mut latch, ATTACKER, 2, 0, 60_000, packets),
                0,
                "{signaller}"
            );
            assert_eq!(feed(&mut latch, NAT, 1, 0, 60_000 + silent, 100), 100);
            assert_eq!(
                feed(&mut latch, ATTACKER, 2, 3000, 120_000, 200),
                0,
                "{signaller}"
            );
        }
    }

    #[test]
    fn a_stream_that_a_long_outage_has_moved_is_followed() {
        for (outage_ms, step_ms) in [(1000, 20), (10_000, 20), (20_000, 10), (400_000, 20)] {
            let mut latch = latch(PUBLIC, "192.0.2.7");
            feed(&mut latch, PUBLIC, 1, 0, 0, 10);
            let numbers = outage_ms / step_ms;
            let knock = Knock {
                source: at(NAT),
                ssrc: 1,
                sequence: 9 + numbers as u16,
                timestamp: 9 * 160 + outage_ms as u32 * 8,
                clock: 8000,
                stamp: ms(180 + outage_ms),
            };
            assert!(latch.admit(&knock, Door::Open), "{outage_ms}");
        }
    }

    /// Of packets that are lost, late or doubled on their way enough are in order.
    #[test]
    fn probation_bears_what_networks_do() {
        let swapped = |i: u16| match i % 10 {
            4 => i + 1,
            5 => i - 1,
            _ => i,
        };
        let ways: [fn(u16) -> u16; 4] = [swapped, |i| i / 2, |i| i + i / 5 * 20, |i| i + i / 30 * 1000];
        let found = ways.map(|way| {
            let mut latch = latch(PUBLIC, "203.0.113.1");
            (0..200)
                .filter(|i| feed(&mut latch, NAT, 1, way(*i), u64::from(*i) * 20, 1) == 1)
                .count()
        });
        assert_eq!(
            found,
            [146, 102, 151, 0],
            "but not a stream that starts over each time"
        );
    }

    #[test]
    fn who_proves_each_packet_may_come_from_anywhere_at_any_time() {
        let mut latch = latch(PUBLIC, "192.0.2.7");
        feed_by(&mut latch, Door::Proven, (PUBLIC, 1), 0, 0, 100);
        assert_eq!(feed_by(&mut latch, Door::Proven, (NAT, 2), 0, 60_000, 10), 8);
        assert_eq!(latch.destination(), at(NAT));
    }

    #[test]
    fn a_new_description_starts_anew_and_the_same_one_does_not() {
        let mut latch = unknown();
        feed(&mut latch, NAT, 1, 0, 0, 10);
        latch.signal(at(SIGNALLED), None, true, ms(1000));
        assert_eq!(latch.destination(), at(NAT));
        latch.signal(at("10.0.0.6:4000"), None, true, ms(2000));
        assert_eq!(latch.destination(), at("10.0.0.6:4000"));
    }
}
