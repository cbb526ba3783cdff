//! The suite: what the library and the binary promise, against real servers. One binary, so that it links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, helpers included, and prints what it found"
)]

mod cli;
mod cloud;
mod cloud_writes;
mod contract;
mod crash;
mod delete;
mod demo;
mod emulator;
mod emulator_backups;
mod emulator_clones;
mod emulator_gate;
mod emulator_mishaps;
mod emulator_restores;
mod guard;
mod guard_world;
mod harness;
mod live;
mod memory;
mod provider;
mod rdb;
mod replication;
mod restore;
mod tair_client;
mod tair_codes;
mod tair_config;
mod tair_credentials;
mod tair_provider;
mod tair_server;
mod tair_signing;
mod tair_wire;
mod terminal;
mod vault;
