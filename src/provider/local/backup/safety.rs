//! The safety backup: the set from which a restore can be undone, taken or found before the restore.

use crate::guard::assess::Assessment;
use crate::guard::facts::restore::{SafetyFacts, SafetyStatus};
use crate::guard::preconditions::Preconditions;
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::JobStatus;
use crate::provider::local::Inner;
use crate::state::jobs::Begun;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// An earlier backup counts as fresh for this long, if no write came since.
const FRESH_SECONDS: i64 = 300;

impl Inner {
    /// A fresh backup of what the target holds: an earlier one where no write came since, else a new one.
    pub async fn safety_backup(
        self: &Arc<Self>,
        instance_id: &str,
        assessment: &Assessment,
    ) -> Result<SafetyFacts, Fault> {
        let sets = self.vault.list(instance_id, &**self).await?;
        let now = Timestamp::now();
        let Preconditions::DirectRestore(target) = &assessment.preconditions else {
            return Err(Fault::new(Kind::Unexpected, "act.unsupported", "a safety backup is for a restore"));
        };
        let fresh = sets.into_iter().flatten().find(|set| {
            now.as_second() - set.started_at.as_second() < FRESH_SECONDS
                && target.run_id == set.run_id
                // A restore changes data without a write command, and the replication id with it.
                && target.replication_id == set.replication_id
                // An equal position proves that nothing was written, while there is a backlog; the counter is a second witness.
                && assessment.writes.and_then(|w| w.offset) == Some(set.replication_offset)
                && set.write_calls.is_some()
                && set.write_calls == assessment.writes.map(|w| w.calls)
        });
        if let Some(set) = fresh {
            let status =
                SafetyStatus::Whole { keys: Some(total_keys(&set.counts)), taken_at: set.started_at, reused: true };
            return Ok(SafetyFacts { job_id: String::new(), backup_id: set.id, status });
        }
        match self.start_capture(instance_id, Mode::Safety, "taken before a restore").await? {
            Begun::Started(job) => {
                Ok(SafetyFacts { job_id: job.id, backup_id: job.backup_id, status: SafetyStatus::Running })
            }
            // A backup that already runs began before our facts were read: it may lack the last writes.
            Begun::Joined(job) => {
                Err(Fault::new(Kind::Provider, "job.busy", format!("backup {} is running on {instance_id}", job.id))
                    .hint("Wait for it with describe_jobs, then call restore_instance again.")
                    .retry_after(Duration::from_secs(5)))
            }
        }
    }

    /// How far a safety backup is.
    pub async fn safety_status(&self, instance_id: &str, job_id: &str, backup_id: &str) -> Result<SafetyFacts, Fault> {
        let facts = |status| SafetyFacts { job_id: job_id.into(), backup_id: backup_id.into(), status };
        if !job_id.is_empty() {
            let job = self.state.job(job_id).await?;
            match job.status {
                JobStatus::Running => return Ok(facts(SafetyStatus::Running)),
                JobStatus::Failed => return Ok(facts(SafetyStatus::Failed(job.message))),
                JobStatus::Succeeded => {}
            }
        }
        match self.vault.find(instance_id, backup_id, self).await {
            Ok(set) => Ok(facts(SafetyStatus::Whole {
                keys: Some(total_keys(&set.counts)),
                taken_at: set.started_at,
                reused: job_id.is_empty(),
            })),
            Err(fault) => Ok(facts(SafetyStatus::Failed(fault.message))),
        }
    }
}
