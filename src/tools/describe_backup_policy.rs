//! `describe_backup_policy`: when automated backups are taken, how long they are kept, how far back one can go, and what the server keeps on
//! its disk by itself.

use crate::config::Config;
use crate::model::fault::Fault;
use crate::model::persistence::Persistence;
use crate::model::policy::BackupPolicy;
use crate::model::time::written;
use crate::tools::ToolCall;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Arguments of `describe_backup_policy`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance
    #[arg(long)]
    pub instance_id: String,
}

/// Reply of `describe_backup_policy`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyRow {
    /// The hour in which backups begin, UTC: `02:00Z-03:00Z`; absent where none are taken by a calendar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_backup_time: Option<String>,
    /// Weekdays on which backups are taken, in English and in full.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preferred_backup_period: Vec<String>,
    /// Days that an automated backup is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_retention_period: Option<u32>,
    /// When the next automated backup begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_next_backup_time: Option<String>,
    /// Whether data flashback is on: any second since backup_log_start_time can then be restored.
    pub enable_backup_log: bool,
    /// The earliest second that can be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_log_start_time: Option<String>,
    /// What the server keeps on its disk by itself; absent in replies of other tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String,serde_json::Value>>")]
    pub persistence: Option<PersistenceRow>,
}

/// What a server keeps on its disk by itself. What is absent is not told; `unknown` says why.
#[derive(Debug, Default, Serialize)]
pub struct PersistenceRow {
    /// Save points, seconds and changes: `3600 1 300 100`; empty where it never saves by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save: Option<String>,
    /// Whether there is an append-only file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appendonly: Option<bool>,
    /// When that is flushed to the disk: `always`, `everysec` or `no`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appendfsync: Option<String>,
    /// Growth in per cent at which that is rewritten; 0: never by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_aof_rewrite_percentage: Option<u64>,
    /// Bytes below which it is not rewritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_aof_rewrite_min_size: Option<u64>,
    /// How the last save ended: `ok` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_save: Option<&'static str>,
    /// When the last save that went well ended; after a start that start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_save_time: Option<String>,
    /// A save runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub save_in_progress: bool,
    /// Changes since the last save.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes_since_last_save: Option<u64>,
    /// How the last rewrite of the append-only file ended: `ok` or `failed`; absent without such a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rewrite: Option<&'static str>,
    /// A rewrite runs, or waits for another child of the server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rewrite_in_progress: bool,
    /// How the last write to the append-only file ended: `ok` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_write: Option<&'static str>,
    /// Bytes of the append-only file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aof_current_size: Option<u64>,
    /// Its bytes after the last rewrite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aof_base_size: Option<u64>,
    /// Its growth since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aof_growth_percentage: Option<u64>,
    /// What cannot be read, why, and the next step.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unknown: String,
}

impl PersistenceRow {
    /// The reply for what was found, or for why nothing was.
    #[must_use]
    pub fn of(found: Result<Persistence, Fault>) -> Self {
        let Persistence { settings, state, unread } = match found {
            Ok(found) => found,
            Err(fault) => {
                return Self { unknown: fault.told(), ..Self::default() };
            }
        };
        let ended = |well: Option<bool>| well.map(|well| if well { "ok" } else { "failed" });
        let of_file = |well: Option<bool>| ended(well).filter(|_| settings.appendonly == Some(true));
        Self {
            last_save: ended(state.saved),
            last_save_time: state.saved_at.map(written),
            save_in_progress: state.saving,
            changes_since_last_save: state.changes_since_save,
            last_rewrite: of_file(state.rewritten),
            rewrite_in_progress: state.rewriting,
            last_write: of_file(state.written),
            aof_current_size: state.current_size,
            aof_base_size: state.base_size,
            aof_growth_percentage: state.growth_percentage(),
            save: settings.save,
            appendonly: settings.appendonly,
            appendfsync: settings.appendfsync,
            auto_aof_rewrite_percentage: settings.auto_aof_rewrite_percentage,
            auto_aof_rewrite_min_size: settings.auto_aof_rewrite_min_size,
            unknown: unread,
        }
    }
}

impl PolicyRow {
    /// The reply for a policy.
    #[must_use]
    pub fn of(policy: &BackupPolicy) -> Self {
        Self {
            preferred_backup_time: Some(policy.preferred_backup_time.clone()).filter(|hour| !hour.is_empty()),
            preferred_backup_period: policy.preferred_backup_period.clone(),
            backup_retention_period: Some(policy.backup_retention_period).filter(|days| *days > 0),
            preferred_next_backup_time: policy.preferred_next_backup_time.map(written),
            enable_backup_log: policy.enable_backup_log,
            backup_log_start_time: policy.backup_log_start_time.map(written),
            persistence: None,
        }
    }

    /// What has to be at work for the policy of an instance whose backups this program takes, as part of a sentence; `None` where it promises nothing, or
    /// whoever serves carries it out.
    #[must_use]
    pub fn needs(&self, config: &Config) -> Option<String> {
        let promises = self.preferred_backup_time.is_some() || self.enable_backup_log;
        let by_whoever_serves = config.background && !config.read_only;
        (promises && !by_whoever_serves).then(|| format!("as long as `{}` is at work", config.command("run")))
    }

    /// The policy in one sentence, for a message.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut parts = match &self.preferred_backup_time {
            Some(hour) => vec![format!("backups on {} within {hour}", self.preferred_backup_period.join(", "))],
            None => vec!["no backups by themselves".to_owned()],
        };
        parts.extend(self.backup_retention_period.map(|days| format!("kept for {days} days")));
        parts.push(format!("flashback {}", if self.enable_backup_log { "on" } else { "off" }));
        parts.extend(self.preferred_next_backup_time.iter().map(|at| format!("the next at {at}")));
        parts.extend(self.backup_log_start_time.iter().map(|at| format!("back to {at}")));
        parts.join("; ")
    }
}

/// Reads the policy.
///
/// # Errors
/// `instance.not_found`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<PolicyRow, Fault> {
    call.app.known(&args.instance_id).await?;
    let id = &args.instance_id;
    let (policy, found) = tokio::join!(call.app.provider.backup_policy(id), call.app.provider.persistence(id));
    Ok(PolicyRow { persistence: Some(PersistenceRow::of(found)), ..PolicyRow::of(&policy?) })
}
