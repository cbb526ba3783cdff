//! `describe_backup_policy`: when automated backups are taken, how long they are kept, and how far back one can go.

use crate::model::fault::Fault;
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
        }
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
    Ok(PolicyRow::of(&call.app.provider.backup_policy(&args.instance_id).await?))
}
