//! Copies of what lies on the vault at another place: all of it, where a vault is moved, or the sets of an instance as they come (`copy_to`).
//!
//! It must delete nothing on the vault. At the second place of an instance it deletes what retention lets go, and that only when the vault has it
//! no more; what is copied there, and what not, is read there and kept nowhere.

use crate::archive::{Archive, LogCopy};
use crate::config::Config;
use crate::config::blocking::blocking;
use crate::config::vault::VaultPlace;
use crate::guard::grant::Expired;
use crate::guard::ledger::AuditRecord;
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::policy::BackupPolicy;
use crate::provider::local::backup::staging::ByJobs;
use crate::provider::local::vault;
use crate::state::State;
use crate::vault::Vault;
use crate::vault::copy::SetCopy;
use crate::vault::watch::Watch;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Sets that the second place is asked for, newest first, before it is said to have none.
const ASKED_MAX: usize = 100;
/// How long the second place may take to say what it has.
const ASKED_FOR: Duration = Duration::from_secs(10);
/// Who deletes, in the audit.
const RETENTION: &str = "retention";

/// What became of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there now, read back.
    Copied,
    /// It would be copied.
    ToCopy,
    /// It was there.
    There,
    /// It was deleted here before it was copied.
    Gone,
    /// It is damaged here, and not copied.
    Damaged,
    /// Something else has its name there.
    Conflict,
}

impl Outcome {
    /// The outcome in replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::ToCopy => "to_copy",
            Self::There => "there",
            Self::Gone => "gone",
            Self::Damaged => "damaged",
            Self::Conflict => "conflict",
        }
    }
}

/// A set that was to be copied.
#[derive(Debug, Clone)]
pub struct CopiedSet {
    /// Id of the instance.
    pub instance_id: String,
    /// Id of the set.
    pub backup_id: String,
    /// Bytes of its data on the vault; 0 where that is not known.
    pub stored_bytes: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was not copied; empty where it was.
    pub why: String,
}

/// What copying a vault came to.
#[derive(Debug, Default)]
pub struct VaultCopy {
    /// The sets, those of an instance newest first.
    pub sets: Vec<CopiedSet>,
    /// The logs, by instance.
    pub logs: Vec<(String, LogCopy)>,
}

/// How far a copy is; whoever waits for it reads that, and may end it.
#[derive(Debug, Default)]
pub struct Progress {
    watch: Arc<Watch>,
    /// What is being done, and the bytes to be read for all of it.
    stage: Mutex<(String, u64)>,
}

impl Progress {
    /// What is being done, the bytes that were read for it, and those that are to be; 0 where nobody knows.
    #[must_use]
    pub fn now(&self) -> (String, u64, u64) {
        let (stage, total) = self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (stage, self.watch.bytes(), total)
    }

    /// Ends the copy: what is on its way is taken back.
    pub fn stop(&self) {
        self.watch.stop();
    }

    /// Whether it was ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.watch.is_stopped()
    }

    fn at(&self, stage: String, total: Option<u64>) {
        let mut now = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (stage, total.unwrap_or(now.1));
    }
}

/// Copies from the vault of a configuration to another place. Touches nothing by itself.
#[derive(Clone)]
pub struct Copier {
    from: (Vault, Archive),
    to: (Vault, Archive),
    place: String,
    state: Arc<dyn State>,
}

impl Copier {
    /// Copies to that place.
    #[must_use]
    pub fn new(config: &Config, state: &Arc<dyn State>, to: &VaultPlace) -> Self {
        let both = |vault: Vault| {
            let archive = Archive::new(&vault, config.home.spool());
            (vault, archive)
        };
        Self {
            from: both(vault::of(config)),
            to: both(vault::at(config, to)),
            place: to.to_string(),
            state: Arc::clone(state),
        }
    }

    /// The second place of an instance's sets; `None` where it has none.
    #[must_use]
    pub fn of(config: &Config, state: &Arc<dyn State>, instance_id: &str) -> Option<Self> {
        config.second_place(instance_id).map(|to| Self::new(config, state, to))
    }

    /// The place that is copied to, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The instances of which something lies on the vault, in order.
    ///
    /// # Errors
    /// `vault.failed`, `log.failed`.
    pub async fn instances(&self) -> Result<Vec<String>, Fault> {
        let archive = self.from.1.clone();
        let logged = blocking(move || archive.instances()).await?;
        let all: BTreeSet<String> = self.from.0.instances().await?.into_iter().chain(logged).collect();
        Ok(all.into_iter().collect())
    }

    /// Copies the sets and the logs of instances, or tells what would be copied. What is damaged, or has a name that another has there, is told,
    /// and the rest is copied. Ended by `progress`, it tells what was done by then.
    ///
    /// # Errors
    /// `vault.failed`, `log.failed`: then the rest is not done.
    pub async fn copy_all(
        &self,
        instances: &[String],
        dry_run: bool,
        progress: &Arc<Progress>,
    ) -> Result<VaultCopy, Fault> {
        let mut copy = VaultCopy::default();
        let copied = self.copy_each(instances, dry_run, progress, &mut copy).await;
        if progress.is_stopped() { Ok(copy) } else { copied.map(|()| copy) }
    }

    async fn copy_each(
        &self,
        instances: &[String],
        dry_run: bool,
        progress: &Arc<Progress>,
        copy: &mut VaultCopy,
    ) -> Result<(), Fault> {
        let (mut found, mut total) = (Vec::new(), 0);
        for id in instances {
            progress.at(format!("looking at the sets of {id}"), None);
            for set in self.from.0.list(id, &ByJobs(Arc::clone(&self.state))).await? {
                let row = self.look(id, set, progress).await?;
                if let Some((row, bytes)) = row {
                    total += if row.outcome == Outcome::ToCopy { bytes } else { 0 };
                    found.push(row);
                }
            }
        }
        for mut row in found {
            if progress.is_stopped() {
                return Ok(());
            }
            if !dry_run && matches!(row.outcome, Outcome::ToCopy | Outcome::There) {
                progress.at(format!("{} of {}", row.backup_id, row.instance_id), Some(total));
                let copied = self.from.0.copy_set(&self.to.0, &row.instance_id, &row.backup_id, &progress.watch).await;
                (row.outcome, row.why) = outcome(copied)?;
            }
            copy.sets.push(row);
        }
        for id in instances {
            if progress.is_stopped() {
                return Ok(());
            }
            let log = self.copy_log(id, dry_run, progress).await?;
            if log.copied + log.there + log.gone + log.damaged + log.conflicts > 0 {
                copy.logs.push((id.clone(), log));
            }
        }
        Ok(())
    }

    /// What is to be done with a set, and the bytes that are to be read for it; `None` where it is gone.
    async fn look(
        &self,
        instance_id: &str,
        set: Result<BackupSet, DamagedSet>,
        progress: &Progress,
    ) -> Result<Option<(CopiedSet, u64)>, Fault> {
        let row = |backup_id: String, stored_bytes, outcome, why| {
            let instance_id = instance_id.to_owned();
            CopiedSet { instance_id, backup_id, stored_bytes, outcome, why }
        };
        if progress.is_stopped() {
            return Ok(None);
        }
        let set = match set {
            Err(DamagedSet { id, reason }) => return Ok(Some((row(id, 0, Outcome::Damaged, reason), 0))),
            Ok(set) => set,
        };
        let (outcome, why) = match self.from.0.is_copied(&self.to.0, instance_id, &set.id).await {
            Ok(true) => (Outcome::There, String::new()),
            Ok(false) => (Outcome::ToCopy, String::new()),
            Err(fault) => outcome(Err(fault))?,
        };
        // Read here, and what came of it there.
        let bytes = set.stored_bytes.saturating_add(set.rdb_bytes);
        Ok(Some((row(set.id, set.stored_bytes, outcome, why), bytes)))
    }

    async fn copy_log(&self, instance_id: &str, dry_run: bool, progress: &Arc<Progress>) -> Result<LogCopy, Fault> {
        let (from, to) = (self.from.1.clone(), self.to.1.clone());
        let (instance_id, progress) = (instance_id.to_owned(), Arc::clone(progress));
        blocking(move || {
            progress.at(format!("the log of {instance_id}"), Some(0));
            let mut told = |done, of| progress.at(format!("the log of {instance_id}: {done} of {of}"), Some(0));
            from.copy_log(&to, &instance_id, dry_run, &progress.watch, &mut told)
        })
        .await
    }

    /// The sets of an instance that have a copy, newest first: those that somebody asked for, and those of its policy.
    async fn wanted(&self, instance_id: &str) -> Result<Vec<BackupSet>, Fault> {
        let sets = self.from.0.list(instance_id, &ByJobs(Arc::clone(&self.state))).await?;
        Ok(sets.into_iter().flatten().filter(|set| has_copy(set)).collect())
    }

    /// Copies what of an instance's sets has no copy yet; `known` has the ids of those that have one, and gets more. One that cannot be copied does
    /// not keep the others from it.
    ///
    /// # Errors
    /// The last of those that kept a set from being copied. None where `progress` was stopped.
    pub async fn bring(
        &self,
        instance_id: &str,
        known: &mut BTreeSet<String>,
        progress: &Progress,
    ) -> Result<(), Fault> {
        let wanted = self.wanted(instance_id).await?;
        known.retain(|id| wanted.iter().any(|set| set.id == *id));
        let mut kept_from_it = Ok(());
        for set in wanted.iter().filter(|set| !known.contains(&set.id)).cloned().collect::<Vec<_>>() {
            let copied = self.from.0.copy_set(&self.to.0, instance_id, &set.id, &progress.watch).await;
            if progress.is_stopped() {
                return Ok(());
            }
            match copied {
                Ok(SetCopy::Gone) => {}
                Ok(copied) => {
                    if copied == SetCopy::Copied {
                        tracing::info!(instance = %instance_id, backup = %set.id, "copied to {}", self.place);
                    }
                    known.insert(set.id);
                }
                Err(fault) => {
                    let of_this_set = matches!(fault.kind, Kind::Damaged | Kind::Refused);
                    kept_from_it = Err(fault);
                    if !of_this_set {
                        break;
                    }
                }
            }
        }
        kept_from_it
    }

    /// Deletes the copies that the policy keeps no longer and the vault has no more. How many.
    ///
    /// # Errors
    /// `vault.failed`, `state.failed`.
    pub async fn expire(&self, instance_id: &str, policy: &BackupPolicy) -> Result<usize, Fault> {
        let there: Vec<BackupSet> = self.to.0.list(instance_id, &()).await?.into_iter().flatten().collect();
        let found = self.state.verifications(instance_id).await?;
        let damaged: Vec<String> =
            found.iter().filter(|(_, found)| found.fault().is_some()).map(|(id, _)| id.clone()).collect();
        let days = policy.has_calendar().then_some(policy.backup_retention_period);
        let verdicts = Expired::by_policy(&there, &damaged, days, Timestamp::now());
        let mut here = BTreeSet::new();
        for set in self.from.0.list(instance_id, &ByJobs(Arc::clone(&self.state))).await? {
            here.insert(set.map_or_else(|damaged| damaged.id, |set| set.id));
        }
        let mut deleted = 0;
        for verdict in verdicts.into_iter().flatten().filter(|verdict| !here.contains(verdict.backup_id())) {
            let backup_id = verdict.backup_id().to_owned();
            match self.to.0.delete(verdict.delete(), instance_id, &backup_id).await {
                Err(fault) if fault.kind == Kind::NotFound => continue,
                gone => gone?,
            }
            deleted += 1;
            let detail = format!("the copy of backup {backup_id} at {}: the vault has it no more", self.place);
            let record = AuditRecord::now("backup.expired", RETENTION, instance_id, detail);
            if let Err(fault) = self.state.record(record).await {
                tracing::error!("the audit could not be written: {fault}");
            }
        }
        if deleted > 0 {
            self.to.0.sweep(instance_id, &()).await?;
        }
        Ok(deleted)
    }

    /// The newest of an instance's sets, of which these are all, that is wanted at the second place, and the newest of which a copy lies there.
    ///
    /// # Errors
    /// `vault.failed`, also where the place does not answer in time; `copy.conflict`.
    pub async fn newest_copied<'a>(&self, sets: &'a [BackupSet]) -> Result<Newest<'a>, Fault> {
        let mut wanted: Vec<&BackupSet> = sets.iter().filter(|set| has_copy(set)).collect();
        wanted.sort_by_key(|set| std::cmp::Reverse((set.started_at, set.id.clone())));
        let look = async {
            for set in wanted.iter().take(ASKED_MAX) {
                if self.from.0.is_copied(&self.to.0, &set.instance_id, &set.id).await? {
                    return Ok(Some(*set));
                }
            }
            Ok::<_, Fault>(None)
        };
        let copied = match tokio::time::timeout(ASKED_FOR, look).await {
            Ok(copied) => copied?,
            Err(_) => {
                let message = format!("{} did not say within {} s what it has", self.place, ASKED_FOR.as_secs());
                return Err(Fault::new(Kind::Unexpected, "vault.failed", message));
            }
        };
        Ok(Newest { wanted: wanted.first().copied(), copied })
    }
}

/// The newest sets of an instance.
#[derive(Debug, Clone, Copy)]
pub struct Newest<'a> {
    /// The newest that is to have a copy.
    pub wanted: Option<&'a BackupSet>,
    /// The newest that has one.
    pub copied: Option<&'a BackupSet>,
}

/// Whether a set has a copy: one that was taken before a restore, which expires soon, has none.
fn has_copy(set: &BackupSet) -> bool {
    matches!(set.mode, Mode::Manual | Mode::Automated)
}

/// What became of one set, where that does not end the whole.
fn outcome(copied: Result<SetCopy, Fault>) -> Result<(Outcome, String), Fault> {
    match copied {
        Ok(SetCopy::Copied) => Ok((Outcome::Copied, String::new())),
        Ok(SetCopy::There) => Ok((Outcome::There, String::new())),
        Ok(SetCopy::Gone) => Ok((Outcome::Gone, "deleted before it was copied".to_owned())),
        Err(fault) => match fault.kind {
            Kind::Damaged => Ok((Outcome::Damaged, fault.message)),
            Kind::Refused => Ok((Outcome::Conflict, fault.message)),
            _ => Err(fault),
        },
    }
}
