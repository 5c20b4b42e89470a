//! What the engine alone needs for messages, without sockets: `cargo bench -p cordboard-engine --bench deliveries`.
//!
//! Time in the engine is virtual; what is measured is reading each datagram, handing it in and draining.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads the clock"
)]
#![allow(clippy::print_stdout, reason = "its result is what it prints")]

mod house;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cordboard_engine::Engine;
use cordboard_engine::config::{ConferenceConfig, Config, Entrance};
use cordboard_engine::io::{Flow, Input, Output, Packet, Transport};
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::write::respond;
use cordboard_model::media::{MediaCommand, MediaEvent};
use cordboard_model::{AccountId, ConferenceId, Time};
use house::server;

/// Phones in the conference.
const PHONES: usize = 50;
/// Messages of one run.
const MESSAGES: usize = 4000;

fn config() -> Config {
    Config {
        conferences: vec![ConferenceConfig {
            id: ConferenceId(1),
            account: AccountId(1),
            name: "Daily".into(),
            member: Entrance {
                numbers: vec!["3000".into()],
                ..Entrance::default()
            },
            moderator: Entrance::default(),
            max_participants: 1000,
            chat: true,
            room: cordboard_engine::chat::config::RoomConfig::default(),
            outside_messages: false,
            send_events: false,
            echo_events: false,
            forward_audio: false,
            video: false,
        }],
        trusted: vec!["10.0.0.0/8".parse().expect("a network")],
        ..house::config()
    }
}

/// The engine with the time it took so far.
struct Bench {
    engine: Engine,
    now: Time,
    took: Duration,
    sent: Vec<(Flow, Packet)>,
    phones: Vec<Phone>,
}

/// A phone's side of its dialog.
struct Phone {
    flow: Flow,
    to: String,
    target: String,
    cseq: u32,
}

impl Bench {
    fn new() -> Self {
        let now = Time::from_unix_seconds(1_800_000_000);
        let mut bench = Self {
            engine: Engine::new(config(), [1; 32], now),
            now,
            took: Duration::ZERO,
            sent: Vec::new(),
            phones: Vec::new(),
        };
        (0..PHONES).for_each(|number| bench.join(number));
        bench.took = Duration::ZERO;
        bench
    }

    /// A datagram comes; what is sent for it is in `sent`.
    fn receive(&mut self, flow: Flow, bytes: &[u8]) {
        let (begun, mut opened) = (Instant::now(), None);
        let message = Message::parse(Bytes::copy_from_slice(bytes), Framing::Datagram).expect("a good one");
        let stamp = self.now;
        self.engine
            .handle(Input::Message { flow, message, stamp }, self.now);
        loop {
            while let Some(output) = self.engine.output() {
                match output {
                    Output::Send { flow, packet } => self.sent.push((flow, packet)),
                    Output::Media {
                        command: MediaCommand::Open { leg, .. },
                        ..
                    } => opened = Some(leg),
                    _ => {}
                }
            }
            let Some(leg) = opened.take() else { break };
            self.engine
                .handle(Input::Media(MediaEvent::Opened { leg, port: 20_000 }), self.now);
        }
        self.took += begun.elapsed();
    }

    /// Time goes on, and timers with it.
    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        let begun = Instant::now();
        if self.engine.next_timeout().is_some_and(|at| at <= self.now) {
            self.engine.timeout(self.now);
        }
        self.took += begun.elapsed();
    }

    fn join(&mut self, number: usize) {
        let peer = SocketAddr::from(([10, 0, 0, 1], 10_000 + u16::try_from(number).expect("few phones")));
        let flow = Flow {
            transport: Transport::Udp,
            listener: 0,
            peer,
            connection: 0,
        };
        self.phones.push(Phone {
            flow,
            to: "<sip:3000@192.0.2.1>".into(),
            target: "sip:3000@192.0.2.1".into(),
            cseq: 0,
        });
        let description =
            "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
        let invite = self.request(number, "INVITE", "application/sdp", description);
        self.receive(flow, &invite);
        let answers = std::mem::take(&mut self.sent);
        let answer = answers
            .iter()
            .map(|(_, packet)| whole(packet))
            .find(|m| m.status() == 200);
        let answer = answer.expect("the phone is in");
        let phone = &mut self.phones[number];
        answer.header(Name::To).expect("a To").clone_into(&mut phone.to);
        answer
            .contacts()
            .next()
            .expect("a Contact")
            .expect("a good one")
            .uri
            .clone_into(&mut phone.target);
        phone.cseq -= 1;
        let ack = self.request(number, "ACK", "", "");
        self.receive(flow, &ack);
        self.sent.clear();
    }

    fn request(&mut self, number: usize, method: &str, kind: &str, body: &str) -> Vec<u8> {
        let phone = &mut self.phones[number];
        phone.cseq += 1;
        let (cseq, peer) = (phone.cseq, phone.flow.peer);
        let kind = if kind.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {kind}\r\n")
        };
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {peer};branch=z9hG4bK{number}x{cseq}{method};rport\r\nMax-Forwards: 70\r\n\
             From: \"Phone {number}\" <sip:p{number}@lab.test>;tag=t{number}\r\nTo: {}\r\nCall-ID: call-{number}@lab\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:p{number}@{peer}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            phone.target,
            phone.to,
            body.len()
        )
        .into_bytes()
    }
}

fn whole(packet: &Packet) -> Message {
    let bytes = [&packet.head[..], &packet.tail[..]].concat();
    Message::parse(bytes.into(), Framing::Datagram).expect("the engine writes good ones")
}

fn main() {
    let mut bench = Bench::new();
    let body = "x".repeat(200);
    let (mut deliveries, mut sending, mut answering) = (0_u32, Duration::ZERO, Duration::ZERO);
    for message in 0..MESSAGES {
        let sender = message % PHONES;
        let request = bench.request(sender, "MESSAGE", "text/plain", &body);
        let flow = bench.phones[sender].flow;
        bench.wait(Duration::from_micros(500));
        let before = bench.took;
        bench.receive(flow, &request);
        sending += bench.took - before;
        let copies: Vec<(Flow, Message)> = bench
            .sent
            .drain(..)
            .map(|(flow, packet)| (flow, whole(&packet)))
            .filter(|(_, m)| m.is_request())
            .collect();
        let before = bench.took;
        for (flow, copy) in copies {
            let answer = respond(&copy, server(), 200, "OK", None).finish();
            bench.receive(flow, &answer);
            deliveries += 1;
        }
        answering += bench.took - before;
    }
    let each = |time: Duration| time.as_nanos() as f64 / f64::from(deliveries);
    println!(
        "{PHONES} phones, {deliveries} deliveries: {:.0} ns each ({:.0} to send a copy, {:.0} to take its answer, the rest timers)",
        each(bench.took),
        each(sending),
        each(answering)
    );
}
