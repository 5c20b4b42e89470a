//! Stand-ins for the powers when a plugin is compiled natively, and short ways to write its tests.
//!
//! Each thread has its own, so tests do not see each other. The limits of the real powers are not
//! enforced here.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::audience::Audience;
use crate::log::Level;
use crate::{ConferenceView, JoinAsk, Message, Plugin, Role, RouteAsk};

#[derive(Default)]
struct Powers {
    config: String,
    time: u64,
    lines: Vec<(Level, String)>,
    entries: BTreeMap<String, Vec<u8>>,
    audience: Option<Audience>,
}

thread_local! {
    static POWERS: RefCell<Powers> = RefCell::default();
}

/// Forgets all that was set, logged or kept on this thread.
pub fn reset() {
    POWERS.take();
}

/// Starts a plugin with a configuration, as the switch does.
///
/// # Errors
/// What the operator would read.
pub fn start<P: Plugin>(config_json: &str) -> Result<P, String> {
    POWERS.with_borrow_mut(|powers| powers.config = config_json.into());
    P::start(crate::config::read()?)
}

/// Sets the clock: milliseconds since the Unix epoch, UTC. It stands still.
pub fn set_time(unix_milliseconds: u64) {
    POWERS.with_borrow_mut(|powers| powers.time = unix_milliseconds);
}

/// Sets whom messages are for from now on; until then they are for everybody.
pub fn set_audience(audience: Audience) {
    POWERS.with_borrow_mut(|powers| powers.audience = Some(audience));
}

/// The lines that were logged.
pub fn lines() -> Vec<(Level, String)> {
    POWERS.with_borrow(|powers| powers.lines.clone())
}

/// A message from Alice to a conference, in UTF-8 text.
pub fn text_message(text: &str) -> Message {
    Message {
        conference: Some(conference()),
        user: Some("alice".into()),
        display_name: "Alice".into(),
        transport: "udp".into(),
        content_type: "text/plain".into(),
        body: text.into(),
    }
}

/// A caller who wants to join a conference.
pub fn join_ask(display_name: &str) -> JoinAsk {
    JoinAsk {
        conference: conference(),
        number: "3000".into(),
        user: Some("alice".into()),
        display_name: display_name.into(),
        transport: "udp".into(),
        role: Role::Member,
    }
}

/// A call from Alice to a number.
pub fn route_ask(number: &str) -> RouteAsk {
    RouteAsk {
        realm: "example.org".into(),
        number: number.into(),
        user: Some("alice".into()),
        display_name: "Alice".into(),
        transport: "udp".into(),
    }
}

fn conference() -> ConferenceView {
    ConferenceView {
        id: "c0".repeat(16),
        name: "Daily".into(),
        participants: 2,
    }
}

pub(crate) fn config() -> String {
    POWERS.with_borrow(|powers| {
        if powers.config.is_empty() {
            "{}".into()
        } else {
            powers.config.clone()
        }
    })
}

pub(crate) fn time() -> u64 {
    POWERS.with_borrow(|powers| powers.time)
}

pub(crate) fn audience() -> Audience {
    POWERS.with_borrow(|powers| powers.audience.clone().unwrap_or(Audience::Everybody))
}

pub(crate) fn write_log(level: Level, text: &str) {
    POWERS.with_borrow_mut(|powers| powers.lines.push((level, text.into())));
}

pub(crate) mod kv {
    //! The stand-in for the power `kv`.

    use super::POWERS;
    use crate::kv::Error;

    pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
        POWERS.with_borrow(|powers| powers.entries.get(key).cloned())
    }

    pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), Error> {
        POWERS.with_borrow_mut(|powers| powers.entries.insert(key.into(), value.into()));
        Ok(())
    }

    pub(crate) fn delete(key: &str) -> Result<bool, Error> {
        Ok(POWERS.with_borrow_mut(|powers| powers.entries.remove(key).is_some()))
    }

    pub(crate) fn keys(prefix: &str, after: &str, limit: u32) -> Vec<String> {
        POWERS.with_borrow(|powers| {
            let matching = powers
                .entries
                .keys()
                .filter(|key| key.starts_with(prefix) && key.as_str() > after);
            matching.take(limit.min(1000) as usize).cloned().collect()
        })
    }

    pub(crate) fn increment(key: &str, by: i64) -> Result<i64, Error> {
        let value = get(key).unwrap_or_else(|| b"0".to_vec());
        let number: i64 = std::str::from_utf8(&value)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(Error::NotANumber)?;
        let sum = number.checked_add(by).ok_or(Error::NotANumber)?;
        set(key, sum.to_string().as_bytes())?;
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kv, log};

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        size: u8,
    }

    #[derive(Debug)]
    struct Sized(Config);

    impl Plugin for Sized {
        type Config = Config;
        fn start(config: Config) -> Result<Self, String> {
            Ok(Self(config))
        }
    }

    #[test]
    fn a_wrong_config_is_told_without_places_in_a_text_that_nobody_wrote() {
        assert_eq!(start::<Sized>(r#"{"size": 3}"#).unwrap().0.size, 3);
        let error = start::<Sized>(r#"{"sice": 3}"#).unwrap_err();
        assert_eq!(error, "config: unknown field `sice`, expected `size`");
    }

    #[test]
    fn the_stand_ins_keep_what_they_are_given() {
        reset();
        assert_eq!(kv::increment("n", 2), Ok(2));
        assert_eq!(kv::increment("n", -5), Ok(-3));
        kv::set("m", b"text").unwrap();
        assert_eq!(kv::increment("m", 1), Err(kv::Error::NotANumber));
        assert_eq!(kv::keys("", "m", 9), ["n"]);
        assert_eq!((kv::delete("m"), kv::delete("m")), (Ok(true), Ok(false)));
        log::warn("careful");
        assert_eq!(lines(), [(log::Level::Warn, "careful".to_owned())]);
    }
}
