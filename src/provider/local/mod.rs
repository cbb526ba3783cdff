//! The local provider: any Redis or Valkey within reach, backed up as a replica and restored as a master.

mod capture;
mod facts;
mod recover;
mod restore;
pub mod sandbox;

use crate::config::instance::{InstanceConfig, Password};
use crate::config::{Config, SANDBOX};
use crate::guard::permit::Permit;
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::new_id;
use crate::model::instance::Instance;
use crate::model::job::{Job, JobKind};
use crate::model::restore::{Look, SafetyFacts, SourceFacts, TargetFacts};
use crate::model::secret::Secret;
use crate::provider::download::{self, Wanted};
use crate::provider::{Downloaded, OnBytes, Provider};
use crate::redis::endpoint::{Endpoint, TlsSettings};
use crate::state::State;
use crate::state::jobs::{Begun, Filter};
use crate::vault::{Vault, damaged};
use async_trait::async_trait;
use jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For connecting to an instance and for each command.
const PATIENCE: Duration = Duration::from_secs(10);

/// The provider.
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    instances: Vec<InstanceConfig>,
    sandbox: Option<sandbox::Sandbox>,
    state: Arc<State>,
    vault: Vault,
    /// Told when the process is asked to end: captures stop, restores go on.
    stop: CancellationToken,
    jobs: TaskTracker,
}

impl Local {
    /// The provider of what is configured. Touches nothing yet.
    #[must_use]
    pub fn new(config: &Config, state: Arc<State>) -> Self {
        Self {
            inner: Arc::new(Inner {
                instances: config.instances.clone(),
                sandbox: config.sandbox.then(|| sandbox::Sandbox::new(config.home.sandbox())),
                state,
                vault: Vault::new(config.home.vault()),
                stop: CancellationToken::new(),
                jobs: TaskTracker::new(),
            }),
        }
    }
}

/// Runs blocking work on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "a worker thread died").because(e))?
}

impl Inner {
    fn config(&self, instance_id: &str) -> Option<&InstanceConfig> {
        self.instances.iter().find(|i| i.id == instance_id)
    }

    /// Where an instance is and how to get in. Starts the sandbox when it is the one.
    async fn endpoint(&self, instance_id: &str) -> Result<Endpoint, Fault> {
        match (self.config(instance_id), &self.sandbox) {
            (Some(config), _) => endpoint_of(config, &config.url),
            (None, Some(sandbox)) if instance_id == SANDBOX => sandbox.endpoint().await,
            _ => Err(Fault::new(Kind::NotFound, "instance.not_found", format!("there is no instance {instance_id}"))
                .hint("Call describe_instances for the list.")),
        }
    }

    /// Where to capture from: the replica named for it, else the instance itself.
    async fn capture_endpoint(&self, instance_id: &str, mode: Mode) -> Result<Endpoint, Fault> {
        match self.config(instance_id) {
            // A replica may lag; what undoes a restore must hold the very last write.
            Some(InstanceConfig { backup_from: Some(url), .. }) if mode == Mode::Safety => {
                tracing::debug!(%instance_id, from_replica = %url.split('@').next_back().unwrap_or_default(), "safety backup is taken from the master");
                self.endpoint(instance_id).await
            }
            Some(config) => endpoint_of(config, config.backup_from.as_ref().unwrap_or(&config.url)),
            None => self.endpoint(instance_id).await,
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
pub fn endpoint_of(config: &InstanceConfig, url: &str) -> Result<Endpoint, Fault> {
    let mut endpoint = Endpoint::parse(url).map_err(Fault::from)?;
    let unreadable = |why: String| {
        Fault::new(Kind::Usage, "config.password", format!("the password of {} cannot be read: {why}", config.id))
            .hint("Check password_file or password_env of the instance in the configuration.")
    };
    let password = match &config.password {
        Password::None => None,
        Password::Given(secret) => Some(secret.clone()),
        Password::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| unreadable(format!("{}: {e}", path.display())))?;
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

impl Inner {
    /// Begins a job and runs it to its end in the background, whoever waits for it.
    async fn begin<F>(
        self: &Arc<Self>,
        kind: JobKind,
        instance_id: &str,
        backup_id: &str,
        work: impl FnOnce(Arc<Self>, Job) -> F,
    ) -> Result<Begun, Fault>
    where
        F: Future<Output = Result<String, Fault>> + Send + 'static,
    {
        let prefix = if kind == JobKind::Backup { "bj" } else { "rj" };
        let id = new_id(prefix, Timestamp::now())?;
        let begun = self.state.begin(kind, &id, instance_id, backup_id).await?;
        if let Begun::Started(job) = &begun {
            let inner = Arc::clone(self);
            let work = tokio::spawn(work(Arc::clone(self), job.clone()));
            self.jobs.spawn(async move {
                let outcome = work.await.unwrap_or_else(|e| {
                    Err(Fault::new(Kind::Unexpected, "job.crashed", "the job died of a bug in this program").because(e))
                });
                if let Err(fault) = &outcome {
                    tracing::warn!(job = %id, code = fault.code, cause = ?std::error::Error::source(fault), "{fault}");
                }
                let written = match &outcome {
                    Err(fault) if restore::left_unsettled(fault) => inner.state.fail_unsettled(&id, fault).await,
                    outcome => inner.state.finish(&id, outcome).await,
                };
                if let Err(fault) = written {
                    tracing::error!(job = %id, "the job's end could not be written down: {fault}");
                }
            });
        }
        Ok(begun)
    }
}

#[async_trait]
impl Provider for Local {
    fn instance_ids(&self) -> Vec<String> {
        let named = self.inner.instances.iter().map(|i| i.id.clone());
        named.chain(self.inner.sandbox.is_some().then(|| SANDBOX.into())).collect()
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

    async fn backups(&self, instance_id: &str) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let (vault, id) = (self.inner.vault.clone(), instance_id.to_owned());
        blocking(move || vault.list(&id)).await
    }

    async fn backup(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        let (vault, id, set) = (self.inner.vault.clone(), instance_id.to_owned(), backup_id.to_owned());
        blocking(move || vault.find(&id, &set)).await
    }

    async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
        let (vault, set, to) = (self.inner.vault.clone(), set.clone(), to.to_owned());
        // The callback is borrowed, the thread is not: bytes travel through a channel.
        let (tx, mut rx) = tokio::sync::watch::channel((0, set.rdb_bytes));
        let work = tokio::task::spawn_blocking(move || {
            let data = vault.open_data(&set)?;
            let path = vault.set_dir(&set.instance_id, &set.id);
            let wanted = Wanted { bytes: set.rdb_bytes, sha256: &set.sha256 };
            download::write(data, &to, wanted, |e| damaged(&path, e), &|done, total| {
                tx.send_replace((done, total));
            })
        });
        while rx.changed().await.is_ok() {
            let (done, total) = *rx.borrow_and_update();
            on_bytes(done, total);
        }
        work.await.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "a worker thread died").because(e))?
    }

    async fn facts(&self, instance_id: &str, backup_id: &str, look: Look) -> Result<(TargetFacts, SourceFacts), Fault> {
        self.inner.facts(instance_id, backup_id, look).await
    }

    async fn safety_backup(&self, instance_id: &str, target: &TargetFacts) -> Result<SafetyFacts, Fault> {
        self.inner.safety_backup(instance_id, target).await
    }

    async fn safety_standing(&self, instance_id: &str, job_id: &str, backup_id: &str) -> Result<SafetyFacts, Fault> {
        self.inner.safety_standing(instance_id, job_id, backup_id).await
    }

    async fn restore(&self, permit: Permit) -> Result<Job, Fault> {
        self.inner.start_restore(permit).await
    }

    async fn job(&self, job_id: &str) -> Result<Job, Fault> {
        self.inner.state.job(job_id).await
    }

    async fn jobs(&self, instance_id: Option<&str>) -> Result<Vec<Job>, Fault> {
        self.inner.state.jobs(Filter { job_id: None, instance_id }).await
    }

    async fn recover(&self) -> Result<(), Fault> {
        self.inner.recover().await
    }

    async fn shut_down(&self, cancel_backups: bool) {
        if cancel_backups {
            self.inner.stop.cancel();
        }
        self.inner.jobs.close();
        self.inner.jobs.wait().await;
        if let Some(sandbox) = &self.inner.sandbox {
            // A plan is for the server process it was made for: while one waits for its person, that process stays. The
            // next command to end without a plan waiting stops it.
            let waits = self.inner.state.waiting().await.is_ok_and(|w| w.iter().any(|c| c.plan.instance_id == SANDBOX));
            if !(waits && sandbox.is_used().await) {
                sandbox.stop().await;
            }
        }
    }
}
