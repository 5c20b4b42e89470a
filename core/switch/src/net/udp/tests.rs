//! Sockets on loopback, and which packets go as trains.

use std::time::Duration;

use super::*;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Receives until `count` packets are there.
fn receive(socket: &mut SipSocket, clock: &Clock, count: usize) -> Vec<(Vec<u8>, SocketAddr, Time)> {
    let mut batch = Batch::new();
    let mut got = Vec::new();
    for _ in 0..1000 {
        let more = socket.receive(&mut batch, clock, |packet| {
            got.push((packet.bytes.to_vec(), packet.source, packet.stamp));
        });
        if !more.unwrap() && got.len() >= count {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    got
}

#[test]
fn packets_of_two_parts_arrive_whole_in_batches_and_stamped() {
    let clock = Clock::start();
    let mut receiver = SipSocket::bind(loopback()).unwrap();
    let sender = SipSocket::bind(loopback()).unwrap();
    let before = clock.now();
    let mut packets: Vec<_> = (0..40)
        .map(|i| {
            (
                Bytes::from(format!("head {i} ")),
                Bytes::from(vec![b'x'; i]),
                receiver.local(),
            )
        })
        .collect();
    assert_eq!(
        sender.send(&mut Batch::new(), &mut packets),
        Sent {
            packets: 40,
            failed: 0,
            full: 0
        }
    );
    let got = receive(&mut receiver, &clock, 40);
    assert_eq!(got.len(), 40);
    for (i, (bytes, source, stamp)) in got.iter().enumerate() {
        assert_eq!(
            *bytes,
            [format!("head {i} ").into_bytes(), vec![b'x'; i]].concat()
        );
        assert_eq!(*source, sender.local());
        assert!(
            *stamp <= clock.now() && before.since(*stamp) < Duration::from_millis(5),
            "{stamp:?}"
        );
    }
    assert!(got.windows(2).all(|pair| pair[0].2 <= pair[1].2));
}

#[test]
fn what_goes_to_one_destination_arrives_in_its_order_whole_and_as_it_was() {
    let clock = Clock::start();
    let addresses = [loopback(), "[::1]:0".parse().unwrap()];
    // Sizes that make trains, end them with a shorter one, break them, and fill more than one.
    let sizes = [9, 9, 9, 5, 9, 1200, 1200, 1201, 1201, 7, 8, 8]
        .into_iter()
        .chain([33; TRAIN * 2 + 1]);
    for address in addresses {
        if UdpSocket::bind(address).is_err() {
            continue; // a machine without IPv6
        }
        let mut receiver = SipSocket::bind(address).unwrap();
        let sender = SipSocket::bind(SocketAddr::new(receiver.local().ip(), 0)).unwrap();
        let other = SipSocket::bind(SocketAddr::new(receiver.local().ip(), 0)).unwrap();
        let mut packets = Vec::new();
        for (number, size) in sizes.clone().enumerate() {
            let bytes = Bytes::from(vec![number as u8; size]);
            let (head, tail) = (bytes.slice(..size / 3), bytes.slice(size / 3..));
            packets.push((head, tail, receiver.local()));
            packets.push((Bytes::from_static(b"else"), Bytes::new(), other.local()));
        }
        let expect = Sent {
            packets: packets.len() as u64,
            failed: 0,
            full: 0,
        };
        assert_eq!(sender.send(&mut Batch::new(), &mut packets), expect);
        let got = receive(&mut receiver, &clock, sizes.clone().count());
        let as_sent: Vec<_> = sizes
            .clone()
            .enumerate()
            .map(|(number, size)| vec![number as u8; size])
            .collect();
        assert_eq!(
            got.into_iter().map(|(bytes, ..)| bytes).collect::<Vec<_>>(),
            as_sent
        );
    }
}

#[test]
fn final_responses_are_brought_together_and_pass_nothing_else() {
    let packet = |text: &'static str| (Bytes::from_static(text.as_bytes()), Bytes::new(), loopback());
    let mut packets = [
        "SIP/2.0 200 Ok",
        "SIP/2.0 401 Unauthorized",
        "SIP/2.0 200 Ok",
        "SIP/2.0 180 Ringing",
        "SIP/2.0 401 Unauthorized",
        "NOTIFY sip:alice SIP/2.0",
        "SIP/2.0 200 Ok",
    ]
    .map(packet);
    bring_together(&mut packets);
    let order = packets
        .each_ref()
        .map(|(head, ..)| std::str::from_utf8(head).unwrap().split(' ').nth(1).unwrap());
    assert_eq!(order, ["401", "200", "200", "180", "401", "sip:alice", "200"]);
}

#[test]
fn a_train_that_cannot_go_is_tried_packet_by_packet_and_counted() {
    let sender = SipSocket::bind(loopback()).unwrap();
    // Nobody has allowed this socket to send to all.
    let packet = (
        Bytes::from_static(b"hello"),
        Bytes::new(),
        "255.255.255.255:9".parse().unwrap(),
    );
    let expect = Sent {
        packets: 0,
        failed: 3,
        full: 0,
    };
    assert_eq!(sender.send(&mut Batch::new(), &mut vec![packet; 3]), expect);
}

#[test]
fn packets_lost_for_want_of_room_are_counted() {
    let clock = Clock::start();
    let mut receiver = SipSocket::bind(loopback()).unwrap();
    receiver.socket.set_recv_buffer_size(8192).unwrap();
    let sender = SipSocket::bind(loopback()).unwrap();
    let packet = (Bytes::from(vec![0; 1000]), Bytes::new(), receiver.local());
    sender.send(&mut Batch::new(), &mut vec![packet.clone(); 100]);
    let kept = receive(&mut receiver, &clock, 1).len() as u64;
    sender.send(&mut Batch::new(), &mut [packet]);
    receive(&mut receiver, &clock, 1);
    assert_eq!(kept + receiver.kernel_drops(), 100);
    assert!(receiver.kernel_drops() > 0);
}

#[test]
fn a_closed_port_does_not_stop_a_socket() {
    let socket = SipSocket::bind(loopback()).unwrap();
    let gone = SipSocket::bind(loopback()).unwrap().local();
    let packet = (Bytes::from_static(b"hello"), Bytes::new(), gone);
    assert_eq!(socket.send(&mut Batch::new(), &mut vec![packet; 3]).packets, 3);
}

#[test]
fn a_packet_that_cannot_go_does_not_keep_the_others() {
    let clock = Clock::start();
    let mut receiver = SipSocket::bind(loopback()).unwrap();
    let sender = SipSocket::bind(loopback()).unwrap();
    let good = (Bytes::from_static(b"good"), Bytes::new(), receiver.local());
    let too_large = (Bytes::from(vec![0; LARGEST + 1]), Bytes::new(), receiver.local());
    let mut packets = vec![good; 2 * BATCH + 5];
    for place in [0, 7, BATCH, 2 * BATCH + 4] {
        packets[place] = too_large.clone();
    }
    let expect = Sent {
        packets: 2 * BATCH as u64 + 1,
        failed: 4,
        full: 0,
    };
    assert_eq!(sender.send(&mut Batch::new(), &mut packets), expect);
    assert_eq!(receive(&mut receiver, &clock, 2 * BATCH + 1).len(), 2 * BATCH + 1);
}

#[test]
fn media_packets_carry_the_moment_they_came() {
    let clock = Clock::start();
    let mut room = MediaRoom::new();
    for address in [loopback(), "[::1]:0".parse().unwrap()] {
        if UdpSocket::bind(address).is_err() {
            continue; // a machine without IPv6
        }
        let one = MediaSocket::bind(address).unwrap();
        let other = MediaSocket::bind(address).unwrap();
        let (to, from) = (
            one.socket.local_addr().unwrap(),
            other.socket.local_addr().unwrap(),
        );
        assert!(one.receive(&mut room, &clock.kernel()).unwrap().is_none());
        // The kernel begins to stamp a moment after the first socket asks for it.
        let stamped_on_arrival = (0..100).any(|_| {
            assert!(other.send(b"frame", to) && other.send(b"another", to));
            std::thread::sleep(Duration::from_millis(20));
            let read = clock.now();
            let on_arrival = [&b"frame"[..], b"another"].map(|expect| {
                let kernel = clock.kernel();
                let packet = one.receive(&mut room, &kernel).unwrap().expect("it was sent");
                assert_eq!((packet.bytes, packet.source), (expect, from));
                packet.stamp + Duration::from_millis(10) < read
            });
            assert!(one.receive(&mut room, &clock.kernel()).unwrap().is_none());
            on_arrival == [true; 2]
        });
        assert!(stamped_on_arrival);
    }
}
