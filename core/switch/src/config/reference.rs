//! The reference page of the config file, made from the declarations of the keys.

use std::fmt::Write as _;

use cordboard_engine::record::ENDS;

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
            if section.name == "cdr" {
                write_record(&mut page);
            }
        }
    });
    page
}

/// What a call detail record says.
const FIELDS: &[(&str, &str)] = &[
    ("id", "Random, unique."),
    (
        "session",
        "The `id` of the caller's record, in all records of a call between users; else its own.",
    ),
    ("call_id", "The SIP Call-ID."),
    ("account", "The account."),
    (
        "direction",
        "`in`: the peer called; `out`: the switch called a phone.",
    ),
    ("from, to", "The URIs of both (columns `caller` and `callee`)."),
    (
        "number",
        "What was dialled without a PIN, wherever plugins led it to; the same in all records of a session.",
    ),
    (
        "contact",
        "Where the peer is reached: which of a user's phones it was; with `cut_off` as it was at the answer.",
    ),
    (
        "user",
        "Who has proved himself, also where the called side is not told.",
    ),
    ("transport", "How SIP travelled."),
    (
        "started, answered, ended",
        "Seconds since the Unix epoch; `answered` may be null, `ended` only with `cut_off` (columns: nanoseconds).",
    ),
    (
        "last_alive",
        "Only with `cut_off`: when the switch was last known to run with this call, at most half a minute before it stopped, or before an end that it could not write (longer, if it could not write this either). How long the call really lasted, nobody knows.",
    ),
    (
        "codec",
        "The codec that was spoken last; with `cut_off` that of the answer.",
    ),
    (
        "reason",
        "Why it ended: the words below; of an INVITE that was refused at once, the reason of `cordboard_rejected_total`.",
    ),
    ("status", "The final status of the INVITE; 0 if there was none."),
    ("conference", "The conference."),
    (
        "media",
        "`packets_in`, `packets_out`, `lost`, `late`, `jitter_ms`, and as `peer` what the peer has reported last: `lost`, `jitter_ms`, `round_trip_ms` (columns `peer_lost`, `peer_jitter_ms`, `peer_round_trip_ms`). Null where there was none, or it is not known, as with `cut_off`.",
    ),
];

fn write_record(page: &mut String) {
    page.push_str("\nEach record says:\n\n| field | meaning |\n|---|---|\n");
    for (name, help) in FIELDS {
        let _ = writeln!(page, "| `{name}` | {help} |");
    }
    page.push_str("\nWhy a call ended, in records and in `cordboard_calls_ended_total`:\n\n| reason | meaning |\n|---|---|\n");
    for (name, help) in ENDS {
        let _ = writeln!(page, "| `{name}` | {help} |");
    }
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
