//! The guard's signing key on PostgreSQL: one for all processes, made by the first that needs it.

use crate::guard::token::Key;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{hex, random};
use crate::state::sql::database::Database;
use crate::state::sql::statement::Statement;

/// The key's name among the keys.
const NAME: &str = "guard";

/// Reads the key, or makes it where there is none. Of processes that make one at once all get the first.
///
/// # Errors
/// Those of the store; `guard.key` when what is there is not a key: it is never replaced silently.
pub(super) async fn load_or_make<D: Database>(database: &D) -> Result<Key, Fault> {
    if let Some(key) = load(database).await? {
        return Ok(key);
    }
    let make = Statement::new("INSERT INTO keys (name, key) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(NAME)
        .bind(hex(&random::<32>()?));
    database.write(vec![make]).await?;
    load(database).await?.ok_or_else(broken)
}

async fn load<D: Database>(database: &D) -> Result<Option<Key>, Fault> {
    let rows = database.read(Statement::new("SELECT key FROM keys WHERE name = $1").bind(NAME)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let text: String = row.get("key")?;
    parse(&text).map(|key| Some(Key(key))).ok_or_else(broken)
}

fn broken() -> Fault {
    Fault::new(Kind::Unexpected, "guard.key", "the guard's key in the state store is not a key of 32 bytes")
        .hint("Delete the row `guard` of the table `keys`; a new key is made, and tokens from before are refused.")
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |all, digit| (all << 4) | digit)).collect();
    (digits.len() == 64).then_some(bytes)?.try_into().ok()
}
