//! One moment of a server: who it is, whom it follows, and how far it has come. Read in one piece where the caller sends it so.
//!
//! It must not judge: whether a moment is the one that was planned for is for the caller's look.

use async_trait::async_trait;

use super::commandstats::{resolve_writes, write_counters};
use super::conn::Conn;
use super::error::RedisError;
use super::facts::{Role, ServerFacts, field, info};
use crate::model::fault::Fault;

/// Fields of INFO's section `persistence` that stay as they are, together, only while no data is changed.
///
/// The first counts every change since the last save: also what a script keeps out of the stream, and neither PUBLISH and PING nor the
/// server's own expiries and evictions. The second tells of a save in between, behind which it counts anew: of one that runs when it ends,
/// and of that of a FLUSHALL or a reload, which no other field counts.
pub(super) const CHANGES: [&str; 2] = ["rdb_changes_since_last_save", "rdb_last_save_time"];

/// What a server tells of changes of its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// The server does not tell.
    Untold,
    /// Not in this second, in which it has saved: of another save in it the server would not tell.
    NotNow,
    /// The values of [`CHANGES`]: as long as they are the same, nothing is written.
    Are(String),
}

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
    /// Read before the position: as long as they are the same, nothing is written behind that.
    pub changes: Changes,
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
    /// Waits until it is certain that no moment to come will do, and says why; for ever where that is known at the moment alone. May be
    /// dropped and called again.
    async fn in_vain(&mut self) -> Fault {
        std::future::pending().await
    }

    /// Called before the moment is read: whoever reads the server's stream must not be ahead of it.
    async fn hold(&mut self) {}

    /// Whether writes may come between the moment and what destroys: the plan told of them, and they are counted. Else the two are one
    /// moment, or it is not done.
    fn allows_writes(&self) -> bool {
        false
    }

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
        let changes = changes(&who, &info(conn, Some("persistence")).await?);
        let place = info(conn, Some("replication")).await?;
        let commands = info(conn, Some("commandstats")).await?;
        // Behind the position: what was removed up to there is counted.
        let statistics = info(conn, Some("stats")).await?;
        Ok(Self { changes, ..Self::of(conn, &[&who, &place, &statistics], &commands, own).await? })
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
            changes: Changes::Untold,
            // Statistics that were reset meanwhile count from zero: fewer than our own is a counter that went back.
            writes: write_counters(conn, commands).saturating_sub(own),
            removed: facts.removed,
            evicted: facts.evicted_keys,
            own,
        })
    }
}

/// What the section `persistence` tells, read behind the section `server`.
fn changes(server: &str, persistence: &str) -> Changes {
    let number = |text, name| field(text, name)?.parse::<u64>().ok();
    let [changed, saved] = CHANGES.map(|name| number(persistence, name));
    let now = number(server, "server_time_usec").map(|usec| usec / 1_000_000);
    let (Some(_), Some(saved), Some(now)) = (changed, saved, now) else { return Changes::Untold };
    if saved >= now {
        return Changes::NotNow;
    }
    Changes::Are(CHANGES.map(|name| field(persistence, name).unwrap_or_default()).join(" "))
}

/// Write commands between two readings of `commandstats`, without this program's own; none where one of the two is missing.
pub(super) async fn writes_between(conn: &mut Conn, then: Option<String>, now: Option<String>, own: u64) -> u64 {
    let (Some(then), Some(now)) = (then, now) else { return 0 };
    let then = Moment::of(conn, &[], &then, 0).await.map_or(u64::MAX, |m| m.writes);
    let now = Moment::of(conn, &[], &now, own).await.map_or(0, |m| m.writes);
    now.saturating_sub(then)
}

#[cfg(test)]
mod tests {
    //! A save that could not be told from none leaves nothing to compare.
    use super::{Changes, changes};

    #[test]
    fn what_tells_whether_data_was_changed() {
        let server = "run_id:a\r\nserver_time_usec:1000000000000000\r\n";
        let saved = |at| changes(server, &format!("rdb_changes_since_last_save:7\r\nrdb_last_save_time:{at}\r\n"));
        assert_eq!(saved(999_999_999), Changes::Are("7 999999999".into()));
        assert_eq!(saved(1_000_000_000), Changes::NotNow);
        // Its clock was set back.
        assert_eq!(saved(1_000_000_001), Changes::NotNow);
        assert_eq!(changes(server, "loading:0\r\nrdb_last_save_time:1\r\n"), Changes::Untold);
        assert_eq!(
            changes("run_id:a\r\n", "rdb_changes_since_last_save:7\r\nrdb_last_save_time:1\r\n"),
            Changes::Untold
        );
    }
}
