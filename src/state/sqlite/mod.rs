//! The state store on SQLite: one file under the home directory, shared by the processes of one machine.
//!
//! Opened on first use, so that a server that only lists its tools touches no disk.

pub mod database;
mod dependents;
pub mod heartbeats;
mod job_row;
mod jobs;
mod leases;
mod ledger;
mod manifests;
mod orphans;
mod policies;
mod rollback;
mod verifications;

use crate::config::blocking::blocking;
use crate::guard::facts::backup::Dependent;
use crate::guard::ledger::{AuditRecord, Confirmation};
use crate::guard::token::Key;
use crate::model::fault::Fault;
use crate::state::liveness::Liveness;
use crate::state::owner::LockFiles;
use crate::state::{State, key};
use async_trait::async_trait;
use database::Database;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{OnceCell, watch};

/// The store of one home directory.
pub struct Sqlite {
    database: Arc<Database>,
    liveness: Box<dyn Liveness>,
    key: OnceCell<Key>,
    /// Number of job changes that this process has made, for those who wait.
    changed: watch::Sender<u64>,
}

impl Sqlite {
    /// The store under a home directory. Touches nothing yet.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self::with(Arc::new(Database::new(home)), Box::new(LockFiles::new(home.join("run"))))
    }

    /// Whether anything was ever stored under a home directory. Where that cannot be told it may have been.
    pub async fn exists(home: &Path) -> bool {
        tokio::fs::try_exists(database::file_of(home)).await.unwrap_or(true)
    }

    /// A store that asks otherwise who lives.
    #[must_use]
    pub fn with(database: Arc<Database>, liveness: Box<dyn Liveness>) -> Self {
        Self { database, liveness, key: OnceCell::new(), changed: watch::Sender::new(0) }
    }
}

#[async_trait]
impl State for Sqlite {
    fn home(&self) -> &Path {
        self.database.home()
    }

    async fn key(&self) -> Result<&Key, Fault> {
        let load = || async {
            let home = self.home().to_owned();
            blocking(move || key::load_or_make(&home)).await
        };
        self.key.get_or_try_init(load).await
    }

    async fn redeemable(&self) -> Result<Vec<Confirmation>, Fault> {
        ledger::redeemable(self.database.pool().await?).await
    }

    async fn dependents(
        &self,
        instance_id: &str,
        backup_ids: &[String],
    ) -> Result<BTreeMap<String, Vec<Dependent>>, Fault> {
        let pool = self.database.pool().await?;
        dependents::of_sets(pool, instance_id, backup_ids).await
    }

    async fn audit(&self, instance_id: Option<&str>, limit: u32) -> Result<Vec<AuditRecord>, Fault> {
        ledger::audit(self.database.pool().await?, instance_id, limit).await
    }
}
