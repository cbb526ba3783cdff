//! Rolling a target's role and settings back, right after a restore or at the next start after a crash.
//!
//! It must work however far the restore had come and however often it is called, must not touch data, and must not change the
//! role of a target that follows somebody else, nor a setting that somebody else has changed, which is not this program's doing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cutover::{RollbackStore, nothing_to_evict};
use super::types::{MasterOptions, RollbackRecord};
use crate::guard::grant::{Grant, RollBack};
use crate::model::text::clean;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{Role, ServerFacts, info};
use crate::redis::settings::{PutBack, put_back};
use crate::redis::target::TargetState;

/// Time for a target that is busy noticing a broken transfer, or freeing what it had loaded.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(60);
/// Delay between two attempts at a target that does not answer yet.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The target's role before the roll-back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The target followed nobody.
    Master,
    /// The target followed this program, and no longer does.
    FollowedUs,
    /// The target follows somebody else, and its role was left alone.
    FollowsAnother {
        /// The other master, as host:port.
        master: String,
    },
}

/// What a roll-back found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The target's role before the roll-back.
    pub found: Found,
    /// Whether the target has loaded the data of that restore, by its replication id.
    pub loaded: bool,
    /// Whether the target is the same process as before the restore.
    pub same_process: bool,
    /// Why some settings are not as they were; `None` where all are, but for `left_alone`. Roll back again.
    pub problem: Option<String>,
    /// Names of settings that somebody has changed since the restore set them, and that were left as they are.
    pub left_alone: Vec<&'static str>,
    /// Whether the memory limit, which the restore had put out of force, has to wait because the target holds more; then that is
    /// the `problem`.
    pub over_limit: bool,
}

/// Makes the target its own master again if it follows this program, and puts its settings back. For the next start after a
/// crash. One that has loaded the data is promoted as at the end of a session: when it has freed its old data.
///
/// Without a grant nothing is rolled back:
///
/// ```
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, endpoint::Endpoint, master::{cutover::OwnServer, rollback::roll_back, types::*}}};
/// async fn recover(grant: Grant<RollBack>, at: &Endpoint, conn: &mut Conn, record: &RollbackRecord, own: &mut OwnServer) {
///     let _ = roll_back(grant, at, conn, record, &MasterOptions::default(), own).await;
/// }
/// ```
///
/// ```compile_fail,E0061
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, endpoint::Endpoint, master::{cutover::OwnServer, rollback::roll_back, types::*}}};
/// async fn recover(at: &Endpoint, conn: &mut Conn, record: &RollbackRecord, own: &mut OwnServer) {
///     let _ = roll_back(at, conn, record, &MasterOptions::default(), own).await;
/// }
/// ```
///
/// # Errors
/// What the connection or the server refused: nothing is known then, and the target must be rolled back later.
pub async fn roll_back(
    grant: Grant<RollBack>,
    target: &Endpoint,
    conn: &mut Conn,
    record: &RollbackRecord,
    options: &MasterOptions,
    kept_by: &mut impl RollbackStore,
) -> Result<RolledBack, RedisError> {
    tracing::debug!(instance = grant.instance_id(), "rolls role and settings back");
    let mut record = record.clone();
    let facts = ServerFacts::from_info(&info(conn, None).await?);
    if record.is_followed_by(&facts) && facts.replid == record.replid {
        nothing_to_evict(target, options, &mut record, kept_by).await;
    }
    roll_back_by(conn, &record, Instant::now() + ROLLBACK_TIMEOUT).await
}

async fn roll_back_by(conn: &mut Conn, record: &RollbackRecord, deadline: Instant) -> Result<RolledBack, RedisError> {
    let mut found = Found::Master;
    let mut facts;
    loop {
        facts = ServerFacts::from_info(&info(conn, None).await?);
        match (&facts.role, &facts.master) {
            (Role::Replica, _) if record.is_followed_by(&facts) => {
                found = Found::FollowedUs;
                // The replication id that tells what the target has loaded is `master_replid` while the target follows this
                // program and `master_replid2` right after; both are asked below.
                match conn.cmd_str(&["REPLICAOF", "NO", "ONE"]).await {
                    Ok(_) => {}
                    Err(RedisError::Loading { .. }) if Instant::now() < deadline => sleep(RETRY_DELAY).await,
                    Err(error) => return Err(error),
                }
            }
            (Role::Replica, link) => {
                if found == Found::Master {
                    let master = link.as_ref().map(|l| format!("{}:{}", clean(&l.host), l.port)).unwrap_or_default();
                    found = Found::FollowsAnother { master };
                }
                break;
            }
            // A transfer that broke leaves the target loading for a moment, and what it holds is only certain after that.
            (Role::Master, _) if (facts.loading || facts.async_loading) && Instant::now() < deadline => {
                sleep(RETRY_DELAY).await;
            }
            (Role::Master, _) => break,
        }
    }
    let loaded =
        facts.replid == record.replid || previous_replid(conn).await?.as_deref() == Some(record.replid.as_str());
    let same_process = facts.run_id == record.run_id;
    // Settings are put back also where the target follows another by now: the originals are its owner's.
    let (problem, PutBack { left_alone, over_limit }) = match put_back(
        conn,
        &record.settings,
        &record.set_by_us,
        same_process,
    )
    .await
    {
        Ok(done) if done.over_limit => {
            let limit = record.settings.maxmemory.as_deref().unwrap_or_default();
            let why = format!(
                "its maxmemory of {limit} bytes is out of force: it holds more, and would evict what was restored; set maxmemory, or remove keys"
            );
            (Some(why), done)
        }
        Ok(done) => (None, done),
        Err(e) => (Some(format!("its settings could not all be put back ({e})")), PutBack::default()),
    };
    if !left_alone.is_empty() {
        tracing::warn!("settings of the target were changed meanwhile and are left alone: {}", left_alone.join(", "));
    }
    Ok(RolledBack { found, loaded, same_process, problem, left_alone, over_limit })
}

/// [`roll_back`] at the end of a session, with new connections where the old one is of no more use.
pub(super) async fn roll_back_with_retries(
    target: &Endpoint,
    conn: Conn,
    record: &RollbackRecord,
    options: &MasterOptions,
) -> Result<RolledBack, RedisError> {
    let deadline = Instant::now() + options.rollback_within;
    // A call that failed or was dropped left its reply behind; only a connection that is in step may go on.
    let mut conn = Some(conn).filter(|c| !c.is_broken());
    let mut refused_since = None;
    loop {
        let attempt = match conn.take() {
            Some(conn) => Ok(conn),
            None => Conn::open(target, options.command_within).await,
        };
        let rolled_back = match attempt {
            Ok(mut conn) => roll_back_by(&mut conn, record, deadline).await,
            Err(error) => Err(error),
        };
        let refused = rolled_back.as_ref().is_err_and(is_gone);
        let since = *refused_since.get_or_insert_with(Instant::now);
        if !refused {
            refused_since = None;
        }
        // Where no process listens any more, waiting for an answer would only keep the news from everybody.
        let gone = refused && since.elapsed() >= options.gone_after;
        match rolled_back {
            Err(error) if error.is_transient() && !gone && Instant::now() < deadline => sleep(RETRY_DELAY).await,
            rolled_back => return rolled_back,
        }
    }
}

/// Gives a promoted target its memory limit again once what it holds fits. Where it does not in time, what was done so far says so.
pub(super) async fn limit_back(
    target: &Endpoint,
    record: &RollbackRecord,
    options: &MasterOptions,
    mut done: RolledBack,
) -> RolledBack {
    let deadline = Instant::now() + options.limit_back_within;
    while done.over_limit && Instant::now() < deadline {
        sleep(RETRY_DELAY).await;
        let again = async {
            let mut conn = Conn::open(target, options.command_within).await?;
            roll_back_by(&mut conn, record, deadline).await
        };
        // A target that does not answer now may in a moment; it is promoted, whatever comes.
        if let Ok(again) = again.await {
            done = again;
        }
    }
    done
}

/// Whether no process listens on the target's address.
fn is_gone(error: &RedisError) -> bool {
    use std::io::ErrorKind as K;
    matches!(error, RedisError::Connect { source, .. } if matches!(source.kind(), K::ConnectionRefused | K::NotFound))
}

/// What the target holds, as far as that is known.
pub(super) fn state_after(rolled_back: &Result<RolledBack, RedisError>, confirmed: bool) -> TargetState {
    match rolled_back {
        // Whoever pointed the target elsewhere has given it that master's data, or is about to.
        Ok(RolledBack { found: Found::FollowsAnother { .. }, .. }) => TargetState::Unknown,
        // What was loaded was in memory, and went with it.
        Err(error) if is_gone(error) => TargetState::Gone,
        _ if confirmed => TargetState::Replaced,
        Ok(RolledBack { loaded: true, .. }) => TargetState::Replaced,
        // The old data is in memory still, because nothing replaces it but a whole load.
        Ok(RolledBack { same_process: true, .. }) => TargetState::Untouched,
        // After a restart the target holds what its own files had.
        Ok(_) | Err(_) => TargetState::Unknown,
    }
}

/// `master_replid2`: after REPLICAOF NO ONE the id of the data that was loaded from the master.
async fn previous_replid(conn: &mut Conn) -> Result<Option<String>, RedisError> {
    let text = info(conn, Some("replication")).await?;
    Ok(text.lines().find_map(|l| l.trim_end().strip_prefix("master_replid2:")).map(str::to_owned))
}
