//! Emptying a target before a restore by commands in place: the one step of that way which cannot be undone.
//!
//! It must not begin where a step behind it would be refused, and it compares the server in the very command that destroys, where
//! the server runs scripts; of a plan that told of no writes, that not one came in between.

use super::Coming;
use super::partial;
use super::transaction::{Failed, run};
use crate::guard::facts::rights::Right;
use crate::guard::plan::changed;
use crate::guard::room::fits_beside;
use crate::model::fault::Fault;
use crate::model::text::bytes;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::{ServerFacts, field, info};
use crate::redis::moment::{CHANGES, Changes, Look, Moment};
use crate::redis::prefix::ErrorPrefix;
use crate::redis::replay::ReplayReport;
use crate::redis::resp::Value;
use crate::redis::rights::{self, Asked, Need, Probing};
use std::time::Duration;

/// Looks at a target that is another at each comparison. The last of them compares the identity alone, if the plan told of writes: what
/// the caller's look lets pass has been let pass by then. Else it is not emptied.
const LOOKS: u32 = 6;

/// Time between two looks at a server that does not tell whether data was changed: not at all, or not in the second in which it has saved.
const UNTIL_IT_TELLS: Duration = Duration::from_millis(300);

/// Compares, then empties or refuses, in one command. An empty argument is not compared; the last one names the fields whose values the
/// one before it holds. Gives the server's position right before it was emptied.
const EMPTY_IF: &str = "if redis.replicate_commands then redis.replicate_commands() end
local function field(text, name) return string.match(text, name .. ':([^\\r\\n]*)') or '' end
local server, replication = redis.call('INFO', 'server'), redis.call('INFO', 'replication')
local found = {field(server, 'run_id'), field(replication, 'master_replid'), field(replication, 'role'),
    field(replication, 'master_repl_offset')}
if ARGV[5] ~= '' then
    local persistence, changes = redis.call('INFO', 'persistence'), {}
    for name in string.gmatch(ARGV[6], '[^ ]+') do changes[#changes + 1] = field(persistence, name) end
    found[5] = table.concat(changes, ' ')
end
for i = 1, 5 do if ARGV[i] ~= '' and ARGV[i] ~= found[i] then return 0 end end
redis.call('FLUSHALL', 'SYNC')
return found[4]";

/// Deletes all keys and functions, if the last look at the server lets it. `coming`: what the server must take behind that. `own`: write
/// commands that it has counted of this restore.
///
/// # Errors
/// What was refused, as itself, while nothing has been deleted; [`RedisError::Replay`] from then on.
pub(super) async fn everything(
    conn: &mut Conn,
    look: Option<&mut dyn Look>,
    coming: Coming,
    own: u64,
) -> Result<(), RedisError> {
    let ServerFacts { libraries, maxmemory, .. } = ServerFacts::from_info(&info(conn, Some("memory")).await?);
    if !fits_beside(coming.memory, 0, maxmemory, None) {
        return Err(RedisError::Withheld { fault: no_room(coming.memory, maxmemory) });
    }
    let mut needs = rights::IN_PLACE.to_vec();
    needs.extend((libraries > 0).then_some(rights::DELETE_FUNCTIONS));
    needs.extend((coming.functions > 0).then_some(rights::LOAD_FUNCTIONS));
    let own = own + all_granted(conn, &needs).await?;
    match look {
        None => flush(conn).await?,
        Some(look) => flush_if(conn, look, own).await?,
    }
    if libraries == 0 {
        return Ok(());
    }
    let half_deleted = |error: RedisError| partial(&ReplayReport::default(), 0, vec![error.to_string()]);
    conn.cmd_str(&["FUNCTION", "FLUSH", "SYNC"]).await.map(|_| ()).map_err(half_deleted)
}

/// What is refused now would be refused when the target is empty. How many write commands the server has counted of asking.
pub(super) async fn all_granted(conn: &mut Conn, needs: &[Need]) -> Result<u64, RedisError> {
    let user = rights::whoami(conn).await?.unwrap_or_else(|| "default".to_owned());
    let Asked { steps, counted } = rights::ask(conn, &user, needs, Probing::Counted).await?;
    let Some(step) = steps.into_iter().find(|s| !matches!(s.right, Right::Granted | Right::Unknown)) else {
        return Ok(counted);
    };
    let command = step.rule.trim_start_matches('+').to_ascii_uppercase().replace('|', " ");
    Err(match step.right {
        Right::Refused(message) => RedisError::Server { command, prefix: ErrorPrefix::Other, message },
        _ => RedisError::Denied {
            command,
            message: "found out without running it".to_owned(),
            hint: format!("give the user the right: {}", step.rule),
        },
    })
}

async fn flush(conn: &mut Conn) -> Result<(), RedisError> {
    match conn.cmd_str(&["FLUSHALL", "SYNC"]).await {
        Ok(done) if done.as_str() == Some("OK") => Ok(()),
        Ok(_) => Err(perhaps_emptied(&conn.protocol("FLUSHALL was not answered OK"))),
        // A refused FLUSHALL has deleted nothing.
        Err(error) if error.is_reply() => Err(error),
        Err(error) => Err(perhaps_emptied(&error)),
    }
}

/// The error of a command that empties the server, and of whose end nothing is known.
fn perhaps_emptied(error: &RedisError) -> RedisError {
    partial(&ReplayReport::default(), 0, vec![error.to_string()])
}

/// Deletes all keys without comparing: the look was right before, and that is as near as it gets. Where there are transactions, the server
/// says in that one where its old data ended.
async fn flush_and_cut(conn: &mut Conn, look: &mut dyn Look) -> Result<(), RedisError> {
    let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    let offset = match run(conn, &[words(&["INFO", "replication"]), words(&["FLUSHALL", "SYNC"])]).await {
        Ok(replies) => match replies.at(1) {
            Some(Value::Error(text)) => return Err(RedisError::from_reply(conn.label(), "FLUSHALL", text)),
            Some(done) if done.as_str() == Some("OK") => {
                Ok(replies.text(0).and_then(|text| field(&text, "master_repl_offset")?.parse().ok()))
            }
            _ => Err(perhaps_emptied(&conn.protocol("FLUSHALL was not answered OK"))),
        },
        // Nothing of it has been run.
        Err(Failed { error, perhaps_run: false }) if error.is_reply() => match flush(conn).await {
            Err(error) if error.is_reply() => return Err(error),
            flushed => flushed.map(|()| None),
        },
        Err(Failed { error, perhaps_run: false }) => return Err(error),
        Err(Failed { error, .. }) => Err(perhaps_emptied(&error)),
    };
    // Where the server may be empty, what was written until then must not go either.
    look.cut(*offset.as_ref().unwrap_or(&None)).await;
    offset.map(|_| ())
}

async fn flush_if(conn: &mut Conn, look: &mut dyn Look, own: u64) -> Result<(), RedisError> {
    look.hold().await;
    for left in (0..LOOKS).rev() {
        let moment = Moment::read(conn, own).await?;
        let held = if moment.master { look.at(&moment).await } else { Err(no_master()) };
        held.map_err(|fault| RedisError::Withheld { fault })?;
        let (offset, changes) = match moment.changes {
            _ if left == 0 && look.allows_writes() => (String::new(), String::new()),
            // The position moves by itself too, and a script may write beside it; where the server tells of changes, these are what counts.
            Changes::Are(changes) if !look.allows_writes() => (String::new(), changes),
            Changes::NotNow if !look.allows_writes() => {
                tokio::time::sleep(UNTIL_IT_TELLS).await;
                continue;
            }
            _ => (moment.offset.to_string(), String::new()),
        };
        let (run_id, replid, told) = (&moment.run_id, &moment.replid, !changes.is_empty());
        let args = ["EVAL", EMPTY_IF, "0", run_id, replid, "master", &offset, &changes, &CHANGES.join(" ")];
        match conn.cmd_str(&args).await {
            Ok(Value::Bulk(offset)) => {
                look.cut(std::str::from_utf8(&offset).ok().and_then(|offset| offset.parse().ok())).await;
                return Ok(());
            }
            // The server has moved on between the look and the comparison.
            Ok(_) if told || look.allows_writes() => {}
            Ok(_) => tokio::time::sleep(UNTIL_IT_TELLS).await,
            // No scripts here.
            Err(RedisError::Denied { .. } | RedisError::Server { prefix: ErrorPrefix::UnknownCommand, .. }) => {
                return flush_and_cut(conn, look).await;
            }
            // A script that failed, or was not run, has not got past its FLUSHALL.
            Err(error) if error.is_reply() => return Err(error),
            Err(error) => {
                // The server may be empty, and what was written until then must not go either.
                look.cut(None).await;
                return Err(perhaps_emptied(&error));
            }
        }
    }
    Err(RedisError::Withheld { fault: if look.allows_writes() { no_master() } else { not_shown() } })
}

/// The fault of a server that would refuse, or evict, some of what is to come.
fn no_room(need: u64, maxmemory: u64) -> Fault {
    changed(format!(
        "the target was not touched: what it is to hold needs about {}, and maxmemory is {} by now",
        bytes(need),
        bytes(maxmemory)
    ))
}

/// The fault of a server of which it could not be shown that nothing is written to it.
fn not_shown() -> Fault {
    changed(format!(
        "the target was not touched: the plan told of no write traffic, and in {LOOKS} looks it was never what it had been a moment before"
    ))
}

/// The fault of a server that is another at the moment of the cutover.
pub(super) fn no_master() -> Fault {
    changed("the target was not touched: it has become a replica, or another server took its place")
}
