//! Chat to phones: one sender on a WebSocket, two hundred calls that get each message as a MESSAGE.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use cordboard_tests::client::meeting::{Heard, Meeting};
use cordboard_tests::switch::Lab;

use crate::bare::Bare;
use crate::chat::{Figures, WINDOW, enter, last_copies, show};
use crate::cost::cpu_seconds;
use crate::party::{Party, Server};
use crate::{ROUNDS, best};

const PHONES: usize = 200;
/// Messages of one round.
const MESSAGES: usize = 200;
/// How long the last copies may take.
const LOST: Duration = Duration::from_secs(5);

/// The one who writes.
enum Sender {
    Chat(Box<Meeting>),
    Bare(UdpSocket, SocketAddr),
}

/// Runs the bench.
pub fn run() {
    println!(
        "chat to phones: one sender on a WebSocket, {PHONES} calls, 200-byte messages, {WINDOW} at a time"
    );
    let folder = tempfile::tempdir().expect("a folder for logs");
    let bare = Bare::start("fanout", folder.path());
    let bare_at = SocketAddr::from(([127, 0, 0, 1], bare.ports[0]));
    let mut switch = Lab::new()
        .trust("127.0.0.0/8")
        .also("[messages]\nrate = 0\n")
        .start();
    let pid = switch.process().pid();
    let mut parties = (
        Party::join(Server::Switch(switch.sip()), PHONES, |_| None).0,
        Party::join(Server::Bare(bare_at), PHONES, |_| None).0,
    );
    let alice = enter(switch.http());
    alice.never_wait().expect("a socket");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("it is ours");
    let mut senders = (Sender::Chat(Box::new(alice)), Sender::Bare(socket, bare_at));
    let epoch = Instant::now();
    let mut results = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        results.0.push(round(&mut parties.0, &mut senders.0, pid, epoch));
        results
            .1
            .push(round(&mut parties.1, &mut senders.1, bare.process.pid(), epoch));
    }
    parties.0.leave();
    let (ours, bare) = (best(results.0, |f| f.cost), best(results.1, |f| f.cost));
    show("bare loop", &bare);
    show("cordboard", &ours);
    println!(
        "  cordboard takes {:.1} times the bare loop",
        ours.cost / bare.cost
    );
}

impl Sender {
    fn write(&mut self, text: &str) {
        let text = format!("{text:<200}");
        match self {
            Self::Chat(client) => client.write(&text).expect("sent"),
            Self::Bare(socket, server) => {
                // As large as what the switch sends for it.
                let request = format!(
                    "MESSAGE sip:x SIP/2.0\r\nX: {}\r\nContent-Length: 200\r\n\r\n{text}",
                    "x".repeat(400)
                );
                let _ = socket.send_to(request.as_bytes(), *server); // what the kernel does not take is lost
            }
        }
    }

    /// How many messages have been acknowledged since the last look.
    fn acknowledged(&mut self) -> usize {
        match self {
            Self::Chat(client) => std::iter::from_fn(|| client.poll())
                .filter(|heard| matches!(heard, Heard::Frame(frame) if frame["payload"]["message"] == "message_sent"))
                .count(),
            Self::Bare(socket, _) => {
                let mut bytes = [0; 2048];
                std::iter::from_fn(|| socket.recv(&mut bytes).ok()).count()
            }
        }
    }
}

fn round(party: &mut Party, sender: &mut Sender, pid: u32, epoch: Instant) -> Figures {
    party.idle(Duration::from_millis(300));
    sender.acknowledged();
    let (before, begun) = (cpu_seconds(pid), Instant::now());
    let (mut written, mut open, mut last) = (0, 0, Instant::now());
    let mut copies: Vec<(u64, u32)> = Vec::new();
    while copies.len() < MESSAGES * PHONES && last.elapsed() < LOST {
        while open < WINDOW && written < MESSAGES {
            sender.write(&format!("{} ", epoch.elapsed().as_micros()));
            (open, written) = (open + 1, written + 1);
        }
        let known = copies.len();
        party.poll(Duration::from_millis(1), |_, message| {
            let text = std::str::from_utf8(&message.body).unwrap_or_default();
            let sent = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
            if let Some(sent) = sent.filter(|_| message.code().is_none()) {
                let delay = epoch.elapsed().as_micros().saturating_sub(sent.into());
                copies.push((sent, u32::try_from(delay).unwrap_or(u32::MAX)));
            }
        });
        open -= sender.acknowledged().min(open);
        if copies.len() > known {
            last = Instant::now();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut delays: Vec<u32> = copies.iter().map(|(_, delay)| *delay).collect();
    delays.sort_unstable();
    Figures {
        delivered: copies.len(),
        lost: (MESSAGES * PHONES).saturating_sub(copies.len()),
        seconds,
        cost: (cpu_seconds(pid) - before) / copies.len().max(1) as f64 * 1e5,
        delays,
        last: last_copies(&copies),
    }
}
