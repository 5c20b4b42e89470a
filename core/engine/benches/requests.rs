//! What the engine alone needs for a REGISTER with digest and for a MESSAGE between users, without sockets and
//! disk: `cargo bench -p cordboard-engine --bench requests`.
//!
//! Time in the engine is virtual; what is measured is reading each datagram, handing it in and draining, and how
//! often that allocates. With a number behind `--`, so many requests in one run, spread over more time, and with the
//! beginning of a row's name that row alone: for a program that counts instructions in `Bench::take_in`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads the clock"
)]
#![allow(clippy::print_stdout, reason = "its result is what it prints")]

#[path = "../tests/counting/mod.rs"]
mod counting;
mod house;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cordboard_engine::Engine;
use cordboard_engine::config::{Config, Credential};
use cordboard_engine::io::{Flow, Input, Output, Packet, Transport};
use cordboard_engine::sip::digest::ha1_md5;
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::write::respond;
use cordboard_model::{AccountId, Time, UserId};
use house::server;
use md5::{Digest, Md5};

/// Users that register in turn.
const USERS: usize = 1000;
/// Requests of one run; the best of a few runs counts.
const REQUESTS: usize = 20_000;
const RUNS: usize = 5;

fn credential(username: String, number: u128) -> Credential {
    Credential {
        account: AccountId(1),
        user: UserId(number),
        ha1_md5: Some(ha1_md5(&username, "lab.test", "secret")),
        ha1_sha256: None,
        owner: username.clone(),
        display_name: String::new(),
        username,
    }
}

fn config() -> Config {
    let users = (0..USERS).map(|user| format!("u{user}"));
    let names = users.chain(["alice".into(), "bob".into()]);
    Config {
        credentials: (1..)
            .zip(names)
            .map(|(number, name)| credential(name, number))
            .collect(),
        trusted: vec!["10.0.0.0/8".parse().expect("a network")],
        ..house::config()
    }
}

/// The engine with the time it took so far.
struct Bench {
    engine: Engine,
    now: Time,
    took: Duration,
    allocations: usize,
    /// How much time goes by between two.
    step: Duration,
    packets: Vec<Packet>,
    sent: Vec<Message>,
    number: usize,
}

impl Bench {
    fn new(step: Duration) -> Self {
        let now = Time::from_unix_seconds(1_800_000_000);
        let mut bench = Self {
            engine: Engine::new(config(), [1; 32], now),
            now,
            took: Duration::ZERO,
            allocations: 0,
            step,
            packets: Vec::with_capacity(4),
            sent: Vec::new(),
            number: 0,
        };
        let bob = request(
            "REGISTER",
            "sip:lab.test",
            "bob",
            "first",
            1,
            trusted(),
            "Contact: <sip:bob@10.0.0.1:6000>\r\n",
            "",
        );
        bench.receive(trusted(), bob);
        bench
    }

    /// A datagram comes; what is sent for it is in `sent`. What is to be stored is stored at once.
    fn receive(&mut self, peer: SocketAddr, bytes: Vec<u8>) {
        let flow = Flow {
            transport: Transport::Udp,
            listener: 0,
            peer,
            connection: 0,
        };
        let bytes = Bytes::from(bytes);
        let begun = Instant::now();
        self.allocations += counting::allocations(|| self.take_in(flow, bytes));
        self.took += begun.elapsed();
        let whole = |bytes: Vec<u8>| {
            Message::parse(bytes.into(), Framing::Datagram).expect("the engine writes good ones")
        };
        self.sent = self
            .packets
            .drain(..)
            .map(|packet| whole([&packet.head[..], &packet.tail[..]].concat()))
            .collect();
    }

    #[inline(never)]
    fn take_in(&mut self, flow: Flow, bytes: Bytes) {
        let message = Message::parse(bytes, Framing::Datagram).expect("a good one");
        let stamp = self.now;
        self.engine
            .handle(Input::Message { flow, message, stamp }, self.now);
        while let Some(output) = self.engine.output() {
            match output {
                Output::Send { packet, .. } => self.packets.push(packet),
                Output::Store { ticket, .. } => {
                    self.engine.handle(Input::Stored { ticket, ok: true }, self.now);
                }
                _ => {}
            }
        }
    }

    /// Time goes on, and timers with it.
    fn wait(&mut self) {
        self.now = self.now + self.step;
        let begun = Instant::now();
        self.allocations += counting::allocations(|| self.time_out());
        self.took += begun.elapsed();
    }

    #[inline(never)]
    fn time_out(&mut self) {
        if self.engine.next_timeout().is_some_and(|at| at <= self.now) {
            self.engine.timeout(self.now);
        }
    }

    /// A user registers: the challenge, the proof.
    fn register(&mut self) {
        self.wait();
        self.number += 1;
        let (user, id) = (format!("u{}", self.number % USERS), format!("r{}", self.number));
        let contact = format!("Contact: <sip:{user}@192.0.2.9:5060>\r\nExpires: 600\r\n");
        let ask = |cseq, extra: &str| {
            request(
                "REGISTER",
                "sip:lab.test",
                &user,
                &id,
                cseq,
                stranger(),
                extra,
                "",
            )
        };
        self.receive(stranger(), ask(1, &contact));
        let proof = proof(&self.sent[0], &user);
        self.receive(stranger(), ask(2, &format!("{contact}{proof}")));
        assert_eq!(self.sent[0].status(), 200);
    }

    /// alice writes to bob, whose phone takes it.
    fn page(&mut self) {
        self.wait();
        self.number += 1;
        let id = format!("m{}", self.number);
        let message = request(
            "MESSAGE",
            "sip:bob@lab.test",
            "alice",
            &id,
            1,
            trusted(),
            "Content-Type: text/plain\r\n",
            "How do you do?",
        );
        self.receive(trusted(), message);
        let copy = self
            .sent
            .iter()
            .find(|message| message.is_request())
            .expect("it is relayed");
        let answer = respond(copy, server(), 200, "OK", Some("b")).finish();
        self.receive(trusted(), answer.to_vec());
        assert_eq!(self.sent[0].status(), 200);
    }
}

fn trusted() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 6000))
}

fn stranger() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 5060))
}

#[allow(
    clippy::too_many_arguments,
    reason = "each is a different part of one message"
)]
fn request(
    method: &str,
    target: &str,
    user: &str,
    id: &str,
    cseq: u32,
    peer: SocketAddr,
    extra: &str,
    body: &str,
) -> Vec<u8> {
    let to = if method == "MESSAGE" { "bob" } else { user };
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {peer};branch=z9hG4bK{id}.{cseq};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@lab.test>;tag={id}\r\nTo: <sip:{to}@lab.test>\r\nCall-ID: {id}@lab\r\n\
         CSeq: {cseq} {method}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The Authorization header that answers a challenge.
fn proof(challenge: &Message, user: &str) -> String {
    let challenge = challenge.header(Name::WwwAuthenticate).expect("a challenge");
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a nonce");
    let hash = |text: String| hex::encode(Md5::digest(text));
    let (ha1, ha2) = (
        hex::encode(ha1_md5(user, "lab.test", "secret")),
        hash("REGISTER:sip:lab.test".into()),
    );
    let response = hash(format!("{ha1}:{nonce}:00000001:c0:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"lab.test\", nonce=\"{nonce}\", uri=\"sip:lab.test\", \
         response=\"{response}\", algorithm=MD5, cnonce=\"c0\", qop=auth, nc=00000001\r\n"
    )
}

fn row(name: &str, one: fn(&mut Bench), requests: Option<usize>) {
    let (requests, runs, step) = match requests {
        Some(requests) => (requests, 1, Duration::from_millis(20)),
        None => (REQUESTS, RUNS, Duration::from_micros(200)),
    };
    let mut bench = Bench::new(step);
    let run = |_| {
        (bench.took, bench.allocations) = (Duration::ZERO, 0);
        (0..requests).for_each(|_| one(&mut bench));
        bench.took.as_nanos() as f64 / requests as f64
    };
    let best = (0..runs).map(run).fold(f64::INFINITY, f64::min);
    let allocations = bench.allocations as f64 / requests as f64;
    println!("{name:24} {best:8.0} ns {allocations:8.1} allocations");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let requests = arguments.iter().find_map(|argument| argument.parse().ok());
    let rows: [(_, fn(&mut Bench)); 2] = [
        ("REGISTER, 401, REGISTER", Bench::register),
        ("MESSAGE, relayed", Bench::page),
    ];
    let named = |name: &str| arguments.iter().any(|argument| name.starts_with(argument));
    let all = !rows.iter().any(|(name, _)| named(name));
    for (name, one) in rows.into_iter().filter(|(name, _)| all || named(name)) {
        row(name, one, requests);
    }
}
