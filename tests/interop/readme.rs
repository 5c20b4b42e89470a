//! The README's examples, run as they stand: only the addresses are those of the test's own switch.

use std::process::Command;
use std::time::Duration;

use cordboard_tests::http::metric;
use cordboard_tests::program::Program;
use cordboard_tests::switch::{Lab, checkout};

use crate::turn;

/// The lines of the README's shell block that calls the running switch.
fn examples() -> Vec<String> {
    let text = std::fs::read_to_string(checkout().join("README.md")).expect("the checkout has a README.md");
    let (_, after) = text
        .split_once("## Call it")
        .expect("the README shows how to call the switch");
    let block = after
        .split("```")
        .nth(1)
        .and_then(|b| b.strip_prefix("sh\n"))
        .expect("a block of commands");
    let joined = block.replace("\\\n", " ");
    joined
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_examples_of_the_readme_work() {
    let _turn = turn();
    let switch = Lab::new().start();
    let examples = examples();
    assert!(examples.len() >= 3, "{examples:?}");
    for (n, example) in examples.iter().enumerate() {
        let here = example
            .replace("127.0.0.1:5060", &switch.sip().to_string())
            .replace("127.0.0.1:8080", &switch.http().to_string());
        let mut command = Command::new("sh");
        let script = format!("cd \"$1\" && {here}");
        command.args(["-c", &script, "sh"]).arg(checkout());
        let mut program = Program::start(&format!("example-{n}"), switch.folder(), &mut command).expect("sh");
        program.expect_success(Duration::from_secs(60));
    }
    let text = switch.metrics();
    assert!(
        metric(&text, "cordboard_sip_registrations", &[]) >= 1.0,
        "they registered"
    );
    assert!(
        metric(&text, "cordboard_joins_total", &[]) >= 1.0,
        "they joined the conference:\n{text}"
    );
    let heard = metric(&text, "cordboard_rtp_packets_total", &["direction=\"in\""]);
    assert!(
        heard >= 50.0,
        "and sent a tone for a while, {heard} packets:\n{text}"
    );
}
