//! What PostgreSQL's errors mean: what passes by itself, what refuses this program, and what is a fault of the store.

use crate::model::fault::{Fault, Kind};
use std::io;
use std::time::Duration;

/// Codes of a server that goes away, comes up, or has no connection left; of a session that was idle for too long; and of a statement that
/// was prepared before a later program changed its table. Of each nothing was committed.
const PASSING: [&str; 7] = ["57P01", "57P02", "57P03", "57P05", "53300", "25P03", "0A000"];
/// Classes of such codes: connections, and transactions that were rolled back.
const PASSING_CLASSES: [&str; 2] = ["08", "40"];
/// Codes of a user, a password or a database that is not known, and of rights that are not there.
const REFUSED: [&str; 4] = ["28000", "28P01", "3D000", "42501"];
/// How soon another attempt may help.
const RETRY_AFTER: Duration = Duration::from_secs(5);

fn code(e: &sqlx::Error) -> Option<String> {
    e.as_database_error()?.code().map(Into::into)
}

/// Whether TLS could not be agreed on: it is not offered, or the certificate is not one that may be trusted.
fn of_tls(e: &sqlx::Error) -> bool {
    match e {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(e) => e.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// Whether another attempt may succeed at once.
pub(super) fn passes(e: &sqlx::Error) -> bool {
    match code(e) {
        Some(code) => PASSING.contains(&code.as_str()) || PASSING_CLASSES.iter().any(|class| code.starts_with(class)),
        None => matches!(e, sqlx::Error::Io(_)) && !of_tls(e),
    }
}

/// The fault of an error, of a database at a place.
pub(super) fn fault(e: sqlx::Error, place: &str) -> Fault {
    if of_tls(&e) {
        let message = format!("the state store cannot be reached over TLS: PostgreSQL at {place}");
        return Fault::new(Kind::Unexpected, "state.unreachable", message)
            .hint("Name the authority of its certificate in `state` (sslrootcert); the certificate must be for that host. The log on standard error has the cause.")
            .because(e);
    }
    let away =
        passes(&e) || matches!(e, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Protocol(_));
    if away {
        let message = format!("the state store cannot be reached: PostgreSQL at {place}");
        return Fault::new(Kind::Unexpected, "state.unreachable", message)
            .hint("Look whether it is up, and whether `state` in the configuration names it; the log on standard error has the cause.")
            .retry_after(RETRY_AFTER)
            .because(e);
    }
    if code(&e).is_some_and(|code| REFUSED.contains(&code.as_str())) {
        let message = format!("the state store refuses this program: PostgreSQL at {place}");
        return Fault::new(Kind::Unexpected, "state.refused", message)
            .hint("Look at the user, the password and the database in `state`; the user must own that database, or its schema.")
            .because(e);
    }
    e.into()
}

/// The fault of a write of which it cannot be found out whether it was committed.
pub(super) fn uncertain(e: sqlx::Error, place: &str) -> Fault {
    let message = format!(
        "the state store's reply was lost, and it is not known whether the change was written: PostgreSQL at {place}"
    );
    Fault::new(Kind::Uncertain, "state.uncertain", message)
        .hint("Look at describe_jobs once the database is back, before you call again.")
        .because(e)
}
