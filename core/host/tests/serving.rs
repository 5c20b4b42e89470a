//! Bundled plugins in a host: verdicts, chains, powers, what is kept, and builds that are replaced.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cordboard_host::{Grant, KvEntry, LoadError, Outcome, PluginSpec, Wasm};
use cordboard_model::hook::conference::{Admission, JoinVerdict};
use cordboard_model::hook::message::{Audience, MessageVerdict, Rewrite};
use cordboard_model::hook::route::RouteVerdict;
use cordboard_model::{Ask, Hook, OnFailure, Time, Verdict};
use support::{AMPLE, Bench, component, entry, hostile, join, message, rewritten, route, spec};

fn word_filter(config: &str) -> PluginSpec {
    spec("word-filter", "plugins/word-filter", config)
}

#[test]
fn words_are_masked_and_the_rest_stays_byte_for_byte() {
    let bench = Bench::new();
    let info = bench.load(word_filter(r#"{"words": ["darn"]}"#));
    assert_eq!(info.hooks, [Hook::MessageFilter]);
    bench.filter_with("word-filter", AMPLE, OnFailure::Refuse);
    assert_eq!(bench.message("well, Darn it ☃"), rewritten("well, **** it ☃"));
    assert_eq!(bench.message("well"), MessageVerdict::Pass);
    let json = message(
        "bob",
        "application/x-myphone-confbridge-chat+json",
        r#"{"darn":"\u0064arn ☃","n":1.50}"#,
    );
    assert_eq!(bench.answered(json), rewritten(r#"{"darn":"**** ☃","n":1.50}"#));
    assert_eq!(
        bench.answered(message("bob", "image/png", "darn")),
        MessageVerdict::Pass
    );

    bench.load(word_filter(
        r#"{"words": ["darn"], "mode": "reject", "code": 488, "reason": "No"}"#,
    ));
    assert_eq!(
        bench.message("darn"),
        MessageVerdict::Reject {
            code: 488,
            reason: "No".into()
        }
    );
    assert_eq!(
        bench.count("word-filter", Hook::MessageFilter, Outcome::Rewrite),
        2,
        "counts outlast a reload"
    );
    assert_eq!(
        bench.count("word-filter", Hook::MessageFilter, Outcome::Reject),
        1
    );
}

#[test]
fn the_office_has_hours_and_greets() {
    let now = Arc::new(Mutex::new(Time::from_unix_seconds(0)));
    let clock = now.clone();
    let bench = Bench::with(|config| config.clock = Arc::new(move || *clock.lock().unwrap()));
    let config = r#"{"open": "08:00-18:00", "greeting": "Good day, {name}"}"#;
    bench.load(spec("office-hours", "plugins/office-hours", config));
    bench.host.set_chain(
        Hook::ConferencePolicy,
        vec![entry("office-hours", AMPLE, OnFailure::Refuse)],
    );
    let answer = || bench.verdict(bench.ask(join("Ännä")));
    let reason = "Closed, opens 08:00".into();
    assert_eq!(answer(), Verdict::Join(JoinVerdict::Refuse { code: 480, reason }));
    *now.lock().unwrap() = Time::from_unix_seconds(8 * 3600);
    let greeting = Some("Good day, Ännä".into());
    assert_eq!(
        answer(),
        Verdict::Join(JoinVerdict::Admit(Admission {
            greeting,
            ..Admission::default()
        }))
    );
}

#[test]
fn a_filter_is_told_whom_each_message_is_for() {
    let bench = Bench::new();
    bench.load(hostile("hostile", "{}"));
    bench.filter_with("hostile", AMPLE, OnFailure::Refuse);
    for (audience, told) in [
        (Audience::Group("/Lab".into()), "Group(\"/Lab\")"),
        (
            Audience::One(Some("bob@lab.test".into())),
            "One(Some(\"bob@lab.test\"))",
        ),
        (Audience::One(None), "One(None)"),
        (Audience::Everybody, "Everybody"),
    ] {
        let Ask::Message(mut ask) = message("alice", "text/plain", "audience") else {
            panic!("a message");
        };
        ask.audience = audience;
        let verdict = bench.verdict(bench.ask(Ask::Message(ask)));
        let Verdict::Message(MessageVerdict::Reply { body, .. }) = verdict else {
            panic!("{verdict:?}");
        };
        assert!(String::from_utf8_lossy(&body).ends_with(told), "{body:?}");
    }
}

#[test]
fn the_first_plugin_that_knows_a_place_for_a_call_says_where_it_goes() {
    let bench = Bench::new();
    bench.load(hostile("first", r#"{"act": ""}"#));
    bench.load(hostile("second", r#"{"act": "user carol"}"#));
    let chain = |second| {
        vec![
            entry("first", AMPLE, OnFailure::Pass),
            entry("second", AMPLE, second),
        ]
    };
    bench.host.set_chain(Hook::CallRouter, chain(OnFailure::Pass));
    let answer = |said: &str| match bench.verdict(bench.ask(route(said))) {
        Verdict::Route(verdict) => verdict,
        other => panic!("{other:?}"),
    };
    assert_eq!(answer("conference 3000"), RouteVerdict::Conference("3000".into()));
    assert_eq!(answer("user bob"), RouteVerdict::User("bob".into()));
    let (code, reason) = (403, "No 4711 for Some(\"alice\")".into());
    assert_eq!(answer("refuse"), RouteVerdict::Refuse { code, reason });
    // A name with another header in it is no answer, and neither is none: the next one is asked.
    for failure in ["smuggle", "trap", "no opinion"] {
        assert_eq!(answer(failure), RouteVerdict::User("carol".into()), "{failure}");
    }
    let counted = |plugin, outcome| bench.count(plugin, Hook::CallRouter, outcome);
    assert_eq!(counted("first", Outcome::Route), 2);
    assert_eq!(counted("first", Outcome::Invalid), 1);
    assert_eq!(counted("second", Outcome::Route), 3);

    bench.load(hostile("second", r#"{"act": "trap"}"#));
    assert_eq!(answer("no opinion"), RouteVerdict::Pass);
    bench.host.set_chain(Hook::CallRouter, chain(OnFailure::Refuse));
    assert!(matches!(answer("no opinion"), RouteVerdict::Failed));
}

#[test]
fn a_hook_without_plugins_is_answered_at_once() {
    let bench = Bench::new();
    assert_eq!(bench.message("hi"), MessageVerdict::Pass);
    let admitted = JoinVerdict::Admit(Admission::default());
    assert_eq!(bench.verdict(bench.ask(join("a"))), Verdict::Join(admitted));
    let routed = Verdict::Route(RouteVerdict::Pass);
    assert_eq!(bench.verdict(bench.ask(route("a"))), routed);
}

#[test]
fn each_plugin_of_a_chain_sees_what_the_ones_before_it_changed() {
    let bench = Bench::new();
    bench.load(hostile("sign", r#"{"act": "sign"}"#));
    bench.load(hostile("shout", r#"{"act": "shout"}"#));
    bench.load(hostile("drop", r#"{"act": "drop"}"#));
    let chain = |names: &[&str]| {
        names
            .iter()
            .map(|name| entry(name, AMPLE, OnFailure::Refuse))
            .collect::<Vec<_>>()
    };
    bench
        .host
        .set_chain(Hook::MessageFilter, chain(&["sign", "shout", "sign"]));
    let expected = Rewrite {
        body: Some("HI -- ALICE \"Q\" ☃ -- signed".into()),
        display_name: Some("signed".into()),
        content_type: None,
    };
    assert_eq!(bench.message("hi"), MessageVerdict::Rewrite(expected));
    bench
        .host
        .set_chain(Hook::MessageFilter, chain(&["sign", "drop", "shout"]));
    assert_eq!(bench.message("hi"), MessageVerdict::Drop);
    assert_eq!(
        bench.count("shout", Hook::MessageFilter, Outcome::Rewrite),
        1,
        "drop ends the chain"
    );

    bench.load(hostile("rename", r#"{"act": "rename"}"#));
    bench
        .host
        .set_chain(Hook::ConferencePolicy, chain(&["rename", "rename"]));
    let renamed = Admission {
        display_name: Some("a!!".into()),
        muted: Some(true),
        ..Admission::default()
    };
    assert_eq!(
        bench.verdict(bench.ask(join("a"))),
        Verdict::Join(JoinVerdict::Admit(renamed))
    );
}

#[test]
fn what_a_plugin_keeps_is_told_and_given_back_after_a_restart() {
    type Kept = BTreeMap<(String, String), Vec<u8>>;
    let disk: Arc<Mutex<Kept>> = Arc::default();
    let start = || {
        let written = disk.clone();
        let bench = Bench::with(|config| {
            let kept = disk.lock().unwrap().clone();
            config.kv = kept
                .into_iter()
                .map(|((plugin, key), value)| KvEntry { plugin, key, value })
                .collect();
            config.on_kv_write = Arc::new(move |write| {
                let place = (write.plugin.to_owned(), write.key.to_owned());
                match write.value {
                    Some(value) => written.lock().unwrap().insert(place, value.to_vec()),
                    None => written.lock().unwrap().remove(&place),
                };
            });
        });
        bench.load(word_filter(r#"{"words": ["darn"]}"#));
        bench.filter_with("word-filter", AMPLE, OnFailure::Refuse);
        bench
    };
    let hits = || disk.lock().unwrap()[&("word-filter".to_owned(), "hits/darn".to_owned())].clone();
    let bench = start();
    let tickets: Vec<_> = (0..100)
        .map(|n| bench.ask(message(&format!("user{n}"), "text/plain", "darn")))
        .collect();
    tickets
        .into_iter()
        .for_each(|ticket| assert_eq!(bench.verdict(ticket), Verdict::Message(rewritten("****"))));
    assert_eq!(hits(), b"100", "workers that count at once lose nothing");
    drop(bench);
    assert_eq!(start().message("darn"), rewritten("****"));
    assert_eq!(hits(), b"101");
}

#[test]
fn a_power_that_is_not_granted_keeps_a_plugin_out_and_the_error_says_what_to_write() {
    let bench = Bench::new();
    let mut spec = word_filter(r#"{"words": []}"#);
    spec.grants = vec![Grant::Log];
    let error = bench.refused(spec);
    assert_eq!(
        error.to_string(),
        r#"it uses kv, which its entry does not grant; to grant it, write in the entry: grants = ["kv", "log"]"#
    );
    bench.filter_with("word-filter", AMPLE, OnFailure::Refuse);
    assert_eq!(bench.message("hi"), MessageVerdict::failed(OnFailure::Refuse));
    assert_eq!(
        bench.count("word-filter", Hook::MessageFilter, Outcome::Missing),
        1
    );
    let state = bench.host.state();
    assert_eq!(
        (state[0].loaded.is_none(), state[0].problem.clone()),
        (true, Some(error.to_string()))
    );
}

/// The component of the word filter with another text of the same length in its stamp.
fn stamped_otherwise(from: &str, to: &str) -> PluginSpec {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(component("plugins/word-filter")).unwrap();
    let at = bytes
        .windows(from.len())
        .rposition(|window| window == from.as_bytes())
        .expect("it is in the stamp");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    PluginSpec {
        wasm: Wasm::Bytes(bytes),
        ..word_filter(r#"{"words": []}"#)
    }
}

#[test]
fn what_is_no_plugin_of_this_switch_is_told_apart() {
    let bench = Bench::new();
    let error = bench.refused(stamped_otherwise(r#""kv":"#, r#""xx":"#));
    assert!(
        matches!(error, LoadError::NotWanted { power: Grant::Kv }),
        "{error}"
    );
    let error = bench.refused(stamped_otherwise(r#""api":"0.1.0""#, r#""api":"7.1.0""#));
    assert!(matches!(error, LoadError::Version { .. }), "{error}");
    let wasm = Wasm::Bytes(b"hello".to_vec());
    let error = bench.refused(PluginSpec {
        wasm,
        ..word_filter("{}")
    });
    assert!(matches!(error, LoadError::NotAPlugin(_)), "{error}");
    let error = bench.refused(PluginSpec {
        wasm: Wasm::Path("/nowhere.wasm".into()),
        ..word_filter("{}")
    });
    assert!(matches!(error, LoadError::Read { .. }), "{error}");
}

#[test]
fn a_new_build_takes_over_between_two_questions_and_a_bad_one_does_not() {
    let bench = Bench::new();
    bench.load(word_filter(r#"{"words": ["old"]}"#));
    bench.filter_with("word-filter", AMPLE, OnFailure::Refuse);
    let ask = |n: usize| -> Ask { message(&format!("user{n}"), "text/plain", "old new") };
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| bench.load(word_filter(r#"{"words": ["new"]}"#)));
        let mut asked = 0;
        while !loading.is_finished() {
            let verdict = bench.answered(ask(asked));
            assert!(
                verdict == rewritten("*** new") || verdict == rewritten("old ***"),
                "{verdict:?}"
            );
            asked += 1;
        }
    });
    assert_eq!(bench.answered(ask(0)), rewritten("old ***"));

    let error = bench
        .refused(word_filter(r#"{"words": ["x"], "code": 1}"#))
        .to_string();
    assert_eq!(
        bench.answered(ask(0)),
        rewritten("old ***"),
        "the last good build goes on"
    );
    let state = &bench.host.state()[0];
    assert_eq!(
        (state.loaded.is_some(), state.problem.as_deref()),
        (true, Some(error.as_str()))
    );
    assert!(!state.is_ready());
}

#[test]
fn state_names_what_is_missing_and_unload_ends_service_but_keeps_the_keys() {
    let bench = Bench::new();
    bench.host.set_problem("building", "it is being built");
    bench.load(word_filter(r#"{"words": ["darn"]}"#));
    bench.host.set_chain(
        Hook::ConferencePolicy,
        vec![entry("word-filter", AMPLE, OnFailure::Pass)],
    );
    let problems: Vec<_> = bench
        .host
        .state()
        .into_iter()
        .map(|state| (state.name, state.problem))
        .collect();
    let unserved = "it is listed under [hooks] for conference-policy, which it does not implement";
    assert_eq!(
        problems,
        [
            ("building".to_owned(), Some("it is being built".to_owned())),
            ("word-filter".to_owned(), Some(unserved.to_owned()))
        ]
    );
    bench.host.set_chain(Hook::ConferencePolicy, Vec::new());
    bench.filter_with("word-filter", AMPLE, OnFailure::Refuse);
    assert!(bench.host.state()[1].is_ready());
    assert_eq!(bench.message("darn"), rewritten("****"));
    bench.host.unload("word-filter");
    assert_eq!(bench.message("darn"), MessageVerdict::failed(OnFailure::Refuse));
}
