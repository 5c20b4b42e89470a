//! The command line: which command, with which config file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use cordboard_plugin_build as plugin_build;

use crate::config::resolved::{Origin, Resolved};
use crate::config::{self, Loaded};
use crate::{app, log, metric};

/// The config file where none is named.
const DEFAULT_CONFIG: &str = "config/cordboard.toml";

/// A programmable media and messaging switch.
///
/// Without a command it runs the switch.
#[derive(Debug, Parser)]
#[command(name = "cordboard", version, arg_required_else_help = false)]
struct Line {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct File {
    /// The config file
    #[arg(short, long = "config", value_name = "FILE", default_value = DEFAULT_CONFIG, global = true)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the switch until SIGTERM
    Run,
    /// Check the config file and report every mistake at once
    Check,
    /// Work on plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print config/REFERENCE.md
    #[command(hide = true)]
    ConfigReference,
    /// Print config/METRICS.md
    #[command(hide = true)]
    MetricsReference,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Prepare this machine for building plugins; may fetch a compiler target
    Setup,
    /// Build plugins from source: the folders named, or those of the config file
    Build {
        /// Plugin folders
        folders: Vec<PathBuf>,
        /// Where the .wasm files are put; without it in data_dir, where the switch looks for them
        #[arg(short, long, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
}

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let line = Line::parse();
    let file = &line.file.config;
    let done = match line.command {
        None | Some(Command::Run) => run(file),
        Some(Command::Check) => check(file),
        Some(Command::Plugin(PluginCommand::Setup)) => setup(),
        Some(Command::Plugin(PluginCommand::Build { folders, output })) => build(file, folders, output),
        Some(Command::ConfigReference) => print(&config::reference()).map(|()| ExitCode::SUCCESS),
        Some(Command::MetricsReference) => print(&metric::reference()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        let text = match error.downcast_ref::<config::Mistakes>() {
            Some(mistakes) => mistakes.to_string(),
            None => format!("cordboard: {}", whole_story(&error)),
        };
        // Nobody is left to tell if standard error is gone.
        let _ = writeln!(std::io::stderr(), "{text}");
        ExitCode::FAILURE
    })
}

/// The error and its causes, without those that an earlier text already holds.
fn whole_story(error: &anyhow::Error) -> String {
    let mut story = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !story.contains(&cause) {
            let colon = if story.is_empty() { "" } else { ": " };
            story = format!("{story}{colon}{cause}");
        }
    }
    story
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let Loaded { config, warnings } = config::load(file)?;
    let level = log::start(&config.log, &config.node.name)?;
    tracing::info!(file = %config.file.display(), "the config is read");
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let Err(error) = app::run(config, level) else {
        return Ok(ExitCode::SUCCESS);
    };
    // Into the log, so that whoever collects it learns why the switch ended.
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("the switch ends: {}", whole_story(&error));
        return Ok(ExitCode::FAILURE);
    }
    Err(error)
}

fn check(file: &Path) -> anyhow::Result<ExitCode> {
    match config::load(file) {
        Ok(Loaded { config, warnings }) => {
            for warning in &warnings {
                print(&format!("warning: {warning}\n"))?;
            }
            print(&format!("{}: ok: {}\n", file.display(), summary(&config)))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            print(&format!("{mistakes}\n"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn summary(config: &Resolved) -> String {
    let sip = &config.sip;
    let counted = [
        (sip.addresses(), "SIP address", "SIP addresses"),
        (config.accounts.len(), "account", "accounts"),
        (config.credentials.len(), "user or device", "users and devices"),
        (config.conferences.len(), "conference", "conferences"),
        (config.plugins.list.len(), "plugin", "plugins"),
        (config.chains.len(), "hook", "hooks"),
    ];
    let parts = counted.map(|(count, one, more)| format!("{count} {}", if count == 1 { one } else { more }));
    parts.join(", ")
}

fn say() -> plugin_build::Progress {
    Arc::new(|line| {
        // Progress that nobody can see is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{line}");
    })
}

fn setup() -> anyhow::Result<ExitCode> {
    plugin_build::setup(&say())?;
    print("plugins can be built here\n")?;
    Ok(ExitCode::SUCCESS)
}

fn build(file: &Path, folders: Vec<PathBuf>, output: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let (folders, output) = match (folders.is_empty(), output) {
        (false, Some(output)) => (folders, output),
        (named, output) => {
            let config = config::load(file)?.config;
            let listed = config
                .plugins
                .list
                .iter()
                .filter_map(|plugin| match &plugin.origin {
                    Origin::Source(folder) => Some(folder.clone()),
                    Origin::Wasm(_) => None,
                });
            let folders = if named { listed.collect() } else { folders };
            (
                folders,
                output.unwrap_or_else(|| crate::plugins::output_folder(&config)),
            )
        }
    };
    let options = plugin_build::Options::new(output).with_progress(say());
    let mut failed = false;
    for folder in folders {
        match plugin_build::build(&folder, &options) {
            Ok(built) => print(&format!("{}\n", built.wasm.display()))?,
            Err(error) => {
                failed = true;
                (options.progress)(&format!("{}: {error}", folder.display()));
            }
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_of_the_command_line_are_sound() {
        use clap::CommandFactory as _;
        Line::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let io = std::io::Error::other("disk full");
        let told = anyhow::Error::new(io)
            .context("cannot write x: disk full")
            .context("cannot start");
        assert_eq!(whole_story(&told), "cannot start: cannot write x: disk full");
    }

    #[test]
    fn the_config_file_may_stand_before_and_after_the_command() {
        for words in [
            ["cordboard", "-c", "x.toml", "check"],
            ["cordboard", "check", "-c", "x.toml"],
        ] {
            let line = Line::try_parse_from(words).unwrap();
            assert_eq!(line.file.config, Path::new("x.toml"));
            assert!(matches!(line.command, Some(Command::Check)));
        }
        let plain = Line::try_parse_from(["cordboard"]).unwrap();
        assert_eq!(plain.file.config, Path::new(DEFAULT_CONFIG));
        assert!(plain.command.is_none());
    }
}
