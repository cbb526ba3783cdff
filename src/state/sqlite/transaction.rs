//! Statements on a connection to the database file, and a transaction whose statements come one after the other.

use crate::model::fault::Fault;
use crate::state::sql::database::Transaction;
use crate::state::sql::statement::{Row, Statement, Value, Written};
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Either, Executor as _, Sqlite};

/// A statement with what is bound to it.
fn query(statement: &Statement) -> Query<'static, Sqlite, SqliteArguments> {
    let query: Query<'static, Sqlite, SqliteArguments> = sqlx::query(AssertSqlSafe(statement.sql()));
    statement.values().iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text.clone()),
        Value::Number(n) => query.bind(*n),
        Value::Truth(is) => query.bind(*is),
    })
}

/// Carries a statement out.
pub(super) async fn carry_out(
    connection: &mut SqliteConnection,
    statement: &Statement,
) -> Result<Written, sqlx::Error> {
    let mut done = Written::default();
    let mut steps = connection.fetch_many(query(statement));
    while let Some(step) = steps.try_next().await? {
        match step {
            Either::Left(result) => done.changed += result.rows_affected(),
            Either::Right(row) => done.rows.push(Row::Sqlite(row)),
        }
    }
    Ok(done)
}

/// A transaction that is open.
pub(super) struct Open(pub(super) sqlx::Transaction<'static, Sqlite>);

#[async_trait]
impl Transaction for Open {
    fn rows<'a>(&'a mut self, statement: &Statement) -> BoxStream<'a, Result<Row, Fault>> {
        query(statement).fetch(&mut *self.0).map(|row| Ok(Row::Sqlite(row?))).boxed()
    }

    async fn write(&mut self, statement: &Statement) -> Result<Written, Fault> {
        Ok(carry_out(&mut self.0, statement).await?)
    }

    async fn commit(self: Box<Self>) -> Result<(), Fault> {
        Ok(self.0.commit().await?)
    }
}
