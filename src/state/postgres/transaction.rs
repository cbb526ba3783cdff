//! A transaction on a PostgreSQL whose statements come one after the other. Its connection is waited for no longer than for any reply.

use crate::model::fault::Fault;
use crate::state::postgres::attempts::{ANSWERS_WITHIN, carry_out, query};
use crate::state::postgres::trouble::{fault, uncertain};
use crate::state::sql::database::Transaction;
use crate::state::sql::statement::{Row, Statement, Written};
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use sqlx::Postgres;
use std::io;
use tokio::time::timeout;

/// A transaction that is open.
pub(super) struct Open {
    begun: sqlx::Transaction<'static, Postgres>,
    /// Host and port, for messages.
    place: String,
}

fn silent() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}

impl Open {
    pub(super) fn new(begun: sqlx::Transaction<'static, Postgres>, place: &str) -> Self {
        Self { begun, place: place.to_owned() }
    }
}

#[async_trait]
impl Transaction for Open {
    fn rows<'a>(&'a mut self, statement: &Statement) -> BoxStream<'a, Result<Row, Fault>> {
        let place = self.place.clone();
        let rows = query(statement).fetch(&mut *self.begun);
        rows.map(move |row| row.map(Row::Postgres).map_err(|e| fault(e, &place))).boxed()
    }

    async fn write(&mut self, statement: &Statement) -> Result<Written, Fault> {
        let written = timeout(ANSWERS_WITHIN, carry_out(&mut self.begun, statement)).await;
        written.unwrap_or_else(|_| Err(silent())).map_err(|e| fault(e, &self.place))
    }

    async fn commit(self: Box<Self>) -> Result<(), Fault> {
        let Self { begun, place } = *self;
        let committed = timeout(ANSWERS_WITHIN, begun.commit()).await.unwrap_or_else(|_| Err(silent()));
        // Whether it was written shows in the store itself.
        committed.map_err(|e| uncertain(e, &place))
    }
}
