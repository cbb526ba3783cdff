//! Restore by commands: the data as RESTORE commands, for clusters and for targets that cannot reach us.
//!
//! It must not begin before it has asked whether the target would take such commands at all, for it begins by deleting
//! everything. It is not atomic: what fails half way leaves a part, and says so. Memory stays bounded however big a value is.
//!
//! The walker of the format blocks and runs on a thread of its own; [`RestoreEncoder`] turns what it finds into wire bytes and
//! sends them through a bounded channel to [`drive`], which owns the connection.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;

use super::RedisError;
use super::conn::{Conn, Value};
use super::encoder::footer;
use super::master::random_hex;
use crate::model::text::clean;

pub use super::encoder::RestoreEncoder;
pub use super::slots::{owned_slots, slot};

/// Commands in flight hold at most about so many bytes, of which one command may be more.
const WINDOW_BYTES: usize = 4 << 20;
const WINDOW_COMMANDS: usize = 4096;
/// Deleting everything, and taking one very large value, may each take the target this long.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(600);
/// Refusals that are quoted.
const NAMED: usize = 5;

/// What travels from the encoder to [`drive`].
#[derive(Debug)]
pub enum Frame {
    /// The walk has begun; the data is of this RDB version.
    Begin {
        /// RDB version, as in the footer of each payload.
        rdb_version: u16,
    },
    /// Bytes for the wire, and the commands that end in them, in order. A command may span several frames.
    Bytes {
        /// The bytes.
        wire: Vec<u8>,
        /// The commands.
        ends: Vec<Sent>,
    },
    /// The walk is complete. A channel closed without it is a walk that failed.
    End,
}

/// A command under way, for the accounting of its reply.
#[derive(Debug)]
pub struct Sent {
    pub(super) what: What,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) enum What {
    /// The key's first bytes, to name it in a refusal.
    Key(Box<[u8]>),
    Function,
    Select(u64),
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// Keys accepted. Those that had expired are accepted and vanish.
    pub keys: u64,
    /// Function libraries loaded.
    pub functions: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Deletes everything in the target and fills it from `frames`. `on_progress` is told after each frame.
///
/// # Errors
/// Before anything was deleted: what the target refused, as itself. After: [`RedisError::Replay`], and the target holds a part.
pub async fn drive(
    conn: &mut Conn,
    mut frames: mpsc::Receiver<Frame>,
    mut on_progress: impl FnMut(&ReplayReport),
) -> Result<ReplayReport, RedisError> {
    let Some(Frame::Begin { rdb_version }) = frames.recv().await else {
        return Err(RedisError::Supply {
            reason: "the backup could not be read; the target was not touched".to_owned(),
        });
    };
    probe(conn, rdb_version).await?;
    conn.set_timeout(COMMAND_TIMEOUT);
    // From here on the target may have lost something, so every failure says that it holds a part.
    if let Err(error) = empty(conn).await {
        // FLUSHALL comes first: refused, it has deleted nothing.
        if matches!(&error, RedisError::Denied { command, .. } | RedisError::Server { command, .. } if command == "FLUSHALL")
        {
            return Err(error);
        }
        return Err(partial(&ReplayReport::default(), 0, vec![error.to_string()]));
    }
    let mut run =
        Run { report: ReplayReport::default(), flying: VecDeque::new(), flying_bytes: 0, failed: 0, first: Vec::new() };
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

/// Would the target take our payloads? One that expired long ago is checked whole (rights, version, checksum, writable
/// server) and creates nothing.
async fn probe(conn: &mut Conn, rdb_version: u16) -> Result<(), RedisError> {
    let key = format!("tair-backup-mcp:probe:{}", random_hex(8)?);
    let mut payload = vec![0, 0];
    let tail = footer(&payload, rdb_version);
    payload.extend_from_slice(&tail);
    match conn.cmd(&[b"RESTORE", key.as_bytes(), b"1", &payload, b"ABSTTL"]).await {
        Ok(_) => {}
        // Another node's slot: rights are as asked, the version is the plan's to compare.
        Err(RedisError::Server { message, .. }) if message.starts_with("MOVED ") => {}
        // It is full of what is about to be deleted.
        Err(RedisError::Server { message, .. }) if message.starts_with("OOM ") => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Deletes keys and functions.
async fn empty(conn: &mut Conn) -> Result<(), RedisError> {
    conn.cmd_str(&["FLUSHALL", "SYNC"]).await?;
    match conn.cmd_str(&["FUNCTION", "FLUSH", "SYNC"]).await {
        Ok(_) => Ok(()),
        // Before 7.0 there are no functions; if the backup has some, loading them will fail by name.
        Err(RedisError::Server { message, .. }) if message.contains("unknown command") => Ok(()),
        Err(error) => Err(error),
    }
}

struct Run {
    report: ReplayReport,
    flying: VecDeque<Sent>,
    flying_bytes: usize,
    failed: u64,
    first: Vec<String>,
}

impl Run {
    /// Writes frames and reads replies until the end or the first refusal; then reads what is still in flight.
    async fn all(
        &mut self,
        conn: &mut Conn,
        frames: &mut mpsc::Receiver<Frame>,
        on_progress: &mut impl FnMut(&ReplayReport),
    ) -> Result<(), RedisError> {
        loop {
            match frames.recv().await {
                Some(Frame::Begin { .. }) => {}
                Some(Frame::End) => break,
                None => {
                    return Err(RedisError::Supply { reason: "the backup could not be read to its end".to_owned() });
                }
                Some(Frame::Bytes { wire, ends }) => {
                    conn.write_raw(&wire, "RESTORE").await?;
                    self.report.bytes += wire.len() as u64;
                    self.flying_bytes += ends.iter().map(|s| s.bytes).sum::<usize>();
                    self.flying.extend(ends);
                }
            }
            // With nothing complete in flight there is nothing to wait for: a large value is still on its way out.
            while self.flying_bytes > WINDOW_BYTES || self.flying.len() > WINDOW_COMMANDS {
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
        let Some(Sent { what, bytes }) = self.flying.front() else { return Ok(false) };
        match conn.next_value("RESTORE").await? {
            Value::Error(text) => {
                self.failed += 1;
                if self.first.len() < NAMED {
                    self.first.push(format!("{what}: {}", clean(&text)));
                }
            }
            _ => match what {
                What::Key(_) => self.report.keys += 1,
                What::Function => self.report.functions += 1,
                What::Select(_) => {}
            },
        }
        self.flying_bytes -= bytes;
        self.flying.pop_front();
        Ok(true)
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key \"{}\"", clean(&String::from_utf8_lossy(key))),
            Self::Function => f.write_str("function library"),
            Self::Select(db) => write!(f, "database {db}"),
        }
    }
}
