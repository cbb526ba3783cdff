//! Where a history broke off: by which restore, how far its log is on the vault, and what is missing behind it.
//!
//! It must not begin what comes behind a break.

use crate::archive::SHARD;
use crate::archive::{Reached, RestoredFrom, Timeline};
use crate::config::blocking::blocking;
use crate::model::fault::Fault;
use crate::model::job::{Job, JobKind};
use crate::model::log::{Gap, GapCause};
use crate::model::time::written_short;
use crate::provider::local::Inner;
use crate::state::jobs::JobsOf;
use jiff::{SignedDuration, Timestamp};

/// A history that broke off by a restore.
pub(super) struct BrokenOff {
    /// The newest restore, whose history goes on.
    pub(super) by: RestoredFrom,
    /// The last offset of the history that broke off.
    pub(super) last: u64,
    /// Whether there were restores between, and so histories that nobody followed.
    pub(super) unfollowed: bool,
    /// When what the restore put in went into service.
    pub(super) serving_at: Option<Timestamp>,
}

/// How long a restore may lie back before what was written since counts as missing.
const FOLLOWED_WITHIN: SignedDuration = SignedDuration::from_secs(30);

impl BrokenOff {
    /// What is missing of the history that broke off, whose log ends at `end`, and of the next: nothing where the one ends there, and the
    /// other is followed at once. `cause`: why the end would be missing.
    pub(super) fn missing(&self, end: u64, cause: GapCause) -> Option<GapCause> {
        let late = self.serving_at.is_some_and(|at| Timestamp::now().duration_since(at) > FOLLOWED_WITHIN);
        match () {
            () if self.unfollowed => Some(GapCause::ArchiverDown),
            () if self.last > end => Some(cause),
            () => late.then_some(GapCause::ArchiverDown),
        }
    }
}

impl Inner {
    /// The latest restores of this instance, newest first.
    pub(super) async fn restores(&self, id: &str) -> Result<Vec<Job>, Fault> {
        self.state.latest(JobsOf::kind(id, JobKind::Restore)).await
    }

    /// How a history broke off by a restore, where it did so.
    pub(super) async fn restored(
        &self,
        id: &str,
        restores: &[Job],
        timeline: &Timeline,
        replid: &str,
    ) -> Result<Option<BrokenOff>, Fault> {
        let known = timeline.restored_from.as_ref().map(|from| from.job_id.as_str());
        let Some((job, first, last)) = newest_and_first(restores, known, replid) else { return Ok(None) };
        let (unfollowed, serving_at) = (first != job.id, job.serving_at);
        let broken_off = |by| Some(BrokenOff { by, last, unfollowed, serving_at });
        let replayed = job.restored.as_ref().and_then(|to| Some((to.position.as_ref()?.parse().ok()?, to.moment)));
        if let Some((position, moment)) = replayed {
            return Ok(broken_off(RestoredFrom { position: Some(position), moment, job_id: job.id.clone() }));
        }
        let set = self.vault.find(id, &job.backup_id, self).await;
        let (archive, id) = (self.archive.clone(), id.to_owned());
        let timelines = blocking(move || archive.timelines(&id, SHARD)).await?;
        let moment = job.restored.as_ref().map_or(job.created_at, |to| to.moment);
        let moment = set.as_ref().map_or(moment, |set| set.started_at);
        let position = set.ok().and_then(|set| {
            let lies_on = |t: &&Timeline| t.replid == set.replication_id && t.offset <= set.replication_offset;
            timelines.iter().rev().find(lies_on).map(|t| t.position(set.replication_offset))
        });
        Ok(broken_off(RestoredFrom { position, moment, job_id: job.id.clone() }))
    }

    /// How far a timeline is on the vault.
    pub(super) async fn archived_of(&self, id: &str, timeline: &Timeline) -> Result<Option<Reached>, Fault> {
        let (archive, id) = (self.archive.clone(), id.to_owned());
        let coverage = blocking(move || archive.coverage(&id, SHARD)).await?;
        let last =
            coverage.runs.iter().rev().find(|run| run.timeline.id == timeline.id).and_then(|run| run.segments.last());
        Ok(last.map(|segment| Reached {
            offset: segment.last,
            at: Timestamp::from_millisecond(segment.last_ms).unwrap_or(timeline.opened_at),
        }))
    }

    /// Puts down what is missing behind a timeline that has ended, but for where the log reached there.
    pub(super) async fn put_gap(
        &self,
        timeline: &Timeline,
        reached: Option<Reached>,
        missing: Gap,
    ) -> Result<(), Fault> {
        let from = reached.map_or(timeline.opened_at, |reached| reached.at);
        let gap = Gap {
            after_offset: reached.map_or(timeline.offset, |reached| reached.offset),
            from,
            to: missing.to.max(from),
            ..missing
        };
        let id = timeline.instance_id.clone();
        let detail = Some(gap.detail.as_str()).filter(|detail| !detail.is_empty());
        let (from, to) = (written_short(from), written_short(gap.to));
        tracing::warn!(instance = %id, detail, "the log has a gap, {}: nothing from {from} to {to} can be recovered", gap.cause.as_str());
        let archive = self.archive.clone();
        blocking(move || archive.record_gap(&id, &gap)).await
    }
}

/// The newest restore that ended a history, and the one that ended this history, with its last offset; `None` where none did. Restores are given
/// newest first; `known` is the one that the log goes on behind.
fn newest_and_first<'j>(restores: &'j [Job], known: Option<&str>, replid: &str) -> Option<(&'j Job, &'j str, u64)> {
    // By the history that it ended, and by no clock. What a restore by commands writes, of all keys or of some, is part of the history, and a
    // break before or after is none of its doing. Those after the one that ended this history ended others, which nobody followed.
    let ended = |job: &'j Job| Some((job, job.restored.as_ref()?.ended.as_ref()?));
    let mut by =
        restores.iter().filter(|job| job.serving_at.is_some() && Some(job.id.as_str()) != known).filter_map(ended);
    let newest = by.clone().next()?.0;
    by.find(|(_, (id, _))| id == replid).map(|(first, (_, last))| (newest, first.id.as_str(), *last))
}

#[cfg(test)]
mod tests {
    //! What is missing behind a restore: the end of the old history, histories between, and what nobody followed for a time.
    use super::{BrokenOff, FOLLOWED_WITHIN};
    use crate::archive::RestoredFrom;
    use crate::model::log::GapCause;
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn what_is_missing_behind_a_restore() {
        let restored = |last, unfollowed, ago: SignedDuration| BrokenOff {
            by: RestoredFrom { position: None, moment: Timestamp::now(), job_id: String::new() },
            last,
            unfollowed,
            serving_at: Some(Timestamp::now() - ago),
        };
        let (soon, late) = (FOLLOWED_WITHIN / 2, FOLLOWED_WITHIN * 2);
        for (last, unfollowed, ago, missing) in [
            (10, false, soon, None),
            (11, false, soon, Some(GapCause::SourceRestarted)),
            (10, true, soon, Some(GapCause::ArchiverDown)),
            (10, false, late, Some(GapCause::ArchiverDown)),
            (11, false, late, Some(GapCause::SourceRestarted)),
        ] {
            let found = restored(last, unfollowed, ago).missing(10, GapCause::SourceRestarted);
            assert_eq!(found, missing, "{last} {unfollowed} {ago:?}");
        }
    }
}
