//! Places that several stores share: a home directory as the processes of one machine share it, and a database of a PostgreSQL as those of
//! several do.

use crate::support::postgres;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::postgres::Postgres;
use tair_backup_mcp::state::postgres::database::Database as Server;
use tair_backup_mcp::state::sql::database::Database;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::state::sqlite::database::Database as File;
use tempfile::TempDir;

pub trait Place {
    type Database: Database;

    /// The database that a process opens.
    fn database(&self) -> Arc<Self::Database>;

    /// A store, as another process would open it.
    fn open(&self) -> Arc<dyn State>;

    /// Ends a store as its process would end, and waits until its liveness has ended too.
    async fn end(&self, store: Arc<dyn State>);

    /// Runs a statement behind all stores' backs.
    async fn run(&self, sql: String);
}

impl Place for TempDir {
    type Database = File;

    fn database(&self) -> Arc<File> {
        Arc::new(File::new(self.path()))
    }

    fn open(&self) -> Arc<dyn State> {
        Arc::new(Sqlite::new(self.path()))
    }

    async fn end(&self, store: Arc<dyn State>) {
        drop(store);
    }

    async fn run(&self, sql: String) {
        run_at(self.path(), sql).await;
    }
}

/// The one text that a query finds in the state of a home.
pub async fn text_at(home: &Path, sql: &'static str) -> String {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(home.join("state.db"))).await.unwrap();
    let text = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    pool.close().await;
    text
}

/// Runs a statement on the state of a home, behind all stores' backs.
pub async fn run_at(home: &Path, sql: String) {
    let options = SqliteConnectOptions::new().filename(home.join("state.db"));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    pool.close().await;
}

impl Place for postgres::Database {
    type Database = Server;

    fn database(&self) -> Arc<Server> {
        Arc::new(Server::new(&self.state_url(), std::path::Path::new("/nowhere")))
    }

    fn open(&self) -> Arc<dyn State> {
        Arc::new(Postgres::new(&self.state_url(), std::path::Path::new("/nowhere")))
    }

    async fn end(&self, store: Arc<dyn State>) {
        let owners = || self.texts("SELECT name FROM owners").len();
        let before = owners();
        drop(store);
        let deadline = Instant::now() + Duration::from_secs(20);
        while owners() >= before {
            assert!(Instant::now() < deadline, "a store that has ended is still alive");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn run(&self, sql: String) {
        postgres::Database::run(self, &sql);
    }
}
