//! Refuses joins outside office hours, and greets by name.

#![forbid(unsafe_code)]

pub mod hours;

use cordboard_sdk::{ConferencePolicy, JoinAsk, JoinVerdict, Plugin, log, time};
use serde::Deserialize;

use hours::Hours;

/// The `config` table of the plugin's entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `"08:00-18:00"`, or a list of such; over midnight as `"22:00-06:00"`.
    open: OneOrMore,
    /// How far local time is ahead of UTC, as `"+01:00"`.
    #[serde(default = "utc")]
    utc_offset: String,
    /// The days on which it opens, as `"mon"`; every day if absent.
    #[serde(default)]
    days: Option<Vec<String>>,
    /// Shown to who is let in; `{name}` is who they are, `{conference}` where they are.
    #[serde(default)]
    greeting: Option<String>,
    /// The SIP status for who is not.
    #[serde(default = "unavailable")]
    code: u16,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "open: expected \"08:00-18:00\" or a list of such")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn utc() -> String {
    "+00:00".into()
}

fn unavailable() -> u16 {
    480
}

/// The plugin.
#[derive(Debug)]
pub struct OfficeHours {
    hours: Hours,
    greeting: Option<String>,
    code: u16,
}

impl Plugin for OfficeHours {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        if !(400..700).contains(&config.code) {
            return Err(format!(
                "code = {}: expected a SIP status from 400 to 699",
                config.code
            ));
        }
        let open = match config.open {
            OneOrMore::One(range) => vec![range],
            OneOrMore::More(ranges) => ranges,
        };
        let hours = Hours::new(&open, config.days.as_deref(), &config.utc_offset)?;
        Ok(Self {
            hours,
            greeting: config.greeting,
            code: config.code,
        })
    }
}

impl ConferencePolicy for OfficeHours {
    fn join(&mut self, ask: JoinAsk) -> JoinVerdict {
        let now = time::now();
        if !self.hours.is_open(now) {
            let opens = self.hours.next_opening(now);
            log::info(format!("refused a caller of {}: opens {opens}", ask.number));
            return JoinVerdict::refuse(self.code, format!("Closed, opens {opens}"));
        }
        match &self.greeting {
            Some(greeting) => {
                let greeting = greeting.replace("{conference}", &ask.conference.name);
                JoinVerdict::greet(greeting.replace("{name}", name(&ask)))
            }
            None => JoinVerdict::Pass,
        }
    }
}

/// What to call a caller.
fn name(ask: &JoinAsk) -> &str {
    let shown = ask.display_name.trim();
    if shown.is_empty() {
        ask.user.as_deref().unwrap_or("guest")
    } else {
        shown
    }
}

cordboard_sdk::export!(OfficeHours: conference_policy);
