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
        let version = version(&own)?;
        if has_std(&own) {
            return Ok(Self {
                kind: Kind::Installed,
                version,
                rustc: own,
                linker: None,
            });
        }
        if setup && rustup_may_install() {
            progress("fetching the WebAssembly standard library with rustup");
            let added = process::output(Command::new("rustup").args(["target", "add", TARGET]));
            if added.is_ok() && has_std(&own) {
                return Ok(Self {
                    kind: Kind::Installed,
                    version,
                    rustc: own,
                    linker: None,
                });
            }
        }
        let folder = bake::cache_folder()?;
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
            linker: linker(&own),
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
