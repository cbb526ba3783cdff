//! The store of jobs, as a trait: a job is begun once, progresses, and ends once; jobs of dead processes are handed out to be
//! reconciled.

use crate::guard::ledger::AuditRecord;
use crate::model::access::Access;
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus, Phase, StoredRecovery};
use crate::model::restore::RestoredTo;
use crate::model::restored_keys::RestoredKeys;
use crate::state::leases::Lease;
use async_trait::async_trait;
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::watch;

/// Stage of a failed job while its rollback is pending; where an attempt at it has failed, the reason follows.
pub const ROLLBACK_PENDING: &str = "failed; rollback pending";
/// Stage of a running job whose process died, while it cannot be reconciled; the reason follows.
const INTERRUPTED: &str = "interrupted";

/// The stage of an orphan that stays one, and why.
#[must_use]
pub fn stage_of_orphan(job: &Job, why: &str) -> String {
    let how = if job.status == JobStatus::Running { INTERRUPTED } else { ROLLBACK_PENDING };
    format!("{how}; {why}")
}

/// How long a change made by another process may go unnoticed here: nobody notifies across processes.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A job to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// The job's id, made by the caller.
    pub id: &'a str,
    /// The provider whose job it is.
    pub provider: &'a str,
    /// The kind of work.
    pub kind: JobKind,
    /// The instance that is backed up, overwritten or cloned.
    pub instance_id: &'a str,
    /// The set that the job makes or restores; empty while the set has no id.
    pub backup_id: &'a str,
    /// Whether no other exclusive job may run on the instance at the same time.
    pub exclusive: bool,
    /// Id of the caller who asked for the job; empty where unknown.
    pub caller: &'a str,
    /// Nonce of the confirmation that permits the job; empty where none is needed.
    pub confirmation: &'a str,
    /// As whom and where the job's cloud is called; `None` where the job is on an instance that this program reaches itself.
    pub access: Option<&'a Access>,
    /// The lease that was held when it was judged that the job is due; the job begins only while it still is. `None` where none is needed.
    pub under: Option<&'a Lease>,
    /// The audit's line about the beginning: written together with the job, or not at all; `None` where there is none.
    pub audit: Option<&'a AuditRecord>,
}

/// Which jobs of an instance are asked for.
#[derive(Debug, Clone, Copy)]
pub struct JobsOf<'a> {
    /// The instance.
    pub instance_id: &'a str,
    /// The kind of work; `None` for all.
    pub kind: Option<JobKind>,
    /// How far they are; `None` for all.
    pub status: Option<JobStatus>,
    /// Id of the caller who asked for them; `None` for all.
    pub caller: Option<&'a str>,
}

impl<'a> JobsOf<'a> {
    /// All of a kind.
    #[must_use]
    pub const fn kind(instance_id: &'a str, kind: JobKind) -> Self {
        Self { instance_id, kind: Some(kind), status: None, caller: None }
    }

    /// All that run.
    #[must_use]
    pub const fn running(instance_id: &'a str) -> Self {
        Self { instance_id, kind: None, status: Some(JobStatus::Running), caller: None }
    }
}

/// What beginning a job resulted in.
#[derive(Debug)]
pub enum Begun {
    /// The job is new, and the caller does its work.
    Started(Job),
    /// A job of this kind already runs on this instance.
    Joined(Job),
}

impl Begun {
    /// The job, and whether it was joined.
    #[must_use]
    pub fn into_job(self) -> (Job, bool) {
        match self {
            Self::Started(job) => (job, false),
            Self::Joined(job) => (job, true),
        }
    }
}

/// A job that nobody works on and that is not reconciled: its process died, or could not put its target back. The holder of
/// this value reconciles the job.
#[derive(Debug)]
pub struct Orphan {
    /// The job as last stored.
    pub job: Job,
    /// The job's recovery record; `None` where the job had touched nothing yet.
    pub recovery: Option<StoredRecovery>,
}

/// Waits until jobs change.
#[derive(Debug)]
pub struct Changes {
    counter: watch::Receiver<u64>,
}

impl Changes {
    /// Changes from now on; `counter` grows with every change of the store.
    #[must_use]
    pub const fn new(counter: watch::Receiver<u64>) -> Self {
        Self { counter }
    }

    /// Returns when some job has changed since the last call, or since this value was made: at once where this process made the
    /// change, and after half a second in any case, because another process may have made one.
    pub async fn changed(&mut self) {
        if let Ok(Err(_)) = tokio::time::timeout(CHECK_INTERVAL, self.counter.changed()).await {
            // The store was dropped, so that another wait would return at once.
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }
}

/// The store of jobs. Every method that writes is durable when it returns. What is said of a job, of its course and of its end, counts
/// only from its owner: a process that was taken for dead writes nothing about a job that another has adopted (`job.taken_over`).
///
/// All of them fail with `state.failed` where the store does, and with `state.damaged` on a stored value that no version writes.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Begins a job, or joins the one of that kind that runs on the instance, reached by the same access. Exclusive jobs of one instance exclude each
    /// other.
    ///
    /// # Errors
    /// `job.busy` when another kind runs, or another holds the lease by now; `restore.unsettled` where the rollback of an earlier restore is pending.
    async fn begin(&self, new: NewJob<'_>) -> Result<Begun, Fault>;

    /// Stores the progress of a running job: `done` of `total` bytes, 0 for unknown. `false`: the job has ended, or is another
    /// process's by now, and nothing was written.
    async fn progress(&self, id: &str, phase: Phase, stage: &str, done: u64, total: u64) -> Result<bool, Fault>;

    /// Stores the recovery record: what a crash from here on would need rolled back.
    async fn save_recovery(&self, id: &str, recovery: &StoredRecovery) -> Result<(), Fault>;

    /// Names the set that a job makes, once the cloud has given an id.
    async fn set_backup_id(&self, id: &str, backup_id: &str) -> Result<(), Fault>;

    /// Says what a backup job's set is, where the provider cannot tell that by the set: before anything is asked for, so that it is known whatever
    /// comes of the job and of what it is for.
    async fn set_mode(&self, id: &str, mode: Mode) -> Result<(), Fault>;

    /// Names the cloud's own jobs by which a backup is taken.
    async fn set_cloud_jobs(&self, id: &str, cloud_jobs: &[i64]) -> Result<(), Fault>;

    /// Stores what a restore puts in, before it touches its target.
    async fn set_restored(&self, id: &str, restored: &RestoredTo) -> Result<(), Fault>;

    /// Stores key statistics of a restore's source and target.
    async fn set_restored_keys(&self, id: &str, keys: &RestoredKeys) -> Result<(), Fault>;

    /// Stores when the instance began to serve what a restore put in; the job goes on until that is on disk.
    async fn serving(&self, id: &str, at: Timestamp) -> Result<(), Fault>;

    /// Ends a running job: `Ok` with what came of it, or the fault. The recovery record goes with it. `audit` is the audit's
    /// line about that end: it is written together with the end or not at all, so that a job ends once in the audit too. `false`:
    /// the job had ended before, and nothing was written.
    async fn finish(&self, id: &str, outcome: Result<&str, &Fault>, audit: Option<AuditRecord>) -> Result<bool, Fault>;

    /// Ends a running job whose target could not be put back as it was. The recovery record stays, so that the job is adopted
    /// and reconciled later, and until then the job says that its rollback is pending. One that has no record left nothing.
    /// `audit` and what is returned are as with [`Self::finish`].
    async fn fail_with_rollback_pending(
        &self,
        id: &str,
        fault: &Fault,
        audit: Option<AuditRecord>,
    ) -> Result<bool, Fault>;

    /// Writes down what reconciling a job that had failed before came to: nothing is pending any more. Its code stays. `audit`
    /// and what is returned are as with [`Self::finish`], `false` meaning that nothing was pending, or that it is another process's.
    async fn reconciled(&self, id: &str, message: &str, hint: &str, audit: Option<AuditRecord>) -> Result<bool, Fault>;

    /// Ends what is pending of a restore without rolling anything back, because a person says that nothing is left to roll back:
    /// its recovery record goes. A rollback that is pending ends also while a process tries it, whose word about it counts no more; a restore that
    /// runs ends where its process is dead. `audit` is as with [`Self::finish`]. `false`: nothing of it was pending, it runs in a living process,
    /// or its work goes on in the cloud.
    async fn clear_rollback(&self, id: &str, message: &str, hint: &str, audit: AuditRecord) -> Result<bool, Fault>;

    /// The restore of an instance whose rollback is pending, if there is one: until it is rolled back or cleared, no other begins.
    async fn pending_rollback(&self, instance_id: &str) -> Result<Option<String>, Fault>;

    /// Reads one job.
    ///
    /// # Errors
    /// `job.not_found`; `state.damaged`.
    async fn job(&self, id: &str) -> Result<Job, Fault>;

    /// The latest jobs, newest first, at most 50; of one instance if named. One that cannot be read is passed over, with a word in
    /// the log.
    async fn jobs(&self, instance_id: Option<&str>) -> Result<Vec<Job>, Fault>;

    /// A page of the jobs, newest first: so many behind the `skip` newest, of one instance if named; and how many there are in all. One that
    /// cannot be read is passed over, as with [`Self::jobs`], and counted.
    async fn page(&self, instance_id: Option<&str>, skip: u64, most: u32) -> Result<(Vec<Job>, u64), Fault>;

    /// The latest jobs of an instance of one sort, newest first, at most 50 of these. One that cannot be read is passed over, as with
    /// [`Self::jobs`].
    async fn latest(&self, of: JobsOf<'_>) -> Result<Vec<Job>, Fault>;

    /// How many jobs of an instance have succeeded.
    async fn succeeded(&self, instance_id: &str) -> Result<u64, Fault>;

    /// A provider's running jobs whose process is dead, or is this one and has left them without writing that down, and failed ones whose rollback is pending, each handed to exactly one
    /// caller. One that cannot be read is passed over, with a word in the log. One that is bound to another account, region or
    /// endpoint than `access` reaches is left alone, and says so.
    async fn adopt(&self, provider: &str, access: Option<&Access>) -> Result<Vec<Orphan>, Fault>;

    /// The backup sets of an instance that running jobs are making, backups and restores that take a last safety backup: also those of a dead
    /// process, until somebody has reconciled its job.
    async fn sets_in_the_making(&self, instance_id: &str) -> Result<Vec<String>, Fault>;

    /// The backup sets of an instance that failed jobs were to make: nobody makes them any more.
    async fn sets_given_up(&self, instance_id: &str) -> Result<Vec<String>, Fault>;

    /// The backup sets that jobs read or make which run, or whose rollback is pending, whichever instance a job is about: all of them, however
    /// many jobs there are.
    async fn sets_in_use(&self) -> Result<Vec<String>, Fault>;

    /// Gives a job up, so that it is adopted again: its target could not be asked, or its work goes on elsewhere. `phase` is
    /// that of a running job; a failed one keeps its own.
    async fn release(&self, id: &str, phase: Phase, stage: &str) -> Result<(), Fault>;

    /// Says that what has begun or adopted a job here works on it no more, whether its end could be written down or not: where not, this process
    /// adopts it as any other would.
    fn leave(&self, id: &str);

    /// Changes of jobs from now on. To wait for a job, call this first and then read the job, so that no change falls in
    /// between.
    fn changes(&self) -> Changes;
}

/// The fault of a job id that no job has.
#[must_use]
pub fn not_found(id: &str) -> Fault {
    Fault::new(Kind::NotFound, "job.not_found", format!("there is no job {}", crate::model::text::quoted(id)))
        .hint("Call describe_jobs without job_id for the list.")
}

/// The fault of a process that was taken for dead: another goes on with the job.
#[must_use]
pub fn taken_over(id: &str) -> Fault {
    let message =
        format!("job {id} is another process's by now: this one was silent for so long that it was taken for dead");
    Fault::new(Kind::Provider, "job.taken_over", message)
        .hint("Look at describe_jobs: the other process says what came of the job.")
}

/// The fault of a process that could not say for a while that it lives: another may go on with the job.
#[must_use]
pub fn cut_off(id: &str) -> Fault {
    let message = format!(
        "job {id} was stopped: this process could not write to the state store for so long that it may have been taken for dead, and the job with it"
    );
    Fault::new(Kind::Provider, "job.cut_off", message)
        .hint("Look at describe_jobs once the state store is back; what is left to put right is put right by whichever process looks first.")
}
