//! The state store on a database: the traits of this room, written once for each database that can be asked in SQL.
//!
//! Only statements are here, and what is decided by what they return. How a database is reached and opened is in its own folder.

mod at_work;
pub mod database;
mod dependents;
pub mod fault;
mod heads;
pub mod heartbeats;
mod job_row;
mod jobs;
mod leases;
mod ledger;
mod manifests;
mod notified;
mod orphans;
mod policies;
mod portable;
mod rollback;
pub mod statement;
mod verifications;

use crate::guard::facts::backup::Dependent;
use crate::guard::ledger::AuditRecord;
use crate::guard::token::Key;
use crate::model::fault::Fault;
use crate::state::State;
use crate::state::liveness::Liveness;
use async_trait::async_trait;
use at_work::{JobsAtWork, LeasesAtWork};
use database::Database;
use jiff::Timestamp;
use statement::{Row, Statement, Written};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{OnceCell, watch};

/// The store on a database.
pub struct Store<D> {
    database: Arc<D>,
    liveness: Box<dyn Liveness>,
    key: OnceCell<Key>,
    /// Number of job changes that this process has made, for those who wait.
    changed: watch::Sender<u64>,
    /// What this process works on.
    leases_at_work: LeasesAtWork,
    jobs_at_work: JobsAtWork,
}

impl<D: Database> Store<D> {
    /// The store on a database, which asks `liveness` who lives. Touches nothing yet.
    #[must_use]
    pub fn with(database: Arc<D>, liveness: Box<dyn Liveness>) -> Self {
        Self {
            database,
            liveness,
            key: OnceCell::new(),
            changed: watch::Sender::new(0),
            leases_at_work: LeasesAtWork::default(),
            jobs_at_work: JobsAtWork::default(),
        }
    }

    /// The first row of what a statement reads.
    async fn row(&self, statement: Statement) -> Result<Option<Row>, Fault> {
        Ok(self.database.read(statement).await?.into_iter().next())
    }

    /// Carries one statement out.
    async fn write(&self, statement: Statement) -> Result<Written, Fault> {
        self.database.write(vec![statement]).await
    }

    /// Wakes those who wait for changes, once a statement has written.
    fn notify(&self, _: Written) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}

#[async_trait]
impl<D: Database> State for Store<D> {
    fn home(&self) -> &Path {
        self.database.home()
    }

    fn is_shared(&self) -> bool {
        self.database.is_shared()
    }

    fn is_open(&self) -> bool {
        self.database.is_open()
    }

    fn may_be_taken_for_dead(&self) -> bool {
        self.liveness.may_be_taken_for_dead()
    }

    async fn key(&self) -> Result<&Key, Fault> {
        self.key.get_or_try_init(|| self.database.key()).await
    }

    async fn signers(&self, id: &str, key: &str) -> Result<Vec<String>, Fault> {
        if !self.is_shared() {
            return Ok(vec![key.to_owned()]);
        }
        let rows = self.database.read(Statement::new("SELECT key FROM keys WHERE name LIKE 'signer/%'")).await?;
        let mut all = rows.iter().map(|row| row.get("key")).collect::<Result<Vec<String>, Fault>>()?;
        if !all.iter().any(|known| known == key) {
            let name = Statement::new("INSERT INTO keys (name, key) VALUES ($1, $2) ON CONFLICT DO NOTHING");
            self.write(name.bind(format!("signer/{id}")).bind(key)).await?;
            all.push(key.to_owned());
        }
        Ok(all)
    }

    async fn dependents(
        &self,
        instance_id: &str,
        backup_ids: &[String],
    ) -> Result<BTreeMap<String, Vec<Dependent>>, Fault> {
        dependents::of_sets(&*self.database, instance_id, backup_ids).await
    }

    async fn taken_for_plans(&self, instance_id: &str) -> Result<BTreeSet<String>, Fault> {
        dependents::taken_for_plans(&*self.database, instance_id).await
    }

    async fn audit(
        &self,
        instance_id: Option<&str>,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, Fault> {
        ledger::audit(&*self.database, instance_id, since, limit).await
    }

    async fn audit_page(
        &self,
        instance_id: Option<&str>,
        since: Timestamp,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, AuditRecord)>, Fault> {
        ledger::audit_page(&*self.database, instance_id, since, after, limit).await
    }
}
