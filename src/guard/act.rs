//! Acts: what may only be done with a person's yes, with its arguments in canonical form. What a token stands for.

use crate::model::instance::Capability;
use crate::model::time::written;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An act that overwrites data, deletes data, lowers protection or costs money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Act {
    /// Overwrites an instance.
    RestoreInstance {
        /// With what.
        source: Source,
        /// Writes are locked while it runs.
        write_fence: bool,
    },
    /// Deletes a backup set for ever.
    DeleteBackup {
        /// Which.
        backup_id: String,
    },
    /// Changes the backup policy so that less can be recovered.
    ModifyBackupPolicy {
        /// What to change.
        change: PolicyChange,
    },
    /// Makes a new instance, which is billed until it is released.
    CreateInstanceFromBackup {
        /// What to make.
        order: CloneOrder,
    },
}

/// What is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A backup set.
    Backup {
        /// Which.
        backup_id: String,
    },
    /// The data as it was at a second, from the archive.
    Moment {
        /// Which second.
        restore_time: Timestamp,
        /// The moment from which the time that keys had left to live counts on.
        time_shift: Option<Timestamp>,
        /// Only keys that match: regular expressions, separated by commas.
        filter_key: Option<String>,
    },
}

/// A change of a backup policy. `None` keeps what is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// The hour in which backups begin, UTC.
    pub preferred_backup_time: Option<String>,
    /// Weekdays in English, in full.
    pub preferred_backup_period: Option<Vec<String>>,
    /// Days.
    pub backup_retention_period: Option<u32>,
    /// Data flashback.
    pub enable_backup_log: Option<bool>,
}

/// A new instance to be made from a backup. What is `None` is as the source has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneOrder {
    /// From what.
    pub source: Source,
    /// Its name.
    pub instance_name: Option<String>,
    /// Its class.
    pub instance_class: Option<String>,
    /// Its zone.
    pub zone_id: Option<String>,
    /// Its switch.
    pub vswitch_id: Option<String>,
    /// Settings to take over: `whitelist`, `config`, `account`.
    pub recover_config_mode: Vec<String>,
}

impl Source {
    /// In a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Backup { backup_id } => backup_id.clone(),
            Self::Moment { restore_time, filter_key: None, .. } => format!("its data of {}", written(*restore_time)),
            Self::Moment { restore_time, filter_key: Some(keys), .. } => {
                format!("its data of {}, only keys that match {keys}", written(*restore_time))
            }
        }
    }
}

impl Act {
    /// The tool that does it.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::RestoreInstance { .. } => "restore_instance",
            Self::DeleteBackup { .. } => "delete_backup",
            Self::ModifyBackupPolicy { .. } => "modify_backup_policy",
            Self::CreateInstanceFromBackup { .. } => "create_instance_from_backup",
        }
    }

    /// The same for people, as a noun.
    #[must_use]
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::RestoreInstance { .. } => "restore",
            Self::DeleteBackup { .. } => "deletion",
            Self::ModifyBackupPolicy { .. } => "change of the backup policy",
            Self::CreateInstanceFromBackup { .. } => "new instance",
        }
    }

    /// What a person must see first.
    #[must_use]
    pub const fn warning(&self) -> &'static str {
        match self {
            Self::RestoreInstance { .. } => "RESTORE OVERWRITES DATA",
            Self::DeleteBackup { .. } => "A DELETED BACKUP CANNOT BE BROUGHT BACK",
            Self::ModifyBackupPolicy { .. } => "THIS LOWERS PROTECTION",
            Self::CreateInstanceFromBackup { .. } => "THIS COSTS MONEY",
        }
    }

    /// What it would do to an instance, in one line.
    #[must_use]
    pub fn on(&self, instance_id: &str) -> String {
        match self {
            Self::RestoreInstance { source, .. } => format!("restore of {instance_id} from {}", source.describe()),
            Self::DeleteBackup { backup_id } => format!("deletion of backup {backup_id} of {instance_id}"),
            Self::ModifyBackupPolicy { change } => {
                format!("change of {instance_id}'s backup policy: {}", change.describe())
            }
            Self::CreateInstanceFromBackup { order } => {
                format!("new instance from {instance_id}, {}", order.source.describe())
            }
        }
    }

    /// What an instance must be able to do for it.
    #[must_use]
    pub fn needs(&self) -> Vec<Capability> {
        match self {
            Self::RestoreInstance { source: Source::Moment { .. }, .. } => vec![Capability::RestoreToMoment],
            Self::RestoreInstance { source: Source::Backup { .. }, write_fence: true } => vec![Capability::WriteFence],
            Self::RestoreInstance { source: Source::Backup { .. }, write_fence: false } | Self::DeleteBackup { .. } => {
                Vec::new()
            }
            Self::ModifyBackupPolicy { .. } => vec![Capability::BackupPolicy],
            Self::CreateInstanceFromBackup { .. } => vec![Capability::Clone],
        }
    }

    /// The set it is about, if it is about one.
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
}

impl PolicyChange {
    /// What it changes, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let period =
            self.preferred_backup_period.as_ref().map(|days| format!("preferred_backup_period {}", days.join(",")));
        let time = self.preferred_backup_time.as_ref().map(|t| format!("preferred_backup_time {t}"));
        let keep = self.backup_retention_period.map(|d| format!("backup_retention_period {d} days"));
        let log = self.enable_backup_log.map(|on| format!("enable_backup_log {on}"));
        [time, period, keep, log].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
