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
    /// lost by that: the same rules let the others go, by another yes. Nor does a process that is asked to end go on to them.
    pub async fn prune(&self, permit: Permit) -> Result<Vec<PrunedSet>, Fault> {
        let Preconditions::Pruning { sets } = &permit.plan().preconditions else {
            return Err(permit.plan().unsupported());
        };
        let (planned, instance_id) = (sets.clone(), permit.plan().instance_id.clone());
        let record = permit.record("backup.deleted", String::new());
        let mut done = Vec::new();
        for (grant, set) in permit.delete_each()?.into_iter().zip(&planned) {
            let deleted = if self.jobs.stop.is_cancelled() {
                Err(changed("this program was asked to end before it came to it; it is kept"))
            } else {
                self.prune_set(grant, &instance_id, set, &record).await
            };
            let (freed_bytes, fate) = match deleted {
                Ok(freed) => (freed, Fate::Deleted),
                Err(fault) => (0, fate(fault)),
            };
            done.push(PrunedSet { backup_id: set.backup_id.clone(), freed_bytes, fate });
        }
        self.sweep_tails().await;
        Ok(done)
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

/// What became of a set that was not deleted here.
fn fate(fault: Fault) -> Fate {
    match fault.kind {
        Kind::NotFound => Fate::Gone,
        Kind::Refused => Fate::Retained(fault.message),
        kind => Fate::Failed(kind, fault.message),
    }
}
