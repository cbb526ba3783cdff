//! The suite: what the library and the binary promise, against real servers. One binary, so that it links once.

mod cli;
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
mod harness;
mod memory;
mod rdb;
mod replication;
mod restore;
mod tair_client;
mod tair_codes;
mod tair_config;
mod tair_credentials;
mod tair_server;
mod tair_signing;
mod tair_wire;
mod terminal;
