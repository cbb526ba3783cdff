//! Verification of sets at rest, each a job: bytes and digests, the whole walk, or a drill. What it came to is kept.
//!
//! A set in which a fault was found counts as damaged until a verification that is as deep finds none: [`Inner::sets`] and [`Inner::set`] are
//! the vault's, without such sets. Nothing here changes a set or an instance.

mod drill;

use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobKind, JobStatus, Unfinished};
use crate::model::text::{bytes, clean_to};
use crate::model::verification::{Level, Verification};
use crate::provider::local::Inner;
use crate::vault::known_damage;
use crate::vault::watch::Watch;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How often a job's progress is written down.
const TICK: Duration = Duration::from_millis(500);
/// Longest fault that is kept of a set, in characters: it names a path.
const FAULT_MAX: usize = 600;

/// Why a set was not verified.
#[derive(Debug)]
enum NotVerified {
    /// The set is damaged.
    Damaged(Fault),
    /// Something else: of the set that says nothing.
    Failed(Fault),
}

impl From<Fault> for NotVerified {
    fn from(fault: Fault) -> Self {
        if fault.kind == Kind::Damaged { Self::Damaged(fault) } else { Self::Failed(fault) }
    }
}

/// The end of a verification whose process was asked to end.
fn cancelled() -> Fault {
    let message = "the verification was cancelled because the program was asked to end; nothing of it is kept";
    Fault::new(Kind::Provider, "job.cancelled", message).hint("Call verify_backup again.")
}

/// The end of a verification whose process died: its servers ended with it.
pub(super) fn interrupted() -> Fault {
    let message = "the process verifying this set died; nothing of it is kept";
    Fault::new(Kind::Unexpected, "job.interrupted", message).hint("Call verify_backup again.")
}

/// What reading a set whole has shown, for the reader.
fn told(level: Level, set: &BackupSet) -> String {
    let (level, read, stored) = (level.as_str(), bytes(set.rdb_bytes), bytes(set.stored_bytes));
    let keys = total_keys(&set.counts);
    format!("{level}: {keys} keys by its manifest, {read} RDB, {stored} stored; SHA-256 and lengths are those written")
}

impl Inner {
    /// The sets of an instance as the vault lists them; those in which a verification has found a fault are damaged.
    pub(in crate::provider::local) async fn sets(
        &self,
        instance_id: &str,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let sets = self.vault.list(instance_id, self).await?;
        let mut found = self.state.verifications(instance_id).await?;
        let judged = |set: Result<BackupSet, DamagedSet>| -> Result<BackupSet, DamagedSet> {
            let set = set?;
            match found.remove(&set.id).and_then(|found| found.fault) {
                Some(reason) => Err(DamagedSet { id: set.id, reason }),
                None => Ok(set),
            }
        };
        Ok(sets.into_iter().map(judged).collect())
    }

    /// Finds a set in which no verification has found a fault.
    ///
    /// # Errors
    /// As the vault's own; `backup.damaged` also where a verification has found that.
    pub(in crate::provider::local) async fn set(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        let set = self.vault.find(instance_id, backup_id, self).await?;
        let found = self.state.verifications(instance_id).await?.remove(backup_id);
        found.and_then(|found| found.fault).map_or(Ok(set), |fault| Err(known_damage(fault)))
    }

    /// Begins the verification of a set.
    ///
    /// # Errors
    /// `backup.not_found`; `job.busy` where that set is being verified.
    pub(super) async fn start_verification(
        self: &Arc<Self>,
        (instance_id, backup_id): (&str, &str),
        level: Level,
        caller: &str,
    ) -> Result<Job, Fault> {
        if self.jobs.stop.is_cancelled() {
            return Err(cancelled());
        }
        // A dead process's verification is not one to wait for.
        self.recover().await?;
        match self.vault.find(instance_id, backup_id, &**self).await {
            // What is wrong with it is what the job ends with.
            Err(fault) if fault.kind == Kind::Damaged => {}
            found => drop(found?),
        }
        let same = |job: &Job| {
            let is = (job.kind, job.status) == (JobKind::Verification, JobStatus::Running);
            is && job.backup_id == backup_id
        };
        if let Some(job) = self.state.jobs(Some(instance_id)).await?.into_iter().find(same) {
            let message = format!("verification {} of {backup_id} is running", job.id);
            return Err(Fault::new(Kind::Provider, "job.busy", message)
                .hint("Follow it with describe_jobs.")
                .retry_after(Duration::from_secs(5)));
        }
        let inner = Arc::clone(self);
        self.jobs
            .begin_beside(JobKind::Verification, (instance_id, backup_id), caller, |job| async move {
                inner.verify(&job, level).await.map_err(Unfinished::Failed)
            })
            .await
    }

    /// Verifies a set, and keeps what that came to where it says something of the set.
    async fn verify(&self, job: &Job, level: Level) -> Result<String, Fault> {
        let watch = Arc::new(Watch::default());
        let verified = tokio::select! {
            verified = self.verified(job, level, &watch) => verified,
            () = self.jobs.stop.cancelled() => {
                watch.stop();
                return Err(cancelled());
            }
        };
        let (fault, end) = match verified {
            Ok(message) => (None, Ok(message)),
            Err(NotVerified::Failed(fault)) => return Err(fault),
            Err(NotVerified::Damaged(fault)) => {
                // Deleted meanwhile, it is not damaged.
                if let Err(gone) = self.vault.find(&job.instance_id, &job.backup_id, self).await
                    && gone.kind == Kind::NotFound
                {
                    return Err(gone);
                }
                (Some(clean_to(&fault.message, FAULT_MAX)), Err(fault))
            }
        };
        let found = Verification { level, at: Timestamp::now(), fault };
        let kept = self.state.set_verified(&job.instance_id, &job.backup_id, &found).await;
        match (end, kept) {
            (Ok(message), Ok(())) => Ok(message),
            (Ok(_), Err(not_kept)) => Err(not_kept),
            (Err(fault), kept) => {
                if let Err(not_kept) = kept {
                    tracing::error!(job = %job.id, "that the set is damaged could not be written down: {not_kept}");
                }
                Err(fault)
            }
        }
    }

    async fn verified(&self, job: &Job, level: Level, watch: &Arc<Watch>) -> Result<String, NotVerified> {
        let set = self.vault.find(&job.instance_id, &job.backup_id, self).await?;
        if level == Level::Checksum {
            let read = self.vault.verify_bytes(&set, watch);
            self.watched(job, &set, "reading its bytes", watch, read).await?;
            return Ok(told(level, &set));
        }
        let walk = self.vault.verify_watched(&set, watch);
        let statistics = self.watched(job, &set, "verifying its structure", watch, walk).await?;
        let whole = format!("{}; the inside of every value is sound, and nothing is there twice", told(level, &set));
        if level == Level::Structure {
            return Ok(whole);
        }
        let drilled = self.drill(job, &set, &statistics, watch).await?;
        Ok(format!("{whole}; {drilled}"))
    }

    /// Waits for a reading that is watched, and tells the job how far it is.
    async fn watched<T, E>(
        &self,
        job: &Job,
        set: &BackupSet,
        stage: &str,
        watch: &Watch,
        reading: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::pin!(reading);
        let before = watch.bytes();
        loop {
            // That it could not be told does not end what is told of.
            let _ = self.jobs.progress(job, stage, watch.bytes().saturating_sub(before), set.rdb_bytes).await;
            tokio::select! {
                read = &mut reading => return read,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}
