//! The server's number of one of our connections, by which another connection ends it: what the server has received on the first and not
//! carried out does not come any more. It must not be used on a number of another process of that server.

use super::conn::Conn;
use super::error::RedisError;

/// The server's number of a connection; `None` where it does not tell.
///
/// # Errors
/// The connection is lost.
pub async fn number(conn: &mut Conn) -> Result<Option<i64>, RedisError> {
    match conn.cmd_str(&["CLIENT", "ID"]).await {
        Ok(id) => Ok(id.as_int()),
        Err(RedisError::Denied { .. } | RedisError::Server { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has the server end a connection of ours, if it lets us; one that has ended is none.
///
/// # Errors
/// The connection that asks is lost.
pub async fn end(conn: &mut Conn, number: i64) -> Result<(), RedisError> {
    match conn.cmd_str(&["CLIENT", "KILL", "ID", &number.to_string()]).await {
        Ok(_) | Err(RedisError::Denied { .. } | RedisError::Server { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
