//! `modify_backup_policy`: changes the values given and keeps the rest. A change that lowers protection needs a person's yes.

use crate::guard::act::{Act, PolicyChange};
use crate::model::fault::{Fault, Kind};
use crate::model::instance::Capability;
use crate::model::persistence::PersistenceSettings;
use crate::provider::Raised;
use crate::tools::arguments::{comma_list, flag};
use crate::tools::describe_backup_policy::PolicyRow;
use crate::tools::guarded::reply::{Guarded, GuardedStatus};
use crate::tools::{Outcome, ToolCall, guarded, run_detached};
use clap::builder::BoolishValueParser;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Arguments of `modify_backup_policy`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance
    #[arg(long)]
    pub instance_id: String,
    /// UTC, one whole hour: 02:00Z-03:00Z
    #[serde(default)]
    #[arg(long)]
    pub preferred_backup_time: Option<String>,
    /// Weekdays in English
    #[serde(default, deserialize_with = "comma_list")]
    #[arg(long, value_delimiter = ',')]
    pub preferred_backup_period: Option<Vec<String>>,
    /// Days, 7 to 730
    #[serde(default)]
    #[arg(long)]
    pub backup_retention_period: Option<u32>,
    /// Data flashback
    #[serde(default, deserialize_with = "flag")]
    #[arg(long, value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub enable_backup_log: Option<bool>,
    /// Save points: 3600 1 300 100; empty: none
    #[serde(default)]
    #[arg(long)]
    pub save: Option<String>,
    /// AOF
    #[serde(default, deserialize_with = "flag")]
    #[arg(long, value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub appendonly: Option<bool>,
    /// always, everysec, no
    #[serde(default)]
    #[arg(long)]
    pub appendfsync: Option<String>,
    /// 0: never
    #[serde(default)]
    #[arg(long)]
    pub auto_aof_rewrite_percentage: Option<u32>,
    /// Bytes
    #[serde(default)]
    #[arg(long)]
    pub auto_aof_rewrite_min_size: Option<u64>,
    /// Only if one was asked for
    #[serde(default)]
    #[arg(long)]
    pub confirmation_token: Option<String>,
    /// Wait for the yes
    #[serde(default)]
    #[arg(long, help = "Wait this long for a yes at another terminal, then for the job")]
    pub wait_seconds: Option<u64>,
}

/// Changes the policy; plans first where the change lowers protection.
///
/// # Errors
/// `arguments.invalid`, `backup.policy_invalid`, `confirm.*`, `instance.not_found`, `instance.sentinel`, `policy.no_config`, `policy.set_in_file`,
/// `policy.setting_refused`, `policy.unsupported`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Outcome, Fault> {
    let id = &args.instance_id;
    call.app.known(id).await?;
    let change = PolicyChange {
        preferred_backup_time: args.preferred_backup_time,
        preferred_backup_period: args.preferred_backup_period,
        backup_retention_period: args.backup_retention_period,
        enable_backup_log: args.enable_backup_log,
        persistence: PersistenceSettings {
            save: args.save,
            appendonly: args.appendonly,
            appendfsync: args.appendfsync,
            auto_aof_rewrite_percentage: args.auto_aof_rewrite_percentage.map(u64::from),
            auto_aof_rewrite_min_size: args.auto_aof_rewrite_min_size,
        }
        .checked()?,
    };
    if change == PolicyChange::default() {
        return Err(Fault::new(Kind::Usage, "arguments.invalid", "nothing to change is named")
            .hint("Name what is to change; the rest stays. describe_backup_policy shows what is."));
    }
    if args.confirmation_token.is_none() {
        let (provider, instance_id, raise) = (Arc::clone(&call.app.provider), id.clone(), change.clone());
        let caller = call.caller.id().to_owned();
        let needed = [Capability::BackupPolicy];
        provider.capabilities(id, &needed).await?.need(&needed)?;
        let work = async move { provider.raise_backup_policy(&instance_id, &raise, &caller).await };
        match run_detached(call, "changing the policy", work).await? {
            Raised::Changed(policy, note) => {
                let note = if note.is_empty() { note } else { format!("; {note}") };
                let policy = PolicyRow::of(&policy);
                let message = format!("the policy is changed and was read back: {}{note}", policy.describe());
                // The cloud carries out what it keeps.
                let own = call.app.config.instance_ids().contains(id);
                let needs = if own { policy.needs(&call.app.config) } else { None };
                let hint = needs.map(|needs| format!("It is carried out {needs}."));
                return Guarded { status: GuardedStatus::Succeeded, message, hint, ..Guarded::default() }.outcome();
            }
            Raised::Lowers => {}
        }
    }
    let act = Act::ModifyBackupPolicy { change };
    guarded::run(call, id, act, args.confirmation_token.as_deref(), args.wait_seconds).await
}
