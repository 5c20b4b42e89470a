//! What forwarding a video packet costs: one publisher, many subscribers, real sockets on the loopback, a shard
//! and its socket as the switch has them. Beside it, in turns, a loop that only encrypts (AES-GCM) and sends packets
//! of the same size in bursts of the same length: the floor. Both send to a socket that is emptied between bursts,
//! so that the kernel delivers every packet, one datagram at a time, as to a browser.
//!
//! `cargo bench -p cordboard-media --bench forward`

#![allow(clippy::disallowed_types, reason = "a bench has sockets and a clock")]
#![allow(clippy::disallowed_methods, reason = "a bench has sockets and a clock")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on ends")]
#![allow(clippy::print_stdout, reason = "figures are printed")]
#![allow(dead_code, reason = "the browsers can do more than is needed here")]

#[path = "../tests/webrtc/browser.rs"]
mod browser;
#[path = "../tests/webrtc/stun.rs"]
mod stun;
#[path = "../tests/webrtc/world.rs"]
mod world;

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use world::{VIDEO_SSRC, World, publish, rtp, subscribe};

/// Packets that the publisher sends at once: a frame.
const BURST: usize = 8;

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let of =
        |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    of(usage.user_time()) + of(usage.system_time())
}

struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Port {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), 4 << 20);
        Self { socket, state }
    }

    fn send(&self, destination: SocketAddr, bytes: &[u8], segment: usize) {
        let segment_size = (bytes.len() > segment).then_some(segment);
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: bytes,
            segment_size,
            src_ip: None,
        };
        let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
    }
}

/// Who all packets go to: a port as a browser has it, which takes one datagram at a time.
struct Sink {
    socket: UdpSocket,
    taken: u64,
}

impl Sink {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20));
        socket.set_nonblocking(true).unwrap();
        Self { socket, taken: 0 }
    }

    fn empty(&mut self) {
        while self.socket.recv(&mut [0; 2048]).is_ok() {
            self.taken += 1;
        }
    }
}

/// CPU time of forwarding, and how many packets were forwarded.
fn forward(size: usize, subscribers: u64, bursts: usize) -> (Duration, u64) {
    let mut world = World::new();
    world.join(1, vec![publish("1", vec![(VIDEO_SSRC, None)])]);
    for leg in 2..2 + subscribers {
        world.join(leg, vec![subscribe("1", 1, "1", true)]);
    }
    world.run(3000);
    let source = world.browser(1).address;
    let prepared: Vec<Vec<u8>> = (0..bursts * BURST)
        .map(|at| {
            let mut payload = vec![0x10, u8::from(at > 0)];
            payload.resize(size, 7);
            world.browser(1).protect(&rtp(
                96,
                at as u16,
                (at / BURST * 3000) as u32,
                VIDEO_SSRC,
                &payload,
            ))
        })
        .collect();
    // The shard believes in addresses of its own; the sockets stand for them.
    let (port, publisher, mut sink) = (Port::new(), Port::new(), Sink::new());
    let (to, receiver) = (
        port.socket.local_addr().unwrap(),
        sink.socket.local_addr().unwrap(),
    );
    let mut bytes = vec![0; BATCH_SIZE * 65_535];
    let mut meta = [RecvMeta::default(); BATCH_SIZE];
    let (mut spent, mut sent, mut now) = (Duration::ZERO, 0, world.now());
    for burst in prepared.chunks(BURST) {
        for packet in burst {
            publisher.send(to, packet, packet.len());
        }
        now = now + Duration::from_millis(8);
        let before = cpu();
        let mut taken = 0;
        while taken < BURST {
            let mut rooms = bytes.chunks_exact_mut(65_535);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap()));
            let Ok(count) = port
                .state
                .recv(UdpSockRef::from(&port.socket), &mut slices, &mut meta)
            else {
                continue;
            };
            for (slice, meta) in slices.iter().zip(&meta).take(count) {
                for packet in slice[..meta.len].chunks(meta.stride) {
                    taken += 1;
                    world.shard.webrtc_packet(source, packet, now, now);
                }
            }
            world.shard.drain_webrtc(|burst| {
                sent += burst.bytes.len().div_ceil(burst.segment) as u64;
                port.send(receiver, burst.bytes, burst.segment);
            });
            world.shard.handed_over(now);
        }
        if world.shard.next_timeout().is_some_and(|due| due <= now) {
            world.shard.timeout(now);
            world
                .shard
                .drain_packets(|packet| port.send(receiver, packet.bytes, packet.bytes.len()));
        }
        spent += cpu() - before;
        while world.shard.poll_event().is_some() {}
        sink.empty();
    }
    assert!(sink.taken >= sent, "{} of {sent} arrived", sink.taken);
    (spent, sent)
}

/// CPU time of only encrypting and sending as many packets in bursts of the same length.
fn floor(size: usize, packets: u64) -> Duration {
    let (port, mut sink) = (Port::new(), Sink::new());
    let to = sink.socket.local_addr().unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).unwrap());
    let payload = vec![9; size];
    let mut out = Vec::new();
    let mut spent = Duration::ZERO;
    for at in 0..packets / BURST as u64 {
        let before = cpu();
        out.clear();
        for number in 0..BURST as u64 {
            let start = out.len();
            out.extend_from_slice(&[0x80; 12]);
            out.extend_from_slice(&payload);
            let (head, body) = out[start..].split_at_mut(12);
            let mut nonce = [1; 12];
            nonce[..8].copy_from_slice(&(at * BURST as u64 + number).to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key
                .seal_in_place_separate_tag(nonce, Aad::from(&*head), body)
                .unwrap();
            out.extend_from_slice(tag.as_ref());
        }
        port.send(to, &out, size + 28);
        spent += cpu() - before;
        if at % 20 == 19 {
            sink.empty();
        }
    }
    spent
}

fn main() {
    println!(
        "payload subscribers   packets  forward us  floor us  ratio  forwarded/s a core  floor/s a core"
    );
    for (size, subscribers, bursts) in [(1200, 20, 500), (1200, 100, 100), (160, 20, 500), (160, 100, 100)] {
        let mut best: Option<(f64, f64, u64)> = None;
        for _ in 0..5 {
            let (spent, sent) = forward(size, subscribers, bursts);
            let bare = floor(size, sent);
            let each = |time: Duration| time.as_secs_f64() * 1e6 / sent as f64;
            let turn = (each(spent), each(bare), sent);
            if best.is_none_or(|best| turn.0 < best.0) {
                best = Some(turn);
            }
        }
        let (ours, bare, sent) = best.unwrap();
        println!(
            "{size:7} {subscribers:11} {sent:9} {ours:11.2} {bare:9.2} {:6.2} {:19.0} {:15.0}",
            ours / bare,
            1e6 / ours,
            1e6 / bare
        );
    }
}
