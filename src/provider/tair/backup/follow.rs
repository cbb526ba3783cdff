//! Following a backup of the cloud from its jobs to the set they make.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd, Unfinished};
use crate::model::text::{bytes, clean};
use crate::model::time::written;
use crate::provider::tair::Inner;
use crate::provider::tair::backup::record::{Record, lost_call, since};
use crate::provider::tair::poller::Poller;
use crate::provider::tair::sets::{self, CloudSet, clusters, shards};
use crate::tair::wire::backups::Backup;
use crate::tair::wire::clusters::ClusterBackup;

impl Inner {
    /// Follows a backup to its set.
    pub(super) async fn follow_backup(&self, job: &Job, record: Record) -> JobEnd {
        let mut poller = Poller::new(&self.polling, self.polling.backup_timeout, &self.jobs.stop);
        let set = if record.cluster {
            self.follow_cluster(job, &record, &mut poller).await?
        } else {
            self.follow_jobs(job, &record, &mut poller).await?
        };
        if let Err(fault) = self.jobs.state.set_backup_id(&job.id, &set.set.id).await {
            tracing::error!(job = %job.id, "the job's set could not be written down: {fault}");
        }
        Ok(format!("backup {} of {}, {}", set.set.id, written(set.set.started_at), bytes(set.set.rdb_bytes)))
    }

    async fn follow_jobs(&self, job: &Job, record: &Record, poller: &mut Poller) -> Result<CloudSet, Unfinished> {
        let mut over_since = None;
        loop {
            let (mut running, mut percent, mut stage, mut all_read) = (false, 0, String::new(), true);
            for id in &record.jobs {
                let Some(tasks) = poller.tolerate(self.tasks(&job.instance_id, Some(*id)).await)? else {
                    all_read = false;
                    continue;
                };
                // Some gateways give all jobs whatever was asked for.
                for task in tasks.iter().filter(|t| t.backup_job_id.is_none_or(|j| j == *id)) {
                    percent += if task.is_finished() { 100 } else { task.percent().unwrap_or(0) };
                    if !task.is_finished() {
                        running = true;
                        stage = clean(task.backup_progress_status.as_deref().unwrap_or("running"));
                    }
                }
            }
            if running {
                over_since = None;
                // A job's figures are bytes; the cloud gives per cents only.
                let percent = percent / i64::try_from(record.jobs.len()).unwrap_or(1).max(1);
                self.report_progress(job, &format!("{stage}, {percent}%")).await;
            } else {
                // The jobs have finished or are no longer listed: the list of sets shows which.
                let read = sets::rows(&self.client, &job.instance_id, since(record.called_at)).await;
                let rows = poller.tolerate(read)?;
                all_read &= rows.is_some();
                let all = rows.unwrap_or_default();
                let ours: Vec<Backup> =
                    all.into_iter().filter(|r| r.backup_job_id.is_some_and(|j| record.jobs.contains(&j))).collect();
                if let Some(set) = whole(&job.instance_id, record, ours)? {
                    return Ok(set);
                }
                // A job that could not be read may still run.
                over_since = if all_read { over_since.or(Some(poller.elapsed())) } else { None };
                if over_since.is_some_and(|since| {
                    poller.elapsed().saturating_sub(since) >= self.polling.visibility_delay.saturating_mul(5)
                }) {
                    return Err(Fault::new(
                        Kind::Provider,
                        "backup.lost",
                        "the cloud's job is over, and the set it should have made is not listed, or not whole",
                    )
                    .hint("Look with describe_backups in some minutes; if it is not there, call create_backup again.")
                    .next(&["describe_backups"])
                    .into());
                }
                self.report_progress(job, "waiting for the set to be listed").await;
            }
            poller.wait("the backup").await?;
        }
    }

    async fn follow_cluster(&self, job: &Job, record: &Record, poller: &mut Poller) -> Result<CloudSet, Unfinished> {
        loop {
            let read = sets::cluster_rows(&self.client, &job.instance_id, since(record.called_at)).await;
            let rows = poller.tolerate(read)?;
            // The earliest new one: a later one is somebody else's.
            let new = rows.unwrap_or_default().into_iter().filter(|r| !record.known.contains(&r.cluster_backup_id));
            let ours: Option<ClusterBackup> = new.min_by_key(|r| r.cluster_backup_start_time.clone());
            match ours {
                Some(row) if row.is_running() => {
                    let percent: u8 = row.progress.as_deref().unwrap_or("0").trim_end_matches('%').parse().unwrap_or(0);
                    self.report_progress(job, &format!("RUNNING, {percent}%")).await;
                }
                Some(row) => match clusters::of_cluster_rows(&job.instance_id, vec![row]).pop() {
                    Some(Ok(set)) => return Ok(set),
                    Some(Err(broken)) => return Err(failed(&broken.reason).into()),
                    None => {}
                },
                None if poller.elapsed() >= self.polling.visibility_delay.saturating_mul(5) => {
                    return Err(lost_call(record.called_at).into());
                }
                None => {}
            }
            poller.wait("the backup").await?;
        }
    }
}

/// The set that all rows of our jobs make; nothing while one is missing.
fn whole(instance_id: &str, record: &Record, rows: Vec<Backup>) -> Result<Option<CloudSet>, Fault> {
    if let Some(bad) = rows.iter().find(|row| row.has_failed()) {
        let node = bad.node_instance_id.as_deref().unwrap_or(instance_id);
        return Err(failed(&format!("the cloud says Failed of {}", clean(node))));
    }
    let every = record.jobs.iter().all(|j| rows.iter().any(|r| r.backup_job_id == Some(*j) && r.id().is_some()));
    let shards = record.shards.or((record.jobs.len() > 1).then_some(record.jobs.len()));
    if !every {
        return Ok(None);
    }
    // A set that is not whole yet may become so: its shards are listed one after the other.
    Ok(shards::one(instance_id, rows, shards).and_then(Result::ok))
}

fn failed(why: &str) -> Fault {
    Fault::new(Kind::Provider, "backup.failed", format!("the cloud could not take this backup: {why}"))
        .hint("Call create_backup again; if it fails again, look at the instance in the console.")
        .next(&["create_backup", "describe_instances"])
}
