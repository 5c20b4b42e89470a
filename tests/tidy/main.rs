//! The rules of the house as tests: who may depend on whom, how big things may get, what must never stand in a file.
//!
//! Each rule is one test, so that a failure names the rule. Exceptions stand in a table beside the rule, by name and
//! with the reason; an exception that is no longer needed fails too.

mod command;
mod content;
mod layer;
mod size;
mod source;

#[track_caller]
pub(crate) fn none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}
