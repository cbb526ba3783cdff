//! Following a backup of the cloud from its jobs to the set they make.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd, Unfinished};
use crate::model::text::{bytes, clean};
use crate::model::time::written;
use crate::provider::expected::expected_bytes;
use crate::provider::tair::Inner;
use crate::provider::tair::backup::record::{Record, lost_call, since};
use crate::provider::tair::poller::Poller;
use crate::provider::tair::sets::{self, CloudSet, clusters, shards};
use crate::tair::wire::backups::Backup;
use crate::tair::wire::clusters::ClusterBackup;
use crate::tair::wire::moment;

/// How far a backup is: a job's figures are bytes, and the cloud gives per cents only, which are taken of what is expected.
struct Share {
    /// Bytes done, at least.
    bytes: u64,
    /// Bytes expected in all; 0 where nothing is.
    expected: u64,
}

impl Share {
    /// Takes note of what the cloud says, which may be less than it has said before.
    fn reaches(&mut self, percent: u64) {
        let done = u128::from(self.expected) * u128::from(percent.min(100)) / 100;
        self.bytes = self.bytes.max(u64::try_from(done).unwrap_or_default());
    }
}

impl Inner {
    /// Follows a backup to its set.
    pub(super) async fn follow_backup(&self, job: &Job, record: Record) -> JobEnd {
        let mut poller = Poller::new(&self.polling, self.polling.backup_timeout, &self.jobs.stop);
        let state = &self.jobs.state;
        let mut share = Share { bytes: job.done, expected: expected_bytes(state.as_ref(), &job.instance_id).await };
        let set = if record.cluster {
            self.follow_cluster(job, &record, &mut poller, &mut share).await?
        } else {
            self.follow_jobs(job, &record, &mut poller, &mut share).await?
        };
        // What the next backup of the instance is expected to have.
        self.report_bytes(job, "listed", set.set.rdb_bytes, set.set.rdb_bytes).await?;
        // Of a backup that was joined some jobs may be known by the set alone.
        let jobs = if record.joined && !set.jobs.is_empty() { &set.jobs } else { &record.jobs };
        let named = match state.set_cloud_jobs(&job.id, jobs).await {
            Ok(()) => state.set_backup_id(&job.id, &set.set.id).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = named {
            tracing::error!(job = %job.id, "the job's set could not be written down: {fault}");
        }
        Ok(format!("backup {} of {}, {}", set.set.id, written(set.set.started_at), bytes(set.set.rdb_bytes)))
    }

    /// The list of sets is read beside that of tasks: a task that is stuck, or says what nobody has published, does not hide its set.
    async fn follow_jobs(
        &self,
        job: &Job,
        record: &Record,
        poller: &mut Poller,
        share: &mut Share,
    ) -> Result<CloudSet, Unfinished> {
        let (mut over_since, mut last_percent) = (None, 0);
        loop {
            let (mut over, mut percent, mut stage) = (true, 0, String::new());
            for id in &record.jobs {
                let Some(tasks) = poller.look(self.tasks(&job.instance_id, Some(*id)).await) else {
                    // A job that could not be read may still run.
                    over = false;
                    continue;
                };
                // Some gateways give all jobs whatever was asked for.
                for task in tasks.iter().filter(|t| t.backup_job_id.is_none_or(|j| j == *id)) {
                    percent += if task.is_finished() { 100 } else { task.percent().unwrap_or(0) };
                    if task.is_at_work() {
                        over = false;
                        stage = clean(task.backup_progress_status.as_deref().unwrap_or("running"));
                    }
                }
            }
            // A word that nobody has published may be an end; with a figure that moves it is none.
            over &= percent == std::mem::replace(&mut last_percent, percent);
            let range = since(record.called_at, self.client.now());
            let rows = poller.look(sets::rows(&self.client, &job.instance_id, range).await);
            over &= rows.is_some();
            let ours = |r: &Backup| r.backup_job_id.is_some_and(|j| record.jobs.contains(&j));
            let (mut rows, others): (Vec<Backup>, Vec<Backup>) = rows.unwrap_or_default().into_iter().partition(ours);
            if let Some(set) = whole(&job.instance_id, record, rows.clone())? {
                return Ok(set);
            }
            over_since = if over { over_since.or(Some(poller.elapsed())) } else { None };
            if over_since.is_some_and(|since| poller.elapsed().saturating_sub(since) >= self.polling.listed_by()) {
                if record.joined && record.shards.is_some() {
                    rows.extend(over_before(&job.instance_id, &rows, others));
                }
                return whole(&job.instance_id, record, rows)?.ok_or_else(|| lost_set().into());
            }
            let stage = if over {
                "waiting for the set to be listed".to_owned()
            } else {
                let percent = percent / i64::try_from(record.jobs.len()).unwrap_or(1).max(1);
                share.reaches(percent.try_into().unwrap_or_default());
                format!("{stage}, {percent}%")
            };
            self.report_bytes(job, &stage, share.bytes, share.expected).await?;
            poller.wait("the backup").await?;
        }
    }

    async fn follow_cluster(
        &self,
        job: &Job,
        record: &Record,
        poller: &mut Poller,
        share: &mut Share,
    ) -> Result<CloudSet, Unfinished> {
        let mut over_since = None;
        loop {
            let range = since(record.called_at, self.client.now());
            let rows = poller.look(sets::cluster_rows(&self.client, &job.instance_id, range).await);
            let read = rows.is_some();
            // The earliest of those that may be ours: a later one is somebody else's.
            let new = rows.unwrap_or_default().into_iter().filter(|row| record.may_be_set(row));
            let ours: Option<ClusterBackup> = new.min_by_key(|r| r.cluster_backup_start_time.clone());
            let mut over = false;
            match ours {
                Some(row) if row.has_failed() => {
                    let status = row.cluster_backup_status.as_deref().unwrap_or_default();
                    return Err(failed(&format!("the cloud says {} of it", clean(status))).into());
                }
                Some(row) => {
                    let percent: u8 = row.progress.as_deref().unwrap_or("0").trim_end_matches('%').parse().unwrap_or(0);
                    let status = clean(row.cluster_backup_status.as_deref().unwrap_or("status unknown"));
                    // A set that is over and not whole: its shards may still be listed one after the other. Any word but the one for a
                    // set that is being taken ends it.
                    over = !row.is_running();
                    if let Some(Ok(set)) = clusters::of_cluster_rows(&job.instance_id, vec![row]).pop() {
                        return Ok(set);
                    }
                    share.reaches(percent.into());
                    let stage = format!("{status}, {percent}%");
                    self.report_bytes(job, &stage, share.bytes, share.expected).await?;
                }
                None if read && poller.elapsed() >= self.polling.listed_by() => {
                    return Err(lost_call(record.called_at).into());
                }
                None => {}
            }
            over_since = if over { over_since.or(Some(poller.elapsed())) } else { None };
            if over_since.is_some_and(|since| poller.elapsed().saturating_sub(since) >= self.polling.listed_by()) {
                return Err(lost_set().into());
            }
            poller.wait("the backup").await?;
        }
    }
}

/// The end of a job whose set never came.
fn lost_set() -> Fault {
    let message = "the cloud's job is over, and the set it should have made is not listed, or not whole";
    Fault::new(Kind::Uncertain, "backup.lost", message)
        .hint("Look with describe_backups in some minutes; if it is not there, call create_backup again.")
}

/// The files of shards whose jobs were over before ours were joined: taken while ours were, by a job of one shard each. An instance has one
/// backup at a time, so what another order made was taken before or after. Of two files of one shard no set is made.
fn over_before(instance_id: &str, ours: &[Backup], others: Vec<Backup>) -> Vec<Backup> {
    let span = |r: &Backup| moment(r.backup_start_time.as_deref()).zip(moment(r.backup_end_time.as_deref()));
    let is_at_once = |a: &Backup, b: &Backup| {
        span(a).zip(span(b)).is_some_and(|((from, to), (start, end))| from == start || (from < end && start < to))
    };
    let jobs: Vec<Option<i64>> = others.iter().map(|r| r.backup_job_id).collect();
    let fits = |r: &Backup| {
        r.backup_job_id.is_some_and(|job| job > 0)
            && jobs.iter().filter(|job| **job == r.backup_job_id).count() == 1
            && r.node_instance_id.as_deref().is_some_and(|node| node != instance_id)
            && ours.iter().any(|o| o.backup_mode == r.backup_mode && is_at_once(o, r))
    };
    others.into_iter().filter(fits).collect()
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
}
