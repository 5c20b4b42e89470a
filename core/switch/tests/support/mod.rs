//! The binary as an operator runs it: started with a config file, watched by its log, asked over HTTP.

#![allow(dead_code)] // each test program uses another part

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) fn cordboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cordboard"));
    command
        .args(arguments)
        .env_remove("CORDBOARD_LOG")
        .stdin(Stdio::null());
    command
}

/// A config file with one UDP and one HTTP address, and `more`.
pub(crate) fn config(folder: &TempDir, more: &str) -> PathBuf {
    let path = folder.path().join("c.toml");
    let text = format!(
        "node = {{ name = \"t\", data_dir = \"{}\", drain_timeout = \"1s\" }}\n\
         sip.udp = [\"127.0.0.1:0\"]\nhttp.listen = [\"127.0.0.1:0\"]\nmedia.shards = 1\nmedia.webrtc_port = 0\n{more}\n",
        folder.path().join("data").display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A running switch; it is ended if the test forgets to.
pub(crate) struct Switch {
    child: Child,
    addresses: HashMap<String, SocketAddr>,
    log: Receiver<serde_json::Value>,
}

impl Switch {
    /// Starts one and waits until it says that it is up.
    pub(crate) fn start(file: &Path) -> Self {
        let mut command = cordboard(&["run", "-c"]);
        let mut child = command.arg(file).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        // Somebody reads on: a full pipe must not stop the switch.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: serde_json::Value =
                    serde_json::from_str(&line).expect("a log that is no terminal is JSON");
                assert_eq!(line["node"], "t");
                let _ = sender.send(line); // the test may be over
            }
        });
        let mut switch = Self {
            child,
            addresses: HashMap::new(),
            log,
        };
        loop {
            let line = switch.log.recv().expect("the switch ended before it was up");
            let message = line["message"].as_str().unwrap_or_default();
            let what = if message == "SIP" {
                line["transport"].as_str().unwrap()
            } else {
                message
            };
            if let Some(Ok(address)) = line["address"].as_str().map(str::parse) {
                switch.addresses.insert(what.to_owned(), address);
            }
            if message == "the switch is up" {
                return switch;
            }
        }
    }

    /// The address of `HTTP`, `HTTPS`, `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub(crate) fn address(&self, what: &str) -> SocketAddr {
        self.addresses[what]
    }

    /// Waits for a line of the log whose message holds this, and gives the lines up to it.
    pub(crate) fn wait_for(&self, part: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self
                .log
                .recv_timeout(Duration::from_secs(60))
                .unwrap_or_else(|_| panic!("no `{part}`, or the switch ended; its log:\n{lines:#?}"));
            lines.push(line["message"].as_str().unwrap_or_default().to_owned());
            if lines.last().is_some_and(|last| last.contains(part)) {
                return lines;
            }
        }
    }

    /// Waits for a line of the log whose message holds this, and gives it as a whole.
    pub(crate) fn wait_for_line(&self, part: &str) -> serde_json::Value {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("no `{part}`, or the switch ended"));
            if line["message"].as_str().unwrap_or_default().contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn get(&self, path: &str) -> String {
        get(TcpStream::connect(self.address("HTTP")).unwrap(), path)
    }

    /// Waits until the metrics hold a line that begins so, or hold none any more.
    pub(crate) fn wait_for_metric(&self, line: &str, there: bool) {
        while self.get("/metrics").lines().any(|have| have.starts_with(line)) != there {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.child.wait().unwrap()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request on a stream, and everything that comes back.
pub(crate) fn get(mut stream: impl std::io::Read + std::io::Write, path: &str) -> String {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
