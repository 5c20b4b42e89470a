//! Chat commands: one frame a line, its first byte says whose it is. No panic, and what is told is sound.
#![no_main]

#[path = "../../../core/engine/tests/harm_chat/mod.rs"]
mod harm_chat;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut room = harm_chat::Room::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        if let Some((first, frame)) = line.split_first() {
            room.say(usize::from(*first), frame);
        }
    }
});
