//! Floods of datagrams: 20,000 requests without proof a second, half of them from one address, the others from
//! thousands.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use cordboard_tests::switch::Lab;
use nix::sys::socket::{setsockopt, sockopt};

use crate::requests::{Kind, request};
use crate::witness::{Witness, rejected};
use crate::{length, stranger, turn};

/// Requests a second.
const RATE: u64 = 20_000;
/// Addresses that the second half comes from.
const SOURCES: usize = 4_096;
/// Requests sent in a row.
const BURST: u64 = 20;

/// What was sent in which time.
#[derive(Debug)]
struct Offered {
    requests: u64,
    span: Duration,
}

/// Sends requests at the rate until the time is over.
fn flood(kind: Kind, switch: SocketAddr, span: Duration) -> Offered {
    let loud = socket(stranger(0), switch);
    let quiet: Vec<UdpSocket> = (1..=SOURCES).map(|n| socket(stranger(n), switch)).collect();
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < span {
        for _ in 0..BURST {
            number += 1;
            let from = match number % 2 {
                0 => &loud,
                _ => &quiet[number as usize / 2 % SOURCES],
            };
            let source = from.local_addr().expect("bound");
            // A full buffer is the switch's affair, not ours: what cannot be sent counts as lost on the way.
            let _ = from.send(request(kind, "UDP", source, number).as_bytes());
        }
        let due = begun + Duration::from_micros(number * 1_000_000 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Offered {
        requests: number,
        span: begun.elapsed(),
    }
}

/// A socket that keeps no answers: nobody reads them.
fn socket(local: SocketAddr, switch: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(local).expect("an address of the loopback");
    setsockopt(&socket, sockopt::RcvBuf, &1).expect("the kernel takes its least");
    socket.set_nonblocking(true).expect("a socket");
    socket.connect(switch).expect("a socket");
    socket
}

fn withstands(kind: Kind) {
    let _turn = turn();
    let switch = Lab::new().start();
    let mut witness = Witness::new(&switch);
    let (address, span) = (switch.sip(), length());
    let flooding = std::thread::spawn(move || flood(kind, address, span));
    witness.watch(|| flooding.is_finished());
    let offered = flooding.join().expect("the flood ends");
    let rate = offered.requests as f64 / offered.span.as_secs_f64();
    println!(
        "{}: {rate:.0}/s offered for {:.1} s ({}): {witness}",
        kind.method(),
        offered.span.as_secs_f64(),
        rejected(&switch),
    );
    witness.is_unharmed();
}

#[test]
fn of_registers_without_proof() {
    withstands(Kind::Register);
}

#[test]
fn of_invites_without_proof() {
    withstands(Kind::Invite);
}

#[test]
fn of_messages_without_proof() {
    withstands(Kind::Message);
}

#[test]
fn of_subscribes_without_proof() {
    withstands(Kind::Subscribe);
}

#[test]
fn of_options() {
    withstands(Kind::Options);
}
