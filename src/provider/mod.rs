//! Providers: what can be done to an instance, behind one trait. Each mutating call takes the guard's `Permit` by value.

pub mod audited;
pub mod comparison;
pub mod download;
pub mod downloaded;
pub mod expected;
pub mod exported;
pub mod jobs;
pub mod local;
pub mod ownership;
pub mod part;
pub mod query;
pub mod routed;
pub mod set_stream;
pub mod tair;
pub mod traffic;
pub mod verification;
pub mod way_back;

use crate::guard::act::{Act, PolicyChange};
use crate::guard::assess::Assessment;
use crate::guard::facts::Facts;
use crate::guard::facts::replay::NoMoment;
use crate::guard::facts::restore::SafetyFacts;
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, Safety};
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::calendar::{Calendar, History};
use crate::model::destruction::Destructions;
use crate::model::fault::{Fault, Kind};
use crate::model::impact::KeyImpact;
use crate::model::instance::{Capabilities, Capability, Instance};
use crate::model::job::Job;
use crate::model::log::LogStatus;
use crate::model::persistence::Persistence;
use crate::model::policy::{BackupPolicy, Retention};
use crate::model::pruning::{Keep, PrunedSet};
use crate::model::restore::Cutover;
use crate::model::verification::Level;
use crate::provider::comparison::{Compared, OnStage, StateOf};
pub use crate::provider::downloaded::{Downloaded, OnBytes, SignedUrl};
pub use crate::provider::exported::{ExportAt, ExportOf, Exported};
pub use crate::provider::query::{InstanceQuery, Range};
use crate::provider::set_stream::SetStream;
use crate::provider::traffic::Counters;
use crate::state::leases::Lease;
use async_trait::async_trait;
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

/// What a change of policy without a permit came to.
#[derive(Debug)]
pub enum Raised {
    /// The policy is changed; this is what was read back, and what came of the server's own settings, empty where none was named.
    Changed(BackupPolicy, String),
    /// The change would lower protection, so nothing was changed.
    Lowers,
}

/// What carrying out a permitted act came to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made for an act, which takes seconds")]
pub enum Carried {
    /// The act goes on as a job.
    Job(Job),
    /// The act is done; its outcome for the reader.
    Done(String),
    /// Sets were pruned; what became of each.
    Pruned(Vec<PrunedSet>),
}

/// Whether an instance refuses writes because of a lock that was put on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteLock {
    /// Writes are refused until the lock is taken off.
    Locked,
    /// Writes are taken, as far as the operator's own setting lets them.
    Unlocked {
        /// The server's own setting, which a lock replaces: to be remembered before the lock is put on, and put back.
        setting: String,
    },
}

/// The instances whose logs a process keeps, where they are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogScope {
    /// The sandbox alone, which lives as long as the processes that use it.
    Sandbox,
    /// All of them.
    All,
}

/// One kind of place where instances live.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Whether there may be such an instance.
    ///
    /// # Errors
    /// `instance.not_found`, with the nearest id there is.
    async fn check_instance(&self, instance_id: &str) -> Result<(), Fault>;

    /// A page of the instances as they stand, and how many there are in all. One that cannot be reached is described as
    /// such, not an error.
    async fn instances(&self, wanted: &InstanceQuery) -> Result<(Vec<Instance>, u64), Fault>;

    /// Reads an instance as it is now.
    async fn describe(&self, instance_id: &str) -> Result<Instance, Fault>;

    /// Starts a backup for the caller of that id, or joins the one that runs. `true` beside the job: joined. A manual set is kept for so many
    /// days; `None`: until somebody deletes it, or as its provider keeps such sets.
    async fn create_backup(
        &self,
        instance_id: &str,
        mode: Mode,
        note: &str,
        days: Option<u32>,
        caller: &str,
    ) -> Result<(Job, bool), Fault>;

    /// Starts the backup that is due by an instance's calendar, or joins the one that runs, where the lease under which that was judged is held
    /// still. `true` beside the job: joined.
    ///
    /// # Errors
    /// `job.busy` where another holds the lease by now.
    async fn take_due(&self, instance_id: &str, note: &str, under: &Lease) -> Result<(Job, bool), Fault> {
        let _ = (instance_id, note, under);
        Err(unsupported("take_due"))
    }

    /// The sets of an instance, newest first, those named that are damaged or that this user may not read: all of them, or those begun in a range.
    async fn backups(
        &self,
        instance_id: &str,
        range: Option<Range>,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault>;

    /// Reads a set of an instance, whole and found by its id.
    async fn backup(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault>;

    /// Writes a set's RDB to a file, verified, resumable; never over a different file.
    async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault>;

    /// Writes what an instance held at a moment to a directory from which a bare server loads it; never over anything. Or why there is no
    /// such moment.
    ///
    /// # Errors
    /// `download.exists`, `download.busy`, `download.no_room`, `download.failed`; `arguments.invalid` for a range where the server's files
    /// know no times; `act.unsupported` where there is no log to read.
    async fn export(
        &self,
        instance_id: &str,
        of: ExportOf,
        to: &Path,
        on_bytes: &OnBytes,
    ) -> Result<Result<Exported, NoMoment>, Fault> {
        let _ = (instance_id, of, to, on_bytes);
        Err(unsupported("export"))
    }

    /// A URL from which a set can be read by whoever has it. Only for somebody who asked for it.
    ///
    /// # Errors
    /// `download.no_url` where sets have none.
    async fn download_url(&self, set: &BackupSet) -> Result<SignedUrl, Fault>;

    /// Reads the backup policy in force.
    async fn backup_policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault>;

    /// What the instance's server keeps on its disk by itself.
    async fn persistence(&self, instance_id: &str) -> Result<Persistence, Fault> {
        let _ = instance_id;
        Err(unsupported("persistence"))
    }

    /// Changes the backup policy where that lowers no protection; all that is not named stays as it is. Where it would lower
    /// something, nothing is changed: that takes a permit. The audit has what came of it, for the caller of that id.
    async fn raise_backup_policy(
        &self,
        instance_id: &str,
        change: &PolicyChange,
        caller: &str,
    ) -> Result<Raised, Fault>;

    /// What the instance can do, of what is asked: nothing is looked up for what is not.
    async fn capabilities(&self, instance_id: &str, asked: &[Capability]) -> Result<Capabilities, Fault>;

    /// Reads what an act is about, and judges nothing: that is the guard's. With `earlier` the act is looked at again for that
    /// plan, and what was proved for the plan need not be proved anew.
    async fn facts(&self, instance_id: &str, act: &Act, earlier: Option<&Plan>) -> Result<Facts, Fault>;

    /// Finds a fresh backup of what the instance holds, or starts one for the caller of that id.
    async fn safety_backup(&self, id: &str, assessment: &Assessment, caller: &str) -> Result<SafetyFacts, Fault>;

    /// How far a safety backup is, and once it is there whether it brings back what the instance holds. Where its file was not
    /// read for a plan, all of it is read now.
    async fn safety_status(&self, instance_id: &str, safety: &Safety) -> Result<SafetyFacts, Fault>;

    /// What becomes of the keys of a plan's instance, as its safety backup has them; it takes so long at most, and what was not compared by
    /// then says so. `None` where nothing can be told: the act does nothing to keys, or the sets are not here.
    async fn key_impact(&self, plan: &Plan, within: Duration) -> Option<KeyImpact> {
        let _ = (plan, within);
        None
    }

    /// Compares two states of instances. Nothing of either is kept.
    ///
    /// # Errors
    /// `act.unsupported` where sets are not here; those of the states, such as `compare.no_moment`.
    async fn compare(&self, from: &StateOf, to: &StateOf, on_stage: &OnStage<'_>) -> Result<Compared, Fault> {
        let _ = (from, to, on_stage);
        Err(unsupported("compare"))
    }

    /// Begins the verification of a set at rest, for the caller of that id, as a job; what it came to is kept. The first value is the
    /// instance's id and the set's.
    ///
    /// # Errors
    /// `backup.not_found`; `job.busy` where that set is being verified; `verify.unsupported` where sets are not here, or not to this level.
    async fn verify(&self, set: (&str, &str), level: Level, caller: &str) -> Result<Job, Fault> {
        let _ = (set, level, caller);
        Err(unsupported("verify"))
    }

    /// Does what is permitted. Long work is a job that goes on.
    async fn carry_out(&self, permit: Permit) -> Result<Carried, Fault>;

    /// What a clone of this program's own is, as part of a sentence, before anybody is asked whether it may end.
    ///
    /// # Errors
    /// `clone.not_found` with what it is instead.
    async fn deletable(&self, _instance_id: &str) -> Result<String, Fault> {
        Err(unsupported("delete_instance"))
    }

    /// Ends a clone of this program's own, for the caller of that id, and says what it was. No other instance is ever deleted.
    ///
    /// # Errors
    /// `clone.not_found`; `job.busy`; `clone.not_ended`.
    async fn delete_instance(&self, _instance_id: &str, _caller: &str) -> Result<String, Fault> {
        Err(unsupported("delete_instance"))
    }

    /// What the cutover of a restore came to; `None` where there was none, or nobody knows.
    async fn cutover(&self, job: &Job) -> Option<Cutover> {
        let _ = job;
        None
    }

    /// Id of the clone on this machine that a job made; `None` where it made none, or the clone has ended.
    async fn clone_of_job(&self, job: &Job) -> Option<String> {
        let _ = job;
        None
    }

    /// Reconciles the jobs that dead processes left behind. Called once at the start, again before jobs are listed.
    async fn recover(&self) -> Result<(), Fault>;

    /// The calendar by which this program takes backups of an instance, and what has been of them; `None` where it takes none.
    async fn scheduled(&self, instance_id: &str) -> Result<Option<(Calendar, History)>, Fault> {
        let _ = instance_id;
        Ok(None)
    }

    /// What retention would do now to the sets and the log of an instance; with a person's rules what pruning by them would. Deletes nothing.
    async fn retention(&self, instance_id: &str, keep: Option<&Keep>) -> Result<Retention, Fault> {
        let _ = instance_id;
        Err(unsupported(keep.map_or("retention", |_| "prune")))
    }

    /// Keeps the logs of instances that have them on, until [`Self::shut_down`]; of each only where no other process does.
    async fn keep_logs(&self, scope: LogScope) -> Result<(), Fault> {
        let _ = scope;
        Ok(())
    }

    /// What is told of an instance's log that this program keeps; `None` where it never kept one.
    async fn log_status(&self, instance_id: &str) -> Result<Option<LogStatus>, Fault> {
        let _ = instance_id;
        Ok(None)
    }

    /// What is told of an instance's log once it has reached a moment that has passed, or when so long was waited for that.
    async fn log_reaching(
        &self,
        instance_id: &str,
        moment: Timestamp,
        within: Duration,
    ) -> Result<Option<LogStatus>, Fault> {
        let _ = (moment, within);
        self.log_status(instance_id).await
    }

    /// What destroyed data between two moments, by the log that this program keeps, newest first. It takes seconds at most: where
    /// that is too little for the whole range, its newer part is searched, and that is said.
    ///
    /// # Errors
    /// `log.none` where the instance's commands are in no log here; `log.failed`, `log.damaged`.
    async fn destructive(&self, instance_id: &str, range: (Timestamp, Timestamp)) -> Result<Destructions, Fault> {
        let _ = (instance_id, range);
        Err(unsupported("destructive"))
    }

    /// Whether a clone of a set can be made on this machine, as far as that is known without reading the set.
    async fn can_clone(&self, instance_id: &str, backup_id: &str) -> bool {
        let _ = (instance_id, backup_id);
        false
    }

    /// Ends well: running restores are seen to their end, and captures too unless `cancel_backups`.
    async fn shut_down(&self, cancel_backups: bool);

    /// Reads a set's plain RDB from its beginning.
    ///
    /// # Errors
    /// `backup.damaged`; `act.unsupported` where sets are read by URL alone.
    async fn read_set(&self, set: &BackupSet) -> Result<SetStream, Fault> {
        let _ = set;
        Err(unsupported("read_set"))
    }

    /// Reads the counters of an instance's server.
    ///
    /// # Errors
    /// `act.unsupported` where there are only rates measured by somebody else.
    async fn counters(&self, instance_id: &str) -> Result<Counters, Fault> {
        let _ = instance_id;
        Err(unsupported("counters"))
    }

    /// Whether writes to an instance are locked.
    ///
    /// # Errors
    /// `act.unsupported` where locks belong to restores alone.
    async fn write_lock(&self, instance_id: &str) -> Result<WriteLock, Fault> {
        let _ = instance_id;
        Err(unsupported("write_lock"))
    }

    /// Locks writes to an instance, or takes the lock off and puts the setting back that the lock replaced.
    ///
    /// # Errors
    /// As [`Self::write_lock`], and where the server does not let us.
    async fn set_write_lock(&self, instance_id: &str, to: &WriteLock) -> Result<(), Fault> {
        let _ = (instance_id, to);
        Err(unsupported("set_write_lock"))
    }
}

/// An act, or a look, that a kind of place has no way to do.
pub(crate) fn unsupported(what: &str) -> Fault {
    Fault::new(Kind::Unexpected, "act.unsupported", format!("{what} was asked of an instance that has no way to do it"))
}
