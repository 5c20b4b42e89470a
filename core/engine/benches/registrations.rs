//! What a million registrations cost: `cargo bench -p cordboard-engine --bench registrations`.
//!
//! Memory is what the process grows by, everything included: tables, strings, timers.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads the clock"
)]
#![allow(clippy::print_stdout, reason = "its result is what it prints")]

mod house;

use std::time::{Duration, Instant};

use cordboard_engine::Engine;
use cordboard_engine::io::{Output, StoredBinding, Transport};
use cordboard_model::Time;
use house::server;

const PHONES: u32 = 1_000_000;

/// A phone's contact, with values as long as real ones.
fn binding(number: u32, start: Time) -> StoredBinding {
    let [_, a, b, c] = number.to_be_bytes();
    StoredBinding {
        aor: format!("user{number}@lab.test").into(),
        contact: format!("sip:user{number}@10.{a}.{b}.{c}:5060;transport=udp").into(),
        expires: start + Duration::from_secs(60 + u64::from(number % 3600)),
        q: 1000,
        call_id: format!("{number:024x}@10.{a}.{b}.{c}").into(),
        cseq: 7,
        transport: Transport::Udp,
        local: server(),
        peer: format!("10.{a}.{b}.{c}:5060").parse().expect("an address"),
        connection: 0,
        user_agent: format!("Some Phone {}/4.2.{}", number % 20, number % 7).into(),
        path: String::new(),
        instance: String::new(),
    }
}

/// Bytes in memory, as the kernel counts them.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.expect("a number") * 1024
}

fn main() {
    let start = Time::from_unix_seconds(1_800_000_000);
    let mut engine = Engine::new(house::config(), [1; 32], start);
    let before = resident();
    let begun = Instant::now();
    for number in 0..PHONES {
        engine.load(binding(number, start));
    }
    let took = begun.elapsed();
    assert_eq!(engine.gauges().registrations, PHONES as usize);
    let each = (resident() - before) as f64 / f64::from(PHONES);
    println!("{PHONES} registrations: loaded in {took:.2?}, {each:.0} bytes each");

    let begun = Instant::now();
    let mut deleted = 0;
    while let Some(at) = engine.next_timeout() {
        engine.timeout(at);
        while let Some(output) = engine.output() {
            deleted += u32::from(matches!(output, Output::Store { .. }));
        }
    }
    assert_eq!((deleted, engine.gauges().registrations), (PHONES, 0));
    let took = begun.elapsed();
    println!(
        "all of them ended in {took:.2?}, {:.0} ns each",
        took.as_nanos() as f64 / f64::from(PHONES)
    );
}
