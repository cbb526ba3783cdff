//! Providers: what can be done to an instance, behind one trait. Each mutating call takes the guard's `Permit` by value.

pub mod download;
pub mod local;
pub mod tair;

use crate::guard::permit::Permit;
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::fault::Fault;
use crate::model::instance::Instance;
use crate::model::job::Job;
use crate::model::restore::{Look, SafetyFacts, SourceFacts, TargetFacts};
use async_trait::async_trait;
use std::path::Path;

/// A file that a download made or found.
#[derive(Debug, Clone)]
pub struct Downloaded {
    /// Bytes of the RDB.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// The file was there already, equal to the byte.
    pub already_there: bool,
}

/// Hears how far a piece of work is: done and total, in bytes.
pub type OnBytes = dyn Fn(u64, u64) + Send + Sync;

/// One kind of place where instances live.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The instances it serves.
    fn instance_ids(&self) -> Vec<String>;

    /// Reads one instance. An instance that cannot be reached is described as such, not an error.
    async fn describe(&self, instance_id: &str) -> Result<Instance, Fault>;

    /// Starts a backup, or joins the one that runs. `true` beside the job: joined.
    async fn create_backup(&self, instance_id: &str, mode: Mode, note: &str) -> Result<(Job, bool), Fault>;

    /// All sets of an instance, newest first, damaged ones named.
    async fn backups(&self, instance_id: &str) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault>;

    /// One set.
    async fn backup(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault>;

    /// Writes a set's RDB to a file, verified, resumable; never over a different file.
    async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault>;

    /// Reads target and set for a restore. Damage and refusals are in the facts, not errors.
    async fn facts(&self, instance_id: &str, backup_id: &str, look: Look) -> Result<(TargetFacts, SourceFacts), Fault>;

    /// Finds a fresh backup of what the target holds, or starts one.
    async fn safety_backup(&self, instance_id: &str, target: &TargetFacts) -> Result<SafetyFacts, Fault>;

    /// How far a safety backup is.
    async fn safety_standing(&self, instance_id: &str, job_id: &str, backup_id: &str) -> Result<SafetyFacts, Fault>;

    /// Overwrites an instance as permitted. Returns its job at once.
    async fn restore(&self, permit: Permit) -> Result<Job, Fault>;

    /// One job.
    async fn job(&self, job_id: &str) -> Result<Job, Fault>;

    /// The latest jobs, newest first.
    async fn jobs(&self, instance_id: Option<&str>) -> Result<Vec<Job>, Fault>;

    /// Settles what dead processes left behind. Called once at the start, again before jobs are listed.
    async fn recover(&self) -> Result<(), Fault>;

    /// Ends well: running restores are seen to their end, and captures too unless `cancel_backups`.
    async fn shut_down(&self, cancel_backups: bool);
}
