//! The peer beyond its audio: where it is, whether it talks, the keys it presses, its reports.

use std::net::SocketAddr;

use cordboard_media::DropReason;
use cordboard_model::LegId;
use cordboard_model::media::{AudioSetup, Codec, Control, Direction, MediaCommand, MediaEvent};

use crate::lossy::noise;
use crate::world::coder::rate;
use crate::world::tone::{goertzel, snr};
use crate::world::{PATIENCE, World, address, setup};

const A: f64 = 440.0;
const B: f64 = 1000.0;

fn two() -> World {
    let mut world = World::new();
    world.join(1, Codec::Pcmu, A, 0.3);
    world.join(2, Codec::Pcmu, B, 0.3);
    world
}

fn attacker() -> SocketAddr {
    "198.51.100.66:6666".parse().unwrap()
}

#[test]
fn a_stranger_can_neither_speak_nor_listen() {
    let mut world = two();
    world.run(1000);
    let mut thief = World::new();
    thief.join(1, Codec::Pcmu, 2000.0, 0.9).ssrc = 7919;
    for _ in 0..100 {
        let packet = thief.phone(1).packet();
        world.inject(1, attacker(), &packet);
        world.run(20);
    }
    let bob = world.phone(2).last(1000);
    assert!(goertzel(bob, 2000.0) < 0.001 && snr(bob, A) > 33.0);
    assert_eq!(
        world.phone(1).destinations.iter().copied().collect::<Vec<_>>(),
        [address(1)]
    );
    assert_eq!(world.shard.counts().dropped_for(DropReason::ForeignSource), 100);
}

#[test]
fn a_phone_behind_nat_is_heard_and_answered_where_it_really_is() {
    let mut world = two();
    let real: SocketAddr = "203.0.113.7:51000".parse().unwrap();
    world.phone(1).address = real;
    world.run(1000);
    assert!(snr(world.phone(2).last(500), A) > 33.0);
    assert_eq!(
        world.phone(1).destinations.iter().copied().collect::<Vec<_>>(),
        [address(1), real]
    );
    assert_eq!(
        world.shard.counts().dropped_for(DropReason::ForeignSource),
        2,
        "until it proved itself"
    );
}

/// A stranger sends packets like a phone's to leg 1; says how many it got of what leg 1 is to hear.
fn attack(world: &mut World) -> usize {
    let mut thief = World::new();
    thief.join(1, Codec::Pcmu, 2000.0, 0.9).ssrc = 99;
    world.phone(1).destinations.clear();
    for _ in 0..100 {
        let packet = thief.phone(1).packet();
        world.inject(1, attacker(), &packet);
        world.run(20);
    }
    let destinations = world.phone(1).destinations.iter();
    destinations.filter(|to| **to == attacker()).count()
}

#[test]
fn a_silent_phone_keeps_what_it_hears() {
    for (reports, pause) in [(true, 2600), (false, 2600), (false, 20_000)] {
        let mut world = two();
        world.run(500);
        world.phone(1).stop();
        for _ in 0..pause / 100 {
            if reports {
                let mut report = vec![0x80, 201, 0, 1];
                report.extend_from_slice(&7919u32.to_be_bytes());
                world.report(1, report);
            }
            world.run(100);
        }
        let before = world.phone(1).arrivals.len();
        assert_eq!(attack(&mut world), 0, "{reports} {pause}");
        assert!(world.phone(1).arrivals.len() > before + 95);
        assert!(goertzel(world.phone(2).last(1000), 2000.0) < 0.001);
    }
}

#[test]
fn nobody_takes_over_who_only_listens() {
    let mut world = two();
    let listens = AudioSetup {
        direction: Direction {
            send: true,
            receive: false,
        },
        ..setup(1, Codec::Pcmu)
    };
    world.phone(1).stop();
    world.command(MediaCommand::Modify {
        leg: LegId(1),
        audio: listens,
    });
    assert_eq!(attack(&mut world), 0);
    assert_eq!(
        world.phone(1).destinations.iter().copied().collect::<Vec<_>>(),
        [address(1)]
    );
}

/// Its NAT gives it another port while it is held; its reports go on.
#[test]
fn who_resumes_by_another_port_is_heard_at_once() {
    let mut world = two();
    world.run(2000);
    world.phone(1).stop();
    for receive in [false, true] {
        let mut report = vec![0x80, 201, 0, 1];
        report.extend_from_slice(&world.phone(1).ssrc.to_be_bytes());
        world.report(1, report);
        let direction = Direction { send: true, receive };
        let audio = AudioSetup {
            direction,
            ..setup(1, Codec::Pcmu)
        };
        world.command(MediaCommand::Modify { leg: LegId(1), audio });
        world.run(3000);
    }
    let elsewhere = SocketAddr::new(address(1).ip(), 51_000);
    let now = world.elapsed();
    world.phone(1).address = elsewhere;
    world.phone(1).ssrc += 1;
    world.phone(1).resume(now, 20_000_000, 48_000);
    world.run(1000);
    assert!(world.phone(1).destinations.contains(&elsewhere));
    assert!(snr(world.phone(2).last(500), A) > 33.0);
}

#[test]
fn who_signals_from_where_it_listens_is_sought_nowhere_else() {
    let mut world = World::new();
    let audio = AudioSetup {
        signaller: Some(address(1).ip()),
        ..setup(1, Codec::Pcmu)
    };
    world.join_as(1, audio, Box::new(|_| 0)).stop();
    world.join(2, Codec::Pcmu, B, 0.3);
    assert_eq!(attack(&mut world), 0);
}

#[test]
fn a_new_description_moves_the_stream() {
    let mut world = two();
    world.run(1000);
    let elsewhere: SocketAddr = "10.9.9.9:7000".parse().unwrap();
    world.command(MediaCommand::Modify {
        leg: LegId(2),
        audio: AudioSetup {
            remote: elsewhere,
            ..setup(2, Codec::Pcmu)
        },
    });
    world.phone(2).stop();
    world.phone(2).destinations.clear();
    world.run(200);
    assert_eq!(
        world.phone(2).destinations.iter().copied().collect::<Vec<_>>(),
        [elsewhere]
    );
    let hold = AudioSetup {
        remote: "0.0.0.0:9".parse().unwrap(),
        ..setup(2, Codec::Pcmu)
    };
    world.command(MediaCommand::Modify {
        leg: LegId(2),
        audio: hold,
    });
    let before = world.phone(2).arrivals.len();
    world.run(200);
    assert_eq!(
        world.phone(2).arrivals.len(),
        before,
        "nothing goes to no address"
    );
}

#[test]
fn talk_is_noticed_soon_and_ends_after_a_hangover() {
    let mut world = World::new();
    // Speech from 1 s to 3 s with a pause of 300 ms in it.
    let mut tone = crate::world::tone::sine(300.0, 0.2);
    world.join_as(
        1,
        setup(1, Codec::Pcmu),
        Box::new(move |at| {
            if (8000..15_000).contains(&at) || (17_400..24_000).contains(&at) {
                tone(at)
            } else {
                0
            }
        }),
    );
    world.join(2, Codec::Pcmu, B, 0.0);
    world.run(5000);
    let changes = world.talk(1);
    assert_eq!(
        changes.iter().map(|(_, on)| *on).collect::<Vec<_>>(),
        [true, false]
    );
    assert!((1000..1200).contains(&changes[0].0), "{changes:?}");
    assert!((3500..3700).contains(&changes[1].0), "{changes:?}");
    assert!(world.talk(2).is_empty());
}

/// A cheap telephone adapter: its zero is not zero, it hums, and its noise is low.
#[test]
fn offset_hum_and_noise_are_not_taken_for_talk() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        let mut world = World::new();
        let mut noise = noise(7);
        let mut hum = crate::world::tone::sine_at(rate(codec), 60.0, 600.0 / 32_768.0);
        let mut voice = crate::world::tone::sine_at(rate(codec), 300.0, 0.05);
        let begins = rate(codec) * 3;
        let speech = move |at| {
            let said = if at < begins { 0 } else { voice(at) };
            1000 + hum(at) + ((noise() - 0.5) * 200.0) as i16 + said
        };
        world.join_as(1, setup(1, codec), Box::new(speech));
        world.join(2, Codec::Pcmu, B, 0.0);
        world.run(3000);
        assert!(world.talk(1).is_empty(), "{codec:?}: {:?}", world.talk(1));
        world.run(1000);
        assert_eq!(world.talk(1).len(), 1, "{codec:?}: a voice above it is heard");
    }
}

#[test]
fn who_is_muted_while_talking_no_longer_talks() {
    let mut world = two();
    world.run(1000);
    world.gate(1, true, false);
    world.run(1000);
    assert_eq!(
        world.talk(1).iter().map(|(_, on)| *on).collect::<Vec<_>>(),
        [true, false]
    );
    world.gate(1, false, false);
    world.run(1000);
    assert_eq!(world.talk(1).len(), 3);
}

#[test]
fn a_phone_that_stops_sending_is_told_of_once_unless_it_is_held() {
    let mut world = two();
    let silent = |world: &World| {
        let told = world
            .events
            .iter()
            .filter(|(_, event)| matches!(event, MediaEvent::Silent { .. }));
        told.map(|(_, event)| event.clone()).collect::<Vec<_>>()
    };
    let patience = PATIENCE.as_millis() as u64;
    world.run(1000);
    world.phone(1).stop();
    world.run(patience - 100);
    assert!(silent(&world).is_empty());
    world.run(patience);
    assert_eq!(silent(&world), [MediaEvent::Silent { leg: LegId(1) }], "once");

    let audio = setup(2, Codec::Pcmu);
    let held = AudioSetup {
        direction: Direction::NONE,
        ..audio.clone()
    };
    world.command(MediaCommand::Modify {
        leg: LegId(2),
        audio: held,
    });
    world.phone(2).stop();
    world.run(2 * patience);
    world.command(MediaCommand::Modify { leg: LegId(2), audio });
    world.run(patience - 100);
    assert_eq!(silent(&world).len(), 1, "held, it owed nothing");
    world.run(200);
    assert_eq!(silent(&world).len(), 2);
}

/// Presses a key: events of 20 ms with one timestamp, and the end three times.
fn press(world: &mut World, leg: u64, key: u8) {
    world.phone(leg).stop();
    for step in 1..=8u16 {
        let last = step >= 6;
        let [high, low] = (step.min(6) * 160).to_be_bytes();
        let payload = [key, if last { 0x8a } else { 0x0a }, high, low];
        let packet = world
            .phone(leg)
            .raw(101, step == 1, &payload, if step == 8 { 960 } else { 0 });
        // Some are lost, one comes twice.
        if step != 1 && step != 7 {
            world.inject(leg, address(leg), &packet);
        }
        if step == 3 {
            world.inject(leg, address(leg), &packet);
        }
        world.run(20);
    }
}

#[test]
fn each_press_of_a_key_is_one_digit() {
    let mut world = two();
    world.run(500);
    for key in [1, 1, 10, 11, 15, 0] {
        press(&mut world, 1, key);
    }
    assert_eq!(world.digits(), "11*#D0");
    world.gate(1, true, true);
    press(&mut world, 1, 9);
    assert_eq!(world.digits(), "11*#D09", "the muted may press keys");
    // Its timestamps step back by 20 seconds, its numbers go on.
    let phone = world.phone(1);
    phone.timestamp = phone.timestamp.wrapping_sub(160_000);
    press(&mut world, 1, 4);
    press(&mut world, 1, 4);
    assert_eq!(world.digits(), "11*#D0944");
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at * 4..at * 4 + 4].try_into().unwrap())
}

#[test]
fn reports_are_sent_every_few_seconds_and_say_what_was_received() {
    let mut world = two();
    world.phone(1).network = Box::new(|packet| if packet % 10 == 9 { vec![] } else { vec![1.0] });
    world.run(60_000);
    let reports = std::mem::take(&mut world.phone(1).control);
    assert!((8..=20).contains(&reports.len()), "{}", reports.len());
    let last = reports.last().unwrap();
    assert_eq!((last[0], last[1]), (0x81, 200), "a sender report with one block");
    assert_eq!(word(last, 7), 7919, "about the phone's source");
    assert!((24..=27).contains(&(word(last, 8) >> 24)), "a tenth is lost");
    assert!((200..=300).contains(&(word(last, 8) & 0xff_ffff)));
    assert!(world.shard.counts().lost >= 200);
    // Times and counts of the stream agree with what was sent.
    let packets = word(last, 5);
    assert!((2500..=3000).contains(&packets), "{packets}");
    assert_eq!(word(last, 6), packets * 160);
    // The same name in each report.
    let names: std::collections::BTreeSet<_> = reports
        .iter()
        .map(|report| &report[report.len() - 18..])
        .collect();
    assert_eq!(names.len(), 1);
}

/// Whatever waits to fill a packet: between two reports as much of the stream's time goes by as of the clock's.
#[test]
fn reports_tie_the_streams_time_to_the_clock() {
    for (codec, packet_ms) in [
        (Codec::Pcmu, 20),
        (Codec::Pcmu, 30),
        (Codec::G722, 40),
        (Codec::Pcma, 60),
        (Codec::Opus, 60),
    ] {
        let mut world = World::new();
        let audio = AudioSetup {
            format: crate::world::format(codec, packet_ms),
            ..setup(1, codec)
        };
        world.join_as(1, audio, Box::new(|_| 0)).stop();
        world.join(2, Codec::Pcmu, B, 0.3);
        world.run(60_000);
        let zero: Vec<u32> = world.phone(1).control[1..]
            .iter()
            .map(|report| {
                assert_eq!(report[1], 200);
                let ntp = u64::from(word(report, 2)) << 32 | u64::from(word(report, 3));
                let units = (u128::from(ntp) * u128::from(codec.clock()) + (1 << 31)) >> 32;
                word(report, 4).wrapping_sub(units as u32)
            })
            .collect();
        assert!(zero.len() >= 7);
        assert!(
            zero.iter()
                .all(|at| at.wrapping_sub(zero[0]).cast_signed().abs() <= 1),
            "{codec:?} {packet_ms}: {zero:?}"
        );
    }
}

#[test]
fn a_leg_that_may_not_send_reports_as_a_receiver_and_says_goodbye() {
    let mut world = two();
    let mut audio = setup(1, Codec::Pcmu);
    audio.direction.send = false;
    world.command(MediaCommand::Modify { leg: LegId(1), audio });
    world.run(20_000);
    world.close(1);
    let reports = &world.phone(1).control;
    assert_eq!(reports[0][1], 201);
    let end = &reports.last().unwrap()[reports.last().unwrap().len() - 8..];
    assert_eq!(end[..4], [0x81, 203, 0, 1]);
}

#[test]
fn the_peers_report_gives_loss_jitter_and_round_trip() {
    let mut world = two();
    world.run(10_000);
    let ours = world.phone(1).control.last().unwrap().clone();
    let sent_at = (u64::from(word(&ours, 2)), u64::from(word(&ours, 3)));
    let middle = (sent_at.0 << 16 | sent_at.1 >> 16) as u32;
    // The phone got it, waited, and answers: lsr is ours, dlsr covers all but 80 ms of the time until now.
    let now = world.now;
    let ntp_now = ((now.unix_seconds() + 2_208_988_800) << 16) as u32
        + ((now.0 % 1_000_000_000) * 65_536 / 1_000_000_000) as u32;
    let delay = ntp_now.wrapping_sub(middle) - 5243;
    let mut report = vec![0x81, 201, 0, 7];
    for word in [7919, word(&ours, 1), 12, 0, 80, middle, delay] {
        report.extend_from_slice(&u32::to_be_bytes(word));
    }
    world.report(1, report);
    world.run(1);
    let totals = world.shard.leg(LegId(1)).unwrap().totals;
    let peer = totals.peer.expect("the peer has reported");
    assert_eq!((peer.lost, peer.jitter_ms), (12, 10.0));
    let round_trip = peer.round_trip.unwrap().as_millis();
    assert!((79..=81).contains(&round_trip), "{round_trip}");
    let counts = world.shard.counts();
    assert_eq!((counts.control_in, counts.peer_lost), (1, 12));
    assert_eq!((counts.jitter_out.count(), counts.round_trip.count()), (1, 1));
    assert!((counts.jitter_out.sum() - 0.01).abs() < 1e-6 && (counts.round_trip.sum() - 0.08).abs() < 1e-3);
    assert!(counts.jitter_in.count() >= 2, "we have reported to both");
}

#[test]
fn reports_of_strangers_and_garbage_are_dropped_and_counted() {
    let mut world = two();
    world.run(100);
    world.inject(1, attacker(), &[0x80, 201, 0, 1, 0, 0, 0, 1]);
    world.inject(1, address(1), &[0x80, 201, 0, 9, 0, 0, 0, 1]);
    world.inject(1, address(1), b"hello");
    let mut phone = world.phone(1).raw(77, false, &[0; 160], 160);
    world.inject(1, address(1), &phone);
    phone[0] = 0;
    world.inject(1, address(1), &phone);
    let counts = world.shard.counts();
    assert_eq!(counts.dropped_for(DropReason::ForeignSource), 1);
    assert_eq!(counts.dropped_for(DropReason::Malformed), 3);
    assert_eq!(counts.dropped_for(DropReason::UnknownPayload), 1);
}

/// A receiver report about nobody.
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0x1e, 0xef];

/// Two phones; RTCP of the first is here.
fn reporting(control: Control) -> World {
    let mut world = two();
    let audio = AudioSetup {
        control,
        ..setup(1, Codec::Pcmu)
    };
    world.command(MediaCommand::Modify { leg: LegId(1), audio });
    world
}

fn ways(world: &mut World) -> Vec<(bool, SocketAddr)> {
    std::mem::take(&mut world.phone(1).control_ways)
        .into_iter()
        .collect()
}

#[test]
fn reports_come_and_go_on_the_port_of_rtp_where_that_is_agreed() {
    let mut world = reporting(Control::Muxed);
    world.run(20_000);
    assert_eq!(ways(&mut world), [(false, address(1))]);
    world.inject(1, address(1), &REPORT);
    assert_eq!(world.shard.counts().control_in, 1);
    // Behind a NAT they follow the stream, whatever port a report comes from.
    let real: SocketAddr = "203.0.113.7:51000".parse().unwrap();
    world.phone(1).address = real;
    world.run(10_000);
    ways(&mut world);
    world.inject(1, "203.0.113.7:51001".parse().unwrap(), &REPORT);
    world.run(20_000);
    assert_eq!(ways(&mut world), [(false, real)]);
    assert!(
        snr(world.phone(2).last(500), A) > 33.0,
        "and are not taken for audio"
    );
    world.close(1);
    assert_eq!(ways(&mut world), [(false, real)], "the goodbye, too");
    // The other one has not agreed to that.
    let other = std::mem::take(&mut world.phone(2).control_ways);
    let next = SocketAddr::new(address(2).ip(), address(2).port() + 1);
    assert_eq!(other.into_iter().collect::<Vec<_>>(), [(true, next)]);
}

#[test]
fn reports_go_to_the_port_that_the_peer_names() {
    let named: SocketAddr = "10.7.7.7:9001".parse().unwrap();
    let mut world = reporting(Control::Named(named));
    world.run(20_000);
    assert_eq!(ways(&mut world), [(true, named)]);
    // It may report from there, though its audio comes from elsewhere.
    world
        .shard
        .control_packet(LegId(1), named, &REPORT, world.now, world.now);
    world
        .shard
        .control_packet(LegId(1), attacker(), &REPORT, world.now, world.now);
    let counts = world.shard.counts();
    assert_eq!(
        (counts.control_in, counts.dropped_for(DropReason::ForeignSource)),
        (1, 1)
    );
    // A new description without a name: the next port again.
    let audio = setup(1, Codec::Pcmu);
    world.command(MediaCommand::Modify { leg: LegId(1), audio });
    world.run(20_000);
    let next = SocketAddr::new(address(1).ip(), address(1).port() + 1);
    assert_eq!(ways(&mut world), [(true, next)]);
}
