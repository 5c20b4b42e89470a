//! What the switch costs, measured from outside: `tests/run bench`, or
//! `cargo bench -p cordboard-tests --bench load -- fanout audio message register chat store webrtc`.
//!
//! The real binary (`$CORDBOARD_BIN`, which should be a release build) is started, loaded from this process, and
//! its CPU seconds are read from the kernel. Beside it, in turns and under the same load, runs a bare loop that
//! does nothing but receive and send the same datagrams: what is printed is how many times as much the switch
//! takes. Kamailio and Janus are measured in the same way where they are installed. Each figure is the best of a few
//! rounds, because whatever else the machine does only ever adds to it.

mod audio;
mod bare;
mod chat;
mod chat_legs;
mod compare;
mod cost;
mod datagrams;
mod fanout;
mod kamailio;
mod message;
mod party;
mod register;
mod store;
mod webrtc;

use std::process::ExitCode;

/// Rounds that each load is run; the best one counts.
const ROUNDS: usize = 3;

/// The benches, by the word that asks for them.
const BENCHES: [(&str, fn()); 7] = [
    ("fanout", fanout::run),
    ("audio", audio::run),
    ("message", message::run),
    ("register", register::run),
    ("chat", chat::run),
    ("store", store::run),
    ("webrtc", webrtc::run),
];

fn main() -> ExitCode {
    // cargo adds options of its own.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    if let [first, kind] = words.as_slice()
        && first == bare::WORD
    {
        bare::serve(kind);
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = words
        .iter()
        .find(|word| BENCHES.iter().all(|(name, _)| name != word))
    {
        eprintln!(
            "there is no bench \"{unknown}\"; there are: {}",
            BENCHES.map(|(name, _)| name).join(", ")
        );
        return ExitCode::FAILURE;
    }
    for (name, run) in BENCHES {
        if words.is_empty() || words.iter().any(|word| word == name) {
            run();
        }
    }
    ExitCode::SUCCESS
}

/// The smallest of what `ROUNDS` runs give, by `cost`.
fn best<T>(results: Vec<T>, cost: impl Fn(&T) -> f64) -> T {
    results
        .into_iter()
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .expect("there was at least one round")
}
