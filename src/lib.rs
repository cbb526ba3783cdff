//! `tair-backup-mcp`: an MCP server through which agents back up, describe, download and restore Tair, Redis and Valkey
//! instances, and cannot overwrite anything without a person's yes.
//!
//! A room imports only rooms below it (the order is held by `tests/tidy.rs`):
//!
//! ```text
//! main → cli                 parse, render for people, exit code
//! runtime                    one process: threads, wiring of rooms, signals, drain
//! mcp            emulator    the face for agents · the cloud's API over local instances
//! tools                      the registry, one verb a file; the only room where guard and provider meet
//! notify                     who is told of what failed, and of what has not succeeded
//! schedule                   what is due, and the backups that policies ask for
//! provider                   the Provider trait and its makers
//! archive                    the log of an instance: timelines, segments, gaps, time to offset
//! vault   tair   state       backup sets at rest · the cloud's wire and client · jobs, leases, confirmations, audit
//! redis                      the replication protocol and RDB
//! guard                      facts, assessment, plan, token, permit, grant (no I/O)
//! config                     the file, instances by url, the home, durable files
//! model                      ids, caller, instance, backup, job, restore, time, Fault
//! ```
#![doc = include_str!("../docs/crate.md")]

pub mod archive;
pub mod cli;
pub mod config;
pub mod emulator;
pub mod guard;
pub mod mcp;
pub mod model;
pub mod notify;
pub mod provider;
pub mod redis;
pub mod runtime;
pub mod schedule;
pub mod state;
pub mod tair;
pub mod tools;
pub mod vault;
