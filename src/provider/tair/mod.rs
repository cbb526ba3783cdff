//! Instances of Tair on Alibaba Cloud, behind the trait of all providers: what is asked of the cloud and what follows from its
//! answers. Each act has a module of its own; the wire is a room below.
//!
//! Every write is one call with one effect: where its outcome is not known, the state is read before anything is sent again.

pub mod architecture;
mod backup;
pub mod clone;
mod delete;
mod describe;
mod download;
mod lookup;
pub mod policy;
mod poller;
pub mod polling;
mod recover;
pub mod restore;
pub mod sets;
pub mod traffic;

use crate::guard::act::{Act, PolicyChange};
use crate::guard::assess::Assessment;
use crate::guard::facts::Facts;
use crate::guard::facts::restore::SafetyFacts;
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, Safety};
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::destruction::Destructions;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Capabilities, Capability, Instance};
use crate::model::job::Job;
use crate::model::persistence::Persistence;
use crate::model::policy::BackupPolicy;
use crate::model::verification::Level;
use crate::provider::jobs::{Jobs, Recoverable};
use crate::provider::{Carried, Downloaded, InstanceQuery, OnBytes, Provider, Raised, Range, SignedUrl, unsupported};
use crate::state::State;
use crate::state::jobs::taken_over;
use crate::tair::client::Client;
use async_trait::async_trait;
use jiff::Timestamp;
use polling::Polling;
use std::path::Path;
use std::sync::Arc;

/// The name of this provider in the store.
const PROVIDER: &str = "tair";

/// The provider of one account's instances in one region.
pub struct Tair {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    jobs: Jobs,
    polling: Polling,
    /// Whether this process orders nothing, not even what another one was permitted to order.
    read_only: bool,
    /// Held by whoever verifies a set.
    verifies: Arc<tokio::sync::Mutex<()>>,
}

impl Tair {
    /// The instances of one account in one region. Asks nothing yet.
    #[must_use]
    pub fn new(client: Client, state: Arc<dyn State>, read_only: bool) -> Self {
        Self::with(client, state, Polling::default(), read_only)
    }

    /// As [`Tair::new`], with other waits.
    #[must_use]
    pub fn with(client: Client, state: Arc<dyn State>, polling: Polling, read_only: bool) -> Self {
        let jobs = Jobs::new(PROVIDER, state);
        let verifies = Arc::default();
        Self { inner: Arc::new(Inner { client, jobs, polling, read_only, verifies }) }
    }
}

impl Inner {
    /// The same provider for who calls now: the jobs that it begins and adopts are theirs, and nobody else's keys send a write of those.
    async fn bound(&self) -> Result<Arc<Self>, Fault> {
        let access = self.client.access().await?;
        let client = self.client.begun_by(&access);
        let (jobs, verifies) = (self.jobs.at(access), Arc::clone(&self.verifies));
        Ok(Arc::new(Self { client, jobs, polling: self.polling, read_only: self.read_only, verifies }))
    }

    /// Shows how far a job is. What the cloud does goes on whether that could be written down or not.
    ///
    /// # Errors
    /// `job.taken_over`: another process goes on with it, and this one asks the cloud for nothing more.
    async fn report_progress(&self, job: &Job, stage: &str) -> Result<(), Fault> {
        self.report_bytes(job, stage, 0, 0).await
    }

    /// [`Self::report_progress`] with the bytes that are done, of so many.
    async fn report_bytes(&self, job: &Job, stage: &str, done: u64, total: u64) -> Result<(), Fault> {
        match self.jobs.progress(job, stage, done, total).await {
            Ok(true) => {}
            Ok(false) => return Err(taken_over(&job.id)),
            Err(fault) => tracing::error!(job = %job.id, "how far the job is could not be written down: {fault}"),
        }
        Ok(())
    }

    /// Writes down what a later process needs, once the cloud has taken the call: failing at that must not end the following.
    async fn keep_recovery(&self, job: &Job, record: &impl Recoverable) {
        if let Err(fault) = self.jobs.save_recovery(job, record).await {
            tracing::error!(job = %job.id, "the job's recovery record could not be written down: {fault}");
        }
    }
}

#[async_trait]
impl Provider for Tair {
    async fn check_instance(&self, instance_id: &str) -> Result<(), Fault> {
        self.inner.attribute(instance_id).await.map(|_| ())
    }

    async fn instances(&self, wanted: &InstanceQuery) -> Result<(Vec<Instance>, u64), Fault> {
        self.inner.instances(wanted).await
    }

    async fn describe(&self, instance_id: &str) -> Result<Instance, Fault> {
        self.inner.describe(instance_id).await
    }

    async fn create_backup(
        &self,
        id: &str,
        mode: Mode,
        _note: &str,
        days: Option<u32>,
        caller: &str,
    ) -> Result<(Job, bool), Fault> {
        self.inner.start_backup(id, (mode, days), caller).await
    }

    async fn backups(
        &self,
        instance_id: &str,
        range: Option<Range>,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        self.inner.sets(instance_id, range).await
    }

    async fn backup(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        self.inner.set_or_file(instance_id, backup_id).await.map(|set| set.set)
    }

    async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
        self.inner.download(set, to, on_bytes).await
    }

    async fn download_url(&self, set: &BackupSet) -> Result<SignedUrl, Fault> {
        self.inner.download_url(set).await
    }

    async fn backup_policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault> {
        self.inner.policy(instance_id).await
    }

    async fn persistence(&self, instance_id: &str) -> Result<Persistence, Fault> {
        self.inner.persistence(instance_id).await
    }

    async fn raise_backup_policy(&self, id: &str, change: &PolicyChange, caller: &str) -> Result<Raised, Fault> {
        self.inner.raise_policy(id, change, caller).await
    }

    /// What an instance lacks follows from its architecture, and is among the facts of each act.
    async fn capabilities(&self, instance_id: &str, _: &[Capability]) -> Result<Capabilities, Fault> {
        let no_position = Fault::new(
            Kind::Usage,
            "restore.no_position",
            "the cloud restores to moments, and knows no positions in a log",
        )
        .hint(format!("Give restore_time; describe_instances with instance_id {instance_id} shows the recovery window, where there is one."));
        let no_log = "the cloud keeps its log to itself, so no moment of it can be written to files";
        let no_log = Fault::new(Kind::Provider, "download.no_log", no_log)
            .hint("Download a set by its backup_id; or bring a moment back with restore_instance or create_instance_from_backup.");
        let no_other = Fault::new(
            Kind::Usage,
            "restore.other_source",
            "the cloud restores an instance from its own sets and moments alone",
        )
        .hint("create_instance_from_backup makes a new instance from another's set.");
        let no_keys = "the cloud restores some keys to a moment alone, and under their own names";
        let no_keys = Fault::new(Kind::Usage, "restore.filter_key", no_keys).hint(format!(
            "Give restore_time with filter_key, and neither backup_id nor add_prefix: a classic Tair (Enterprise) with flashback takes that. Of any \
             other create_instance_from_backup with instance_id {instance_id} and the backup_id makes a new instance, from which keys can be copied."
        ));
        Ok(Capabilities::all()
            .without(Capability::Fill, no_other)
            .without(Capability::SomeKeys, no_keys)
            .without(Capability::DownloadMoment, no_log)
            .without(Capability::RestoreToPosition, no_position))
    }

    async fn facts(&self, instance_id: &str, act: &Act, earlier: Option<&Plan>) -> Result<Facts, Fault> {
        match act {
            Act::RestoreInstance { source, keys, source_instance_id: None, .. } => {
                self.inner.restore_facts(instance_id, source, keys.as_ref(), earlier).await
            }
            Act::DeleteBackup { backup_id } => self.inner.deletion_facts(instance_id, backup_id).await,
            Act::ModifyBackupPolicy { change } => self.inner.policy_facts(instance_id, change).await,
            Act::CreateInstanceFromBackup { order } => {
                self.inner.clone_facts(instance_id, order, earlier.is_none()).await
            }
            Act::RestoreInstance { .. } => Err(unsupported("source_instance_id")),
            Act::Prune { .. } => Err(unsupported("prune")),
        }
    }

    async fn safety_backup(&self, id: &str, _: &Assessment, caller: &str) -> Result<SafetyFacts, Fault> {
        self.inner.safety_backup(id, caller).await
    }

    async fn safety_status(&self, instance_id: &str, safety: &Safety) -> Result<SafetyFacts, Fault> {
        self.inner.safety_status(instance_id, &safety.job_id).await
    }

    async fn verify(&self, set: (&str, &str), level: Level, caller: &str) -> Result<Job, Fault> {
        self.inner.start_verification(set, level, caller).await
    }

    async fn carry_out(&self, permit: Permit) -> Result<Carried, Fault> {
        match permit.plan().act.clone() {
            Act::RestoreInstance { source, write_fence, keys, source_instance_id: None } => {
                self.inner.start_restore(permit, &source, keys.as_ref(), write_fence).await.map(Carried::Job)
            }
            Act::RestoreInstance { .. } => Err(unsupported("source_instance_id")),
            Act::Prune { .. } => Err(unsupported("prune")),
            Act::DeleteBackup { backup_id } => self.inner.delete(permit, &backup_id).await.map(Carried::Done),
            Act::ModifyBackupPolicy { change } => self.inner.modify_policy(permit, &change).await.map(Carried::Done),
            Act::CreateInstanceFromBackup { order } => self.inner.start_clone(permit, &order).await.map(Carried::Job),
        }
    }

    async fn recover(&self) -> Result<(), Fault> {
        self.inner.recover().await
    }

    async fn destructive(&self, instance_id: &str, _: (Timestamp, Timestamp)) -> Result<Destructions, Fault> {
        let message = format!("the log of {instance_id} is the cloud's own, which does not tell the commands in it");
        Err(Fault::new(Kind::Provider, "log.none", message).hint(
            "Where the instance's audit log is on, the console shows its commands with their times (DescribeAuditRecords). With flashback on, restore_instance with restore_time goes back to any second of the recovery window.",
        ))
    }

    /// What runs in the cloud goes on there, and the next process follows it: only a restore behind a write fence is seen to
    /// its end, because its fence has to be lifted.
    async fn shut_down(&self, _cancel_backups: bool) {
        self.inner.jobs.shut_down(true).await;
    }
}
