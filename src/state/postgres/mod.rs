//! The state store on PostgreSQL, shared by all processes that are given its url, whichever machine they are on.
//!
//! Connected on first use, so that a server that only lists its tools asks nobody. Who lives is told by heartbeats, which the database's
//! clock and that of whoever asks judge: a process that dies is taken for dead within half a minute.

mod attempts;
pub mod database;
mod key;
mod transaction;
mod trouble;

use crate::config::state_url::StateUrl;
use crate::state::sql::Store;
use crate::state::sql::heartbeats::{Beat, Heartbeats};
use database::Database;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A process is dead when it was not heard for twenty seconds.
const BEAT: Beat = Beat { every: Duration::from_secs(4), missed: 4, back_within: Duration::from_secs(12) };

/// The store on a PostgreSQL.
pub type Postgres = Store<Database>;

impl Postgres {
    /// The store at a url, of a process with that home directory. Touches nothing yet.
    #[must_use]
    pub fn new(url: &StateUrl, home: &Path) -> Self {
        let database = Arc::new(Database::new(url, home));
        let heartbeats = Heartbeats::new(Arc::clone(&database), BEAT);
        Self::with(database, Box::new(heartbeats))
    }
}
