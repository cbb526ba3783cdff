//! Some of the keys of a live server, found by SCAN, database by database.
//!
//! It must not change anything, nor match on the one thread that serves. A key that is there from the beginning to the end is given at least once, and may be given more often.

use super::names::KnownNames;
use crate::model::key_filter::matcher::{KeyMatcher, PatternCounts};
use crate::model::slots::HeldSlots;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::{ServerFacts, info};
use crate::redis::resp::Value;
use crate::redis::slots::could_hold;
use std::sync::Arc;
use std::time::Instant;

/// Keys that a server looks at in one go: a thousandth of a second in which it serves nobody else.
const LOOKED_AT: &str = "1000";

/// Goes through the keys of a server, a few hundred at a time.
#[derive(Debug)]
pub struct Scan {
    matcher: Arc<KeyMatcher>,
    /// Databases that are still to come, the next one last.
    databases: Vec<u64>,
    db: Option<u64>,
    cursor: Vec<u8>,
}

/// A key that matches, by its name in the target, and the places in the list of the expressions that match it.
pub type Met = (Vec<u8>, Vec<usize>);

impl Scan {
    /// Begins with the databases that hold keys now.
    ///
    /// # Errors
    /// What the connection or the server refused.
    pub async fn begin(conn: &mut Conn, matcher: &Arc<KeyMatcher>) -> Result<Self, RedisError> {
        let keyspace = ServerFacts::from_info(&info(conn, Some("keyspace")).await?).keyspace;
        Ok(Self {
            matcher: Arc::clone(matcher),
            databases: keyspace.into_keys().rev().collect(),
            db: None,
            cursor: b"0".to_vec(),
        })
    }

    /// The next keys that match, and their database; `None` behind the last one, where the connection is in
    /// database 0 again.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn next(&mut self, conn: &mut Conn) -> Result<Option<(u64, Vec<Met>)>, RedisError> {
        let db = match self.db {
            Some(db) => db,
            None => {
                let Some(db) = self.databases.pop() else {
                    conn.cmd_str(&["SELECT", "0"]).await?;
                    return Ok(None);
                };
                conn.cmd_str(&["SELECT", &db.to_string()]).await?;
                db
            }
        };
        let reply = conn.cmd(&[b"SCAN", &self.cursor, b"COUNT", LOOKED_AT.as_bytes()]).await?;
        let Value::Array(mut parts) = reply else { return Err(conn.protocol("SCAN gave no list")) };
        let (Some(Value::Array(keys)), Some(Value::Bulk(cursor)), None) = (parts.pop(), parts.pop(), parts.pop())
        else {
            return Err(conn.protocol("SCAN gave something else than a cursor and keys"));
        };
        self.db = (cursor != b"0").then_some(db);
        self.cursor = cursor;
        let matcher = Arc::clone(&self.matcher);
        let met = move || {
            let met = |key| {
                let Value::Bulk(key) = key else { return None };
                let items = matcher.items(key.strip_prefix(matcher.prefix())?);
                (!items.is_empty()).then_some((key, items))
            };
            keys.into_iter().filter_map(met).collect()
        };
        let met = tokio::task::spawn_blocking(met).await;
        Ok(Some((db, met.map_err(|_| RedisError::Supply { reason: "the matching thread died".to_owned() })?)))
    }
}

/// What a server has of some of the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// Keys by the expression that matches them.
    pub counts: PatternCounts,
    /// Keys of them that the source has as well.
    pub shared: u64,
    /// Keys of them that are removed.
    pub removed: u64,
}

/// Counts some of the keys of a server, of which those in the slots `removed_in` are removed that the source does not have; `None` where that takes longer than until the deadline.
///
/// # Errors
/// What the connection, the server or the file of the names refused.
pub async fn count(
    conn: &mut Conn,
    matcher: &Arc<KeyMatcher>,
    source: &KnownNames,
    removed_in: Option<&HeldSlots>,
    deadline: Instant,
) -> Result<Option<Present>, RedisError> {
    let mut scan = Scan::begin(conn, matcher).await?;
    let mut present = Present::default();
    while let Some((db, keys)) = scan.next(conn).await? {
        for (key, items) in keys {
            present.counts.add(&items);
            let shared = source.has(db, &key).map_err(names_lost)?;
            present.shared += u64::from(shared);
            present.removed += u64::from(!shared && removed_in.is_some_and(|held| could_hold(held, &key)));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
    }
    Ok(Some(present))
}

/// The fault of names that cannot be read back.
pub(in crate::redis) fn names_lost(e: std::io::Error) -> RedisError {
    RedisError::Supply { reason: format!("the names of the keys could not be kept: {e}") }
}
