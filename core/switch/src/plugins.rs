//! Brings the configured plugins into the host: builds those that come as source, in the background,
//! and loads them. What fails leaves that plugin absent and says why; the switch serves on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use cordboard_host::{ChainEntry, Host};
use cordboard_model::hook::Hook;
use cordboard_plugin_build as plugin_build;

use crate::config::resolved::{Origin, PluginConfig, Resolved};

/// Where compiled plugins are kept.
pub(crate) fn output_folder(config: &Resolved) -> PathBuf {
    config.node.data_dir.join("plugins")
}

/// The way to the thread that builds and loads plugins, one after the other.
pub(crate) struct Loader {
    host: Arc<Host>,
    orders: Sender<Vec<PluginConfig>>,
}

impl Loader {
    /// Starts the thread; it has nothing to do yet.
    ///
    /// # Errors
    /// This machine gives no thread.
    pub(crate) fn start(host: &Arc<Host>, config: &Resolved) -> std::io::Result<Self> {
        let builder = Builder {
            host: Arc::clone(host),
            build: config.plugins.build,
            setup: config.plugins.setup,
            output: output_folder(config),
            known: BTreeSet::new(),
        };
        let (orders, ordered) = mpsc::channel();
        std::thread::Builder::new()
            .name("plugin-build".into())
            .spawn(move || builder.work(&ordered))?;
        Ok(Self {
            host: Arc::clone(host),
            orders,
        })
    }

    /// Sets the hook chains at once; plugins are built and loaded behind them, those that are not in the
    /// config any more are taken out.
    ///
    /// Until a plugin is loaded, the host's state says why it is absent; questions meanwhile get what the
    /// operator chose for its place in the chain. A build that serves goes on until its successor is loaded.
    pub(crate) fn follow(&self, config: &Resolved) {
        for hook in Hook::ALL {
            let chain = config.chains.iter().find(|chain| chain.hook == hook);
            let entries = chain
                .into_iter()
                .flat_map(|chain| &chain.entries)
                .map(|entry| ChainEntry {
                    plugin: entry.plugin.clone(),
                    deadline: entry.deadline,
                    on_failure: entry.on_failure,
                });
            self.host.set_chain(hook, entries.collect());
        }
        // What is compiled already serves first.
        let mut list = config.plugins.list.clone();
        list.sort_by_key(|plugin| matches!(plugin.origin, Origin::Source(_)));
        for plugin in &list {
            if !serves(&self.host, &plugin.name) {
                self.host
                    .set_problem(&plugin.name, "it waits for its turn to be built and loaded");
            }
        }
        if self.orders.send(list).is_err() {
            tracing::error!(target: "plugin", "the thread that builds plugins is gone: no plugin is loaded");
        }
    }
}

/// Whether a build of this plugin is in service.
fn serves(host: &Host, plugin: &str) -> bool {
    host.state()
        .iter()
        .any(|state| state.name == plugin && state.loaded.is_some())
}

struct Builder {
    host: Arc<Host>,
    build: bool,
    setup: bool,
    output: PathBuf,
    /// The plugins of the orders before that were not taken out.
    known: BTreeSet<String>,
}

impl Builder {
    fn work(mut self, orders: &Receiver<Vec<PluginConfig>>) {
        while let Ok(mut order) = orders.recv() {
            while let Ok(newer) = orders.try_recv() {
                // The host has heard of those, too, although nothing was done for them.
                self.known.extend(order.iter().map(|plugin| plugin.name.clone()));
                order = newer;
            }
            self.take_out_all_but(&order);
            for plugin in &order {
                self.bring(plugin);
            }
        }
    }

    fn take_out_all_but(&mut self, order: &[PluginConfig]) {
        let stay: BTreeSet<String> = order.iter().map(|plugin| plugin.name.clone()).collect();
        for gone in self.known.difference(&stay) {
            self.host.unload(gone);
            tracing::info!(target: "plugin", plugin = gone, "the plugin is taken out");
        }
        self.known = stay;
    }

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
        let first = !serves(&host, &name);
        let progress: plugin_build::Progress = Arc::new(move |line| {
            tracing::info!(target: "plugin", plugin = name, "{line}");
            if first {
                host.set_problem(&name, format!("it is being built: {line}"));
            }
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

#[cfg(test)]
mod tests {
    use cordboard_host::HostConfig;

    use super::*;

    #[test]
    fn a_plugin_that_left_before_its_turn_came_is_taken_out_all_the_same() {
        let folder = tempfile::TempDir::new().unwrap();
        let host = Arc::new(Host::new(HostConfig::new(Arc::new(|_, _| {}))).unwrap());
        let text = "media.shards = 1\nsip.udp = [\"127.0.0.1:5060\"]\n\
                    plugin = [{ name = \"ghost\", wasm = \"ghost.wasm\" }]\n";
        let config = crate::config::parse(Path::new("x.toml"), text).unwrap().config;
        let builder = Builder {
            host: Arc::clone(&host),
            build: false,
            setup: false,
            output: folder.path().into(),
            known: BTreeSet::new(),
        };
        let (orders, ordered) = mpsc::channel();
        let loader = Loader {
            host: Arc::clone(&host),
            orders,
        };
        loader.follow(&config);
        assert_eq!(host.state().len(), 1);
        let without = text.lines().take(2).collect::<Vec<_>>().join("\n");
        loader.follow(
            &crate::config::parse(Path::new("x.toml"), &without)
                .unwrap()
                .config,
        );
        drop(loader);
        builder.work(&ordered);
        assert!(host.state().is_empty(), "{:?}", host.state());
    }
}
