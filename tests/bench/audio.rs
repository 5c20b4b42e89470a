//! A conference of G.711 phones: what a hundred of them cost while three talk.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use cordboard_tests::switch::Lab;

use crate::bare::Bare;
use crate::cost::{cpu_seconds, resident_bytes};
use crate::datagrams::{local, socket};
use crate::party::{Party, Server};
use crate::{ROUNDS, best};

/// Phones that talk; the others send silence, as phones without voice activity detection do.
const TALKERS: usize = 3;
/// How long a round lasts.
const ROUND: Duration = Duration::from_secs(5);
/// Between two packets of a phone.
const FRAME: Duration = Duration::from_millis(20);
/// G.711 codes of a packet.
const CODES: usize = 160;

/// What one round gave.
struct Figures {
    /// CPU cores in use per 100 phones.
    cost: f64,
    /// Packets that came back for each that was sent.
    share: f64,
}

/// Runs the bench.
pub fn run() {
    println!("audio: one conference of G.711 phones, {TALKERS} talk, all of them send");
    let folder = tempfile::tempdir().expect("a folder for logs");
    for phones in [100, 200] {
        let sockets: Vec<UdpSocket> = (0..phones).map(|_| socket()).collect();
        for socket in &sockets {
            socket.set_nonblocking(true).expect("it is ours");
        }
        let beside = Bare::start(&phones.to_string(), folder.path());
        let to: Vec<SocketAddr> = beside
            .ports
            .iter()
            .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
            .collect();
        let bare = best(
            (0..ROUNDS)
                .map(|_| talk(&sockets, &to, beside.process.pid(), || {}))
                .collect(),
            |f| f.cost,
        );
        drop(beside);

        let mut switch = Lab::new().trust("127.0.0.0/8").start();
        let (sip, pid) = (switch.sip(), switch.process().pid());
        let port = |number: usize| Some(local(&sockets[number]).port());
        let (mut party, ports) = Party::join(Server::Switch(sip), phones, port);
        let to: Vec<SocketAddr> = ports
            .iter()
            .map(|port| SocketAddr::new(sip.ip(), port.expect("the switch takes audio")))
            .collect();
        let rounds = (0..ROUNDS).map(|_| talk(&sockets, &to, pid, || party.poll(Duration::ZERO, |_, _| {})));
        let ours = best(rounds.collect(), |f| f.cost);
        let rss = resident_bytes(pid) >> 20;
        party.leave();
        for (name, figures) in [("bare loop", &bare), ("cordboard", &ours)] {
            println!(
                "  {phones:3} phones  {name}  {:.4} cores per 100 phones  {:.1} % of the packets came",
                figures.cost,
                figures.share * 100.0
            );
        }
        println!(
            "  {phones:3} phones  cordboard takes {:.1} times the bare loop ({rss} MiB resident)",
            ours.cost / bare.cost
        );
    }
}

/// Sends and takes a packet for every phone each 20 ms.
fn talk(sockets: &[UdpSocket], to: &[SocketAddr], pid: u32, mut between: impl FnMut()) -> Figures {
    let (mut sent, mut came) = (0_u32, 0_u32);
    let (mut due, mut started) = (Instant::now(), None);
    let mut bytes = [0; 2048];
    // The first second warms up: latches close, jitter buffers fill.
    let warm = 50;
    for frame in 0_u16.. {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += FRAME;
        if frame == warm {
            (sent, came, started) = (0, 0, Some((cpu_seconds(pid), Instant::now())));
        }
        if let Some((before, begun)) = started.filter(|(_, begun)| begun.elapsed() >= ROUND) {
            let cores = (cpu_seconds(pid) - before) / begun.elapsed().as_secs_f64();
            let cost = cores * 100.0 / sockets.len() as f64;
            return Figures {
                cost,
                share: f64::from(came) / f64::from(sent.max(1)),
            };
        }
        for (number, (socket, to)) in sockets.iter().zip(to).enumerate() {
            let _ = socket.send_to(&packet(number, frame), to); // what is lost is counted below
            sent += 1;
        }
        std::thread::sleep(FRAME / 4);
        for socket in sockets {
            while socket.recv_from(&mut bytes).is_ok() {
                came += 1;
            }
        }
        between();
    }
    unreachable!("the loop returns after a few hundred frames")
}

/// The next RTP packet of a phone.
fn packet(number: usize, frame: u16) -> [u8; 12 + CODES] {
    let mut packet = [0xff; 12 + CODES];
    packet[0] = 0x80;
    packet[1] = 0;
    packet[2..4].copy_from_slice(&frame.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(frame) * CODES as u32).to_be_bytes());
    packet[8..12].copy_from_slice(&(number as u32 + 1).to_be_bytes());
    if number < TALKERS {
        for (at, code) in packet[12..].iter_mut().enumerate() {
            // Some loud wave, another for each talker: what it sounds like does not matter here.
            let wave = (at * (number + 3) / 7 % 32) as u8;
            *code = if wave < 16 {
                0x90 + wave
            } else {
                0x10 + (wave - 16)
            };
        }
    }
    packet
}
