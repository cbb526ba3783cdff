//! The types every room shares: ids, instances, backup sets, jobs, restore methods, time and `Fault`.
//!
//! No I/O here, and no serde but where a type is part of a plan: what travels or is stored has its own shape in the room that
//! sends or stores it.

pub mod access;
pub mod backup;
pub mod calendar;
pub mod caller;
pub mod destruction;
pub mod estimate;
pub mod fault;
pub mod ids;
pub mod impact;
pub mod instance;
pub mod job;
pub mod key_filter;
pub mod log;
pub mod persistence;
pub mod policy;
pub mod pruning;
pub mod restore;
pub mod restored_keys;
pub mod secret;
pub mod sets;
pub mod slots;
pub mod text;
pub mod time;
pub mod vault_check;
pub mod verification;
