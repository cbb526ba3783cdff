//! Taking a backup in the cloud: one call, one job, followed to the set it makes, across the end of this process.
//!
//! `CreateBackup` has no idempotency token, so what there was before the call is written down first. After a lost reply
//! whatever is new is ours; nothing is ever sent again before that has been looked at.

use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd, JobKind, RecoveryKind, StoredRecovery, Unfinished};
use crate::model::time::written;
use crate::provider::jobs::Recoverable;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::poller::Poller;
use crate::provider::tair::sets;
use crate::provider::tair::{Inner, same_fault, traffic};
use crate::state::jobs::Begun;
use crate::tair::error::TairError;
use crate::tair::retry::Retry;
use crate::tair::wire::attribute::InstanceAttribute;
use crate::tair::wire::backups::{BackupTask, CreateBackup, DescribeBackupTasks};
use crate::tair::wire::clusters::ClusterBackup;
use crate::tair::wire::moment;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Rows looked at: those of jobs that began this long before the call, for a job that is joined.
const BEFORE: SignedDuration = SignedDuration::from_hours(48);
/// A job that begins so long before or after the call is not its own; clocks differ a little.
const NEAR: SignedDuration = SignedDuration::from_mins(10);
/// Times a call that was refused because of a job which nobody can see is sent again.
const REFUSALS: u32 = 5;

/// What a later process needs to go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// When the call was made.
    pub called_at: Timestamp,
    /// Whether sets are listed as a cloud-native cluster's.
    pub cluster: bool,
    /// Shards, where there are several.
    pub shards: Option<usize>,
    /// What there was before the call: jobs, or sets of a cluster.
    pub known: BTreeSet<String>,
    /// The jobs that are followed; empty while they are not known.
    pub jobs: Vec<i64>,
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudBackup;
}

type Started = oneshot::Sender<Result<bool, Fault>>;

impl Inner {
    /// Starts a backup, or joins the one that runs, here or in the cloud.
    pub async fn start_backup(self: &Arc<Self>, instance_id: &str, mode: Mode) -> Result<(Job, bool), Fault> {
        let attribute = self.attribute(instance_id).await?;
        Architecture::of(&attribute).can_back_up().map_err(|no| {
            Fault::new(Kind::Provider, "backup.unsupported", format!("{instance_id} cannot be backed up: {}", no.why))
                .hint("Change it to an instance with a replica in the console; then it can be backed up.")
        })?;
        let (tx, rx) = oneshot::channel();
        let inner = Arc::clone(self);
        let begun = self
            .jobs
            .begin(
                JobKind::Backup,
                instance_id,
                "",
                |job| async move { inner.backup(&job, &attribute, mode, tx).await },
            )
            .await?;
        match begun {
            Begun::Joined(job) => Ok((job, true)),
            // The job tells by its own end what went wrong if it died before it could say.
            Begun::Started(job) => rx.await.unwrap_or(Ok(false)).map(|joined| (job, joined)),
        }
    }

    /// Starts what undoes a restore. There is no counter of writes by which an earlier set could be known to be as good, so
    /// an older job of ours that still runs will do only where nothing was written since it began.
    pub async fn safety_backup(self: &Arc<Self>, instance_id: &str) -> Result<Job, Fault> {
        let (job, joined) = self.start_backup(instance_id, Mode::Safety).await?;
        if !joined {
            return Ok(job);
        }
        let running = self.running(instance_id).await?;
        // The cloud's own job may have begun before ours joined it.
        if let Some(began) = running.iter().filter_map(|t| moment(t.start_time.as_deref())).min() {
            let shape = Architecture::of(&self.attribute(instance_id).await?).shape;
            let from = began.min(job.created_at);
            // Measured by the minute: the one that it began in counts as well.
            let from = from.saturating_sub(SignedDuration::from_mins(1)).unwrap_or(from);
            if traffic::writes(&self.client, instance_id, shape, from).await?.peak == 0.0 {
                return Ok(job);
            }
        }
        let message = format!(
            "backup {} of {instance_id} runs since before the last writes, which would be in no backup",
            job.id
        );
        Err(Fault::new(Kind::Provider, "job.busy", message)
            .hint("Wait for it with describe_jobs; then make the plan again, which takes a backup of its own.")
            .next(&["describe_jobs"])
            .retry_after(std::time::Duration::from_secs(5)))
    }

    async fn backup(&self, job: &Job, of: &InstanceAttribute, mode: Mode, tx: Started) -> JobEnd {
        let mut tx = Some(tx);
        let started = self.call_for_backup(job, of, mode, &mut tx).await;
        let (record, joined) = match started {
            Ok(started) => started,
            Err(end) => {
                if let Some(tx) = tx.take() {
                    let _ = tx.send(Err(same_fault(&end)));
                }
                return Err(end);
            }
        };
        if let Some(tx) = tx.take() {
            let _ = tx.send(Ok(joined));
        }
        self.follow_backup(job, record).await
    }

    /// Goes on with a job whose process died.
    pub async fn resume_backup(&self, job: &Job, record: Option<&StoredRecovery>) -> JobEnd {
        let Some(record) = Record::read(record)? else {
            return Err(Fault::new(
                Kind::Unexpected,
                "job.interrupted",
                "the process died before it asked the cloud for this backup",
            )
            .hint("Call create_backup again.")
            .into());
        };
        if !record.cluster && record.jobs.is_empty() {
            // It died between the call and its reply.
            let found = self.look_for_new(job, &record).await?;
            return match found {
                Some(record) => self.follow_backup(job, record).await,
                None => Err(lost_call(record.called_at).into()),
            };
        }
        self.follow_backup(job, record).await
    }

    /// Makes the call. Tells what to follow, and whether that ran before.
    async fn call_for_backup(
        &self,
        job: &Job,
        of: &InstanceAttribute,
        mode: Mode,
        tx: &mut Option<Started>,
    ) -> Result<(Record, bool), Unfinished> {
        let architecture = Architecture::of(of);
        let shards = of.shard_count.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 1);
        let mut poller = Poller::new(&self.polling, self.polling.backup, &self.jobs.stop);
        let mut refusals = 0;
        loop {
            let mut record = Record {
                called_at: Timestamp::now(),
                cluster: architecture.lists_cluster_sets(),
                shards,
                known: BTreeSet::new(),
                jobs: Vec::new(),
            };
            record.known = self.there_now(&job.instance_id, record.cluster).await?;
            // A crash from here on is looked into by the next process.
            self.jobs.save_recovery(job, &record).await?;
            self.jobs.progress(job, "asking for a backup", 0, 0).await?;
            let call = CreateBackup { instance_id: job.instance_id.clone(), backup_retention_period: None };
            match self.client.call(&call).await {
                Ok(reply) => {
                    record.jobs = reply.jobs().iter().filter_map(|id| id.parse().ok()).collect();
                    if record.jobs.is_empty() && !record.cluster {
                        // It was taken; which job it is can still be seen.
                        let found = self.look_for_new(job, &record).await?;
                        return found.map(|record| (record, false)).ok_or_else(|| lost_call(Timestamp::now()).into());
                    }
                    self.keep(job, &record).await;
                    return Ok((record, false));
                }
                Err(e) if e.is_code("BackupJobExists") => {}
                Err(e) if e.is_uncertain() => {
                    tracing::warn!(job = %job.id, "{e}; looking whether it arrived");
                    if let Some(record) = self.look_for_new(job, &record).await? {
                        return Ok((record, false));
                    }
                    if self.running(&job.instance_id).await?.is_empty() {
                        return Err(lost_call(record.called_at).because(e).into());
                    }
                    // One that ran before still runs: then this call was refused, whatever became of the reply.
                }
                Err(e) => return Err(refused(e).into()),
            }
            let running = self.running(&job.instance_id).await?;
            match mode {
                // What undoes a restore must hold the very last write, so one that began earlier will not do.
                Mode::Safety => {
                    if let Some(tx) = tx.take() {
                        let _ = tx.send(Ok(false));
                    }
                    self.jobs.progress(job, "waiting for the backup that runs already", 0, 0).await?;
                }
                _ if !running.is_empty() => {
                    record.jobs = running.iter().filter_map(|t| t.backup_job_id).filter(|id| *id > 0).collect();
                    record.known.retain(|id| !record.jobs.iter().any(|j| j.to_string() == *id));
                    self.keep(job, &record).await;
                    return Ok((record, true));
                }
                // Refused because of one that is over by now.
                _ if refusals < REFUSALS => refusals += 1,
                _ => {
                    return Err(Fault::new(
                        Kind::Provider,
                        "cloud.backup_running",
                        "the cloud says that a backup job runs, and lists none",
                    )
                    .hint("Wait a minute and call create_backup again.")
                    .retry_after(std::time::Duration::from_secs(60))
                    .into());
                }
            }
            poller.wait("the backup that ran before").await?;
        }
    }

    /// Jobs or sets that there are: whatever is not among them later is new.
    async fn there_now(&self, instance_id: &str, cluster: bool) -> Result<BTreeSet<String>, Fault> {
        if cluster {
            let rows = sets::cluster_rows(&self.client, instance_id, recent()).await?;
            let over = rows.into_iter().filter(|r| r.cluster_backup_status.as_deref() != Some("RUNNING"));
            return Ok(over.map(|r| r.cluster_backup_id).collect());
        }
        let rows = sets::rows(&self.client, instance_id, recent()).await?;
        let tasks = self.tasks(instance_id, None).await?;
        let jobs = rows.iter().filter_map(|r| r.backup_job_id).chain(tasks.iter().filter_map(|t| t.backup_job_id));
        Ok(jobs.map(|id| id.to_string()).collect())
    }

    pub(super) async fn tasks(&self, instance_id: &str, job: Option<i64>) -> Result<Vec<BackupTask>, TairError> {
        let ask = DescribeBackupTasks {
            instance_id: instance_id.into(),
            backup_job_id: job.map(|id| id.to_string()),
            job_mode: None,
        };
        Ok(self.client.call(&ask).await?.backup_jobs)
    }

    /// Jobs that run in the cloud, whoever asked for them.
    async fn running(&self, instance_id: &str) -> Result<Vec<BackupTask>, Fault> {
        let mut tasks = self.tasks(instance_id, None).await?;
        tasks.retain(|t| !t.is_finished());
        Ok(tasks)
    }

    /// Looks for what was not there before the call, until it would have to be seen.
    async fn look_for_new(&self, job: &Job, record: &Record) -> Result<Option<Record>, Unfinished> {
        let mut poller = Poller::new(&self.polling, self.polling.backup, &self.jobs.stop);
        loop {
            if record.cluster {
                let rows = sets::cluster_rows(&self.client, &job.instance_id, since(record.called_at)).await;
                let rows = poller.tolerate(rows)?.unwrap_or_default();
                let ours = |r: &ClusterBackup| {
                    !record.known.contains(&r.cluster_backup_id)
                        && record.may_be(r.cluster_backup_mode.as_deref(), r.cluster_backup_start_time.as_deref())
                };
                if rows.iter().any(ours) {
                    return Ok(Some(record.clone()));
                }
            } else {
                let tasks = poller.tolerate(self.tasks(&job.instance_id, None).await)?.unwrap_or_default();
                let rows = sets::rows(&self.client, &job.instance_id, since(record.called_at)).await;
                let rows = poller.tolerate(rows)?.unwrap_or_default();
                let tasks = tasks
                    .iter()
                    .filter(|t| record.may_be(t.job_mode.as_deref(), t.start_time.as_deref()))
                    .filter_map(|t| t.backup_job_id);
                let rows = rows
                    .iter()
                    .filter(|r| record.may_be(r.backup_mode.as_deref(), r.backup_start_time.as_deref()))
                    .filter_map(|r| r.backup_job_id);
                let ids = tasks.chain(rows);
                let new: BTreeSet<i64> = ids.filter(|id| *id > 0 && !record.known.contains(&id.to_string())).collect();
                if !new.is_empty() {
                    let record = Record { jobs: new.into_iter().collect(), ..record.clone() };
                    self.keep(job, &record).await;
                    return Ok(Some(record));
                }
            }
            if poller.elapsed() >= self.polling.visible {
                return Ok(None);
            }
            poller.wait("the call for a backup").await?;
        }
    }
}

impl Record {
    /// Whether what is new may have come of our call: asked for by hand, and begun when we called. What is not told does not
    /// speak against it.
    fn may_be(&self, mode: Option<&str>, began: Option<&str>) -> bool {
        let by_hand = mode.is_none_or(|m| !m.eq_ignore_ascii_case("Automated"));
        by_hand && moment(began).is_none_or(|at| at.duration_since(self.called_at).abs() <= NEAR)
    }
}

fn recent() -> (Timestamp, Timestamp) {
    since(Timestamp::now())
}

/// What may be of a job that was called for at a moment, or joined then.
pub(super) fn since(called_at: Timestamp) -> (Timestamp, Timestamp) {
    let now = Timestamp::now();
    let from = called_at.min(now);
    let day = SignedDuration::from_hours(24);
    (from.saturating_sub(BEFORE).unwrap_or(from), now.saturating_add(day).unwrap_or(now))
}

pub(super) fn lost_call(called_at: Timestamp) -> Fault {
    Fault::new(
        Kind::Provider,
        "cloud.uncertain",
        format!(
            "the reply to the call of {} was lost, and no backup has appeared since: most likely it never arrived",
            written(called_at)
        ),
    )
    .hint("Look with describe_backups once more; if there is no new set, call create_backup again.")
    .next(&["describe_backups", "create_backup"])
}

fn refused(e: TairError) -> Fault {
    let daily = e.cloud().is_some_and(|c| {
        c.meaning().retry == Retry::Tomorrow || c.message.to_ascii_lowercase().contains("daily backup times")
    });
    if daily && !e.is_code("BackupTimesExceeded") {
        // The message is documented, its code is not everywhere the same.
        return Fault::new(Kind::Provider, "cloud.backup_daily_limit", e.to_string())
            .hint("An instance can be backed up by hand 30 times in 24 hours. Use a set that exists.")
            .next(&["describe_backups"])
            .because(e);
    }
    e.into()
}
