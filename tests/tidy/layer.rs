//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};

use crate::none;
use crate::source::{files, root, sources};

/// What reads a clock, a socket, a file or a runtime: none of it belongs into engine, media or model.
const OUTSIDE: &[&str] = &[
    "axum",
    "hyper",
    "mio",
    "nix",
    "prometheus",
    "quinn-udp",
    "rusqlite",
    "socket2",
    "tokio",
    "tungstenite",
    "wasmtime",
];

/// One row of the layering table.
struct Layer {
    package: &'static str,
    /// Our own crates that it may name as a normal or build dependency.
    ours: &'static [&'static str],
    /// Crates that must not come in, not even through others.
    never: &'static [&'static str],
    /// Those of them that come in all the same.
    but: &'static [&'static str],
}

const fn layer(
    package: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
    but: &'static [&'static str],
) -> Layer {
    Layer {
        package,
        ours,
        never,
        but,
    }
}

const MODEL: &[&str] = &["cordboard-model"];
const LAYERS: &[Layer] = &[
    layer("cordboard-model", &[], OUTSIDE, &[]),
    layer("cordboard-engine", MODEL, OUTSIDE, &[]),
    // rtc-shared, which rtc-dtls stands on, brings nix for sockets of its own that nobody opens here.
    layer("cordboard-media", MODEL, OUTSIDE, &["nix"]),
    layer("cordboard-host", MODEL, OUTSIDE, &["wasmtime"]),
    layer(
        "cordboard",
        &[
            "cordboard-model",
            "cordboard-engine",
            "cordboard-media",
            "cordboard-host",
            "cordboard-plugin-build",
        ],
        &["rsip"],
        &[],
    ),
    layer("cordboard-sdk", &[], OUTSIDE, &[]),
    layer(
        "cordboard-plugin-build",
        &[],
        &["tokio", "wasmtime", "axum", "rusqlite"],
        &[],
    ),
    layer("cordboard-tests", &[], &["rsip", "wasmtime"], &[]),
];

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    let mut broken = Vec::new();
    for path in files()
        .into_iter()
        .filter(|p| p.ends_with("Cargo.toml") && p.starts_with("core/"))
    {
        let text = std::fs::read_to_string(root().join(&path)).expect("listed a moment ago");
        let manifest: toml::Table = toml::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let takes = manifest
            .get("lints")
            .and_then(|l| l.get("workspace"))
            .and_then(toml::Value::as_bool);
        if takes != Some(true) {
            broken.push(path);
        }
    }
    none("Cargo.toml says [lints] workspace = true", broken);
}

/// The packages that each package of the workspace brings in by normal and build dependencies, directly or not.
fn closures(metadata: &cargo_metadata::Metadata) -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let graph = metadata
        .resolve
        .as_ref()
        .expect("cargo metadata resolves unless told not to");
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|p| (&p.id, p.name.as_str()))
        .collect();
    let arrows: BTreeMap<&PackageId, Vec<&PackageId>> = graph
        .nodes
        .iter()
        .map(|node| {
            let shipped = node
                .deps
                .iter()
                .filter(|d| d.dep_kinds.iter().any(|k| k.kind != DependencyKind::Development));
            (&node.id, shipped.map(|d| &d.pkg).collect())
        })
        .collect();
    let walk = |member: &PackageId| {
        let name = |id: &&PackageId| names[*id].to_owned();
        let direct: BTreeSet<String> = arrows[member].iter().map(name).collect();
        let (mut all, mut open) = (BTreeSet::new(), arrows[member].clone());
        while let Some(next) = open.pop() {
            if all.insert(next) {
                open.extend(&arrows[next]);
            }
        }
        (direct, all.iter().map(name).collect())
    };
    metadata
        .workspace_members
        .iter()
        .map(|m| (names[m].to_owned(), walk(m)))
        .collect()
}

#[test]
fn crates_depend_only_as_the_table_allows() {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), platform])
        .exec()
        .expect("cargo metadata of the workspace");
    let closures = closures(&metadata);
    let mut broken = Vec::new();
    for (package, (direct, all)) in &closures {
        let Some(layer) = LAYERS.iter().find(|l| l.package == package) else {
            broken.push(format!("{package} is not in the table: say what it may see"));
            continue;
        };
        let ours = direct
            .iter()
            .filter(|d| closures.contains_key(*d) && !layer.ours.contains(&d.as_str()));
        broken.extend(ours.map(|d| format!("{package} depends on {d}")));
        for name in layer.never {
            match (all.contains(*name), layer.but.contains(name)) {
                (true, false) => broken.push(format!("{package} brings in {name}")),
                (false, true) => broken.push(format!(
                    "{package} is excused for {name}, and does not bring it in"
                )),
                _ => {}
            }
        }
    }
    let gone = LAYERS.iter().filter(|l| !closures.contains_key(l.package));
    broken.extend(gone.map(|l| format!("{} is in the table but not in the workspace", l.package)));
    none("the arrows of ARCHITECTURE.md", broken);
}

#[test]
fn plugins_see_the_sdk_only() {
    let mut broken = Vec::new();
    let plugin = |p: &String| {
        p.ends_with("/Cargo.toml") && (p.starts_with("plugins/") || p.starts_with("tests/plugins/"))
    };
    for path in files().into_iter().filter(plugin) {
        let text = std::fs::read_to_string(root().join(&path)).expect("listed a moment ago");
        let manifest: toml::Table = toml::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let tables = ["dependencies", "dev-dependencies", "build-dependencies"].map(|t| manifest.get(t));
        for name in tables
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_table)
            .flat_map(|t| t.keys())
        {
            if name.starts_with("cordboard")
                && !["cordboard-sdk", "cordboard-testkit"].contains(&name.as_str())
            {
                broken.push(format!("{path} names {name}"));
            }
        }
    }
    none("a plugin sees the SDK, never the core", broken);
}

#[test]
fn the_host_knows_neither_sip_nor_rtp() {
    let mut broken = Vec::new();
    for source in sources()
        .into_iter()
        .filter(|s| s.path.starts_with("core/host/src/"))
    {
        for (n, line) in source.shipped() {
            if line
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| matches!(word, "SIP" | "RTP"))
            {
                broken.push(format!("{}:{n}: {}", source.path, line.trim()));
            }
        }
    }
    none(
        "the host runs plugins; what they are asked about is the model's",
        broken,
    );
}
