//! Which powers a plugin is given: what its component uses, its manifest wants and the config grants.

use std::fmt;
use std::str::FromStr;

/// A power that a plugin may be granted: an imported interface of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// The plugin's own configuration. Every plugin has it; granting it changes nothing.
    Config,
    /// Keys of its own that last.
    Kv,
    /// Lines in the switch's log.
    Log,
    /// The clock.
    Time,
}

impl Grant {
    /// Every power.
    pub const ALL: [Self; 4] = [Self::Config, Self::Kv, Self::Log, Self::Time];

    /// The name in config files, manifests, WIT and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Kv => "kv",
            Self::Log => "log",
            Self::Time => "time",
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no power's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no power {0:?} to grant; known are config, kv, log, time")]
pub struct UnknownGrant(
    /// The name.
    pub String,
);

impl FromStr for Grant {
    type Err = UnknownGrant;
    fn from_str(name: &str) -> Result<Self, UnknownGrant> {
        Self::ALL
            .into_iter()
            .find(|grant| grant.name() == name)
            .ok_or_else(|| UnknownGrant(name.to_owned()))
    }
}

/// Of the powers that are used, those that are not granted.
pub(crate) fn missing(used: &[Grant], granted: &[Grant]) -> Vec<Grant> {
    used.iter()
        .copied()
        .filter(|grant| *grant != Grant::Config && !granted.contains(grant))
        .collect()
}

/// The line of the config that grants what is granted now and what is used.
pub(crate) fn line(used: &[Grant], granted: &[Grant]) -> String {
    let mut all: Vec<&str> = granted.iter().chain(used).map(|grant| grant.name()).collect();
    all.sort_unstable();
    all.dedup();
    if !granted.contains(&Grant::Config) {
        all.retain(|name| *name != Grant::Config.name());
    }
    format!("grants = {all:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_needs_no_grant_and_the_line_keeps_what_was_granted() {
        let used = [Grant::Config, Grant::Log, Grant::Kv];
        assert_eq!(missing(&used, &[Grant::Time]), [Grant::Log, Grant::Kv]);
        assert_eq!(missing(&used, &[Grant::Log, Grant::Kv]), []);
        assert_eq!(line(&used, &[Grant::Time]), r#"grants = ["kv", "log", "time"]"#);
    }

    #[test]
    fn names_are_read_back() {
        for grant in Grant::ALL {
            assert_eq!(grant.name().parse(), Ok(grant));
        }
        assert_eq!("disk".parse::<Grant>(), Err(UnknownGrant("disk".into())));
    }
}
