//! Statements and rows, the same for each database: what is bound to a statement, what a row has, and how moments and counts are stored.

use crate::model::fault::Fault;
use crate::state::sql::fault::damaged;
use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};
use std::borrow::Cow;

/// A value that is bound to a statement.
#[derive(Clone)]
pub enum Value {
    /// A text, or none.
    Text(Option<String>),
    /// A number; a count or a moment too.
    Number(i64),
    /// Whether something is so.
    Truth(bool),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Number(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Number(n.into())
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Number(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Truth(is)
    }
}

/// Milliseconds since 1970.
impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Number(at.as_millisecond())
    }
}

/// A statement and what is bound to it: `$1` is the first.
#[derive(Clone)]
pub struct Statement {
    sql: Cow<'static, str>,
    values: Vec<Value>,
    one_by_one: Option<String>,
    if_changed: bool,
}

impl Statement {
    /// A statement to which nothing is bound yet. Text of a caller is bound, never part of it.
    pub fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), values: Vec::new(), one_by_one: None, if_changed: false }
    }

    /// Binds the next value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Lets writes under one name come one after the other, each of which sees what those before it have done.
    #[must_use]
    pub fn one_by_one(mut self, name: String) -> Self {
        self.one_by_one = Some(name);
        self
    }

    /// Leaves the statement out where the first of its transaction has changed nothing.
    #[must_use]
    pub const fn if_changed(mut self) -> Self {
        self.if_changed = true;
        self
    }

    /// The statement's text.
    #[must_use]
    pub fn sql(&self) -> Cow<'static, str> {
        self.sql.clone()
    }

    /// What is bound, in order.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The name under which such writes come one after the other.
    #[must_use]
    pub fn name_of_line(&self) -> Option<&str> {
        self.one_by_one.as_deref()
    }

    /// Whether the statement is carried out, given what the first one of its transaction did.
    #[must_use]
    pub fn is_due(&self, first: Option<&Written>) -> bool {
        !self.if_changed || first.is_some_and(|first| first.changed > 0)
    }
}

/// What a statement did.
#[derive(Default)]
pub struct Written {
    /// How many rows it changed.
    pub changed: u64,
    /// What it returned.
    pub rows: Vec<Row>,
}

/// What a column can be read as, whichever database it is of.
pub trait Stored:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> + Send
{
}

impl<T> Stored for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> + Send
{
}

/// A row of either database.
pub enum Row {
    /// One of SQLite's.
    Sqlite(SqliteRow),
    /// One of PostgreSQL's.
    Postgres(PgRow),
}

impl Row {
    /// Reads a column.
    ///
    /// # Errors
    /// `state.failed` where there is no such column, or it holds something else.
    pub fn get<T: Stored>(&self, column: &str) -> Result<T, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// Reads a count.
    ///
    /// # Errors
    /// `state.failed`; `state.damaged` where it is below zero.
    pub fn count(&self, column: &str) -> Result<u64, Fault> {
        let stored: i64 = self.get(column)?;
        u64::try_from(stored).map_err(|_| damaged(format!("{column} is {stored}")))
    }

    /// Reads a moment.
    ///
    /// # Errors
    /// `state.failed`; `state.damaged` where it is none.
    pub fn moment(&self, column: &str) -> Result<Timestamp, Fault> {
        at(self.get(column)?)
    }

    /// Reads a moment that may not be there.
    ///
    /// # Errors
    /// As [`Self::moment`].
    pub fn moment_if_any(&self, column: &str) -> Result<Option<Timestamp>, Fault> {
        self.get::<Option<i64>>(column)?.map(at).transpose()
    }
}

/// A stored moment: milliseconds since 1970.
fn at(ms: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_millisecond(ms).map_err(|_| damaged(format!("{ms} is no time")))
}
