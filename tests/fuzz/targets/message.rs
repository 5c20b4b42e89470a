//! Whole messages: no panic, and what is let in at the door is sound enough to be answered.
#![no_main]

#[path = "../../../core/engine/tests/harm/mod.rs"]
#[allow(dead_code)]
mod harm;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = harm::digest(bytes);
});
