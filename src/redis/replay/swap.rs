//! Restore by commands beside the old data: keys are written into empty databases, and one transaction swaps them with those that
//! they replace, together with the function libraries.
//!
//! It must not write into a database before that one has been proven empty and carries this restore's mark. Old data is dropped only
//! after the moment of the swap was looked at; until then it can be swapped back.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;

use super::beside::{Holds, MARK, Pair, Placement, empty_marked};
use super::encoder::footer;
use super::frame::Frame;
use super::transaction::{Failed, Replies, run, words};
use super::{COMMAND_TIMEOUT, ReplayReport, Run, probe};
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::plan::changed;
use crate::model::fault::Fault;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{ServerFacts, info};
use crate::redis::moment::{Look, Moment, writes_between};
use crate::redis::own_client;
use crate::redis::resp::Value;
use crate::redis::target::TargetState;

/// How long a target may take to be reached once more.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A target whose databases have been swapped, at a moment that held. Its old data may be dropped, and is not yet.
#[derive(Debug)]
pub struct Swapped {
    grant: Grant<Overwrite>,
    /// What was loaded.
    pub report: ReplayReport,
    /// Keys per database, and keys with an expiry, as they were swapped in.
    pub loaded: BTreeMap<u64, (u64, u64)>,
    /// Keys evicted since the target's statistics began, as of that moment.
    pub evicted_keys: u64,
}

impl Swapped {
    /// Drops the old data, of which the databases carry this restore's mark.
    ///
    /// # Errors
    /// [`RedisError::Restore`]: the set is in, and some of the old data is still there.
    pub async fn drop_old(self, conn: &mut Conn, placement: &Placement) -> Result<ReplayReport, RedisError> {
        tracing::debug!(instance = self.grant.instance_id(), "drops the old data");
        empty_marked(conn, placement, Holds::Dropped).await.map(|_| self.report).map_err(|error| RedisError::Restore {
            state: TargetState::Replaced,
            not_rolled_back: Some("old data that was swapped out is still there".to_owned()),
            source: Box::new(error),
        })
    }
}

/// Loads the frames beside the old data, swaps, and looks at the moment of the swap: where it does not hold, swaps back.
///
/// Without a grant nothing is loaded:
///
/// ```
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, endpoint::Endpoint, moment::Look, replay::{beside::Placement, frame::Frame, swap::*}}};
/// async fn restore(grant: Grant<Overwrite>, at: &Endpoint, conn: &mut Conn, place: &Placement, frames: tokio::sync::mpsc::Receiver<Frame>, look: &mut dyn Look) {
///     let _ = load_beside(grant, at, conn, place, frames, look, |_| ()).await;
/// }
/// ```
///
/// ```compile_fail,E0061
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, endpoint::Endpoint, moment::Look, replay::{beside::Placement, frame::Frame, swap::*}}};
/// async fn restore(at: &Endpoint, conn: &mut Conn, place: &Placement, frames: tokio::sync::mpsc::Receiver<Frame>, look: &mut dyn Look) {
///     let _ = load_beside(at, conn, place, frames, look, |_| ()).await;
/// }
/// ```
///
/// # Errors
/// The target has its old data and nothing else, unless the error is [`RedisError::Restore`] with what is left to do.
pub async fn load_beside(
    grant: Grant<Overwrite>,
    endpoint: &Endpoint,
    conn: &mut Conn,
    placement: &Placement,
    mut frames: mpsc::Receiver<Frame>,
    look: &mut dyn Look,
    mut on_progress: impl FnMut(&ReplayReport),
) -> Result<Swapped, RedisError> {
    let Some(Frame::Begin { rdb_version }) = frames.recv().await else {
        return Err(RedisError::Supply {
            reason: "the backup could not be read; the target was not touched".to_owned(),
        });
    };
    tracing::debug!(instance = grant.instance_id(), databases = placement.pairs.len(), "loads beside the old data");
    let own = probe(conn, rdb_version, false).await?;
    conn.set_timeout(COMMAND_TIMEOUT);
    let mut cutover = Cutover {
        placement,
        endpoint,
        client_id: None,
        own,
        evicted: 0,
        libraries: 0,
        old: Vec::new(),
        new: Vec::new(),
    };
    cutover.begin(conn).await?;
    let mut run = Run::default();
    let loaded = tokio::select! {
        loaded = run.all(conn, &mut frames, &mut on_progress) => match loaded {
            Ok(()) if run.failed == 0 => Ok(()),
            Ok(()) => Err(run.beside()),
            Err(error) => {
                run.first.push(error.to_string());
                Err(run.beside())
            }
        },
        // Hours may be left of a load that would be dropped.
        fault = look.in_vain() => Err(RedisError::Withheld { fault }),
    };
    if let Err(error) = loaded {
        // A command may have been sent in part: nothing else can be said on this connection.
        *conn = match cutover.reconnect().await {
            Ok(conn) => conn,
            Err(left) => return Err(not_removed(error, &left)),
        };
        return Err(cutover.withdraw(conn, error).await);
    }
    if let Err(error) = cutover.ready(conn, &mut run, rdb_version).await {
        return Err(cutover.withdraw(conn, error).await);
    }
    let loaded = cutover.swap(conn, look).await?;
    Ok(Swapped { grant, report: run.report, loaded, evicted_keys: cutover.evicted })
}

struct Cutover<'a> {
    placement: &'a Placement,
    /// Where the target is reached once more, if the connection is lost before the swap.
    endpoint: &'a Endpoint,
    /// The server's number of the connection that loads; `None` where it does not tell.
    client_id: Option<i64>,
    /// Write commands that the server has counted of this restore.
    own: u64,
    evicted: u64,
    libraries: u64,
    /// The libraries as they were, as FUNCTION RESTORE takes them; empty for none.
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Cutover<'_> {
    /// Proves that the databases are empty, and marks them.
    async fn begin(&mut self, conn: &mut Conn) -> Result<(), RedisError> {
        self.client_id = own_client::number(conn).await?;
        let before = ServerFacts::from_info(&info(conn, None).await?);
        (self.evicted, self.libraries) = (before.evicted_keys, before.libraries);
        if self.libraries > 0 {
            let Value::Bulk(old) = conn.cmd_str(&["FUNCTION", "DUMP"]).await? else {
                return Err(conn.protocol("FUNCTION DUMP gave no bytes"));
            };
            self.old = old;
        }
        let mark = self.placement.mark(Holds::New);
        let mut commands = Vec::new();
        for pair in &self.placement.pairs {
            commands.push(words(&["SELECT", &pair.beside.to_string()]));
            commands.push(words(&["DBSIZE"]));
            commands.push(words(&["SET", MARK, &mark, "NX"]));
        }
        commands.push(words(&["SELECT", "0"]));
        let replies = run(conn, &commands).await?;
        self.own += self.placement.pairs.len() as u64;
        let taken: Vec<&Pair> = self
            .placement
            .pairs
            .iter()
            .enumerate()
            .filter(|(i, _)| replies.int(i * 3 + 1) != Some(0))
            .map(|(_, p)| p)
            .collect();
        if replies.all_good() && taken.is_empty() {
            return Ok(());
        }
        // Somebody has begun to use one: it is theirs, and the mark goes.
        let mut commands = Vec::new();
        for pair in taken {
            commands.push(words(&["SELECT", &pair.beside.to_string()]));
            commands.push(words(&["DEL", MARK]));
        }
        commands.push(words(&["SELECT", "0"]));
        let unmarked = run(conn, &commands).await;
        let fault = changed("the target was not touched: a database that was empty for the plan is not any more");
        let error = RedisError::Withheld { fault };
        match unmarked {
            Ok(_) => Err(self.withdraw(conn, error).await),
            Err(left) => Err(not_removed(error, &left.error)),
        }
    }

    /// Whether all that was accepted is there, and nothing had to go for it.
    async fn ready(&mut self, conn: &mut Conn, loaded: &mut Run, rdb_version: u16) -> Result<(), RedisError> {
        self.own += loaded.report.keys;
        self.new = std::mem::take(&mut loaded.libraries);
        if !self.new.is_empty() {
            let tail = footer(&self.new, rdb_version);
            self.new.extend_from_slice(&tail);
        }
        let mut there = 0;
        for pair in &self.placement.pairs {
            conn.cmd_str(&["SELECT", &pair.beside.to_string()]).await?;
            let keys = conn.cmd_str(&["DBSIZE"]).await?.as_int().unwrap_or(0);
            there += u64::try_from(keys).unwrap_or(0).saturating_sub(1);
        }
        conn.cmd_str(&["SELECT", "0"]).await?;
        let now = ServerFacts::from_info(&info(conn, Some("stats")).await?);
        let evicted = now.evicted_keys.saturating_sub(self.evicted);
        let less = loaded.report.keys.checked_sub(there);
        let why = if evicted > 0 {
            format!("the target evicted {evicted} keys meanwhile, of its own data or of the set")
        } else if less.is_none_or(|less| less > loaded.may_expire) {
            format!("the target took {} keys and holds {there}", loaded.report.keys)
        } else {
            return Ok(());
        };
        loaded.first.push(why);
        Err(loaded.beside())
    }

    /// Removes what was loaded, for the reason given.
    async fn withdraw(&self, conn: &mut Conn, error: RedisError) -> RedisError {
        match self.remove_new(conn).await {
            Ok(()) => error,
            Err(left) => not_removed(error, &left),
        }
    }

    async fn remove_new(&self, conn: &mut Conn) -> Result<(), RedisError> {
        if conn.is_broken() {
            *conn = self.reconnect().await?;
        }
        empty_marked(conn, self.placement, Holds::New).await.map(|_| ())
    }

    /// A new connection. The server is told to close the first one: what it has received on that and not run must not come after
    /// what is removed.
    async fn reconnect(&self) -> Result<Conn, RedisError> {
        let mut conn = Conn::open(self.endpoint, RECONNECT_TIMEOUT).await?;
        if let Some(id) = self.client_id {
            own_client::end(&mut conn, id).await?;
        }
        conn.set_timeout(COMMAND_TIMEOUT);
        Ok(conn)
    }

    /// Swaps; the keys that were swapped in.
    async fn swap(&self, conn: &mut Conn, look: &mut dyn Look) -> Result<BTreeMap<u64, (u64, u64)>, RedisError> {
        let mut commands: Vec<Vec<Vec<u8>>> = SECTIONS.iter().map(|section| words(&["INFO", section])).collect();
        commands.extend(self.swaps(Holds::Old));
        commands.extend(self.libraries(&self.new));
        look.hold().await;
        let replies = match run(conn, &commands).await {
            Ok(replies) => replies,
            Err(Failed { error, perhaps_run: false }) => return Err(self.withdraw(conn, error).await),
            Err(Failed { error, .. }) => {
                return Err(RedisError::Restore {
                    state: TargetState::Unknown,
                    not_rolled_back: Some("whether the databases were swapped is not known".to_owned()),
                    source: Box::new(error),
                });
            }
        };
        let held = match self.judge(conn, &replies, look).await {
            Ok(()) => self.approve(conn).await,
            Err(error) => Err(error),
        };
        match held {
            Ok(()) => Ok(self.swapped_in(&replies)),
            Err(error) => Err(self.swap_back(conn, &replies, error).await),
        }
    }

    /// The keys of each database right before it was swapped in, without the mark.
    fn swapped_in(&self, replies: &Replies) -> BTreeMap<u64, (u64, u64)> {
        let keyspace = ServerFacts::from_info(&replies.text(5).unwrap_or_default()).keyspace;
        let found = |pair: &Pair| keyspace.get(&pair.beside).map(|k| (k.keys.saturating_sub(1), k.expires));
        self.placement.pairs.iter().map(|pair| (pair.db, found(pair).unwrap_or_default())).collect()
    }

    /// The commands that swap each pair and leave a mark in the database beside.
    fn swaps(&self, leaves: Holds) -> Vec<Vec<Vec<u8>>> {
        let mark = self.placement.mark(leaves);
        let mut commands = Vec::new();
        for Pair { db, beside } in &self.placement.pairs {
            let (db, beside) = (db.to_string(), beside.to_string());
            commands.push(words(&["SELECT", &beside]));
            commands.push(words(&["GET", MARK]));
            commands.push(words(&["DEL", MARK]));
            commands.push(words(&["SWAPDB", &db, &beside]));
            commands.push(words(&["SET", MARK, &mark]));
        }
        commands.push(words(&["SELECT", "0"]));
        commands
    }

    /// The command that puts libraries in place of all that are there.
    fn libraries(&self, payload: &[u8]) -> Option<Vec<Vec<u8>>> {
        if self.libraries == 0 && self.new.is_empty() {
            return None;
        }
        Some(if payload.is_empty() {
            words(&["FUNCTION", "FLUSH", "SYNC"])
        } else {
            vec![b"FUNCTION".to_vec(), b"RESTORE".to_vec(), payload.to_vec(), b"FLUSH".to_vec()]
        })
    }

    /// Whether the moment of the swap was the one that was planned for.
    async fn judge(&self, conn: &mut Conn, replies: &Replies, look: &mut dyn Look) -> Result<(), RedisError> {
        let refused = |why: &str| RedisError::Withheld { fault: changed(format!("the target was not changed: {why}")) };
        let text = |at: usize| replies.text(at).unwrap_or_default();
        let moment = Moment::of(conn, &[&text(0), &text(1), &text(3)], &text(2), self.own).await?;
        let now = ServerFacts::from_info(&format!("{}\r\n{}", text(3), text(4)));
        if !moment.master {
            return Err(refused("it has become a replica"));
        }
        look.at(&moment).await.map_err(|fault| RedisError::Withheld { fault })?;
        if now.evicted_keys != self.evicted {
            return Err(refused("keys were evicted while the set was loaded beside"));
        }
        if now.libraries != self.libraries {
            return Err(refused("its function libraries have changed"));
        }
        let marked = (0..self.placement.pairs.len()).all(|i| {
            replies.at(SECTIONS.len() + i * 5 + 1).and_then(|mark| self.placement.holds(mark)) == Some(Holds::New)
        });
        if !marked {
            return Err(refused("what was loaded beside was touched by somebody else"));
        }
        match replies.first_error() {
            None => Ok(()),
            Some(text) => Err(RedisError::from_reply(conn.label(), "EXEC", text)),
        }
    }

    /// From here on the old data may go.
    async fn approve(&self, conn: &mut Conn) -> Result<(), RedisError> {
        let mark = self.placement.mark(Holds::Dropped);
        let mut commands = Vec::new();
        for pair in &self.placement.pairs {
            commands.push(words(&["SELECT", &pair.beside.to_string()]));
            commands.push(words(&["SET", MARK, &mark]));
        }
        commands.push(words(&["SELECT", "0"]));
        run(conn, &commands).await?;
        Ok(())
    }

    /// Undoes the swap, for the reason given. Where that cannot be done, or its reply does not come, both data are there and marked, and
    /// whoever looks next finds out which one serves.
    async fn swap_back(&self, conn: &mut Conn, swapped: &Replies, mut error: RedisError) -> RedisError {
        let mut commands = vec![words(&["INFO", "commandstats"])];
        commands.extend(self.swaps(Holds::New));
        commands.extend(self.libraries(&self.old));
        let left = match run(conn, &commands).await {
            Ok(replies) if replies.first_error().is_none() => {
                // What came in between went to the new data, and is gone with it. The swap itself has written a DEL, a SWAPDB and a SET for
                // each pair, and the libraries.
                let own = 3 * self.placement.pairs.len() as u64 + u64::from(self.libraries(&self.new).is_some());
                let lost = writes_between(conn, swapped.text(2), replies.text(0), own).await;
                if let RedisError::Withheld { fault: Fault { message, .. } }
                | RedisError::Server { message, .. }
                | RedisError::Denied { message, .. } = &mut error
                {
                    let lost = (lost > 0).then(|| format!(", and {lost} write commands that came in between are lost"));
                    message.push_str("; the databases were swapped back at once");
                    message.push_str(&lost.unwrap_or_default());
                }
                return match empty_marked(conn, self.placement, Holds::New).await {
                    Ok(_) => error,
                    Err(left) => not_removed(error, &left),
                };
            }
            Ok(replies) => RedisError::from_reply(conn.label(), "SWAPDB", replies.first_error().unwrap_or_default()),
            Err(left) => left.error,
        };
        let what = format!("the databases were swapped, and it is not known that they were swapped back: {left}");
        RedisError::Restore { state: TargetState::Unknown, not_rolled_back: Some(what), source: Box::new(error) }
    }
}

/// What the swap's transaction reads first.
const SECTIONS: [&str; 6] = ["server", "replication", "commandstats", "stats", "memory", "keyspace"];

fn not_removed(error: RedisError, left: &RedisError) -> RedisError {
    RedisError::Restore {
        state: TargetState::Untouched,
        not_rolled_back: Some(format!("what was loaded beside the old data could not be removed: {left}")),
        source: Box::new(error),
    }
}
