//! Plugins that loop, bomb memory, trap, lie or flood cost one verdict each, and nothing else.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use cordboard_host::{Grant, ImportOutcome, LoadError, Outcome};
use cordboard_model::hook::conference::JoinVerdict;
use cordboard_model::hook::message::MessageVerdict;
use cordboard_model::{Hook, OnFailure, Verdict};
use support::{AMPLE, Bench, SHORT, entry, hostile, join, message};

const FILTER: Hook = Hook::MessageFilter;

fn unavailable() -> MessageVerdict {
    MessageVerdict::failed(OnFailure::Refuse)
}

/// A bench with one hostile plugin that does what messages say.
fn bench(on_failure: OnFailure) -> Bench {
    let bench = Bench::new();
    bench.load(hostile("hostile", "{}"));
    bench.filter_with("hostile", AMPLE, on_failure);
    bench
}

#[test]
fn an_endless_loop_ends_at_the_deadline_and_others_are_served_meanwhile() {
    let bench = Bench::new();
    bench.load(hostile("spin", r#"{"act": "spin"}"#));
    bench.load(hostile("good", "{}"));
    bench.filter_with("spin", SHORT, OnFailure::Pass);
    bench.host.set_chain(
        Hook::ConferencePolicy,
        vec![entry("good", AMPLE, OnFailure::Refuse)],
    );

    let messages: Vec<_> = (0..20)
        .map(|n| bench.ask(message(&format!("user{n}"), "text/plain", "hi")))
        .collect();
    let joins: Vec<_> = (0..20).map(|_| bench.ask(join("rename"))).collect();
    for ticket in joins {
        assert!(matches!(
            bench.verdict(ticket),
            Verdict::Join(JoinVerdict::Admit(_))
        ));
    }
    for ticket in messages {
        assert_eq!(bench.verdict(ticket), Verdict::Message(MessageVerdict::Pass));
    }
    // On a busy machine even the start of a fresh instance may miss so short a deadline.
    let stopped = bench.count("spin", FILTER, Outcome::Timeout);
    assert_eq!(stopped + bench.count("spin", FILTER, Outcome::Missing), 20);
    assert!(stopped > 0);
    assert_eq!(bench.count("good", Hook::ConferencePolicy, Outcome::Admit), 20);

    bench.filter_with("spin", SHORT, OnFailure::Refuse);
    assert_eq!(bench.message("hi"), unavailable());
}

#[test]
fn a_failed_plugin_lets_the_next_one_of_the_chain_have_its_say() {
    let bench = Bench::new();
    bench.load(hostile("spin", r#"{"act": "spin"}"#));
    bench.load(hostile("good", "{}"));
    let chain = |on_failure| {
        vec![
            entry("spin", SHORT, on_failure),
            entry("good", AMPLE, OnFailure::Pass),
        ]
    };
    bench.host.set_chain(FILTER, chain(OnFailure::Pass));
    assert_eq!(bench.message("shout"), support::rewritten("SHOUT"));
    bench.host.set_chain(FILTER, chain(OnFailure::Refuse));
    assert_eq!(bench.message("shout"), unavailable());
    assert_eq!(
        bench.count("good", FILTER, Outcome::Rewrite),
        1,
        "a refusal ends the chain"
    );
}

#[test]
fn a_memory_bomb_is_stopped_at_its_limit_and_gives_all_back() {
    let bench = bench(OnFailure::Refuse);
    let before = bench.host.counts().plugins[0].memory_bytes;
    assert!(before > 0, "instances are warm");
    assert_eq!(bench.message("bomb"), unavailable());
    assert_eq!(bench.count("hostile", FILTER, Outcome::Memory), 1);
    assert!(
        bench.host.counts().plugins[0].memory_bytes < before,
        "the dead instance's memory is gone"
    );
    assert_eq!(bench.message("hello"), MessageVerdict::Pass);
    assert_eq!(
        bench.host.counts().plugins[0].memory_bytes,
        before,
        "a fresh instance is in its place"
    );
}

#[test]
fn a_trap_costs_one_verdict_and_the_instance() {
    let bench = bench(OnFailure::Refuse);
    let asked = |expected: &str| {
        let MessageVerdict::Reply { body, .. } = bench.message("asked") else {
            panic!("no reply")
        };
        assert_eq!(body, expected.to_owned());
    };
    asked("1");
    asked("2");
    for (act, count) in [("trap", 1), ("stack", 2), ("huge", 3)] {
        assert_eq!(bench.message(act), unavailable(), "{act}");
        assert_eq!(bench.count("hostile", FILTER, Outcome::Trap), count, "{act}");
        asked("1");
    }
}

#[test]
fn answers_out_of_bounds_are_failures() {
    let bench = bench(OnFailure::Refuse);
    for (act, count) in [("smuggle", 1), ("large", 2)] {
        assert_eq!(bench.message(act), unavailable(), "{act}");
        assert_eq!(bench.count("hostile", FILTER, Outcome::Invalid), count, "{act}");
    }
    bench.host.set_chain(
        Hook::ConferencePolicy,
        vec![entry("hostile", AMPLE, OnFailure::Refuse)],
    );
    let answer = |name: &str| bench.verdict(bench.ask(join(name)));
    assert_eq!(
        answer("smuggle"),
        Verdict::Join(JoinVerdict::failed(OnFailure::Refuse))
    );
    assert_eq!(
        answer("refuse"),
        Verdict::Join(JoinVerdict::Refuse {
            code: 403,
            reason: "No".into()
        })
    );
}

#[test]
fn floods_through_powers_are_cut() {
    let bench = bench(OnFailure::Refuse);
    assert_eq!(bench.message("kv 100"), MessageVerdict::Pass);
    assert_eq!(bench.message("kv 10"), MessageVerdict::Pass);
    assert_eq!(bench.message("log"), MessageVerdict::Pass);
    let counts = bench.host.counts();
    let imports = |power, outcome| {
        let found = counts.plugins[0]
            .imports
            .iter()
            .find(|import| (import.import, import.outcome) == (power, outcome));
        found.map_or(0, |import| import.count)
    };
    assert_eq!(imports(Grant::Kv, ImportOutcome::Limited), 36);
    assert_eq!(imports(Grant::Kv, ImportOutcome::Ok), 74);
    assert_eq!(
        imports(Grant::Log, ImportOutcome::Ok) + imports(Grant::Log, ImportOutcome::Limited),
        10_000
    );
    assert!(imports(Grant::Log, ImportOutcome::Limited) > 0);
}

#[test]
fn a_full_queue_and_old_questions_are_answered_without_asking() {
    let bench = Bench::with(|config| {
        config.workers = 1;
        config.queue_limit = 3;
        config.queue_time = std::time::Duration::ZERO;
    });
    bench.load(hostile("spin", r#"{"act": "spin"}"#));
    bench.filter_with("spin", SHORT, OnFailure::Refuse);
    let tickets: Vec<_> = (0..30)
        .map(|_| bench.ask(message("alice", "text/plain", "hi")))
        .collect();
    for ticket in tickets {
        assert_eq!(bench.verdict(ticket), Verdict::Message(unavailable()));
    }
    let of = |outcome| bench.count("spin", FILTER, outcome);
    let (full, expired, timeout) = (of(Outcome::QueueFull), of(Outcome::Expired), of(Outcome::Timeout));
    assert_eq!(full + expired + timeout, 30);
    // Whether even the first one is begun in time is up to the machine.
    assert!(
        full > 0 && expired > 0,
        "{full} full, {expired} expired, {timeout} in time"
    );
    assert_eq!(bench.host.counts().waiting, 0);
}

#[test]
fn a_plugin_that_cannot_start_is_not_loaded() {
    let bench = Bench::new();
    let error = bench.refused(hostile("hostile", r#"{"start": "refuse"}"#));
    assert_eq!(
        error.to_string(),
        r#"it does not start: start = "refuse": it was told so"#
    );
    let error = bench.refused(hostile("hostile", r#"{"atc": ""}"#));
    assert!(
        error
            .to_string()
            .contains("config: unknown field `atc`, expected `act` or `start`"),
        "{error}"
    );
    for act in ["trap", "bomb", "spin"] {
        let error = bench.refused(hostile("hostile", &format!(r#"{{"start": "{act}"}}"#)));
        assert!(matches!(error, LoadError::StartFailed(_)), "{act}: {error}");
    }
    assert_eq!(bench.host.counts().plugins[0].loads_failed, 5);
    assert_eq!(bench.host.counts().plugins[0].memory_bytes, 0);
}

#[test]
fn a_plugin_that_starts_slowly_comes_back_after_a_trap() {
    let bench = Bench::new();
    bench.load(hostile("hostile", r#"{"start": "slow 100"}"#));
    bench.filter_with("hostile", SHORT, OnFailure::Refuse);
    // On a busy machine the good question may miss its short deadline too.
    let serves = || (0..1000).any(|_| bench.message("hello") == MessageVerdict::Pass);
    assert!(serves());
    assert_eq!(bench.message("trap"), unavailable());
    // Within 5 ms it cannot start, so that is done beside the questions.
    let patience = std::time::Instant::now() + support::PATIENCE;
    while bench.message("hello") != MessageVerdict::Pass {
        assert!(std::time::Instant::now() < patience, "it never comes back");
        std::thread::sleep(SHORT);
    }
    assert!(
        bench.count("hostile", FILTER, Outcome::Missing) > 0,
        "questions meanwhile went without"
    );
}
