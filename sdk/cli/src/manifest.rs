//! `plugin.toml`: a plugin's name, version, hooks and the powers it asks for.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::BuildError;

/// The powers that a plugin may ask for.
pub const WANTS: [&str; 4] = ["config", "kv", "log", "time"];

/// The hooks that a plugin may implement.
const HOOKS: [&str; 3] = ["conference-policy", "message-filter", "call-router"];

/// What a `plugin.toml` says; it also travels inside the built component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// From 1 to 64 lower-case letters, digits and dashes; the folder's name by custom.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
    /// The hooks that it implements.
    pub hooks: Vec<String>,
    /// The powers that it asks for, each with the reason that the operator reads.
    #[serde(default)]
    pub wants: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads the `plugin.toml` of a plugin's folder.
    ///
    /// # Errors
    /// [`BuildError::Manifest`] names the file and what is wrong in it.
    pub fn read(folder: &Path) -> Result<Self, BuildError> {
        let file = folder.join("plugin.toml");
        let wrong = |message: String| BuildError::Manifest {
            file: file.clone(),
            message,
        };
        let text = std::fs::read_to_string(&file).map_err(|error| {
            wrong(format!(
                "{error}; a plugin's folder has a plugin.toml with name, version, hooks and [wants]"
            ))
        })?;
        Self::parse(&text).map_err(wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let name = &manifest.name;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
            return Err(format!(
                "name = {name:?}: expected 1 to 64 lower-case letters, digits and dashes"
            ));
        }
        if manifest.hooks.is_empty() {
            return Err(format!(
                "hooks is empty: name at least one of {}",
                HOOKS.join(", ")
            ));
        }
        if let Some(hook) = manifest.hooks.iter().find(|hook| !HOOKS.contains(&hook.as_str())) {
            return Err(format!(
                "hooks: there is no hook {hook:?}; known are {}",
                HOOKS.join(", ")
            ));
        }
        if let Some(want) = manifest.wants.keys().find(|want| !WANTS.contains(&want.as_str())) {
            return Err(format!(
                "[wants]: there is no power {want:?}; known are {}",
                WANTS.join(", ")
            ));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = \"shout\"\nversion = \"1.2.3\"\nhooks = [\"message-filter\"]\n[wants]\nlog = \"to say what it did\"\n";

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(
            (manifest.name.as_str(), manifest.version.as_str()),
            ("shout", "1.2.3")
        );
        assert_eq!(manifest.wants["log"], "to say what it did");
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, expected) in [
            ("shout", "Shout!", "name = \"Shout!\""),
            ("message-filter", "message-filtre", "no hook \"message-filtre\""),
            ("log =", "disk =", "no power \"disk\""),
            ("version", "versoin", "versoin"),
        ] {
            let error = Manifest::parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
