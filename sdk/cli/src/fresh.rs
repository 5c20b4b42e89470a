//! Knows by the hashes of the sources whether a built component is still the one they make.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{API_VERSION, BuildError, process};

/// What is remembered beside a built component.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Memory {
    /// This library and the interface that it stamps.
    maker: String,
    folder: PathBuf,
    /// The hash of the component.
    component: String,
    /// The hash of every source.
    sources: BTreeMap<PathBuf, String>,
}

fn maker() -> String {
    format!("{} {API_VERSION}", env!("CARGO_PKG_VERSION"))
}

fn hash(contents: &[u8]) -> String {
    hex::encode(Sha256::digest(contents))
}

/// Whether `wasm` is what the sources of `folder` make, as far as `stamp` remembers.
pub(crate) fn is_fresh(folder: &Path, wasm: &Path, stamp: &Path) -> bool {
    let Some(memory) = fs::read(stamp)
        .ok()
        .and_then(|text| serde_json::from_slice::<Memory>(&text).ok())
    else {
        return false;
    };
    let unchanged =
        |(file, known): (&PathBuf, &String)| fs::read(file).is_ok_and(|contents| hash(&contents) == *known);
    memory.maker == maker()
        && memory.folder == folder
        && fs::read(wasm).is_ok_and(|contents| hash(&contents) == memory.component)
        && memory.sources.iter().all(unchanged)
}

/// Remembers what a component was made of.
pub(crate) fn remember(
    folder: &Path,
    sources: &BTreeSet<PathBuf>,
    component: &[u8],
    stamp: &Path,
) -> Result<(), BuildError> {
    let sources = sources
        .iter()
        .filter_map(|file| {
            fs::read(file)
                .ok()
                .map(|contents| (file.clone(), hash(&contents)))
        })
        .collect();
    let memory = Memory {
        maker: maker(),
        folder: folder.into(),
        component: hash(component),
        sources,
    };
    let text = serde_json::to_vec_pretty(&memory).expect("texts and paths of a build are valid JSON");
    process::write_whole(stamp, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_file_makes_it_stale() {
        let folder = tempfile::tempdir().unwrap();
        let [source, wasm, stamp] = ["lib.rs", "p.wasm", "p.stamp.json"].map(|name| folder.path().join(name));
        fs::write(&source, "one").unwrap();
        fs::write(&wasm, "component").unwrap();
        assert!(
            !is_fresh(folder.path(), &wasm, &stamp),
            "nothing is remembered yet"
        );
        remember(
            folder.path(),
            &BTreeSet::from([source.clone()]),
            b"component",
            &stamp,
        )
        .unwrap();
        assert!(is_fresh(folder.path(), &wasm, &stamp));

        fs::write(&source, "two").unwrap();
        assert!(!is_fresh(folder.path(), &wasm, &stamp), "a source changed");
        fs::write(&source, "one").unwrap();
        fs::write(&wasm, "damaged").unwrap();
        assert!(!is_fresh(folder.path(), &wasm, &stamp), "the component changed");
    }
}
