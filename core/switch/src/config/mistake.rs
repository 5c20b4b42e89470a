//! Mistakes and warnings about the config file: where, at which key, what is wrong.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One mistake or warning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remark {
    /// The file.
    pub(crate) file: PathBuf,
    /// From 1; 0 where the file as a whole is meant.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// The path of the key, such as `user[0].password`.
    pub(crate) key: String,
    /// What is wrong, and what would be right.
    pub(crate) what: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Every mistake of a file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(crate) Vec<Remark>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for remark in &self.0 {
            writeln!(f, "{remark}")?;
        }
        let count = self.0.len();
        write!(
            f,
            "{count} {} in the config file",
            if count == 1 { "mistake" } else { "mistakes" }
        )
    }
}

impl std::error::Error for Mistakes {}

/// Collects mistakes and warnings while a file is read.
#[derive(Debug)]
pub(crate) struct Report<'t> {
    file: &'t Path,
    text: &'t str,
    mistakes: Vec<(usize, Remark)>,
    warnings: Vec<(usize, Remark)>,
}

impl<'t> Report<'t> {
    /// Begins with none.
    pub(crate) const fn new(file: &'t Path, text: &'t str) -> Self {
        Self {
            file,
            text,
            mistakes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes a mistake.
    pub(crate) fn mistake(&mut self, span: &Range<usize>, key: impl Into<String>, what: impl Into<String>) {
        let remark = self.remark(span, key.into(), what.into());
        self.mistakes.push((span.start, remark));
    }

    /// Notes something that does not keep the switch from starting.
    pub(crate) fn warning(&mut self, span: &Range<usize>, key: impl Into<String>, what: impl Into<String>) {
        let remark = self.remark(span, key.into(), what.into());
        self.warnings.push((span.start, remark));
    }

    /// The line that a span begins in, for messages that point elsewhere.
    pub(crate) fn line(&self, span: &Range<usize>) -> usize {
        place(self.text, span.start).0
    }

    /// The mistakes and the warnings, each in the order of the file.
    pub(crate) fn finish(mut self) -> (Vec<Remark>, Vec<Remark>) {
        self.mistakes.sort_by_key(|(at, _)| *at);
        self.warnings.sort_by_key(|(at, _)| *at);
        let plain = |list: Vec<(usize, Remark)>| list.into_iter().map(|(_, remark)| remark).collect();
        (plain(self.mistakes), plain(self.warnings))
    }

    fn remark(&self, span: &Range<usize>, key: String, what: String) -> Remark {
        let (line, column) = place(self.text, span.start);
        Remark {
            file: self.file.to_path_buf(),
            line,
            column,
            key,
            what,
        }
    }
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}
