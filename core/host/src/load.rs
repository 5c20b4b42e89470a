//! Loads a build of a plugin: reads, checks, compiles, links and starts it, away from the serving threads.

use std::path::PathBuf;
use std::sync::mpsc::Sender;

use cordboard_model::Hook;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::grant::{self, Grant};
use crate::guest::{Failure, Guest, Setting};
use crate::host::PluginInfo;
use crate::manifest::BadStamp;
use crate::repair::Repair;
use crate::{api, limits, manifest};

/// Where a component comes from.
#[derive(Debug, Clone)]
pub enum Wasm {
    /// A file.
    Path(PathBuf),
    /// Its bytes.
    Bytes(Vec<u8>),
}

/// A plugin as the operator configured it.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// The name of its entry, by which chains refer to it.
    pub name: String,
    /// The component.
    pub wasm: Wasm,
    /// The `config` table of its entry as JSON text.
    pub config_json: String,
    /// The powers that its entry grants.
    pub grants: Vec<Grant>,
    /// How much memory one instance of it may have, in bytes.
    pub memory_limit: u64,
}

/// Why a build of a plugin was not loaded. What was loaded before stays.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The component is too large.
    #[error("the component has {bytes} bytes; at most {most} are loaded")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// It is not a component that was built for Cordboard.
    #[error("this is not a plugin: {0}")]
    NotAPlugin(String),
    /// It was built for another version of the interface.
    #[error(
        "it was built for version {found} of the plugin interface; this switch serves {served}.x: rebuild it"
    )]
    Version {
        /// The version in its stamp.
        found: String,
        /// The version that is served.
        served: &'static str,
    },
    /// It imports something that no plugin can have.
    #[error("it imports {0}, which this switch does not offer to plugins; build it without")]
    UnknownImport(String),
    /// It uses a power that its own manifest does not ask for.
    #[error(
        "it uses {power}, but its plugin.toml does not ask for it; its author adds it under [wants] and rebuilds"
    )]
    NotWanted {
        /// The power.
        power: Grant,
    },
    /// It uses powers that the operator did not grant.
    #[error(
        "it uses {}, which its entry does not grant; to grant it, write in the entry: {line}",
        names(powers)
    )]
    NotGranted {
        /// The powers that are missing.
        powers: Vec<Grant>,
        /// The line for the config file.
        line: String,
    },
    /// It exports no hook.
    #[error("it implements no hook of this switch (known are {})", Hook::ALL.map(Hook::name).join(", "))]
    NoHook,
    /// The compiler or the linker refused it.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It refused to start: mostly because of its configuration.
    #[error("it does not start: {0}")]
    Start(String),
    /// It failed while starting.
    #[error("it failed while starting: {0}")]
    StartFailed(String),
    /// This machine gave no thread to compile on.
    #[error("no thread to compile it on: {0}")]
    NoThread(std::io::Error),
}

fn names(powers: &[Grant]) -> String {
    powers
        .iter()
        .map(|power| power.name())
        .collect::<Vec<_>>()
        .join(" and ")
}

/// Reads a component within the limit of its size.
pub(crate) fn read(wasm: Wasm) -> Result<Vec<u8>, LoadError> {
    let most = limits::COMPONENT_BYTES;
    let bytes = match wasm {
        Wasm::Bytes(bytes) => bytes,
        Wasm::Path(path) => {
            let size = std::fs::metadata(&path).map(|metadata| metadata.len());
            match size {
                Ok(size) if size > most as u64 => {
                    return Err(LoadError::TooLarge {
                        bytes: usize::try_from(size).unwrap_or(usize::MAX),
                        most,
                    });
                }
                Ok(_) => std::fs::read(&path).map_err(|source| LoadError::Read { path, source })?,
                Err(source) => return Err(LoadError::Read { path, source }),
            }
        }
    };
    if bytes.len() > most {
        Err(LoadError::TooLarge {
            bytes: bytes.len(),
            most,
        })
    } else {
        Ok(bytes)
    }
}

/// Checks, compiles, links and starts a component.
pub(crate) fn make(
    engine: &Engine,
    bytes: &[u8],
    grants: &[Grant],
    setting: Setting,
    workers: usize,
    repairs: Sender<Repair>,
) -> Result<Guest, LoadError> {
    let manifest =
        manifest::read(bytes).map_err(|stamp: BadStamp| LoadError::NotAPlugin(stamp.to_string()))?;
    if !api::is_served(&manifest.api) {
        return Err(LoadError::Version {
            found: manifest.api,
            served: api::SERVED,
        });
    }
    let component =
        Component::from_binary(engine, bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))?;
    let used = api::used(engine, &component).map_err(LoadError::UnknownImport)?;
    let wanted = |power: &&Grant| **power != Grant::Config && !manifest.wants.contains_key(power.name());
    if let Some(power) = used.iter().find(wanted) {
        return Err(LoadError::NotWanted { power: *power });
    }
    let missing = grant::missing(&used, grants);
    if !missing.is_empty() {
        return Err(LoadError::NotGranted {
            powers: missing,
            line: grant::line(&used, grants),
        });
    }
    let prepared =
        api::prepare(engine, &component, &used).map_err(|error| LoadError::Compile(format!("{error:#}")))?;
    if prepared.hooks().is_empty() {
        return Err(LoadError::NoHook);
    }
    let info = PluginInfo {
        version: manifest.version,
        api: manifest.api,
        hooks: prepared.hooks().to_vec(),
    };
    Guest::new(setting, prepared, info, workers, repairs).map_err(|failure| match failure {
        Failure::Start(text) => LoadError::Start(text),
        other => LoadError::StartFailed(other.to_string()),
    })
}
