//! The emulated account: its instances, the state of each, and the records that the cloud would keep of them.
//!
//! Everything real comes from the provider. The emulated parts (spare instances handed out, write locks, states reported for
//! longer than they last) are added here. This module knows nothing of actions or of HTTP.

pub mod activity;
pub mod flashback;
pub mod instance;
pub mod monitor;
pub mod records;
pub mod records_file;
pub mod sets;
mod spares;

use crate::config::SANDBOX;
use crate::config::emulate::Emulate;
use crate::emulator::answer::Refused;
use crate::emulator::faults::FaultInjection;
use crate::emulator::signed_url::Signer;
use crate::model::fault::Kind;
use crate::model::job::{Job, JobKind, JobStatus};
use crate::tools::App;
use activity::Activity;
use instance::{EmulatedInstance, Status};
use monitor::Monitor;
use records::Creation;
use records_file::RecordsFile;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

/// All that an action works with.
pub struct Account {
    /// Configuration, provider and state store.
    pub app: Arc<App>,
    /// The records that outlast the process.
    pub records: RecordsFile,
    /// Faults to be injected into calls.
    pub faults: FaultInjection,
    /// Signs download URLs.
    pub signer: Signer,
    /// Samples the instances' counters.
    pub monitor: Monitor,
    /// The one region that exists; `None`: every region asked for.
    pub region: Option<String>,
    /// Restores in the background, awaited when the process is asked to stop.
    pub tasks: TaskTracker,
    /// What this process is doing to instances.
    pub activity: Activity,
    /// Held while a clone is planned and begun: what is permitted on an instance voids the other plans for it.
    pub cloning: Mutex<()>,
    /// Clones that had ended when a call last looked: they are instances no more.
    ended: std::sync::Mutex<BTreeSet<String>>,
}

impl Account {
    /// An account without restores under way.
    #[must_use]
    pub fn new(app: Arc<App>, records: RecordsFile, signer: Signer, region: Option<String>) -> Self {
        Self {
            app,
            records,
            signer,
            region,
            faults: FaultInjection::default(),
            monitor: Monitor::default(),
            tasks: TaskTracker::new(),
            activity: Activity::default(),
            cloning: Mutex::new(()),
            ended: std::sync::Mutex::default(),
        }
    }

    /// All instances, including spare ones not handed out.
    fn all_instances(&self) -> Vec<EmulatedInstance> {
        let config = &self.app.config;
        let named = config.instances.iter().map(|i| (i.id.clone(), i.emulate));
        let sandbox = config.sandbox.then(|| (SANDBOX.to_owned(), Emulate::default()));
        let of = |(id, kind): (String, Emulate)| {
            let created = self.records.of(&id).created;
            EmulatedInstance { id, kind, created }
        };
        let mut all: Vec<EmulatedInstance> = named.chain(sandbox).map(of).collect();
        let clones: Vec<_> = self.records.read(|records| {
            let created =
                records.instances.iter().filter_map(|(id, record)| Some((id.clone(), record.created.clone()?)));
            created.filter(|(_, created)| created.clone_of.is_some()).collect()
        });
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (id, created) in clones.into_iter().filter(|(id, _)| !ended.contains(id)) {
            // A clone is of the kind of its source.
            let source = all.iter().find(|instance| created.clone_of.as_ref() == Some(&instance.id));
            let kind = source.map(|source| source.kind).unwrap_or_default();
            all.push(EmulatedInstance { id, kind, created: Some(created) });
        }
        all
    }

    /// Looks which clones have ended since they were whole. Before each call, for nobody tells when one does.
    pub async fn look_at_clones(&self) {
        let was_whole = |created: &Creation| created.clone_of.is_some() && created.normal_at.is_some();
        let whole: Vec<String> = self.records.read(|records| {
            let all = records.instances.iter().filter(|(_, record)| record.created.as_ref().is_some_and(was_whole));
            all.map(|(id, _)| id.clone()).collect()
        });
        let mut ended = BTreeSet::new();
        for id in whole {
            if self.app.provider.deletable(&id).await.is_err_and(|fault| fault.kind == Kind::NotFound) {
                ended.insert(id);
            }
        }
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = ended;
    }

    /// Whether the operator has named spare instances. Then there are no new ones but those.
    #[must_use]
    pub fn has_spares(&self) -> bool {
        self.app.config.instances.iter().any(|instance| instance.emulate.spare)
    }

    /// The instances that a client sees.
    #[must_use]
    pub fn instances(&self) -> Vec<EmulatedInstance> {
        self.all_instances().into_iter().filter(|i| !i.kind.spare || i.created.is_some()).collect()
    }

    /// Spare instances that are not handed out.
    #[must_use]
    pub fn spares(&self) -> Vec<EmulatedInstance> {
        self.all_instances().into_iter().filter(|i| i.kind.spare && i.created.is_none()).collect()
    }

    /// Finds an instance that a client sees.
    ///
    /// # Errors
    /// `InvalidInstanceId.NotFound`.
    pub fn instance(&self, id: &str) -> Result<EmulatedInstance, Refused> {
        self.instances().into_iter().find(|i| i.id == id).ok_or_else(|| Refused::new("InvalidInstanceId.NotFound"))
    }

    /// The state of an instance. Its server may be unreachable all the same.
    ///
    /// # Errors
    /// What the state store refuses.
    pub async fn status(&self, instance: &EmulatedInstance) -> Result<Status, Refused> {
        if let Some(created) = instance.created.as_ref().filter(|c| c.normal_at.is_none()) {
            return match (created.failed, self.activity.is_filling(&instance.id)) {
                (true, _) => Ok(Status::Error),
                (false, true) => Ok(Status::Creating),
                // An earlier process filled the instance, and the end of its restore is not known yet.
                (false, false) => self.reconcile_spare(&instance.id, created).await,
            };
        }
        if self.activity.is_restoring(&instance.id) {
            return Ok(Status::BackupRecovering);
        }
        let restores = |job: &Job| job.kind == JobKind::Restore && job.status == JobStatus::Running;
        if !self.jobs(instance).await?.iter().any(restores) {
            return Ok(Status::Normal);
        }
        // Not a restore of this process: another process runs it, or a dead one did.
        self.app.provider.recover().await?;
        Ok(if self.jobs(instance).await?.iter().any(restores) { Status::BackupRecovering } else { Status::Normal })
    }

    /// Refuses where an instance cannot take a change now.
    ///
    /// # Errors
    /// `IncorrectDBInstanceState`.
    pub async fn must_be_normal(&self, instance: &EmulatedInstance) -> Result<(), Refused> {
        match self.status(instance).await? {
            Status::Normal => Ok(()),
            _ => Err(Refused::new("IncorrectDBInstanceState")),
        }
    }
}
