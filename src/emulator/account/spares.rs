//! New instances, spare ones that were handed out and clones, and how their filling ended.
//!
//! Whether one was filled is read from the provider's job of its restore, and of a clone from whether it lives, never from this process's own memory, so that a
//! later process comes to the same result.

use crate::emulator::account::Account;
use crate::emulator::account::instance::Status;
use crate::emulator::account::records::Creation;
use crate::emulator::answer::Refused;
use crate::model::job::{Job, JobKind, JobStatus};
use jiff::Timestamp;

/// Whether a restore's end is not known yet: it runs, or it left its target in a state that is still to be rolled back.
fn is_undecided(job: &Job) -> bool {
    job.status == JobStatus::Running || job.needs_reconciliation()
}

/// The restore that fills a spare instance, out of all jobs on it: the newest one with the right set since the instance was
/// handed out, where it is known which set is the right one. Jobs are dated to the millisecond.
fn filling(jobs: Vec<Job>, created: &Creation) -> Option<Job> {
    let kind = if created.clone_of.is_some() { JobKind::Clone } else { JobKind::Restore };
    let since = created.at.as_millisecond();
    let right = |id: &str| created.backup_id.is_empty() || created.backup_id == id;
    jobs.into_iter().find(|job| job.kind == kind && right(&job.backup_id) && job.created_at.as_millisecond() >= since)
}

impl Account {
    /// Reconciles spare instances whose filling an earlier process did not finish.
    ///
    /// # Errors
    /// What the state store refuses.
    pub async fn reconcile(&self) -> Result<(), Refused> {
        for instance in self.instances() {
            if let Some(created) = instance.created.as_ref().filter(|c| c.normal_at.is_none() && !c.failed) {
                self.reconcile_spare(&instance.id, created).await?;
            }
        }
        Ok(())
    }

    /// Ends the filling of a spare instance by the end of its restore. While that is not known the instance is still being
    /// created, and is reconciled again whenever its status is asked for.
    ///
    /// # Errors
    /// What the state store and the file refuse.
    pub async fn reconcile_spare(&self, instance_id: &str, created: &Creation) -> Result<Status, Refused> {
        // A clone's job is one of its source.
        let of = created.clone_of.as_deref().unwrap_or(instance_id);
        let mut job = filling(self.all_jobs(of).await?, created);
        if job.as_ref().is_some_and(is_undecided) {
            self.app.provider.recover().await?;
            job = filling(self.all_jobs(of).await?, created);
        }
        if job.as_ref().is_some_and(is_undecided) {
            return Ok(Status::Creating);
        }
        let well = match created.clone_of {
            None => job.is_some_and(|job| job.status == JobStatus::Succeeded),
            // Of several clones of one set nothing else tells whose job is whose.
            Some(_) => self.app.provider.describe(instance_id).await?.live.is_ok(),
        };
        self.records
            .change(|records| {
                // Ended once: a second look at the same time says the same, and no later moment.
                if let Some(created) = records.of(instance_id).created.as_mut().filter(|c| c.normal_at.is_none()) {
                    created.failed = !well;
                    created.normal_at = well.then(Timestamp::now);
                }
                Ok::<_, Refused>(())
            })
            .await?;
        Ok(if well { Status::Normal } else { Status::Error })
    }
}
