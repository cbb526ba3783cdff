//! The local provider: any Redis or Valkey within reach, backed up as a replica and restored as a master.

mod acts;
mod backup;
mod capabilities;
mod clone;
pub mod clones;
mod compare;
mod counters;
mod delete;
pub mod describe;
mod download;
pub mod endpoint;
mod export;
mod log;
mod persistence;
mod policy;
mod recover;
mod restore;
pub mod sandbox;
pub mod shards;
pub mod vault;
pub mod vault_copy;
mod verify;
mod ways;
mod write_lock;

use crate::archive::Archive;
use crate::config::Config;
use crate::config::instance::InstanceConfig;
use crate::guard::act::{Act, PolicyChange};
use crate::guard::assess::Assessment;
use crate::guard::facts::Facts;
use crate::guard::facts::replay::NoMoment;
use crate::guard::facts::restore::SafetyFacts;
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, Safety};
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::calendar::{Calendar, History};
use crate::model::destruction::Destructions;
use crate::model::fault::Fault;
use crate::model::impact::KeyImpact;
use crate::model::instance::{Capabilities, Capability, Instance};
use crate::model::job::Job;
use crate::model::log::LogStatus;
use crate::model::persistence::Persistence;
use crate::model::policy::{BackupPolicy, Retention};
use crate::model::pruning::Keep;
use crate::model::restore::Cutover;
use crate::model::verification::{BY_SCHEDULE, Level};
use crate::provider::comparison::{Compared, OnStage, StateOf};
use crate::provider::jobs::Jobs;
use crate::provider::set_stream::SetStream;
use crate::provider::traffic::Counters;
use crate::provider::{
    Carried, Downloaded, ExportOf, Exported, InstanceQuery, LogScope, OnBytes, Provider, Raised, Range, SignedUrl,
    WriteLock,
};
use crate::state::State;
use crate::state::leases::Lease;
use crate::vault::Vault;
use async_trait::async_trait;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::{Arc, atomic::AtomicI64};
use std::time::Duration;

/// For connecting to an instance and for each command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The provider of the instances that this program reaches itself.
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    /// Ids of all instances that are served.
    ids: Vec<String>,
    instances: Vec<InstanceConfig>,
    /// The configuration file, where there is one.
    file: Option<PathBuf>,
    sandbox: Option<sandbox::Sandbox>,
    clones: clones::Clones,
    state: Arc<dyn State>,
    vault: Vault,
    archive: Archive,
    /// The archivers of this process.
    logs: log::Logs,
    /// Days that a safety backup is kept.
    safety_retention_days: u32,
    /// Bytes that the tail of a restore takes on this machine's disk at most.
    tail_bytes: u64,
    /// When expired sets were last looked for, in seconds since the epoch; 0: not yet.
    expired_deleted_at: AtomicI64,
    /// Whether nothing may be changed here: then nothing that has expired is deleted either.
    read_only: bool,
    /// Where scratch servers live.
    scratch: PathBuf,
    /// Held by whoever builds a moment.
    builds: tokio::sync::Mutex<()>,
    /// Told when a moment that somebody waits for has to wait for `builds`.
    build_wanted: tokio::sync::Notify,
    /// Held by whoever verifies a set.
    verifies: tokio::sync::Mutex<()>,
    /// When they are asked to stop, captures do and restores go on.
    jobs: Jobs,
}

/// The name of this provider in the store.
const PROVIDER: &str = "local";

impl Local {
    /// The provider of what is configured. Touches nothing yet.
    #[must_use]
    pub fn new(config: &Config, state: Arc<dyn State>) -> Self {
        let vault = vault::of(config, &state);
        Self {
            inner: Arc::new(Inner {
                ids: config.instance_ids(),
                instances: config.instances.clone(),
                file: config.file.clone(),
                sandbox: config.sandbox.then(|| sandbox::Sandbox::new(config.home.sandbox())),
                clones: clones::Clones::new(config),
                jobs: Jobs::new(PROVIDER, Arc::clone(&state)),
                state,
                archive: Archive::new(&vault, config.home.spool()),
                vault,
                logs: log::Logs::new(config.backup_log),
                safety_retention_days: config.guard.safety_retention_days,
                tail_bytes: config.guard.tail_bytes(),
                expired_deleted_at: AtomicI64::new(0),
                read_only: config.read_only,
                scratch: config.home.scratch(),
                builds: tokio::sync::Mutex::new(()),
                build_wanted: tokio::sync::Notify::new(),
                verifies: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// Ids of the instances that are served.
    #[must_use]
    pub fn instance_ids(&self) -> &[String] {
        &self.inner.ids
    }

    /// Whether an instance of that id, if there is one, is this provider's: one of the configuration, or a clone.
    #[must_use]
    pub fn serves(&self, instance_id: &str) -> bool {
        self.inner.ids.iter().any(|id| id == instance_id) || instance_id.starts_with(clones::PREFIX)
    }
}

impl Inner {
    fn config(&self, instance_id: &str) -> Option<&InstanceConfig> {
        self.instances.iter().find(|i| i.id == instance_id)
    }

    fn kind(&self, instance_id: &str) -> &'static str {
        match self.config(instance_id) {
            Some(_) => "local",
            None if instance_id.starts_with(clones::PREFIX) => "clone",
            None => "sandbox",
        }
    }
}

#[async_trait]
impl Provider for Local {
    async fn check_instance(&self, instance_id: &str) -> Result<(), Fault> {
        if self.instance_ids().iter().any(|id| id == instance_id) {
            return Ok(());
        }
        if instance_id.starts_with(clones::PREFIX) {
            self.inner.end_old_clones().await;
            // Sets of a clone outlive it.
            let known = self.inner.clones.find(instance_id).await.is_some()
                || !self.inner.vault.list(instance_id, &*self.inner).await?.is_empty();
            if known {
                return Ok(());
            }
        }
        Err(self.inner.no_such_instance(instance_id).await)
    }

    async fn instances(&self, wanted: &InstanceQuery) -> Result<(Vec<Instance>, u64), Fault> {
        self.inner.end_old_clones().await;
        let mut ids = self.inner.ids.clone();
        ids.extend(self.inner.clones.living().await.into_iter().map(|clone| clone.id));
        ids.retain(|id| wanted.search.as_ref().is_none_or(|part| id.contains(part.as_str())));
        let total = ids.len() as u64;
        let skip = (wanted.page_number.saturating_sub(1) as usize).saturating_mul(wanted.page_size as usize);
        let page = ids.iter().skip(skip).take(wanted.page_size as usize);
        // At once: of many instances some may be away, and each of those takes seconds to say so.
        let rows = futures::future::try_join_all(page.map(|id| self.inner.describe(id))).await?;
        Ok((rows, total))
    }

    async fn describe(&self, instance_id: &str) -> Result<Instance, Fault> {
        self.inner.describe(instance_id).await
    }

    async fn create_backup(
        &self,
        id: &str,
        mode: Mode,
        note: &str,
        days: Option<u32>,
        caller: &str,
    ) -> Result<(Job, bool), Fault> {
        Ok(self.inner.start_capture(id, (mode, days), note, caller, None).await?.into_job())
    }

    async fn take_due(&self, id: &str, note: &str, under: &Lease) -> Result<(Job, bool), Fault> {
        Ok(self.inner.start_capture(id, (Mode::Automated, None), note, BY_SCHEDULE, Some(under)).await?.into_job())
    }

    async fn backups(&self, id: &str, range: Option<Range>) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let mut sets = self.inner.all_sets(id).await?;
        // A damaged set has no time that could be trusted: it is always listed.
        sets.retain(|s| s.as_ref().map_or(true, |set| range.is_none_or(|range| range.holds(set.started_at))));
        Ok(sets)
    }

    async fn backup(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        let found = self.inner.set(instance_id, backup_id).await;
        self.inner.named_set((instance_id, backup_id), found).await
    }

    async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
        self.inner.download(set, to, on_bytes).await
    }

    async fn export(
        &self,
        instance_id: &str,
        of: ExportOf,
        to: &Path,
        on_bytes: &OnBytes,
    ) -> Result<Result<Exported, NoMoment>, Fault> {
        self.inner.export(instance_id, of, to, on_bytes).await
    }

    async fn download_url(&self, _: &BackupSet) -> Result<SignedUrl, Fault> {
        Err(download::no_url())
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

    async fn capabilities(&self, instance_id: &str, asked: &[Capability]) -> Result<Capabilities, Fault> {
        Ok(self.inner.capabilities(instance_id, asked).await)
    }

    async fn can_clone(&self, instance_id: &str, backup_id: &str) -> bool {
        self.can_clone_here(instance_id, backup_id).await
    }

    async fn facts(&self, instance_id: &str, act: &Act, earlier: Option<&Plan>) -> Result<Facts, Fault> {
        self.facts_of(instance_id, act, earlier).await
    }

    async fn safety_backup(&self, id: &str, assessment: &Assessment, caller: &str) -> Result<SafetyFacts, Fault> {
        self.inner.safety_backup(id, assessment, caller).await
    }

    async fn safety_status(&self, instance_id: &str, safety: &Safety) -> Result<SafetyFacts, Fault> {
        self.inner.safety_status(instance_id, safety).await
    }

    async fn key_impact(&self, plan: &Plan, within: Duration) -> Option<KeyImpact> {
        self.inner.key_impact(plan, within).await
    }

    async fn compare(&self, from: &StateOf, to: &StateOf, on_stage: &OnStage<'_>) -> Result<Compared, Fault> {
        self.inner.compare(from, to, on_stage).await
    }

    async fn verify(&self, (id, backup_id): (&str, &str), level: Level, caller: &str) -> Result<Job, Fault> {
        let begun = self.inner.start_verification((id, backup_id), level, caller).await;
        self.inner.named_set((id, backup_id), begun).await
    }

    async fn carry_out(&self, permit: Permit) -> Result<Carried, Fault> {
        self.carry_out_act(permit).await
    }

    async fn deletable(&self, instance_id: &str) -> Result<String, Fault> {
        self.inner.living_clone(instance_id).await.map(|record| clone::described(&record))
    }

    async fn delete_instance(&self, instance_id: &str, caller: &str) -> Result<String, Fault> {
        self.inner.delete_clone(instance_id, caller).await
    }

    async fn cutover(&self, job: &Job) -> Option<Cutover> {
        self.inner.read_cutover(&job.id).await
    }

    async fn clone_of_job(&self, job: &Job) -> Option<String> {
        self.inner.clones.of_job(&job.id).await.map(|clone| clone.id)
    }

    async fn recover(&self) -> Result<(), Fault> {
        self.inner.recover().await
    }

    async fn scheduled(&self, instance_id: &str) -> Result<Option<(Calendar, History)>, Fault> {
        self.inner.scheduled(instance_id).await
    }

    async fn retention(&self, instance_id: &str, keep: Option<&Keep>) -> Result<Retention, Fault> {
        self.inner.retention(instance_id, keep).await
    }

    async fn keep_logs(&self, scope: LogScope) -> Result<(), Fault> {
        self.inner.keep_logs(scope);
        Ok(())
    }

    async fn log_status(&self, instance_id: &str) -> Result<Option<LogStatus>, Fault> {
        self.inner.log_status(instance_id).await
    }

    async fn log_reaching(&self, id: &str, moment: Timestamp, within: Duration) -> Result<Option<LogStatus>, Fault> {
        self.inner.log_reaching(id, moment, within).await
    }

    async fn destructive(&self, instance_id: &str, range: (Timestamp, Timestamp)) -> Result<Destructions, Fault> {
        self.inner.destructive(instance_id, range).await
    }

    async fn shut_down(&self, cancel_backups: bool) {
        self.inner.logs.stop().await;
        self.inner.jobs.shut_down(cancel_backups).await;
        self.inner.stop_sandbox().await;
    }

    async fn read_set(&self, set: &BackupSet) -> Result<SetStream, Fault> {
        self.inner.read_set(set).await
    }

    async fn counters(&self, instance_id: &str) -> Result<Counters, Fault> {
        self.inner.counters(instance_id).await
    }

    async fn write_lock(&self, instance_id: &str) -> Result<WriteLock, Fault> {
        self.inner.write_lock(instance_id).await
    }

    async fn set_write_lock(&self, instance_id: &str, to: &WriteLock) -> Result<(), Fault> {
        self.inner.set_write_lock(instance_id, to).await
    }
}
