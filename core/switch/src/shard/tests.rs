//! A media thread with real sockets on the loopback.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};

use cordboard_model::media::{AudioFormat, AudioSetup, Codec, Control, Direction, LegTotals, OpusLimit};
use cordboard_model::{LegId, MixId};

use super::*;

fn shard(ports: RangeInclusive<u16>) -> (ShardHandle, Receiver<MediaEvent>) {
    shard_that(ports, |_| {})
}

/// One whose thread also does this with each event.
fn shard_that(
    ports: RangeInclusive<u16>,
    mut and: impl FnMut(&MediaEvent) + Send + 'static,
) -> (ShardHandle, Receiver<MediaEvent>) {
    let (sender, events) = channel();
    let config = ShardConfig {
        id: ShardId(0),
        ports,
        clock: Clock::start(),
        webrtc: None,
    };
    let handle = start(config, move |event| {
        and(&event);
        let _ = sender.send(event);
    });
    (handle.unwrap(), events)
}

fn open(leg: u64, remote: SocketAddr) -> MediaCommand {
    let format = AudioFormat {
        codec: Codec::Pcmu,
        payload_type: 0,
        receive: vec![(0, Codec::Pcmu)],
        events: vec![(101, 8000)],
        comfort_noise: None,
        opus: OpusLimit::default(),
        packet_ms: 20,
    };
    let audio = Some(AudioSetup {
        remote,
        signaller: None,
        control: Control::NextPort,
        format,
        direction: Direction::BOTH,
        srtp: None,
    });
    let local = "127.0.0.1".parse().unwrap();
    MediaCommand::Open {
        leg: LegId(leg),
        mix: MixId(1),
        local,
        audio,
        muted: false,
        deaf: false,
        patience: Duration::ZERO,
    }
}

fn next(events: &Receiver<MediaEvent>) -> MediaEvent {
    events
        .recv_timeout(Duration::from_secs(10))
        .expect("the shard answers")
}

fn phone() -> UdpSocket {
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    phone
}

/// A packet that holds a constant level.
fn frame(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend([0x90; 160]);
    packet
}

/// Closes leg 1.
fn close(shard: &ShardHandle, events: &Receiver<MediaEvent>) -> LegTotals {
    shard.send(MediaCommand::Close { leg: LegId(1) }).unwrap();
    let closed = std::iter::repeat_with(|| next(events)).find_map(|event| match event {
        MediaEvent::Closed {
            leg: LegId(1),
            totals,
        } => Some(totals),
        _ => None,
    });
    closed.expect("the leg closes")
}

#[test]
fn two_phones_hear_each_other_through_the_thread() {
    let (shard, events) = shard(30_100..=30_131);
    let phones = [phone(), phone()];
    let mut ports = Vec::new();
    for (leg, phone) in (1..).zip(&phones) {
        shard.send(open(leg, phone.local_addr().unwrap())).unwrap();
        let MediaEvent::Opened { leg: opened, port } = next(&events) else {
            panic!("not opened")
        };
        assert_eq!(opened, LegId(leg));
        ports.push(port);
    }
    let mut heard = 0;
    for sequence in 0..200u16 {
        phones[0]
            .send_to(&frame(sequence), ("127.0.0.1", ports[0]))
            .unwrap();
        // The switch sends every 20 ms, which paces this loop.
        let mut bytes = [0; 2048];
        let (len, from) = phones[1].recv_from(&mut bytes).unwrap();
        assert_eq!((len, from.port()), (172, ports[1]));
        heard += usize::from(bytes[12..len].iter().all(|code| *code == 0x90));
        if heard > 20 {
            break;
        }
    }
    assert!(heard > 20, "only {heard} frames held the other's audio");
    let totals = close(&shard, &events);
    assert!(totals.packets_in > 20 && totals.packets_out > 20, "{totals:?}");
    drop(shard);
}

#[test]
fn all_that_a_steady_phone_sends_at_once_is_read_in_a_tick_or_two() {
    let (shard, events) = shard(30_160..=30_161);
    let phone = phone();
    shard.send(open(1, phone.local_addr().unwrap())).unwrap();
    let MediaEvent::Opened { port, .. } = next(&events) else {
        panic!("not opened")
    };
    let mut bytes = [0; 2048];
    let mut wait = || assert_eq!(phone.recv_from(&mut bytes).unwrap().0, 172);
    let send = |sequence: u16| phone.send_to(&frame(sequence), ("127.0.0.1", port)).unwrap();
    for sequence in 0..10 {
        wait();
        send(sequence);
    }
    for sequence in 10..20 {
        send(sequence);
    }
    for _ in 0..4 {
        wait();
    }
    assert_eq!(close(&shard, &events).packets_in, 20);
}

#[test]
fn a_thread_that_comes_late_reads_the_packets_of_all_ticks_before_it_makes_up_for_them() {
    let (stalled, stalls) = channel();
    let (release, released) = channel::<()>();
    let (shard, events) = shard_that(30_170..=30_173, move |event| {
        if matches!(event, MediaEvent::Opened { leg: LegId(2), .. }) {
            stalled.send(()).unwrap();
            released.recv().unwrap();
        }
    });
    let phone = phone();
    shard.send(open(1, phone.local_addr().unwrap())).unwrap();
    let MediaEvent::Opened { port, .. } = next(&events) else {
        panic!("not opened")
    };
    let mut bytes = [0; 2048];
    let send = |sequence: u16| phone.send_to(&frame(sequence), ("127.0.0.1", port)).unwrap();
    for sequence in 0..10 {
        phone.recv_from(&mut bytes).unwrap();
        send(sequence);
    }
    shard.send(open(2, phone.local_addr().unwrap())).unwrap();
    stalls.recv().unwrap();
    for sequence in 10..15 {
        send(sequence);
        thread::sleep(Duration::from_millis(20));
    }
    phone.set_nonblocking(true).unwrap();
    while phone.recv_from(&mut bytes).is_ok() {}
    phone.set_nonblocking(false).unwrap();
    release.send(()).unwrap();
    phone.recv_from(&mut bytes).unwrap();
    assert_eq!(close(&shard, &events).packets_in, 15);
}

#[test]
fn a_shard_without_free_ports_says_so_and_frees_them_at_the_end_of_a_leg() {
    let (shard, events) = shard(30_140..=30_141);
    let phone = phone();
    let remote = phone.local_addr().unwrap();
    shard.send(open(1, remote)).unwrap();
    assert_eq!(
        next(&events),
        MediaEvent::Opened {
            leg: LegId(1),
            port: 30_140
        }
    );
    shard.send(open(2, remote)).unwrap();
    let MediaEvent::Failed {
        leg: LegId(2),
        reason,
    } = next(&events)
    else {
        panic!("not refused")
    };
    assert!(reason.contains("rtp_ports"), "{reason}");
    shard.send(MediaCommand::Close { leg: LegId(1) }).unwrap();
    assert!(matches!(next(&events), MediaEvent::Closed { leg: LegId(1), .. }));
    shard.send(open(3, remote)).unwrap();
    assert_eq!(
        next(&events),
        MediaEvent::Opened {
            leg: LegId(3),
            port: 30_140
        }
    );
}

#[test]
fn counts_are_published_and_survive_until_asked() {
    let (shard, events) = shard(30_150..=30_151);
    let phone = phone();
    shard.send(open(1, phone.local_addr().unwrap())).unwrap();
    next(&events);
    let mut bytes = [0; 2048];
    for _ in 0..30 {
        phone.recv_from(&mut bytes).unwrap();
    }
    let counts = shard.counts();
    assert!(counts.media.packets_out > 0, "{counts:?}");
    assert_eq!(
        (counts.media.streams_out, counts.media.mixes, counts.refused),
        (1, 1, 0)
    );
    assert!(counts.lag.count() > 0);
}
