//! Chat: one sender, a thousand clients on WebSockets; then (`chat_legs`) two hundred phones. What each delivery
//! costs, and how long it takes, beside a bare loop that writes the same bytes to as many sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cordboard_tests::client::meeting::{Heard, Meeting, start, start_invited};
use cordboard_tests::switch::Lab;
use serde_json::json;

use crate::bare::{Bare, STREAM_FRAME};
use crate::cost::{cpu_seconds, resident_bytes};
use crate::{ROUNDS, best, chat_legs};

pub(crate) const ROOM: &str = "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0";
const INVITATION: &str = "0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21";
/// Clients that only listen.
const LISTENERS: usize = 1000;
/// Threads of this process that read for them.
const READERS: usize = 4;
/// Messages of one round.
const MESSAGES: usize = 200;
/// Messages that the sender has not seen back yet.
pub(crate) const WINDOW: usize = 4;
/// When a copy that has not come counts as lost.
const LOST: Duration = Duration::from_secs(10);

/// What one round gave.
pub(crate) struct Figures {
    pub(crate) delivered: usize,
    pub(crate) lost: usize,
    pub(crate) seconds: f64,
    /// CPU seconds per 100,000 deliveries.
    pub(crate) cost: f64,
    /// From sending to each copy's arrival, in microseconds, sorted.
    pub(crate) delays: Vec<u32>,
    /// From sending to the arrival of a message's last copy.
    pub(crate) last: Vec<u32>,
}

/// Runs both benches.
pub fn run() {
    println!("chat: one sender, {LISTENERS} listeners on WebSockets, 200-byte messages, {WINDOW} at a time");
    let folder = tempfile::tempdir().expect("a folder for logs");
    let bare = Bare::start("streams", folder.path());
    let mut switch = Lab::new().also("[messages]\nrate = 0\n").start();
    let pid = switch.process().pid();
    let before = resident_bytes(pid);
    let epoch = Instant::now();
    let mut ours = Hall::switch(switch.http(), epoch);
    let mut beside = Hall::bare(SocketAddr::from(([127, 0, 0, 1], bare.ports[0])), epoch);
    let mut results = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        results.0.push(ours.round(pid));
        results.1.push(beside.round(bare.process.pid()));
    }
    let resident = resident_bytes(pid);
    ours.end();
    beside.end();
    let (ours, bare) = (best(results.0, |f| f.cost), best(results.1, |f| f.cost));
    show("bare loop", &bare);
    show("cordboard", &ours);
    println!(
        "  cordboard takes {:.1} times the bare loop ({} MiB resident, {} KiB per client)",
        ours.cost / bare.cost,
        resident >> 20,
        (resident.saturating_sub(before) >> 10) / LISTENERS as u64,
    );
    chat_legs::run();
}

/// Prints what a round gave.
pub(crate) fn show(name: &str, figures: &Figures) {
    let at = |delays: &[u32], quantile: f64| {
        let place = (delays.len().saturating_sub(1)) as f64 * quantile;
        delays.get(place as usize).copied().unwrap_or_default()
    };
    println!(
        "  {name}  {:.3} CPU s per 100,000 deliveries ({:.0} per CPU second)  {:.0} deliveries/s  each copy: p50 {} us p99 {} us  the last: p50 {} us p99 {} us  lost {}",
        figures.cost,
        1e5 / figures.cost,
        figures.delivered as f64 / figures.seconds,
        at(&figures.delays, 0.5),
        at(&figures.delays, 0.99),
        at(&figures.last, 0.5),
        at(&figures.last, 0.99),
        figures.lost,
    );
}

/// The time from each message's sending to its last copy, from those of its copies.
pub(crate) fn last_copies(copies: &[(u64, u32)]) -> Vec<u32> {
    let mut last = std::collections::BTreeMap::new();
    for (sent, delay) in copies {
        let known: &mut u32 = last.entry(*sent).or_default();
        *known = (*known).max(*delay);
    }
    let mut delays: Vec<u32> = last.into_values().collect();
    delays.sort_unstable();
    delays
}

/// A client that only listens.
enum Listener {
    Chat(Box<Meeting>),
    Bare(TcpStream, Vec<u8>),
}

/// The one who writes.
enum Sender {
    Chat(Box<Meeting>),
    Bare(TcpStream),
}

/// A room full of listeners.
struct Hall {
    sender: Sender,
    epoch: Instant,
    arrived: Arc<Arrived>,
    readers: Vec<JoinHandle<()>>,
}

/// What the readers have counted.
#[derive(Default)]
struct Arrived {
    count: AtomicUsize,
    /// When each message was sent and how long each copy took, in microseconds.
    copies: Mutex<Vec<(u64, u32)>>,
    ended: AtomicBool,
}

impl Hall {
    fn switch(server: SocketAddr, epoch: Instant) -> Self {
        let mut sender = enter(server);
        let listener = || {
            let answer =
                start_invited(server, ROOM, &json!({ "invite_code": INVITATION })).expect("an answer");
            let mut client = Meeting::connect(server, &answer).expect("connected");
            client.join("Gus").expect("let in");
            client.never_wait().expect("a socket");
            Listener::Chat(Box::new(client))
        };
        let hall = Self::fill(epoch, listener);
        while sender.next(Duration::from_millis(500)).is_some() {} // the joins
        hall(Sender::Chat(Box::new(sender)))
    }

    fn bare(server: SocketAddr, epoch: Instant) -> Self {
        let connect = |first: &[u8]| {
            let mut stream = TcpStream::connect(server).expect("it listens");
            stream.write_all(first).expect("it reads");
            stream
        };
        let listener = || {
            let stream = connect(b"R");
            stream.set_nonblocking(true).expect("a socket");
            Listener::Bare(stream, Vec::new())
        };
        Self::fill(epoch, listener)(Sender::Bare(connect(b"S")))
    }

    fn fill(epoch: Instant, listener: impl Fn() -> Listener) -> impl FnOnce(Sender) -> Self {
        let arrived = Arc::new(Arrived::default());
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let listeners: Vec<Listener> = (0..LISTENERS / READERS).map(|_| listener()).collect();
            let arrived = Arc::clone(&arrived);
            readers.push(std::thread::spawn(move || read(listeners, epoch, &arrived)));
        }
        move |sender| Self {
            sender,
            epoch,
            arrived,
            readers,
        }
    }

    fn round(&mut self, pid: u32) -> Figures {
        let copies = || self.arrived.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies().clear();
        let first = self.arrived.count.load(Ordering::Relaxed);
        let (before, begun) = (cpu_seconds(pid), Instant::now());
        for number in 0..MESSAGES {
            self.sender
                .write(&format!("{} ", self.epoch.elapsed().as_micros()));
            if number >= WINDOW - 1 {
                self.sender.acknowledged();
            }
        }
        (1..WINDOW).for_each(|_| self.sender.acknowledged());
        let wanted = first + MESSAGES * LISTENERS;
        let there = || (self.arrived.count.load(Ordering::Relaxed) >= wanted).then_some(());
        let _ = cordboard_tests::until(LOST, there); // what is missing is counted below
        let seconds = begun.elapsed().as_secs_f64();
        let delivered = self.arrived.count.load(Ordering::Relaxed) - first;
        let cost = (cpu_seconds(pid) - before) / delivered.max(1) as f64 * 1e5;
        let copies = copies().clone();
        let mut delays: Vec<u32> = copies.iter().map(|(_, delay)| *delay).collect();
        delays.sort_unstable();
        Figures {
            delivered,
            lost: MESSAGES * LISTENERS - delivered,
            seconds,
            cost,
            delays,
            last: last_copies(&copies),
        }
    }

    fn end(self) {
        self.arrived.ended.store(true, Ordering::Relaxed);
        for reader in self.readers {
            reader.join().expect("a reader does not panic");
        }
    }
}

/// Alice in the room.
pub(crate) fn enter(server: SocketAddr) -> Meeting {
    let answer = start(server, ROOM, "alice-token", &json!({})).expect("an answer");
    let mut sender = Meeting::connect(server, &answer).expect("connected");
    sender.join("alice").expect("let in");
    sender
}

impl Sender {
    fn write(&mut self, text: &str) {
        match self {
            Self::Chat(client) => client.write(&format!("{text:<200}")).expect("sent"),
            Self::Bare(stream) => {
                let frame = format!("{text:<STREAM_FRAME$}");
                stream.write_all(frame.as_bytes()).expect("sent");
            }
        }
    }

    fn acknowledged(&mut self) {
        match self {
            Self::Chat(client) => drop(client.event(LOST, "message_sent").expect("acknowledged")),
            Self::Bare(stream) => stream.read_exact(&mut [0; STREAM_FRAME]).expect("acknowledged"),
        }
    }
}

impl Listener {
    /// When the next message was sent that has come; its text begins with that.
    fn poll(&mut self) -> Option<u64> {
        match self {
            Self::Chat(client) => loop {
                let Heard::Frame(frame) = client.poll()? else {
                    return None;
                };
                if let Some(text) = frame["payload"]["content"].as_str() {
                    return text.split(' ').next()?.parse().ok();
                }
            },
            Self::Bare(stream, got) => {
                let mut buffer = [0; 16 * STREAM_FRAME];
                if got.len() < STREAM_FRAME
                    && let Ok(length) = stream.read(&mut buffer)
                {
                    got.extend_from_slice(&buffer[..length]);
                }
                if got.len() < STREAM_FRAME {
                    return None;
                }
                let frame: Vec<u8> = got.drain(..STREAM_FRAME).collect();
                std::str::from_utf8(&frame).ok()?.split(' ').next()?.parse().ok()
            }
        }
    }
}

/// Reads for many clients in turns.
fn read(mut listeners: Vec<Listener>, epoch: Instant, arrived: &Arrived) {
    let mut copies = Vec::new();
    while !arrived.ended.load(Ordering::Relaxed) {
        for listener in &mut listeners {
            while let Some(sent) = listener.poll() {
                let delay = epoch.elapsed().as_micros().saturating_sub(sent.into());
                copies.push((sent, u32::try_from(delay).unwrap_or(u32::MAX)));
            }
        }
        if copies.is_empty() {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        arrived.count.fetch_add(copies.len(), Ordering::Relaxed);
        let mut all = arrived.copies.lock().unwrap_or_else(PoisonError::into_inner);
        all.append(&mut copies);
    }
}
