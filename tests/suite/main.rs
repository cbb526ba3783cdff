//! The suite: tests of the library and the program against real servers. One test binary, so that it links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, helpers included, and prints what it found"
)]

mod archive;
mod cli;
mod config;
mod docs;
mod emulator;
mod guard;
mod mcp;
mod notify;
mod provider;
mod redis;
mod runtime;
mod schedule;
mod state;
mod tair;
mod tools;
mod vault;

#[path = "../support/mod.rs"]
mod support;
