//! What is exported is what the catalogue declares, in a form that Prometheus takes.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use cordboard_engine::sip::method::Method;
use cordboard_host::{
    Grant, HookCounts, ImportCounts, ImportOutcome, Outcome, PluginCounts, PluginInfo, PluginState,
};
use cordboard_model::Hook;
use cordboard_model::measure::{FANOUT_BOUNDS, HOOK_BOUNDS, Histogram, TRANSACTION_BOUNDS};

use super::catalogue::{ALL, Type};
use super::{Exporter, HttpCounts, Snapshot, reference};
use crate::shard::ShardCounts;

const REFERENCE: &str = include_str!("../../../../config/METRICS.md");

/// A snapshot in which everything has happened once.
fn busy() -> (Snapshot, HttpCounts) {
    let mut snapshot = Snapshot::new("lab");
    snapshot.reloads.push(("applied", 1));
    let engine = &mut snapshot.engine;
    engine.requests_in.insert(Method::Invite, 3);
    engine.requests_out.insert(Method::Message, 4);
    engine.responses_out.insert((Method::Invite, 200), 3);
    engine.responses_in.insert((Method::Message, 202), 4);
    engine.responses_in.insert((Method::Message, 299), 1);
    engine.responses_in.insert((Method::Message, 298), 1);
    engine
        .server_seconds
        .insert(Method::Invite, Histogram::new(TRANSACTION_BOUNDS));
    engine.timeouts.insert("B", 1);
    engine.rejected.insert("bad_via", 1);
    engine.joins.insert(("udp", "ok"), 3);
    engine.messages.insert(("in", "conference", "relayed"), 1);
    engine
        .fanout_seconds
        .insert("conference", Histogram::new(FANOUT_BOUNDS));
    engine
        .delivery_seconds
        .insert("udp", Histogram::new(FANOUT_BOUNDS));
    engine.hook_timeouts.insert("message-filter", 1);
    engine.calls_ended.insert("bye", 2);
    engine.chat_tickets.insert("given", 2);
    engine.chat_dropped.insert("not_joined", 1);
    engine.subscriptions_ended.insert("timeout", 1);
    engine.bans.insert("scanner", 1);
    snapshot
        .message_latency
        .record_duration(Duration::from_micros(70));
    snapshot.refused.insert("bad_via", 2);
    snapshot.connections.insert("tcp", 5);
    snapshot.shards = vec![ShardCounts::default(), ShardCounts::default()];
    snapshot.host.plugins.push(PluginCounts {
        plugin: "word-filter".into(),
        hooks: vec![HookCounts {
            hook: Hook::MessageFilter,
            seconds: Histogram::new(HOOK_BOUNDS),
            outcomes: vec![(Outcome::Pass, 1)],
        }],
        imports: vec![ImportCounts {
            import: Grant::Kv,
            outcome: ImportOutcome::Ok,
            count: 1,
        }],
        memory_bytes: 1 << 20,
        loads_ok: 1,
        loads_failed: 0,
    });
    snapshot.plugins.push(PluginState {
        name: "word-filter".into(),
        loaded: Some(PluginInfo {
            version: "0.1.0".into(),
            api: "0.1.0".into(),
            hooks: vec![Hook::MessageFilter],
        }),
        problem: None,
    });
    let mut http = HttpCounts::default();
    http.requests
        .insert(("/metrics", "GET", "2xx"), Histogram::new(TRANSACTION_BOUNDS));
    http.refused.insert("timeout", 1);
    (snapshot, http)
}

fn text() -> String {
    let (snapshot, http) = busy();
    Exporter::new(SystemTime::now()).text(&snapshot, &http)
}

#[test]
fn everything_in_the_catalogue_is_exported_with_its_type_and_nothing_else_is() {
    let text = text();
    let exported: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let declared: Vec<_> = ALL
        .iter()
        .map(|metric| format!("{} {}", metric.name, metric.kind.name()))
        .collect();
    let declared: BTreeSet<_> = declared.iter().map(String::as_str).collect();
    assert_eq!(exported, declared);
}

#[test]
fn names_follow_the_rules() {
    let mut names = BTreeSet::new();
    for metric in ALL {
        let name = metric.name;
        assert!(names.insert(name), "{name} stands twice in the catalogue");
        assert!(
            name.starts_with("cordboard_") || name.starts_with("process_"),
            "{name}"
        );
        assert_eq!(name.ends_with("_total"), metric.kind == Type::Counter, "{name}");
        assert!(
            !metric.help.is_empty() && metric.help.ends_with('.'),
            "{name} needs a sentence"
        );
        for label in metric.labels {
            let personal = ["conference", "user", "call", "address", "participant"].contains(label);
            assert!(!personal, "{name} has the label {label}");
        }
    }
}

#[test]
fn the_reference_page_is_what_the_catalogue_says() {
    assert!(
        REFERENCE == reference(),
        "run: cargo run -- metrics-reference > config/METRICS.md"
    );
}

#[test]
fn values_and_labels_are_those_of_the_snapshot() {
    let text = text();
    for line in [
        concat!(
            "cordboard_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\",node=\"lab\"} 1\n"
        ),
        "cordboard_relay_latency_seconds_bucket{media=\"message\",le=\"0.00005\"} 0\n",
        "cordboard_relay_latency_seconds_bucket{media=\"message\",le=\"0.0001\"} 1\n",
        "cordboard_relay_latency_seconds_bucket{media=\"message\",le=\"+Inf\"} 1\n",
        "cordboard_relay_latency_seconds_count{media=\"mix\"} 0\n",
        "cordboard_sip_requests_total{method=\"INVITE\",direction=\"in\"} 3\n",
        "cordboard_sip_rejected_total{reason=\"bad_via\"} 3\n",
        "cordboard_sip_responses_total{method=\"MESSAGE\",code=\"202\",direction=\"in\"} 4\n",
        "cordboard_sip_connections{transport=\"tcp\"} 5\n",
        "cordboard_hook_verdicts_total{hook=\"message-filter\",plugin=\"word-filter\",verdict=\"pass\"} 1\n",
        "cordboard_shard_busy_ratio{shard=\"1\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    let alerts = include_str!("../../../../config/alerts.yaml");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = alerts.split(|c| !is_part(c));
    let named: BTreeSet<&str> = words
        .filter(|word| word.starts_with("cordboard_") || word.starts_with("process_"))
        .collect();
    let known = |word: &&str| {
        let name = word.strip_suffix("_bucket").unwrap_or(word);
        ALL.iter().any(|metric| metric.name == name)
    };
    let unknown: Vec<_> = named.iter().filter(|word| !known(word)).collect();
    assert!(unknown.is_empty() && named.len() >= 15, "{unknown:?}");
}

#[test]
fn codes_that_peers_invent_share_a_label() {
    let text = text();
    assert!(
        text.contains("cordboard_sip_responses_total{method=\"MESSAGE\",code=\"2xx\",direction=\"in\"} 2\n")
    );
    assert!(!text.contains("code=\"299\""));
}

#[test]
fn the_busy_ratio_is_of_the_time_between_two_scrapes() {
    let exporter = Exporter::new(SystemTime::now());
    let (mut snapshot, _) = busy();
    assert_eq!(exporter.busy_ratios(&snapshot.shards), [0.0, 0.0]);
    exporter.pretend_last_scrape_was(Duration::from_secs(10));
    snapshot.shards[1].busy = Duration::from_secs(5);
    let ratios = exporter.busy_ratios(&snapshot.shards);
    assert!(
        ratios[0].abs() < 1e-9 && (0.4..=0.5).contains(&ratios[1]),
        "{ratios:?}"
    );
    assert_eq!(
        exporter.busy_ratios(&snapshot.shards),
        ratios,
        "asked again at once"
    );
}
