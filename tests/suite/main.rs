//! The suite: what the library and the binary promise, against real servers. One binary, so that it links once.

mod cli;
mod cloud;
mod contract;
mod crash;
mod delete;
mod demo;
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
mod tair_provider;
mod tair_server;
mod tair_signing;
mod tair_wire;
mod terminal;
