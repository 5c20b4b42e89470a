//! The commands that people are told to type.

use crate::none;
use crate::source::root;

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
