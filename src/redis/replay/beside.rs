//! Databases beside those that a restore by commands replaces: which are free, what marks them, and how they are emptied again.
//!
//! It must not empty a database without this restore's mark, and a mark is only in a database that had been proven empty.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::guard::grant::{Grant, RollBack};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::Keyspace;
use crate::redis::resp::Value;

/// The key that marks a database as this restore's.
pub(super) const MARK: &str = "tair-backup-mcp:beside";

/// A database and the empty one in which its new data is loaded. After the swap the old data is in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The database that is replaced.
    pub db: u64,
    /// The database beside it.
    pub beside: u64,
}

/// What is loaded where. To be stored before anything is written: all that is needed to remove it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Random, so that the mark is no other restore's.
    pub id: String,
    /// Every database that holds keys, before or after.
    pub pairs: Vec<Pair>,
}

/// What a mark says of the database that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// New data that has not been swapped in.
    New,
    /// Old data that was swapped out and not judged yet.
    Old,
    /// Old data that may go.
    Dropped,
}

impl Placement {
    pub(super) fn mark(&self, holds: Holds) -> String {
        let word = match holds {
            Holds::New => "new",
            Holds::Old => "old",
            Holds::Dropped => "dropped",
        };
        format!("{}:{word}", self.id)
    }

    pub(super) fn holds(&self, mark: &Value) -> Option<Holds> {
        [Holds::New, Holds::Old, Holds::Dropped].into_iter().find(|h| mark.as_str() == Some(self.mark(*h).as_str()))
    }

    /// Where each database's new keys go.
    #[must_use]
    pub fn places(&self) -> BTreeMap<u64, u64> {
        self.pairs.iter().map(|pair| (pair.db, pair.beside)).collect()
    }
}

/// An empty database for each that holds keys, in the set or in the target; `None` where there are not enough. Changes nothing.
///
/// # Errors
/// What broke on the way, or was denied.
pub async fn partners(
    conn: &mut Conn,
    set: impl IntoIterator<Item = u64>,
    target: &BTreeMap<u64, Keyspace>,
) -> Result<Option<Vec<Pair>>, RedisError> {
    let involved: BTreeSet<u64> = set.into_iter().chain(target.keys().copied()).collect();
    let mut pairs = Vec::with_capacity(involved.len());
    let mut free = (0..).filter(|db| !involved.contains(db));
    'involved: for db in &involved {
        for beside in free.by_ref() {
            match conn.cmd_str(&["SELECT", &beside.to_string()]).await {
                Ok(_) => {}
                // Beyond the last database.
                Err(RedisError::Server { .. }) => break 'involved,
                Err(error) => return Err(error),
            }
            if conn.cmd_str(&["DBSIZE"]).await?.as_int() == Some(0) {
                pairs.push(Pair { db: *db, beside });
                break;
            }
        }
    }
    conn.cmd_str(&["SELECT", "0"]).await?;
    Ok((pairs.len() == involved.len()).then_some(pairs))
}

/// Empties the databases whose mark says that they hold this; says which.
pub(super) async fn empty_marked(conn: &mut Conn, placement: &Placement, holds: Holds) -> Result<Vec<u64>, RedisError> {
    let mut emptied = Vec::new();
    for pair in &placement.pairs {
        conn.cmd_str(&["SELECT", &pair.beside.to_string()]).await?;
        if placement.holds(&conn.cmd_str(&["GET", MARK]).await?) == Some(holds) {
            conn.cmd_str(&["FLUSHDB", "ASYNC"]).await?;
            emptied.push(pair.beside);
        }
    }
    conn.cmd_str(&["SELECT", "0"]).await?;
    Ok(emptied)
}

/// What was found of a restore beside the old data whose process has died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remains {
    /// Nothing had been swapped: the target holds its old data, and what was loaded beside has been removed.
    NotSwapped,
    /// The databases had been swapped, and the old data has been dropped.
    Swapped,
    /// The databases had been swapped and nobody had looked at that moment yet: the old data is still in these.
    Unjudged(Vec<Pair>),
}

/// Removes what a restore beside the old data has left, as far as it carries that restore's mark.
///
/// Without a grant nothing is removed:
///
/// ```
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, replay::beside::{Placement, remove}}};
/// async fn recover(grant: Grant<RollBack>, conn: &mut Conn, placement: &Placement) {
///     let _ = remove(grant, conn, placement).await;
/// }
/// ```
///
/// ```compile_fail,E0061
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, replay::beside::{Placement, remove}}};
/// async fn recover(conn: &mut Conn, placement: &Placement) {
///     let _ = remove(conn, placement).await;
/// }
/// ```
///
/// # Errors
/// What the connection or the server refused: not all has been removed.
pub async fn remove(grant: Grant<RollBack>, conn: &mut Conn, placement: &Placement) -> Result<Remains, RedisError> {
    tracing::debug!(instance = grant.instance_id(), "removes what was loaded beside");
    empty_marked(conn, placement, Holds::New).await?;
    let dropped = empty_marked(conn, placement, Holds::Dropped).await?;
    let mut unjudged = Vec::new();
    for pair in &placement.pairs {
        conn.cmd_str(&["SELECT", &pair.beside.to_string()]).await?;
        if placement.holds(&conn.cmd_str(&["GET", MARK]).await?) == Some(Holds::Old) {
            unjudged.push(*pair);
        }
    }
    conn.cmd_str(&["SELECT", "0"]).await?;
    Ok(match (unjudged.is_empty(), dropped.is_empty()) {
        (false, _) => Remains::Unjudged(unjudged),
        (true, false) => Remains::Swapped,
        (true, true) => Remains::NotSwapped,
    })
}
