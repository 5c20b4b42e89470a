//! Other people's programs: started in a folder of the test, waited for with patience, ended by their process id.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running program whose output goes to a file.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` in `folder`; both outputs go to `NAME.log` there.
    ///
    /// # Errors
    /// The program is not installed (tests/run names the package), or the folder cannot be written.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> io::Result<Self> {
        Self::start_reading(name, folder, command, Stdio::null())
    }

    fn start_reading(name: &str, folder: &Path, command: &mut Command, input: Stdio) -> io::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log)?;
        let child = command
            .current_dir(folder)
            .stdin(input)
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{:?}: {e}", command.get_program())))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// The same with a program that reads commands from its standard input: see [`Program::say`].
    ///
    /// # Errors
    /// As with [`Program::start`].
    pub fn start_with_input(name: &str, folder: &Path, command: &mut Command) -> io::Result<Self> {
        Self::start_reading(name, folder, command, Stdio::piped())
    }

    /// Writes a line to the program's standard input.
    ///
    /// # Errors
    /// It reads none, or has ended.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        let input = self.child.stdin.as_mut();
        let input = input.ok_or_else(|| io::Error::other("the program was started without input"))?;
        writeln!(input, "{line}")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |e| format!("no log: {e}"),
            |b| String::from_utf8_lossy(&b).into_owned(),
        )
    }

    /// Waits until it ends by itself; `None` when it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a successful end, or panics with the end of its output.
    ///
    /// # Panics
    /// The program failed, or did not end within `patience`.
    pub fn expect_success(&mut self, patience: Duration) {
        let status = self.wait(patience);
        assert!(
            status.is_some_and(|s| s.success()),
            "{} ended with {status:?} (None: still running after {patience:?}); its output ends so:\n{}",
            self.name,
            tail(&self.output(), 60)
        );
    }

    /// Sends a signal (`nix` knows their names).
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).map_err(io::Error::from)
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} wrote at last:\n{}", self.name, tail(&self.output(), 40));
        }
    }
}

/// The last `count` lines.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
