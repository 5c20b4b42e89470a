//! Calls through a network that loses, repeats and reorders packets: sipp in a network namespace of its own, and
//! a cable to it that this test holds in its hands. It needs root, and says so where it is not.

use std::time::Duration;

use cordboard_tests::cable::{Cable, Weather};
use cordboard_tests::http::metric;
use cordboard_tests::program::Program;
use cordboard_tests::switch::Lab;

use crate::{is_long, turn};

const WEATHER: Weather = Weather {
    lost: 10,
    doubled: 5,
    overtaking: 30,
    delay: Duration::from_millis(20),
    jitter: Duration::ZERO,
};
/// How long after its last call a switch may keep transactions: Timer H or J and some air.
const QUIET: Duration = Duration::from_secs(90);

/// How many calls sipp says went well.
fn went_well(said: &str) -> u32 {
    let line = said.lines().rev().find(|line| line.contains("Successful call"));
    let count = line.and_then(|line| line.rsplit('|').next()?.trim().parse().ok());
    count.unwrap_or_default()
}

/// The lines of a metric that are not zero.
fn lines(text: &str, name: &str) -> String {
    let wanted = |line: &&str| line.starts_with(name) && !line.ends_with(" 0");
    let lines = text.lines().filter(wanted);
    lines
        .map(|line| line.trim_start_matches(name))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn calls_over_a_bad_network_come_to_an_end() {
    let _turn = turn();
    let Some(cable) = Cable::try_lay(std::process::id()) else {
        return;
    };
    let mut cable = cable.carry(WEATHER);
    let (calls, rate) = if is_long() { (500, 10) } else { (20, 10) };
    let (near, far) = (cable.near(), cable.far().to_string());
    let switch = Lab::new().trust(&format!("{far}/32")).at(near).start();
    let mut command = cable.command("sipp");
    command.args([
        &format!("{near}:5060"),
        "-i",
        &far,
        "-mi",
        &far,
        "-sn",
        "uac",
        "-s",
        "3000",
    ]);
    command.args([
        "-m",
        &calls.to_string(),
        "-r",
        &rate.to_string(),
        "-d",
        "2000",
        "-nostdin",
    ]);
    // A 100 that comes after the 200 is no reason to drop the call.
    command.args([
        "-timeout",
        "600s",
        "-max_retrans",
        "10",
        "-default_behaviors",
        "all,-abortunexp",
    ]);
    let mut sipp = Program::start("sipp", switch.folder(), &mut command).expect("tests/run installs sipp");
    sipp.wait(Duration::from_secs(600))
        .expect("every call comes to an end at sipp's side");
    let good = went_well(&sipp.output());

    // The cable is cut: whatever still waits for an answer gets none, and must not wait for ever.
    let carried = cable.cut();
    let open = || {
        let text = switch.metrics();
        let names = [
            "cordboard_sip_dialogs",
            "cordboard_sip_transactions",
            "cordboard_participants",
        ];
        names.map(|name| metric(&text, name, &[]))
    };
    let gone = cordboard_tests::until(QUIET, || (open() == [0.0; 3]).then_some(()));
    let text = switch.metrics();
    println!(
        "{good} of {calls} calls went well; of {} frames {} were lost, {} doubled, {} overtook others; ended: {}; \
         timers: {}; retransmissions: {}",
        carried[0],
        carried[1],
        carried[2],
        carried[3],
        lines(&text, "cordboard_calls_ended_total"),
        lines(&text, "cordboard_sip_timeouts_total"),
        lines(&text, "cordboard_sip_retransmissions_total"),
    );
    assert!(
        gone.is_some(),
        "dialogs, transactions and participants are left: {:?}",
        open()
    );
    assert!(
        carried[1] > 0 && carried[3] > 0,
        "the network was bad: {carried:?}"
    );
    assert!(good * 10 >= calls * 9, "{good} of {calls} calls went well");
}
