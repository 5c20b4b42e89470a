//! From the file as typed to the configuration as meant, table by table.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use cordboard_engine::config::{AbuseLimits, DigestAlgorithm, Limits, MailLimits, RegistrationLimits};
use cordboard_host::Grant;
use cordboard_model::hook::{Hook, OnFailure};
use cordboard_model::media::Codec;

use super::address::{self, SIP_LISTENERS};
use super::file::{Node as Typed, Tree};
use super::kind::{nearest, span_text};
use super::level::level_filter;
use super::mistake::Report;
use super::people;
use super::resolved::{
    CdrConfig, Chain, ChainEntry, Http, Log, LogFormat, Media, Messages, Node, Origin, PluginConfig, Plugins,
    Resolved, Sip, StoreConfig, Tls,
};
use crate::net::place::Bounds;
use crate::tls::{Pair, PairError, Roots};

/// Follows every reference of the file and notes each that leads nowhere. The result means something
/// only where the report holds no mistake.
pub(crate) fn resolve(file: &Path, root: &Tree, report: &mut Report<'_>) -> Resolved {
    let node = node(root.sure("node").tree(), report);
    let sip = sip(root.sure("sip").tree(), report);
    let http = http(root.sure("http").tree());
    let media = media(root.sure("media").tree(), report);
    address::check(root, media.shards, report);
    check_reach(root, &node, report);
    address::check_families(root, &node.public_ip, report);
    let people = people::resolve(root, report);
    let plugins = plugins(root, report);
    let chains = chains(root, report);
    Resolved {
        file: file.to_path_buf(),
        log: log(root.sure("log").tree(), report),
        media,
        store: store(root.sure("store").tree(), &node.data_dir),
        messages: messages(root.sure("messages").tree()),
        chat: super::chat::settings(root.sure("chat").tree(), people.chat_users),
        cdr: cdr(root.sure("cdr").tree()),
        tls: tls(root.sure("tls").tree(), report),
        node,
        sip,
        http,
        plugins,
        accounts: people.accounts,
        tokens: people.tokens,
        credentials: people.credentials,
        conferences: people.conferences,
        chains,
    }
}

fn count(node: &Typed) -> usize {
    usize::try_from(node.integer()).expect("the declared range is not negative")
}

fn node(tree: &Tree, report: &mut Report<'_>) -> Node {
    let addresses = tree.sure("public_ip");
    if addresses.items().is_empty() {
        report.mistake(
            &addresses.span,
            tree.at("public_ip"),
            "empty; give at least one address",
        );
    }
    for (at, item) in addresses.items().iter().enumerate() {
        if addresses.items()[..at]
            .iter()
            .any(|other| other.ip() == item.ip())
        {
            report.mistake(
                &item.span,
                tree.at("public_ip"),
                format!("{} is there twice", item.ip()),
            );
        }
        if item.ip().is_unspecified() {
            let what =
                "peers cannot reach this address; give one that they can, also where sockets listen on all";
            report.mistake(&item.span, tree.at("public_ip"), what);
        }
    }
    Node {
        name: tree.sure("name").text().into(),
        data_dir: tree.sure("data_dir").text().into(),
        public_ip: addresses.items().iter().map(Typed::ip).collect(),
        drain_timeout: tree.sure("drain_timeout").duration(),
    }
}

fn log(tree: &Tree, report: &mut Report<'_>) -> Log {
    let level = tree.sure("level");
    if let Err(what) = level_filter(level.text()) {
        report.mistake(&level.span, tree.at("level"), what);
    }
    Log {
        level: level.text().into(),
        format: match tree.sure("format").text() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        },
    }
}

fn sockets(node: &Typed) -> Vec<SocketAddr> {
    node.items().iter().map(Typed::socket).collect()
}

fn sip(tree: &Tree, report: &mut Report<'_>) -> Sip {
    let limits = tree.sure("limits").tree();
    let digests = tree.sure("digest");
    if digests.items().is_empty() {
        report.mistake(
            &digests.span,
            tree.at("digest"),
            "empty; give at least one of \"MD5\", \"SHA-256\"",
        );
    }
    if SIP_LISTENERS
        .iter()
        .all(|key| tree.sure(key).items().is_empty() && !tree.mistaken(key))
    {
        report.mistake(
            &tree.span,
            "sip",
            "no address to listen on: give `udp`, `tcp`, `tls`, `ws` or `wss` at least one",
        );
    }
    let trusted = tree.sure("trusted").items();
    for item in trusted.iter().filter(|item| item.network().prefix_len() == 0) {
        let what = "this is everybody: no request of this address family needs a password";
        report.warning(&item.span, tree.at("trusted"), what);
    }
    Sip {
        udp: sockets(tree.sure("udp")),
        tcp: sockets(tree.sure("tcp")),
        tls: sockets(tree.sure("tls")),
        ws: sockets(tree.sure("ws")),
        wss: sockets(tree.sure("wss")),
        trusted: trusted.iter().map(Typed::network).collect(),
        digests: digests
            .items()
            .iter()
            .map(|item| {
                if item.text() == "MD5" {
                    DigestAlgorithm::Md5
                } else {
                    DigestAlgorithm::Sha256
                }
            })
            .collect(),
        session_expires: tree.sure("session_expires").duration(),
        registration: registration(tree.sure("registration").tree(), report),
        limits: Limits {
            transactions: count(limits.sure("transactions")),
            calls: count(limits.sure("calls")),
            user_calls: count(limits.sure("user_calls")),
            dialog_queue: count(limits.sure("dialog_queue")),
            asks: count(limits.sure("asks")),
            subscriptions: count(limits.sure("subscriptions")),
            lag: limits.sure("lag").duration(),
        },
        connections: Bounds {
            most: count(limits.sure("connections")),
            of_source: count(limits.sure("source_connections")),
        },
        abuse: AbuseLimits {
            answer_scanners: tree.sure("answer_scanners").flag(),
            ..abuse(tree.sure("abuse").tree(), report)
        },
    }
}

fn abuse(tree: &Tree, report: &mut Report<'_>) -> AbuseLimits {
    let (first, longest) = (tree.sure("ban_time"), tree.sure("ban_time_max"));
    in_order(tree, "ban_time", "ban_time_max", report);
    let number = |key| u32::try_from(tree.sure(key).integer()).expect("the declared range fits");
    AbuseLimits {
        ban_after: number("ban_after"),
        window: tree.sure("window").duration(),
        ban_time: first.duration(),
        ban_time_max: longest.duration(),
        proven_for: tree.sure("proven_for").duration(),
        requests_per_second: number("requests_per_second"),
        user_requests_per_second: number("user_requests_per_second"),
        sources: count(tree.sure("sources")),
        answer_scanners: false,
    }
}

fn registration(tree: &Tree, report: &mut Report<'_>) -> RegistrationLimits {
    let (min, max, default) = (tree.sure("min"), tree.sure("max"), tree.sure("default"));
    if in_order(tree, "min", "max", report) {
        in_order(tree, "min", "default", report);
        in_order(tree, "default", "max", report);
    }
    RegistrationLimits {
        min: min.duration(),
        max: max.duration(),
        default: default.duration(),
        contacts: count(tree.sure("contacts")),
    }
}

/// Whether one duration is at most another. Where it is not, whichever comes later in the file is the mistake: a
/// default has no place there.
fn in_order(tree: &Tree, low: &str, high: &str, report: &mut Report<'_>) -> bool {
    let (below, above) = (tree.sure(low), tree.sure(high));
    if below.duration() <= above.duration() || tree.mistaken(low) || tree.mistaken(high) {
        return true;
    }
    let (late, key, what, early, other) = match below.span.start < above.span.start {
        true => (above, high, "below", below, low),
        false => (below, low, "above", above, high),
    };
    let other = match early.span.is_empty() {
        true => format!("`{other}`, whose default is {}", span_text(early.duration())),
        false => format!("`{other}` in line {}", report.line(&early.span)),
    };
    report.mistake(&late.span, tree.at(key), format!("{what} {other}"));
    false
}

/// The files are read now, so that what is checked is what is served.
fn tls(tree: &Tree, report: &mut Report<'_>) -> Tls {
    let path = |key| tree.get(key).map(|node| Path::new(node.text()));
    let mut pair = None;
    match (tree.get("cert"), tree.get("key")) {
        (Some(cert), Some(key)) => match Pair::read(Path::new(cert.text()), Path::new(key.text())) {
            Ok(read) => pair = Some(read),
            Err(PairError::Cert(what)) => report.mistake(&cert.span, tree.at("cert"), what),
            Err(PairError::Key(what)) => report.mistake(&key.span, tree.at("key"), what),
        },
        (Some(cert), None) if !tree.mistaken("key") => {
            report.mistake(
                &cert.span,
                tree.at("key"),
                "missing: give the private key of `cert`",
            );
        }
        (None, Some(key)) if !tree.mistaken("cert") => {
            report.mistake(
                &key.span,
                tree.at("cert"),
                "missing: give the certificate of `key`",
            );
        }
        _ => {}
    }
    if let (Some(pair), Some(cert)) = (&pair, tree.get("cert"))
        && let Some(what) = pair.warning()
    {
        report.warning(&cert.span, tree.at("cert"), what);
    }
    let roots = path("ca").map(Roots::read);
    if let (Some(Err(error)), Some(ca)) = (&roots, tree.get("ca")) {
        report.mistake(&ca.span, tree.at("ca"), error.to_string());
    }
    Tls {
        pair,
        roots: roots.and_then(Result::ok),
    }
}

fn http(tree: &Tree) -> Http {
    Http {
        listen: sockets(tree.sure("listen")),
        tls: sockets(tree.sure("tls")),
        connections: count(tree.sure("connections")),
        timeout: tree.sure("timeout").duration(),
    }
}

fn media(tree: &Tree, report: &mut Report<'_>) -> Media {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shards = match count(tree.sure("shards")) {
        0 => cores().min(256),
        shards => shards,
    };
    let named = tree.sure("codecs");
    if named.items().is_empty() {
        report.mistake(
            &named.span,
            tree.at("codecs"),
            "empty; give at least one codec, such as \"PCMA\"",
        );
    }
    let mut codecs: Vec<Codec> = Vec::new();
    for item in named.items() {
        let known = Codec::ALL.into_iter().find(|codec| codec.name() == item.text());
        codecs.extend(known.filter(|codec| !codecs.contains(codec)));
    }
    Media {
        codecs,
        shards: u16::try_from(shards).expect("the declared range fits"),
        rtp_ports: tree.sure("rtp_ports").ports(),
        rtp_timeout: tree.sure("rtp_timeout").duration(),
        webrtc_port: webrtc_port(tree, shards, report),
    }
}

fn webrtc_port(tree: &Tree, shards: usize, report: &mut Report<'_>) -> Option<u16> {
    let named = tree.sure("webrtc_port");
    let first = usize::try_from(named.integer()).expect("the declared range fits");
    if first > 0 && first + shards - 1 > usize::from(u16::MAX) {
        report.mistake(
            &named.span,
            tree.at("webrtc_port"),
            format!("{first}: there are not enough ports above it for {shards} media threads"),
        );
    }
    u16::try_from(first).ok().filter(|port| *port > 0)
}

fn store(tree: &Tree, data_dir: &Path) -> StoreConfig {
    StoreConfig {
        path: data_dir.join(tree.sure("path").text()),
        full_sync: tree.sure("sync").text() == "full",
    }
}

fn messages(tree: &Tree) -> Messages {
    let age = tree.sure("keep").duration();
    Messages {
        max_size: usize::try_from(tree.sure("max_size").size()).expect("the declared range fits"),
        rate: u32::try_from(tree.sure("rate").integer()).expect("the declared range fits"),
        mail: MailLimits {
            count: if age.is_zero() {
                0
            } else {
                count(tree.sure("keep_count"))
            },
            size: tree.sure("keep_size").size(),
            total: tree.sure("keep_total").size(),
            age,
        },
    }
}

fn cdr(tree: &Tree) -> CdrConfig {
    CdrConfig {
        file: tree.sure("file").flag(),
        max_size: tree.sure("max_size").size(),
        keep_files: u32::try_from(tree.sure("keep_files").integer()).expect("the declared range fits"),
        database: tree.sure("database").flag(),
        keep: tree.sure("keep").duration(),
    }
}

/// Phones elsewhere cannot answer to an address that only this machine has.
fn check_reach(root: &Tree, node: &Node, report: &mut Report<'_>) {
    let sip = root.sure("sip").tree();
    let open = SIP_LISTENERS
        .iter()
        .flat_map(|key| sip.sure(key).items())
        .find(|item| !item.socket().ip().is_loopback());
    if let Some(item) = open
        && node.public_ip.iter().all(std::net::IpAddr::is_loopback)
    {
        let what = format!(
            "{} can be reached from elsewhere, but `node.public_ip` is only loopback: phones would send their media to themselves",
            item.socket()
        );
        report.warning(&item.span, "sip", what);
    }
}

fn plugins(root: &Tree, report: &mut Report<'_>) -> Plugins {
    let settings = root.sure("plugins").tree();
    let mut names: HashMap<&str, &Range<usize>> = HashMap::new();
    let mut list = Vec::new();
    for tree in root.sure("plugin").trees() {
        let name = tree.get("name");
        if let Some(name) = name {
            if let Some(first) = names.get(name.text()) {
                let what = format!(
                    "\"{}\" is already the name of a plugin, in line {}",
                    name.text(),
                    report.line(first)
                );
                report.mistake(&name.span, tree.at("name"), what);
            } else {
                names.insert(name.text(), &name.span);
            }
        }
        for grant in tree.sure("grants").items() {
            if grant.text().parse::<Grant>().is_err() {
                let what = format!("the power \"{}\" is not served by this version", grant.text());
                report.warning(&grant.span, tree.at("grants"), what);
            }
        }
        let origin = origin(tree, settings.sure("build").flag(), report);
        if let (Some(name), Some(origin)) = (name, origin) {
            list.push(PluginConfig {
                name: name.text().into(),
                origin,
                config: tree.sure("config").json().to_string(),
                grants: tree
                    .sure("grants")
                    .items()
                    .iter()
                    .filter_map(|grant| grant.text().parse().ok())
                    .collect(),
                memory: tree.sure("memory").size(),
            });
        }
    }
    Plugins {
        build: settings.sure("build").flag(),
        setup: settings.sure("setup").flag(),
        list,
    }
}

fn origin(tree: &Tree, build: bool, report: &mut Report<'_>) -> Option<Origin> {
    match (tree.get("source"), tree.get("wasm")) {
        (Some(source), None) => {
            if !build {
                let what = "`[plugins] build` is false, so this plugin stays absent; give its compiled file as `wasm`";
                report.warning(&source.span, tree.at("source"), what);
            }
            Some(Origin::Source(PathBuf::from(source.text())))
        }
        (None, Some(wasm)) => Some(Origin::Wasm(PathBuf::from(wasm.text()))),
        (Some(_), Some(wasm)) => {
            report.mistake(
                &wasm.span,
                tree.at("wasm"),
                "`source` is given too; give one of them",
            );
            None
        }
        (None, None) if tree.mistaken("source") || tree.mistaken("wasm") => None,
        (None, None) => {
            report.mistake(
                &tree.span,
                &*tree.path,
                "missing: give `source` (a folder) or `wasm` (a compiled file)",
            );
            None
        }
    }
}

fn chains(root: &Tree, report: &mut Report<'_>) -> Vec<Chain> {
    let plugins: Vec<&str> = root
        .sure("plugin")
        .trees()
        .iter()
        .filter_map(|tree| tree.get("name"))
        .map(Typed::text)
        .collect();
    let hooks = root.sure("hooks").tree();
    let mut chains = Vec::new();
    for hook in Hook::ALL {
        let mut entries: Vec<ChainEntry> = Vec::new();
        for tree in hooks.sure(hook.name()).trees() {
            let Some(plugin) = tree.get("plugin") else {
                continue;
            };
            if !plugins.contains(&plugin.text()) {
                report.mistake(
                    &plugin.span,
                    tree.at("plugin"),
                    no_such_plugin(plugin.text(), &plugins),
                );
            } else if entries.iter().any(|entry| entry.plugin == plugin.text()) {
                let what = format!("\"{}\" is already in this list", plugin.text());
                report.mistake(&plugin.span, tree.at("plugin"), what);
            }
            entries.push(ChainEntry {
                plugin: plugin.text().into(),
                deadline: tree.sure("deadline").duration(),
                on_failure: match tree.sure("on_failure").text() {
                    "refuse" => OnFailure::Refuse,
                    _ => OnFailure::Pass,
                },
            });
        }
        if !entries.is_empty() {
            chains.push(Chain { hook, entries });
        }
    }
    chains
}

fn no_such_plugin(name: &str, plugins: &[&str]) -> String {
    match nearest(name, plugins.iter().copied()) {
        Some(near) => format!("no [[plugin]] is named \"{name}\"; the nearest is \"{near}\""),
        None if plugins.is_empty() => format!("no [[plugin]] is named \"{name}\"; none is configured"),
        None => format!(
            "no [[plugin]] is named \"{name}\"; there are {}",
            plugins.join(", ")
        ),
    }
}
