//! The database on a PostgreSQL server: connected once a process, and migrated to the present tables.

use crate::config::state_url::StateUrl;
use crate::guard::token::Key;
use crate::model::fault::Fault;
use crate::state::postgres::attempts::{self, Attempts, BEGIN, Course, Fate};
use crate::state::postgres::key;
use crate::state::postgres::transaction::Open;
use crate::state::postgres::trouble::{fault, of_files, passes, uncertain};
use crate::state::sql::database::{self, Transaction};
use crate::state::sql::fault::{newer, not_migrated};
use crate::state::sql::statement::{Row, Statement, Written};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection as _, PgPool, Postgres, SqlSafeStr as _};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;

/// The migrations: version, name, statements. A file that has been released is never edited; a change is a new one.
const MIGRATIONS: [(i64, &str, &str); 9] = [
    (1, "tables", include_str!("migrations/0001_tables.sql")),
    (2, "verifications", include_str!("migrations/0002_verifications.sql")),
    (3, "calendars", include_str!("migrations/0003_calendars.sql")),
    (4, "manifests", include_str!("migrations/0004_manifests.sql")),
    (5, "notified", include_str!("migrations/0005_notified.sql")),
    (6, "what is asked of jobs", include_str!("migrations/0006_what_is_asked_of_jobs.sql")),
    (7, "mode of a backup", include_str!("migrations/0007_mode_of_a_backup.sql")),
    (8, "what is asked of plans", include_str!("migrations/0008_what_is_asked_of_plans.sql")),
    (9, "heads of logs", include_str!("migrations/0009_heads_of_logs.sql")),
];
/// The lock under which the tables are brought to the present ones.
const MIGRATING: i64 = 0x7461_6972_6d69_6772;
/// Connections at most: a process that waits for one another's reply has others left.
const CONNECTIONS: u32 = 4;
/// How long a connection is waited for.
const CONNECTS_WITHIN: Duration = Duration::from_secs(3);
/// How long the first one is tried for.
const OPENS_WITHIN: Duration = Duration::from_secs(5);
/// How long the tables may take to be brought to the present ones.
const MIGRATES_WITHIN: Duration = Duration::from_secs(60);
/// From which difference on it is said that this machine's clock is not the database's: tokens expire by the one and are dated by the other.
const CLOCKS_APART_MS: i64 = 30_000;
/// How long it is asked what became of a transaction whose reply was lost: by then the server has noticed that nobody goes on with it.
const FATE_WITHIN: Duration = Duration::from_secs(30);

/// Begins to read, all as of the first moment.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Lets others read, and nobody write, nor say that they live.
const ALONE: &str = "LOCK TABLE jobs, confirmations, audit, policies, verifications, manifests, log_heads, notified, leases, owners IN EXCLUSIVE MODE";

/// The version of the present tables.
fn known() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default()
}

/// The database at a url.
pub struct Database {
    url: StateUrl,
    home: PathBuf,
    pool: OnceCell<PgPool>,
    /// The connection of heartbeats alone: they do not wait until others have one to spare.
    beating: Mutex<Option<PgConnection>>,
}

impl Database {
    /// The database at a url, of a process with that home directory. Touches nothing yet.
    #[must_use]
    pub fn new(url: &StateUrl, home: &Path) -> Self {
        Self { url: url.clone(), home: home.into(), pool: OnceCell::new(), beating: Mutex::default() }
    }

    fn fault(&self, e: sqlx::Error) -> Fault {
        fault(e, &self.url.place)
    }

    /// A connection, of a pool that is opened at the first call.
    async fn connection(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let pool = self.pool.get().ok_or(sqlx::Error::PoolClosed)?;
        pool.acquire().await
    }

    async fn open(&self) -> Result<(), Fault> {
        self.pool.get_or_try_init(|| self.connect()).await.map(drop)
    }

    async fn connect(&self) -> Result<PgPool, Fault> {
        let options = self.options()?;
        let mut connection = self.first(&options).await?;
        let prepared = timeout(MIGRATES_WITHIN, async {
            self.migrate(&mut connection).await?;
            compare_clocks(&mut connection).await;
            Ok::<(), Fault>(())
        });
        prepared.await.unwrap_or_else(|_| Err(self.fault(sqlx::Error::Io(io::ErrorKind::TimedOut.into()))))?;
        *self.beating.lock().await = Some(connection);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECTS_WITHIN);
        Ok(pool.connect_lazy_with(options))
    }

    fn options(&self) -> Result<PgConnectOptions, Fault> {
        let mut options = PgConnectOptions::from_str(self.url.url.expose()).map_err(|e| self.fault(e))?;
        // Whatever the environment says.
        if self.url.verified {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        // A url writes an IPv6 address in brackets, with which nothing is found.
        if let Some(address) = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let address = address.to_owned();
            options = options.host(&address);
        }
        if options.get_application_name().is_none() {
            options = options.application_name(env!("CARGO_PKG_NAME"));
        }
        Ok(options)
    }

    /// The first connection, by itself: a pool would not say why it has none.
    async fn first(&self, options: &PgConnectOptions) -> Result<PgConnection, Fault> {
        let mut attempts = Attempts::for_long(OPENS_WITHIN);
        loop {
            let opened = timeout(OPENS_WITHIN, PgConnection::connect_with(options)).await;
            let e = match opened.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()))) {
                Ok(connection) => return Ok(connection),
                Err(e) => e,
            };
            if !passes(&e) || of_files(&e, &self.url.place) || !attempts.again().await {
                return Err(self.fault(e));
            }
        }
    }

    /// Brings a database of any earlier version, or an empty one, to the present one: all or nothing, and one process at a time.
    async fn migrate(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let known = known();
        let too_new = |found: i64| {
            newer("the state store", found, known, "Use the later program, or name another database in `state`.")
        };
        let found = found(connection).await.map_err(|e| self.fault(e))?;
        if found == known {
            return Ok(());
        }
        if found > known {
            return Err(too_new(found));
        }
        let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
            Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
        });
        let mut migrator = Migrator::with_migrations(migrations.collect());
        // The lock below ends with the transaction, also behind what gives each transaction a connection of its own.
        migrator.set_locking(false);
        let mut tx = connection.begin_with(attempts::BEGIN).await.map_err(|e| self.fault(e))?;
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATING);
        lock.execute(&mut *tx).await.map_err(|e| self.fault(e))?;
        migrator.run_direct(None, &mut *tx, false).await.map_err(|e| match e {
            MigrateError::VersionMissing(found) => too_new(found),
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => self.fault(e),
            e => not_migrated(e),
        })?;
        tx.commit().await.map_err(|e| self.fault(e))
    }

    /// Begins a transaction whose statements come one after the other.
    async fn begin(&self, how: &'static str) -> Result<Open, Fault> {
        self.open().await?;
        let pool = self.pool.get().ok_or_else(|| self.fault(sqlx::Error::PoolClosed))?;
        let begun = pool.begin_with(how).await.map_err(|e| self.fault(e))?;
        Ok(Open::new(begun, &self.url.place))
    }

    /// What became of a write whose reply was lost. `None`: that cannot be found out.
    async fn fate(&self, number: &str) -> Option<Fate> {
        let mut attempts = Attempts::for_long(FATE_WITHIN);
        loop {
            let told = match self.connection().await {
                Ok(connection) => attempts::fate(connection, number).await,
                Err(e) => Err(e),
            };
            match told {
                Ok(fate @ (Fate::Committed | Fate::RolledBack)) => return Some(fate),
                Ok(Fate::InProgress) => {}
                Ok(Fate::Forgotten) => return None,
                Err(e) => tracing::warn!("what became of a change of the state store is not known yet: {e}"),
            }
            if !attempts.again().await {
                return None;
            }
        }
    }
}

/// Says where this machine's clock and the database's are apart. What cannot be asked is not said.
async fn compare_clocks(connection: &mut PgConnection) {
    let now = format!("SELECT {}", <Database as database::Database>::NOW);
    if let Ok(there) = sqlx::query_scalar::<_, i64>(AssertSqlSafe(now)).fetch_one(connection).await {
        let apart = Timestamp::now().as_millisecond().saturating_sub(there);
        if apart.saturating_abs() > CLOCKS_APART_MS {
            tracing::warn!(
                "the clocks of this machine and of the state store are {} s apart: tokens expire that much too soon or too late",
                apart / 1000
            );
        }
    }
}

/// The version of the tables; 0 where there are none.
async fn found(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !there {
        return Ok(0);
    }
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(connection).await?;
    Ok(newest.unwrap_or_default())
}

#[async_trait]
impl database::Database for Database {
    const NAME: &'static str = "postgresql";
    const NOW: &'static str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    const UP_FOR: &'static str = "(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000)::bigint";

    fn json_text(column: &str, path: &[&str]) -> String {
        format!("({column}::json #>> '{{{}}}')", path.join(","))
    }

    fn schema() -> i64 {
        known()
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        self.pool.initialized()
    }

    async fn key(&self) -> Result<Key, Fault> {
        key::load_or_make(self).await
    }

    async fn read(&self, statement: Statement) -> Result<Vec<Row>, Fault> {
        self.open().await?;
        let mut attempts = Attempts::begin();
        loop {
            let read = match self.connection().await {
                Ok(connection) => attempts::read(connection, &statement).await,
                Err(e) => Err(e),
            };
            let e = match read {
                Ok(rows) => return Ok(rows),
                Err(e) => e,
            };
            if !passes(&e) || !attempts.again().await {
                return Err(self.fault(e));
            }
            tracing::debug!("a statement is asked anew: {e}");
        }
    }

    async fn beat(&self, statement: Statement) -> Result<Written, Fault> {
        self.open().await?;
        let options = self.options()?;
        let mut kept = self.beating.lock().await;
        attempts::beat(&mut kept, &options, &statement).await.map_err(|e| self.fault(e))
    }

    async fn write(&self, statements: Vec<Statement>) -> Result<Written, Fault> {
        self.open().await?;
        let mut attempts = Attempts::begin();
        loop {
            let mut course = Course::default();
            let written = match self.connection().await {
                Ok(connection) => attempts::write(connection, &statements, &mut course).await,
                Err(e) => Err(e),
            };
            let Err(e) = written else { return Ok(course.first.unwrap_or_default()) };
            let may_pass = match course.committing {
                // Nothing was committed, for nobody asked for that.
                None => passes(&e),
                Some(number) => match self.fate(&number).await {
                    Some(Fate::Committed) => return Ok(course.first.unwrap_or_default()),
                    Some(_) => true,
                    None => return Err(uncertain(e, &self.url.place)),
                },
            };
            if !may_pass || !attempts.again().await {
                return Err(self.fault(e));
            }
            tracing::debug!("a change is written anew: {e}");
        }
    }

    async fn snapshot(&self) -> Result<Box<dyn Transaction>, Fault> {
        Ok(Box::new(self.begin(SNAPSHOT).await?))
    }

    async fn alone(&self) -> Result<Box<dyn Transaction>, Fault> {
        let mut begun = Box::new(self.begin(BEGIN).await?);
        begun.write(&Statement::new(ALONE)).await?;
        Ok(begun)
    }
}
