//! Calling for a backup, and finding what came of the call where its reply was lost.
//!
//! `CreateBackup` has no idempotency token, so what there was before the call is written down first. After a lost reply
//! whatever is new is ours; nothing is ever sent again before that has been looked at.

use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, Unfinished};
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::backup::record::{Made, Record, lost_call, since};
use crate::provider::tair::backup::{Started, say_started};
use crate::provider::tair::poller::Poller;
use crate::provider::tair::{Inner, sets};
use crate::tair::error::{CloudError, TairError};
use crate::tair::wire::attribute::InstanceAttribute;
use crate::tair::wire::backups::{BackupTask, CreateBackup, DescribeBackupTasks};
use std::collections::BTreeSet;

/// Times a call that was refused because of a job which nobody can see is sent again.
const REFUSALS: u32 = 5;

impl Inner {
    /// Calls `CreateBackup`. Returns what to follow, and whether that ran before the call.
    pub(super) async fn call_for_backup(
        &self,
        job: &Job,
        of: &InstanceAttribute,
        (mode, days): (Mode, Option<u32>),
        started: &mut Option<Started>,
    ) -> Result<(Record, bool), Unfinished> {
        let architecture = Architecture::of(of);
        let shards = of.shard_count.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 1);
        let mut poller = Poller::new(&self.polling, self.polling.backup_timeout, &self.jobs.stop);
        let mut refusals = 0;
        loop {
            let mut record = Record {
                called_at: self.client.now(),
                cluster: architecture.lists_cluster_sets(),
                shards,
                known: BTreeSet::new(),
                jobs: Vec::new(),
                joined: false,
            };
            record.known = self.listed_now(&job.instance_id, record.cluster).await?;
            // A crash from here on is looked into by the next process.
            self.jobs.save_recovery(job, &record).await?;
            self.jobs.progress(job, "asking for a backup", 0, 0).await?;
            let call =
                CreateBackup { instance_id: job.instance_id.clone(), backup_retention_period: days.map(i64::from) };
            match self.client.call(&call).await {
                Ok(reply) => {
                    record.jobs = reply.jobs().iter().filter_map(|id| id.parse().ok()).collect();
                    if record.jobs.is_empty() && !record.cluster {
                        // The call was taken; which job came of it can still be seen.
                        let found = self.look_for_new(job, &record, started).await?;
                        return found.map(|record| (record, false)).ok_or_else(|| lost_call(record.called_at).into());
                    }
                    self.keep_recovery(job, &record).await;
                    return Ok((record, false));
                }
                Err(e) if e.is_cloud(CloudError::says_backup_runs) => {}
                Err(e) if e.is_uncertain() => {
                    tracing::warn!(job = %job.id, "{e}; looking whether it arrived");
                    if let Some(record) = self.look_for_new(job, &record, started).await? {
                        return Ok((record, false));
                    }
                    if self.running(&job.instance_id).await?.is_empty() {
                        return Err(lost_call(record.called_at).because(e).into());
                    }
                    // A job that ran before still runs: then this call was refused, whatever became of the reply.
                }
                Err(e) => return Err(refused(e).into()),
            }
            let mut running = self.running(&job.instance_id).await?;
            // A job that waits to begin may be shown without its id: then there is nothing to follow yet.
            while mode != Mode::Safety
                && !record.cluster
                && !running.is_empty()
                && running.iter().all(|t| t.backup_job_id.is_none_or(|id| id <= 0))
            {
                poller.wait("the backup that ran before").await?;
                running = self.running(&job.instance_id).await?;
            }
            match mode {
                // A safety backup must hold the very last write, so a job that began earlier will not do.
                Mode::Safety => {
                    say_started(started, false);
                    self.jobs.progress(job, "waiting for the backup that runs already", 0, 0).await?;
                }
                _ if !running.is_empty() => {
                    record.joined = true;
                    let runs =
                        |id: &String| running.iter().any(|t| t.backup_job_id.is_some_and(|j| j.to_string() == *id));
                    record.known.retain(|id| !runs(id));
                    let shown = running.iter().map(|t| (t.backup_job_id, t.node_id.as_deref()));
                    record.jobs = record.made(&job.instance_id, shown).jobs;
                    self.keep_recovery(job, &record).await;
                    return Ok((record, true));
                }
                // The call was refused because of a job that is over by now.
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

    /// The jobs or sets that are listed now: whatever is not among them later is new.
    async fn listed_now(&self, instance_id: &str, cluster: bool) -> Result<BTreeSet<String>, Fault> {
        let now = self.client.now();
        if cluster {
            let rows = sets::cluster_rows(&self.client, instance_id, since(now, now)).await?;
            let over = rows.into_iter().filter(|r| !r.is_running());
            return Ok(over.map(|r| r.cluster_backup_id).collect());
        }
        let rows = sets::rows(&self.client, instance_id, since(now, now)).await?;
        let tasks = self.tasks(instance_id, None).await?;
        let jobs = rows.iter().filter_map(|r| r.backup_job_id).chain(tasks.iter().filter_map(|t| t.backup_job_id));
        Ok(jobs.map(|id| id.to_string()).collect())
    }

    /// Backup jobs as the cloud lists them: all, or one of them.
    pub(super) async fn tasks(&self, instance_id: &str, job: Option<i64>) -> Result<Vec<BackupTask>, TairError> {
        let ask = DescribeBackupTasks {
            instance_id: instance_id.into(),
            backup_job_id: job.map(|id| id.to_string()),
            job_mode: None,
        };
        Ok(self.client.call(&ask).await?.backup_jobs)
    }

    /// The jobs that run in the cloud, whoever asked for them.
    pub(super) async fn running(&self, instance_id: &str) -> Result<Vec<BackupTask>, Fault> {
        let mut tasks = self.tasks(instance_id, None).await?;
        tasks.retain(|t| !t.is_finished());
        if tasks.iter().any(|t| !t.is_at_work()) {
            // What a word means that nobody has published shows in the list of sets.
            let now = self.client.now();
            let rows = sets::rows(&self.client, instance_id, since(now, now)).await?;
            let over = |t: &BackupTask| {
                rows.iter().any(|r| r.backup_job_id == t.backup_job_id && (r.has_failed() || r.id().is_some()))
            };
            tasks.retain(|t| t.is_at_work() || !over(t));
        }
        Ok(tasks)
    }

    /// Looks for what was not listed before the call, for as long as a new job may take to be listed; and where some of it is shown, for as
    /// long as the jobs of the other shards may.
    pub(super) async fn look_for_new(
        &self,
        job: &Job,
        record: &Record,
        started: &mut Option<Started>,
    ) -> Result<Option<Record>, Unfinished> {
        let mut poller = Poller::new(&self.polling, self.polling.backup_timeout, &self.jobs.stop);
        // A job that is over may be shown no longer, and its set not yet.
        let mut shown = BTreeSet::new();
        loop {
            // Only a look that saw everything can say that nothing new is there.
            let mut all_read = true;
            let range = since(record.called_at, self.client.now());
            if record.cluster {
                let rows = poller.look(sets::cluster_rows(&self.client, &job.instance_id, range).await);
                all_read &= rows.is_some();
                if rows.unwrap_or_default().iter().any(|row| record.may_be_set(row)) {
                    return Ok(Some(record.clone()));
                }
            } else {
                let tasks = poller.look(self.tasks(&job.instance_id, None).await);
                let rows = poller.look(sets::rows(&self.client, &job.instance_id, range).await);
                all_read &= tasks.is_some() && rows.is_some();
                let (tasks, rows) = (tasks.unwrap_or_default(), rows.unwrap_or_default());
                let tasks = tasks
                    .into_iter()
                    .filter(|t| record.may_be(t.job_mode.as_deref(), t.start_time.as_deref()))
                    .map(|t| (t.backup_job_id, t.node_id));
                let rows = rows
                    .into_iter()
                    .filter(|r| record.may_be(r.backup_mode.as_deref(), r.backup_start_time.as_deref()))
                    .map(|r| (r.backup_job_id, r.node_instance_id));
                shown.extend(tasks.chain(rows));
            }
            let Made { jobs, is_whole } =
                record.made(&job.instance_id, shown.iter().map(|(id, node)| (*id, node.as_deref())));
            // A list that cannot be read hides nothing for ever.
            let listed_by = self.polling.listed_by().saturating_mul(if all_read { 1 } else { 2 });
            if is_whole || (!jobs.is_empty() && poller.elapsed() >= listed_by) {
                let record = Record { jobs, ..record.clone() };
                self.keep_recovery(job, &record).await;
                return Ok(Some(record));
            }
            if !jobs.is_empty() {
                say_started(started, false);
            } else if all_read && poller.elapsed() >= self.polling.visibility_delay {
                return Ok(None);
            }
            poller.wait("the call for a backup").await?;
        }
    }
}

/// The fault of a call that the cloud refused.
fn refused(e: TairError) -> Fault {
    if e.is_cloud(CloudError::says_daily_limit_by_message) {
        return Fault::new(Kind::Provider, "cloud.backup_daily_limit", e.to_string())
            .hint("An instance can be backed up by hand 30 times in 24 hours. Use a set that exists.")
            .because(e);
    }
    e.into()
}
