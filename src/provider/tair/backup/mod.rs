//! Taking a backup in the cloud: one call, one job, followed to the set it makes, across the end of this process.

mod call;
mod follow;
mod record;
mod safety;

use crate::model::backup::Mode;
use crate::model::calendar::RETENTION_DAYS;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd, JobKind, StoredRecovery, Unfinished};
use crate::provider::jobs::Recoverable as _;
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::backup::record::{Record, lost_call};
use crate::state::jobs::Begun;
use crate::tair::wire::attribute::InstanceAttribute;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where whoever asked for a backup waits to hear whether a job that ran before was joined.
type Started = oneshot::Sender<Result<bool, Fault>>;

/// Tells whoever waits, and was not told yet, that a backup runs, and whether it ran before the call.
fn say_started(started: &mut Option<Started>, joined: bool) {
    if let Some(tx) = started.take() {
        let _ = tx.send(Ok(joined));
    }
}

impl Inner {
    /// Starts a backup for the caller of that id, or joins the one that runs, here or in the cloud. The set is kept for so many days, or as the
    /// policy says.
    pub async fn start_backup(
        &self,
        instance_id: &str,
        (mode, days): (Mode, Option<u32>),
        caller: &str,
    ) -> Result<(Job, bool), Fault> {
        if let Some(days) = days.filter(|days| !RETENTION_DAYS.contains(days)) {
            let message = format!(
                "backup_retention_period is {days}; the cloud keeps a set for {} to {} days",
                RETENTION_DAYS.start(),
                RETENTION_DAYS.end()
            );
            return Err(Fault::new(Kind::Usage, "arguments.invalid", message)
                .hint("Leave it out to have the set kept as the instance's policy says."));
        }
        let attribute = self.attribute_here(instance_id).await?;
        Architecture::of(&attribute).can_back_up().map_err(|no| {
            Fault::new(Kind::Provider, "backup.unsupported", format!("{instance_id} cannot be backed up: {}", no.why))
                .hint("Change it to an instance with a replica in the console; then it can be backed up.")
        })?;
        let (tx, rx) = oneshot::channel();
        let bound = self.bound().await?;
        let inner = Arc::clone(&bound);
        let begun = bound
            .jobs
            .begin(JobKind::Backup, instance_id, "", caller, None, |job| async move {
                inner.backup(&job, &attribute, (mode, days), tx).await
            })
            .await?;
        match begun {
            Begun::Joined(job) => Ok((job, true)),
            // A job that died before it could say whether it joined another shows by its own end what went wrong.
            Begun::Started(job) => rx.await.unwrap_or(Ok(false)).map(|joined| (job, joined)),
        }
    }

    /// Writes down that a backup is a safety backup: the cloud will call it manual, and its plan may never be made.
    async fn say_mode(&self, job: &Job, mode: Mode) -> Result<(), Fault> {
        match mode {
            Mode::Safety => self.jobs.state.set_mode(&job.id, mode).await,
            Mode::Manual | Mode::Automated | Mode::Unknown => Ok(()),
        }
    }

    async fn backup(&self, job: &Job, of: &InstanceAttribute, asked: (Mode, Option<u32>), tx: Started) -> JobEnd {
        let mut tx = Some(tx);
        let started = match self.say_mode(job, asked.0).await {
            Ok(()) => self.call_for_backup(job, of, asked, &mut tx).await,
            Err(fault) => Err(fault.into()),
        };
        let (record, joined) = match started {
            Ok(started) => started,
            Err(end) => {
                if let Some(tx) = tx.take() {
                    let _ = tx.send(Err(same_fault(&end)));
                }
                return Err(end);
            }
        };
        say_started(&mut tx, joined);
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
            // The process died between the call and its reply.
            let found = self.look_for_new(job, &record, &mut None).await?;
            return match found {
                Some(record) => self.follow_backup(job, record).await,
                None => Err(lost_call(record.called_at).into()),
            };
        }
        self.follow_backup(job, record).await
    }
}

/// An end of work as a fault that a second caller gets too; its cause stays with the first.
fn same_fault(end: &Unfinished) -> Fault {
    match end {
        Unfinished::Failed(fault) | Unfinished::RollbackPending(fault) => fault.without_cause(),
        Unfinished::Detached(stage) => Unfinished::Detached(stage.clone()).into_fault(),
    }
}
