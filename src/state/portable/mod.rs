//! The state as one file: written from one store, and taken over by another that is empty, whichever database each is on.
//!
//! What must not be in two places is not in the file: no lease, no heartbeat, no key that signs, and no plan that could still be
//! confirmed. Whoever goes on working on the old store cannot confirm here what was confirmed there.

pub mod file;
pub mod form;

use crate::model::fault::Fault;
use async_trait::async_trait;
use form::RunningJob;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

/// What an export wrote, all of one moment.
#[derive(Debug, Clone)]
pub struct Exported {
    /// Rows, by table.
    pub rows: BTreeMap<String, u64>,
    /// The jobs that ran. They come over as those of a dead process, which the next start reconciles.
    pub running: Vec<RunningJob>,
    /// Plans that waited for a confirmation. In the file they are withdrawn.
    pub withdrawn: u64,
    /// Other processes that are at work on the store: what they write from then on is not in the file.
    pub others: usize,
}

/// What an import came to.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Rows of the file, by table.
    pub rows: BTreeMap<String, u64>,
    /// When the file had been imported before; then nothing was written.
    pub before: Option<Timestamp>,
}

/// A store that can be moved.
#[async_trait]
pub trait Portable: Send + Sync {
    /// Writes all that is kept into a new file, as it is at one moment.
    ///
    /// # Errors
    /// `state.export_exists`, `state.export_failed`; `state.failed`, `state.damaged`.
    async fn export(&self, to: &Path) -> Result<Exported, Fault>;

    /// Takes over what a file holds: all of it, or nothing. The file is read to its end before anything is written.
    ///
    /// # Errors
    /// `state.export_damaged`, `state.export_failed`, `state.newer`; `state.not_empty` where the store holds something; `state.in_use`
    /// while other processes are at work on it; `state.failed`.
    async fn import(&self, from: &Path) -> Result<Imported, Fault>;
}
