//! Restore by commands: the data as RESTORE commands, for clusters and for targets that cannot reach us.
//!
//! It must not begin before a probe has shown that the target would take such commands at all, for [`ReplayMode`] may say to
//! begin by deleting everything. A replay is not atomic: one that fails half way leaves a part of the data, and says so. Memory
//! stays bounded however big a value is.
//!
//! The walker of the format blocks and runs on a thread of its own; [`encoder::RestoreEncoder`] turns the entries into wire
//! bytes and sends them through a bounded channel to [`drive`], which owns the connection.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;

use self::encoder::footer;
use self::frame::{Frame, RestoreCommand, Sent};
use super::conn::Conn;
use super::error::RedisError;
use super::moment::Look;
use super::prefix::ErrorPrefix;
use super::resp::Value;
use crate::guard::grant::{Grant, Overwrite};
use crate::model::ids::{hex, random};
use crate::model::text::clean;

pub mod beside;
mod empty;
pub mod encoder;
pub mod frame;
pub mod keys;
pub mod some;
pub mod swap;
mod transaction;

/// Commands in flight hold at most about so many bytes, of which one command may be more.
const WINDOW_BYTES: usize = 4 << 20;
/// Most commands in flight.
const WINDOW_COMMANDS: usize = 4096;
/// Time that the target may take to delete everything, or to take one very large value.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(600);
/// What a RESTORE that is to replace no key is refused with where there is one.
const BUSY_KEY: &str = "BUSYKEY";
/// Most refusals that are quoted.
const QUOTED_MAX: usize = 5;

/// What a replay does with the data that the target has.
pub enum ReplayMode<'a> {
    /// All keys and functions of the target are deleted first: afterwards the target holds the backup and nothing else.
    ReplaceEverything,
    /// The same, if the last look at the server lets it, and if it would take what is to come. Where the server runs scripts, what was
    /// looked at is compared in the command that deletes.
    ReplaceIf(&'a mut (dyn Look + 'a), Coming),
    /// Nothing is deleted. Keys and libraries of the backup replace those of the same name; all others stay.
    MergeKeys,
}

/// What is to be written to a server that is emptied for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coming {
    /// Number of function libraries.
    pub functions: u64,
    /// Bytes of memory that it needs, about.
    pub memory: u64,
}

/// What a replay has written so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// Keys accepted. Keys that had expired are accepted and vanish.
    pub keys: u64,
    /// Keys that were to replace none, and were not written: there is one of that name.
    pub made: u64,
    /// Number of function libraries loaded.
    pub functions: u64,
    /// Bytes written to the socket.
    pub bytes: u64,
}

/// Writes the frames to the target, as the mode says. `on_progress` is called after each frame.
///
/// Without a grant not a key is written:
///
/// ```
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, replay::{ReplayMode, drive, frame::Frame}}};
/// async fn restore(grant: Grant<Overwrite>, conn: &mut Conn, frames: tokio::sync::mpsc::Receiver<Frame>) {
///     let _ = drive(grant, conn, frames, ReplayMode::MergeKeys, |_| ()).await;
/// }
/// ```
///
/// ```compile_fail,E0061
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, replay::{ReplayMode, drive, frame::Frame}}};
/// async fn restore(conn: &mut Conn, frames: tokio::sync::mpsc::Receiver<Frame>) {
///     let _ = drive(conn, frames, ReplayMode::MergeKeys, |_| ()).await;
/// }
/// ```
///
/// # Errors
/// Before anything was changed: what the target refused, as itself. After: [`RedisError::Replay`], and the target holds a part.
pub async fn drive(
    grant: Grant<Overwrite>,
    conn: &mut Conn,
    mut frames: mpsc::Receiver<Frame>,
    mode: ReplayMode<'_>,
    mut on_progress: impl FnMut(&ReplayReport),
) -> Result<ReplayReport, RedisError> {
    let Some(Frame::Begin { rdb_version }) = frames.recv().await else {
        return Err(RedisError::Supply {
            reason: "the backup could not be read; the target was not touched".to_owned(),
        });
    };
    tracing::debug!(instance = grant.instance_id(), "restores by commands");
    let own = probe(conn, rdb_version, !matches!(mode, ReplayMode::MergeKeys)).await?;
    conn.set_timeout(COMMAND_TIMEOUT);
    match mode {
        ReplayMode::ReplaceEverything => empty::everything(conn, None, Coming::default(), own).await?,
        ReplayMode::ReplaceIf(look, coming) => empty::everything(conn, Some(look), coming, own).await?,
        ReplayMode::MergeKeys => {}
    }
    // From here on the target may have lost something, so every failure says that it holds a part.
    let mut run = Run::default();
    match run.all(conn, &mut frames, &mut on_progress).await {
        Ok(()) if run.failed == 0 => Ok(run.report),
        Ok(()) => Err(partial(&run.report, run.failed, run.first)),
        Err(error) => {
            run.first.push(error.to_string());
            Err(partial(&run.report, run.failed, run.first))
        }
    }
}

fn partial(report: &ReplayReport, failed: u64, first: Vec<String>) -> RedisError {
    RedisError::Replay { done: report.keys, failed, first }
}

/// Whether the target would take our payloads. A payload that expired long ago is checked whole (rights, version, checksum,
/// writable server) and creates nothing. How many write commands of the server's own count that was.
async fn probe(conn: &mut Conn, rdb_version: u16, empties: bool) -> Result<u64, RedisError> {
    let key = format!("tair-backup-mcp:probe:{}", hex(&random::<8>().map_err(RedisError::no_randomness)?));
    let mut payload = vec![0, 0];
    let tail = footer(&payload, rdb_version);
    payload.extend_from_slice(&tail);
    let Err(error) = conn.cmd(&[b"RESTORE", key.as_bytes(), b"1", &payload, b"ABSTTL"]).await else { return Ok(1) };
    let RedisError::Server { prefix, .. } = &error else { return Err(error) };
    match prefix {
        // The slot of the probe's key is another node's: the rights are shown, and the plan compares the version.
        ErrorPrefix::Moved => Ok(0),
        // The target is full of what is about to be deleted.
        ErrorPrefix::Oom if empties => Ok(0),
        _ => Err(error),
    }
}

#[derive(Default)]
struct Run {
    report: ReplayReport,
    /// Function libraries, as FUNCTION RESTORE takes them but for the footer; empty unless they are not loaded one by one.
    libraries: Vec<u8>,
    /// Keys that were sent and may vanish by themselves, for they or their fields have an expiry.
    may_expire: u64,
    in_flight: VecDeque<Sent>,
    in_flight_bytes: usize,
    failed: u64,
    first: Vec<String>,
}

impl Run {
    /// The error of a load beside the old data that came to nothing.
    fn beside(&mut self) -> RedisError {
        let first = std::mem::take(&mut self.first);
        RedisError::NotCutOver { done: self.report.keys, failed: self.failed, first }
    }

    /// Writes frames and reads replies until the end or the first refusal; then reads the replies still in flight.
    async fn all(
        &mut self,
        conn: &mut Conn,
        frames: &mut mpsc::Receiver<Frame>,
        on_progress: &mut impl FnMut(&ReplayReport),
    ) -> Result<(), RedisError> {
        loop {
            match frames.recv().await {
                Some(Frame::Begin { .. }) => {}
                Some(Frame::Libraries(libraries)) => self.libraries = libraries,
                Some(Frame::End { may_expire }) => {
                    self.may_expire = may_expire;
                    break;
                }
                None => {
                    // What was sent whole is answered, so that nothing of it comes after what the caller does now.
                    while self.reply(conn).await? {}
                    return Err(RedisError::Supply { reason: "the backup could not be read to its end".to_owned() });
                }
                Some(Frame::Bytes { wire, ends }) => {
                    conn.write_raw(&wire, "RESTORE").await?;
                    self.report.bytes += wire.len() as u64;
                    self.in_flight_bytes += ends.iter().map(|s| s.bytes).sum::<usize>();
                    let selects = matches!(ends.last(), Some(Sent { command: RestoreCommand::Select(_), .. }));
                    self.in_flight.extend(ends);
                    // What comes behind it is for that database alone.
                    while selects && self.reply(conn).await? {}
                }
            }
            // With nothing complete in flight there is nothing to wait for: a large value is still on its way out.
            while self.in_flight_bytes > WINDOW_BYTES || self.in_flight.len() > WINDOW_COMMANDS {
                if !self.reply(conn).await? {
                    break;
                }
            }
            on_progress(&self.report);
            if self.failed > 0 {
                break;
            }
        }
        while self.reply(conn).await? {}
        Ok(())
    }

    /// Reads one reply; false when none is due.
    async fn reply(&mut self, conn: &mut Conn) -> Result<bool, RedisError> {
        let Some(Sent { command, bytes }) = self.in_flight.front() else { return Ok(false) };
        match conn.next_value("RESTORE").await? {
            Value::Error(text)
                if matches!(command, RestoreCommand::NewKey(_)) && text.split(' ').next() == Some(BUSY_KEY) =>
            {
                self.report.made += 1;
            }
            Value::Error(text) => {
                self.failed += 1;
                if self.first.len() < QUOTED_MAX {
                    self.first.push(format!("{command}: {}", clean(&text)));
                }
            }
            _ => match command {
                RestoreCommand::Key(_) | RestoreCommand::NewKey(_) => self.report.keys += 1,
                RestoreCommand::Function => self.report.functions += 1,
                RestoreCommand::Select(_) => {}
            },
        }
        self.in_flight_bytes -= bytes;
        self.in_flight.pop_front();
        Ok(true)
    }
}
