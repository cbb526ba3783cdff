//! Attempts at a statement. A read is repeated while its connection is lost. A write is one transaction, and is repeated where it was surely
//! not committed; where the reply to its commit was lost, the database is asked what became of the transaction, by its number.

use crate::state::postgres::trouble::passes;
use crate::state::sql::statement::{Row, Statement, Value, Written};
use futures::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Either, Executor as _, Postgres};
use std::io;
use std::time::{Duration, Instant};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// How long a statement, or a transaction up to its commit, may take: whoever is silent for longer is not waited for.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// How long attempts go on while the database is away: so long that each connection of the pool may have died in silence, and is found out.
const ATTEMPTS_FOR: Duration = Duration::from_secs(14);
/// Before the second attempt; doubled at each.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Between attempts at most.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(1);

/// How long a heartbeat may take: one that is late is better sent anew.
const BEATS_WITHIN: Duration = Duration::from_secs(3);

/// Begins a transaction. It is durable when its commit is answered, whatever the server does by default; and a process that stands still
/// within it keeps nobody waiting for as long as those would wait.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '8s'; \
    SET LOCAL idle_in_transaction_session_timeout = '5s'; \
    SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// Attempts that go on for a while.
pub(super) struct Attempts {
    until: Instant,
    wait: Duration,
}

impl Attempts {
    pub(super) fn begin() -> Self {
        Self::for_long(ATTEMPTS_FOR)
    }

    pub(super) fn for_long(long: Duration) -> Self {
        Self { until: Instant::now() + long, wait: AGAIN_AFTER }
    }

    /// Waits before another attempt. `false`: there have been enough.
    pub(super) async fn again(&mut self) -> bool {
        if Instant::now() + self.wait > self.until {
            return false;
        }
        tokio::time::sleep(self.wait).await;
        self.wait = self.wait.saturating_mul(2).min(AGAIN_AFTER_MAX);
        true
    }
}

/// NUL as JSON has it.
const ESCAPED_NUL: &str = "\\u0000";

/// How far a write has come.
#[derive(Default)]
pub(super) struct Course {
    /// What the first statement did.
    pub(super) first: Option<Written>,
    /// The number of the transaction, from when its commit is sent.
    pub(super) committing: Option<String>,
}

/// A statement with what is bound to it.
pub(super) fn query(statement: &Statement) -> Query<'static, Postgres, PgArguments> {
    let query: Query<'static, Postgres, PgArguments> = sqlx::query(AssertSqlSafe(statement.sql()));
    statement.values().iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text.as_deref().map(storable)),
        Value::Number(n) => query.bind(*n),
        Value::Truth(is) => query.bind(*is),
    })
}

/// A text as PostgreSQL takes it: without NUL, which it has no place for, nor can read from JSON. What only quotes that stays.
fn storable(text: &str) -> String {
    let mut text = text.replace('\0', "\u{fffd}");
    let mut from = if text.starts_with(['{', '[']) { 0 } else { text.len() };
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(ESCAPED_NUL)) {
        let at = from + found;
        let before = text.get(..at).unwrap_or_default();
        // Behind an odd number of backslashes this one is itself escaped, and the rest is text.
        let escaped = (before.len() - before.trim_end_matches('\\').len()) % 2 == 1;
        if !escaped {
            text.replace_range(at..at + ESCAPED_NUL.len(), "\\ufffd");
        }
        from = at + ESCAPED_NUL.len();
    }
    text
}

/// Carries a statement out.
pub(super) async fn carry_out(connection: &mut PgConnection, statement: &Statement) -> Result<Written, sqlx::Error> {
    let mut done = Written::default();
    let mut steps = connection.fetch_many(query(statement));
    while let Some(step) = steps.try_next().await? {
        match step {
            Either::Left(result) => done.changed += result.rows_affected(),
            Either::Right(row) => done.rows.push(Row::Postgres(row)),
        }
    }
    Ok(done)
}

async fn transact(
    connection: &mut PgConnection,
    statements: &[Statement],
    course: &mut Course,
) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin_with(BEGIN).await?;
    let mut changed = false;
    for statement in statements {
        if let Some(name) = statement.name_of_line() {
            let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))");
            lock.bind(storable(name)).execute(&mut *tx).await?;
        }
        if statement.is_due(course.first.as_ref()) {
            let done = carry_out(&mut tx, statement).await?;
            changed |= done.changed > 0;
            course.first.get_or_insert(done);
        }
    }
    if !changed {
        return tx.rollback().await;
    }
    let number: String = sqlx::query_scalar("SELECT pg_current_xact_id()::text").fetch_one(&mut *tx).await?;
    course.committing = Some(number);
    tx.commit().await
}

/// A connection of the pool. Unless all went well on it, it is not given back, which would ask it without bound whether it is well and keep its
/// place for so long: it is dropped without a word, for nobody may listen. So it is where the one who waits for it has gone away.
struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// What came of what was done on the connection within a bound; gives it back where it is well.
    fn bounded<T>(mut self, done: Result<Result<T, sqlx::Error>, Elapsed>) -> Result<T, sqlx::Error> {
        let done = in_time(done);
        let broken = |e: &sqlx::Error| passes(e) || matches!(e, sqlx::Error::Io(_));
        if !done.as_ref().is_err_and(broken) {
            drop(self.0.take());
        }
        done
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

fn in_time<T>(done: Result<Result<T, sqlx::Error>, Elapsed>) -> Result<T, sqlx::Error> {
    done.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
}

/// Rows of one attempt at a statement.
pub(super) async fn read(connection: PoolConnection<Postgres>, statement: &Statement) -> Result<Vec<Row>, sqlx::Error> {
    let mut lent = Lent(Some(connection));
    let done = timeout(ANSWERS_WITHIN, carry_out(lent.connection()?, statement)).await;
    Ok(lent.bounded(done)?.rows)
}

/// One attempt at a write. After an error `course` tells whether its commit was sent.
pub(super) async fn write(
    connection: PoolConnection<Postgres>,
    statements: &[Statement],
    course: &mut Course,
) -> Result<(), sqlx::Error> {
    let mut lent = Lent(Some(connection));
    let done = timeout(ANSWERS_WITHIN, transact(lent.connection()?, statements, course)).await;
    lent.bounded(done)
}

/// Carries a statement out on a connection that is kept for that; one that is not there is opened. Within a short time, or not at all.
pub(super) async fn beat(
    kept: &mut Option<PgConnection>,
    options: &PgConnectOptions,
    statement: &Statement,
) -> Result<Written, sqlx::Error> {
    let beat = async {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(options).await?,
        };
        let done = carry_out(&mut connection, statement).await?;
        *kept = Some(connection);
        Ok(done)
    };
    in_time(timeout(BEATS_WITHIN, beat).await)
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Committed.
    Committed,
    /// Rolled back.
    RolledBack,
    /// The server has not noticed yet that nobody waits for it.
    InProgress,
    /// Longer ago than the server remembers.
    Forgotten,
}

/// Asks for the fate of a transaction by its number.
pub(super) async fn fate(connection: PoolConnection<Postgres>, number: &str) -> Result<Fate, sqlx::Error> {
    let mut lent = Lent(Some(connection));
    let ask = sqlx::query_scalar::<_, Option<String>>("SELECT pg_xact_status($1::xid8)").bind(number.to_owned());
    let done = timeout(ANSWERS_WITHIN, ask.fetch_one(lent.connection()?)).await;
    let fate: Option<String> = lent.bounded(done)?;
    Ok(match fate.as_deref() {
        Some("committed") => Fate::Committed,
        Some("aborted") => Fate::RolledBack,
        Some(_) => Fate::InProgress,
        None => Fate::Forgotten,
    })
}

#[cfg(test)]
mod tests {
    //! What JSON has of NUL goes, and what only looks like that stays.
    use super::storable;

    #[test]
    fn no_text_has_nul() {
        for (text, stored) in [
            ("a\0b", "a\u{fffd}b"),
            (r#"["\u0000"]"#, r#"["\ufffd"]"#),
            (r#"["\\u0000"]"#, r#"["\\u0000"]"#),
            (r#"{"a": "\\\u0000\u0000"}"#, r#"{"a": "\\\ufffd\ufffd"}"#),
            (r#"["é\u0000é"]"#, r#"["é\ufffdé"]"#),
            ("no JSON: \\u0000", "no JSON: \\u0000"),
        ] {
            assert_eq!(storable(text), stored, "{text}");
        }
    }
}
