//! Spares: hidden servers that become the new instances asked for, and what became of filling them.

use crate::emulator::acts;
use crate::emulator::answer::Refused;
use crate::emulator::memory::Created;
use crate::emulator::world::{Status, World, is_undecided};
use crate::model::job::{Job, JobKind, JobStatus};
use jiff::Timestamp;

impl World {
    /// Settles spares whose filling was cut off by the end of an earlier process.
    ///
    /// # Errors
    /// What the state store refuses.
    pub async fn settle(&self) -> Result<(), Refused> {
        for instance in self.instances() {
            match &instance.created {
                Some(created) if created.normal_at.is_none() && !created.failed => {
                    self.settle_spare(&instance.id, created).await?;
                }
                Some(created) => self.discard_copy(&instance.id, &created.copy).await?,
                None => {}
            }
        }
        Ok(())
    }

    /// Ends the filling of a spare by what became of its restore. While that is not settled it is still being created, and
    /// is looked at again with its status.
    ///
    /// # Errors
    /// What the state store and the file refuse.
    pub async fn settle_spare(&self, instance_id: &str, created: &Created) -> Result<Status, Refused> {
        let restore =
            |jobs: Vec<Job>| jobs.into_iter().find(|job| job.kind == JobKind::Restore && job.backup_id == created.copy);
        let mut job = restore(self.app.state.jobs(Some(instance_id)).await?);
        if job.as_ref().is_some_and(is_undecided) {
            self.app.provider.recover().await?;
            job = restore(self.app.state.jobs(Some(instance_id)).await?);
        }
        if job.as_ref().is_some_and(is_undecided) {
            return Ok(Status::Creating);
        }
        self.discard_copy(instance_id, &created.copy).await?;
        let well = job.is_some_and(|job| job.status == JobStatus::Succeeded);
        self.filled(instance_id, well)?;
        Ok(if well { Status::Normal } else { Status::Error })
    }

    /// Deletes the copy that a spare was filled from, whole or half.
    async fn discard_copy(&self, instance_id: &str, copy: &str) -> Result<(), Refused> {
        self.vault.discard_draft(instance_id, copy)?;
        if self.vault.set_dir(instance_id, copy).is_dir()
            && let Err(refused) = acts::delete_backup(self, "settling", instance_id, copy).await
        {
            // It only takes room, and is tried again at the next start.
            tracing::warn!(%instance_id, backup_id = %copy, "the copy could not be deleted: {}", refused.message);
        }
        Ok(())
    }

    /// Says how the filling of a spare ended.
    fn filled(&self, instance_id: &str, well: bool) -> Result<(), Refused> {
        self.memory.change(|book| {
            // Settled once: a second look at the same time says the same, and no later moment.
            if let Some(created) = book.of(instance_id).created.as_mut().filter(|c| c.normal_at.is_none()) {
                created.failed = !well;
                created.normal_at = well.then(Timestamp::now);
            }
            Ok(())
        })
    }
}
