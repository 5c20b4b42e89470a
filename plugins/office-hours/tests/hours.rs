//! When the office is open, and what callers are told.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cordboard_sdk::testing::{join_ask, set_time, start};
use cordboard_sdk::{Admission, ConferencePolicy, JoinVerdict};
use office_hours::OfficeHours;

/// Milliseconds of a moment in the week from Monday 6 January 2025, UTC.
fn at(day: u64, hour: u64, minute: u64) -> u64 {
    const MONDAY: u64 = 1_736_121_600;
    (MONDAY + day * 86_400 + hour * 3600 + minute * 60) * 1000
}

fn join(config: &str, moment: u64) -> JoinVerdict {
    let mut plugin: OfficeHours = start(config).unwrap();
    set_time(moment);
    plugin.join(join_ask("Ännä"))
}

fn closed(opens: &str) -> JoinVerdict {
    JoinVerdict::refuse(480, format!("Closed, opens {opens}"))
}

#[test]
fn a_day_has_its_hours() {
    let config = r#"{"open": "08:00-18:00"}"#;
    assert_eq!(join(config, at(0, 7, 59)), closed("08:00"));
    assert_eq!(join(config, at(0, 8, 0)), JoinVerdict::Pass);
    assert_eq!(join(config, at(0, 17, 59)), JoinVerdict::Pass);
    assert_eq!(join(config, at(0, 18, 0)), closed("Tuesday 08:00"));
}

#[test]
fn all_day_is_every_minute() {
    for (day, hour, minute) in [(0, 0, 0), (3, 12, 0), (6, 23, 59)] {
        assert_eq!(
            join(r#"{"open": "00:00-24:00"}"#, at(day, hour, minute)),
            JoinVerdict::Pass
        );
    }
}

#[test]
fn days_are_those_on_which_a_range_begins() {
    let config = r#"{"open": "22:00-06:00", "days": ["fri", "Sunday"]}"#;
    for (day, hour, open) in [
        (4, 21, false),
        (4, 23, true),
        (5, 5, true),
        (5, 6, false),
        (6, 23, true),
        (0, 5, true),
    ] {
        assert_eq!(
            join(config, at(day, hour, 0)) == JoinVerdict::Pass,
            open,
            "day {day}, {hour} o'clock"
        );
    }
    assert_eq!(join(config, at(0, 6, 0)), closed("Friday 22:00"));
}

#[test]
fn several_ranges_and_an_offset() {
    let config = r#"{"open": ["08:00-12:00", "13:00-17:00"], "utc_offset": "+01:00", "days": ["mon"]}"#;
    assert_eq!(join(config, at(0, 7, 0)), JoinVerdict::Pass);
    assert_eq!(join(config, at(0, 11, 0)), closed("13:00"));
    assert_eq!(join(config, at(0, 15, 59)), JoinVerdict::Pass);
    assert_eq!(join(config, at(0, 16, 0)), closed("Monday 08:00"));
    let west = r#"{"open": "08:00-09:00", "utc_offset": "-05:30", "days": ["sun"]}"#;
    assert_eq!(join(west, at(6, 13, 30)), JoinVerdict::Pass);
}

#[test]
fn callers_are_greeted_by_name() {
    let config = r#"{"open": "00:00-24:00", "greeting": "Good day, {name}, this is {conference}"}"#;
    let greeting = Some("Good day, Ännä, this is Daily".to_owned());
    assert_eq!(
        join(config, at(0, 0, 0)),
        JoinVerdict::Admit(Admission {
            greeting,
            ..Admission::default()
        })
    );
}

#[test]
fn a_caller_without_a_name_is_greeted_too() {
    let mut plugin: OfficeHours = start(r#"{"open": "00:00-24:00", "greeting": "Hi {name}"}"#).unwrap();
    let mut ask = join_ask(" ");
    assert_eq!(plugin.join(ask.clone()), JoinVerdict::greet("Hi alice"));
    ask.user = None;
    assert_eq!(plugin.join(ask), JoinVerdict::greet("Hi guest"));
}

#[test]
fn a_wrong_config_is_explained() {
    for (config, expected) in [
        (r#"{}"#, "missing field `open`"),
        (r#"{"open": 8}"#, "open: expected"),
        (r#"{"open": "8-18"}"#, "open = \"8-18\""),
        (r#"{"open": "08:00-25:00"}"#, "open = \"08:00-25:00\""),
        (r#"{"open": "08:00-08:00"}"#, "open = \"08:00-08:00\""),
        (r#"{"open": []}"#, "must not be empty"),
        (r#"{"open": "08:00-18:00", "days": ["caturday"]}"#, "caturday"),
        (
            r#"{"open": "08:00-18:00", "utc_offset": "1"}"#,
            "utc_offset = \"1\"",
        ),
        (r#"{"open": "08:00-18:00", "code": 200}"#, "code = 200"),
        (r#"{"open": "08:00-18:00", "opne": 1}"#, "unknown field `opne`"),
    ] {
        let error = start::<OfficeHours>(config).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
