//! Floods of connections: INVITEs that are followed by a reset, and thousands of connections that say nothing,
//! too little or half of something large, over TCP, TLS, WebSocket and secure WebSocket.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cordboard_tests::http::metric;
use cordboard_tests::switch::{Lab, Switch};
use socket2::{Domain, Socket, Type};

use crate::requests::{Kind, request};
use crate::witness::{Witness, rejected};
use crate::{length, stranger, turn};

/// Connections that each transport is to be held by; half of them from one address, which the switch does not
/// let have so many. The others are together nearly as many as it takes at all, and all of them fewer than the 20,000
/// files that a process may open on many machines.
const HELD: usize = 4_500;
/// Connections a second that send INVITEs and are reset.
const RESETS: u64 = 2_000;
/// How long a connection may take to come up.
const DIAL: Duration = Duration::from_millis(500);
/// Half of a large message.
const HALF: usize = 60_000;

/// What strangers have done.
#[derive(Debug, Default)]
struct Tally {
    opened: AtomicU64,
    cut: AtomicU64,
    failed: AtomicU64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Connects from an address of strangers: every second one is the same.
fn dial(switch: SocketAddr, number: usize) -> Option<TcpStream> {
    let source = stranger(if number.is_multiple_of(2) {
        0
    } else {
        1 + number % 60_000
    });
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&source.into()).ok()?;
    socket.connect_timeout(&switch.into(), DIAL).ok()?;
    Some(socket.into())
}

/// Sends INVITEs and resets the connection, again and again.
fn reset(switch: SocketAddr, span: Duration, tally: &Tally) {
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < span {
        number += 1;
        let Some(mut stream) = dial(switch, number) else {
            add(&tally.failed);
            continue;
        };
        add(&tally.opened);
        let source = stream.local_addr().expect("connected");
        for part in 0..3 {
            let text = request(Kind::Invite, "TCP", source, number as u64 * 4 + part);
            let bytes = &text.as_bytes()[..if part == 2 { text.len() / 2 } else { text.len() }];
            // It may be cut already.
            let _ = stream.write_all(bytes);
        }
        let socket = Socket::from(stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        drop(socket);
        let due = begun + Duration::from_micros(number as u64 * 1_000_000 / RESETS);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    Sip,
    Tls,
    WebSocket,
}

impl Speech {
    /// What a connection of this number says at first: nothing, a beginning, or half of something large.
    fn opening(self, number: usize, source: SocketAddr) -> Vec<u8> {
        match (self, number / 2 % 3) {
            (_, 0) => Vec::new(),
            (Self::Sip, 1) => b"INVITE sip:3000@lab.test SIP/2.0\r\nVia: SIP".to_vec(),
            (Self::Sip, _) => {
                let text = request(Kind::Message, "TCP", source, number as u64);
                let head = text.replace(
                    "Content-Length: 7\r\n\r\nbuy now",
                    "Content-Length: 65000\r\n\r\n",
                );
                assert_ne!(head, text, "the body is replaced");
                [head.as_bytes(), &[b'x'; HALF]].concat()
            }
            // A record of 16 KiB with a ClientHello in it, of which the head comes.
            (Self::Tls, 1) => vec![0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3],
            (Self::Tls, _) => client_hello(),
            (Self::WebSocket, 1) => b"GET /ws HTTP/1.1\r\nHost: lab.test\r\nX-".to_vec(),
            (Self::WebSocket, _) => {
                let upgrade = "GET /ws HTTP/1.1\r\nHost: lab.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                               Sec-WebSocket-Protocol: sip\r\n\r\n";
                // A text frame of 65,000 bytes, masked with zeros.
                let frame = [0x81, 0xfe, 0xfd, 0xe8, 0, 0, 0, 0];
                [upgrade.as_bytes(), &frame, &[b'x'; HALF]].concat()
            }
        }
    }
}

/// A ClientHello of TLS 1.3 that is in order: the server answers with its certificate and waits.
fn client_hello() -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        &[0, 43, 0, 3, 2, 3, 4],                // supported_versions: 1.3
        &[0, 10, 0, 4, 0, 2, 0, 0x1d],          // supported_groups: x25519
        &[0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1], // signature_algorithms
        &[0, 51, 0, 38, 0, 36, 0, 0x1d, 0, 32], // key_share: x25519, the key follows
        &[9; 32],
    ];
    let extensions = extensions.concat();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]); // random
    hello.extend([0, 0, 2, 0x13, 1, 1, 0]); // no session, TLS_AES_128_GCM_SHA256, no compression
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((hello.len() as u16).to_be_bytes());
    message.extend(hello);
    let mut record = vec![0x16, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}

/// Holds connections open, a byte a second on those that have begun something, and opens those again that the
/// switch has cut.
fn hold(switch: SocketAddr, speech: Speech, span: Duration, tally: &Tally) {
    let begun = Instant::now();
    let mut held: Vec<Option<TcpStream>> = std::iter::repeat_with(|| None).take(HELD).collect();
    for round in 1.. {
        for (place, slot) in held.iter_mut().enumerate() {
            if begun.elapsed() >= span {
                return;
            }
            match slot {
                Some(stream) if is_open(stream, place / 2 % 3 != 0) => {}
                Some(_) => {
                    *slot = None;
                    add(&tally.cut);
                }
                None => match open(switch, speech, place + round * HELD) {
                    Some(stream) => {
                        *slot = Some(stream);
                        add(&tally.opened);
                    }
                    None => add(&tally.failed),
                },
            }
        }
        let due = begun + Duration::from_secs(round as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn open(switch: SocketAddr, speech: Speech, number: usize) -> Option<TcpStream> {
    let mut stream = dial(switch, number)?;
    stream.set_nonblocking(true).ok()?;
    let source = stream.local_addr().ok()?;
    // What the kernel does not take at once is not missed.
    let _ = stream.write(&speech.opening(number, source));
    Some(stream)
}

/// Whether the switch still holds its end; sends a byte if wanted.
fn is_open(mut stream: &TcpStream, speaks: bool) -> bool {
    let pending = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    let mut bytes = [0; 4_096];
    let read = match stream.read(&mut bytes) {
        Ok(count) => count > 0,
        Err(error) => pending(&error),
    };
    read && (!speaks || stream.write(b"x").map_or_else(|error| pending(&error), |_| true))
}

fn report(what: &str, switch: &Switch, witness: &Witness<'_>, tally: &Tally) {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let open = metric(&switch.metrics(), "cordboard_sip_connections", &[]);
    println!(
        "{what}: {} connections made, {} cut, {} failed, {open} open at the end; {}: {witness}",
        read(&tally.opened),
        read(&tally.cut),
        read(&tally.failed),
        rejected(switch),
    );
}

#[test]
fn of_invites_over_tcp_and_resets() {
    let _turn = turn();
    let switch = Lab::new().start();
    let mut witness = Witness::new(&switch).with_connections();
    let tally = Arc::new(Tally::default());
    let (address, span, counted) = (switch.sip(), length(), Arc::clone(&tally));
    let flooding = std::thread::spawn(move || reset(address, span, &counted));
    witness.watch(|| flooding.is_finished());
    flooding.join().expect("the flood ends");
    report("INVITE and reset", &switch, &witness, &tally);
    witness.is_unharmed();
}

#[test]
fn of_connections_that_are_silent_slow_or_half_full() {
    let _turn = turn();
    let switch = Lab::new().secure().start();
    let mut witness = Witness::new(&switch).with_connections();
    let tally = Arc::new(Tally::default());
    let span = length().max(Duration::from_secs(2));
    let holders = [
        (switch.sip(), Speech::Sip),
        (switch.ws(), Speech::WebSocket),
        (switch.sips(), Speech::Tls),
        (switch.wss(), Speech::Tls),
    ];
    let holding: Vec<_> = holders
        .map(|(address, speech)| {
            let tally = Arc::clone(&tally);
            std::thread::spawn(move || hold(address, speech, span, &tally))
        })
        .into();
    witness.watch(|| holding.iter().all(|thread| thread.is_finished()));
    report("held connections", &switch, &witness, &tally);
    for thread in holding {
        thread.join().expect("the flood ends");
    }
    witness.is_unharmed();
}
