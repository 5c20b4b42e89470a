//! Which Rust can build for WebAssembly on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Failure};
use crate::{Progress, ToolchainError, bake};

/// The target of every plugin.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Where a toolchain comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The machine's own Rust has the target.
    Installed,
    /// Prepared from Debian's packages in the user's cache folder.
    Prepared,
}

/// A Rust that can build for WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Where it comes from.
    pub kind: Kind,
    /// The version of its compiler, as `rustc -V` writes it.
    pub version: String,
    rustc: PathBuf,
    linker: Option<PathBuf>,
}

impl Toolchain {
    /// Finds one; fetches or prepares one if there is none and `setup` says so.
    pub(crate) fn find(setup: bool, progress: &Progress) -> Result<Self, ToolchainError> {
        let own = PathBuf::from(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        Self::find_with(&own, bake::cache_folder(), setup, progress)
    }

    /// The same with the machine's own compiler and the place of the prepared one given.
    fn find_with(
        own: &Path,
        cache: Result<PathBuf, ToolchainError>,
        setup: bool,
        progress: &Progress,
    ) -> Result<Self, ToolchainError> {
        let installed = |version| Self {
            kind: Kind::Installed,
            version,
            rustc: own.into(),
            linker: None,
        };
        let version = version(own)?;
        if has_std(own) {
            return Ok(installed(version));
        }
        if setup && rustup_may_install() {
            progress("fetching the WebAssembly standard library with rustup");
            let added = process::output(Command::new("rustup").args(["target", "add", TARGET]));
            if added.is_ok() && has_std(own) {
                return Ok(installed(version));
            }
        }
        let folder = cache?;
        let rustc = folder.join("rustc");
        if !has_std(&rustc) {
            if !setup {
                return Err(ToolchainError::NotSetUp);
            }
            bake::bake(&folder, progress)?;
        }
        let version = self::version(&rustc)?;
        Ok(Self {
            kind: Kind::Prepared,
            version,
            linker: linker(own),
            rustc,
        })
    }

    /// What tells this toolchain from another: objects of one are of no use to the other.
    pub(crate) fn identity(&self) -> String {
        format!("{:?} {}", self.kind, self.version)
    }

    /// Lets a cargo command use this toolchain.
    pub(crate) fn apply(&self, cargo: &mut Command) {
        cargo.env("RUSTC", &self.rustc);
        if let Some(linker) = &self.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
}

/// The version of a compiler, which must be there.
fn version(rustc: &Path) -> Result<String, ToolchainError> {
    process::output(Command::new(rustc).arg("-V")).map_err(|failure| match failure {
        Failure::Start(source) => ToolchainError::NoRust {
            program: rustc.display().to_string(),
            source,
        },
        Failure::Status(detail) => ToolchainError::Prepare {
            step: "asking the compiler for its version",
            detail,
        },
    })
}

/// Whether a compiler has the standard library for WebAssembly.
pub(crate) fn has_std(rustc: &Path) -> bool {
    let Ok(folder) =
        process::output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]))
    else {
        return false;
    };
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// Whether rustup may be asked for the target. An explicit `rustup target add` would not look at
/// `RUSTUP_AUTO_INSTALL` by itself, so it is respected here.
fn rustup_may_install() -> bool {
    std::env::var("RUSTUP_AUTO_INSTALL").as_deref() != Ok("0") && std::env::var_os("CI").is_none()
}

/// The linker that rustup's Rust brings along; without one, the compiler looks for `rust-lld` itself.
fn linker(rustc: &Path) -> Option<PathBuf> {
    let about = process::output(Command::new(rustc).arg("-vV")).ok()?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "))?;
    let sysroot = process::output(Command::new(rustc).args(["--print", "sysroot"])).ok()?;
    let linker = Path::new(&sysroot)
        .join("lib/rustlib")
        .join(host)
        .join("bin/rust-lld");
    linker.exists().then_some(linker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::Arc;

    /// A stand-in for a compiler that has the standard library or not.
    fn compiler(folder: &Path, name: &str, with_std: bool) -> PathBuf {
        let library = folder.join(format!("{name}-lib"));
        fs::create_dir_all(&library).unwrap();
        if with_std {
            fs::write(library.join("libstd-1.rlib"), "").unwrap();
        }
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in -V) echo rustc {name};; *target-libdir*) echo {};; *) exit 1;; esac\n",
            library.display()
        );
        let path = folder.join(name);
        // Written by another process: were it open here while another test starts a program, it would
        // be too busy to be run.
        let write = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let status = Command::new("sh")
            .args(["-c", write, "sh", &script])
            .arg(&path)
            .status();
        assert!(status.unwrap().success());
        path
    }

    fn find(own: &Path, cache: &Path) -> Result<Toolchain, ToolchainError> {
        let progress: Progress = Arc::new(|_| ());
        Toolchain::find_with(own, Ok(cache.into()), false, &progress)
    }

    #[test]
    fn the_machines_own_target_comes_first_then_the_prepared_one() {
        let folder = tempfile::tempdir().unwrap();
        let [with, without] =
            [("with", true), ("without", false)].map(|(name, std)| compiler(folder.path(), name, std));
        let prepared = folder.path().join("cache");
        fs::create_dir(&prepared).unwrap();
        compiler(&prepared, "rustc", true);
        let found = find(&with, &prepared).unwrap();
        assert_eq!(
            (found.kind, found.version.as_str()),
            (Kind::Installed, "rustc with")
        );
        let found = find(&without, &prepared).unwrap();
        assert_eq!(
            (found.kind, found.version.as_str()),
            (Kind::Prepared, "rustc rustc")
        );
    }

    #[test]
    fn without_leave_to_fetch_it_says_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let without = compiler(folder.path(), "without", false);
        let error = find(&without, &folder.path().join("cache")).unwrap_err();
        assert!(matches!(error, ToolchainError::NotSetUp), "{error}");
        assert!(
            error
                .to_string()
                .contains("rustup target add wasm32-unknown-unknown"),
            "{error}"
        );
        let error = find(&folder.path().join("nowhere"), folder.path()).unwrap_err();
        assert!(matches!(error, ToolchainError::NoRust { .. }), "{error}");
    }
}
