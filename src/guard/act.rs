//! Acts: what may only be done with a person's yes, with its arguments in canonical form. A token stands for one act.

use crate::model::instance::Capability;
use crate::model::key_filter::SomeKeys;
use crate::model::persistence::PersistenceSettings;
use crate::model::pruning::Keep;
use crate::model::time::written_short;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An act that overwrites data, deletes data, lowers protection or costs money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Act {
    /// Overwrites an instance.
    RestoreInstance {
        /// The set or moment whose data replaces the instance's.
        source: Source,
        /// Whether writes are locked while the restore runs.
        write_fence: bool,
        /// The instance that the set or moment is of; `None` for the instance itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_instance_id: Option<String>,
        /// The keys that alone are restored; `None` for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<SomeKeys>,
    },
    /// Deletes a backup set for ever.
    DeleteBackup {
        /// The id of the set to delete.
        backup_id: String,
    },
    /// Deletes several backup sets for ever, which no rule of a person keeps.
    Prune {
        /// The rules, by which each of the sets has to go at every look.
        keep: Keep,
        /// The ids of the sets to delete, oldest first, each once; at most [`PRUNED_AT_ONCE`](crate::model::pruning::PRUNED_AT_ONCE).
        backup_ids: Vec<String>,
    },
    /// Changes the backup policy so that less can be recovered.
    ModifyBackupPolicy {
        /// The values to change.
        change: PolicyChange,
    },
    /// Makes a new instance: one of the cloud, which is billed until it is released, or a clone here, which ends by itself.
    CreateInstanceFromBackup {
        /// The new instance and where its data comes from.
        order: CloneOrder,
    },
}

/// What an instance is restored from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A backup set.
    Backup {
        /// The set's id.
        backup_id: String,
    },
    /// The data as it was at a moment, from the archive.
    Moment {
        /// The moment whose data is restored.
        restore_time: Timestamp,
        /// The moment from which the time that keys had left to live counts on.
        time_shift: Option<Timestamp>,
    },
    /// The data as it was right before a command of the archive, or at the cutover of an earlier restore.
    Before {
        /// The command's position; or the id of the restore's job.
        position: String,
        /// The moment from which the time that keys had left to live counts on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_shift: Option<Timestamp>,
    },
}

/// A change of a backup policy. `None` keeps the present value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// The hour in which backups begin, UTC.
    pub preferred_backup_time: Option<String>,
    /// Weekdays on which backups are taken, in English and in full.
    pub preferred_backup_period: Option<Vec<String>>,
    /// Days that an automated backup is kept.
    pub backup_retention_period: Option<u32>,
    /// Whether data flashback is on.
    pub enable_backup_log: Option<bool>,
    /// What the server keeps on its disk by itself.
    #[serde(default, skip_serializing_if = "PersistenceSettings::is_empty")]
    pub persistence: PersistenceSettings,
}

/// An order for a new instance with a backup's data. A field that is `None` is taken from the source instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneOrder {
    /// The set or moment whose data the new instance gets.
    pub source: Source,
    /// Name of the new instance.
    pub instance_name: Option<String>,
    /// Class of the new instance, which sets memory and price: `redis.master.small.default`.
    pub instance_class: Option<String>,
    /// Zone of the new instance: `cn-hangzhou-h`.
    pub zone_id: Option<String>,
    /// vSwitch (subnet of the VPC) that the new instance is attached to.
    pub vswitch_id: Option<String>,
    /// Settings of the source to take over: `whitelist`, `config`, `account`.
    pub recover_config_mode: Vec<String>,
}

impl Source {
    /// The source, as part of a sentence.
    #[must_use]
    pub fn describe(&self) -> String {
        let shift = self.time_shift().map(|at| format!(", times to live counted on from {}", written_short(at)));
        let shift = shift.unwrap_or_default();
        match self {
            Self::Backup { backup_id } => backup_id.clone(),
            Self::Moment { restore_time, .. } => format!("its data of {}{shift}", written_short(*restore_time)),
            Self::Before { position, .. } => format!("its data right before {position}{shift}"),
        }
    }

    /// The moment from which the time that keys had left to live counts on; `None` where their expiries stay as they are.
    #[must_use]
    pub const fn time_shift(&self) -> Option<Timestamp> {
        match self {
            Self::Backup { .. } => None,
            Self::Moment { time_shift, .. } | Self::Before { time_shift, .. } => *time_shift,
        }
    }
}

impl Act {
    /// A restore of all of an instance from its own set or moment.
    #[must_use]
    pub const fn restore(source: Source, write_fence: bool) -> Self {
        Self::RestoreInstance { source, write_fence, source_instance_id: None, keys: None }
    }

    /// The keys that the act is about alone; `None` where it is about all.
    #[must_use]
    pub const fn keys(&self) -> Option<&SomeKeys> {
        match self {
            Self::RestoreInstance { keys, .. } => keys.as_ref(),
            _ => None,
        }
    }

    /// Name of the tool that carries the act out; of a pruning, which no tool does, that of the command.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::RestoreInstance { .. } => "restore_instance",
            Self::DeleteBackup { .. } => "delete_backup",
            Self::Prune { .. } => "prune",
            Self::ModifyBackupPolicy { .. } => "modify_backup_policy",
            Self::CreateInstanceFromBackup { .. } => "create_instance_from_backup",
        }
    }

    /// Whether a tool carries the act out. Of another the plan is its command's, which shows all of it and asks at once: nobody else is asked.
    #[must_use]
    pub const fn has_a_tool(&self) -> bool {
        !matches!(self, Self::Prune { .. })
    }

    /// The act as a noun, for people.
    #[must_use]
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::RestoreInstance { .. } => "restore",
            Self::DeleteBackup { .. } => "deletion",
            Self::Prune { .. } => "pruning",
            Self::ModifyBackupPolicy { .. } => "change of the backup policy",
            Self::CreateInstanceFromBackup { .. } => "new instance",
        }
    }

    /// The warning that a person must see first.
    #[must_use]
    pub const fn warning(&self) -> &'static str {
        match self {
            Self::RestoreInstance { .. } => "RESTORE OVERWRITES DATA",
            Self::DeleteBackup { .. } | Self::Prune { .. } => "A DELETED BACKUP CANNOT BE BROUGHT BACK",
            Self::ModifyBackupPolicy { .. } => "THIS LOWERS PROTECTION",
            Self::CreateInstanceFromBackup { .. } => "THIS COSTS MONEY",
        }
    }

    /// What the act would do to an instance, in one line.
    #[must_use]
    pub fn on(&self, instance_id: &str) -> String {
        match self {
            Self::RestoreInstance { source, source_instance_id, keys, .. } => {
                let from = match (source, source_instance_id) {
                    (_, None) => source.describe(),
                    (Source::Backup { backup_id }, Some(of)) => format!("{backup_id} of {of}"),
                    (_, Some(of)) => format!("{of}, {}", source.describe()),
                };
                let keys = keys.as_ref().map(|keys| format!(", {}", keys.describe())).unwrap_or_default();
                format!("restore of {instance_id} from {from}{keys}")
            }
            Self::DeleteBackup { backup_id } => format!("deletion of backup {backup_id} of {instance_id}"),
            Self::Prune { keep, backup_ids } => {
                let n = backup_ids.len();
                format!("deletion of {n} backup{} of {instance_id} ({keep})", if n == 1 { "" } else { "s" })
            }
            Self::ModifyBackupPolicy { change } => {
                format!("change of {instance_id}'s backup policy: {}", change.describe())
            }
            Self::CreateInstanceFromBackup { order } => {
                format!("new instance from {instance_id}, {}", order.source.describe())
            }
        }
    }

    /// The capabilities that the instance must have for the act.
    #[must_use]
    pub fn needs(&self) -> Vec<Capability> {
        match self {
            Self::RestoreInstance { source, write_fence, source_instance_id, keys } => {
                // What another instance's log reaches is for that one to say.
                let source = match source {
                    _ if source_instance_id.is_some() => Some(Capability::Fill),
                    Source::Moment { .. } => Some(Capability::RestoreToMoment),
                    Source::Before { .. } => Some(Capability::RestoreToPosition),
                    Source::Backup { .. } => None,
                };
                let keys_of = |keys: &SomeKeys| {
                    let to_a_moment = source == Some(Capability::RestoreToMoment) && keys.add_prefix.is_none();
                    (!to_a_moment).then_some(Capability::SomeKeys)
                };
                let keys = keys.as_ref().and_then(keys_of);
                source.into_iter().chain(write_fence.then_some(Capability::WriteFence)).chain(keys).collect()
            }
            Self::DeleteBackup { .. } | Self::Prune { .. } => Vec::new(),
            Self::ModifyBackupPolicy { .. } => vec![Capability::BackupPolicy],
            Self::CreateInstanceFromBackup { .. } => vec![Capability::Clone],
        }
    }

    /// Id of the set that the act is about, if there is one.
    #[must_use]
    pub fn backup_id(&self) -> Option<&str> {
        match self {
            Self::RestoreInstance { source: Source::Backup { backup_id }, .. }
            | Self::DeleteBackup { backup_id }
            | Self::CreateInstanceFromBackup { order: CloneOrder { source: Source::Backup { backup_id }, .. } } => {
                Some(backup_id)
            }
            _ => None,
        }
    }

    /// The instance whose set the act on `instance_id` uses: `instance_id` itself, but for a restore from another's.
    #[must_use]
    pub fn set_of<'a>(&'a self, instance_id: &'a str) -> &'a str {
        match self {
            Self::RestoreInstance { source_instance_id: Some(of), .. } => of,
            _ => instance_id,
        }
    }
}

impl PolicyChange {
    /// The changes, as part of a sentence.
    #[must_use]
    pub fn describe(&self) -> String {
        let period =
            self.preferred_backup_period.as_ref().map(|days| format!("preferred_backup_period {}", days.join(",")));
        let time = self.preferred_backup_time.as_ref().map(|t| format!("preferred_backup_time {t}"));
        let keep = self.backup_retention_period.map(|d| format!("backup_retention_period {d} days"));
        let log = self.enable_backup_log.map(|on| format!("enable_backup_log {on}"));
        let persistence = Some(self.persistence.describe()).filter(|text| !text.is_empty());
        [time, period, keep, log, persistence].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Whether the change is of the server's persistence alone.
    #[must_use]
    pub fn is_of_persistence_alone(&self) -> bool {
        *self == Self { persistence: self.persistence.clone(), ..Self::default() }
    }
}
