//! The level of the log, in the config and in `CORDBOARD_LOG`: one word for all, or a list with a level for each part.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::kind::nearest;

/// The words for all, the quietest first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads a level such as `info` or `info,cordboard_engine=debug`.
///
/// The library takes a lone word that is no level for the name of a part, and logs nothing of all others: here it is
/// a mistake.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub(crate) fn level_filter(text: &str) -> Result<EnvFilter, String> {
    for word in text.split(',').map(str::trim) {
        let names_a_part = word.contains(['=', '[', ']', '{', '}']);
        if !names_a_part && (word.is_empty() || word.parse::<LevelFilter>().is_err()) {
            return Err(no_level(word));
        }
    }
    let parsed = EnvFilter::builder().parse(text);
    parsed.map_err(|_| {
        format!(
            "\"{text}\": a part has no level that is known; expected {}",
            expected()
        )
    })
}

fn no_level(word: &str) -> String {
    match nearest(word, LEVELS.into_iter()) {
        Some(near) => format!("\"{word}\" is no level; the nearest is \"{near}\""),
        None if word.is_empty() => format!("a level is missing; expected {}", expected()),
        None => format!("\"{word}\" is no level; expected {}", expected()),
    }
}

fn expected() -> String {
    format!("{}, or one for a part: cordboard_engine=debug", LEVELS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_levels_of_parts_are_read() {
        for right in [
            "off",
            "info",
            "INFO",
            "warn,cordboard_engine=debug",
            "info,cordboard_media=off",
            "error,cordboard::http[request{route=\"/\"}]=trace",
            "info,[request{method}]=debug",
        ] {
            assert!(level_filter(right).is_ok(), "{right}: {:?}", level_filter(right));
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_not_taken_for_a_part() {
        for (wrong, said) in [
            ("inf", "\"inf\" is no level; the nearest is \"info\""),
            ("inof", "the nearest is \"info\""),
            ("bogus", "\"bogus\" is no level; expected off, error"),
            ("info,cordboard_engine", "\"cordboard_engine\" is no level"),
            ("info,", "a level is missing"),
            ("", "a level is missing"),
            ("nonsense=what", "expected off, error"),
        ] {
            let error = level_filter(wrong).expect_err(wrong);
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }
}
