//! What the state store asks of a database: statements, of which several may be one transaction, and the few words that SQL does not spell
//! in one way. What a database does when it is away, or when its reply is lost, is its own business.

use crate::guard::token::Key;
use crate::model::fault::Fault;
use crate::state::sql::statement::{Row, Statement, Written};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::path::Path;

/// A database. Nothing of it is touched before the first statement.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// What the database is called.
    const NAME: &'static str;

    /// The database's own clock, as an expression: milliseconds since 1970.
    const NOW: &'static str;

    /// For how many milliseconds the database has been there, as an expression: whoever could not write before that need not be dead.
    const UP_FOR: &'static str;

    /// The text at a path within a column that holds JSON, as an expression; NULL where there is none.
    fn json_text(column: &str, path: &[&str]) -> String;

    /// The version of the present tables.
    fn schema() -> i64;

    /// The home directory of this process.
    fn home(&self) -> &Path;

    /// Whether processes of other machines share the database.
    fn is_shared(&self) -> bool;

    /// Whether the database has been opened.
    fn is_open(&self) -> bool;

    /// The guard's signing key, of which all have one that share the database; made on first use.
    async fn key(&self) -> Result<Key, Fault>;

    /// Rows of a statement that only reads.
    async fn read(&self, statement: Statement) -> Result<Vec<Row>, Fault>;

    /// Carries one statement out that says no more than that this process lives, in little time and beside all others, or not at all. One whose
    /// reply is lost may be carried out again.
    async fn beat(&self, statement: Statement) -> Result<Written, Fault> {
        self.write(vec![statement]).await
    }

    /// Carries statements out, all of them or none, and durably. What the first one did is returned.
    async fn write(&self, statements: Vec<Statement>) -> Result<Written, Fault>;

    /// Begins to read what there is at one moment, whatever others write meanwhile.
    async fn snapshot(&self) -> Result<Box<dyn Transaction>, Fault>;

    /// Begins to write, and lets nobody else write until that is over.
    async fn alone(&self) -> Result<Box<dyn Transaction>, Fault>;
}

/// A transaction whose statements depend on what those before have done. Dropped before it is committed, it has done nothing.
#[async_trait]
pub trait Transaction: Send {
    /// Rows of a statement, one after the other: no more are in memory than some.
    fn rows<'a>(&'a mut self, statement: &Statement) -> BoxStream<'a, Result<Row, Fault>>;

    /// Carries a statement out.
    async fn write(&mut self, statement: &Statement) -> Result<Written, Fault>;

    /// Makes all of it last.
    async fn commit(self: Box<Self>) -> Result<(), Fault>;
}
