//! sipvicious: whoever searches for devices, extensions and passwords learns nothing and is shown to the operator.

use std::process::Command;
use std::time::Duration;

use cordboard_tests::http;
use cordboard_tests::program::Program;
use cordboard_tests::switch::{Lab, Switch};

use crate::turn;

/// How long a scan may take.
const SCAN: Duration = Duration::from_secs(60);

/// Runs one of the tools against the switch to its end; what it has said.
fn scan(switch: &Switch, tool: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(format!("sipvicious_{tool}"));
    // It keeps its sessions at home.
    command.env("HOME", switch.folder());
    command.args(arguments).arg(switch.sip().ip().to_string());
    let mut program =
        Program::start(tool, switch.folder(), &mut command).expect("tests/run installs sipvicious");
    program.wait(SCAN).expect("it ends by itself");
    let said = program.output();
    assert!(!said.contains("Traceback"), "{tool} itself failed:\n{said}");
    said
}

/// The bans that are shown: scope and reason of each.
fn bans(switch: &Switch) -> Vec<(String, String)> {
    let answer = http::get_with(switch.http(), "/v1/bans", "X-Auth-Token: lab-token").expect("answered");
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = |ban: &serde_json::Value, key: &str| ban[key].as_str().expect("a text").to_owned();
    let bans = body["bans"].as_array().expect("a list");
    bans.iter()
        .map(|ban| (text(ban, "scope"), text(ban, "reason")))
        .collect()
}

const PASSWORDS: [&str; 2] = ["-ualice", "-r1000-1060"];
const EXTENSIONS: &str = "-e1000-1010";

#[test]
fn a_scanner_hears_nothing_and_is_listed() {
    let _turn = turn();
    let switch = Lab::new().start();
    for (tool, arguments) in [
        ("svmap", &[][..]),
        ("svwar", &[EXTENSIONS][..]),
        ("svwar", &["-mINVITE", EXTENSIONS][..]),
        ("svcrack", &PASSWORDS[..]),
    ] {
        let said = scan(&switch, tool, arguments);
        assert!(said.contains("found nothing"), "{tool} {arguments:?}:\n{said}");
        let listed = [("scanner".to_owned(), "scanner".to_owned())];
        assert_eq!(bans(&switch), listed, "{tool}");
    }
    assert_eq!(
        switch.phone("alice").register(600).expect("answered").code(),
        Some(200),
        "a phone at the same address is served"
    );
}

#[test]
fn a_scanner_that_is_answered_learns_nothing_either_and_is_banned_when_it_guesses() {
    let _turn = turn();
    let switch = Lab::new().answer_scanners().start();
    assert!(
        scan(&switch, "svmap", &[]).contains(&switch.sip().to_string()),
        "it is answered"
    );
    for arguments in [
        &[EXTENSIONS][..],
        &["-mINVITE", EXTENSIONS],
        &["--force", EXTENSIONS],
    ] {
        let said = scan(&switch, "svwar", arguments);
        assert!(
            !said.contains("| 10"),
            "no extension stands out: {arguments:?}\n{said}"
        );
    }
    assert!(bans(&switch).is_empty());
    let said = scan(&switch, "svcrack", &PASSWORDS);
    assert!(said.contains("found nothing"), "{said}");
    assert_eq!(
        bans(&switch),
        [("source".to_owned(), "bad_credentials".to_owned())]
    );
}
