//! Runs cargo on a plugin's folder and finds the module and its sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::io;
use crate::toolchain::{TARGET, Toolchain};
use crate::{BuildError, Options, process};

/// What came out of cargo.
pub(crate) struct Compiled {
    /// The core module.
    pub(crate) module: Vec<u8>,
    /// Every file of the plugin and of the crates beside it that went into the module.
    pub(crate) sources: BTreeSet<PathBuf>,
}

/// One line of cargo's `--message-format=json`, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles the plugin in `folder` for WebAssembly.
pub(crate) fn compile(
    folder: &Path,
    toolchain: &Toolchain,
    options: &Options,
) -> Result<Compiled, BuildError> {
    let target = options
        .target
        .clone()
        .unwrap_or_else(|| workspace(folder).join("target/wasm"));
    claim(&target, toolchain)?;
    let manifest = folder.join("Cargo.toml");
    let mut cargo = process::cargo();
    cargo
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--message-format=json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(&manifest)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_TERM_COLOR", "never");
    toolchain.apply(&mut cargo);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let messages =
        process::watched(&mut cargo, &name, &options.progress).map_err(|failure| BuildError::Compile {
            folder: folder.into(),
            output: failure.detail("cargo"),
        })?;
    let module = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact" && message.manifest_path == manifest)
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .ok_or_else(|| BuildError::NoModule {
            folder: folder.into(),
        })?;
    let listed = module.with_extension("d");
    let dependencies = fs::read_to_string(&listed).map_err(io("reading cargo's list of sources", &listed))?;
    let mut sources = sources(&dependencies);
    sources.extend([
        folder.join("plugin.toml"),
        workspace(folder).join("Cargo.toml"),
        workspace(folder).join("Cargo.lock"),
    ]);
    let manifests: BTreeSet<PathBuf> = sources.iter().filter_map(|source| package(source)).collect();
    sources.extend(manifests);
    sources.retain(|source| source.is_file());
    let module = fs::read(&module).map_err(io("reading the module", &module))?;
    Ok(Compiled { module, sources })
}

/// Makes the target folder this toolchain's own: what another toolchain left is removed, because the
/// compiler would refuse it.
fn claim(target: &Path, toolchain: &Toolchain) -> Result<(), BuildError> {
    let marker = target.join("toolchain");
    let identity = toolchain.identity();
    if fs::read_to_string(&marker).is_ok_and(|found| found == identity) {
        return Ok(());
    }
    if target.exists() {
        fs::remove_dir_all(target).map_err(io("clearing", target))?;
    }
    fs::create_dir_all(target).map_err(io("making", target))?;
    process::write_whole(&marker, identity.as_bytes())
}

/// The folder of the workspace that a package belongs to; its own if it belongs to none.
fn workspace(folder: &Path) -> PathBuf {
    let is_root = |folder: &&Path| {
        fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
    };
    folder
        .ancestors()
        .take(4)
        .find(is_root)
        .unwrap_or(folder)
        .to_path_buf()
}

/// The `Cargo.toml` of the package that a source file belongs to.
fn package(source: &Path) -> Option<PathBuf> {
    source
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("Cargo.toml"))
        .find(|manifest| manifest.is_file())
}

/// The files on the right of a dependency list in make's notation.
fn sources(list: &str) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for line in list.lines() {
        let Some((_, right)) = line.split_once(": ") else {
            continue;
        };
        let mut file = String::new();
        let mut letters = right.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => file.extend(letters.next()),
                ' ' => {
                    files.insert(PathBuf::from(std::mem::take(&mut file)));
                }
                other => file.push(other),
            }
        }
        files.insert(PathBuf::from(file));
    }
    files.remove(Path::new(""));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_list_is_read_with_spaces_in_names() {
        let files = sources("/t/p.wasm: /a/src/lib.rs /with\\ space/x.wit /b/y.rs\n\n/a/src/lib.rs:\n");
        let expected = ["/a/src/lib.rs", "/b/y.rs", "/with space/x.wit"].map(PathBuf::from);
        assert_eq!(files, BTreeSet::from(expected));
    }

    #[test]
    fn the_workspace_is_the_nearest_folder_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("shout");
        fs::create_dir_all(&plugin).unwrap();
        fs::write(plugin.join("Cargo.toml"), "[package]\n").unwrap();
        assert_eq!(workspace(&plugin), plugin);
        fs::write(folder.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        assert_eq!(workspace(&plugin), folder.path());
    }
}
