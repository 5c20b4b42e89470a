//! Masks or rejects messages that hold configured words.

#![forbid(unsafe_code)]

pub mod body;
pub mod words;

use cordboard_sdk::{Message, MessageFilter, MessageVerdict, Plugin, kv, log};
use serde::Deserialize;

use words::Words;

/// The `config` table of the plugin's entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The words, or phrases, in any case.
    words: Vec<String>,
    /// What becomes of a message that holds one.
    #[serde(default)]
    mode: Mode,
    /// In mode `reject`: the SIP status for the sender.
    #[serde(default = "forbidden")]
    code: u16,
    /// In mode `reject`: one line for the sender.
    #[serde(default = "refused")]
    reason: String,
}

/// What becomes of a message that holds a configured word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each character of the word becomes `*`.
    #[default]
    Mask,
    /// The message goes to nobody, and the sender is told.
    Reject,
}

fn forbidden() -> u16 {
    403
}

fn refused() -> String {
    "Message holds a word that is not allowed here".into()
}

/// The plugin.
#[derive(Debug)]
pub struct WordFilter {
    config: Config,
    words: Words,
}

impl Plugin for WordFilter {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        if !(400..700).contains(&config.code) {
            return Err(format!(
                "code = {}: expected a SIP status from 400 to 699",
                config.code
            ));
        }
        let words = Words::new(&config.words)?;
        Ok(Self { config, words })
    }
}

impl MessageFilter for WordFilter {
    fn filter(&mut self, message: Message) -> MessageVerdict {
        let Some(kind) = body::Kind::of(&message.content_type) else {
            return MessageVerdict::Pass;
        };
        let found = body::find(kind, &message.body, &self.words);
        if found.is_empty() {
            return MessageVerdict::Pass;
        }
        self.count(&found);
        match self.config.mode {
            Mode::Mask => {
                log::debug(format!("masked {} words in a message", found.len()));
                MessageVerdict::with_body(body::mask(&message.body, &found))
            }
            Mode::Reject => {
                log::debug("rejected a message");
                MessageVerdict::reject(self.config.code, self.config.reason.clone())
            }
        }
    }
}

impl WordFilter {
    /// Adds to the count of each word that was found.
    fn count(&self, found: &[body::Found]) {
        let mut hits = vec![0; self.words.len()];
        for found in found {
            hits[found.word] += 1;
        }
        for (word, hits) in hits.into_iter().enumerate().filter(|(_, hits)| *hits > 0) {
            // A count that cannot be kept is no reason to let the word through.
            let _ = kv::increment(&format!("hits/{}", self.words.name(word)), hits);
        }
    }
}

cordboard_sdk::export!(WordFilter: message_filter);
