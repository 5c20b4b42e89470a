//! Mutated chat commands: nothing panics, nobody is told anything after the close or twice, what is told is JSON.
//!
//! The short run makes 20,000 of them; `CORDBOARD_MUTATIONS` says how many instead. The seed is fixed, so a
//! failure comes again; the frame that failed is shown.

mod harm_chat;

use std::panic::{AssertUnwindSafe, catch_unwind};

use harm_chat::Room;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

const SHORT_RUN: usize = 20_000;
/// Frames after which a fresh room begins, so that what is told of histories stays short.
const ROOM: usize = 500;

/// A command of each kind, `@` for a participant's id that may be somebody's.
const SEEDS: &[(&str, &str)] = &[
    (
        "chat",
        r#"{"action":"send_message","scope":"global","content":"hello ☃"}"#,
    ),
    (
        "chat",
        r#"{"action":"send_message","scope":"group","target":"/Lab","content":"x"}"#,
    ),
    (
        "chat",
        r#"{"action":"send_message","scope":"private","target":"00000000-0000-4000-8000-000000000000","content":"x"}"#,
    ),
    (
        "chat",
        r#"{"action":"set_last_seen_timestamp","scope":"global","timestamp":"2026-11-22T03:30:00.5+01:00"}"#,
    ),
    (
        "chat",
        r#"{"action":"get_history_chunk","message_index":3,"scope":"global"}"#,
    ),
    (
        "chat",
        r#"{"action":"search_history","term":"he","message_index":null,"scope":"global"}"#,
    ),
    ("chat", r#"{"action":"clear_history"}"#),
    ("chat", r#"{"action":"disable_chat"}"#),
    ("chat", r#"{"action":"enable_chat"}"#),
    (
        "chat",
        r#"{"action":"edit_message","id":"00000000-0000-4000-8000-000000000000","content":"y"}"#,
    ),
    (
        "chat",
        r#"{"action":"delete_message","id":"00000000-0000-4000-8000-000000000000"}"#,
    ),
    ("control", r#"{"action":"join","display_name":"Ann  B"}"#),
    ("control", r#"{"action":"enter_room"}"#),
    ("control", r#"{"action":"raise_hand"}"#),
    (
        "control",
        r#"{"action":"grant_moderator_role","target":"00000000-0000-4000-8000-000000000000"}"#,
    ),
    (
        "moderation",
        r#"{"action":"kick","target":"00000000-0000-4000-8000-000000000000"}"#,
    ),
    ("moderation", r#"{"action":"enable_waiting_room"}"#),
    ("moderation", r#"{"action":"disable_waiting_room"}"#),
    (
        "moderation",
        r#"{"action":"reset_raised_hands","target":["00000000-0000-4000-8000-000000000000"]}"#,
    ),
    ("moderation", r#"{"action":"debrief","kick_scope":"guests"}"#),
    (
        "moderation",
        r#"{"action":"mute","participants":["00000000-0000-4000-8000-000000000000"]}"#,
    ),
    (
        "livekit",
        r#"{"action":"enable_microphone_restrictions","unrestricted_participants":[]}"#,
    ),
];

/// What faults are often made of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "null",
    "true",
    "-1",
    "1e99",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{ff}",
    "\"action\":\"kick\",",
    "\"scope\":\"private\",",
    "{{{{{{{{",
    "[[[[[[[[",
];

struct Mutator(ChaCha12Rng);

impl Mutator {
    fn below(&mut self, end: usize) -> usize {
        self.0.next_u32() as usize % end.max(1)
    }

    fn frame(&mut self) -> Vec<u8> {
        let (namespace, payload) = SEEDS[self.below(SEEDS.len())];
        let mut bytes = format!("{{\"namespace\":\"{namespace}\",\"payload\":{payload}}}").into_bytes();
        // Some are right, so that the room is not always empty and silent.
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let copy = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, copy);
                }
                3 => bytes.truncate(at.max(1)),
                4 => {
                    let text = "ü".repeat(self.below(3000));
                    bytes.splice(at..at, text.into_bytes());
                }
                _ => {
                    let piece = PIECES[self.below(PIECES.len())].as_bytes();
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
        }
        bytes
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // how long a test runs is not configuration of the engine
fn no_mutated_command_breaks_a_room() {
    let count = std::env::var("CORDBOARD_MUTATIONS")
        .ok()
        .and_then(|text| text.parse().ok());
    let count: usize = count.unwrap_or(SHORT_RUN);
    let mut mutator = Mutator(ChaCha12Rng::seed_from_u64(5));
    let (mut room, mut told) = (Room::new(), 0);
    for turn in 0..count {
        if turn % ROOM == ROOM - 1 {
            told += room.frames;
            room = Room::new();
        }
        let (place, frame) = (mutator.below(3), mutator.frame());
        let outcome = catch_unwind(AssertUnwindSafe(|| room.say(place, &frame)));
        assert!(
            outcome.is_ok(),
            "turn {turn}, client {place}: {}",
            String::from_utf8_lossy(&frame)
        );
    }
    assert!(
        told > count / 2 || count < 2 * ROOM,
        "the rooms are not silent: {told}"
    );
}
