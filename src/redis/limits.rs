//! A server's own limits, as far as its user may read them.
//!
//! It must not change anything, and it must not guess: what cannot be read is `None`, and the caller says so.

use super::conn::Conn;
use super::error::RedisError;
use super::settings;

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
