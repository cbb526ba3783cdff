//! The state store: jobs, confirmations and the audit, in one SQLite database under the home directory.
//!
//! Several processes share it. It holds no backup data, and nothing here is the only copy of what a set contains: sets
//! are on the vault. Opened on first use, so that a server that only lists its tools touches no disk.

pub mod jobs;
pub mod key;
mod ledger;
pub mod owner;

use crate::config::home::{file_fault, private_dir};
use crate::model::fault::{Fault, Kind};
use owner::Owner;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, SqlitePool};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Version of the tables; a database of a later version is refused rather than misread.
const VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, status TEXT NOT NULL,
  stage TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  provider TEXT NOT NULL DEFAULT 'local', owner TEXT NOT NULL, undo TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL, finished_at INTEGER);
-- One job at a time for an instance, whichever process asks.
CREATE UNIQUE INDEX IF NOT EXISTS jobs_running ON jobs (instance_id) WHERE status = 'running';
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at);
CREATE TABLE IF NOT EXISTS confirmations (
  nonce TEXT PRIMARY KEY, plan TEXT NOT NULL, caller TEXT NOT NULL, standing TEXT NOT NULL,
  wrong_answers INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL, caller TEXT NOT NULL,
  instance_id TEXT NOT NULL, nonce TEXT NOT NULL, detail TEXT NOT NULL);
";

/// What version 1 lacks. Its plans were written in another form: they are withdrawn, and their callers plan again.
const FROM_1: &str = "
ALTER TABLE jobs ADD COLUMN provider TEXT NOT NULL DEFAULT 'local';
DELETE FROM confirmations;
";

/// The store of one home directory.
pub struct State {
    home: PathBuf,
    pool: OnceCell<SqlitePool>,
    owner: OnceCell<Owner>,
    key: OnceCell<crate::guard::token::Key>,
}

impl From<sqlx::Error> for Fault {
    fn from(e: sqlx::Error) -> Self {
        let full = e.as_database_error().and_then(|d| d.code()).is_some_and(|c| c == "13");
        let fault = if full {
            Self::new(Kind::Unexpected, "state.disk_full", "the state store has no room left on its disk")
                .hint("Free space under the home directory.")
        } else {
            Self::new(Kind::Unexpected, "state.failed", "the state store failed")
                .hint("Run `tair-backup-mcp doctor`; the log on standard error has the cause.")
        };
        fault.because(e)
    }
}

impl State {
    /// The store under a home directory. Touches nothing yet.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { home: home.into(), pool: OnceCell::new(), owner: OnceCell::new(), key: OnceCell::new() }
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    async fn pool(&self) -> Result<&SqlitePool, Fault> {
        self.pool.get_or_try_init(|| self.open_pool()).await
    }

    async fn open_pool(&self) -> Result<SqlitePool, Fault> {
        private_dir(&self.home)?;
        // Two processes that open a fresh home at once must not both switch it to WAL.
        let lock_path = self.home.join("state.lock");
        let lock = tokio::task::spawn_blocking(move || owner::lock_exclusive(&lock_path)).await.map_err(|e| {
            Fault::new(Kind::Unexpected, "state.failed", "the state store could not be locked").because(e)
        })??;
        let file = self.home.join("state.db");
        // What undoes a restore is written down here, a password of the target included; SQLite would let others read it
        // where the home directory does. Its other files get the mode of this one.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&file)
            .map_err(|e| file_fault("open", &file, e))?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A spent token or a finished job must not come back after power loss.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(20))
            .statement_cache_capacity(32);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&pool).await?;
        if version > VERSION {
            return Err(Fault::new(
                Kind::Unexpected,
                "state.newer",
                format!(
                    "the home directory was written by a later version (state {version}, this program knows {VERSION})"
                ),
            )
            .hint("Use the later program, or another --home."));
        }
        if version < VERSION {
            // All or nothing: a crash between two of these must not leave tables that no version knows.
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            if version == 1 {
                sqlx::raw_sql(FROM_1).execute(&mut *tx).await?;
            }
            sqlx::raw_sql(TABLES).execute(&mut *tx).await?;
            sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {VERSION}"))).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        drop(lock);
        Ok(pool)
    }

    /// This process's name as the owner of jobs.
    async fn owner(&self) -> Result<&Owner, Fault> {
        self.owner.get_or_try_init(|| async { Owner::new(&self.home.join("run")) }).await
    }

    /// The guard's signing key, made on first use.
    ///
    /// # Errors
    /// `home.failed`, `guard.key`.
    pub async fn key(&self) -> Result<&crate::guard::token::Key, Fault> {
        self.key.get_or_try_init(|| async { key::load_or_make(&self.home) }).await
    }
}

fn ms(at: jiff::Timestamp) -> i64 {
    at.as_millisecond()
}

fn at(ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default()
}
