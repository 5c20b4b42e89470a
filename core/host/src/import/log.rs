//! Power `log`: a plugin's lines in the switch's log, bounded in length and rate.

use std::time::Instant;

use super::Powers;
use crate::count::ImportOutcome;
use crate::grant::Grant;
use crate::plugin::locked;

/// The longest line, in bytes.
const LINE_BYTES: usize = 1024;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Powers {
    /// Writes one line, marked with the plugin's name.
    pub(crate) fn log(&self, level: Level, text: &str) {
        let Some(dropped) = locked(&self.plugin.log).take(Instant::now()) else {
            self.plugin.counts.import(Grant::Log, ImportOutcome::Limited);
            return;
        };
        self.plugin.counts.import(Grant::Log, ImportOutcome::Ok);
        let (plugin, line) = (self.plugin.name.as_str(), one_line(text));
        if dropped > 0 {
            tracing::warn!(target: "plugin", plugin, dropped, "log lines dropped: more than 50 a second");
        }
        match level {
            Level::Debug => tracing::debug!(target: "plugin", plugin, "{line}"),
            Level::Info => tracing::info!(target: "plugin", plugin, "{line}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, "{line}"),
            Level::Error => tracing::error!(target: "plugin", plugin, "{line}"),
        }
    }
}

/// Cuts a text to the longest line and escapes what could pass for another line or move a terminal's
/// cursor.
fn one_line(text: &str) -> String {
    let end = text.floor_char_boundary(LINE_BYTES);
    let mut line = String::with_capacity(end);
    for letter in text[..end].chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    if end < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\u{1b}[2J ☃"), "a\\nb\\u{1b}[2J ☃");
        let long = one_line(&"é".repeat(2000));
        assert_eq!(long.chars().count(), LINE_BYTES / 2 + 1);
        assert!(long.ends_with('…'));
    }
}
