//! The words every room shares: ids, instances, backup sets, jobs, restore facts, time and `Fault`.
//!
//! No serde and no I/O here: what travels or is stored has its own shape in the room that sends or stores it.

pub mod backup;
pub mod caller;
pub mod fault;
pub mod ids;
pub mod instance;
pub mod job;
pub mod policy;
pub mod restore;
pub mod secret;
pub mod text;
pub mod time;
