//! Taking a target off us again and putting it back as it was, right after a restore or at the next start after a crash.
//!
//! It must work however far the restore had come and however often it is called, and must not touch a target that follows
//! somebody else: that is not our doing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::RedisError;
use super::conn::Conn;
use super::endpoint::Endpoint;
use super::facts::{Role, ServerFacts, info};
use super::master::{MasterOptions, Switch, TargetState};
use super::settings::put_back;

/// A target that is busy noticing a broken transfer, or freeing what it had loaded of it, is given this long.
const CALM_WITHIN: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);

/// How the target stood when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It followed nobody.
    Master,
    /// It followed us, and no longer does.
    FollowedUs,
    /// It follows somebody else, and was left alone.
    FollowsAnother {
        /// host:port
        master: String,
    },
}

/// What settling found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How the target stood.
    pub found: Found,
    /// It has loaded the data under the id of that restore.
    pub loaded: bool,
    /// It is the process that the restore began with.
    pub same_process: bool,
    /// What could not be put back, if anything; settle again.
    pub problem: Option<String>,
}

/// Takes the target off us if it follows us, and puts its settings back. For the next start after a crash.
///
/// # Errors
/// What the connection or the server refused: nothing is known then, and it must be settled again later.
pub async fn settle(conn: &mut Conn, switch: &Switch) -> Result<Settled, RedisError> {
    settle_by(conn, switch, Instant::now() + CALM_WITHIN).await
}

async fn settle_by(conn: &mut Conn, switch: &Switch, deadline: Instant) -> Result<Settled, RedisError> {
    let mut found = Found::Master;
    let mut facts;
    loop {
        facts = ServerFacts::from_info(&info(conn, None).await?);
        match (&facts.role, &facts.master) {
            (Role::Replica, Some(link)) if link.host == switch.host && link.port == switch.port => {
                found = Found::FollowedUs;
                // What it has loaded can be told by its replication id only while it follows us or right after; both are asked.
                match conn.cmd_str(&["REPLICAOF", "NO", "ONE"]).await {
                    Ok(_) => {}
                    Err(RedisError::Loading { .. }) if Instant::now() < deadline => sleep(AGAIN).await,
                    Err(error) => return Err(error),
                }
            }
            (Role::Replica, link) => {
                if found == Found::Master {
                    let master = link
                        .as_ref()
                        .map(|l| format!("{}:{}", crate::model::text::clean(&l.host), l.port))
                        .unwrap_or_default();
                    found = Found::FollowsAnother { master };
                }
                break;
            }
            // A transfer that broke leaves it loading for a moment, and what it holds is only certain after that.
            (Role::Master, _) if (facts.loading || facts.async_loading) && Instant::now() < deadline => {
                sleep(AGAIN).await
            }
            (Role::Master, _) => break,
        }
    }
    let loaded =
        facts.replid == switch.replid || previous_replid(conn).await?.as_deref() == Some(switch.replid.as_str());
    let same_process = facts.run_id == switch.run_id;
    // Settings are put back also where it follows another by now: they are its owner's, not ours.
    let problem =
        put_back(conn, &switch.settings).await.err().map(|e| format!("its settings could not all be put back ({e})"));
    Ok(Settled { found, loaded, same_process, problem })
}

/// [`settle`], with new connections where the old one is of no more use.
pub(super) async fn settle_at(
    target: &Endpoint,
    conn: Conn,
    switch: &Switch,
    options: &MasterOptions,
) -> Result<Settled, RedisError> {
    let deadline = Instant::now() + options.settle_within;
    // A call that failed or was dropped left its reply behind; only a connection that is in step may go on.
    let mut conn = Some(conn).filter(|c| !c.is_broken());
    loop {
        let attempt = match conn.take() {
            Some(conn) => Ok(conn),
            None => Conn::open(target, options.command_within).await,
        };
        let settled = match attempt {
            Ok(mut conn) => settle_by(&mut conn, switch, deadline).await,
            Err(error) => Err(error),
        };
        match settled {
            Err(error) if passing(&error) && Instant::now() < deadline => sleep(AGAIN).await,
            settled => return settled,
        }
    }
}

/// It may be restarting, or busy with what it had loaded. A refusal will not change.
fn passing(error: &RedisError) -> bool {
    use RedisError as E;
    matches!(error, E::Connect { .. } | E::Timeout { .. } | E::Lost { .. } | E::Broken { .. } | E::Loading { .. })
}

/// What the target holds, as far as it could be told.
pub(super) fn state_after(settled: &Result<Settled, RedisError>, confirmed: bool) -> TargetState {
    match settled {
        // Whoever pointed it elsewhere has given it that one's data, or is about to.
        Ok(Settled { found: Found::FollowsAnother { .. }, .. }) => TargetState::Unknown,
        _ if confirmed => TargetState::Replaced,
        Ok(settled) if settled.loaded => TargetState::Replaced,
        // The old data is in memory still, because nothing replaces it but a whole load.
        Ok(settled) if settled.same_process => TargetState::Untouched,
        // Restarted: it has what its own files had.
        Ok(_) | Err(_) => TargetState::Unknown,
    }
}

/// `master_replid2`: after REPLICAOF NO ONE the id of the data that was loaded from the master.
async fn previous_replid(conn: &mut Conn) -> Result<Option<String>, RedisError> {
    let text = info(conn, Some("replication")).await?;
    Ok(text.lines().find_map(|l| l.trim_end().strip_prefix("master_replid2:")).map(str::to_owned))
}
