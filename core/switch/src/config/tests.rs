//! The reader against whole files: every mistake is found in one go and at its place; the sample and
//! the reference page hold what the reader knows.

use std::collections::BTreeSet;
use std::path::Path;

use cordboard_engine::config::DigestAlgorithm;
use cordboard_model::hook::{Hook, OnFailure};

use super::file::read;
use super::keys::ROOT;
use super::mistake::Report;
use super::resolved::Origin;
use super::schema::visit_sections;
use super::{Loaded, Resolved, parse, reference};

const SAMPLE: &str = include_str!("../../../../config/cordboard.toml");
const REFERENCE: &str = include_str!("../../../../config/REFERENCE.md");

pub(super) fn good(text: &str) -> Loaded {
    parse(Path::new("x.toml"), text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

pub(super) fn config(text: &str) -> Resolved {
    good(text).config
}

/// The mistakes of a text, one a line, without the file's name.
pub(super) fn mistakes(text: &str) -> Vec<String> {
    let found = parse(Path::new("x.toml"), text).expect_err("the text is mistaken");
    found
        .0
        .iter()
        .map(|remark| remark.to_string().trim_start_matches("x.toml:").to_owned())
        .collect()
}

pub(super) const LISTEN: &str = "sip.udp = [\"127.0.0.1:5060\"]\n";

#[test]
fn the_sample_is_right_and_needs_no_warning() {
    let loaded = good(SAMPLE);
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.credentials.len(), 4);
    assert_eq!(config.conferences[0].member.numbers, ["3000"]);
    assert_eq!(config.conferences[0].moderator.numbers, ["3001"]);
    assert_eq!(config.plugins.list[0].config, r#"{"words":["darn"]}"#);
    assert_eq!(
        config.plugins.list[0].origin,
        Origin::Source("plugins/word-filter".into())
    );
    let chain = config
        .chains
        .iter()
        .find(|chain| chain.hook == Hook::MessageFilter)
        .unwrap();
    assert!(
        chain.rule().deadline > chain.entries[0].deadline,
        "the engine leaves the chain time to answer"
    );
    let engine = config.engine_config(Vec::new());
    assert_eq!(
        engine.hooks.conference_policy.unwrap().on_failure,
        OnFailure::Pass
    );
    assert_eq!(engine.digests, [DigestAlgorithm::Md5, DigestAlgorithm::Sha256]);
}

/// The sample with the keys that are switched off switched on.
fn whole_sample() -> String {
    SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_sample_holds_every_key_that_the_reader_knows_and_no_other() {
    let text = whole_sample();
    let mut report = Report::new(Path::new("sample"), &text);
    let tree = read(&text, &mut report);
    let (mistakes, _) = report.finish();
    assert_eq!(mistakes, [], "keys that the reader does not know");
    let mut shown = BTreeSet::new();
    tree.visit_typed(&mut |section, key| {
        shown.insert((section, key));
    });
    let mut known = BTreeSet::new();
    visit_sections(&ROOT, &mut |section| {
        known.extend(section.keys.iter().map(|key| (section.name, key.name)));
    });
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(
        missing.is_empty(),
        "config/cordboard.toml does not show {missing:?}"
    );
}

#[test]
fn the_reference_page_is_what_the_declarations_say() {
    assert!(
        REFERENCE == reference(),
        "run: cargo run -- config-reference > config/REFERENCE.md"
    );
}

#[test]
fn the_reference_page_lists_all_that_is_taken_for_a_scanner() {
    let line = REFERENCE
        .lines()
        .find(|line| line.starts_with("| `answer_scanners`"));
    let line = line.expect("the key has a line");
    for word in cordboard_engine::SCANNERS {
        assert!(line.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn every_example_is_right_and_needs_no_warning() {
    let folder = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder"))
        .join("../../config/example");
    let mut examples = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let loaded = super::load(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(loaded.warnings, [], "{}", path.display());
        examples += 1;
    }
    assert!(examples >= 3);
}

#[test]
fn the_smallest_config_is_one_address() {
    let config = config(LISTEN);
    assert_eq!(config.accounts[0].realm, "localhost");
    assert_eq!(config.node.drain_timeout.as_secs(), 30);
    assert!(config.media.shards >= 1);
    assert!(config.store.full_sync);
    assert_eq!(config.store.path, Path::new("data/cordboard.db"));
}

#[test]
fn every_mistake_is_reported_at_once_with_place_key_and_what_would_be_right() {
    let text = r#"[node]
naem = "lab"
drain_timeout = 30
public_ip = "127.0.0.1:1"

[sip]
ralm = "lab.test"
udp = ["127.0.0.1", "127.0.0.1:5060"]
digest = ["SHA256"]

[media]
shards = 1000
rtp_ports = "29999-20000"

[messages]
max_size = "64KB"
words = 1

[[user]]
id = "a11ce"
username = "ali ce"

[plugins]
build = "yes"
"#;
    let expected = [
        "2:1: node.naem: unknown key; the nearest known key is `name`",
        "3:17: node.drain_timeout: it is a whole number; expected a duration from 0s to 1d",
        "4:13: node.public_ip: \"127.0.0.1:1\": not an IP address; expected an IP address",
        "7:1: sip.ralm: unknown key; the nearest known key is `realm`",
        "8:8: sip.udp: \"127.0.0.1\": the port is missing; expected an address with a port",
        "9:11: sip.digest: \"SHA256\": unknown word; the nearest is \"SHA-256\"; expected one of \"MD5\", \"SHA-256\"",
        "12:10: media.shards: out of range; expected a whole number from 0 to 256",
        "13:13: media.rtp_ports: \"29999-20000\": the first port is above the last",
        "16:12: messages.max_size: \"64KB\": unknown unit `KB`: B, KiB, MiB and GiB are known",
        "17:1: messages.words: unknown key; known here: max_size, rate",
        "19:1: user[0].password: missing: give `password`",
        "20:6: user[0].id: \"a11ce\": not an id; expected 32 hexadecimal digits",
        "21:12: user[0].username: \"ali ce\": it holds a character that may not stand there",
        "24:9: plugins.build: it is text; expected true or false",
    ];
    let found = mistakes(text);
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.starts_with(expected),
            "\n   found {found}\nexpected {expected}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_key_of_another_table_is_sent_home() {
    let found = mistakes(&format!("{LISTEN}[media]\ntrusted = []\n"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("`trusted` belongs in `sip`"), "{found:?}");
}

#[test]
fn names_and_numbers_are_unique_within_an_account_and_references_lead_somewhere() {
    let text = r#"
sip.udp = ["127.0.0.1:5060"]
sip.realm = "lab.tset"
account = [
  { id = "00000000000000000000000000000001", realm = "lab.test" },
  { id = "00000000-0000-0000-0000-000000000002", realm = "other.test" },
]
user = [
  { id = "00000000000000000000000000000011", username = "alice", password = "x" },
  { id = "00000000000000000000000000000012", username = "alice", password = "x" },
  { id = "00000000000000000000000000000012", username = "alice", password = "x", account = "00000000000000000000000000000002" },
  { id = "00000000000000000000000000000014", username = "bob", password = "x", account = "00000000000000000000000000000003" },
]
device = [
  { id = "00000000000000000000000000000021", owner = "alcie", username = "desk", password = "x" },
]
conference = [
  { id = "00000000000000000000000000000031", name = "A", conference_numbers = ["3000"], moderator = { numbers = ["3000"] } },
  { id = "00000000000000000000000000000032", name = "B", conference_numbers = ["3000"], account = "00000000000000000000000000000002" },
  { id = "00000000000000000000000000000033", name = "C" },
]
plugin = [
  { name = "word-filter", wasm = "a.wasm" },
  { name = "word-filter", wasm = "a.wasm", source = "b" },
]
[hooks]
message-filter = [{ plugin = "word-filer" }, { plugin = "word-filter", deadline = "9s" }]
"#;
    let found = mistakes(text).join("\n");
    for expected in [
        "3:13: sip.realm: no [[account]] has this realm; the nearest is \"lab.test\"",
        "10:57: user[1].username: \"alice\" is already taken by `user[0].username` in line 9",
        "11:10: user[2].id: already the id of `user[1]` in line 10",
        "user[3].account: no [[account]] has the id 00000000000000000000000000000003",
        "device[0].owner: no [[user]] is named \"alcie\"; the nearest is \"alice\"",
        "conference[0].conference_numbers: \"3000\" is already taken by `conference[0].moderator.numbers` in line 18",
        "20:3: conference[2]: no number leads to this conference",
        "plugin[1].name: \"word-filter\" is already the name of a plugin, in line 23",
        "plugin[1].wasm: `source` is given too",
        "hooks.message-filter[0].plugin: no [[plugin]] is named \"word-filer\"; the nearest is \"word-filter\"",
        "hooks.message-filter[1].deadline: \"9s\": out of range; expected a duration from 1ms to 2s",
    ] {
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
    assert_eq!(found.lines().count(), 11, "{found}");
}

#[test]
fn what_is_too_large_for_another_key_is_told_where_it_stands() {
    for (table, keys, expected) in [
        (
            "registration",
            "max = '30s'",
            "3:7: sip.registration.max: below `min`, whose default is 1m",
        ),
        (
            "registration",
            "min = '3h'",
            "3:7: sip.registration.min: above `max`, whose default is 2h",
        ),
        (
            "registration",
            "min = '90m'",
            "3:7: sip.registration.min: above `default`, whose default is 1h",
        ),
        (
            "registration",
            "max = '10m'",
            "3:7: sip.registration.max: below `default`, whose default is 1h",
        ),
        (
            "registration",
            "default = '9s'",
            "3:11: sip.registration.default: below `min`, whose default is 1m",
        ),
        (
            "registration",
            "max = '1h'\nmin = '2h'",
            "4:7: sip.registration.min: above `max` in line 3",
        ),
        (
            "registration",
            "min = '2h'\nmax = '1h'",
            "4:7: sip.registration.max: below `min` in line 3",
        ),
        (
            "abuse",
            "ban_time = '2d'",
            "3:12: sip.abuse.ban_time: above `ban_time_max`, whose default is 1d",
        ),
        (
            "abuse",
            "ban_time_max = '5m'",
            "3:16: sip.abuse.ban_time_max: below `ban_time`, whose default is 10m",
        ),
    ] {
        let text = format!("sip.udp = ['127.0.0.1:5060']\n[sip.{table}]\n{keys}\n");
        let found = mistakes(&text);
        let own: Vec<_> = found.iter().filter(|line| line.contains(table)).collect();
        assert!(own.len() == 1 && own[0].contains(expected), "{expected}\n{own:?}");
    }
    let found = mistakes("[sip.registration]\nmin = '3h'\ndefault = '3h'\nmax = 'x'\n");
    let own = found.iter().filter(|line| line.contains("registration")).count();
    assert_eq!(own, 1, "what cannot be read is compared with nothing: {found:?}");
}

#[test]
fn the_same_number_in_two_accounts_is_no_mistake() {
    let config = config(
        r#"
sip.udp = ["127.0.0.1:5060"]
sip.realm = "two.test"
account = [
  { id = "00000000000000000000000000000001", realm = "one.test" },
  { id = "00000000000000000000000000000002", realm = "two.test" },
]
conference = [
  { id = "00000000000000000000000000000031", name = "A", conference_numbers = ["3000"] },
  { id = "00000000000000000000000000000032", name = "B", conference_numbers = ["3000"], account = "00000000000000000000000000000001" },
]
"#,
    );
    assert_eq!(
        config.accounts[0].realm, "two.test",
        "the default account comes first"
    );
    assert_eq!(config.conferences[0].account.0, 2);
    assert_eq!(config.conferences[1].account.0, 1);
}

#[test]
fn two_listeners_cannot_share_an_address() {
    let found = mistakes(
        "[sip]\ntcp = [\"127.0.0.1:5060\"]\nudp = [\"127.0.0.1:5060\"]\n[http]\nlisten = [\"127.0.0.1:5060\"]\n",
    );
    assert_eq!(
        found,
        ["5:11: http.listen: 127.0.0.1:5060 is already taken by `sip.tcp` in line 2"]
    );
    config("[sip]\nudp = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n");
}

#[test]
fn a_misspelt_log_level_is_a_mistake_and_does_not_silence_the_log() {
    let found = mistakes(&format!("{LISTEN}log.level = \"inf\"\n"));
    assert_eq!(
        found,
        ["2:13: log.level: \"inf\" is no level; the nearest is \"info\""]
    );
}

#[test]
fn a_text_that_is_no_toml_is_reported_with_the_other_mistakes() {
    let found = mistakes("[sip]\nudp = [\"127.0.0.1:5060\"]\nrealm = \n[media]\nshard = 1\n");
    assert!(
        found
            .iter()
            .any(|mistake| mistake.starts_with("3:") && mistake.contains("not TOML")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|mistake| mistake.contains("media.shard: unknown key")),
        "{found:?}"
    );
}

#[test]
fn what_stands_twice_is_named_with_its_first_place_and_told_once() {
    let listen = "[sip]\nudp = [\"127.0.0.1:5060\"]\n";
    for (rest, expected) in [
        (
            "[log]\nlevel = \"info\"\n[ log ] # again\nlevel = \"warn\"\nformat = \"json\"\n",
            "5:3: log: this table is already in line 3; put its keys there",
        ),
        (
            "[log]\nlevel = \"info\"\nformat = \"json\"\nlevel = \"warn\"\n",
            "6:1: log.level: already in line 4; a key stands once",
        ),
        (
            "abuse.window = \"1m\"\nabuse.window = \"2m\"\n",
            "4:7: sip.abuse.window: already in line 3; a key stands once",
        ),
        (
            "[media]\nshards = 1\n[sip]\nrealm = \"x\"\n",
            "5:2: sip: this table is already in line 1; put its keys there",
        ),
        (
            "[[plugin]]\nname = \"a\"\nwasm = \"a\"\n[[plugin]]\nname = \"b\"\nwasm = \"b\"\nname = \"c\"\n",
            "9:1: plugin.name: already in line 7; a key stands once",
        ),
        (
            "[hooks]\nmessage-filter = [{ plugin = \"a\", plugin = \"b\" }]\n[[plugin]]\nname = \"a\"\nwasm = \"a\"\n",
            "4:35: hooks.plugin: already there; a key stands once",
        ),
    ] {
        let found = mistakes(&format!("{listen}{rest}"));
        assert_eq!(found, [expected], "{rest}");
    }
}

#[test]
fn a_byte_that_is_no_text_is_shown_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, b"[sip]\nudp = []\nrealm = \"l\xffb\"\n").unwrap();
    let error = super::load(&path).unwrap_err();
    assert_eq!((error.0[0].line, error.0[0].column), (3, 11));
    let told = error.to_string();
    assert!(
        told.contains("the byte 0xFF is no UTF-8 here") && !told.contains("-c FILE"),
        "{told}"
    );
}

#[test]
fn a_token_opens_one_account() {
    let text = format!(
        "{LISTEN}account = [\n  {{ id = \"00000000000000000000000000000001\", realm = \"a.test\", tokens = [\"one\", \"two\"] }},\n  \
         {{ id = \"00000000000000000000000000000002\", realm = \"b.test\", tokens = [\"two\"] }},\n]\n"
    );
    assert_eq!(
        mistakes(&text),
        ["4:74: account[1].tokens: line 3 has the same token"]
    );
}

#[test]
fn a_key_of_a_part_that_does_not_exist_yet_is_a_warning() {
    let text = format!(
        "{LISTEN}http.trusted_proxies = [\"127.0.0.1/32\"]\n\
         esl = {{ listen = [\"127.0.0.1:8021\"], password = \"x\" }}\n\
         conference = [{{ id = \"00000000000000000000000000000031\", name = \"A\", conference_numbers = [\"1\"], audio = \"forward\", video = \"sfu\" }}]\n\
         plugin = [{{ name = \"p\", wasm = \"p.wasm\", grants = [\"http\"] }}]\n"
    );
    let warnings: Vec<_> = good(&text).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    assert_eq!(
        warnings[0],
        "x.toml:2:6: http.trusted_proxies: not served by this version; it has no effect"
    );
    assert!(warnings[1].contains("x.toml:3:1: esl: not served"));
    assert!(warnings[2].contains("the power \"http\" is not served"));
}

#[test]
fn certificate_files_are_checked_with_the_rest() {
    let found = mistakes(&format!(
        "{LISTEN}tls = {{ cert = \"/nonexistent/c.pem\", key = \"/nonexistent/k.pem\", ca = \"/nonexistent/a.pem\" }}\nfoo = 1\n"
    ));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found[0].starts_with("2:16: tls.cert: /nonexistent/c.pem: cannot be read"),
        "{found:?}"
    );
    assert!(
        found[1].contains("tls.ca: /nonexistent/a.pem: cannot be read"),
        "{found:?}"
    );
    let found = mistakes(&format!("{LISTEN}tls.cert = \"c.pem\"\n"));
    assert_eq!(found, ["2:12: tls.key: missing: give the private key of `cert`"]);
    let found = mistakes(&format!("{LISTEN}tls.key = \"k.pem\"\n"));
    assert_eq!(found, ["2:11: tls.cert: missing: give the certificate of `key`"]);
}

#[test]
fn an_open_listener_with_a_loopback_address_in_sdp_is_a_warning() {
    let warnings = good("sip.udp = [\"0.0.0.0:5060\"]\n").warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        good("sip.udp = [\"0.0.0.0:5060\"]\nnode.public_ip = [\"192.0.2.1\"]\n")
            .warnings
            .is_empty()
    );
}

#[test]
fn to_trust_everybody_is_a_warning() {
    let warnings = good(&format!(
        "{LISTEN}sip.trusted = [\"0.0.0.0/0\", \"10.0.0.0/8\"]\n"
    ))
    .warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn passwords_become_hashes_and_are_never_shown() {
    let with_password = r#"
sip.udp = ["127.0.0.1:5060"]
sip.realm = "lab.test"
user = [{ id = "00000000000000000000000000000011", username = "alice", password = "open sesame" }]
device = [{ id = "00000000000000000000000000000012", owner = "alice", username = "desk", ha1_md5 = "000102030405060708090a0b0c0d0e0f" }]
plugin = [{ name = "p", wasm = "p.wasm", config = { key = "open sesame" } }]
"#;
    let config = config(with_password);
    let hash = config.credentials[0].ha1_md5.unwrap();
    // printf 'alice:lab.test:open sesame' | md5sum
    assert_eq!(hex::encode(hash), "393938a6d6d0eab76af82229d44f09d3");
    assert_eq!(config.credentials[1].ha1_md5.unwrap()[15], 15);
    assert_eq!(config.credentials[1].ha1_sha256, None);
    assert_eq!(config.credentials[1].owner, "alice");
    assert!(!format!("{config:?}").contains("sesame"));

    let broken = mistakes(
        &with_password
            .replace("\"open sesame\" }]\ndevice", "\"open\\tsesame\" }]\ndevice")
            .replace("0e0f", "0e0g"),
    );
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(
        !broken.concat().contains("sesame") && !broken.concat().contains("0e0g"),
        "{broken:?}"
    );
}

#[test]
fn a_password_and_a_hash_contradict_each_other() {
    let found = mistakes(&format!(
        "{LISTEN}user = [{{ id = \"00000000000000000000000000000011\", username = \"a\", password = \"x\", ha1_md5 = \"000102030405060708090a0b0c0d0e0f\" }}]\n"
    ));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("give the password or the hashes"), "{found:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = super::load(Path::new("/nonexistent/x.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("/nonexistent/x.toml: cannot be read:"),
        "{error}"
    );
}

#[test]
fn chat_is_read_and_its_references_lead_somewhere() {
    use cordboard_engine::chat::config::Keep;

    let rest = r#"
user = [
  { id = "00000000000000000000000000000011", username = "alice", password = "x", token = "a", groups = ["/A", "/B", "/A"] },
]
conference = [
  { id = "00000000000000000000000000000031", name = "A", conference_numbers = ["3000"],
    chat = { owner = "alice", invite_codes = ["0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21"], password = "p", waiting_room = true } },
  { id = "00000000000000000000000000000032", name = "B", conference_numbers = ["3001"] },
]
"#;
    for (keep, expected) in [
        ("", Keep::WhileOccupied),
        (
            "chat.keep = \"7d\"\n",
            Keep::For(std::time::Duration::from_secs(7 * 86_400)),
        ),
        ("chat.keep = \"forever\"\n", Keep::Forever),
    ] {
        assert_eq!(config(&format!("{LISTEN}{keep}{rest}")).chat.keep, expected);
    }
    let config = config(&format!("{LISTEN}{rest}"));
    let user = &config.chat.users[0];
    assert_eq!(user.groups, ["/A", "/B"], "each once");
    assert!(user.token.is_some());
    let [room, plain] = [&config.conferences[0].room, &config.conferences[1].room];
    assert_eq!(room.owner.as_deref(), Some("alice"));
    assert_eq!(room.invite_codes, [0x0b5e_3d1c_7a57_4b7e_8c55_3f3d_6c1d_9e21]);
    assert!(room.password.is_some() && room.waiting_room);
    assert!(
        plain.password.is_none() && plain.owner.is_none(),
        "every conference has a room"
    );
    let shown = format!("{:?} {:?}", config.chat, config.conferences);
    assert!(!shown.contains("0b5e3d1c") && !shown.contains("token"), "{shown}");

    let wrong = rest
        .replace("owner = \"alice\"", "owner = \"alcie\"")
        .replace("conference_numbers = [\"3001\"]", "conference_numbers = [\"3001\"], chat = { invite_codes = [\"0b5e3d1c7a574b7e8c553f3d6c1d9e21\"] }")
        .replace("user = [", "user = [\n  { id = \"00000000000000000000000000000012\", username = \"bob\", password = \"x\", token = \"a\" },");
    let found = mistakes(&format!("{LISTEN}{wrong}"));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].contains("has the same token"), "{found:?}");
    assert!(found[1].contains("the nearest is \"alice\""), "{found:?}");
    assert!(found[2].contains("has the same code"), "{found:?}");
}
