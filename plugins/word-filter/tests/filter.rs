//! What the word filter does to messages.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cordboard_sdk::testing::{reset, start, text_message};
use cordboard_sdk::{MessageFilter, MessageVerdict, kv};
use word_filter::WordFilter;

/// The body after the filter, with `config`.
fn filtered(config: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut plugin: WordFilter = start(config).unwrap();
    let mut message = text_message("");
    message.content_type = content_type.into();
    message.body = body.into();
    match plugin.filter(message) {
        MessageVerdict::Pass => body.into(),
        MessageVerdict::Rewrite(rewrite) => {
            assert_eq!((rewrite.content_type, rewrite.display_name), (None, None));
            rewrite.body.unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn check(content_type: &str, body: &str, expected: &str) {
    let config = r#"{"words": ["darn", "größe", "two words"]}"#;
    let masked = filtered(config, content_type, body.as_bytes());
    assert_eq!(
        String::from_utf8(masked).unwrap(),
        expected,
        "{content_type} {body}"
    );
}

#[test]
fn words_are_masked_by_themselves_and_in_any_case() {
    for (body, expected) in [
        ("darn", "****"),
        ("Darn it, DARN!", "**** it, ****!"),
        ("darned darnit undarn darn2", "darned darnit undarn darn2"),
        (
            "die GRÖSSE? die GRÖẞE, die Größe",
            "die GRÖSSE? die *****, die *****",
        ),
        ("two words, two  words", "*********, two  words"),
        ("☃darn☃", "☃****☃"),
        ("darn\u{301} it", "darn\u{301} it"),
        ("_darn_ darn's", "_****_ ****'s"),
        ("", ""),
    ] {
        check("text/plain", body, expected);
        check("text/html; charset=utf-8", body, expected);
    }
}

#[test]
fn json_is_masked_in_string_values_only() {
    for (body, expected) in [
        (
            r#"{"darn": "darn", "n": [1e5, "a darn b", {"x":"darn"}]}"#,
            r#"{"darn": "****", "n": [1e5, "a **** b", {"x":"****"}]}"#,
        ),
        (r#"{"darn" : "q\"darn\"q"}"#, r#"{"darn" : "q\"****\"q"}"#),
        (r#"{"a":"\u0064arn d\u0061rn\n"}"#, r#"{"a":"**** ****\n"}"#),
        (
            r#"{"a":"gr\u00f6\u00dfe \ud83d\ude00darn \ud83d darn"}"#,
            r#"{"a":"***** \ud83d\ude00**** \ud83d ****"}"#,
        ),
        (r#"{"a":"\\","b":"darn\\"}"#, r#"{"a":"\\","b":"****\\"}"#),
        (r#"{"a":"ndarn \ndarn"}"#, r#"{"a":"ndarn \n****"}"#),
        (r#"{"broken":"darn"#, r#"{"broken":"****"#),
    ] {
        check("application/json", body, expected);
        check("application/x-myphone-confbridge-chat+json", body, expected);
        check("Application/JSON;charset=UTF-8", body, expected);
    }
}

#[test]
fn other_bodies_are_left_alone() {
    for content_type in [
        "image/png",
        "application/octet-stream",
        "application/jsonx",
        "",
        "nonsense",
    ] {
        check(content_type, "darn", "darn");
    }
}

#[test]
fn bytes_that_are_no_text_hide_nothing_and_stay() {
    let config = r#"{"words": ["darn"]}"#;
    assert_eq!(
        filtered(config, "text/plain", b"\xffdarn\xc3 darn\xe2\x98"),
        b"\xff****\xc3 ****\xe2\x98"
    );
    assert_eq!(
        filtered(config, "application/json", b"{\"a\":\"\xffdarn\"}"),
        b"{\"a\":\"\xff****\"}"
    );
}

#[test]
fn no_cut_of_a_json_text_makes_it_fail() {
    let whole = r#"{"a":"gr\u00f6\u00dfe \ud83d\ude00darn \\","b":["darn"]}"#;
    for end in 0..whole.len() {
        filtered(
            r#"{"words": ["darn"]}"#,
            "application/json",
            &whole.as_bytes()[..end],
        );
    }
}

#[test]
fn mode_reject_tells_the_sender() {
    let mut plugin: WordFilter =
        start(r#"{"words": ["darn"], "mode": "reject", "code": 488, "reason": "No"}"#).unwrap();
    assert_eq!(
        plugin.filter(text_message("well, darn")),
        MessageVerdict::reject(488, "No")
    );
    assert_eq!(plugin.filter(text_message("well")), MessageVerdict::Pass);
}

#[test]
fn hits_are_counted_per_word() {
    reset();
    filtered(r#"{"words": ["Darn", "heck"]}"#, "text/plain", b"darn DARN heck");
    filtered(r#"{"words": ["Darn", "heck"]}"#, "text/plain", b"darn");
    assert_eq!(kv::get("hits/darn").as_deref(), Some(&b"3"[..]));
    assert_eq!(kv::get("hits/heck").as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_wrong_config_is_explained() {
    for (config, expected) in [
        (r#"{}"#, "missing field `words`"),
        (r#"{"wrods": []}"#, "unknown field `wrods`"),
        (r#"{"words": [" "]}"#, "words: \" \""),
        (r#"{"words": [], "mode": "shout"}"#, "unknown variant `shout`"),
        (r#"{"words": [], "code": 200}"#, "code = 200"),
    ] {
        let error = start::<WordFilter>(config).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_quick_look_overlooks_nothing() {
    let config = r#"{"words": ["darn", "d", "two words", "-x", "3"]}"#;
    for body in [
        "darn",
        "a d",
        "Two Words",
        "a-x",
        "--x",
        "x-X y",
        "3",
        "33 3",
        "tWo words, DARN",
    ] {
        // The snowman sends the whole body the long way.
        let long = filtered(config, "text/plain", format!("{body}☃").as_bytes());
        let quick = filtered(config, "text/plain", body.as_bytes());
        assert_eq!(long, [quick.as_slice(), "☃".as_bytes()].concat(), "{body}");
        assert_ne!(quick, body.as_bytes(), "{body}");
    }
}
