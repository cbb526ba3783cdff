//! One moment of a server: who it is, whom it follows, and how far it has come. Read in one piece where the caller sends it so.
//!
//! It must not judge: whether a moment is the one that was planned for is for the caller's look.

use async_trait::async_trait;

use super::conn::Conn;
use super::error::RedisError;
use super::facts::{Role, ServerFacts, info, resolve_writes, write_counters};
use crate::model::fault::Fault;

/// A server at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// `run_id`: another one with every start of the process.
    pub run_id: String,
    /// `master_replid`: another one after a failover.
    pub replid: String,
    /// Whether the server follows nobody.
    pub master: bool,
    /// `master_repl_offset`.
    pub offset: u64,
    /// Write commands that the server has run since its statistics began, without those that this program is known to have sent.
    pub writes: u64,
    /// Most removals of the server's own since then: expiries and evictions.
    pub removed: u64,
    /// Keys evicted since then.
    pub evicted: u64,
    /// Write commands that this program is known to have sent since its restore began.
    pub own: u64,
}

/// The look of a caller at the moment of a cutover by commands. A closure looks at the moment alone.
#[async_trait]
pub trait Look: Send {
    /// Called before the moment is read: whoever reads the server's stream must not be ahead of it.
    async fn hold(&mut self) {}

    /// Whether the moment is the one that was planned for. An error stops what cannot be undone, or undoes what can.
    async fn at(&mut self, moment: &Moment) -> Result<(), Fault>;

    /// Called where the old data went in a command of its own, behind the last look: at this offset, or right before the next
    /// FLUSHALL of the server's stream where the offset is not known.
    async fn cut(&mut self, offset: Option<u64>) {
        let _ = offset;
    }
}

#[async_trait]
impl<F: FnMut(&Moment) -> Result<(), Fault> + Send> Look for F {
    async fn at(&mut self, moment: &Moment) -> Result<(), Fault> {
        self(moment)
    }
}

impl Moment {
    /// Reads the server now. `own` write commands were this program's.
    ///
    /// # Errors
    /// What the connection or the server refused.
    pub async fn read(conn: &mut Conn, own: u64) -> Result<Self, RedisError> {
        let who = info(conn, Some("server")).await?;
        let place = info(conn, Some("replication")).await?;
        let commands = info(conn, Some("commandstats")).await?;
        // Behind the position: what was removed up to there is counted.
        let statistics = info(conn, Some("stats")).await?;
        Self::of(conn, &[&who, &place, &statistics], &commands, own).await
    }

    /// The moment that these sections of INFO and `commandstats` tell of. `own` write commands were this program's.
    ///
    /// # Errors
    /// As [`Self::read`]: which commands write is asked of the server where it is not known yet.
    pub(super) async fn of(conn: &mut Conn, sections: &[&str], commands: &str, own: u64) -> Result<Self, RedisError> {
        let facts = ServerFacts::from_info(&sections.join("\r\n"));
        resolve_writes(conn, commands).await?;
        Ok(Self {
            run_id: facts.run_id,
            replid: facts.replid,
            master: facts.role == Role::Master,
            offset: facts.offset,
            // Statistics that were reset meanwhile count from zero: fewer than our own is a counter that went back.
            writes: write_counters(conn, commands).saturating_sub(own),
            removed: facts.removed,
            evicted: facts.evicted_keys,
            own,
        })
    }
}
