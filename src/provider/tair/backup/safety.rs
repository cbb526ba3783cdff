//! The safety backup of a restore: one that holds the very last write, and how far it is.

use crate::guard::facts::restore::{ListedSafety, SafetyFacts, SafetyProof, SafetyStatus};
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobStatus};
use crate::provider::tair::Inner;
use crate::provider::tair::sets::CloudSet;
use std::sync::Arc;

impl Inner {
    /// Starts the safety backup of a restore, for the caller of that id.
    pub async fn safety_backup(self: &Arc<Self>, instance_id: &str, caller: &str) -> Result<SafetyFacts, Fault> {
        let job = self.start_safety_backup(instance_id, caller).await?;
        Ok(SafetyFacts { job_id: job.id, backup_id: job.backup_id, status: SafetyStatus::Running })
    }

    /// Starts the backup from which a restore can be undone. One that runs already began before this plan, and may lack the last writes.
    async fn start_safety_backup(self: &Arc<Self>, instance_id: &str, caller: &str) -> Result<Job, Fault> {
        let (job, joined) = self.start_backup(instance_id, (Mode::Safety, None), caller).await?;
        if !joined {
            return Ok(job);
        }
        let message =
            format!("backup {} of {instance_id} runs since before this plan, and may lack the last writes", job.id);
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
            JobStatus::Succeeded => match self.judged_set(instance_id, &job.backup_id).await {
                Ok(Ok(set)) => SafetyStatus::Whole {
                    keys: None,
                    taken_at: set.set.started_at,
                    reused: false,
                    proof: SafetyProof::Listed(Box::new(self.proof(instance_id, &job, &set))),
                },
                Ok(Err(damaged)) => SafetyStatus::Damaged(damaged.reason),
                Err(fault) if fault.kind == Kind::NotFound => SafetyStatus::Gone,
                Err(fault) => return Err(fault),
            },
        };
        Ok(SafetyFacts { job_id: job.id, backup_id: job.backup_id, status })
    }

    /// What the list of sets shows of a safety backup.
    fn proof(&self, instance_id: &str, job: &Job, set: &CloudSet) -> ListedSafety {
        let shard = format!("{instance_id}-");
        let foreign = |node: &&String| *node != instance_id && !node.starts_with(&shard);
        ListedSafety {
            set: set.facts(),
            asked_for: job.cloud_jobs.clone(),
            full: set.full,
            success: set.success,
            // A file whose size is not told is no proof that there is one.
            smallest_file: set.shards.iter().map(|file| file.bytes.unwrap_or_default()).min().unwrap_or_default(),
            foreign_nodes: set.shards.iter().map(|file| &file.node).filter(foreign).cloned().collect(),
            read_at: self.client.now(),
        }
    }
}
