//! Pruning by hand: what goes of an instance's sets by a person's rules, and, only with a permit for the very sets, their deletion. The verdict
//! is the guard's; nothing goes that a plan, a job, a restore that may still be undone or the log needs.

use crate::guard::facts::Facts;
use crate::guard::facts::backup::{Dependent, Going, Pruning, VaultSet};
use crate::guard::grant::{Delete, Grant};
use crate::guard::ledger::AuditRecord;
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::Preconditions;
use crate::guard::pruning::prune;
use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::{Fault, Kind};
use crate::model::policy::{Retained, Retention};
use crate::model::pruning::{Fate, Keep, PrunedSet};
use crate::model::time::written;
use crate::provider::local::Inner;
use crate::provider::local::backup::retention::{needed_by, unreadable};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// What pruning comes to at a moment.
struct Judged {
    /// The whole sets, newest first, each with why it stays.
    sets: Vec<(BackupSet, Option<String>)>,
    damaged: Vec<DamagedSet>,
    /// Ids of the whole ones that stand in for no other.
    unsound: Vec<String>,
    /// What counts on those that no rule keeps.
    dependents: BTreeMap<String, Vec<Dependent>>,
}

impl Judged {
    /// The sets that go or stay, by their ids.
    fn by_id(&self) -> BTreeMap<&str, (&BackupSet, Option<&str>)> {
        self.sets.iter().map(|(set, stays)| (set.id.as_str(), (set, stays.as_deref()))).collect()
    }
}

impl Inner {
    async fn judge_pruning(&self, instance_id: &str, keep: &Keep) -> Result<Judged, Fault> {
        let now = Timestamp::now();
        let listed = self.listed_to_judge(instance_id, now).await?;
        let verdicts = prune(&listed.sets, &listed.unsound, keep, now);
        let by_rule = listed.sets.iter().zip(verdicts).map(|(set, stays)| (set.id.clone(), stays));
        let mut stays: BTreeMap<String, Option<String>> =
            by_rule.map(|(id, stays)| (id, stays.map(|why| why.to_string()))).collect();
        let ids = |stays: &BTreeMap<String, Option<String>>| -> Vec<String> {
            stays.iter().filter(|(_, why)| why.is_none()).map(|(id, _)| id.clone()).collect()
        };
        let dependents = self.state.dependents(instance_id, &ids(&stays)).await?;
        for (id, all) in &dependents {
            if let Some(why) = all.iter().find_map(|dependent| self.may_be_undone(dependent, now)) {
                stays.insert(id.clone(), Some(why));
            }
        }
        for (id, stayed) in self.stay_all_the_same(instance_id, &listed, ids(&stays)).await? {
            stays.insert(id, Some(stayed.why));
        }
        let verdict = |set: BackupSet| {
            let why = stays.remove(&set.id).flatten();
            (set, why)
        };
        let sets = listed.sets.into_iter().map(verdict).collect();
        Ok(Judged { sets, damaged: listed.damaged, unsound: listed.unsound, dependents })
    }

    /// Why a set stays that a restore is undone with, as long as safety backups are kept, whoever took it.
    fn may_be_undone(&self, dependent: &Dependent, now: Timestamp) -> Option<String> {
        let Dependent::Restore { job_id, began_at, .. } = dependent else { return None };
        let kept = SignedDuration::from_hours(24 * i64::from(self.safety_retention_days));
        let until = began_at.checked_add(kept).unwrap_or(Timestamp::MAX);
        (until > now).then(|| format!("restore {job_id} can be undone with it, until {}", written(until)))
    }

    /// What pruning by these rules would do now to the sets of an instance. Deletes nothing.
    pub async fn pruning(&self, instance_id: &str, keep: &Keep) -> Result<Retention, Fault> {
        let Judged { sets, damaged, unsound, .. } = self.judge_pruning(instance_id, keep).await?;
        let row = |(set, stays): (BackupSet, Option<String>)| {
            let unsound = unsound.contains(&set.id);
            let goes = if unsound {
                "no rule keeps it; a fault was found, or nobody vouches for it"
            } else {
                "no rule keeps it"
            };
            Retained {
                mode: set.mode.as_str(),
                taken_at: Some(set.started_at),
                stored_bytes: set.stored_bytes,
                goes: stays.is_none(),
                why: stays.unwrap_or_else(|| goes.to_owned()),
                backup_id: set.id,
            }
        };
        let rows = sets.into_iter().map(row).chain(damaged.into_iter().map(unreadable)).collect();
        Ok(Retention { sets: rows, log_segments: 0 })
    }

    /// What the pruning of these sets is about.
    pub async fn pruning_facts(&self, instance_id: &str, keep: &Keep, ids: &[String]) -> Result<Facts, Fault> {
        let judged = self.judge_pruning(instance_id, keep).await?;
        let by_id = judged.by_id();
        let mut facts = Pruning { going: Vec::new(), staying: Vec::new(), others: 0 };
        for id in ids {
            match by_id.get(id.as_str()) {
                None => facts.staying.push((id.clone(), "it is not there any more, or cannot be read".to_owned())),
                Some((_, Some(why))) => facts.staying.push((id.clone(), (*why).to_owned())),
                Some((set, None)) => facts.going.push(Going {
                    set: VaultSet {
                        backup_id: id.clone(),
                        mode: set.mode.as_str().to_owned(),
                        sha256: set.sha256.clone(),
                    },
                    taken_at: set.started_at,
                    stored_bytes: set.stored_bytes,
                    dependents: judged.dependents.get(id).cloned().unwrap_or_default(),
                }),
            }
        }
        facts.others = by_id.keys().filter(|id| !judged.unsound.iter().chain(ids).any(|other| other == *id)).count();
        Ok(Facts::Pruning(facts))
    }

    /// Deletes the sets that are permitted, one after another. A crash leaves those that were not reached, and nothing of what is done is
    /// lost by that: the same rules let the others go, by another yes. Nor does a process that is asked to end go on to them, nor one whose
    /// vault fails it, nor where what was to stay is gone.
    pub async fn prune(&self, permit: Permit) -> Result<Vec<PrunedSet>, Fault> {
        let Preconditions::Pruning { sets } = &permit.plan().preconditions else {
            return Err(permit.plan().unsupported());
        };
        let (planned, instance_id) = (sets.clone(), permit.plan().instance_id.clone());
        let record = permit.record("backup.deleted", String::new());
        let (mut done, mut stays, mut stopped) = (Vec::new(), None, None);
        for (grant, set) in permit.delete_each()?.into_iter().zip(&planned) {
            if stopped.is_none() && self.jobs.stop.is_cancelled() {
                stopped = Some("this program was asked to end before it came to it; it is kept".to_owned());
            }
            let deleted = match stopped.clone() {
                Some(why) => Err(changed(why)),
                None => match self.one_that_stays(&instance_id, &planned, stays.take()).await {
                    Err(fault) => Err(fault),
                    Ok(None) => {
                        let why = format!("no sound backup of {instance_id} is left beside those that go; it is kept");
                        stopped = Some(why.clone());
                        Err(changed(why))
                    }
                    Ok(one) => {
                        stays = one;
                        self.prune_set(grant, &instance_id, set, &record).await
                    }
                },
            };
            let (freed_bytes, fate) = match deleted {
                Ok(freed) => (freed, Fate::Deleted),
                Err(fault) => (0, fate(fault)),
            };
            if let Fate::Failed(kind, _) = &fate
                && is_of_the_vault(*kind)
            {
                stopped = Some(format!("not reached, for {} could not be deleted; it is kept", set.backup_id));
            }
            done.push(PrunedSet { backup_id: set.backup_id.clone(), freed_bytes, fate });
        }
        self.sweep_tails().await;
        Ok(done)
    }

    /// A sound set of an instance that is there now and is not to go, by its id: without one, those that go are the last. Somebody may have deleted
    /// what stayed by the verdict, by a yes to that alone. `known`: one that was there before the last deletion; all are listed only where it is not
    /// any more.
    async fn one_that_stays(
        &self,
        instance_id: &str,
        going: &[VaultSet],
        known: Option<String>,
    ) -> Result<Option<String>, Fault> {
        if let Some(id) = known {
            match self.found(instance_id, &id).await {
                Ok(set) => {
                    let recorded = self.recorded(instance_id).await?;
                    if !self.unsound(instance_id, &[set], &recorded).await?.contains(&id) {
                        return Ok(Some(id));
                    }
                }
                Err(fault) if is_of_the_vault(fault.kind) => return Err(fault),
                // Another one may be there.
                Err(_) => {}
            }
        }
        let listed = self.listed_to_judge(instance_id, Timestamp::now()).await?;
        let stays = |id: &String| !listed.unsound.contains(id) && !going.iter().any(|set| set.backup_id == *id);
        Ok(listed.sets.iter().map(|set| set.id.clone()).find(stays))
    }

    /// Deletes one of them, unless something has come to need it since the yes: the sets before it may have taken minutes. Its bytes.
    async fn prune_set(
        &self,
        grant: Grant<Delete>,
        instance_id: &str,
        planned: &VaultSet,
        record: &AuditRecord,
    ) -> Result<u64, Fault> {
        let id = &planned.backup_id;
        let mut dependents = self.state.dependents(instance_id, std::slice::from_ref(id)).await?;
        let dependents = dependents.remove(id).unwrap_or_default();
        // A restore may have begun and ended since, and be undone with it.
        let now = Timestamp::now();
        let why = |dependent| needed_by(dependent).map(str::to_owned).or_else(|| self.may_be_undone(dependent, now));
        let mut needed = dependents.iter().find_map(why);
        if needed.is_none() && self.state.sets_in_use().await?.contains(id) {
            needed = Some("a job that runs needs it".to_owned());
        }
        if let Some(why) = needed {
            return Err(changed(format!("{why}; it is kept")));
        }
        let set = self.delete_set(grant, instance_id, planned).await?;
        let detail = format!("backup {id} is deleted");
        self.jobs.audit(AuditRecord { at: Timestamp::now(), detail, ..record.clone() }).await;
        Ok(set.stored_bytes)
    }
}

/// Whether a failure is none of one set alone: with a vault, or a store of the state, that is away the others would fail too, each after minutes.
const fn is_of_the_vault(kind: Kind) -> bool {
    matches!(kind, Kind::Provider | Kind::Unexpected | Kind::Uncertain)
}

/// What became of a set that was not deleted here.
fn fate(fault: Fault) -> Fate {
    match fault.kind {
        Kind::NotFound => Fate::Gone,
        Kind::Refused => Fate::Retained(fault.message),
        kind => Fate::Failed(kind, fault.message),
    }
}
