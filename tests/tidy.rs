//! The rules of the house as tests: who may depend on whom, how big things may get, what must never stand in a file.
//!
//! Each rule is one test, so that a failure names the rule. Exceptions stand in the tables below, by name and with
//! the reason; an exception that is no longer needed fails too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Lines that a file may have, its `#[cfg(test)]` parts not counted.
const FILE_CAP: usize = 600;
/// Lines that half of the production files stay under.
const FILE_MEDIAN: usize = 150;
/// Lines that a function may have, from its signature to its closing brace.
const FUNCTION_CAP: usize = 120;
/// Lines that 99 of 100 production functions stay under.
const FUNCTION_P99: usize = 90;

/// Files over the cap: path and why.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions over the cap: path, name and why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];
/// Crate roots that do not forbid unsafe code: path and why. They deny it, and allow it in one named module.
const UNSAFE_ROOTS: &[(&str, &str)] = &[
    (
        "core/switch/src/main.rs",
        "the UDP socket module calls recvmmsg and sets socket options",
    ),
    (
        "core/host/src/lib.rs",
        "loading the host's own compiled plugins is unsafe by wasmtime's contract",
    ),
    (
        "sdk/rust/src/lib.rs",
        "the bindings that wit-bindgen makes are unsafe inside",
    ),
];

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
}

const LAYERS: &[Layer] = &[
    Layer {
        package: "cordboard-model",
        ours: &[],
        never: OUTSIDE,
    },
    Layer {
        package: "cordboard-engine",
        ours: &["cordboard-model"],
        never: OUTSIDE,
    },
    Layer {
        package: "cordboard-media",
        ours: &["cordboard-model"],
        // Without nix: rtc-shared, which rtc-dtls stands on, brings it for sockets of its own that nobody opens here.
        never: &[
            "axum",
            "hyper",
            "mio",
            "prometheus",
            "quinn-udp",
            "rusqlite",
            "socket2",
            "tokio",
            "tungstenite",
            "wasmtime",
        ],
    },
    Layer {
        package: "cordboard-host",
        ours: &["cordboard-model"],
        never: &[
            "axum",
            "hyper",
            "mio",
            "prometheus",
            "quinn-udp",
            "rusqlite",
            "socket2",
            "tokio",
            "tungstenite",
        ],
    },
    Layer {
        package: "cordboard",
        ours: &[
            "cordboard-model",
            "cordboard-engine",
            "cordboard-media",
            "cordboard-host",
            "cordboard-plugin-build",
        ],
        never: &["rsip"],
    },
    Layer {
        package: "cordboard-sdk",
        ours: &[],
        never: OUTSIDE,
    },
    Layer {
        package: "cordboard-plugin-build",
        ours: &[],
        never: &["tokio", "wasmtime", "axum", "rusqlite"],
    },
    Layer {
        package: "cordboard-tests",
        ours: &[],
        never: &["rsip", "wasmtime"],
    },
];

/// A Rust file, read once.
struct Source {
    /// From the checkout's root, with `/`.
    path: String,
    text: String,
    /// Lines outside of `#[cfg(test)]` items.
    body_lines: usize,
    /// Line ranges (first and last, from 1) of `#[cfg(test)]` items and `#[test]` functions.
    test_ranges: Vec<(usize, usize)>,
    /// Name and length of every function.
    functions: Vec<(String, usize)>,
}

impl Source {
    /// Whether the whole file exists for tests only.
    fn is_test(&self) -> bool {
        let in_folder = self
            .path
            .split('/')
            .any(|part| matches!(part, "tests" | "testkit" | "benches" | "fuzz"));
        in_folder
            || ["/test.rs", "/tests.rs", "_test.rs", "_tests.rs"]
                .iter()
                .any(|end| self.path.ends_with(end))
    }

    /// The lines that ship, with their numbers.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        numbered
            .filter(|(n, _)| !self.is_test() && !self.test_ranges.iter().any(|(a, b)| (a..=b).contains(&n)))
    }
}

/// Finds functions and test-only parts.
#[derive(Default)]
struct Measure {
    functions: Vec<(String, usize)>,
    test_ranges: Vec<(usize, usize)>,
}

impl Measure {
    fn function(
        &mut self,
        name: &syn::Ident,
        attributes: &[syn::Attribute],
        from: proc_macro2::Span,
        block: &syn::Block,
    ) {
        let (first, last) = (from.start().line, block.span().end().line);
        self.functions.push((name.to_string(), last - first + 1));
        if attributes.iter().any(|a| a.path().is_ident("test")) {
            self.test_ranges.push((first, last));
        }
    }
}

impl<'ast> Visit<'ast> for Measure {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(m) => &m.attrs,
            syn::Item::Fn(f) => &f.attrs,
            syn::Item::Impl(i) => &i.attrs,
            syn::Item::Use(u) => &u.attrs,
            _ => return visit::visit_item(self, item),
        };
        if attributes.iter().any(is_for_tests) {
            self.test_ranges
                .push((item.span().start().line, item.span().end().line));
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, f: &'ast syn::ItemFn) {
        self.function(&f.sig.ident, &f.attrs, f.sig.span(), &f.block);
        visit::visit_item_fn(self, f);
    }

    fn visit_impl_item_fn(&mut self, f: &'ast syn::ImplItemFn) {
        self.function(&f.sig.ident, &f.attrs, f.sig.span(), &f.block);
        visit::visit_impl_item_fn(self, f);
    }

    fn visit_trait_item_fn(&mut self, f: &'ast syn::TraitItemFn) {
        if let Some(block) = &f.default {
            self.function(&f.sig.ident, &f.attrs, f.sig.span(), block);
        }
        visit::visit_trait_item_fn(self, f);
    }
}

/// `#[cfg(test)]`, also inside `all(..)`.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let words = list.tokens.to_string();
    list.path.is_ident("cfg")
        && !words.starts_with("not")
        && words.split(|c: char| !c.is_alphanumeric()).any(|w| w == "test")
}

fn measure(path: &str, text: String) -> Source {
    let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{path}:{}: {e}", e.span().start().line));
    let mut found = Measure::default();
    found.visit_file(&file);
    let in_tests = |n: &usize| found.test_ranges.iter().any(|(a, b)| (a..=b).contains(&n));
    let body_lines = (1..=text.lines().count()).filter(|n| !in_tests(n)).count();
    Source {
        path: path.to_owned(),
        text,
        body_lines,
        test_ranges: found.test_ranges,
        functions: found.functions,
    }
}

fn root() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder"))
        .parent()
        .expect("tests/ lies in the checkout")
        .to_owned()
}

/// Every file of the checkout that people write, as paths from its root.
fn files() -> Vec<String> {
    let root = root();
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("a readable folder entry").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let generated = matches!(
                name.as_str(),
                "target" | ".git" | "node_modules" | "data" | "artifacts"
            );
            if path.is_dir() && !generated {
                open.push(path);
            } else if path.is_file() {
                let relative = path.strip_prefix(&root).expect("found below the root");
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file; templates hold placeholders and are looked at when they are filled in.
fn sources() -> Vec<Source> {
    let rust = files()
        .into_iter()
        .filter(|p| p.ends_with(".rs") && !p.starts_with("sdk/template/"));
    rust.map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        measure(&path, text)
    })
    .collect()
}

#[track_caller]
fn none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

fn percentile(mut values: Vec<usize>, hundredths: usize) -> usize {
    values.sort_unstable();
    values
        .get(values.len() * hundredths / 100)
        .or(values.last())
        .copied()
        .unwrap_or(0)
}

#[test]
fn no_file_is_longer_than_the_cap() {
    let mut broken = Vec::new();
    for source in sources() {
        let excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        if (source.body_lines > FILE_CAP) != excused {
            broken.push(format!(
                "{}: {} lines{}",
                source.path,
                source.body_lines,
                if excused { ", excused for nothing" } else { "" }
            ));
        }
    }
    none(
        "a file has at most 600 lines without its tests: cut it by subject",
        broken,
    );
}

#[test]
fn half_of_the_files_are_short() {
    let sizes = sources()
        .iter()
        .filter(|s| !s.is_test())
        .map(|s| s.body_lines)
        .collect();
    let median = percentile(sizes, 50);
    assert!(
        median <= FILE_MEDIAN,
        "the median of the files is {median} lines, the bar is {FILE_MEDIAN}"
    );
}

#[test]
fn no_function_is_longer_than_the_cap() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, lines) in &source.functions {
            let excused = LONG_FUNCTIONS
                .iter()
                .any(|(path, function, _)| *path == source.path && function == name);
            if *lines > FUNCTION_CAP && !excused {
                broken.push(format!("{}: {name} has {lines} lines", source.path));
            }
        }
    }
    none("a function has at most 120 lines", broken);
}

#[test]
fn nearly_all_functions_are_short() {
    let shipped = sources().into_iter().filter(|s| !s.is_test());
    let p99 = percentile(
        shipped
            .flat_map(|s| s.functions)
            .map(|(_, lines)| lines)
            .collect(),
        99,
    );
    assert!(
        p99 <= FUNCTION_P99,
        "99 of 100 functions have at most {p99} lines, the bar is {FUNCTION_P99}"
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|s| {
        let first = s
            .text
            .lines()
            .find(|line| !line.starts_with("#!") && !line.trim().is_empty())
            .unwrap_or("");
        first
            .strip_prefix("//!")
            .is_none_or(|said| said.trim().len() <= 10)
    });
    none(
        "a file begins with `//!` and what it is for",
        silent.map(|s| s.path).collect(),
    );
}

#[test]
fn nothing_that_ships_unwraps() {
    let mut broken = Vec::new();
    for source in sources() {
        let bad = source
            .shipped()
            .filter(|(_, line)| line.contains(".unwrap()") && !line.trim_start().starts_with("//"));
        broken.extend(bad.map(|(n, line)| format!("{}:{n}: {}", source.path, line.trim())));
    }
    none(
        "no unwrap outside tests: handle it, or `expect` the invariant",
        broken,
    );
}

#[test]
fn nothing_is_left_undone() {
    let macros = ["todo", "unimplemented"].map(|word| format!("{word}!("));
    let marks = ["FIX", "TO"].map(|half| format!("// {half}{}", if half == "TO" { "DO" } else { "ME" }));
    let mut broken = Vec::new();
    for source in sources() {
        for (n, line) in source.text.lines().enumerate() {
            if macros.iter().any(|m| line.contains(m)) || marks.iter().any(|m| line.contains(m)) {
                broken.push(format!("{}:{}: {}", source.path, n + 1, line.trim()));
            }
        }
    }
    none("code is finished or not there", broken);
}

#[test]
fn every_crate_root_forbids_unsafe_code() {
    let mut broken = Vec::new();
    for source in sources() {
        let (folder, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let is_root = matches!(name, "lib.rs" | "main.rs") && folder.ends_with("src");
        if !is_root || source.path.starts_with("tests/fuzz") {
            continue;
        }
        let excused = UNSAFE_ROOTS.iter().any(|(path, _)| *path == source.path);
        if !source.text.contains("#![forbid(unsafe_code)]") && !excused {
            broken.push(source.path.clone());
        }
    }
    none("a crate root says #![forbid(unsafe_code)]", broken);
}

#[test]
fn names_are_the_fields_own() {
    let vague = ["manager", "util", "utils", "common", "helper", "helpers", "misc"];
    let named = |path: &String| {
        path.rsplit('/')
            .next()
            .and_then(|n| n.strip_suffix(".rs"))
            .is_some_and(|n| vague.contains(&n))
    };
    none(
        "a file is named after its subject",
        files().into_iter().filter(named).collect(),
    );
}

#[test]
fn no_machine_is_named() {
    // Put together here, so that this file does not break its own rule.
    let paths = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let written = [
        "rs", "toml", "md", "sh", "xml", "json", "yaml", "yml", "wit", "js", "html", "py", "c",
    ];
    let mut broken = Vec::new();
    for path in files() {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        let plain = path
            .rsplit_once('.')
            .is_some_and(|(_, ending)| written.contains(&ending))
            || path.ends_with("/run");
        for (n, line) in text.lines().enumerate().filter(|_| plain) {
            let absolute = |found: &String| {
                line.match_indices(found.as_str()).any(|(at, _)| {
                    !line[..at]
                        .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~'))
                })
            };
            if paths.iter().any(absolute) {
                broken.push(format!("{path}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none("no file names the folders of one machine", broken);
}

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
        let strangers = layer.never.iter().filter(|n| all.contains(**n));
        broken.extend(strangers.map(|n| format!("{package} brings in {n}")));
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

/// The lines of the README's shell blocks; continued ones are joined.
fn readme_commands() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).expect("the checkout has a README.md");
    let mut inside = false;
    let mut commands = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line.trim_start_matches('`').trim() == "sh";
        } else if inside && !line.trim().is_empty() && !line.starts_with('#') {
            open.push_str(line.trim_end_matches('\\'));
            if !line.ends_with('\\') {
                commands.push(std::mem::take(&mut open));
            }
        }
    }
    commands
}

#[test]
fn the_commands_of_the_readme_exist() {
    let commands = readme_commands();
    let has = |wanted: &str| commands.iter().any(|c| c.starts_with(wanted));
    assert!(
        has("cargo run --release") && has("tests/run"),
        "the README names the two commands: {commands:?}"
    );
    // The programs that tests/run installs, and what every system has.
    let programs = ["cargo", "curl", "sipp", "baresip", "sipsak", "git", "cd"];
    let mut broken = Vec::new();
    for command in &commands {
        let word = command.split_whitespace().next().unwrap_or("");
        if !programs.contains(&word) && !root().join(word).is_file() {
            broken.push(command.clone());
        }
    }
    none(
        "a command of the README starts a file of the checkout or a program that tests/run installs",
        broken,
    );
}

#[test]
fn the_scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let stiff = ["tests/run", ".ci/run"].into_iter().filter(|path| {
        std::fs::metadata(root().join(path)).map_or(true, |m| m.permissions().mode() & 0o111 == 0)
    });
    none(
        "the script exists and is executable",
        stiff.map(str::to_owned).collect(),
    );
}

#[test]
fn the_measure_measures() {
    let text =
        "//! x\nfn a() {\n    1;\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn b() {}\n}\n".to_owned();
    let source = measure("core/x.rs", text);
    assert_eq!(source.functions, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
    assert_eq!((source.body_lines, source.shipped().count()), (5, 5));
    assert_eq!((percentile(vec![3, 1, 2], 50), percentile(vec![1], 99)), (2, 1));
}
