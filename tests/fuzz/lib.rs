//! The functions that the fuzzers call: those that the test suite replays the corpus with.

#[path = "../support/targets.rs"]
pub mod targets;
