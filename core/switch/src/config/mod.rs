//! The config file: read with every mistake reported at once, and resolved into what is meant.

mod address;
mod chat;
mod file;
// One line per key: a table, not code to be wrapped.
#[rustfmt::skip]
mod keys;
mod kind;
mod level;
mod mistake;
mod people;
mod reference;
mod resolve;
pub(crate) mod resolved;
mod schema;
#[cfg(test)]
mod tests;
mod twice;

use std::path::Path;

pub(crate) use level::level_filter;
pub(crate) use mistake::{Mistakes, Remark};
pub(crate) use reference::reference;
pub(crate) use resolved::Resolved;

/// A config that can be run, and what its author may want to know.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The config.
    pub(crate) config: Resolved,
    /// Keys without effect, and the like.
    pub(crate) warnings: Vec<Remark>,
}

/// Reads a config file.
///
/// # Errors
/// Every mistake of the file; also that it cannot be read.
pub(crate) fn load(path: &Path) -> Result<Loaded, Mistakes> {
    let bytes = std::fs::read(path).map_err(|error| {
        let what = format!("cannot be read: {error}; name another file with -c FILE");
        Mistakes(vec![Remark {
            file: path.to_path_buf(),
            line: 0,
            column: 0,
            key: String::new(),
            what,
        }])
    })?;
    match str::from_utf8(&bytes) {
        Ok(text) => parse(path, text),
        Err(error) => Err(no_text(path, &bytes, error.valid_up_to())),
    }
}

/// At `end` the file stops being text: what follows cannot be looked at.
fn no_text(path: &Path, bytes: &[u8], end: usize) -> Mistakes {
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut report = mistake::Report::new(path, &text);
    let what = format!(
        "the byte 0x{:02X} is no UTF-8 here; save the file as UTF-8",
        bytes[end]
    );
    report.mistake(&(end..end), "", what);
    Mistakes(report.finish().0)
}

/// Reads the text of a config file; `path` is only shown.
///
/// # Errors
/// Every mistake of the text.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Loaded, Mistakes> {
    let mut report = mistake::Report::new(path, text);
    let tree = file::read(text, &mut report);
    let config = resolve::resolve(path, &tree, &mut report);
    let (mistakes, warnings) = report.finish();
    if mistakes.is_empty() {
        Ok(Loaded { config, warnings })
    } else {
        Err(Mistakes(mistakes))
    }
}
