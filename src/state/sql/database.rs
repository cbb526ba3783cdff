//! What the state store asks of a database: statements, of which several may be one transaction, and the few words that SQL does not spell
//! in one way. What a database does when it is away, or when its reply is lost, is its own business.

use crate::guard::token::Key;
use crate::model::fault::Fault;
use crate::state::sql::statement::{Row, Statement, Written};
use async_trait::async_trait;
use std::path::Path;

/// A database. Nothing of it is touched before the first statement.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// The database's own clock, as an expression: milliseconds since 1970.
    const NOW: &'static str;

    /// For how many milliseconds the database has been there, as an expression: whoever could not write before that need not be dead.
    const UP_FOR: &'static str;

    /// The text at a path within a column that holds JSON, as an expression; NULL where there is none.
    fn json_text(column: &str, path: &[&str]) -> String;

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

    /// Carries statements out, all of them or none, and durably. What the first one did is returned.
    async fn write(&self, statements: Vec<Statement>) -> Result<Written, Fault>;
}
