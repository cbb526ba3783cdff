//! Whether an instance keeps its data on disk, and seeing to it that what it holds now is there.
//!
//! A restored instance serves from memory at once, but a crash brings back what its files hold. It must not call data kept
//! unless the server itself reported a save, or a rewrite of its append-only file, that began after the data was in.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::conn::Conn;
use super::error::RedisError;
use super::facts::{field, info};
use super::rights::{Need, REWRITE, SAVE};
use super::settings;

/// The longest wait for the server to write all it holds, work that it had begun before included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3600);
/// The first wait between two looks at the server; later ones are longer.
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// The longest wait between two looks at the server.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where an instance's data is when its process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In the append-only file, which has been rewritten.
    AppendOnlyFile,
    /// In the dump, which has been saved.
    Dump,
    /// Nowhere: the instance keeps no append-only file and has no save points.
    MemoryOnly,
    /// Not known: the instance keeps no append-only file, and does not say whether it has save points.
    Unknown,
}

impl Kept {
    /// The end of a sentence about restored data.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::AppendOnlyFile => "on its disk, in the append-only file",
            Self::Dump => "on its disk, saved",
            Self::MemoryOnly => "in memory only, for the instance keeps nothing on disk",
            Self::Unknown => {
                "whether it is on disk is not known: the instance does not say whether it saves (CONFIG GET save)"
            }
        }
    }
}

/// INFO's section on persistence.
struct Progress {
    append_only: bool,
    /// Any child that writes: a save, a rewrite, a transfer to a replica; or a rewrite that waits for one.
    busy: bool,
    saved: bool,
    rewritten: bool,
}

impl Progress {
    async fn read(conn: &mut Conn) -> Result<Self, RedisError> {
        let text = info(conn, Some("persistence")).await?;
        let is = |name: &str, value: &str| field(&text, name) == Some(value);
        let running =
            ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled", "module_fork_in_progress"];
        Ok(Self {
            append_only: is("aof_enabled", "1"),
            busy: running.iter().any(|name| is(name, "1")),
            saved: is("rdb_last_bgsave_status", "ok"),
            rewritten: is("aof_last_bgrewrite_status", "ok"),
        })
    }
}

/// Makes the instance write all it holds to its disk, if it keeps data there, and waits until it has. Work that was under way
/// may have begun before the data was in: it is waited for, and does not count.
///
/// # Errors
/// What the connection or the server refused; [`RedisError::NotOnDisk`] where the server reports that it could not write.
pub async fn keep(conn: &mut Conn) -> Result<Kept, RedisError> {
    let deadline = Instant::now() + WRITE_TIMEOUT;
    let now = idle(conn, deadline).await?;
    let (kept, command) = match (now.append_only, save_points(conn).await?) {
        // A server with both loads the append-only file alone.
        (true, _) => (Kept::AppendOnlyFile, "BGREWRITEAOF"),
        (false, Some(true)) => (Kept::Dump, "BGSAVE"),
        (false, Some(false)) => return Ok(Kept::MemoryOnly),
        (false, None) => return Ok(Kept::Unknown),
    };
    loop {
        match conn.cmd_str(&[command]).await {
            Ok(_) => break,
            Err(refused @ RedisError::Server { .. }) => {
                // Something else may have begun to write in between.
                if !Progress::read(conn).await?.busy {
                    return Err(refused);
                }
                idle(conn, deadline).await?;
            }
            Err(error) => return Err(error),
        }
    }
    let done = idle(conn, deadline).await?;
    match kept {
        Kept::AppendOnlyFile if !done.rewritten => {
            Err(RedisError::NotOnDisk { what: "the rewrite of its append-only file" })
        }
        Kept::Dump if !done.saved => Err(RedisError::NotOnDisk { what: "its save" }),
        kept => Ok(kept),
    }
}

/// Waits until the server writes nothing.
async fn idle(conn: &mut Conn, deadline: Instant) -> Result<Progress, RedisError> {
    let mut wait = FIRST_LOOK;
    loop {
        let now = Progress::read(conn).await?;
        if !now.busy {
            return Ok(now);
        }
        if Instant::now() >= deadline {
            return Err(RedisError::NotOnDisk { what: "what it has been writing for an hour" });
        }
        sleep(wait).await;
        wait = (wait * 2).min(LOOK_INTERVAL);
    }
}

/// The right that [`keep`] needs on an instance, which keeps an append-only file or not; `None` where it would ask for nothing.
///
/// # Errors
/// What broke on the way.
pub async fn needed_right(conn: &mut Conn, append_only: bool) -> Result<Option<Need>, RedisError> {
    if append_only {
        return Ok(Some(REWRITE));
    }
    Ok((save_points(conn).await? == Some(true)).then_some(SAVE))
}

/// Whether the server saves by itself; `None` where it does not say.
async fn save_points(conn: &mut Conn) -> Result<Option<bool>, RedisError> {
    match settings::get(conn, "save").await {
        Ok(points) => Ok(points.map(|points| !points.trim().is_empty())),
        Err(RedisError::Denied { .. } | RedisError::Server { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
