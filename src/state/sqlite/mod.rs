//! The state store on SQLite: one file under the home directory, shared by the processes of one machine.
//!
//! Opened on first use, so that a server that only lists its tools touches no disk.

pub mod database;

use crate::state::owner::LockFiles;
use crate::state::sql::Store;
use database::Database;
use std::path::Path;
use std::sync::Arc;

/// The store of one home directory.
pub type Sqlite = Store<Database>;

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
}
