//! Preconditions: what must still hold when a plan is carried out. Typed per act, and compared here alone.

use crate::guard::facts::CloudInstance;
use crate::guard::facts::backup::CloudSet;
use crate::guard::facts::clone::OrderTerms;
use crate::model::policy::BackupPolicy;
use crate::model::restore::Method;
use crate::model::time::written;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// What must still hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Preconditions {
    /// Of a restore of a server that this program reaches itself.
    DirectRestore(DirectRestore),
    /// Of a restore of an instance of the cloud; of one that is refused, only what the instance is.
    CloudRestore {
        /// The instance.
        instance: CloudInstance,
        /// The set, where a whole set is restored.
        set: Option<SetIdentity>,
    },
    /// Of a deletion from this program's vault.
    VaultDeletion {
        /// SHA-256 of the set's RDB.
        sha256: String,
        /// Who asked for the set.
        mode: String,
        /// Whoever agreed to one of several going did not agree to the last one going.
        others: Others,
    },
    /// Of a deletion in the cloud.
    CloudDeletion {
        /// The instance.
        instance: CloudInstance,
        /// The set; `None` where it is damaged.
        set: Option<SetIdentity>,
        /// As in [`Self::VaultDeletion`].
        others: Others,
    },
    /// Of a change of a backup policy.
    PolicyChange {
        /// The instance.
        instance: CloudInstance,
        /// The policy that the change was made from.
        policy: PolicyValues,
    },
    /// Of a new instance.
    Clone {
        /// The source.
        instance: CloudInstance,
        /// The set.
        set: Option<SetIdentity>,
        /// The order; `None` where there can be none.
        terms: Option<Box<OrderTerms>>,
    },
}

/// What must still hold of a server and of the set that it is overwritten with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectRestore {
    /// Where the server listens.
    pub address: String,
    /// The server's process.
    pub run_id: String,
    /// The history of changes that it is on.
    pub replication_id: String,
    /// The slots that it serves as a node of a cluster; empty outside one.
    pub slots: String,
    /// How the data gets in.
    pub method: Method,
    /// SHA-256 of the set's RDB.
    pub sha256: String,
    /// Checksum of the set's file: which bytes were verified for the plan.
    pub stored_sha256: String,
}

/// A set of the cloud, by what the cloud tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetIdentity {
    /// Bytes of its files.
    pub bytes: u64,
    /// When it was whole.
    pub finished_at: Timestamp,
    /// The cloud's jobs that made it.
    pub jobs: Vec<i64>,
    /// Whether somebody asked for it.
    pub manual: bool,
}

impl From<&CloudSet> for SetIdentity {
    fn from(set: &CloudSet) -> Self {
        let CloudSet { bytes, finished_at, jobs, manual, .. } = set;
        Self { bytes: *bytes, finished_at: *finished_at, jobs: jobs.clone(), manual: *manual }
    }
}

/// Whether other whole sets stay beside one that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// It is the last one.
    None,
    /// There are others.
    Some,
}

impl Others {
    /// By their number.
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

/// What can be set of a backup policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyValues {
    /// The hour in which backups begin.
    pub preferred_backup_time: String,
    /// Weekdays.
    pub preferred_backup_period: Vec<String>,
    /// Days that an automated backup is kept.
    pub backup_retention_period: u32,
    /// Data flashback.
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

/// Gathers what is no longer as it was, each as a sentence's part.
#[derive(Default)]
struct Changes(Vec<String>);

impl Changes {
    fn compare<T: PartialEq + Display>(&mut self, name: &str, was: &T, is: &T) {
        if was != is {
            self.0.push(format!("{name} was {was}, is {is}"));
        }
    }

    /// For what may be absent: absent is shown as nothing.
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

    fn others(&mut self, was: Others, is: Others) {
        self.compare("other backups", &was.as_str(), &is.as_str());
    }

    fn server(&mut self, was: &DirectRestore, run_id: &str, replication_id: &str, slots: &str) {
        let process = "the server process (run_id; it restarted or another took its place)";
        self.compare(process, &was.run_id.as_str(), &run_id);
        let history = "the replication id (a failover or another restore)";
        self.compare(history, &was.replication_id.as_str(), &replication_id);
        self.compare("the slots that this node of the cluster serves", &was.slots.as_str(), &slots);
    }
}

impl DirectRestore {
    /// What the server shows now and did not show for the plan. Empty: it is the server that was planned for.
    #[must_use]
    pub fn server_changes(&self, run_id: &str, replication_id: &str, slots: &str) -> Vec<String> {
        let mut changes = Changes::default();
        changes.server(self, run_id, replication_id, slots);
        changes.0
    }
}

impl Preconditions {
    /// What no longer holds. Empty: all of it does.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Changes::default();
        match (self, now) {
            (Self::DirectRestore(was), Self::DirectRestore(is)) => {
                changes.compare("the instance's address", &was.address, &is.address);
                changes.server(was, &is.run_id, &is.replication_id, &is.slots);
                changes.compare("the way of restoring", &was.method.as_str(), &is.method.as_str());
                changes.compare("the backup's checksum", &was.sha256, &is.sha256);
                changes.compare("the checksum of the backup's file", &was.stored_sha256, &is.stored_sha256);
            }
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
            (
                Self::CloudDeletion { instance, set, others },
                Self::CloudDeletion { instance: i, set: s, others: others_now },
            ) => {
                changes.instance(instance, i);
                changes.set(set.as_ref(), s.as_ref());
                changes.others(*others, *others_now);
            }
            (Self::PolicyChange { instance, policy }, Self::PolicyChange { instance: i, policy: p }) => {
                changes.instance(instance, i);
                policy.compare(p, &mut changes);
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
    fn compare(&self, now: &Self, changes: &mut Changes) {
        changes.compare("preferred backup time", &self.preferred_backup_time, &now.preferred_backup_time);
        let days = |policy: &Self| policy.preferred_backup_period.join(",");
        changes.compare("preferred backup period", &days(self), &days(now));
        changes.compare("backup retention period", &self.backup_retention_period, &now.backup_retention_period);
        changes.compare("enable backup log", &self.enable_backup_log, &now.enable_backup_log);
    }
}
