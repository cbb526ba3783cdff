//! Tests of the providers: backups and restores of real servers, reached by ourselves or through the emulated cloud.

mod beside;
mod by_commands;
pub mod cloud;
mod cloud_bound;
mod cloud_ends;
mod cloud_faults;
mod cloud_replies;
mod cloud_week;
mod cloud_writes;
mod crash;
mod cutover;
mod live;
mod memory;
mod moment;
mod moment_commands;
mod moment_log;
mod proof;
mod refusals;
mod removals;
mod restore;
mod retention;
mod sources;
mod suite;
mod tair;
mod time_shift;
