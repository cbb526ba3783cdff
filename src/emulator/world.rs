//! The emulated world: which instances there are, what state each is in, and which sets it has.
//!
//! Everything real comes from the provider, the vault and the state store. What is only emulated (spares handed out, states
//! held for longer by a mishap) is laid over it here, in one place.

use crate::config::SANDBOX;
use crate::config::instance::{Architecture, Emulate, Generation};
use crate::emulator::answer::Refused;
use crate::emulator::downloads::Signer;
use crate::emulator::ids::{Of, number, taken};
use crate::emulator::memory::{Created, Memory};
use crate::emulator::mishaps::Mishaps;
use crate::emulator::monitor::Monitor;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::model::job::{Job, JobKind, JobStatus};
use crate::provider::local::endpoint_of;
use crate::provider::local::sandbox::Sandbox;
use crate::redis::endpoint::Endpoint;
use crate::tools::App;
use crate::vault::Vault;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

/// Everything a call works with.
pub struct World {
    /// Provider, state, configuration.
    pub app: Arc<App>,
    /// Where downloads are read from.
    pub vault: Vault,
    /// What lasts.
    pub memory: Memory,
    /// What goes wrong on demand.
    pub mishaps: Mishaps,
    /// Signs download URLs.
    pub signer: Signer,
    /// Measures instances.
    pub monitor: Monitor,
    /// The one region there is; every region asked for without it.
    pub region: Option<String>,
    /// Restores in the background, seen to their end when the process is asked to stop.
    pub tasks: TaskTracker,
    /// The sandbox's server, beside the provider's own hold of it.
    sandbox: Sandbox,
    /// Instances being restored in this process.
    restoring: Mutex<HashMap<String, Activity>>,
    /// Backups whose end is told late.
    held: Mutex<HashMap<String, Held>>,
    /// Spares being filled in this process.
    filling: Mutex<HashSet<String>>,
    /// Whose turn it is with an instance's write lock.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A restore, as told.
#[derive(Debug, Clone, Copy)]
struct Activity {
    running: bool,
    until: Instant,
}

/// A backup, as told.
#[derive(Debug, Clone, Copy)]
struct Held {
    from: Instant,
    hold: Duration,
}

/// An instance as the cloud shows it.
#[derive(Debug, Clone)]
pub struct Emulated {
    /// Its id.
    pub id: String,
    /// What kind it is.
    pub how: Emulate,
    /// How it came to be, where a call created it.
    pub created: Option<Created>,
}

impl Emulated {
    /// Whether it is a cloud-native one.
    #[must_use]
    pub fn is_cloud_native(&self) -> bool {
        self.how.generation == Generation::CloudNative
    }

    /// Whether it is a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.how.architecture == Architecture::Cluster
    }

    /// Whether its sets are listed by `DescribeClusterBackupList` alone.
    #[must_use]
    pub fn has_cluster_sets(&self) -> bool {
        self.is_cloud_native() && self.is_cluster()
    }

    /// The id of its one shard, which is its own on a standard architecture.
    #[must_use]
    pub fn node(&self) -> String {
        if self.is_cluster() { format!("{}-db-0", self.id) } else { self.id.clone() }
    }
}

/// A set as the cloud lists it.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its id with us.
    pub id: String,
    /// Its id there.
    pub number: i64,
    /// The id of the job that made it.
    pub job: i64,
    /// Whether a call asked for it.
    pub manual: bool,
    /// When it began.
    pub begun: Timestamp,
    /// When it ended, well or not.
    pub ended: Timestamp,
    /// The set; none where it failed or is damaged.
    pub whole: Option<BackupSet>,
}

/// Whether nobody can say yet what a restore has done to its target.
pub(super) fn is_undecided(job: &Job) -> bool {
    job.status == JobStatus::Running || job.needs_reconciliation()
}

/// Status of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Serves and takes changes.
    Normal,
    /// Being created.
    Creating,
    /// Being restored.
    BackupRecovering,
    /// Could not be created.
    Error,
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Creating => "Creating",
            Self::BackupRecovering => "BackupRecovering",
            Self::Error => "Error",
        }
    }
}

impl World {
    /// A world without restores under way.
    #[must_use]
    pub fn new(app: Arc<App>, memory: Memory, signer: Signer, region: Option<String>) -> Self {
        let vault = Vault::new(app.config.home.vault());
        let sandbox = Sandbox::new(app.config.home.sandbox());
        Self {
            sandbox,
            app,
            vault,
            memory,
            signer,
            region,
            mishaps: Mishaps::default(),
            monitor: Monitor::default(),
            tasks: TaskTracker::new(),
            restoring: Mutex::default(),
            held: Mutex::default(),
            filling: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    /// All instances, spares that nobody has got included.
    fn everything(&self) -> Vec<Emulated> {
        let config = &self.app.config;
        let named = config.instances.iter().map(|i| (i.id.clone(), i.emulate));
        let sandbox = config.sandbox.then(|| (SANDBOX.to_owned(), Emulate::default()));
        let of = |(id, how): (String, Emulate)| {
            let created = self.memory.of(&id).created;
            Emulated { id, how, created }
        };
        named.chain(sandbox).map(of).collect()
    }

    /// The instances that a client sees.
    #[must_use]
    pub fn instances(&self) -> Vec<Emulated> {
        self.everything().into_iter().filter(|i| !i.how.spare || i.created.is_some()).collect()
    }

    /// Spares that nobody has got.
    #[must_use]
    pub fn spares(&self) -> Vec<Emulated> {
        self.everything().into_iter().filter(|i| i.how.spare && i.created.is_none()).collect()
    }

    /// One instance.
    ///
    /// # Errors
    /// `InvalidInstanceId.NotFound`.
    pub fn instance(&self, id: &str) -> Result<Emulated, Refused> {
        self.instances().into_iter().find(|i| i.id == id).ok_or_else(|| Refused::new("InvalidInstanceId.NotFound"))
    }

    /// The latest jobs of an instance that a client may know of.
    ///
    /// # Errors
    /// What the state store refuses.
    pub async fn jobs(&self, instance: &Emulated) -> Result<Vec<Job>, Refused> {
        let mut jobs = self.app.state.jobs(Some(&instance.id)).await?;
        if let Some(created) = &instance.created {
            jobs.retain(|job| created.normal_at.is_some_and(|at| job.created_at >= at));
        }
        Ok(jobs)
    }

    /// The state of an instance. Whether its server answers is another question.
    ///
    /// # Errors
    /// What the state store refuses.
    pub async fn status(&self, instance: &Emulated) -> Result<Status, Refused> {
        if let Some(created) = instance.created.as_ref().filter(|c| c.normal_at.is_none()) {
            return match (created.failed, self.is_filling(&instance.id)) {
                (true, _) => Ok(Status::Error),
                (false, true) => Ok(Status::Creating),
                // An earlier process filled it, and its restore could not be settled at once.
                (false, false) => self.settle_spare(&instance.id, created).await,
            };
        }
        if self.is_restoring(&instance.id) {
            return Ok(Status::BackupRecovering);
        }
        let restores = |job: &Job| job.kind == JobKind::Restore && job.status == JobStatus::Running;
        if !self.jobs(instance).await?.iter().any(restores) {
            return Ok(Status::Normal);
        }
        // Not ours: another process does it, or one that is dead did.
        self.app.provider.recover().await?;
        Ok(if self.jobs(instance).await?.iter().any(restores) { Status::BackupRecovering } else { Status::Normal })
    }

    /// For whoever locks or unlocks an instance, one at a time.
    pub fn turn(&self, instance_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(instance_id.to_owned()).or_default())
    }

    /// Says that this process fills a spare.
    pub fn begin_filling(&self, instance_id: &str) {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner).insert(instance_id.to_owned());
    }

    fn is_filling(&self, instance_id: &str) -> bool {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner).contains(instance_id)
    }

    /// Refuses where an instance cannot take a change now.
    ///
    /// # Errors
    /// `IncorrectDBInstanceState`.
    pub async fn must_be_normal(&self, instance: &Emulated) -> Result<(), Refused> {
        match self.status(instance).await? {
            Status::Normal => Ok(()),
            _ => Err(Refused::new("IncorrectDBInstanceState")),
        }
    }

    fn is_restoring(&self, instance_id: &str) -> bool {
        let restoring = self.restoring.lock().unwrap_or_else(PoisonError::into_inner);
        restoring.get(instance_id).is_some_and(|a| a.running || a.until > Instant::now())
    }

    /// Says that an instance is being restored; false where it is already.
    pub fn begin_restoring(&self, instance_id: &str, hold: Duration) -> bool {
        if self.is_restoring(instance_id) {
            return false;
        }
        let activity = Activity { running: true, until: Instant::now() + hold };
        self.restoring.lock().unwrap_or_else(PoisonError::into_inner).insert(instance_id.to_owned(), activity);
        true
    }

    /// Says that it is over, or was refused.
    pub fn end_restoring(&self, instance_id: &str, refused: bool) {
        let mut restoring = self.restoring.lock().unwrap_or_else(PoisonError::into_inner);
        if refused {
            restoring.remove(instance_id);
        } else if let Some(activity) = restoring.get_mut(instance_id) {
            activity.running = false;
        }
    }

    /// Tells the end of a backup only after `hold`.
    pub fn hold_backup(&self, backup_id: &str, hold: Duration) {
        if hold > Duration::ZERO {
            let held = Held { from: Instant::now(), hold };
            self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(backup_id.to_owned(), held);
        }
    }

    /// Which share of the time for which a backup is held has passed; none where it is not held.
    pub fn held(&self, backup_id: &str) -> Option<f64> {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, h| h.from.elapsed() < h.hold);
        all.get(backup_id).map(|h| h.from.elapsed().as_secs_f64() / h.hold.as_secs_f64())
    }

    /// The sets of an instance, newest first: the whole ones, those that failed, and those that are damaged.
    ///
    /// # Errors
    /// What vault and state store refuse.
    pub async fn sets(&self, instance: &Emulated) -> Result<Vec<Set>, Refused> {
        let kept = self.memory.of(&instance.id);
        let asked = |id: &str| kept.taken.iter().any(|t| t.backup_id == id);
        let mut sets = Vec::new();
        // Before the sets: one whose job is not over when it is looked at is not there yet.
        let jobs = self.jobs(instance).await?;
        let runs = |job: &&Job| job.kind == JobKind::Backup && job.status == JobStatus::Running;
        let running: Vec<String> = jobs.iter().filter(runs).map(|job| job.backup_id.clone()).collect();
        for found in self.app.provider.backups(&instance.id, None).await? {
            let (id, whole) = match found {
                Ok(set) => (set.id.clone(), Some(set)),
                Err(damaged) => (damaged.id, None),
            };
            let begun = whole.as_ref().map(|s| s.started_at).or_else(|| taken(&id)).unwrap_or_default();
            let ended = whole.as_ref().map_or(begun, |s| s.finished_at);
            // What the guard takes before a restore was asked for by no call, so it cannot be deleted by one either.
            let manual = whole.as_ref().map_or_else(|| asked(&id), |s| s.mode == Mode::Manual);
            sets.push(Set { number: number(Of::Set, &id), job: number(Of::Job, &id), id, manual, begun, ended, whole });
        }
        sets.retain(|set| !running.contains(&set.id));
        for job in jobs {
            if job.kind == JobKind::Backup && job.status == JobStatus::Failed {
                let id = job.backup_id;
                let (begun, ended) = (job.created_at, job.finished_at.unwrap_or(job.created_at));
                let (number, job, manual) = (number(Of::Set, &id), number(Of::Job, &id), asked(&id));
                sets.push(Set { id, number, job, manual, begun, ended, whole: None });
            }
        }
        if let Some(created) = &instance.created {
            sets.retain(|set| created.normal_at.is_some_and(|at| set.begun >= at));
        }
        sets.retain(|set| self.held(&set.id).is_none());
        sets.sort_by_key(|set| std::cmp::Reverse(set.begun));
        Ok(sets)
    }

    /// Where an instance's server is. Starts the sandbox when it is the one.
    ///
    /// # Errors
    /// Those of its address and password.
    pub async fn endpoint(&self, instance_id: &str) -> Result<Endpoint, Fault> {
        match self.app.config.instances.iter().find(|i| i.id == instance_id) {
            Some(config) => endpoint_of(config, &config.url),
            None => self.sandbox.endpoint().await,
        }
    }

    /// Lets go of the sandbox.
    pub async fn rest(&self) {
        self.sandbox.stop().await;
    }

    /// Says that this process no longer fills a spare.
    pub fn end_filling(&self, instance_id: &str) {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner).remove(instance_id);
    }
}
