//! Keys and tables that stand in the file twice, as whoever wrote them sees them: TOML's reader says only where the
//! second one is.

use std::ops::Range;

/// Looks at the text around a key that is there again.
pub(super) struct Twice<'t> {
    text: &'t str,
    /// The part of the file below the header that was there again: what it repeats was said with it.
    repeated: Range<usize>,
}

impl<'t> Twice<'t> {
    /// For the text of a file.
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, repeated: 0..0 }
    }

    /// The key at `span` is there again: its name, and where it was first. `None` for the keys of a table that is itself
    /// there again.
    pub(super) fn told(&mut self, span: &Range<usize>) -> Option<(String, String)> {
        if self.repeated.contains(&span.start) {
            return None;
        }
        let text = self.text;
        let line = self.line_around(span.start);
        let name = text.get(span.clone()).unwrap_or_default();
        if let Some(table) = header(&text[line.clone()]) {
            let end = self.headers(line.end..text.len()).next();
            self.repeated = line.end..end.map_or(text.len(), |(at, _)| at);
            // The nearest: one before an earlier `[[...]]` is of another table.
            let first = self
                .headers(0..line.start)
                .filter(|(_, other)| *other == table)
                .last();
            let within = format!("{table}.");
            let first = first.map(|(at, _)| at).or_else(|| {
                let dotted = |at: &Range<usize>| key(&text[at.clone()]).starts_with(&within);
                self.lines(0..line.start).find(dotted).map(|at| at.start)
            });
            let what = match first {
                Some(at) => format!(
                    "this table is already in line {}; put its keys there",
                    self.number(at)
                ),
                None => "this table is already there; put its keys there".into(),
            };
            return Some((table, what));
        }
        let section = self.headers(0..line.start).last();
        let (from, table) = section.map_or((0, String::new()), |(at, table)| (at, format!("{table}.")));
        // Otherwise it is inside a table that is written in one line.
        let stands_alone = !text[line.start..span.start].contains(['=', '{']);
        let (shown, first) = if stands_alone {
            let typed = key(&text[line.clone()]);
            let first = self
                .lines(from..line.start)
                .find(|at| key(&text[at.clone()]) == typed);
            (typed, first)
        } else {
            (name.to_owned(), None)
        };
        let what = match first {
            Some(at) => format!("already in line {}; a key stands once", self.number(at.start)),
            None => "already there; a key stands once".into(),
        };
        Some((format!("{table}{shown}"), what))
    }

    fn line_around(&self, at: usize) -> Range<usize> {
        let start = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |end| at + end);
        start..end
    }

    fn lines(&self, part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut at = part.start;
        self.text[part].split_inclusive('\n').map(move |line| {
            at += line.len();
            at - line.len()..at
        })
    }

    /// The headers of tables in a part of the file, each with its place.
    fn headers(&self, part: Range<usize>) -> impl Iterator<Item = (usize, String)> {
        let text = self.text;
        self.lines(part)
            .filter_map(move |line| Some((line.start, header(&text[line])?)))
    }

    fn number(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

/// The table that a line begins, without brackets, spaces and comment: `sip.abuse`.
fn header(line: &str) -> Option<String> {
    let line = line.split('#').next().unwrap_or_default();
    let line: String = line.chars().filter(|letter| !letter.is_whitespace()).collect();
    let begins = line.starts_with('[') && line.ends_with(']');
    begins.then(|| line.trim_matches(['[', ']']).to_owned())
}

/// What a line gives a value to, without spaces: `abuse.window`.
fn key(line: &str) -> String {
    let key = line.split('=').next().unwrap_or_default();
    key.chars().filter(|letter| !letter.is_whitespace()).collect()
}
