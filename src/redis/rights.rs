//! Which commands a user may run on an instance, found out without running them.
//!
//! It must not change anything: `ACL DRYRUN` judges a command and does not run it, and where a server or a user lacks that,
//! only commands without an effect are tried.

use super::conn::Conn;
use super::error::RedisError;
use super::prefix::ErrorPrefix;
use super::resp::Value;

/// Whether a user has a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// The user has the right.
    Granted,
    /// The user does not have the right.
    Denied,
    /// The server could not tell.
    Unknown,
}

/// A right that is needed: a command as an ACL rule names it, and as it would be sent.
pub type Need = (&'static str, &'static [&'static str]);

/// The rights that a capture needs.
pub const CAPTURE: [Need; 3] =
    [("psync", &["PSYNC", "?", "-1"]), ("replconf", &["REPLCONF", "capa", "eof"]), ("ping", &["PING"])];

/// The rights that the plan of a restore needs, whatever its method.
pub const PLAN: [Need; 3] =
    [("info", &["INFO"]), ("command", &["COMMAND", "INFO", "get"]), ("select", &["SELECT", "0"])];

/// The further rights that a restore by replication needs.
pub const REPLICATION: [Need; 3] = [
    ("config|get", &["CONFIG", "GET", "maxmemory"]),
    ("config|set", &["CONFIG", "SET", "repl-diskless-load", "swapdb"]),
    ("replicaof", &["REPLICAOF", "NO", "ONE"]),
];

/// The further rights that a restore by commands needs.
pub const COMMANDS: [Need; 3] = [
    ("flushall", &["FLUSHALL", "SYNC"]),
    ("restore", &["RESTORE", "tair-backup-mcp", "0", ""]),
    ("function", &["FUNCTION", "FLUSH", "SYNC"]),
];

/// Commands without an effect on a connection that sends no PSYNC.
const HARMLESS: [&str; 3] = ["ping", "replconf", "info"];

/// The user that this connection is logged in as; `None` where the server does not tell.
///
/// # Errors
/// What broke on the way.
pub async fn whoami(conn: &mut Conn) -> Result<Option<String>, RedisError> {
    match conn.cmd_str(&["ACL", "WHOAMI"]).await {
        Ok(name) => Ok(name.as_str().map(str::to_owned)),
        Err(RedisError::Denied { .. } | RedisError::Server { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks each right; `user` is the one that the connection is logged in as.
///
/// # Errors
/// What broke on the way.
pub async fn ask(conn: &mut Conn, user: &str, needs: &[Need]) -> Result<Vec<(&'static str, Right)>, RedisError> {
    let mut found = Vec::with_capacity(needs.len());
    for (rule, command) in needs {
        let mut dry = vec!["ACL", "DRYRUN", user];
        dry.extend(*command);
        let right = match conn.cmd_str(&dry).await {
            Ok(Value::Simple(_)) => Right::Granted,
            // The text of the reply names the right that is lacking.
            Ok(_) => Right::Denied,
            Err(RedisError::Denied { .. } | RedisError::Server { .. }) if HARMLESS.contains(rule) => {
                match conn.cmd_str(command).await {
                    // Who may not write for the server cannot save may still send it.
                    Ok(_) | Err(RedisError::Server { prefix: ErrorPrefix::Misconf, .. }) => Right::Granted,
                    Err(RedisError::Denied { .. }) => Right::Denied,
                    Err(RedisError::Server { .. }) => Right::Unknown,
                    Err(error) => return Err(error),
                }
            }
            Err(RedisError::Denied { .. } | RedisError::Server { .. }) => Right::Unknown,
            Err(error) => return Err(error),
        };
        found.push((*rule, right));
    }
    Ok(found)
}
