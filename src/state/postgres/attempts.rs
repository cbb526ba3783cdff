//! Attempts at a statement. A read is repeated while its connection is lost. A write is one transaction, and is repeated where it was surely
//! not committed; where the reply to its commit was lost, the database is asked what became of the transaction, by its number.

use crate::state::postgres::trouble::passes;
use crate::state::sql::statement::{Row, Statement, Value, Written};
use futures::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Either, Executor as _, Postgres};
use std::io;
use std::time::{Duration, Instant};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// How long a statement, or a transaction up to its commit, may take: whoever is silent for longer is not waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// How long attempts go on while the database is away.
const ATTEMPTS_FOR: Duration = Duration::from_secs(10);
/// Before the second attempt; doubled at each.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Between attempts at most.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(1);

/// Begins a transaction. It is durable when its commit is answered, whatever the server does by default; and a process that stands still
/// within it keeps nobody waiting for long.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = '20s'; \
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

/// How far a write has come.
#[derive(Default)]
pub(super) struct Course {
    /// What the first statement did.
    pub(super) first: Option<Written>,
    /// The number of the transaction, from when its commit is sent.
    pub(super) committing: Option<String>,
}

fn query(statement: &Statement) -> Query<'static, Postgres, PgArguments> {
    let query: Query<'static, Postgres, PgArguments> = sqlx::query(AssertSqlSafe(statement.sql()));
    statement.values().iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text.as_deref().map(storable)),
        Value::Number(n) => query.bind(*n),
        Value::Truth(is) => query.bind(*is),
    })
}

/// A text as PostgreSQL takes it: without NUL, which it has no place for.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

async fn carry_out(connection: &mut PgConnection, statement: &Statement) -> Result<Written, sqlx::Error> {
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

/// Bounds what is done on a connection. One that failed by what may have been the connection itself is not used again.
fn bounded<T>(
    connection: PoolConnection<Postgres>,
    done: Result<Result<T, sqlx::Error>, Elapsed>,
) -> Result<T, sqlx::Error> {
    let done = done.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())));
    if done.as_ref().is_err_and(|e| passes(e) || matches!(e, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))) {
        // Not given back, which would ask it whether it is well; without a word, for nobody may listen.
        drop(connection.detach());
    }
    done
}

/// Rows of one attempt at a statement.
pub(super) async fn read(
    mut connection: PoolConnection<Postgres>,
    statement: &Statement,
) -> Result<Vec<Row>, sqlx::Error> {
    let done = timeout(ANSWERS_WITHIN, carry_out(&mut connection, statement)).await;
    Ok(bounded(connection, done)?.rows)
}

/// One attempt at a write. After an error `course` tells whether its commit was sent.
pub(super) async fn write(
    mut connection: PoolConnection<Postgres>,
    statements: &[Statement],
    course: &mut Course,
) -> Result<(), sqlx::Error> {
    let done = timeout(ANSWERS_WITHIN, transact(&mut connection, statements, course)).await;
    bounded(connection, done)
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
pub(super) async fn fate(mut connection: PoolConnection<Postgres>, number: &str) -> Result<Fate, sqlx::Error> {
    let ask = sqlx::query_scalar::<_, Option<String>>("SELECT pg_xact_status($1::xid8)").bind(number.to_owned());
    let done = timeout(ANSWERS_WITHIN, ask.fetch_one(&mut *connection)).await;
    let fate: Option<String> = bounded(connection, done)?;
    Ok(match fate.as_deref() {
        Some("committed") => Fate::Committed,
        Some("aborted") => Fate::RolledBack,
        Some(_) => Fate::InProgress,
        None => Fate::Forgotten,
    })
}
