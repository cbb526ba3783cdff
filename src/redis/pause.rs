//! Holding writers of a server up for a while: `CLIENT PAUSE … WRITE`, renewed while it is wanted.
//!
//! A pause refuses nothing: writers wait for their answer. It must never be left behind: whatever happens to its owner, it is
//! lifted, and it ends by itself within [`PAUSED_AT_MOST`] where this process dies. It must not be on the connection that acts,
//! and no stream may be sent under it, for a paused replica does not apply its master's stream.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::conn::Conn;
use super::endpoint::Endpoint;
use super::error::RedisError;
use super::facts::{ServerFacts, info};

/// How long writers wait at most for a process that died.
pub const PAUSED_AT_MOST: Duration = Duration::from_secs(5);
/// Between two renewals.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long writers wait at most in a pause that nobody was told of.
pub const BRIEF: Duration = Duration::from_secs(1);

/// Writers that are held up. Dropping this lets them go on.
#[derive(Debug)]
pub struct Pause {
    since: Instant,
    lift: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), RedisError>>,
}

/// Whether a server can hold up its writers for this user, found out by a pause of no length.
///
/// # Errors
/// What the server refused, or what broke on the way.
pub async fn can_pause(conn: &mut Conn) -> Result<(), RedisError> {
    conn.cmd_str(&["CLIENT", "PAUSE", "0", "WRITE"]).await.map(drop)
}

impl Pause {
    /// Holds writers up from now on.
    ///
    /// # Errors
    /// The connection's, and what the server refused: before 6.2 no pause is for writers alone.
    pub async fn begin(endpoint: &Endpoint, within: Duration) -> Result<Self, RedisError> {
        let mut conn = Conn::open(endpoint, within).await?;
        renew(&mut conn).await?;
        let (lift, mut lifted) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    // Said, or the owner was dropped.
                    _ = &mut lifted => break,
                    () = sleep(RENEWAL) => renew(&mut conn).await?,
                }
            }
            conn.cmd_str(&["CLIENT", "UNPAUSE"]).await.map(drop)
        });
        Ok(Self { since: Instant::now(), lift: Some(lift), task })
    }

    /// Holds writers up once, for [`BRIEF`] at most; and the server's position, behind which nothing is written meanwhile.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn briefly(endpoint: &Endpoint, within: Duration) -> Result<(Self, u64), RedisError> {
        let mut conn = Conn::open(endpoint, within).await?;
        let since = Instant::now();
        pause_for(&mut conn, BRIEF).await?;
        let (lift, lifted) = oneshot::channel();
        let position = info(&mut conn, Some("replication")).await.map(|text| ServerFacts::from_info(&text).offset);
        let task = tokio::spawn(async move {
            // Said, or the owner was dropped, or it has ended by itself.
            let _ = timeout(BRIEF.saturating_sub(since.elapsed()), lifted).await;
            conn.cmd_str(&["CLIENT", "UNPAUSE"]).await.map(drop)
        });
        // Where the position cannot be read the writers go on.
        Ok((Self { since, lift: Some(lift), task }, position?))
    }

    /// Whether the pause was renewed all along.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.task.is_finished()
    }

    /// Lets the writers go on; how long they waited. An error leaves a pause that ends by itself.
    ///
    /// # Errors
    /// What broke while the pause was held or lifted.
    pub async fn lift(mut self) -> Result<Duration, RedisError> {
        drop(self.lift.take());
        match self.task.await {
            Ok(lifted) => lifted.map(|()| self.since.elapsed()),
            Err(died) => {
                Err(RedisError::System { what: "the pause of writers".to_owned(), source: std::io::Error::other(died) })
            }
        }
    }
}

async fn renew(conn: &mut Conn) -> Result<(), RedisError> {
    pause_for(conn, PAUSED_AT_MOST).await
}

async fn pause_for(conn: &mut Conn, length: Duration) -> Result<(), RedisError> {
    let millis = length.as_millis().to_string();
    conn.cmd_str(&["CLIENT", "PAUSE", &millis, "WRITE"]).await.map(drop)
}
