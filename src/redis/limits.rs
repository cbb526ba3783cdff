//! A server's own limits and what it holds beside keys, as far as its user may read them.
//!
//! It must not change anything, and it must not guess: what cannot be read is `None`, and the caller says so.

use super::conn::Conn;
use super::error::RedisError;
use super::resp::Value;
use super::settings;
use crate::model::text::clean_to;

/// The limits that decide what a server takes by commands, and how it keeps what it loads. `None`: it could not be read, or this
/// version has no such setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// `proto-max-bulk-len`: bytes of the longest argument.
    pub bulk: Option<u64>,
    /// `client-query-buffer-limit`: bytes that a client's commands may take before it is cut off.
    pub query_buffer: Option<u64>,
    /// `hash-max-listpack-entries`: fields up to which a hash stays packed.
    pub packed_hash: Option<u64>,
    /// `zset-max-listpack-entries`: members up to which a sorted set stays packed.
    pub packed_zset: Option<u64>,
    /// `set-max-listpack-entries`: members up to which a set of any text stays packed.
    pub packed_set: Option<u64>,
    /// `set-max-intset-entries`: members up to which a set of numbers stays packed.
    pub packed_integers: Option<u64>,
}

/// Most libraries that are named.
const LIBRARIES_NAMED: usize = 20;
/// Characters of a library's name that are shown.
const LIBRARY_NAME_MAX: usize = 40;

/// Reads the limits.
///
/// # Errors
/// What broke on the way.
pub async fn read(conn: &mut Conn) -> Result<Limits, RedisError> {
    Ok(Limits {
        bulk: number(conn, &["proto-max-bulk-len"]).await?,
        query_buffer: number(conn, &["client-query-buffer-limit"]).await?,
        packed_hash: number(conn, &["hash-max-listpack-entries", "hash-max-ziplist-entries"]).await?,
        packed_zset: number(conn, &["zset-max-listpack-entries", "zset-max-ziplist-entries"]).await?,
        packed_set: number(conn, &["set-max-listpack-entries"]).await?,
        packed_integers: number(conn, &["set-max-intset-entries"]).await?,
    })
}

/// The value of the first of these names that the server knows.
async fn number(conn: &mut Conn, names: &[&str]) -> Result<Option<u64>, RedisError> {
    for name in names {
        match settings::get(conn, name).await {
            Ok(Some(value)) => return Ok(value.parse().ok()),
            Ok(None) => {}
            Err(RedisError::Denied { .. } | RedisError::Server { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Names of the server's function libraries, cleaned, at most twenty; empty where it has none or the user may not list them.
///
/// # Errors
/// What broke on the way.
pub async fn library_names(conn: &mut Conn) -> Result<Vec<String>, RedisError> {
    let list = match conn.cmd_str(&["FUNCTION", "LIST"]).await {
        Ok(list) => list,
        Err(RedisError::Denied { .. } | RedisError::Server { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let name = |library: &Value| {
        library.as_array()?.chunks(2).find_map(|pair| match pair {
            [key, value] if key.as_str() == Some("library_name") => {
                value.as_str().map(|name| clean_to(name, LIBRARY_NAME_MAX))
            }
            _ => None,
        })
    };
    let mut names: Vec<String> = list.as_array().unwrap_or_default().iter().filter_map(name).collect();
    names.sort_unstable();
    names.truncate(LIBRARIES_NAMED);
    Ok(names)
}
