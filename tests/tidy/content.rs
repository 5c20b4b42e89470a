//! What must stand in a file, and what never may.

use crate::none;
use crate::source::{files, root, sources};

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
        if source.text.contains("#![forbid(unsafe_code)]") == excused {
            broken.push(source.path.clone());
        }
    }
    none(
        "a crate root says #![forbid(unsafe_code)], or is excused and does not",
        broken,
    );
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
