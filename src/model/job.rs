//! A job: long work that outlives the call which started it. What code asks of a job is a type here; its texts are for people.

use crate::model::access::Access;
use crate::model::fault::{Fault, Kind};
use crate::model::restore::RestoredTo;
use crate::model::restored_keys::RestoredKeys;
use jiff::Timestamp;

/// Reads the stored text of an enum back as one of its values.
fn parsed<T: Copy>(all: &[T], as_str: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|value| as_str(*value) == text)
}

/// The kind of work a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Captures a backup set.
    Backup,
    /// Overwrites an instance with a set.
    Restore,
    /// Makes a new instance from a set.
    Clone,
    /// Deletes a set that a cloud keeps.
    Deletion,
    /// Changes a backup policy that a cloud keeps.
    Policy,
    /// Verifies a set at rest.
    Verification,
}

impl JobKind {
    /// Whether an id is one of a job of this kind.
    #[must_use]
    pub fn is_of(self, id: &str) -> bool {
        id.strip_prefix(self.prefix()).is_some_and(|rest| rest.starts_with('-'))
    }

    /// The kind as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Clone => "clone",
            Self::Deletion => "deletion",
            Self::Policy => "policy",
            Self::Verification => "verification",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Backup, Self::Restore, Self::Clone, Self::Deletion, Self::Policy, Self::Verification];
        parsed(&all, Self::as_str, text)
    }

    /// What ids of such jobs begin with, before the dash.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Backup => "bj",
            Self::Restore => "rj",
            Self::Clone => "cj",
            Self::Deletion => "dj",
            Self::Policy => "pj",
            Self::Verification => "vj",
        }
    }

    /// Whether no other exclusive job may run on the instance at the same time.
    #[must_use]
    pub const fn is_exclusive(self) -> bool {
        match self {
            Self::Backup | Self::Restore | Self::Clone => true,
            Self::Deletion | Self::Policy | Self::Verification => false,
        }
    }

    /// The audit's event of the beginning of such a job, or of its end.
    #[must_use]
    pub fn event(self, ended: Option<JobStatus>) -> String {
        let event = match (self, ended) {
            (Self::Deletion, None | Some(JobStatus::Running)) => "backup.deleting",
            (Self::Deletion, Some(JobStatus::Succeeded)) => "backup.deleted",
            (Self::Deletion, Some(JobStatus::Failed)) => "backup.not_deleted",
            (Self::Deletion, Some(JobStatus::Uncertain)) => "backup.delete_uncertain",
            (Self::Policy, None | Some(JobStatus::Running)) => "policy.changing",
            (Self::Policy, Some(JobStatus::Succeeded)) => "policy.changed",
            (Self::Policy, Some(JobStatus::Failed)) => "policy.not_changed",
            (Self::Policy, Some(JobStatus::Uncertain)) => "policy.uncertain",
            (kind, how) => return format!("{}.{}", kind.as_str(), how.map_or("started", JobStatus::as_str)),
        };
        event.to_owned()
    }
}

/// What a job is doing, as far as code must know. The job's `stage` says the same for people, in more detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been done yet.
    Starting,
    /// The server that is backed up was sent PSYNC, and has not begun to send: it forks.
    Forking,
    /// The job's own work is under way.
    Working,
    /// The work goes on elsewhere, in the cloud, and no process follows it just now; the next one does.
    Detached,
    /// The job's process died, or could not find out how the work ended, and nobody has reconciled the job yet.
    Interrupted,
    /// The job is over.
    Ended,
}

impl Phase {
    /// The phase as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Forking => "forking",
            Self::Working => "working",
            Self::Detached => "detached",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Starting, Self::Forking, Self::Working, Self::Detached, Self::Interrupted, Self::Ended];
        parsed(&all, Self::as_str, text)
    }
}

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Some process works on it, or will.
    Running,
    /// The work is done and its result durable.
    Succeeded,
    /// The job is over without a result; `code` and `message` say why.
    Failed,
    /// The job is over, and it is not known what came of it; `message` and `hint` say what to look at.
    Uncertain,
}

impl JobStatus {
    /// The status as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Uncertain => "uncertain",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parsed(&[Self::Running, Self::Succeeded, Self::Failed, Self::Uncertain], Self::as_str, text)
    }

    /// The status of a job that ended with a fault of this kind.
    #[must_use]
    pub const fn ended_by(kind: Kind) -> Self {
        match kind {
            Kind::Uncertain => Self::Uncertain,
            _ => Self::Failed,
        }
    }
}

/// Which act a recovery record belongs to: each has a form of its own, which its provider alone reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryKind {
    /// Of a restore of an instance that this program reaches itself: what makes the target stop following this program.
    LocalRestore,
    /// Of a backup in the cloud: by which of the cloud's jobs it is taken.
    CloudBackup,
    /// Of a restore in the cloud: whether the call was sent, and whether writes are locked for it.
    CloudRestore,
    /// Of a deletion in the cloud: which set.
    CloudDeletion,
    /// Of a change of policy in the cloud: from what, and to what.
    CloudPolicy,
    /// Of a new instance in the cloud: the order, and the instance's id once the cloud has given one.
    CloudClone,
}

impl RecoveryKind {
    /// The kind as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LocalRestore => "local_restore",
            Self::CloudBackup => "tair_backup",
            Self::CloudRestore => "tair_restore",
            Self::CloudClone => "tair_clone",
            Self::CloudDeletion => "tair_deletion",
            Self::CloudPolicy => "tair_policy",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::LocalRestore,
            Self::CloudBackup,
            Self::CloudRestore,
            Self::CloudClone,
            Self::CloudDeletion,
            Self::CloudPolicy,
        ];
        parsed(&all, Self::as_str, text)
    }
}

/// A recovery record: what a job wrote down before it touched anything, so that it can be rolled back or gone on with after
/// a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecovery {
    /// Which act the record belongs to, and so how its JSON is to be read.
    pub kind: RecoveryKind,
    /// The record as JSON. May hold a password of the target.
    pub json: String,
}

/// Why a job's work ended without success.
#[derive(Debug)]
pub enum Unfinished {
    /// The job has failed, and nothing is left to do.
    Failed(Fault),
    /// The job has failed, and its effects could not be rolled back yet: its recovery record stays until somebody can.
    RollbackPending(Fault),
    /// The job has not ended: the work goes on elsewhere, and the next process follows it. The text is the job's stage.
    Detached(String),
}

/// How a job's work ended: with a message about its result, for the reader, or without success.
pub type JobEnd = Result<String, Unfinished>;

impl From<Fault> for Unfinished {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Unfinished {
    /// The same end with its fault changed by `change`.
    #[must_use]
    pub fn map(self, change: impl FnOnce(Fault) -> Fault) -> Self {
        match self {
            Self::Failed(fault) => Self::Failed(change(fault)),
            Self::RollbackPending(fault) => Self::RollbackPending(change(fault)),
            detached @ Self::Detached(_) => detached,
        }
    }

    /// The failure's message, or the stage of a job that goes on elsewhere.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Failed(fault) | Self::RollbackPending(fault) => &fault.message,
            Self::Detached(stage) => stage,
        }
    }

    /// The fault for a caller who waits for the work itself and not for a job.
    #[must_use]
    pub fn into_fault(self) -> Fault {
        match self {
            Self::Failed(fault) | Self::RollbackPending(fault) => fault,
            Self::Detached(stage) => {
                let message = format!("the program was asked to end: {stage}");
                Fault::new(Kind::Provider, "job.cancelled", message).hint("Look with describe_jobs.")
            }
        }
    }
}

/// A job as stored.
#[derive(Debug, Clone)]
pub struct Job {
    /// The job's id: `bj-…`, `rj-…`, `cj-…`, `dj-…`, `pj-…` or `vj-…`.
    pub id: String,
    /// The kind of work.
    pub kind: JobKind,
    /// The instance that is backed up, overwritten or cloned, or whose set is verified.
    pub instance_id: String,
    /// The set that the job makes, restores or verifies. For a backup the set exists only once the job has succeeded; empty until then
    /// where the cloud gives out the id.
    pub backup_id: String,
    /// Whether the job runs or how it ended.
    pub status: JobStatus,
    /// What the job is doing now, for code to branch on.
    pub phase: Phase,
    /// What the job is doing now, for people: half a sentence.
    pub stage: String,
    /// Whether the job is over without success and its rollback is still to be done.
    pub rollback_pending: bool,
    /// Bytes done so far.
    pub done: u64,
    /// Bytes to do in all; 0 while unknown.
    pub total: u64,
    /// Stable code of the failure; empty for a job that has not failed.
    pub code: String,
    /// Kind of the failure; `None` for a job that has not failed.
    pub failure: Option<Kind>,
    /// Result or failure in a sentence, for the reader; empty while the job runs.
    pub message: String,
    /// The next step, for the reader; empty where there is none.
    pub hint: String,
    /// Id of the caller who asked for the job; empty where unknown.
    pub caller: String,
    /// Nonce of the confirmation that permitted the job; empty where none was needed.
    pub confirmation: String,
    /// As whom and where the job's cloud is called; `None` for a job on an instance that this program reaches itself.
    pub access: Option<Access>,
    /// Ids of the cloud's own jobs by which a backup was taken.
    pub cloud_jobs: Vec<i64>,
    /// What a restore puts in. It is there from before the target is touched: that the target holds it says `serving_at`, or success.
    pub restored: Option<RestoredTo>,
    /// Key statistics of a restore's source and target; `None` before the target's keys were counted, and for other work.
    pub restored_keys: Option<RestoredKeys>,
    /// When the job was created.
    pub created_at: Timestamp,
    /// When the instance began to serve the restored data, which its disk may not have yet; `None` before, and for other work.
    pub serving_at: Option<Timestamp>,
    /// When the job ended; `None` while it runs.
    pub finished_at: Option<Timestamp>,
}

/// Id of the last safety backup of a restore's job: derived, so that whoever reconciles the job finds what is left of the set, and
/// whoever deletes a set finds the restore that the set undoes.
#[must_use]
pub fn last_safety_id(job_id: &str) -> String {
    format!("b-{}", job_id.split_once('-').map_or(job_id, |(_, unique)| unique))
}

impl Job {
    /// Whether the job's process died, or gave up, and left effects that have to be reconciled.
    #[must_use]
    pub fn needs_reconciliation(&self) -> bool {
        self.rollback_pending || (self.status == JobStatus::Running && self.phase == Phase::Interrupted)
    }
}
