//! The state store: jobs, leases, confirmations, the audit, what was verified last, which manifests were put, how far logs were,
//! and what somebody was told, behind traits.
//!
//! Several processes share the store. It holds no backup data, which is on the vault alone. Its users know the traits; only
//! the code that opens the store knows which database is behind them.

pub mod heads;
pub mod jobs;
pub mod key;
pub mod leases;
pub mod liveness;
pub mod manifests;
pub mod moment;
pub mod notified;
pub mod owner;
pub mod policies;
pub mod portable;
pub mod postgres;
pub mod sql;
pub mod sqlite;
pub mod verifications;

use crate::guard::facts::backup::Dependent;
use crate::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus, Ledger};
use crate::guard::token::Key;
use crate::model::fault::Fault;
use async_trait::async_trait;
use heads::Heads;
use jiff::Timestamp;
use jobs::JobStore;
use leases::Leases;
use manifests::Manifests;
use notified::Notified;
use policies::Policies;
use portable::Portable;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use verifications::Verifications;

/// The target under which the statements of a store are logged.
pub const STATEMENTS: &str = "sqlx::query";

/// All that outlives a process, for one home directory or for all processes that share a database.
#[async_trait]
pub trait State:
    Heads + JobStore + Leases + Ledger + Manifests + Notified + Policies + Portable + Verifications
{
    /// The home directory, for files that belong to this machine alone.
    fn home(&self) -> &Path;

    /// Names the public key by which a home signs, and returns those of all homes that share the store; of one that is not shared, this one.
    ///
    /// # Errors
    /// `state.failed`.
    async fn signers(&self, id: &str, key: &str) -> Result<Vec<String>, Fault>;

    /// Whether processes of other machines share the store: then it cannot be told without asking whether it holds anything.
    fn is_shared(&self) -> bool;

    /// Whether this process has opened the store: what nothing has needed yet is not touched by what can wait.
    fn is_open(&self) -> bool;

    /// Whether others may take this process for dead by now, or soon: then what it works on may be another's, and it must change nothing more of
    /// that. Asks nobody.
    fn may_be_taken_for_dead(&self) -> bool;

    /// The guard's signing key, made on first use: one for all that share the store.
    ///
    /// # Errors
    /// `home.failed`, `guard.key`; `state.failed` and its like where the store has it.
    async fn key(&self) -> Result<&Key, Fault>;

    /// Plans whose token may still be echoed, approved or not yet, newest first.
    ///
    /// # Errors
    /// `state.failed`.
    async fn redeemable(&self) -> Result<Vec<Confirmation>, Fault> {
        self.plans(Duration::ZERO).await
    }

    /// Plans that a person may still approve, newest first: those of tools.
    ///
    /// # Errors
    /// `state.failed`.
    async fn waiting(&self) -> Result<Vec<Confirmation>, Fault> {
        let mut redeemable = self.redeemable().await?;
        redeemable.retain(|c| c.status == ConfirmationStatus::Open && c.plan.act.has_a_tool());
        Ok(redeemable)
    }

    /// What counts on sets of an instance, by set, newest first: restores that were begun, whose plans named the set as the one to
    /// undo them with, and plans whose token may still be used. A restore that was refused before it touched anything has nothing
    /// to undo. Derived from jobs and confirmations at every call.
    ///
    /// # Errors
    /// `state.failed`, `state.damaged`.
    async fn dependents(
        &self,
        instance_id: &str,
        backup_ids: &[String],
    ) -> Result<BTreeMap<String, Vec<Dependent>>, Fault>;

    /// The sets of an instance that were taken so that what a plan does could be undone, also where the plan was never made: their ids, of the last of
    /// them. Of jobs whose provider [says so](JobStore::set_mode): the cloud's, for the vault's sets tell it themselves.
    ///
    /// # Errors
    /// `state.failed`.
    async fn taken_for_plans(&self, instance_id: &str) -> Result<BTreeSet<String>, Fault>;

    /// The audit, oldest first: the last `limit` records, of one instance if named, and from a moment on if given.
    ///
    /// # Errors
    /// `state.failed`.
    async fn audit(
        &self,
        instance_id: Option<&str>,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, Fault>;

    /// A page of the audit, oldest first: the first `limit` records from a moment on that have a higher number than `after`, of one instance if
    /// named, each with its number. Of all records the first has 1.
    ///
    /// # Errors
    /// `state.failed`.
    async fn audit_page(
        &self,
        instance_id: Option<&str>,
        since: Timestamp,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, AuditRecord)>, Fault>;
}
