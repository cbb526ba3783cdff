//! The safety backup of a restore: one that holds the very last write, and how far it is.

use crate::guard::facts::restore::{SafetyFacts, SafetyProof, SafetyStatus};
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobStatus};
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::{Inner, traffic};
use crate::tair::wire::moment;
use jiff::SignedDuration;
use std::sync::Arc;

impl Inner {
    /// Starts the safety backup of a restore.
    pub async fn safety_backup(self: &Arc<Self>, instance_id: &str) -> Result<SafetyFacts, Fault> {
        let job = self.start_safety_backup(instance_id).await?;
        Ok(SafetyFacts { job_id: job.id, backup_id: job.backup_id, status: SafetyStatus::Running })
    }

    /// Starts the backup from which a restore can be undone. There is no counter of writes by which an earlier set could be known to be as good, so
    /// an older job of ours that still runs will do only where nothing was written since it began.
    async fn start_safety_backup(self: &Arc<Self>, instance_id: &str) -> Result<Job, Fault> {
        let (job, joined) = self.start_backup(instance_id, Mode::Safety).await?;
        if !joined {
            return Ok(job);
        }
        let running = self.running(instance_id).await?;
        // The cloud's own job may have begun before ours joined it.
        if let Some(began) = running.iter().filter_map(|t| moment(t.start_time.as_deref())).min() {
            let shape = Architecture::of(&self.attribute(instance_id).await?).shape;
            let from = began.min(job.created_at);
            // Writes are measured by the minute: the minute in which the job began counts as well.
            let from = from.saturating_sub(SignedDuration::from_mins(1)).unwrap_or(from);
            if traffic::writes(&self.client, instance_id, shape, from).await?.peak == 0.0 {
                return Ok(job);
            }
        }
        let message = format!(
            "backup {} of {instance_id} runs since before the last writes, which would be in no backup",
            job.id
        );
        Err(Fault::new(Kind::Provider, "job.busy", message)
            .hint("Wait for it with describe_jobs; then make the plan again, which takes a backup of its own.")
            .next(&["describe_jobs"])
            .retry_after(std::time::Duration::from_secs(5)))
    }

    /// How far the safety backup of a restore is.
    pub async fn safety_status(&self, instance_id: &str, job_id: &str) -> Result<SafetyFacts, Fault> {
        let job = self.jobs.state.job(job_id).await?;
        let status = match job.status {
            JobStatus::Running => SafetyStatus::Running,
            JobStatus::Failed | JobStatus::Uncertain => SafetyStatus::Failed(job.message),
            JobStatus::Succeeded => match self.cloud_set(instance_id, &job.backup_id).await {
                Ok(set) => SafetyStatus::Whole {
                    keys: None,
                    taken_at: set.set.started_at,
                    reused: false,
                    proof: SafetyProof::Listed,
                },
                Err(fault) if fault.kind == Kind::NotFound => SafetyStatus::Gone,
                Err(fault) if fault.kind == Kind::Damaged => SafetyStatus::Damaged(fault.message),
                Err(fault) => return Err(fault),
            },
        };
        Ok(SafetyFacts { job_id: job.id, backup_id: job.backup_id, status })
    }
}
