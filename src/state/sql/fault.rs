//! What goes wrong in a database, as a fault: whichever database it is.

use crate::config::command::line;
use crate::model::fault::{Fault, Kind};
use std::fmt::Display;

/// The codes of a disk without room: SQLite's, that of the file through which its processes share what is written (`SQLITE_IOERR_SHMSIZE`), and
/// PostgreSQL's.
const DISK_FULL: [&str; 3] = ["13", "4874", "53100"];

impl From<sqlx::Error> for Fault {
    fn from(e: sqlx::Error) -> Self {
        let full = e.as_database_error().and_then(|d| d.code()).is_some_and(|c| DISK_FULL.contains(&c.as_ref()));
        let fault = if full {
            Self::new(Kind::Unexpected, "state.disk_full", "the state store has no room left on its disk")
                .hint("Free space under the home directory, or on the disk of the database that has the state.")
        } else {
            Self::new(Kind::Unexpected, "state.failed", "the state store failed")
                .hint(format!("Run `{}`; the log on standard error has the cause.", line("doctor")))
        };
        fault.because(e)
    }
}

/// Something stored that no version of this program writes.
pub fn damaged(what: impl Display) -> Fault {
    Fault::new(Kind::Damaged, "state.damaged", format!("the state store cannot be read: {what}")).hint(format!(
        "Run `{}`. Another --home starts with an empty store; backup sets are on the vault.",
        line("doctor")
    ))
}

/// That a later version of this program wrote the store.
pub(in crate::state) fn newer(store: &str, found: i64, known: i64, hint: &str) -> Fault {
    let message = format!("{store} was written by a later version (state {found}, this program knows {known})");
    Fault::new(Kind::Unexpected, "state.newer", message).hint(hint)
}

/// That the store's tables could not be brought to the present ones.
pub(in crate::state) fn not_migrated(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::new(Kind::Unexpected, "state.failed", "the state store could not be brought to this version")
        .hint(format!("Run `{}`; the log on standard error has the cause.", line("doctor")))
        .because(e)
}
