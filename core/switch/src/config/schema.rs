//! The declaration of every config key: one line each, from which the reader, the reference page and
//! the check of the sample file are made.

use super::kind::Kind;

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its path as it is shown: `sip`, `user`, `conference.member`.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) help: &'static str,
    /// Its keys, in the order in which they are shown.
    pub(crate) keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// What may stand there.
    pub(crate) kind: Kind,
    /// What holds where it is absent.
    pub(crate) default: Default,
    /// Whether the parts that exist today make use of it.
    pub(crate) served: bool,
    /// What it means.
    pub(crate) help: &'static str,
}

/// What holds where a key is absent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Default {
    /// The key must be there.
    Required,
    /// This, written as TOML.
    Toml(&'static str),
    /// What the text says.
    Absent(&'static str),
}

impl Section {
    /// The declaration of a key.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Calls `visit` with every section, the file itself first, each before those inside it.
pub(crate) fn visit_sections(section: &'static Section, visit: &mut dyn FnMut(&'static Section)) {
    visit(section);
    for key in section.keys {
        if let Kind::Table(inner) | Kind::Tables(inner) = key.kind {
            visit_sections(inner, visit);
        }
    }
}
