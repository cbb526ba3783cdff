//! The last safety backup: the set that the way back restores, and the stream behind it up to the cutover.
//!
//! It is the plan's own where the stream shows that nothing was written since; else it is taken here, after the yes and before
//! the target is touched. A crash leaves its data without a manifest, which is found by the job's id.

use crate::guard::plan::{Plan, Safety, way_back};
use crate::guard::writes::Streamed;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::model::job::Job;
use crate::provider::local::Inner;
use crate::provider::local::backup::capture::Taken;
use crate::provider::local::backup::staging::last_safety_id;
use crate::provider::local::restore::tail::{Follower, read_to};
use crate::redis::endpoint::Endpoint;
use crate::redis::facts::ServerFacts;
use crate::redis::replica::handshake::{CaptureOptions, Extent};
use crate::redis::replica::tail::Tail;
use std::time::Duration;

/// How long a look at what was written since a set may take. The backlog, of a megabyte by default, comes at once.
const READING: Duration = Duration::from_secs(5);

/// The set that the way back restores, and the stream behind it.
#[derive(Debug)]
pub(super) struct LastSafety {
    pub(super) backup_id: String,
    /// Whether the set was taken for this job.
    pub(super) taken: bool,
    /// The replication id of the history that the stream belongs to.
    pub(super) replication_id: String,
    /// The counter of write commands right before the set was captured.
    pub(super) write_calls: Option<u64>,
    pub(super) tail: Follower,
}

impl Inner {
    /// The plan's safety backup as it lies in the vault; `None` where there is none.
    pub(super) async fn planned_safety(&self, plan: &Plan) -> Option<BackupSet> {
        let id = plan.safety.as_ref().map(|s| s.backup_id.as_str()).filter(|id| !id.is_empty())?;
        self.vault.find(&plan.instance_id, id, self).await.ok()
    }

    /// The stream behind a set, read up to where its server is now; `None` where the server's backlog does not reach back to the
    /// set, or its history is another one. What the server does not let us read is no failure: then a new set is taken.
    pub(super) async fn stream_behind(
        &self,
        endpoint: &Endpoint,
        facts: &ServerFacts,
        set: &BackupSet,
    ) -> Option<(Tail, Streamed)> {
        let (from, behind) = (facts.backlog_from?, set.replication_offset);
        let same = set.run_id == facts.run_id && set.replication_id == facts.replid;
        // Another answer than "go on" would make the server fork for a snapshot that nobody wants.
        if !same || behind.saturating_add(1) < from || behind > facts.offset {
            return None;
        }
        let resumed = Tail::resume(endpoint, &set.replication_id, behind, CaptureOptions::default()).await;
        let mut tail = match resumed {
            Ok(tail) => tail?,
            Err(error) => {
                tracing::debug!("the stream behind {} cannot be read: {error}", set.id);
                return None;
            }
        };
        let seen = read_to(&mut tail, facts.offset, READING).await.ok()??;
        Some((tail, Streamed { writes: seen.writes, removals: seen.removals }))
    }

    /// The last safety backup of a job and its tail; `None` where the plan has no safety backup, and so promises none.
    pub(super) async fn last_safety(
        &self,
        job: &Job,
        plan: &Plan,
        endpoint: &Endpoint,
        facts: &ServerFacts,
        calls: u64,
    ) -> Result<Option<LastSafety>, Fault> {
        if plan.safety.is_none() {
            return Ok(None);
        }
        // A set without a single write behind it is the last one, whatever moved the position: signs of life, messages, expiries.
        if let Some(set) = self.planned_safety(plan).await
            && let Some((_, seen)) = self.stream_behind(endpoint, facts, &set).await
            && (seen == Streamed::default() || (seen.writes == 0 && set.write_calls == Some(calls)))
            && let Ok(Some(tail)) =
                Tail::resume(endpoint, &set.replication_id, set.replication_offset, CaptureOptions::default()).await
        {
            let tail = self.follow_tail(&job.id, tail).await?;
            return Ok(Some(LastSafety {
                backup_id: set.id,
                taken: false,
                replication_id: set.replication_id,
                write_calls: set.write_calls,
                tail,
            }));
        }
        let capture = Job { backup_id: last_safety_id(&job.id), ..job.clone() };
        let note = "taken after the yes, before the restore";
        let Taken { set, snapshot, .. } = self
            .take_set(&capture, Mode::Safety, note.to_owned(), Extent::SnapshotAndStream)
            .await
            .map_err(|fault| {
                let message = format!(
                    "the last safety backup could not be taken, and the target was not touched: {}",
                    fault.message
                );
                let hint = fault.hint.clone();
                Fault::new(fault.kind, fault.code, message).hint(hint).because(fault)
            })?;
        self.replace_oldest_safety_backup(&plan.instance_id, &set.id).await;
        let tail = self.follow_tail(&job.id, snapshot.into_tail()?).await?;
        let (replication_id, write_calls) = (set.replication_id, set.write_calls);
        Ok(Some(LastSafety { backup_id: set.id, taken: true, replication_id, write_calls, tail }))
    }

    /// The call that restores what was there before a job: its last safety backup where it took one, else the plan's.
    pub(in crate::provider::local) async fn way_back_of(
        &self,
        job_id: &str,
        instance_id: &str,
        planned: &str,
    ) -> String {
        let last = last_safety_id(job_id);
        match self.vault.find(instance_id, &last, self).await {
            Ok(set) => way_back(
                instance_id,
                &Safety { job_id: String::new(), backup_id: set.id, stored_sha256: String::new() },
            ),
            Err(_) => planned.to_owned(),
        }
    }
}
