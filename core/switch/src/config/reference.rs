//! The reference page of the config file, made from the declarations of the keys.

use std::fmt::Write as _;

use super::keys::ROOT;
use super::kind::Kind;
use super::schema::{Default, Section, visit_sections};

/// The page as Markdown: `config/REFERENCE.md`.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Config reference\n\n\
         Made by `cordboard config-reference`; a test keeps it so. `config/cordboard.toml` shows every key in its place.\n\n\
         Durations are written with `us`, `ms`, `s`, `m`, `h` or `d`, sizes with `B`, `KiB`, `MiB` or `GiB`.\n\
         *not served yet*: the key is read and checked, a warning says that it has no effect in this version.\n",
    );
    let mut seen: Vec<&str> = Vec::new();
    visit_sections(&ROOT, &mut |section| {
        if !seen.contains(&section.name) {
            seen.push(section.name);
            write_section(&mut page, section);
        }
    });
    page
}

fn write_section(page: &mut String, section: &Section) {
    let title = if section.name.is_empty() {
        "The file".into()
    } else {
        format!("`{}`", section.name)
    };
    let _ = write!(
        page,
        "\n## {title}\n\n{}\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
        section.help
    );
    for key in section.keys {
        let kind = match key.kind {
            Kind::Table(section) => format!("table `[{}]`", section.name),
            Kind::Tables(section) if section.name.contains('*') => {
                "list of tables `{ plugin, deadline, on_failure }`".into()
            }
            Kind::Tables(section) => format!("tables `[[{}]]`", section.name),
            kind => kind.to_string(),
        };
        let default = match key.default {
            Default::Required => "must be given".into(),
            Default::Toml(text) => format!("`{text}`"),
            Default::Absent(text) => text.into(),
        };
        let later = if key.served { "" } else { " *(not served yet)*" };
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {}{later} |",
            key.name,
            kind.replace('|', "\\|"),
            key.help
        );
    }
}
