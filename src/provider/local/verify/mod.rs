//! Verification of sets at rest, each a job: bytes and digests, the whole walk, or a drill. What it came to is kept.
//!
//! A set in which a fault was found, here or by a plan that has read it, counts as damaged until a verification that is as deep as what
//! found it finds none, for it may have been in passing: [`Inner::sets`] and [`Inner::set`] are the vault's, without such sets. Nothing here
//! changes a set or an instance.

mod drill;

use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobKind, Unfinished};
use crate::model::text::bytes;
use crate::model::time::written;
use crate::model::verification::{Level, Look, Verification};
use crate::provider::local::Inner;
use crate::provider::verification::{alone, cancelled, keep_damage, told_while, turn};
use crate::redis::rdb::statistics::KeyStatistics;
use crate::vault::watch::Watch;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A set that was walked whole, and the job that it was walked for.
#[derive(Clone, Copy)]
struct Walked<'a> {
    job: &'a Job,
    set: &'a BackupSet,
    statistics: &'a KeyStatistics,
    /// When its reading began.
    began: Timestamp,
    watch: &'a Arc<Watch>,
}

/// Why a set was not verified.
#[derive(Debug)]
enum NotVerified {
    /// A look of this level has found that the set is damaged; of a drill, on this program.
    Damaged(Level, Option<String>, Fault),
    /// Something else: of the set that says nothing.
    Failed(Fault),
}

impl NotVerified {
    /// Why a look of this level came to nothing.
    fn by(level: Level) -> impl Fn(Fault) -> Self {
        move |fault| if fault.kind == Kind::Damaged { Self::Damaged(level, None, fault) } else { Self::Failed(fault) }
    }
}

/// What to do about a set in which a fault was found.
fn next_step((instance_id, backup_id): (&str, &str), level: Level) -> String {
    format!(
        "Choose another set (describe_backups with instance_id {instance_id}); nothing was sent to any instance. Where it may have been in \
         passing, such as an error of the disk, call verify_backup with the level {} (instance_id {instance_id}, backup_id {backup_id}): the \
         set can be used again once that finds nothing.",
        level.as_str()
    )
}

/// How often a drill reads its set: verified, and written out for a server.
const PASSES_OF_DRILL: u64 = 2;

/// What reading a set whole has shown, for the reader.
fn told(level: Level, set: &BackupSet) -> String {
    let (level, read, stored) = (level.as_str(), bytes(set.rdb_bytes), bytes(set.stored_bytes));
    let keys = total_keys(&set.counts);
    format!("{level}: {keys} keys by its manifest, {read} RDB, {stored} stored; SHA-256 and lengths are those written")
}

impl Inner {
    /// The sets of an instance as the vault lists them; those in which a verification has found a fault are damaged, and so are those whose
    /// manifest is another than the one that was put.
    pub(in crate::provider::local) async fn sets(
        &self,
        instance_id: &str,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let sets = self.vault.list(instance_id, self).await?;
        self.judge_sets(instance_id, sets).await
    }

    /// [`Self::sets`] for whoever only shows what there is: with those that this user may not read.
    pub(in crate::provider::local) async fn all_sets(
        &self,
        instance_id: &str,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let sets = self.vault.list_all(instance_id, self).await?;
        self.judge_sets(instance_id, sets).await
    }

    async fn judge_sets(
        &self,
        instance_id: &str,
        sets: Vec<Result<BackupSet, DamagedSet>>,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let recorded = self.recorded(instance_id).await?;
        let mut damaged = self.found_damaged(instance_id).await?;
        let mut judged = |set: BackupSet| {
            let id = set.id.clone();
            let judged = damaged.remove(&id).map_or_else(|| self.as_remembered(set, &recorded), Err);
            judged.map_err(|found| DamagedSet { id, reason: found.message, unreadable: None })
        };
        Ok(sets.into_iter().map(|set| set.and_then(&mut judged)).collect())
    }

    /// The sets of an instance in which a fault was found that no verification has lifted, each with what its use is refused with.
    pub(in crate::provider::local) async fn found_damaged(
        &self,
        instance_id: &str,
    ) -> Result<BTreeMap<String, Fault>, Fault> {
        let found = self.state.verifications(instance_id).await?;
        let damaged = |(id, found): (String, Verification)| {
            let (level, Look { at, fault, .. }) = found.fault()?;
            let hint = format!("This was found at {}. {}", written(*at), next_step((instance_id, id.as_str()), level));
            Some((id, Fault::new(Kind::Damaged, "backup.damaged", fault.clone()?).hint(hint)))
        };
        Ok(found.into_iter().filter_map(damaged).collect())
    }

    /// Finds a set in which no verification has found a fault.
    ///
    /// # Errors
    /// As the vault's own; `backup.damaged` also where a verification has found that, `backup.tampered` where its manifest is another than
    /// the one that was put.
    pub(in crate::provider::local) async fn set(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        let set = self.found(instance_id, backup_id).await?;
        self.found_damaged(instance_id).await?.remove(backup_id).map_or(Ok(set), Err)
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
        let held = alone(&self.jobs, (instance_id, backup_id)).await?;
        let inner = Arc::clone(self);
        self.jobs
            .begin_beside(JobKind::Verification, (instance_id, backup_id), caller, |job| async move {
                let verified = inner.verify(&job, level).await;
                held.give_back().await;
                verified.map_err(Unfinished::Failed)
            })
            .await
    }

    /// Verifies a set, and keeps what that came to where it says something of the set.
    async fn verify(&self, job: &Job, level: Level) -> Result<String, Fault> {
        let watch = Arc::new(Watch::default());
        let in_turn = async {
            let _turn = turn(&self.verifies, &self.jobs, job).await;
            self.verified(job, level, &watch).await
        };
        let verified = tokio::select! {
            verified = in_turn => verified,
            () = self.jobs.stop.cancelled() => {
                watch.stop();
                return Err(cancelled());
            }
        };
        match verified {
            Ok(message) => Ok(message),
            Err(NotVerified::Failed(fault)) => Err(fault),
            Err(NotVerified::Damaged(level, server, fault)) => {
                Err(self.found_by((&job.instance_id, &job.backup_id), level, server, fault).await)
            }
        }
    }

    /// Reads a set whole for a plan: the digest of its data as stored, and what is in it. Damage that is found is kept, as that which a
    /// verification finds: the next plan does not use that set again.
    ///
    /// # Errors
    /// `backup.damaged`; `backup.not_found` where the set is gone by now; `vault.failed` where it could not be read.
    pub(in crate::provider::local) async fn read_whole(
        &self,
        set: &BackupSet,
    ) -> Result<(String, KeyStatistics), Fault> {
        let read = async {
            // In this order: what is known to be whole is then the file that the digest names.
            let stored_digest = self.vault.stored_digest(set).await?;
            let statistics = self.vault.verify(set).await?;
            Ok((stored_digest, statistics))
        };
        let read: Result<_, Fault> = read.await;
        match read {
            Err(fault) if fault.kind == Kind::Damaged => {
                Err(self.found_by((&set.instance_id, &set.id), Level::Structure, None, fault).await)
            }
            read => read,
        }
    }

    /// Keeps the damage that a look of this level has found, and says what to do about it; of a set that was deleted meanwhile, that it is gone.
    async fn found_by(
        &self,
        (instance_id, backup_id): (&str, &str),
        level: Level,
        server: Option<String>,
        fault: Fault,
    ) -> Fault {
        // Deleted meanwhile, it is not damaged.
        if let Err(gone) = self.vault.find(instance_id, backup_id, self).await
            && gone.kind == Kind::NotFound
        {
            return gone;
        }
        keep_damage(&self.jobs, (instance_id, backup_id), level, server, &fault).await;
        fault.hint(next_step((instance_id, backup_id), level))
    }

    /// Writes down that a look of this level, whose reading began at that moment, has found nothing.
    async fn keep_sound(
        &self,
        set: &BackupSet,
        level: Level,
        at: Timestamp,
        server: Option<String>,
    ) -> Result<(), NotVerified> {
        let kept = self
            .state
            .set_verified(
                &set.instance_id,
                &set.id,
                level,
                &Look { at, sha256: set.sha256.clone(), server, fault: None },
            )
            .await;
        kept.map_err(NotVerified::Failed)
    }

    /// Verifies a set, and keeps that nothing was found. What it came to.
    async fn verified(&self, job: &Job, level: Level, watch: &Arc<Watch>) -> Result<String, NotVerified> {
        // What is done to the set from now on a reading may have missed.
        let began = Timestamp::now();
        let found = self.found(&job.instance_id, &job.backup_id).await;
        let set = found.map_err(NotVerified::by(Level::Checksum))?;
        if level == Level::Checksum {
            let read = self.vault.verify_bytes(&set, watch);
            self.watched(job, &set, ("reading its bytes", 1), watch, read).await.map_err(NotVerified::by(level))?;
            self.keep_sound(&set, level, began, None).await?;
            return Ok(told(level, &set));
        }
        let walk = self.vault.verify_watched(&set, watch);
        // For a drill it is written out once more.
        let passes = if level == Level::Drill { PASSES_OF_DRILL } else { 1 };
        let walked = self.watched(job, &set, ("verifying its structure", passes), watch, walk).await;
        let statistics = walked.map_err(NotVerified::by(Level::Structure))?;
        let whole = format!("{}; the inside of every value is sound, and nothing is there twice", told(level, &set));
        if level == Level::Structure {
            self.keep_sound(&set, level, began, None).await?;
            return Ok(whole);
        }
        let walked = Walked { job, set: &set, statistics: &statistics, began, watch };
        Ok(format!("{whole}; {}", self.drill_unless_wanted(walked).await?))
    }

    /// Waits for a reading that is watched, and tells the job how far it is; the set is read so many times in all.
    async fn watched<T, E>(
        &self,
        job: &Job,
        set: &BackupSet,
        (stage, passes): (&str, u64),
        watch: &Watch,
        reading: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let all = set.rdb_bytes.saturating_mul(passes);
        told_while(&self.jobs, job, (stage, all), || watch.bytes(), reading).await
    }
}
