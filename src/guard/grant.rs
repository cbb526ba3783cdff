//! Grants: what every primitive that destroys takes, by value. Made only here, of the few things that justify destroying.
//!
//! A grant comes from a [`Permit`](crate::guard::permit::Permit), behind which stands a yes; from [`Scratch`], a server that
//! this program started itself; from [`Expired`] and [`Outlived`](crate::guard::retention::Outlived), the verdicts of retention on a set and on a
//! log; or from [`Orphaned`], what a job wrote down before it touched anything, and then only to roll back or to repeat the very order. From nowhere else: the fields are private,
//! so a primitive cannot be called without one.
//!
//! ```compile_fail,E0451
//! use tair_backup_mcp::guard::grant::{Grant, Overwrite};
//! let grant: Grant<Overwrite> = Grant { instance_id: "orders".into(), backup_id: None, kind: std::marker::PhantomData };
//! ```
//!
//! ```compile_fail,E0451
//! use tair_backup_mcp::guard::grant::Orphaned;
//! use tair_backup_mcp::model::job::RecoveryKind;
//! let orphaned = Orphaned { instance_id: "orders".into(), kind: RecoveryKind::LocalRestore };
//! ```
//!
//! nor can one be used twice, or for another kind of act:
//!
//! ```compile_fail,E0382
//! use tair_backup_mcp::guard::grant::{Grant, Overwrite};
//! fn twice(grant: Grant<Overwrite>) -> (Grant<Overwrite>, Grant<Overwrite>) { (grant, grant) }
//! ```
//!
//! ```compile_fail,E0308
//! use tair_backup_mcp::guard::grant::{Delete, Grant, Overwrite};
//! fn another(grant: Grant<Delete>) -> Grant<Overwrite> { grant }
//! ```

use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus, RecoveryKind, StoredRecovery};
use jiff::{SignedDuration, Timestamp};
use std::marker::PhantomData;

/// Kind of grant: all data of an instance may be overwritten.
#[derive(Debug)]
pub enum Overwrite {}

/// Kind of grant: a backup set may be deleted for ever.
#[derive(Debug)]
pub enum Delete {}

/// Kind of grant: what of an instance's log no moment that is kept needs may be removed for ever.
#[derive(Debug)]
pub enum Prune {}

/// Kind of grant: a new instance may be made, one of the cloud that costs money, or a clone that costs memory and disk here.
#[derive(Debug)]
pub enum Order {}

/// Kind of grant: what a restore did to its target's role and settings may be rolled back, and what it had put beside the data, under
/// its mark, removed; never other data.
#[derive(Debug)]
pub enum RollBack {}

/// The right to one act of one kind on one instance. Neither `Clone` nor `Copy`.
#[derive(Debug)]
pub struct Grant<For> {
    instance_id: String,
    backup_id: Option<String>,
    kind: PhantomData<For>,
}

impl<For> Grant<For> {
    /// For this room alone, where every way to a grant is.
    pub(super) fn new(instance_id: &str) -> Self {
        Self { instance_id: instance_id.into(), backup_id: None, kind: PhantomData }
    }

    /// The instance that may be acted on, or whose set may be deleted.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// The one set that may be deleted; `None` where the grant is for something else than a deletion.
    #[must_use]
    pub fn backup_id(&self) -> Option<&str> {
        self.backup_id.as_deref()
    }
}

impl Grant<Delete> {
    /// A deletion is always that of one named set.
    pub(super) fn of_set(instance_id: &str, backup_id: &str) -> Self {
        Self { instance_id: instance_id.into(), backup_id: Some(backup_id.into()), kind: PhantomData }
    }
}

/// Proof that a server is one which this program started itself, so that all its data is this program's own.
#[derive(Debug)]
pub struct Scratch {
    name: String,
}

impl Scratch {
    /// The scratch server that runs as a child of this process. The child is the proof: no other server is one.
    #[must_use]
    pub fn started(child: &std::process::Child) -> Self {
        Self { name: format!("scratch-{}", child.id()) }
    }

    /// The right to overwrite the scratch server, as often as wanted.
    #[must_use]
    pub fn overwrite(&self) -> Grant<Overwrite> {
        Grant::new(&self.name)
    }

    /// The right to roll the scratch server's role and settings back.
    #[must_use]
    pub fn roll_back(&self) -> Grant<RollBack> {
        Grant::new(&self.name)
    }
}

/// Most safety backups of an instance that the plans of one hour leave.
const SAFETY_BACKUPS_AN_HOUR: usize = 5;

/// The verdict of retention: the time for which a set is kept is over, or a later one takes its place, and nothing locks the set.
#[derive(Debug)]
pub struct Expired {
    instance_id: String,
    backup_id: String,
}

impl Expired {
    /// Judges a set at a moment. `None`: the set is still kept, or kept until somebody deletes it, or locked.
    #[must_use]
    pub fn of(set: &BackupSet, now: Timestamp) -> Option<Self> {
        let over = set.expires_at.is_some_and(|at| at <= now);
        let locked = set.locked_until.is_some_and(|until| until > now);
        (over && !locked).then(|| Self::on(set))
    }

    /// Judges the safety backups of an instance, of which each plan may leave one and asks nobody: of more than five begun within
    /// an hour the oldest goes that is not among `needed`, the ids of those that undo a restore. `None`: none has to go, or none
    /// may.
    #[must_use]
    pub fn crowded_out(sets: &[BackupSet], needed: &[String], now: Timestamp) -> Option<Self> {
        let within = |set: &BackupSet| now.duration_since(set.started_at) < SignedDuration::from_hours(1);
        let recent = || sets.iter().filter(|set| set.mode == Mode::Safety && within(set));
        if recent().count() <= SAFETY_BACKUPS_AN_HOUR {
            return None;
        }
        let locked = |set: &BackupSet| set.locked_until.is_some_and(|until| until > now);
        let oldest =
            recent().filter(|set| !needed.contains(&set.id) && !locked(set)).min_by_key(|set| set.started_at)?;
        Some(Self::on(oldest))
    }

    /// The verdict on a set, for this room alone.
    pub(super) fn on(set: &BackupSet) -> Self {
        Self { instance_id: set.instance_id.clone(), backup_id: set.id.clone() }
    }

    /// Id of the set that the verdict is about.
    #[must_use]
    pub fn backup_id(&self) -> &str {
        &self.backup_id
    }

    /// The right to delete that set.
    #[must_use]
    pub fn delete(self) -> Grant<Delete> {
        Grant::of_set(&self.instance_id, &self.backup_id)
    }
}

/// A job found without a process, and that it had written down, under its permit, what it was about to touch.
#[derive(Debug)]
pub struct Orphaned {
    instance_id: String,
    kind: RecoveryKind,
}

impl Orphaned {
    /// Judges a job and the recovery record that is stored with it.
    ///
    /// # Errors
    /// `act.unsupported` where nothing of the job waits to be reconciled, or where the record is not one of such a job.
    pub fn of(job: &Job, stored: &StoredRecovery) -> Result<Self, Fault> {
        let fits = match stored.kind {
            RecoveryKind::LocalRestore | RecoveryKind::CloudRestore => job.kind == JobKind::Restore,
            RecoveryKind::CloudClone => job.kind == JobKind::Clone,
            RecoveryKind::CloudBackup | RecoveryKind::CloudDeletion | RecoveryKind::CloudPolicy => false,
        };
        let waits = job.status == JobStatus::Running || job.rollback_pending;
        if fits && waits {
            return Ok(Self { instance_id: job.instance_id.clone(), kind: stored.kind });
        }
        Err(refused(&job.instance_id, "what the job wrote down gives no right to anything"))
    }

    /// The right to put a target's role and settings back as they were.
    ///
    /// # Errors
    /// `act.unsupported` where the job was no restore.
    pub fn roll_back(&self) -> Result<Grant<RollBack>, Fault> {
        match self.kind {
            RecoveryKind::LocalRestore | RecoveryKind::CloudRestore => Ok(Grant::new(&self.instance_id)),
            _ => Err(refused(&self.instance_id, "only a restore is rolled back")),
        }
    }

    /// The right to send the very order that was written down once more. Under its idempotency token it stays one order, for
    /// which there was a yes.
    ///
    /// # Errors
    /// `act.unsupported` where the job was no order.
    pub fn repeat_order(&self) -> Result<Grant<Order>, Fault> {
        match self.kind {
            RecoveryKind::CloudClone => Ok(Grant::new(&self.instance_id)),
            _ => Err(refused(&self.instance_id, "only an order is repeated")),
        }
    }
}

fn refused(instance_id: &str, why: &str) -> Fault {
    Fault::new(Kind::Unexpected, "act.unsupported", format!("{why}; {instance_id} is not touched"))
}
