//! Messages inside a conference: what each delivery costs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard_tests::client::Message;
use cordboard_tests::switch::Lab;

use crate::bare::Bare;
use crate::cost::{cpu_seconds, resident_bytes};
use crate::party::{Party, Server};
use crate::{ROUNDS, best};

/// Copies that are delivered in one round.
const DELIVERIES: usize = 150_000;
/// Messages that are under way at a time.
const WINDOW: usize = 8;
/// Phones that send.
const SENDERS: usize = 10;
/// Bytes of a message.
const BODY: usize = 200;
/// How long the idle conference is watched: what it costs is not the messages' cost.
const IDLE: Duration = Duration::from_secs(1);
/// When a message that somebody has not got counts as lost.
const LOST: Duration = Duration::from_secs(5);

/// What one round gave.
struct Figures {
    delivered: usize,
    lost: usize,
    twice: usize,
    seconds: f64,
    /// CPU seconds per 100,000 deliveries, idle load taken off.
    cost: f64,
    /// From sending to each copy's arrival, in microseconds, sorted.
    delays: Vec<u32>,
}

/// Runs the bench.
pub fn run() {
    println!("fan-out: {BODY}-byte MESSAGEs inside a conference, {WINDOW} at a time from {SENDERS} phones");
    let folder = tempfile::tempdir().expect("a folder for logs");
    for phones in [50, 100] {
        let bare = Bare::start("fanout", folder.path());
        let mut switch = Lab::new().trust("127.0.0.0/8").start();
        let there = (Server::Switch(switch.sip()), switch.process().pid());
        let beside = (
            Server::Bare(SocketAddr::from(([127, 0, 0, 1], bare.ports[0]))),
            bare.process.pid(),
        );
        let mut results = (Vec::new(), Vec::new());
        let mut parties = (
            Party::join(there.0, phones, |_| None).0,
            Party::join(beside.0, phones, |_| None).0,
        );
        for round in 0..ROUNDS {
            results.1.push(load(&mut parties.1, beside.1, round));
            results.0.push(load(&mut parties.0, there.1, round));
        }
        let rss = resident_bytes(there.1) >> 20;
        parties.0.leave();
        let (ours, bare) = (best(results.0, |f| f.cost), best(results.1, |f| f.cost));
        for (name, figures) in [("bare loop", &bare), ("cordboard", &ours)] {
            println!(
                "  {phones:3} phones  {name}  {:.3} CPU s per 100,000 deliveries  {:7.0} deliveries/s  p50 {} us  p99 {} us  lost {}  twice {}",
                figures.cost,
                figures.delivered as f64 / figures.seconds,
                figures.delay(0.5),
                figures.delay(0.99),
                figures.lost,
                figures.twice,
            );
        }
        println!(
            "  {phones:3} phones  cordboard takes {:.1} times the bare loop ({rss} MiB resident)",
            ours.cost / bare.cost
        );
    }
}

impl Figures {
    fn delay(&self, quantile: f64) -> u32 {
        let place = (self.delays.len().saturating_sub(1)) as f64 * quantile;
        self.delays.get(place as usize).copied().unwrap_or_default()
    }
}

/// A message that is not everywhere yet.
struct Open {
    sent: Instant,
    /// Who has it.
    got: Vec<bool>,
    missing: usize,
    answered: bool,
}

fn load(party: &mut Party, pid: u32, round: usize) -> Figures {
    let phones = party.len();
    let count = DELIVERIES / (phones - 1);
    party.idle(Duration::from_millis(300));
    let (before, begun) = (cpu_seconds(pid), Instant::now());
    party.idle(IDLE);
    let idle = (cpu_seconds(pid) - before) / begun.elapsed().as_secs_f64();

    let (before, begun) = (cpu_seconds(pid), Instant::now());
    let mut open: HashMap<usize, Open> = HashMap::new();
    let mut calls: HashMap<(usize, String), usize> = HashMap::new();
    let mut figures = Figures {
        delivered: 0,
        lost: 0,
        twice: 0,
        seconds: 0.0,
        cost: 0.0,
        delays: Vec::new(),
    };
    let (first, mut next) = (round * count, round * count);
    while next < first + count || !open.is_empty() {
        while open.len() < WINDOW && next < first + count {
            let sender = next % SENDERS;
            let message = message(party, sender, next);
            calls.insert(
                (sender, message.header("CSeq").unwrap_or_default().to_owned()),
                next,
            );
            open.insert(
                next,
                Open {
                    sent: Instant::now(),
                    got: vec![false; phones],
                    missing: phones - 1,
                    answered: false,
                },
            );
            party.send(sender, &message.bytes());
            next += 1;
        }
        party.poll(Duration::from_millis(10), |leg, message| {
            take(&mut open, &mut calls, &mut figures, leg, &message)
        });
        open.retain(|_, message| {
            let lost = message.sent.elapsed() > LOST;
            figures.lost += if lost { message.missing } else { 0 };
            !lost && (message.missing > 0 || !message.answered)
        });
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    let used = cpu_seconds(pid) - before - idle * figures.seconds;
    figures.cost = used * 1e5 / figures.delivered.max(1) as f64;
    figures.delays.sort_unstable();
    figures
}

fn message(party: &mut Party, sender: usize, number: usize) -> Message {
    let mut body = format!("{{\"id\":{number},\"text\":\"");
    body.push_str(&"x".repeat(BODY - 2 - body.len()));
    body.push_str("\"}");
    party
        .request(sender, "MESSAGE")
        .with("Content-Type", "application/json")
        .with_body(body)
}

/// Notes a copy, or the answer that the sender got.
fn take(
    open: &mut HashMap<usize, Open>,
    calls: &mut HashMap<(usize, String), usize>,
    figures: &mut Figures,
    leg: usize,
    message: &Message,
) {
    if message.code().is_some() {
        let number = calls.remove(&(leg, message.header("CSeq").unwrap_or_default().to_owned()));
        if let Some(message) = number.and_then(|number| open.get_mut(&number)) {
            message.answered = true;
        }
        return;
    }
    let body = std::str::from_utf8(&message.body).unwrap_or_default();
    let number = body
        .strip_prefix("{\"id\":")
        .and_then(|rest| rest.split(',').next()?.parse().ok());
    let Some(number) = number else { return };
    let Some(message) = open.get_mut(&number) else {
        figures.twice += 1;
        return;
    };
    if std::mem::replace(&mut message.got[leg], true) {
        figures.twice += 1;
        return;
    }
    message.missing -= 1;
    figures.delivered += 1;
    figures
        .delays
        .push(u32::try_from(message.sent.elapsed().as_micros()).unwrap_or(u32::MAX));
}
