//! Attaching to the source of a log: behind what the log has where the source can still go on there, else behind a backup set.
//!
//! It must not make a source fork that can go on without, and must not call a history continued that is another one.

use crate::archive::collector::late::Late;
use crate::archive::collector::spooling::End;
use crate::model::backup::{BackupSet, Mode, Origin};
use crate::model::fault::Fault;
use crate::model::log::GapCause;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{Role, ServerFacts};
use crate::redis::reach::Reach;
use crate::redis::replica::follow::Follow;
use crate::redis::replica::handshake::CaptureOptions;
use std::time::Duration;

/// A source that goes on.
pub(super) struct Going {
    pub follow: Follow,
    pub late: Late,
    /// The source's process.
    pub run_id: String,
}

/// What came of asking a source to go on behind the log.
pub(super) enum GoneOn {
    Going(Box<Going>),
    /// The instance cannot, and why.
    Not(Broken),
}

/// A history that cannot be gone on with.
pub(super) struct Broken {
    pub reach: Reach,
    /// The instance's process, and for how long it runs.
    pub run_id: String,
    pub uptime: Duration,
}

impl Broken {
    /// Why the log has a gap, where `known` is the process that was followed last, `since` then, and `down` says that this process
    /// did not follow at all before.
    pub(super) fn cause(&self, known: &str, since: Duration, down: bool) -> GapCause {
        // A process that began meanwhile, under the address that was followed. Another server has run for longer.
        let restarted = self.run_id != known && self.uptime <= since + SLACK;
        match self.reach {
            // One that was shut down in good order goes on with its history, and has no backlog.
            Reach::Whole | Reach::Overrun if restarted && !down => GapCause::SourceRestarted,
            Reach::Whole | Reach::Overrun if down => GapCause::ArchiverDown,
            Reach::Whole | Reach::Overrun => GapCause::BacklogOverrun,
            Reach::Ahead | Reach::Left | Reach::Another if restarted => GapCause::SourceRestarted,
            Reach::Ahead | Reach::Left | Reach::Another => GapCause::FailoverNotFollowed,
        }
    }
}

/// Seconds by which an uptime, which is told in whole ones, may be beside the truth.
const SLACK: Duration = Duration::from_secs(2);
/// How long an instance may take to say up to where it has written: its stream waits meanwhile.
const SAYS_WITHIN: Duration = Duration::from_secs(2);

async fn facts_of(endpoint: &Endpoint) -> Result<ServerFacts, RedisError> {
    ServerFacts::read(&mut Conn::open(endpoint, COMMAND_TIMEOUT).await?).await
}

/// Asks one server to go on behind a position. `late`: what it had written, when `facts` were read.
async fn go_on(endpoint: &Endpoint, facts: &ServerFacts, end: &End, late: Late) -> Result<Option<Going>, RedisError> {
    let followed = Follow::resume(endpoint, &end.replid, end.offset, CaptureOptions::default()).await?;
    Ok(followed.map(|follow| Going { follow, late, run_id: facts.run_id.clone() }))
}

impl Inner {
    /// Up to where an instance has written of a history, whoever gives its log; `None` where it does not say in time, or goes on in another
    /// one.
    pub(super) async fn written(&self, id: &str, replid: &str) -> Option<u64> {
        let ask = async { facts_of(&self.endpoint(id).await.ok()?).await.ok() };
        let facts = tokio::time::timeout(SAYS_WITHIN, ask).await.ok()??;
        facts.replid.eq_ignore_ascii_case(replid).then_some(facts.offset)
    }

    /// Up to where what a server gives of an instance's log comes late, which had written so far: what a replica has yet to get does, too.
    async fn late_until(&self, id: &str, mode: Mode, facts: &ServerFacts) -> u64 {
        let written = if self.by_replica(id, mode) { self.written(id, &facts.replid).await } else { None };
        facts.offset.max(written.unwrap_or_default())
    }

    /// Goes on behind the end of a log: at the replica named for backups, or at the instance itself, whose word counts.
    pub(super) async fn go_on_with_log(&self, id: &str, end: &End, since_ms: i64) -> Result<GoneOn, Fault> {
        if self.by_replica(id, Mode::Automated) {
            let replica = self.capture_endpoint(id, Mode::Automated).await?;
            let attempt = async {
                let facts = facts_of(&replica).await?;
                if facts.reach(&end.replid, end.offset) != Reach::Whole {
                    return Ok(None);
                }
                let late = Late { until_offset: self.late_until(id, Mode::Automated, &facts).await, since_ms };
                go_on(&replica, &facts, end, late).await
            };
            match attempt.await {
                Ok(Some(going)) => return Ok(GoneOn::Going(Box::new(going))),
                Ok(None) => {}
                Err(error) => tracing::info!(instance = %id, "its replica cannot be followed: {error}"),
            }
        }
        let endpoint = self.endpoint(id).await?;
        let facts = facts_of(&endpoint).await?;
        let reach = facts.reach(&end.replid, end.offset);
        if reach == Reach::Whole
            && let Some(going) = go_on(&endpoint, &facts, end, Late { until_offset: facts.offset, since_ms }).await?
        {
            return Ok(GoneOn::Going(Box::new(going)));
        }
        let (run_id, uptime) = (facts.run_id, Duration::from_secs(facts.uptime_seconds));
        Ok(GoneOn::Not(Broken { reach, run_id, uptime }))
    }

    /// Attaches behind the newest set on the vault that the instance can still go on behind, so that nothing forks. A set that came
    /// from a replica does not say which database its stream was in, and is none to begin with.
    pub(super) async fn behind_a_set(&self, id: &str) -> Result<Option<(BackupSet, Box<Going>)>, Fault> {
        let endpoint = self.endpoint(id).await?;
        let facts = facts_of(&endpoint).await?;
        if facts.role != Role::Master {
            return Ok(None);
        }
        let captured_here = |set: &BackupSet| match &set.origin {
            Origin::Capture { address } => *address == endpoint.to_string(),
            _ => false,
        };
        let sets = self.sets(id).await?;
        let reached = sets
            .into_iter()
            .flatten()
            .find(|set| captured_here(set) && facts.reach(&set.replication_id, set.replication_offset) == Reach::Whole);
        let Some(set) = reached else { return Ok(None) };
        let end = End { replid: set.replication_id.clone(), offset: set.replication_offset };
        match self.go_on_with_log(id, &end, set.started_at.as_millisecond()).await? {
            GoneOn::Going(going) => Ok(Some((set, going))),
            GoneOn::Not(_) => Ok(None),
        }
    }

    /// A source that goes on right behind a set that was just captured from it. What it wrote while the data was on its way comes late.
    pub(super) async fn behind_capture(&self, set: &BackupSet, follow: Follow) -> Result<Box<Going>, Fault> {
        let facts = facts_of(&self.capture_endpoint(&set.instance_id, set.mode).await?).await?;
        let until_offset = self.late_until(&set.instance_id, set.mode, &facts).await;
        let late = Late { until_offset, since_ms: set.started_at.as_millisecond() };
        Ok(Box::new(Going { follow, late, run_id: set.run_id.clone() }))
    }
}
