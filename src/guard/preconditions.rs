//! Preconditions: what must still hold when a plan is carried out. Typed per act, and compared here alone.

use crate::guard::facts::CloudInstance;
use crate::guard::facts::backup::{CloudSet, VaultSet};
use crate::guard::facts::clone::OrderTerms;
use crate::model::persistence::PersistenceSettings;
use crate::model::policy::BackupPolicy;
use crate::model::restore::Method;
use crate::model::time::written;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// What must still hold when an act is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Preconditions {
    /// Of a restore of a server that this program reaches itself.
    DirectRestore(DirectPreconditions),
    /// Of a restore to a moment that cannot be restored: none is planned.
    NoMoment {
        /// Where the instance is.
        address: String,
    },
    /// Of a restore of an instance of the cloud; where the restore is refused, only the instance.
    CloudRestore {
        /// The instance that is overwritten.
        instance: CloudInstance,
        /// The set, where a set rather than a moment is restored.
        set: Option<SetIdentity>,
    },
    /// Of a deletion from this program's vault.
    VaultDeletion {
        /// SHA-256 of the set's RDB.
        sha256: String,
        /// Who asked for the set, as [`Mode::as_str`](crate::model::backup::Mode::as_str).
        mode: String,
        /// Whether other sets stay: a yes to deleting one of several is none to deleting the last one.
        others: Others,
    },
    /// Of a pruning of this program's vault.
    Pruning {
        /// The sets that go, in the order of the act.
        sets: Vec<VaultSet>,
    },
    /// Of a deletion in the cloud.
    CloudDeletion {
        /// The instance that the set belongs to.
        instance: CloudInstance,
        /// The set; `None` where it is damaged.
        set: Option<SetIdentity>,
        /// Whether other sets stay, as in [`Self::VaultDeletion`].
        others: Others,
    },
    /// Of a change of a backup policy.
    PolicyChange {
        /// The instance whose policy is changed.
        instance: CloudInstance,
        /// The policy in force when the change was planned.
        policy: PolicyValues,
        /// What the instance kept on its disk then; `None` where the change does not name it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        persistence: Option<PersistenceSettings>,
    },
    /// Of a change of a backup policy that this program keeps.
    OwnPolicy {
        /// The policy in force when the change was planned.
        policy: PolicyValues,
        /// What the server kept on its disk then; `None` where the change does not name it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        persistence: Option<PersistenceSettings>,
    },
    /// Of a new instance.
    Clone {
        /// The source instance.
        instance: CloudInstance,
        /// The set; `None` for a moment of the archive.
        set: Option<SetIdentity>,
        /// The terms of the order; `None` where the cloud can take none.
        terms: Option<Box<OrderTerms>>,
    },
    /// Of a clone on this machine.
    LocalClone(LocalClonePreconditions),
}

impl Preconditions {
    /// The set that commands are replayed behind, where the act is of a moment.
    #[must_use]
    pub fn replayed_behind(&self) -> Option<&str> {
        let replay = match self {
            Self::DirectRestore(restore) => restore.replay.as_ref(),
            Self::LocalClone(clone) => clone.replay.as_ref(),
            _ => None,
        };
        replay.map(|replay| replay.backup_id.as_str())
    }
}

/// What must still hold of what a clone on this machine is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalClonePreconditions {
    /// What the server's program says that it is.
    pub program: String,
    /// SHA-256 of the set's RDB.
    pub sha256: String,
    /// Digest of the set's file, which identifies the bytes verified for the plan.
    pub stored_digest: String,
    /// The commands that are replayed behind the set; `None` where the set alone is loaded.
    pub replay: Option<ReplayIdentity>,
}

/// What must still hold of a server and of the set that overwrites it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectPreconditions {
    /// Where the server listens.
    pub address: String,
    /// The server's `run_id`: another one after a restart.
    pub run_id: String,
    /// The server's replication id: another one after a failover.
    pub replication_id: String,
    /// The slots that the server owns as a node of a cluster, as ranges; empty outside a cluster.
    pub slots: String,
    /// How the data gets in.
    pub method: Method,
    /// SHA-256 of the set's RDB.
    pub sha256: String,
    /// Digest of the set's file, which identifies the bytes verified for the plan. Plans of earlier versions have another digest here,
    /// which no file has now.
    #[serde(alias = "stored_sha256")]
    pub stored_digest: String,
    /// The commands that are replayed behind the set; `None` where the set alone is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayIdentity>,
}

/// What identifies the commands that are replayed behind a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayIdentity {
    /// The id of the set.
    pub backup_id: String,
    /// The position behind the last command.
    pub position: String,
}

/// What identifies a set of the cloud, which tells no checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetIdentity {
    /// Bytes of the set's files.
    pub bytes: u64,
    /// When the set was complete.
    pub finished_at: Timestamp,
    /// Ids of the cloud's backup jobs that made the set.
    pub jobs: Vec<i64>,
    /// Whether somebody asked for the set, rather than the policy.
    pub manual: bool,
}

impl From<&CloudSet> for SetIdentity {
    fn from(set: &CloudSet) -> Self {
        let CloudSet { bytes, finished_at, jobs, manual, .. } = set;
        Self { bytes: *bytes, finished_at: *finished_at, jobs: jobs.clone(), manual: *manual }
    }
}

/// Whether other whole sets stay after a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// The set is the last one.
    None,
    /// Other sets stay.
    Some,
}

impl Others {
    /// From the number of other sets.
    #[must_use]
    pub const fn counted(others: usize) -> Self {
        if others == 0 { Self::None } else { Self::Some }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Some => "some",
        }
    }
}

/// The values of a backup policy that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyValues {
    /// The hour in which backups begin, UTC: `02:00Z-03:00Z`.
    pub preferred_backup_time: String,
    /// Weekdays on which backups are taken, in English and in full.
    pub preferred_backup_period: Vec<String>,
    /// Days that an automated backup is kept.
    pub backup_retention_period: u32,
    /// Whether data flashback is on.
    pub enable_backup_log: bool,
}

impl From<&BackupPolicy> for PolicyValues {
    fn from(policy: &BackupPolicy) -> Self {
        Self {
            preferred_backup_time: policy.preferred_backup_time.clone(),
            preferred_backup_period: policy.preferred_backup_period.clone(),
            backup_retention_period: policy.backup_retention_period,
            enable_backup_log: policy.enable_backup_log,
        }
    }
}

/// Gathers what has changed, each as part of a sentence.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: PartialEq + Display>(&mut self, name: &str, was: &T, is: &T) {
        if was != is {
            self.0.push(format!("{name} was {was}, is {is}"));
        }
    }

    /// [`Self::compare`] for an optional value; an absent one is shown as nothing.
    fn optional<T: PartialEq + Display>(&mut self, name: &str, was: Option<&T>, is: Option<&T>) {
        let shown = |value: Option<&T>| value.map(ToString::to_string).unwrap_or_default();
        self.compare(name, &shown(was), &shown(is));
    }

    fn instance(&mut self, was: &CloudInstance, is: &CloudInstance) {
        self.compare("the instance's address", &was.address, &is.address);
        self.compare("architecture", &was.architecture, &is.architecture);
        self.compare("instance class", &was.instance_class, &is.instance_class);
        self.compare("engine version", &was.engine_version, &is.engine_version);
        self.compare("created at", &was.created_at, &is.created_at);
        self.compare("the instance's region", &was.region, &is.region);
        let (was, is) = (&was.access, &is.access);
        self.compare("the account", &was.account, &is.account);
        self.compare("who calls", &was.principal, &is.principal);
        self.compare("the region that is called", &was.region, &is.region);
        self.compare("the endpoint", &was.endpoint, &is.endpoint);
    }

    fn set(&mut self, was: Option<&SetIdentity>, is: Option<&SetIdentity>) {
        self.optional("backup bytes", was.map(|s| s.bytes).as_ref(), is.map(|s| s.bytes).as_ref());
        let finished = |set: Option<&SetIdentity>| set.map(|s| written(s.finished_at));
        self.optional("backup finished at", finished(was).as_ref(), finished(is).as_ref());
        let jobs = |set: Option<&SetIdentity>| {
            set.map(|s| s.jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        };
        self.optional("backup jobs", jobs(was).as_ref(), jobs(is).as_ref());
        let mode = |set: Option<&SetIdentity>| set.map(|s| if s.manual { "manual" } else { "automated" });
        self.optional("backup mode", mode(was).as_ref(), mode(is).as_ref());
    }

    fn replay(&mut self, was: Option<&ReplayIdentity>, is: Option<&ReplayIdentity>) {
        let base = |replay: Option<&ReplayIdentity>| replay.map(|r| r.backup_id.clone());
        self.optional("the set that the log is replayed behind", base(was).as_ref(), base(is).as_ref());
        let position = |replay: Option<&ReplayIdentity>| replay.map(|r| r.position.clone());
        self.optional("the position in the log", position(was).as_ref(), position(is).as_ref());
    }

    fn persistence(&mut self, was: Option<&PersistenceSettings>, is: Option<&PersistenceSettings>) {
        let told = |settings: Option<&PersistenceSettings>| settings.map(PersistenceSettings::describe);
        self.optional("what it keeps on its disk", told(was).as_ref(), told(is).as_ref());
    }

    fn others(&mut self, was: Others, is: Others) {
        self.compare("other backups", &was.as_str(), &is.as_str());
    }

    fn server(&mut self, was: &DirectPreconditions, run_id: &str, replication_id: &str, slots: &str) {
        let process = "the server process (run_id; it restarted or another took its place)";
        self.compare(process, &was.run_id.as_str(), &run_id);
        let history = "the replication id (a failover or another restore)";
        self.compare(history, &was.replication_id.as_str(), &replication_id);
        self.compare("the slots that this node of the cluster serves", &was.slots.as_str(), &slots);
    }
}

impl DirectPreconditions {
    /// What the server shows now and did not show for the plan. Empty: this is the server of the plan.
    #[must_use]
    pub fn server_changes(&self, run_id: &str, replication_id: &str, slots: &str) -> Vec<String> {
        let mut changes = Differences::default();
        changes.server(self, run_id, replication_id, slots);
        changes.0
    }
}

impl Preconditions {
    /// What no longer holds, each as part of a sentence. Empty: all preconditions hold.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Differences::default();
        match (self, now) {
            (Self::DirectRestore(was), Self::DirectRestore(is)) => {
                changes.compare("the instance's address", &was.address, &is.address);
                changes.server(was, &is.run_id, &is.replication_id, &is.slots);
                changes.compare("the way of restoring", &was.method.place(), &is.method.place());
                changes.compare("the backup's checksum", &was.sha256, &is.sha256);
                changes.compare("the digest of the backup's file", &was.stored_digest, &is.stored_digest);
                changes.replay(was.replay.as_ref(), is.replay.as_ref());
            }
            (_, Self::NoMoment { .. }) => changes.0.push("the moment cannot be restored any more".into()),
            (Self::CloudRestore { instance, set }, Self::CloudRestore { instance: i, set: s }) => {
                changes.instance(instance, i);
                changes.set(set.as_ref(), s.as_ref());
            }
            (
                Self::VaultDeletion { sha256, mode, others },
                Self::VaultDeletion { sha256: sha256_now, mode: mode_now, others: others_now },
            ) => {
                changes.compare("the backup's checksum", sha256, sha256_now);
                changes.compare("mode", mode, mode_now);
                changes.others(*others, *others_now);
            }
            (Self::Pruning { sets }, Self::Pruning { sets: now }) => {
                let changed: Vec<&VaultSet> = sets.iter().filter(|set| !now.contains(set)).collect();
                changes.0.extend(changed.first().map(|first| {
                    format!("of {} backups {} no longer go as planned: {}", sets.len(), changed.len(), first.backup_id)
                }));
            }
            (
                Self::CloudDeletion { instance, set, others },
                Self::CloudDeletion { instance: i, set: s, others: others_now },
            ) => {
                changes.instance(instance, i);
                changes.set(set.as_ref(), s.as_ref());
                changes.others(*others, *others_now);
            }
            (
                Self::PolicyChange { instance, policy, persistence },
                Self::PolicyChange { instance: i, policy: p, persistence: d },
            ) => {
                changes.instance(instance, i);
                policy.compare(p, &mut changes);
                changes.persistence(persistence.as_ref(), d.as_ref());
            }
            (Self::OwnPolicy { policy, persistence }, Self::OwnPolicy { policy: p, persistence: d }) => {
                policy.compare(p, &mut changes);
                changes.persistence(persistence.as_ref(), d.as_ref());
            }
            (Self::Clone { instance, set, terms }, Self::Clone { instance: i, set: s, terms: t }) => {
                changes.instance(instance, i);
                changes.set(set.as_ref(), s.as_ref());
                let named = |terms: &Option<Box<OrderTerms>>| terms.as_ref().map(|t| t.by_name()).unwrap_or_default();
                let (was, is) = (named(terms), named(t));
                let of = |list: &[(&str, String)], name| list.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
                let mut names: Vec<&str> = was.iter().chain(&is).map(|(name, _)| *name).collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    changes.optional(&name.replace('_', " "), of(&was, name).as_ref(), of(&is, name).as_ref());
                }
            }
            (Self::LocalClone(was), Self::LocalClone(is)) => {
                changes.compare("the server's program", &was.program, &is.program);
                changes.compare("the backup's checksum", &was.sha256, &is.sha256);
                changes.compare("the digest of the backup's file", &was.stored_digest, &is.stored_digest);
                changes.replay(was.replay.as_ref(), is.replay.as_ref());
            }
            _ => changes.0.push("what the act is about is of another kind".into()),
        }
        changes.0
    }

    /// Whether this program's own safety backup may change any of it. What the cloud backs up stays as it is.
    #[must_use]
    pub const fn may_change_by_safety_backup(&self) -> bool {
        matches!(self, Self::DirectRestore(_))
    }

    /// Takes over what this program's own safety backup may have changed: a server without a replication backlog takes a new
    /// replication id when it is first captured.
    pub fn after_safety_backup(&mut self, now: &Self) {
        if let (Self::DirectRestore(was), Self::DirectRestore(is)) = (self, now) {
            was.replication_id.clone_from(&is.replication_id);
        }
    }
}

impl PolicyValues {
    fn compare(&self, now: &Self, changes: &mut Differences) {
        changes.compare("preferred backup time", &self.preferred_backup_time, &now.preferred_backup_time);
        let days = |policy: &Self| policy.preferred_backup_period.join(",");
        changes.compare("preferred backup period", &days(self), &days(now));
        changes.compare("backup retention period", &self.backup_retention_period, &now.backup_retention_period);
        changes.compare("enable backup log", &self.enable_backup_log, &now.enable_backup_log);
    }
}
