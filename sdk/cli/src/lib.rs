//! Builds a plugin folder to a WebAssembly component, and finds or prepares the toolchain for it.
//!
//! [`build`] is what stands behind a `source = "plugins/NAME"` entry of the switch, behind
//! `cordboard plugin build` and behind the tests. It is quick when nothing changed: then it reads the
//! sources' hashes and starts no other program.
//!
//! A plugin's own build scripts and procedural macros run natively on this machine, so only folders of
//! one's own code belong here; other people's plugins come as finished `.wasm` files.

#![forbid(unsafe_code)]

mod bake;
mod compile;
mod component;
mod error;
mod fresh;
mod manifest;
mod process;
mod toolchain;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use component::{API_VERSION, STAMP_SECTION};
pub use error::{BuildError, ToolchainError};
pub use manifest::{Manifest, WANTS};
pub use toolchain::{Kind, Toolchain};

/// Where progress goes: one line of text for people at a time.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// How a plugin is built.
#[derive(Clone)]
pub struct Options {
    /// Where the `.wasm` file is put, as `NAME.wasm`; made if it is not there.
    pub output: PathBuf,
    /// Cargo's target folder; `None` means `target/wasm` beside the workspace's `Cargo.toml`. It should
    /// be shared by no other build: it is cleared when the toolchain changes.
    pub target: Option<PathBuf>,
    /// Whether a missing toolchain may be fetched (by rustup where that is allowed, else from Debian's
    /// packages into the user's cache folder).
    pub setup: bool,
    /// Told what is being done, from the calling thread and from a reader thread.
    pub progress: Progress,
}

impl Options {
    /// Options that put the component into `output`, fetch nothing and report through `tracing`.
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self {
            output: output.into(),
            target: None,
            setup: false,
            progress: Arc::new(|line| tracing::info!(target: "plugin_build", "{line}")),
        }
    }

    /// The same with fetching allowed or not.
    #[must_use]
    pub fn with_setup(mut self, setup: bool) -> Self {
        self.setup = setup;
        self
    }

    /// The same with progress going to `progress`.
    #[must_use]
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }
}

/// A plugin that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The component.
    pub wasm: PathBuf,
    /// What the plugin's `plugin.toml` says.
    pub manifest: Manifest,
    /// Whether nothing had changed since an earlier build, so that nothing was done.
    pub unchanged: bool,
}

/// Builds the plugin in `folder` (with a `plugin.toml` and a `Cargo.toml`) to a component.
///
/// Waits while another thread or process builds the same plugin to the same place. Takes a second or
/// so for a change, minutes when a toolchain has to be prepared first: call it where one may wait.
///
/// # Errors
/// [`BuildError`] says what is wrong with the folder, which toolchain is missing and how to get it, or
/// what the compiler said.
pub fn build(folder: &Path, options: &Options) -> Result<Built, BuildError> {
    let folder = std::fs::canonicalize(folder).map_err(|source| BuildError::Io {
        doing: "looking for the plugin folder",
        path: folder.into(),
        source,
    })?;
    let manifest = Manifest::read(&folder)?;
    std::fs::create_dir_all(&options.output)
        .map_err(error::io("making the output folder", &options.output))?;
    let wasm = options.output.join(format!("{}.wasm", manifest.name));
    let stamp = options.output.join(format!("{}.stamp.json", manifest.name));
    let _one_at_a_time = process::lock(&options.output.join(format!("{}.lock", manifest.name)), || {
        (options.progress)(&format!("{}: waiting for another build of it", manifest.name));
    })?;

    if fresh::is_fresh(&folder, &wasm, &stamp) {
        return Ok(Built {
            wasm,
            manifest,
            unchanged: true,
        });
    }
    let toolchain = Toolchain::find(options.setup, &options.progress)?;
    (options.progress)(&format!("{}: compiling", manifest.name));
    let compiled = compile::compile(&folder, &toolchain, options)?;
    let component = component::encode(&compiled.module, &manifest)?;
    process::write_whole(&wasm, &component)?;
    fresh::remember(&folder, &compiled.sources, &component, &stamp)?;
    (options.progress)(&format!("{}: built, {} bytes", manifest.name, component.len()));
    Ok(Built {
        wasm,
        manifest,
        unchanged: false,
    })
}

/// Finds the toolchain, or prepares one, without building anything: `cordboard plugin setup`.
///
/// # Errors
/// [`ToolchainError`] says what to install.
pub fn setup(progress: &Progress) -> Result<Toolchain, ToolchainError> {
    Toolchain::find(true, progress)
}
