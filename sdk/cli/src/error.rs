//! What can go wrong, whose fault it is, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// Why a plugin was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder's `plugin.toml` is missing or wrong: the plugin's author corrects it.
    #[error("{}: {message}", file.display())]
    Manifest {
        /// The file.
        file: PathBuf,
        /// What is wrong and what is expected.
        message: String,
    },
    /// There is no toolchain that could build it.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The compiler refused the plugin's source.
    #[error("cargo could not build {}:\n{output}", folder.display())]
    Compile {
        /// The plugin's folder.
        folder: PathBuf,
        /// The end of what cargo wrote.
        output: String,
    },
    /// Cargo built the folder, but it made no WebAssembly module.
    #[error("{} built without a .wasm file; its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`", folder.display())]
    NoModule {
        /// The plugin's folder.
        folder: PathBuf,
    },
    /// The module is not one of a plugin.
    #[error(
        "{plugin} does not become a component: {message}; a plugin is made with `cordboard_sdk::export!` and uses no WASI"
    )]
    Encode {
        /// The plugin's name.
        plugin: String,
        /// What the encoder said.
        message: String,
    },
    /// A file or folder could not be used.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Why there is no toolchain for WebAssembly.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Rust itself is not there.
    #[error("cannot run `{program}`: {source}; install Rust 1.95 or later (https://rustup.rs)")]
    NoRust {
        /// What was to be run.
        program: String,
        /// Why it could not be.
        source: io::Error,
    },
    /// The standard library for WebAssembly is not there, and none may be fetched.
    #[error(
        "this Rust has no standard library for wasm32-unknown-unknown; either run `rustup target add wasm32-unknown-unknown`, \
         or on Debian run `cordboard plugin setup` (or set `setup = true` under `[plugins]`)"
    )]
    NotSetUp,
    /// It is not there, and this machine has no source of it.
    #[error(
        "this Rust has no standard library for wasm32-unknown-unknown and {why}; run `rustup target add wasm32-unknown-unknown`, \
         or on Debian 12 add `deb http://deb.debian.org/debian-security bookworm-security main` to the apt sources and run `apt-get update`"
    )]
    NoSource {
        /// Why it could not be prepared.
        why: String,
    },
    /// Preparing one went wrong on the way.
    #[error(
        "preparing the WebAssembly toolchain failed while {step}: {detail}; run `cordboard plugin setup` to try again"
    )]
    Prepare {
        /// The step.
        step: &'static str,
        /// What the program said.
        detail: String,
    },
}

/// Wraps an IO error with what was being done to which file.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError + use<> {
    let path = path.to_path_buf();
    move |source| BuildError::Io { doing, path, source }
}
