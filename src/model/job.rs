//! A job: long work that outlives the call which started it. What code asks of a job is a type here; its texts are for people.

use crate::model::fault::{Fault, Kind};
use jiff::Timestamp;

/// Reads a stored word back as one of an enum's values.
fn parsed<T: Copy>(all: &[T], as_str: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|value| as_str(*value) == text)
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Captures a backup set.
    Backup,
    /// Overwrites an instance with a set.
    Restore,
    /// Makes a new instance from a set.
    Clone,
}

impl JobKind {
    /// The word stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Clone => "clone",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parsed(&[Self::Backup, Self::Restore, Self::Clone], Self::as_str, text)
    }

    /// What ids of such jobs begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Backup => "bj",
            Self::Restore => "rj",
            Self::Clone => "cj",
        }
    }

    /// Whether such a job begins only with a permit. The audit is then told how the job began and how it ended.
    #[must_use]
    pub const fn takes_permit(self) -> bool {
        match self {
            Self::Backup => false,
            Self::Restore | Self::Clone => true,
        }
    }
}

/// What a job is doing, as far as others than people must know. The job's `stage` says the same for people, in more detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been done yet.
    Starting,
    /// The server that is backed up has been asked, and has not begun to send.
    Forking,
    /// Its work is under way.
    Working,
    /// The work goes on elsewhere, in the cloud, and no process follows it just now; the next one does.
    Detached,
    /// Its process died, or could not say how it ended, and nobody has been able to find out yet.
    Interrupted,
    /// The job is over.
    Ended,
}

impl Phase {
    /// The word stored.
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

    /// Reads the word back.
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
    /// Done, result durable.
    Succeeded,
    /// Over without result; `code` and `message` say why.
    Failed,
}

impl JobStatus {
    /// The word stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parsed(&[Self::Running, Self::Succeeded, Self::Failed], Self::as_str, text)
    }
}

/// Whose recovery record it is: each has a form of its own, which its provider alone reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryKind {
    /// Of a restore of an instance that this program reaches itself: what takes the target off this program again.
    LocalRestore,
    /// Of a backup in the cloud: what tells which of the cloud's jobs it is.
    CloudBackup,
    /// Of a restore in the cloud: whether it was sent, and whether writes are locked for it.
    CloudRestore,
    /// Of a new instance in the cloud: the order, and the instance once it is named.
    CloudClone,
}

impl RecoveryKind {
    /// The word stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LocalRestore => "local_restore",
            Self::CloudBackup => "tair_backup",
            Self::CloudRestore => "tair_restore",
            Self::CloudClone => "tair_clone",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parsed(&[Self::LocalRestore, Self::CloudBackup, Self::CloudRestore, Self::CloudClone], Self::as_str, text)
    }
}

/// What a job wrote down before it touched anything, in order to be rolled back or gone on with after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecovery {
    /// Whose record it is, and so how its text is to be read.
    pub kind: RecoveryKind,
    /// The record as JSON. It may hold a password of the target.
    pub json: String,
}

/// Why a job's work came to its end without success.
#[derive(Debug)]
pub enum Unfinished {
    /// The job has failed, and nothing is left to do.
    Failed(Fault),
    /// The job has failed, and what it did could not be undone yet: its recovery record stays until somebody can.
    RollbackPending(Fault),
    /// The job has not ended: the work goes on elsewhere, and the next process follows it. The text is the job's stage.
    Detached(String),
}

/// How a job's work ended: with what came of it, for the reader, or without.
pub type JobEnd = Result<String, Unfinished>;

impl From<Fault> for Unfinished {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Unfinished {
    /// The same end with its fault told differently.
    #[must_use]
    pub fn map(self, tell: impl FnOnce(Fault) -> Fault) -> Self {
        match self {
            Self::Failed(fault) => Self::Failed(tell(fault)),
            Self::RollbackPending(fault) => Self::RollbackPending(tell(fault)),
            detached @ Self::Detached(_) => detached,
        }
    }

    /// What happened, for the reader.
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
    /// Its id.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// To which instance.
    pub instance_id: String,
    /// The set it makes or restores. For a backup the set exists only once the job has succeeded; empty until then where
    /// the place it is made in gives out the id.
    pub backup_id: String,
    /// Whether it runs or how it ended.
    pub status: JobStatus,
    /// What it is doing now, for code to branch on.
    pub phase: Phase,
    /// What it is doing now, in a few words for people.
    pub stage: String,
    /// Whether it has failed and its rollback is still to be done.
    pub rollback_pending: bool,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all; 0 while unknown.
    pub total: u64,
    /// Stable code of a failure; empty otherwise.
    pub code: String,
    /// Of which kind the failure was; `None` otherwise.
    pub failure: Option<Kind>,
    /// What happened, for the reader.
    pub message: String,
    /// The next step.
    pub hint: String,
    /// Who asked for it; empty where that is not known.
    pub caller: String,
    /// The confirmation that permitted it; empty where none was needed.
    pub confirmation: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Job {
    /// Whether its process is gone, or gave up, and what it left behind waits to be reconciled.
    #[must_use]
    pub fn needs_reconciliation(&self) -> bool {
        self.rollback_pending || (self.status == JobStatus::Running && self.phase == Phase::Interrupted)
    }

    /// Share done between 0 and 1, when it can be known.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        match self.status {
            JobStatus::Succeeded => Some(1.0),
            _ if self.total == 0 => None,
            #[expect(clippy::cast_precision_loss, reason = "a share shown in per cent")]
            _ => Some((self.done as f64 / self.total as f64).min(1.0)),
        }
    }
}
