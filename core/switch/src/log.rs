//! The log: text on a terminal, JSON with the node's name otherwise, on standard error.

use std::fmt;
use std::io::IsTerminal as _;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::level_filter;
use crate::config::resolved::{Log, LogFormat};

/// The variable that overrides the configured level.
const LEVEL_VARIABLE: &str = "CORDBOARD_LOG";

/// The level of the running log.
pub(crate) struct Level(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl Level {
    /// Another configured level holds from now on, unless the variable overrides it.
    pub(crate) fn set(&self, configured: &str) {
        let changed = filter(configured).and_then(|filter| Ok((self.0)(filter)?));
        if let Err(error) = changed {
            tracing::error!("the log level stays as it was: {error:#}");
        }
    }
}

fn filter(configured: &str) -> anyhow::Result<EnvFilter> {
    let variable = std::env::var(LEVEL_VARIABLE)
        .ok()
        .filter(|level| !level.trim().is_empty());
    match variable {
        Some(level) => level_filter(&level).map_err(|what| {
            anyhow::anyhow!("the variable {LEVEL_VARIABLE}: {what}; without it `[log] level` holds")
        }),
        None => level_filter(configured).map_err(|what| anyhow::anyhow!("log.level: {what}")),
    }
}

/// Starts the log.
///
/// # Errors
/// The level in `CORDBOARD_LOG` is none, or a log was started before.
pub(crate) fn start(config: &Log, node: &str) -> anyhow::Result<Level> {
    let filter = filter(&config.level)?;
    let text = match config.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let (started, level) = if text {
        let lines = lines
            .with_ansi(std::io::stderr().is_terminal())
            .with_filter_reloading();
        let level = lines.reload_handle();
        (
            lines.try_init(),
            Level(Box::new(move |filter| level.reload(filter))),
        )
    } else {
        let head = format!("{{\"node\":{},", serde_json::Value::from(node));
        let lines = lines
            .json()
            .flatten_event(true)
            .map_event_format(|inner| WithNode { inner, head })
            .with_filter_reloading();
        let level = lines.reload_handle();
        (
            lines.try_init(),
            Level(Box::new(move |filter| level.reload(filter))),
        )
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))?;
    // A panic is a line of the log like any other, so that nothing that collects logs misses it.
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string);
        let said = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(
            thread = thread.name(),
            place,
            "a thread panicked, which is a mistake in the switch: {said}"
        );
    }));
    Ok(level)
}

/// Puts the node's name in front of every JSON object.
struct WithNode<F> {
    inner: F,
    head: String,
}

impl<S, N, F> FormatEvent<S, N> for WithNode<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(to, "{}{rest}", self.head),
            None => to.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_is_one_object_that_names_the_node() {
        let sink = Sink::default();
        let to = sink.clone();
        let head = format!("{{\"node\":{},", serde_json::Value::from("la\"b"));
        let lines = tracing_subscriber::fmt()
            .with_writer(move || to.clone())
            .json()
            .flatten_event(true);
        let subscriber = lines.map_event_format(|inner| WithNode { inner, head }).finish();
        tracing::subscriber::with_default(subscriber, || tracing::info!(calls = 3, "started"));
        let bytes = sink.0.lock().unwrap().clone();
        let line: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(line["node"], "la\"b");
        assert_eq!(line["message"], "started");
        assert_eq!(line["calls"], 3);
    }
}
