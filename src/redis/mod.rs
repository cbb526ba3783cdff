//! The protocol side of an instance: connection, facts, the replica that captures, the master and the commands that restore.
//!
//! It must not decide whether something may happen (guard's part: whatever changes a target's role, settings or data takes
//! a grant) nor keep anything (vault's and state's part). What a server says is text from outside: `error_reply` cleans it.

pub mod commandstats;
pub mod compare;
pub mod conn;
pub mod endpoint;
pub mod error;
pub mod facts;
mod faults;
pub mod hello;
pub mod inventory;
pub mod keys;
pub mod limits;
pub mod master;
pub mod moment;
pub mod own_client;
pub mod own_server;
pub mod pause;
pub mod persistence;
pub mod persistence_settings;
pub mod prefix;
pub mod rdb;
pub mod reach;
pub mod replay;
pub mod replica;
pub mod resp;
pub mod rights;
pub mod scratch;
pub mod sentinel;
pub mod sentinel_masters;
pub mod settings;
pub mod slots;
pub mod target;

mod chains;
mod error_reply;
mod memory;
mod modules;
mod server_log;
mod tls;
mod tls_probe;
