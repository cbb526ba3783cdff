//! The local provider: any Redis or Valkey within reach, backed up as a replica and restored as a master.

mod capture;
mod counters;
mod delete;
mod describe;
mod facts;
mod feed;
mod loadable;
mod recover;
mod restore;
mod safety;
pub mod sandbox;
mod set_stream;
mod staging;
mod write_lock;

use crate::config::instance::{InstanceConfig, Password};
use crate::config::{Config, SANDBOX};
use crate::guard::act::{Act, PolicyChange, Source};
use crate::guard::assess::Assessment;
use crate::guard::facts::Facts;
use crate::guard::facts::restore::SafetyFacts;
use crate::guard::permit::Permit;
use crate::guard::plan::Plan;
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Capabilities, Capability, Instance};
use crate::model::job::Job;
use crate::model::policy::BackupPolicy;
use crate::model::secret::Secret;
use crate::model::text::{nearest, quoted};
use crate::provider::download;
use crate::provider::jobs::Jobs;
use crate::provider::set_stream::SetStream;
use crate::provider::traffic::Counters;
use crate::provider::{
    Carried, Downloaded, InstanceQuery, OnBytes, Provider, Raised, Range, SignedUrl, WriteLock, blocking,
};
use crate::redis::endpoint::{Endpoint, TlsSettings};
use crate::state::State;
use crate::state::jobs::Begun;
use crate::vault::Vault;
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// For connecting to an instance and for each command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The provider.
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    /// All that it serves.
    ids: Vec<String>,
    instances: Vec<InstanceConfig>,
    sandbox: Option<sandbox::Sandbox>,
    state: Arc<dyn State>,
    vault: Vault,
    /// Told to stop, captures do and restores go on.
    jobs: Jobs,
}

/// The word for this provider's jobs in the store.
const PROVIDER: &str = "local";

impl Local {
    /// The provider of what is configured. Touches nothing yet.
    #[must_use]
    pub fn new(config: &Config, state: Arc<dyn State>) -> Self {
        Self {
            inner: Arc::new(Inner {
                ids: config.instance_ids(),
                instances: config.instances.clone(),
                sandbox: config.sandbox.then(|| sandbox::Sandbox::new(config.home.sandbox())),
                jobs: Jobs::new(PROVIDER, Arc::clone(&state)),
                state,
                vault: Vault::new(config.home.vault()),
            }),
        }
    }
}

impl Local {
    /// The instances it serves.
    #[must_use]
    pub fn instance_ids(&self) -> &[String] {
        &self.inner.ids
    }
}

/// What a server that this program reaches itself can do.
fn capabilities(instance_id: &str) -> Capabilities {
    let no_moment = format!("{instance_id} has no archive of changes, so it cannot be restored to a moment");
    let no_fence = format!("{instance_id} is restored as a whole at one moment, so there is no write_fence for it");
    let no_clone = format!("{instance_id} is no instance of the cloud, where new ones could be made");
    Capabilities::all()
        .without(
            Capability::RestoreToMoment,
            Fault::new(Kind::Provider, "restore.no_flashback", no_moment)
                .hint("Restore a backup set: take its backup_id from describe_backups."),
        )
        .without(
            Capability::WriteFence,
            Fault::new(Kind::Usage, "restore.no_fence", no_fence).hint("Leave write_fence out."),
        )
        .without(Capability::BackupPolicy, no_policy(instance_id))
        .without(
            Capability::Clone,
            Fault::new(Kind::Usage, "clone.unsupported", no_clone)
                .hint("Start a server of your own, configure it as an instance, and restore its data by hand from download_backup's file."),
        )
        .without(Capability::DownloadUrl, no_url())
}

fn no_url() -> Fault {
    Fault::new(Kind::Usage, "download.no_url", "the sets of this instance are on this machine and have no URL")
        .hint("Call download_backup without it: the set is written to a file.")
}

fn no_policy(instance_id: &str) -> Fault {
    let message = format!("{instance_id} has no backup policy: nothing takes backups of it by itself");
    Fault::new(Kind::Usage, "policy.unsupported", message).hint("Call create_backup when one is wanted.")
}

impl Inner {
    fn config(&self, instance_id: &str) -> Option<&InstanceConfig> {
        self.instances.iter().find(|i| i.id == instance_id)
    }

    /// Where an instance is and how to get in. Starts the sandbox when it is the one.
    async fn endpoint(&self, instance_id: &str) -> Result<Endpoint, Fault> {
        match (self.config(instance_id), &self.sandbox) {
            (Some(config), _) => endpoint_of(config, &config.url).await,
            (None, Some(sandbox)) if instance_id == SANDBOX => sandbox.endpoint().await,
            _ => Err(Fault::new(Kind::NotFound, "instance.not_found", format!("there is no instance {instance_id}"))
                .hint("Call describe_instances for the list.")),
        }
    }

    /// Whether such a backup is taken from a replica of the instance. It may lag; what undoes a restore must hold the very
    /// last write, so a safety backup never is.
    fn by_replica(&self, instance_id: &str, mode: Mode) -> bool {
        mode != Mode::Safety && self.config(instance_id).is_some_and(|c| c.backup_from.is_some())
    }

    /// Where to capture from: the replica named for it, else the instance itself.
    async fn capture_endpoint(&self, instance_id: &str, mode: Mode) -> Result<Endpoint, Fault> {
        match self.config(instance_id) {
            Some(config @ InstanceConfig { backup_from: Some(replica), .. }) if self.by_replica(instance_id, mode) => {
                endpoint_of(config, replica).await
            }
            _ => self.endpoint(instance_id).await,
        }
    }

    fn kind(&self, instance_id: &str) -> &'static str {
        if self.config(instance_id).is_some() { "local" } else { "sandbox" }
    }
}

/// Where `url` is, with the credentials and TLS settings of the instance. Passwords are read now, so that a rotated one is
/// picked up.
///
/// # Errors
/// `instance.bad_address`, `config.password`.
pub async fn endpoint_of(config: &InstanceConfig, url: &str) -> Result<Endpoint, Fault> {
    let mut endpoint = Endpoint::parse(url).map_err(Fault::from)?;
    let unreadable = |why: String| {
        Fault::new(Kind::Usage, "config.password", format!("the password of {} cannot be read: {why}", config.id))
            .hint("Check password_file or password_env of the instance in the configuration.")
    };
    let password = match &config.password {
        Password::None => None,
        Password::Given(secret) => Some(secret.clone()),
        Password::File(path) => {
            let text = tokio::fs::read_to_string(path).await;
            let text = text.map_err(|e| unreadable(format!("{}: {e}", path.display())))?;
            Some(Secret::new(text.lines().next().unwrap_or_default()))
        }
        Password::Env(name) => Some(Secret::new(
            std::env::var(name).map_err(|_| unreadable(format!("the environment variable {name} is not set")))?,
        )),
    };
    if let Some(password) = password {
        endpoint.password = Some(password);
    }
    if let Some(username) = &config.username {
        endpoint.username = Some(username.clone());
    }
    if let Some(tls) = &mut endpoint.tls {
        *tls = TlsSettings {
            ca_file: config.tls.ca_file.clone(),
            cert_file: config.tls.cert_file.clone(),
            key_file: config.tls.key_file.clone(),
            server_name: config.tls.server_name.clone(),
            insecure_skip_verify: config.tls.insecure,
        };
    }
    Ok(endpoint)
}

#[async_trait]
impl Provider for Local {
    async fn check_instance(&self, instance_id: &str) -> Result<(), Fault> {
        let ids = self.instance_ids();
        if ids.iter().any(|id| id == instance_id) {
            return Ok(());
        }
        let near = nearest(instance_id, ids.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("Did you mean {near}? "));
        let message = format!("there is no instance {}", quoted(instance_id));
        Err(Fault::new(Kind::NotFound, "instance.not_found", message)
            .hint(format!("{near}Instances: {}.", ids.join(", "))))
    }

    async fn instances(&self, wanted: &InstanceQuery) -> Result<(Vec<Instance>, u64), Fault> {
        let mut ids = self.inner.ids.clone();
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

    async fn create_backup(&self, instance_id: &str, mode: Mode, note: &str) -> Result<(Job, bool), Fault> {
        match self.inner.start_capture(instance_id, mode, note).await? {
            Begun::Started(job) => Ok((job, false)),
            Begun::Joined(job) => Ok((job, true)),
        }
    }

    async fn backups(
        &self,
        instance_id: &str,
        range: Option<Range>,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let mut sets = self.inner.vault.list(instance_id, &*self.inner).await?;
        // A damaged set has no time that could be trusted: it is always listed.
        sets.retain(|s| s.as_ref().map_or(true, |set| range.is_none_or(|range| range.holds(set.started_at))));
        Ok(sets)
    }

    async fn backup(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        self.inner.vault.find(instance_id, backup_id, &*self.inner).await
    }

    async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
        let data = self.inner.vault.open_data(set).await?;
        let (vault, set, to) = (self.inner.vault.clone(), set.clone(), to.to_owned());
        // The callback is borrowed, the thread is not: bytes travel through a channel.
        let (tx, mut rx) = tokio::sync::watch::channel((0, set.rdb_bytes));
        let work = blocking(move || {
            let wanted = download::Known { bytes: set.rdb_bytes, sha256: &set.sha256, rdb_version: set.rdb_version };
            download::write(data, &to, wanted, |e| vault.damaged(&set, e), &|done, total| {
                tx.send_replace((done, total));
            })
        });
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => break done,
                Ok(()) = rx.changed() => {
                    let (done, total) = *rx.borrow_and_update();
                    on_bytes(done, total);
                }
            }
        }
    }

    async fn download_url(&self, _: &BackupSet) -> Result<SignedUrl, Fault> {
        Err(no_url())
    }

    async fn backup_policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault> {
        Err(no_policy(instance_id))
    }

    async fn raise_backup_policy(&self, instance_id: &str, _: &PolicyChange) -> Result<Raised, Fault> {
        Err(no_policy(instance_id))
    }

    async fn capabilities(&self, instance_id: &str) -> Result<Capabilities, Fault> {
        Ok(capabilities(instance_id))
    }

    async fn facts(&self, instance_id: &str, act: &Act, earlier: Option<&Plan>) -> Result<Facts, Fault> {
        match act {
            Act::RestoreInstance { source: Source::Backup { backup_id }, write_fence: false } => {
                self.inner.restore_facts(instance_id, instance_id, backup_id, earlier).await
            }
            Act::FillInstance { source_instance_id, backup_id } => {
                self.inner.restore_facts(instance_id, source_instance_id, backup_id, earlier).await
            }
            Act::DeleteBackup { backup_id } => self.inner.deletion_facts(instance_id, backup_id).await,
            Act::RestoreInstance { .. } | Act::ModifyBackupPolicy { .. } | Act::CreateInstanceFromBackup { .. } => {
                capabilities(instance_id).need(&act.needs())?;
                let message = format!("{instance_id} cannot do a {}", act.noun());
                Err(Fault::new(Kind::Usage, "act.unsupported", message))
            }
        }
    }

    async fn safety_backup(&self, instance_id: &str, assessment: &Assessment) -> Result<SafetyFacts, Fault> {
        self.inner.safety_backup(instance_id, assessment).await
    }

    async fn safety_status(&self, instance_id: &str, job_id: &str, backup_id: &str) -> Result<SafetyFacts, Fault> {
        self.inner.safety_status(instance_id, job_id, backup_id).await
    }

    async fn carry_out(&self, permit: Permit) -> Result<Carried, Fault> {
        match &permit.plan().act {
            Act::DeleteBackup { backup_id } => {
                let backup_id = backup_id.clone();
                self.inner.delete(permit, &backup_id).await.map(Carried::Done)
            }
            Act::RestoreInstance { source: Source::Backup { backup_id }, .. } | Act::FillInstance { backup_id, .. } => {
                let backup_id = backup_id.clone();
                self.inner.start_restore(permit, &backup_id).await.map(Carried::Job)
            }
            Act::RestoreInstance { source: Source::Moment { .. }, .. }
            | Act::ModifyBackupPolicy { .. }
            | Act::CreateInstanceFromBackup { .. } => Err(permit.plan().unsupported()),
        }
    }

    async fn recover(&self) -> Result<(), Fault> {
        self.inner.recover().await
    }

    async fn shut_down(&self, cancel_backups: bool) {
        self.inner.jobs.shut_down(cancel_backups).await;
        if let Some(sandbox) = &self.inner.sandbox {
            // A plan is for the server process it was made for: while one waits for its person, that process stays. The
            // next command to end without a plan waiting stops it.
            let waits =
                self.inner.state.redeemable().await.is_ok_and(|w| w.iter().any(|c| c.plan.instance_id == SANDBOX));
            if !(waits && sandbox.is_used().await) {
                sandbox.stop().await;
            }
        }
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
