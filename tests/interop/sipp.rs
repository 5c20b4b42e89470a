//! sipp: its own scenarios and those of scenario/.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use cordboard_tests::program::Program;
use cordboard_tests::switch::{Switch, checkout};

/// One of our scenario files.
pub(crate) fn scenario(name: &str) -> PathBuf {
    checkout().join("tests/interop/scenario").join(name)
}

/// A UDP port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("bound").port()
}

/// A caller: `calls` calls to the switch, `rate` new ones a second; ends by itself with success when none failed.
pub(crate) fn caller(switch: &Switch, calls: u32, rate: u32, arguments: &[&str]) -> Program {
    let port = free_port().to_string();
    let media = media_port();
    let mut command = Command::new("sipp");
    command.args([
        &switch.sip().to_string(),
        "-i",
        "127.0.0.1",
        "-p",
        &port,
        "-mi",
        "127.0.0.1",
    ]);
    command.args(["-mp", &media, "-m", &calls.to_string(), "-r", &rate.to_string()]);
    command
        .args(["-nostdin", "-trace_err", "-timeout", "120s", "-timeout_error"])
        .args(arguments);
    Program::start("sipp-caller", switch.folder(), &mut command)
        .expect("sipp is there: tests/run installs it")
}

/// A callee at `port` that answers `calls` calls and ends then.
pub(crate) fn callee(folder: &Path, port: u16, calls: u32) -> Program {
    let mut command = Command::new("sipp");
    command.args([
        "-sn",
        "uas",
        "-i",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-mp",
        &media_port(),
    ]);
    command.args([
        "-m",
        &calls.to_string(),
        "-nostdin",
        "-trace_err",
        "-timeout",
        "120s",
        "-timeout_error",
    ]);
    Program::start("sipp-callee", folder, &mut command).expect("sipp is there: tests/run installs it")
}

/// Below the kernel's own choice of ports, where sipp may take many from.
fn media_port() -> String {
    let spread = u32::from(free_port()) % 500;
    (6_000 + spread * 40).to_string()
}
