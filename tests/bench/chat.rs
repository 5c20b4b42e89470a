//! Chat: one sender, a thousand clients on WebSockets. What each delivery costs, and how long it takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cordboard_tests::client::meeting::{Heard, Meeting, start, start_invited};
use cordboard_tests::switch::Lab;
use serde_json::json;

use crate::cost::{cpu_seconds, resident_bytes};
use crate::{ROUNDS, best};

const ROOM: &str = "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0";
const INVITATION: &str = "0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21";
/// Clients that only listen.
const LISTENERS: usize = 1000;
/// Threads of this process that read for them.
const READERS: usize = 4;
/// Messages of one round.
const MESSAGES: usize = 200;
/// Messages that the sender has not seen back yet.
const WINDOW: usize = 4;
/// When a copy that has not come counts as lost.
const LOST: Duration = Duration::from_secs(10);

/// What one round gave.
struct Figures {
    delivered: usize,
    seconds: f64,
    /// CPU seconds per 100,000 deliveries.
    cost: f64,
    /// From sending to each copy's arrival, in microseconds, sorted.
    delays: Vec<u32>,
}

/// What the readers have counted.
#[derive(Default)]
struct Arrived {
    copies: AtomicUsize,
    delays: Mutex<Vec<u32>>,
    ended: std::sync::atomic::AtomicBool,
}

/// Runs the bench.
pub fn run() {
    println!("chat: one sender, {LISTENERS} listeners on WebSockets, 200-byte messages, {WINDOW} at a time");
    let mut switch = Lab::new().also("[messages]\nrate = 0\n").start();
    let (server, pid) = (switch.http(), switch.process().pid());
    let before = resident_bytes(pid);
    let answer = start(server, ROOM, "alice-token", &json!({})).expect("an answer");
    let mut sender = Meeting::connect(server, &answer).expect("connected");
    sender.join("alice").expect("let in");
    let epoch = Instant::now();
    let arrived = Arc::new(Arrived::default());
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut clients = Vec::new();
        for _ in 0..LISTENERS / READERS {
            let answer =
                start_invited(server, ROOM, &json!({ "invite_code": INVITATION })).expect("an answer");
            let mut client = Meeting::connect(server, &answer).expect("connected");
            client.join("Gus").expect("let in");
            clients.push(client);
        }
        let arrived = Arc::clone(&arrived);
        readers.push(std::thread::spawn(move || read(clients, epoch, &arrived)));
    }
    while sender.next(Duration::from_millis(500)).is_some() {} // the joins
    let mut results = Vec::new();
    for _ in 0..ROUNDS {
        results.push(round(&mut sender, pid, epoch, &arrived));
    }
    let resident = resident_bytes(pid);
    arrived.ended.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("a reader does not panic");
    }
    let figures = best(results, |figures| figures.cost);
    println!(
        "  {:.3} CPU s per 100,000 deliveries  {:.0} deliveries/s, {:.0} per CPU second  p50 {} us  p99 {} us  lost {}  ({} MiB resident, {} KiB per client)",
        figures.cost,
        figures.delivered as f64 / figures.seconds,
        1e5 / figures.cost,
        figures.delay(0.5),
        figures.delay(0.99),
        MESSAGES * LISTENERS - figures.delivered,
        resident >> 20,
        (resident.saturating_sub(before) >> 10) / LISTENERS as u64,
    );
}

impl Figures {
    fn delay(&self, quantile: f64) -> u32 {
        let place = (self.delays.len().saturating_sub(1)) as f64 * quantile;
        self.delays.get(place as usize).copied().unwrap_or_default()
    }
}

/// Reads for many clients in turns. A message's text begins with the microsecond in which it was sent.
fn read(mut clients: Vec<Meeting>, epoch: Instant, arrived: &Arrived) {
    for client in &clients {
        client.never_wait().expect("a socket");
    }
    let mut delays = Vec::new();
    while !arrived.ended.load(Ordering::Relaxed) {
        for client in &mut clients {
            while let Some(Heard::Frame(frame)) = client.poll() {
                let Some(text) = frame["payload"]["content"].as_str() else {
                    continue;
                };
                let sent: u128 = text
                    .split(' ')
                    .next()
                    .and_then(|word| word.parse().ok())
                    .unwrap_or_default();
                let delay = epoch.elapsed().as_micros().saturating_sub(sent);
                delays.push(u32::try_from(delay).unwrap_or(u32::MAX));
            }
        }
        if delays.is_empty() {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        arrived.copies.fetch_add(delays.len(), Ordering::Relaxed);
        let mut all = arrived.delays.lock().unwrap_or_else(PoisonError::into_inner);
        all.append(&mut delays);
    }
}

fn round(sender: &mut Meeting, pid: u32, epoch: Instant, arrived: &Arrived) -> Figures {
    arrived
        .delays
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    let first = arrived.copies.load(Ordering::Relaxed);
    let (before, begun) = (cpu_seconds(pid), Instant::now());
    let mut open = 0;
    for _ in 0..MESSAGES {
        let text = format!("{:<200}", format!("{} ", epoch.elapsed().as_micros()));
        sender.write(&text).expect("sent");
        open += 1;
        while open >= WINDOW {
            sender.event(LOST, "message_sent").expect("acknowledged");
            open -= 1;
        }
    }
    for _ in 0..open {
        sender.event(LOST, "message_sent").expect("acknowledged");
    }
    let wanted = first + MESSAGES * LISTENERS;
    let there = || (arrived.copies.load(Ordering::Relaxed) >= wanted).then_some(());
    let _ = cordboard_tests::until(LOST, there); // what is missing is counted below
    let seconds = begun.elapsed().as_secs_f64();
    let delivered = arrived.copies.load(Ordering::Relaxed) - first;
    let cost = (cpu_seconds(pid) - before) / delivered.max(1) as f64 * 1e5;
    let mut delays = arrived
        .delays
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    delays.sort_unstable();
    Figures {
        delivered,
        seconds,
        cost,
        delays,
    }
}
