//! Brings the configured plugins into the host: builds those that come as source, in the background,
//! and loads them. What fails leaves that plugin absent and says why; the switch serves on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use cordboard_host::{ChainEntry, Host};
use cordboard_plugin_build as plugin_build;

use crate::config::resolved::{Origin, PluginConfig, Resolved};

/// Where compiled plugins are kept.
pub(crate) fn output_folder(config: &Resolved) -> PathBuf {
    config.node.data_dir.join("plugins")
}

/// Sets the hook chains, and begins to build and load every plugin on a thread of its own.
///
/// Until a plugin is loaded, the host's state says why it is absent; questions meanwhile get what the
/// operator chose for its place in the chain.
///
/// # Errors
/// This machine gives no thread.
pub(crate) fn start(host: &Arc<Host>, config: &Resolved) -> std::io::Result<JoinHandle<()>> {
    for chain in &config.chains {
        let entries = chain.entries.iter().map(|entry| ChainEntry {
            plugin: entry.plugin.clone(),
            deadline: entry.deadline,
            on_failure: entry.on_failure,
        });
        host.set_chain(chain.hook, entries.collect());
    }
    // What is compiled already serves first.
    let mut list = config.plugins.list.clone();
    list.sort_by_key(|plugin| matches!(plugin.origin, Origin::Source(_)));
    for plugin in &list {
        host.set_problem(&plugin.name, "it waits for its turn to be built and loaded");
    }
    let loader = Loader {
        host: Arc::clone(host),
        build: config.plugins.build,
        setup: config.plugins.setup,
        output: output_folder(config),
    };
    std::thread::Builder::new()
        .name("plugin-build".into())
        .spawn(move || {
            for plugin in &list {
                loader.bring(plugin);
            }
        })
}

struct Loader {
    host: Arc<Host>,
    build: bool,
    setup: bool,
    output: PathBuf,
}

impl Loader {
    fn bring(&self, plugin: &PluginConfig) {
        let wasm = match &plugin.origin {
            Origin::Wasm(file) => Some(file.clone()),
            Origin::Source(folder) => self.build(plugin, folder),
        };
        let Some(wasm) = wasm else { return };
        if let Err(error) = self.host.load(plugin.spec(wasm)) {
            tracing::error!(target: "plugin", plugin = plugin.name, "the plugin is not loaded: {error}");
        }
    }

    fn build(&self, plugin: &PluginConfig, folder: &Path) -> Option<PathBuf> {
        if !self.build {
            self.absent(
                plugin,
                "it is not built, because `[plugins] build` is false; give a compiled file as `wasm`",
            );
            return None;
        }
        let (host, name) = (Arc::clone(&self.host), plugin.name.clone());
        let progress: plugin_build::Progress = Arc::new(move |line| {
            tracing::info!(target: "plugin", plugin = name, "{line}");
            host.set_problem(&name, format!("it is being built: {line}"));
        });
        let options = plugin_build::Options::new(&self.output)
            .with_setup(self.setup)
            .with_progress(progress);
        match plugin_build::build(folder, &options) {
            Ok(built) => Some(built.wasm),
            Err(error) => {
                self.absent(plugin, &format!("it could not be built: {error}"));
                None
            }
        }
    }

    fn absent(&self, plugin: &PluginConfig, why: &str) {
        tracing::error!(target: "plugin", plugin = plugin.name, "the plugin is absent: {why}");
        self.host.set_problem(&plugin.name, why);
    }
}
