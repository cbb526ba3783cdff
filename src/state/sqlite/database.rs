//! The database file: opened once a process, and migrated to the present tables.

use crate::config::blocking::blocking;
use crate::config::home::{file_fault, private_dir};
use crate::guard::token::Key;
use crate::model::fault::{Fault, Kind};
use crate::state::key;
use crate::state::owner::{Owner, lock_exclusive};
use crate::state::sql::database::{self, Transaction};
use crate::state::sql::fault::{newer, not_migrated};
use crate::state::sql::statement::{Row, Statement, Written};
use crate::state::sqlite::transaction::{Open, carry_out};
use async_trait::async_trait;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlitePool};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::OnceCell;

/// The migrations: version, name, statements. A file that has been released is never edited; a change is a new one.
const MIGRATIONS: [(i64, &str, &str); 16] = [
    (1, "jobs confirmations audit", include_str!("../migrations/0001_jobs_confirmations_audit.sql")),
    (2, "provider of a job", include_str!("../migrations/0002_provider_of_a_job.sql")),
    (3, "typed jobs and leases", include_str!("../migrations/0003_typed_jobs_and_leases.sql")),
    (4, "serving before on disk", include_str!("../migrations/0004_serving_before_on_disk.sql")),
    (5, "jobs bound to their account", include_str!("../migrations/0005_jobs_bound_to_their_account.sql")),
    (6, "what a restore restores", include_str!("../migrations/0006_what_a_restore_restores.sql")),
    (7, "policies", include_str!("../migrations/0007_policies.sql")),
    (8, "keys of a restore", include_str!("../migrations/0008_keys_of_a_restore.sql")),
    (9, "verifications", include_str!("../migrations/0009_verifications.sql")),
    (10, "calendars", include_str!("../migrations/0010_calendars.sql")),
    (11, "manifests", include_str!("../migrations/0011_manifests.sql")),
    (12, "notified", include_str!("../migrations/0012_notified.sql")),
    (13, "what is asked of jobs", include_str!("../migrations/0013_what_is_asked_of_jobs.sql")),
    (14, "mode of a backup", include_str!("../migrations/0014_mode_of_a_backup.sql")),
    (15, "what is asked of plans", include_str!("../migrations/0015_what_is_asked_of_plans.sql")),
    (16, "heads of logs", include_str!("../migrations/0016_heads_of_logs.sql")),
];

/// The last version that only `PRAGMA user_version` recorded, before there was a table of migrations.
const LAST_UNLISTED: i64 = 2;

/// The version of the present tables.
fn known() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default()
}

/// The file under a home directory.
pub(super) fn file_of(home: &Path) -> PathBuf {
    home.join("state.db")
}

/// The database of one home directory.
#[derive(Debug)]
pub struct Database {
    home: PathBuf,
    pool: OnceCell<SqlitePool>,
}

impl Database {
    /// The database under a home directory. Touches nothing yet.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { home: home.into(), pool: OnceCell::new() }
    }

    /// The connection pool, opened at the first call.
    async fn pool(&self) -> Result<&SqlitePool, Fault> {
        self.pool.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<SqlitePool, Fault> {
        let (home, file) = (self.home.clone(), file_of(&self.home));
        let made = file.clone();
        // Two processes that open a fresh home at once must not both switch it to WAL, nor both migrate it.
        let lock = blocking(move || {
            private_dir(&home)?;
            let lock = lock_exclusive(&home.join("state.lock"))?;
            // Recovery records are written down here, a password of the target included; SQLite would let others read it
            // where the home directory does. Its other files get the mode of this one.
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&made)
                .map_err(|e| file_fault("open", &made, e))?;
            // Of files of another user's SQLite says neither whose they are nor which. They are not opened: to close them would free its locks.
            for beside in ["state.db-wal", "state.db-shm"].map(|name| home.join(name)) {
                match access(&beside, Access::READ_OK | Access::WRITE_OK) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(file_fault("open", &beside, e.into())),
                }
            }
            Ok(lock)
        })
        .await?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A redeemed token or a finished job must not come back after power loss.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(20))
            .statement_cache_capacity(32);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        migrate(&pool, &self.home.join("run")).await?;
        drop(lock);
        Ok(pool)
    }
}

/// Brings a database of any earlier version, or an empty one, to the present one.
async fn migrate(pool: &SqlitePool, run: &Path) -> Result<(), Fault> {
    let known = known();
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(pool).await?;
    if found == known {
        return Ok(());
    }
    let too_new = |found: i64| newer("the home directory", found, known, "Use the later program, or another --home.");
    if found > known {
        return Err(too_new(found));
    }
    let migrator = Migrator::with_migrations(
        MIGRATIONS
            .iter()
            .map(|(version, description, sql)| {
                Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
            })
            .collect(),
    );
    let failed = |e: MigrateError| match e {
        MigrateError::VersionMissing(found) => too_new(found),
        e => not_migrated(e),
    };
    // All or nothing: a crash between two migrations must not leave tables that no version knows.
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let found = if found == 0 { begun(&mut tx).await? } else { found };
    if (1..=LAST_UNLISTED).contains(&found) {
        in_no_use(&mut tx, run).await?;
        // The tables are there; what is missing is the list that says so.
        migrator.run_direct(Some(found), &mut *tx, true).await.map_err(failed)?;
    }
    migrator.run_direct(None, &mut *tx, false).await.map_err(failed)?;
    // Programs from before the table of migrations read this version, and so does the check above that skips all work.
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {known}"))).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// The version of a database that says it has none: 1 where the first program died between its tables, which it made one by one,
/// and the version, which it wrote last.
async fn begun(tx: &mut SqliteConnection) -> Result<i64, Fault> {
    let has = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'jobs')
        AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
    let there: bool = sqlx::query_scalar(has).fetch_one(&mut *tx).await?;
    if !there {
        return Ok(0);
    }
    let [(first, _, tables), ..] = MIGRATIONS;
    let missing = ["TABLE", "UNIQUE INDEX", "INDEX"].iter().fold(tables.to_owned(), |sql, what| {
        sql.replace(&format!("CREATE {what} "), &format!("CREATE {what} IF NOT EXISTS "))
    });
    sqlx::raw_sql(AssertSqlSafe(missing)).execute(&mut *tx).await?;
    Ok(first)
}

/// That no process of an earlier version is at work: it could not write down how its job ends, nor what a crash would need rolled
/// back. Those versions told the living by lock files alone.
async fn in_no_use(tx: &mut SqliteConnection, run: &Path) -> Result<(), Fault> {
    let running: Vec<(String, String)> =
        sqlx::query_as("SELECT id, owner FROM jobs WHERE status = 'running'").fetch_all(&mut *tx).await?;
    let run = run.to_owned();
    blocking(move || {
        for (id, owner) in running {
            if Owner::lives(&run, &owner)? {
                let pid = owner.split('-').next().unwrap_or_default();
                let message = format!("process {pid} of an earlier version of this program runs job {id}");
                return Err(Fault::new(Kind::Unexpected, "state.in_use", message)
                    .hint("Wait until the job has ended, or end that process; then call again."));
            }
        }
        Ok(())
    })
    .await
}

#[async_trait]
impl database::Database for Database {
    const NAME: &'static str = "sqlite";
    const NOW: &'static str = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";
    /// A file is always there.
    const UP_FOR: &'static str = "9223372036854775807";

    fn json_text(column: &str, path: &[&str]) -> String {
        format!("json_extract({column}, '$.{}')", path.join("."))
    }

    fn schema() -> i64 {
        known()
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn is_open(&self) -> bool {
        self.pool.initialized()
    }

    async fn key(&self) -> Result<Key, Fault> {
        let home = self.home.clone();
        blocking(move || key::load_or_make(&home)).await
    }

    async fn read(&self, statement: Statement) -> Result<Vec<Row>, Fault> {
        Ok(carry_out(&mut *self.pool().await?.acquire().await?, &statement).await?.rows)
    }

    async fn write(&self, statements: Vec<Statement>) -> Result<Written, Fault> {
        let pool = self.pool().await?;
        if let [alone] = statements.as_slice() {
            return Ok(carry_out(&mut *pool.acquire().await?, alone).await?);
        }
        let mut first = None;
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        for statement in &statements {
            if statement.is_due(first.as_ref()) {
                let done = carry_out(&mut tx, statement).await?;
                first.get_or_insert(done);
            }
        }
        tx.commit().await?;
        Ok(first.unwrap_or_default())
    }

    async fn snapshot(&self) -> Result<Box<dyn Transaction>, Fault> {
        // What is read first is the moment of all that is read.
        Ok(Box::new(Open(self.pool().await?.begin().await?)))
    }

    async fn alone(&self) -> Result<Box<dyn Transaction>, Fault> {
        Ok(Box::new(Open(self.pool().await?.begin_with("BEGIN IMMEDIATE").await?)))
    }
}
