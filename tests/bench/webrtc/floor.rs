//! The bare loop: packets of the same size are encrypted (AES-GCM) and sent in bursts of the same length to as many
//! sockets, and nothing else is done.

use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use cordboard_tests::webrtc::Reader;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg, setsockopt, sockopt};

use super::load::Scene;
use crate::datagrams::{local, socket};

/// Packets of one run.
const PACKETS: usize = 100_000;
/// How long the loop runs at the pace of the film.
const TIME: Duration = Duration::from_secs(2);
/// Bytes that are added to a payload: the head, and the tag of AES-GCM.
const AROUND: usize = 12 + 16;

struct Loop {
    sender: UdpSocket,
    receivers: Vec<UdpSocket>,
    addresses: Vec<SockaddrIn>,
    /// One for each receiver, as each has keys of its own.
    keys: Vec<LessSafeKey>,
    payload: Vec<u8>,
    burst: usize,
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
            payload: vec![7; scene.film.size],
            burst: scene.film.burst as usize,
            number: 0,
            out: Vec::new(),
        }
    }

    /// A frame to every receiver.
    fn frame(&mut self) {
        let segment = (self.payload.len() + AROUND) as u16;
        for (address, key) in self.addresses.iter().zip(&self.keys) {
            self.out.clear();
            for _ in 0..self.burst {
                let start = self.out.len();
                self.out.extend_from_slice(&[0x80; 12]);
                self.out.extend_from_slice(&self.payload);
                self.number += 1;
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&self.number.to_be_bytes());
                let (head, body) = self.out[start..].split_at_mut(12);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(&*head), body)
                    .expect("a packet is not too long");
                self.out.extend_from_slice(tag.as_ref());
            }
            let cut = [ControlMessage::UdpGsoSegments(&segment)];
            let control = if self.burst > 1 { &cut[..] } else { &[] };
            let fd = self.sender.as_raw_fd();
            let bytes = [IoSlice::new(&self.out)];
            sendmsg(fd, &bytes, control, MsgFlags::empty(), Some(address)).expect("the loopback takes it");
        }
    }
}

/// Microseconds per packet, one frame after the other.
pub fn hot(scene: &Scene) -> f64 {
    let mut all = Loop::new(scene);
    let (mut reader, mut spent, mut sent) = (Reader::default(), 0.0, 0);
    while sent < PACKETS {
        let before = cpu();
        for _ in 0..4 {
            all.frame();
        }
        spent += cpu() - before;
        sent += 4 * scene.receivers * all.burst;
        for receiver in &all.receivers {
            reader.empty(receiver, |_, _| ());
        }
    }
    spent * 1e6 / sent as f64
}

/// Microseconds per packet, frames at the pace of the film, as a server sends them.
pub fn paced(scene: &Scene) -> f64 {
    let mut all = Loop::new(scene);
    let receivers: Vec<UdpSocket> = all
        .receivers
        .iter()
        .filter_map(|one| one.try_clone().ok())
        .collect();
    let pause = Duration::from_secs(1) * scene.film.burst / scene.film.rate;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut reader = Reader::default();
            while !stop.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(4));
                receivers.iter().for_each(|one| reader.empty(one, |_, _| ()));
            }
        });
        let (begun, before, mut frames) = (Instant::now(), cpu(), 0u32);
        while begun.elapsed() < TIME {
            all.frame();
            frames += 1;
            std::thread::sleep((begun + pause * frames).saturating_duration_since(Instant::now()));
        }
        let spent = cpu() - before;
        stop.store(true, Ordering::Release);
        spent * 1e6 / (frames as usize * all.burst * scene.receivers) as f64
    })
}
