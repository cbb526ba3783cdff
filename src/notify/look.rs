//! Looks at each instance for what is missing: a backup that was due, a drill, a part of the log. An alarm is on from then until it is made up
//! for, and told at both ends; a gap is told once.

use crate::model::calendar::{Calendar, History};
use crate::model::fault::Fault;
use crate::model::job::{Job, JobKind};
use crate::model::log::Gap;
use crate::model::time::written;
use crate::notify::Turn;
use crate::notify::event::{Event, Notification};
use crate::schedule::stale::{backup_made_up, backup_missing, drill_made_up, drill_missing};
use crate::state::jobs::JobsOf;
use crate::state::notified::Noticed;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How often all instances are looked at: each look lists its sets.
const EVERY: Duration = Duration::from_secs(60);
/// How long the look at one may take: a vault that hangs must not hide the other instances.
const LOOK_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at the clock, and by how much two clocks may differ over that before it is said that one was set.
const TICK: Duration = Duration::from_secs(1);
const STEP_SECONDS: i64 = 2;
/// For how long something is seen missing before that is told: a process that was down takes what was missed first.
pub(super) const HOLD: SignedDuration = SignedDuration::from_mins(5);
/// How long work may be under way that is about to make up for what is missing.
const AT_WORK: SignedDuration = SignedDuration::from_hours(24);

/// What may be missing of an instance.
struct Kind {
    name: &'static str,
    missing: Event,
    over: Event,
    /// The job that makes up for it.
    job: JobKind,
}

const BACKUP: Kind =
    Kind { name: "backup", missing: Event::BackupOverdue, over: Event::BackupRecovered, job: JobKind::Backup };
const DRILL: Kind =
    Kind { name: "drill", missing: Event::DrillOverdue, over: Event::DrillRecovered, job: JobKind::Verification };

/// What the looks of one turn remember.
#[derive(Default)]
struct Seen {
    /// Since when something is seen missing that was not told yet.
    missing: BTreeMap<String, Timestamp>,
    /// Gaps that were noticed.
    gaps: BTreeSet<String>,
    /// What each instance had a calendar for when that could be read last, and what had been by it.
    scheduled: BTreeMap<String, (Calendar, History)>,
}

/// What an instance has a calendar for, and what has been by it.
type Scheduled = Option<(Calendar, History)>;

impl Turn<'_> {
    /// Looks at all instances, for as long as it is polled.
    pub(super) async fn look(&self) {
        let mut seen = Seen::default();
        loop {
            let begun = (Instant::now(), Timestamp::now());
            self.look_at_all(&mut seen).await;
            while begun.0.elapsed() < EVERY && !was_set(begun) {
                tokio::time::sleep(TICK).await;
            }
        }
    }

    async fn look_at_all(&self, seen: &mut Seen) {
        let alarms = match self.state().alarms().await {
            Ok(alarms) => alarms,
            Err(fault) => return tracing::debug!("what is missing is not known: {fault}"),
        };
        for (name, since) in &alarms {
            if let Err(fault) = self.may_forget(name, *since).await {
                tracing::debug!("{name} is on still: {fault}");
            }
        }
        for id in &self.of.instances {
            if let Err(fault) = self.look_at(id, &alarms, seen).await {
                tracing::debug!(instance = %id, "what is missing of it is not known: {fault}");
            }
        }
    }

    async fn look_at(&self, id: &str, alarms: &BTreeMap<String, Timestamp>, seen: &mut Seen) -> Result<(), Fault> {
        let until = tokio::time::Instant::now() + LOOK_WITHIN;
        let why = match tokio::time::timeout_at(until, self.of.provider.scheduled(id)).await {
            Ok(Ok(Some(scheduled))) => {
                seen.scheduled.insert(id.to_owned(), scheduled);
                None
            }
            Ok(Ok(None)) => {
                seen.scheduled.remove(id);
                None
            }
            Ok(Err(fault)) => Some(fault.message),
            Err(_) => Some(format!("no answer within {} s", LOOK_WITHIN.as_secs())),
        };
        if let Some(why) = &why {
            tracing::warn!(instance = %id, "its backups cannot be listed: {why}");
            self.judge_unlisted(id, seen).await?;
        }
        let scheduled = seen.scheduled.get(id).cloned();
        // Where nobody can list sets nobody takes one either, and no job fails of it: that is to be told all the same. Nothing is made up for.
        let kinds: &[&Kind] = if why.is_none() { &[&BACKUP, &DRILL] } else { &[&BACKUP] };
        for kind in kinds {
            let name = format!("alarm/{}/{id}", kind.name);
            match alarms.get(&name) {
                None => self.may_begin(kind, (id, &name), &scheduled, why.as_deref(), seen).await?,
                Some(since) if why.is_none() => self.may_end(kind, (id, &name), &scheduled, *since).await?,
                Some(_) => {}
            }
        }
        let told_since = self.since().await?;
        let Ok(log) = tokio::time::timeout_at(until, self.of.provider.log_status(id)).await else { return Ok(()) };
        if let Some(log) = log? {
            for gap in log.gaps.iter().filter(|gap| gap.to >= told_since) {
                self.gap(id, gap, seen).await?;
            }
        }
        Ok(())
    }

    /// Has an instance judged whose backups cannot be listed: by what was known of it, and where nothing was, from now on.
    async fn judge_unlisted(&self, id: &str, seen: &mut Seen) -> Result<(), Fault> {
        let policy = self.of.provider.backup_policy(id).await?;
        let Some(calendar) = Calendar::of(&policy) else {
            seen.scheduled.remove(id);
            return Ok(());
        };
        // A calendar that was changed meanwhile wants nothing of before.
        if seen.scheduled.get(id).is_none_or(|(known, _)| *known != calendar) {
            let history = History { since: Some(Timestamp::now()), ..History::default() };
            seen.scheduled.insert(id.to_owned(), (calendar, history));
        }
        Ok(())
    }

    /// Sets the alarm where something is missing.
    async fn may_begin(
        &self,
        kind: &Kind,
        (id, name): (&str, &str),
        scheduled: &Scheduled,
        unlisted: Option<&str>,
        seen: &mut Seen,
    ) -> Result<(), Fault> {
        let (told_since, now) = (self.since().await?, Timestamp::now());
        let missing = scheduled.as_ref().and_then(|(calendar, history)| match kind.missing {
            Event::DrillOverdue => drill_missing(history, (told_since, now)),
            _ => backup_missing(calendar, id, history, (told_since, now), self.of.config.grace),
        });
        let Some(since) = missing else {
            seen.missing.remove(name);
            return Ok(());
        };
        let first = seen.missing.entry(name.to_owned()).or_insert(now);
        // A clock that was set back since.
        *first = (*first).min(now);
        if now.duration_since(*first) < HOLD || self.is_at_work(kind.job, id, now).await? {
            return Ok(());
        }
        let message = match (kind.missing, scheduled) {
            (Event::DrillOverdue, _) => {
                format!("no backup of {id} has passed a drill since {}: one is due each week", written(since))
            }
            (_, Some((_, history))) => {
                let last = history.taken.iter().filter(|at| **at <= now).max();
                let last = match (last, unlisted) {
                    (Some(at), _) => format!("; the last began at {}", written(*at)),
                    (None, None) => "; there is none".to_owned(),
                    (None, Some(_)) => String::new(),
                };
                let why = unlisted.map_or_else(String::new, |why| format!("; its backups cannot be listed: {why}"));
                format!("the backup of {id} that was due at {} has not been taken{last}{why}", written(since))
            }
            _ => return Ok(()),
        };
        let told = Notification::new(kind.missing, id, now, &message).since(since);
        self.notice(Noticed::On(name, since), Some(&told)).await?;
        seen.missing.remove(name);
        Ok(())
    }

    /// Takes the alarm back where what was missing is there.
    async fn may_end(
        &self,
        kind: &Kind,
        (id, name): (&str, &str),
        scheduled: &Scheduled,
        since: Timestamp,
    ) -> Result<(), Fault> {
        let now = Timestamp::now();
        let message = match (kind.over, scheduled) {
            (_, None) => format!("{id} has no policy any more by which one would be due"),
            (Event::DrillRecovered, Some((_, history))) if drill_made_up(since, history, now) => {
                format!("a backup of {id} has passed a drill again")
            }
            (Event::BackupRecovered, Some((_, history))) if backup_made_up(id, since, history, now) => {
                format!("backups of {id} are taken again")
            }
            _ => return Ok(()),
        };
        let told = Notification::new(kind.over, id, now, &message).since(since);
        self.notice(Noticed::Off(name), Some(&told)).await.map(drop)
    }

    /// Takes the alarm of an instance back that is not configured any more: nobody would look whether what is missing is there, and the monitor
    /// would hear of no success for ever.
    async fn may_forget(&self, name: &str, since: Timestamp) -> Result<(), Fault> {
        for kind in [&BACKUP, &DRILL] {
            let Some(id) = name.strip_prefix(&format!("alarm/{}/", kind.name)) else { continue };
            if !self.of.instances.iter().any(|one| one == id) {
                let message = format!("{id} is not configured any more");
                let told = Notification::new(kind.over, id, Timestamp::now(), &message).since(since);
                self.notice(Noticed::Off(name), Some(&told)).await?;
            }
        }
        Ok(())
    }

    /// Whether something is under way that makes up for what is missing.
    async fn is_at_work(&self, kind: JobKind, id: &str, now: Timestamp) -> Result<bool, Fault> {
        let running = JobsOf { kind: Some(kind), ..JobsOf::running(id) };
        let is_young = |job: &Job| now.duration_since(job.created_at).abs() < AT_WORK;
        Ok(self.state().latest(running).await?.iter().any(|job| !job.needs_reconciliation() && is_young(job)))
    }

    async fn gap(&self, id: &str, gap: &Gap, seen: &mut Seen) -> Result<(), Fault> {
        let name = format!("gap/{id}/{}/{}/{}", gap.timeline, gap.shard, gap.after_offset);
        if seen.gaps.contains(&name) {
            return Ok(());
        }
        let detail = if gap.detail.is_empty() { String::new() } else { format!(": {}", gap.detail) };
        let (from, to, cause) = (written(gap.from), written(gap.to), gap.cause.as_str());
        let message = format!("the log of {id} lacks what was written between {from} and {to} ({cause}{detail})");
        let told = Notification::new(Event::LogGap, id, gap.to, &message).since(gap.from);
        self.notice(Noticed::Once(&name), Some(&told)).await?;
        seen.gaps.insert(name);
        Ok(())
    }
}

/// Whether the clock was set since a moment, or the machine slept.
fn was_set((instant, moment): (Instant, Timestamp)) -> bool {
    let passed = i64::try_from(instant.elapsed().as_secs()).unwrap_or(i64::MAX);
    (Timestamp::now().duration_since(moment).as_secs() - passed).abs() >= STEP_SECONDS
}
