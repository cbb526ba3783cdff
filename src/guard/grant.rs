//! Grants: what every primitive that destroys takes, by value. Made only here, of the few things that justify destroying.
//!
//! A grant comes from a [`Permit`](crate::guard::permit::Permit), which needs a yes; from [`Scratch`], a server that this program
//! started itself; from [`Expired`], the verdict of retention on a set; or from [`Recovery`], the recovery record of a job, and
//! then only to roll back or to repeat the order. From nowhere else: the fields are private, so a primitive cannot be called
//! without a grant.
//!
//! ```compile_fail
//! use tair_backup_mcp::guard::grant::{Grant, Overwrite};
//! let grant: Grant<Overwrite> = Grant { instance_id: "orders".into(), kind: std::marker::PhantomData };
//! ```
//!
//! nor can one be used twice, or for another kind of act:
//!
//! ```compile_fail
//! use tair_backup_mcp::guard::grant::{Grant, Overwrite};
//! fn twice(grant: Grant<Overwrite>) -> (Grant<Overwrite>, Grant<Overwrite>) { (grant, grant) }
//! ```
//!
//! ```compile_fail
//! use tair_backup_mcp::guard::grant::{Delete, Grant, Overwrite};
//! fn another(grant: Grant<Delete>) -> Grant<Overwrite> { grant }
//! ```

use crate::model::backup::BackupSet;
use jiff::Timestamp;
use std::marker::PhantomData;

/// Kind of grant: all data of an instance may be overwritten.
#[derive(Debug)]
pub enum Overwrite {}

/// Kind of grant: a backup set may be deleted for ever.
#[derive(Debug)]
pub enum Delete {}

/// Kind of grant: an instance that costs money may be ordered.
#[derive(Debug)]
pub enum Order {}

/// Kind of grant: what a restore did to its target's role and settings may be rolled back; never data.
#[derive(Debug)]
pub enum RollBack {}

/// The right to one act of one kind on one instance. Neither `Clone` nor `Copy`.
#[derive(Debug)]
pub struct Grant<For> {
    instance_id: String,
    kind: PhantomData<For>,
}

impl<For> Grant<For> {
    /// For this room alone, where every way to a grant is.
    pub(super) fn new(instance_id: &str) -> Self {
        Self { instance_id: instance_id.into(), kind: PhantomData }
    }

    /// The instance that may be acted on, or whose set may be deleted.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.instance_id
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

/// The verdict of retention: the time for which a set is kept has passed.
#[derive(Debug)]
pub struct Expired {
    instance_id: String,
}

impl Expired {
    /// Judges a set at a moment. `None`: the set is still kept, or kept until somebody deletes it.
    #[must_use]
    pub fn of(set: &BackupSet, now: Timestamp) -> Option<Self> {
        set.expires_at.filter(|at| *at <= now).map(|_| Self { instance_id: set.instance_id.clone() })
    }

    /// The right to delete the set.
    #[must_use]
    pub fn delete(self) -> Grant<Delete> {
        Grant::new(&self.instance_id)
    }
}

/// A recovery record as found after a crash: what a job wrote down, under its permit, before it touched anything.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The instance that the job acted on.
    pub instance_id: String,
    /// The record that the provider wrote, as JSON; empty when nothing had been touched yet.
    pub record: String,
}

impl Recovery {
    /// The right to put a target's role and settings back as they were.
    #[must_use]
    pub fn roll_back(&self) -> Grant<RollBack> {
        Grant::new(&self.instance_id)
    }

    /// The right to send once more the very order that the record holds. Its idempotency token keeps both one order, to which a
    /// person said yes.
    #[must_use]
    pub fn repeat_order(&self) -> Grant<Order> {
        Grant::new(&self.instance_id)
    }
}
