//! Which commands a user may run on an instance, found out without running them.
//!
//! It must not change anything: `ACL DRYRUN` judges a command and does not run it; a command that is queued behind `MULTI` and
//! discarded is judged by the server that would run it; and where neither is allowed, a form of the command is sent that no server
//! carries out. Nothing here sends `EXEC`, and what deletes is sent in no form.

use super::conn::Conn;
use super::error::RedisError;
use super::prefix::ErrorPrefix;
use super::resp::Value;
use crate::guard::facts::rights::{Right, StepRight};

/// A right that is needed.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The ACL rule.
    pub rule: &'static str,
    /// The command as it would be sent.
    command: &'static [&'static str],
    /// The command in a form that no server carries out, or that has no effect; `None` where there is none that is safe to send, as
    /// of what deletes.
    probe: Option<&'static [&'static str]>,
    /// Whether the server counts that form as a write command, though it changes nothing.
    counted: bool,
}

/// Whether commands may be sent that change nothing and that the server counts as writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probing {
    /// None: somebody compares the server's counters.
    Uncounted,
    /// They may: the caller takes them off.
    Counted,
}

/// The answers, and what asking has added to the server's counter of write commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Each right, in the order of the needs.
    pub steps: Vec<StepRight>,
    /// Write commands that the server has counted.
    pub counted: u64,
}

const fn need(rule: &'static str, command: &'static [&'static str]) -> Need {
    Need { rule, command, probe: None, counted: false }
}

const fn counted(rule: &'static str, command: &'static [&'static str], probe: &'static [&'static str]) -> Need {
    Need { rule, command, probe: Some(probe), counted: true }
}

const fn probed(rule: &'static str, command: &'static [&'static str], probe: &'static [&'static str]) -> Need {
    Need { rule, command, probe: Some(probe), counted: false }
}

/// For a command that has no effect.
const fn harmless(rule: &'static str, command: &'static [&'static str]) -> Need {
    Need { rule, command, probe: Some(command), counted: false }
}

/// A key that only the pattern `~*`, or one as wide, lets a user write.
const ANY_KEY: &str = "\u{1}tair-backup-mcp\u{1}any";

/// The rights that a capture needs.
pub const CAPTURE: [Need; 3] = [
    need("+psync", &["PSYNC", "?", "-1"]),
    harmless("+replconf", &["REPLCONF", "capa", "eof"]),
    harmless("+ping", &["PING"]),
];

/// The rights that the plan of a restore needs, whatever its method.
pub const PLAN: [Need; 3] = [
    harmless("+info", &["INFO", "server"]),
    harmless("+command", &["COMMAND", "INFO", "get"]),
    harmless("+select", &["SELECT", "0"]),
];

/// The further rights that a restore by replication needs.
pub const REPLICATION: [Need; 3] = [
    harmless("+config|get", &["CONFIG", "GET", "repl-diskless-load"]),
    probed(
        "+config|set",
        &["CONFIG", "SET", "repl-diskless-load", "swapdb"],
        &["CONFIG", "SET", "tair-backup-mcp-no-such-setting", ""],
    ),
    // Nobody is named: whoever watches what is sent must not take the question for the act.
    probed("+replicaof", &["REPLICAOF", "NO", "ONE"], &["REPLICAOF", "NO", "PORT"]),
];

/// The further right where the target has save points: what it holds is saved before it counts as restored.
pub const SAVE: Need = probed("+bgsave", &["BGSAVE"], &["BGSAVE", "tair-backup-mcp"]);

/// The further right where the target keeps an append-only file.
pub const REWRITE: Need = need("+bgrewriteaof", &["BGREWRITEAOF"]);

/// A RESTORE of a payload that is none.
const RESTORE: [&str; 6] = ["RESTORE", ANY_KEY, "0", "", "REPLACE", "ABSTTL"];

/// The right to write any key as a restore by commands does.
pub const WRITE_KEYS: Need = counted("+restore ~*", &RESTORE, &RESTORE);

/// The further rights that a restore of some keys needs.
pub const SOME_KEYS: [Need; 2] = [WRITE_KEYS, harmless("+scan", &["SCAN", "0", "COUNT", "1"])];

/// The further right where keys are removed that were not there then.
pub const REMOVE_KEYS: Need = counted("+unlink ~*", &["UNLINK", ANY_KEY], &["UNLINK", ANY_KEY]);

/// The further rights that a restore by commands needs which empties its target first.
pub const IN_PLACE: [Need; 2] = [need("+flushall", &["FLUSHALL", "SYNC"]), WRITE_KEYS];

/// The further right where function libraries have to be deleted.
pub const DELETE_FUNCTIONS: Need = need("+function|flush", &["FUNCTION", "FLUSH", "SYNC"]);

/// The further right where the set has function libraries.
pub const LOAD_FUNCTIONS: Need =
    counted("+function|load", &["FUNCTION", "LOAD", "REPLACE", "#!lua name=probe\n"], &["FUNCTION", "LOAD", ""]);

/// The further rights that a restore by commands needs which loads beside the old data and cuts over.
pub const BESIDE: [Need; 9] = [
    need("+multi", &["MULTI"]),
    need("+exec", &["EXEC"]),
    harmless("+dbsize", &["DBSIZE"]),
    WRITE_KEYS,
    counted("+set ~*", &["SET", ANY_KEY, "", "NX"], &["SET", ANY_KEY, "", "NX", "XX"]),
    harmless("+get ~*", &["GET", ANY_KEY]),
    counted("+del ~*", &["DEL", ANY_KEY], &["DEL", ANY_KEY]),
    counted("+swapdb", &["SWAPDB", "0", "1"], &["SWAPDB", "0", "none"]),
    need("+flushdb", &["FLUSHDB", "ASYNC"]),
];

/// A FUNCTION RESTORE of a payload that is none.
const FUNCTION_RESTORE: [&str; 4] = ["FUNCTION", "RESTORE", "", "FLUSH"];

/// The further rights of that way where there are function libraries, in the set or in the target.
pub const BESIDE_FUNCTIONS: [Need; 3] = [
    harmless("+function|dump", &["FUNCTION", "DUMP"]),
    counted("+function|restore", &FUNCTION_RESTORE, &FUNCTION_RESTORE),
    DELETE_FUNCTIONS,
];

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
pub async fn ask(conn: &mut Conn, user: &str, needs: &[Need], probing: Probing) -> Result<Asked, RedisError> {
    let mut steps = Vec::with_capacity(needs.len());
    for Need { rule, command, .. } in needs {
        steps.push(StepRight { rule, right: dry_run(conn, user, command).await? });
    }
    queue(conn, needs, &mut steps).await?;
    let mut counted = 0;
    for (need, step) in needs.iter().zip(&mut steps) {
        let (Right::Unknown, Some(probe)) = (&step.right, need.probe) else { continue };
        if need.counted && probing == Probing::Uncounted {
            continue;
        }
        let reply = conn.cmd_str(probe).await;
        // A command that was rejected for its right, or for want of memory or place, has not been called.
        let called = matches!(&reply, Ok(_) | Err(RedisError::Server { prefix: ErrorPrefix::Err, .. }));
        counted += u64::from(need.counted && called);
        step.right = match judged(reply)? {
            // The server had something to say about the command's words: rights are judged before those.
            Right::Unknown => Right::Granted,
            right => right,
        };
    }
    Ok(Asked { steps, counted })
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
    for (Need { rule, command, .. }, step) in needs.iter().zip(found.iter_mut()) {
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
            prefix: P::Misconf | P::ReadOnly | P::NoReplicas | P::ClusterDown, message, ..
        }) => Ok(Right::Refused(message)),
        Err(RedisError::NoReplication { .. }) => Ok(Right::Absent),
        Err(error @ (RedisError::MasterDown { .. } | RedisError::Busy { .. })) => Ok(Right::Refused(error.to_string())),
        Err(RedisError::Server { .. }) => Ok(Right::Unknown),
        Err(error) => Err(error),
    }
}
