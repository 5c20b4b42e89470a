//! Who is believed, as stories of packets.

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
