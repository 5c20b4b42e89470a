//! Running other programs, waiting for one's turn, and writing files that are never seen half-written.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::io;
use crate::{BuildError, Progress};

/// How much of a program's error output an error message shows.
const SHOWN_LINES: usize = 60;

/// Why a program did not do what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be started.
    Start(std::io::Error),
    /// It ended with an error; the end of what it wrote.
    Status(String),
}

impl Failure {
    /// A sentence for an error message.
    pub(crate) fn detail(self, program: &str) -> String {
        match self {
            Self::Start(error) => format!("cannot run {program}: {error}"),
            Self::Status(output) => format!("{program}: {output}"),
        }
    }
}

/// Runs a program to its end and gives back what it wrote to its standard output, without the
/// surrounding white space.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(Failure::Start)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(Failure::Status(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}

/// Runs a program to its end; each line of its error output is progress. Gives back its standard output.
pub(crate) fn watched(command: &mut Command, prefix: &str, progress: &Progress) -> Result<String, Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Failure::Start)?;
    let stderr = child.stderr.take().expect("stderr was asked to be a pipe");
    let mut stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let (progress, prefix) = (progress.clone(), prefix.to_owned());
    let reader = std::thread::spawn(move || {
        let mut lines: Vec<String> = Vec::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            progress(&format!("{prefix}: {}", line.trim_end()));
            lines.push(line);
        }
        lines
            .split_off(lines.len().saturating_sub(SHOWN_LINES))
            .join("\n")
    });
    let mut bytes = Vec::new();
    let read = stdout.read_to_end(&mut bytes);
    let status = child.wait().map_err(Failure::Start)?;
    let end = reader.join().unwrap_or_default();
    match read {
        Ok(_) if status.success() => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Ok(_) => Err(Failure::Status(end)),
        Err(error) => Err(Failure::Start(error)),
    }
}

/// A cargo command that knows nothing of the build that may be running this one.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if is_of_an_outer_build(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn is_of_an_outer_build(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let kept = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
    ];
    let of_rust = [
        "RUSTFLAGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOCFLAGS",
        "OUT_DIR",
        "TARGET",
        "HOST",
    ];
    of_rust.contains(&name) || (name.starts_with("CARGO") && !kept.iter().any(|kept| name.starts_with(kept)))
}

/// Waits until this caller alone holds the lock file; it is let go when the result is dropped.
/// `waiting` is called if somebody else holds it.
pub(crate) fn lock(path: &Path, waiting: impl FnOnce()) -> Result<File, BuildError> {
    let file = File::create(path).map_err(io("making the lock file", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waiting();
            file.lock().map_err(io("waiting for the lock file", path))?;
        }
        Err(TryLockError::Error(error)) => return Err(io("locking", path)(error)),
    }
    Ok(file)
}

/// Writes a file so that a reader sees the old contents or the new, never a part.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> Result<(), BuildError> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(contents)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|error| {
        // The first error is the one worth telling.
        let _ = std::fs::remove_file(&partial);
        io("writing", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_an_outer_cargo_are_left_behind() {
        for name in [
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_MANIFEST_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC",
        ] {
            assert!(is_of_an_outer_build(OsStr::new(name)), "{name}");
        }
        for name in ["CARGO_HOME", "RUSTUP_TOOLCHAIN", "PATH", "CARGO_HTTP_PROXY"] {
            assert!(!is_of_an_outer_build(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn what_a_failing_program_wrote_is_kept() {
        let failure = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert_eq!(failure.detail("sh"), "sh: why");
    }

    #[test]
    fn a_lock_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path, || panic!("nobody holds it")).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let second = std::thread::spawn(move || {
            let _held = lock(&path, || sender.send("waiting").unwrap()).unwrap();
        });
        assert_eq!(receiver.recv().unwrap(), "waiting");
        drop(held);
        second.join().unwrap();
    }
}
