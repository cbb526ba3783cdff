//! Copies of what lies on the vault at another place: all of it, where a vault is moved, or the sets and the log of an instance as they come
//! (`copy_to`).
//!
//! It must delete nothing on the vault.

pub mod second;

use crate::archive::{Archive, LogCopy, ReadBack};
use crate::config::Config;
use crate::config::blocking::blocking;
use crate::config::vault::VaultPlace;
use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::{Fault, Kind};
use crate::provider::local::backup::staging::ByJobs;
use crate::provider::local::vault;
use crate::provider::local::vault::manifests::replaced;
use crate::state::State;
use crate::vault::Vault;
use crate::vault::copy::SetCopy;
use crate::vault::lacking::is_of_one_object;
use crate::vault::watch::Watch;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// What a row is about that is of no set: the public keys of all.
const KEYS: &str = "public keys";

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
    /// It takes a key that is not here.
    NoKey,
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
            Self::NoKey => "no_key",
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
    /// The instances of the configuration.
    configured: Vec<String>,
    place: String,
    is_bucket: bool,
    state: Arc<dyn State>,
    /// What of logs was read back there last.
    read_back: Arc<Mutex<ReadBack>>,
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
            from: both(vault::of(config, state)),
            to: both(vault::at(config, state, to)),
            configured: config.instance_ids(),
            place: to.to_string(),
            is_bucket: matches!(to, VaultPlace::Bucket(_)),
            state: Arc::clone(state),
            read_back: Arc::default(),
        }
    }

    /// The second place of an instance's sets and its log; `None` where it has none.
    #[must_use]
    pub fn of(config: &Config, state: &Arc<dyn State>, instance_id: &str) -> Option<Self> {
        config.second_place(instance_id).map(|to| Self::new(config, state, to))
    }

    /// The place that is copied to, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Tries whether a bucket that is copied to obeys what a copy relies on; one small object stays there. A directory need not be tried.
    ///
    /// # Errors
    /// `vault.failed` where it does not, or cannot be reached.
    pub async fn try_place(&self) -> Result<(), Fault> {
        if !self.is_bucket {
            return Ok(());
        }
        if self.to.0.probe().await?.broken().is_empty() {
            return Ok(());
        }
        let why = "puts over an object where it was asked not to, or does not list or read what was put";
        let message = format!("{} {why}", self.place);
        let hint = "No set is safe there. Use a bucket that obeys: docs/vault.md has what a store must.";
        Err(Fault::new(Kind::Unexpected, "vault.failed", message).hint(hint))
    }

    /// The instances of which something lies on the vault, in order; without folders of somebody else that may not be looked into.
    ///
    /// # Errors
    /// `vault.failed`, `log.failed`, `state.failed`.
    pub async fn instances(&self) -> Result<Vec<String>, Fault> {
        let archive = self.from.1.clone();
        let mut all: BTreeSet<String> = blocking(move || archive.instances()).await?.into_iter().collect();
        let remembered = self.state.manifests(None).await?;
        for id in self.from.0.instances().await? {
            let known = self.configured.contains(&id) || remembered.keys().any(|(of, _)| *of == id);
            if known || self.from.0.may_be_listed(&id).await? {
                all.insert(id);
            } else {
                let place = self.from.0.store().place(&id);
                tracing::warn!(
                    "{place} may not be looked into, and is of no instance that this home knows: it is not copied"
                );
            }
        }
        Ok(all.into_iter().collect())
    }

    /// Copies the sets and the logs of instances, or tells what would be copied. What is damaged, takes a key
    /// that is not here, or has a name that another has there, is told, and the rest is copied. Ended by `progress`, it tells what was done by then.
    ///
    /// # Errors
    /// `vault.failed`, `log.failed`: then the rest is not done.
    pub async fn copy_all(
        &self,
        instances: &[String],
        dry_run: bool,
        progress: &Arc<Progress>,
    ) -> Result<VaultCopy, Fault> {
        if !dry_run {
            self.try_place().await?;
        }
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
        if !dry_run && let Err(fault) = self.from.0.copy_beside(&self.to.0, &progress.watch).await {
            let (outcome, why) = outcome(Err(fault))?;
            let (instance_id, backup_id) = (KEYS.to_owned(), String::new());
            copy.sets.push(CopiedSet { instance_id, backup_id, stored_bytes: 0, outcome, why });
        }
        let (mut found, mut total) = (Vec::new(), 0);
        for id in instances {
            progress.at(format!("looking at the sets of {id}"), None);
            let listed = self.from.0.list(id, &ByJobs(Arc::clone(&self.state))).await?;
            let recorded = self.state.manifests(Some(id)).await?;
            for set in listed {
                let set = set.and_then(|set| match replaced(&self.from.0, &set, &recorded) {
                    Some(fault) => Err(DamagedSet { id: set.id, reason: fault.message, unreadable: None }),
                    None => Ok(set),
                });
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
            if log.copied + log.there + log.gone + log.damaged + log.conflicts + log.no_key > 0 {
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
            Err(DamagedSet { id, reason, .. }) => return Ok(Some((row(id, 0, Outcome::Damaged, reason), 0))),
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
}

/// What became of one set, where that does not end the whole.
fn outcome(copied: Result<SetCopy, Fault>) -> Result<(Outcome, String), Fault> {
    match copied {
        Ok(SetCopy::Copied) => Ok((Outcome::Copied, String::new())),
        Ok(SetCopy::There) => Ok((Outcome::There, String::new())),
        Ok(SetCopy::Gone) => Ok((Outcome::Gone, "deleted before it was copied".to_owned())),
        Err(fault) if is_of_one_object(&fault) => {
            let outcome = match fault.kind {
                Kind::Damaged => Outcome::Damaged,
                Kind::Refused => Outcome::Conflict,
                _ => Outcome::NoKey,
            };
            Ok((outcome, fault.message))
        }
        Err(fault) => Err(fault),
    }
}
