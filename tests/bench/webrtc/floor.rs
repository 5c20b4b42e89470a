//! The bare loop: packets of the same size are encrypted (AES-GCM) and sent in bursts of the same length to as many
//! sockets, and nothing else is done; or a film at its pace is taken from a socket and so sent on.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use cordboard_tests::webrtc::{Reader, now};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg, setsockopt, sockopt};

use super::load::{Delays, Scene};
use crate::datagrams::{Batch, local, socket};

/// Packets of one run.
const PACKETS: usize = 100_000;
/// How long the loop runs at the pace of the film.
const TIME: Duration = Duration::from_secs(2);
/// Bytes before a payload: the head, and the time of sending.
const HEAD: usize = 12 + 8;
/// Bytes behind it: the tag of AES-GCM.
const TAG: usize = 16;

/// What forwarding a film cost the bare loop.
pub struct Paced {
    /// Microseconds per packet.
    pub cost: f64,
    /// How late packets were.
    pub delays: Delays,
}

struct Loop {
    sender: UdpSocket,
    receivers: Vec<UdpSocket>,
    addresses: Vec<SockaddrIn>,
    /// One for each receiver, as each has keys of its own.
    keys: Vec<LessSafeKey>,
    number: u64,
    out: Vec<u8>,
}

fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("threads are counted");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

impl Loop {
    fn new(scene: &Scene) -> Self {
        let receivers: Vec<UdpSocket> = (0..scene.receivers).map(|_| socket()).collect();
        let address = |socket: &UdpSocket| match local(socket) {
            std::net::SocketAddr::V4(address) => SockaddrIn::from(address),
            std::net::SocketAddr::V6(_) => unreachable!("they are bound to 127.0.0.1"),
        };
        for receiver in &receivers {
            setsockopt(receiver, sockopt::ReceiveTimestampns, &true).expect("the kernel has stamps");
        }
        let key =
            |number: usize| UnboundKey::new(&AES_128_GCM, &[number as u8; 16]).expect("a key of 16 bytes");
        Self {
            sender: socket(),
            addresses: receivers.iter().map(address).collect(),
            keys: (0..scene.receivers)
                .map(|number| LessSafeKey::new(key(number)))
                .collect(),
            receivers,
            number: 0,
            out: Vec::new(),
        }
    }

    /// These packets, all of one size, to every receiver.
    fn send(&mut self, packets: &[Vec<u8>]) {
        let Some(first) = packets.first() else { return };
        let segment = (first.len() + TAG) as u16;
        for (address, key) in self.addresses.iter().zip(&self.keys) {
            self.out.clear();
            for packet in packets {
                let start = self.out.len();
                self.out.extend_from_slice(packet);
                self.number += 1;
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&self.number.to_be_bytes());
                let (head, body) = self.out[start..].split_at_mut(HEAD);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(&*head), body)
                    .expect("a packet is not too long");
                self.out.extend_from_slice(tag.as_ref());
            }
            let cut = [ControlMessage::UdpGsoSegments(&segment)];
            let control = if packets.len() > 1 { &cut[..] } else { &[] };
            let (fd, bytes) = (self.sender.as_raw_fd(), [IoSlice::new(&self.out)]);
            sendmsg(fd, &bytes, control, MsgFlags::empty(), Some(address)).expect("the loopback takes it");
        }
    }
}

/// Microseconds per packet, one frame after the other.
pub fn hot(scene: &Scene) -> f64 {
    let mut all = Loop::new(scene);
    let frame = vec![vec![7; HEAD + scene.film.size]; scene.film.burst as usize];
    let (mut reader, mut spent, mut sent) = (Reader::default(), 0.0, 0);
    while sent < PACKETS {
        let before = cpu();
        for _ in 0..4 {
            all.send(&frame);
        }
        spent += cpu() - before;
        sent += 4 * scene.receivers * frame.len();
        for receiver in &all.receivers {
            reader.empty(receiver.as_raw_fd(), |_, _| ());
        }
    }
    spent * 1e6 / sent as f64
}

/// A film taken and sent on at its pace, as a server does it.
pub fn paced(scene: &Scene) -> Paced {
    let mut all = Loop::new(scene);
    let receivers = all.receivers.iter().filter_map(|one| one.try_clone().ok());
    let receivers: Vec<UdpSocket> = receivers.collect();
    let inlet = socket();
    inlet
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("it is ours");
    let (to, stop) = (local(&inlet), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&receivers, &stop));
        let filming = scope.spawn(|| film(scene, to, &stop));
        let (mut batch, mut packets, mut sent) = (Batch::new(), Vec::new(), 0);
        let before = cpu();
        while !filming.is_finished() {
            batch.receive(&inlet, |bytes, _| packets.push(bytes.to_vec()));
            all.send(&packets);
            sent += packets.len() * scene.receivers;
            packets.clear();
        }
        let spent = cpu() - before;
        stop.store(true, Ordering::Release);
        filming.join().expect("it has ended");
        let delays = watching.join().expect("it ends now");
        Paced {
            cost: spent * 1e6 / sent.max(1) as f64,
            delays: Delays::new(delays),
        }
    })
}

/// Sends a film in the clear.
fn film(scene: &Scene, to: SocketAddr, stop: &AtomicBool) {
    let (camera, mut packet) = (socket(), vec![7; HEAD + scene.film.size]);
    let pause = Duration::from_secs(1) * scene.film.burst / scene.film.rate;
    let (begun, mut frames) = (Instant::now(), 0);
    while begun.elapsed() < TIME && !stop.load(Ordering::Acquire) {
        for _ in 0..scene.film.burst {
            packet[12..HEAD].copy_from_slice(&now().to_be_bytes());
            let _ = camera.send_to(&packet, to); // what the kernel does not take was never sent
        }
        frames += 1;
        std::thread::sleep((begun + pause * frames).saturating_duration_since(Instant::now()));
    }
}

/// How late packets come, in nanoseconds.
fn watch(receivers: &[UdpSocket], stop: &AtomicBool) -> Vec<u32> {
    let (mut reader, mut delays) = (Reader::default(), Vec::new());
    while !stop.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(4));
        for receiver in receivers {
            reader.empty(receiver.as_raw_fd(), |bytes, at| {
                let sent = bytes.get(12..HEAD).and_then(|stamp| stamp.try_into().ok());
                let sent = sent.map_or(at, u64::from_be_bytes);
                delays.push(u32::try_from(at.saturating_sub(sent)).unwrap_or(u32::MAX));
            });
        }
    }
    delays
}
