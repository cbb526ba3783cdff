//! Which commands a user may run on an instance, found out without running them.
//!
//! It must not change anything: `ACL DRYRUN` judges a command and does not run it, and a command that is queued behind `MULTI` and
//! discarded is judged by the server that would run it. Nothing here sends `EXEC`.

use super::conn::Conn;
use super::error::RedisError;
use super::prefix::ErrorPrefix;
use super::resp::Value;
use crate::guard::facts::rights::{Right, StepRight};

/// A right that is needed: the ACL rule, and the command as it would be sent.
pub type Need = (&'static str, &'static [&'static str]);

/// A key that only the pattern `~*`, or one as wide, lets a user write.
const ANY_KEY: &str = "\u{1}tair-backup-mcp\u{1}any";

/// The rights that a capture needs.
pub const CAPTURE: [Need; 3] =
    [("+psync", &["PSYNC", "?", "-1"]), ("+replconf", &["REPLCONF", "capa", "eof"]), ("+ping", &["PING"])];

/// The rights that the plan of a restore needs, whatever its method.
pub const PLAN: [Need; 3] =
    [("+info", &["INFO"]), ("+command", &["COMMAND", "INFO", "get"]), ("+select", &["SELECT", "0"])];

/// The further rights that a restore by replication needs.
pub const REPLICATION: [Need; 4] = [
    ("+config|get", &["CONFIG", "GET", "repl-diskless-load"]),
    ("+config|set", &["CONFIG", "SET", "repl-diskless-load", "swapdb"]),
    ("+replicaof", &["REPLICAOF", "127.0.0.1", "1"]),
    ("+replicaof", &["REPLICAOF", "NO", "ONE"]),
];

/// The right to write any key as a restore by commands does.
pub const WRITE_KEYS: Need = ("+restore ~*", &["RESTORE", ANY_KEY, "0", "", "REPLACE", "ABSTTL"]);

/// The further rights that a restore by commands needs which empties its target first.
pub const IN_PLACE: [Need; 2] = [("+flushall", &["FLUSHALL", "SYNC"]), WRITE_KEYS];

/// The further rights where function libraries have to be deleted.
pub const DELETE_FUNCTIONS: Need = ("+function|flush", &["FUNCTION", "FLUSH", "SYNC"]);

/// The further rights where the set has function libraries.
pub const LOAD_FUNCTIONS: Need = ("+function|load", &["FUNCTION", "LOAD", "REPLACE", "#!lua name=probe\n"]);

/// The further rights that a restore by commands needs which loads beside the old data and cuts over.
pub const BESIDE: [Need; 8] = [
    ("+multi", &["MULTI"]),
    ("+exec", &["EXEC"]),
    ("+dbsize", &["DBSIZE"]),
    WRITE_KEYS,
    ("+set ~*", &["SET", ANY_KEY, "", "NX"]),
    ("+get ~*", &["GET", ANY_KEY]),
    ("+swapdb", &["SWAPDB", "0", "1"]),
    ("+flushdb", &["FLUSHDB", "SYNC"]),
];

/// The further rights of that way on a server that has functions.
pub const BESIDE_FUNCTIONS: [Need; 2] =
    [("+function|dump", &["FUNCTION", "DUMP"]), ("+function|restore", &["FUNCTION", "RESTORE", "", "FLUSH"])];

/// Commands without an effect on a connection that sends no PSYNC.
const HARMLESS: [&str; 3] = ["+ping", "+replconf", "+info"];
/// What a transaction does not take, or what ends it.
const NOT_QUEUED: [&str; 4] = ["+psync", "+replconf", "+multi", "+exec"];

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

/// Checks each right, in order; `user` is the one that the connection is logged in as.
///
/// # Errors
/// What broke on the way.
pub async fn ask(conn: &mut Conn, user: &str, needs: &[Need]) -> Result<Vec<StepRight>, RedisError> {
    let mut found = Vec::with_capacity(needs.len());
    for (rule, command) in needs {
        let mut right = dry_run(conn, user, command).await?;
        if right == Right::Unknown && HARMLESS.contains(rule) {
            right = match judged(conn.cmd_str(command).await)? {
                // Who may not write because the server cannot save may still send it.
                Right::Refused(_) => Right::Granted,
                right => right,
            };
        }
        found.push(StepRight { rule, right });
    }
    queue(conn, needs, &mut found).await?;
    Ok(found)
}

/// What `ACL DRYRUN` says of a command; unknown where the server has none or the user may not ask.
async fn dry_run(conn: &mut Conn, user: &str, command: &[&str]) -> Result<Right, RedisError> {
    let dry: Vec<&str> = ["ACL", "DRYRUN", user].iter().chain(command).copied().collect();
    match conn.cmd_str(&dry).await {
        Ok(Value::Simple(_)) => Ok(Right::Granted),
        // The text of the reply names the right that is lacking.
        Ok(_) => Ok(Right::Denied),
        Err(RedisError::Denied { .. } | RedisError::Server { .. }) => Ok(Right::Unknown),
        Err(error) => Err(error),
    }
}

/// Queues in a transaction what is not denied already, and discards it: the server judges rights, keys and its own state, such as
/// a disk that is full, and runs nothing.
async fn queue(conn: &mut Conn, needs: &[Need], found: &mut [StepRight]) -> Result<(), RedisError> {
    match conn.cmd_str(&["MULTI"]).await {
        Ok(Value::Simple(ok)) if ok == "OK" => {}
        // Whoever does not say OK might run what comes next.
        Ok(_) => return Ok(()),
        Err(RedisError::Denied { .. }) => {
            denied(found, "+multi", Right::Denied);
            return Ok(());
        }
        Err(RedisError::Server { prefix: ErrorPrefix::UnknownCommand, .. }) => {
            denied(found, "+multi", Right::Absent);
            return Ok(());
        }
        Err(RedisError::Server { .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut queued = Ok(());
    for ((rule, command), step) in needs.iter().zip(found.iter_mut()) {
        if NOT_QUEUED.contains(rule) || !matches!(step.right, Right::Granted | Right::Unknown) {
            continue;
        }
        match judged(conn.cmd_str(command).await) {
            // What a server will not queue for another reason is left as the dry run judged it.
            Ok(Right::Unknown) => {}
            Ok(right) => step.right = right,
            Err(error) => {
                queued = Err(error);
                break;
            }
        }
    }
    match conn.cmd_str(&["DISCARD"]).await {
        Ok(_) => {
            denied(found, "+multi", Right::Granted);
            queued
        }
        // A transaction that was begun and cannot be left would swallow all that follows: the connection is of no more use.
        Err(error) => queued.and(Err(error)),
    }
}

fn denied(found: &mut [StepRight], rule: &str, right: Right) {
    for step in found.iter_mut().filter(|s| s.rule == rule) {
        step.right = right.clone();
    }
}

/// What the reply to a command says about the right to run it.
fn judged(reply: Result<Value, RedisError>) -> Result<Right, RedisError> {
    use ErrorPrefix as P;
    match reply {
        Ok(_) => Ok(Right::Granted),
        Err(RedisError::Denied { .. }) => Ok(Right::Denied),
        Err(RedisError::Server { prefix: P::UnknownCommand, .. }) => Ok(Right::Absent),
        // A slot of another node, or a memory that is full: rights are judged before either, and both are checks of their own.
        Err(RedisError::Server { prefix: P::Moved | P::Ask | P::Oom, .. }) => Ok(Right::Granted),
        Err(RedisError::Server {
            prefix: P::Misconf | P::ReadOnly | P::NoReplicas | P::ClusterDown | P::MasterDown | P::Busy,
            message,
            ..
        }) => Ok(Right::Refused(message)),
        Err(RedisError::Server { .. }) => Ok(Right::Unknown),
        Err(error) => Err(error),
    }
}
