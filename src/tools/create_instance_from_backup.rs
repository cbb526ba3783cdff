//! `create_instance_from_backup`: a new instance from a backup or a moment of another. One of the cloud costs money; one here is a clone on
//! this machine, which ends by itself.

use crate::guard::act::{Act, CloneOrder, Source};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::time::{Reading, read};
use crate::tools::arguments::comma_list;
use crate::tools::{Outcome, ToolCall, guarded};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Arguments of `create_instance_from_backup`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The source, which is not changed
    #[arg(long)]
    pub instance_id: String,
    /// Its set; or give restore_time
    #[serde(default)]
    #[arg(long)]
    pub backup_id: Option<String>,
    /// Flashback: its data of this second, UTC
    #[serde(default)]
    #[arg(long)]
    pub restore_time: Option<String>,
    /// Default: the source's, as for zone_id and vswitch_id
    #[serde(default)]
    #[arg(long)]
    pub instance_class: Option<String>,
    /// Its zone
    #[serde(default)]
    #[arg(long)]
    pub zone_id: Option<String>,
    /// Its switch
    #[serde(default)]
    #[arg(long)]
    pub vswitch_id: Option<String>,
    /// Its name
    #[serde(default)]
    #[arg(long)]
    pub instance_name: Option<String>,
    /// Also take over: whitelist, config, account
    #[serde(default, deserialize_with = "comma_list")]
    #[arg(long, value_delimiter = ',')]
    pub recover_config_mode: Option<Vec<String>>,
    /// Second call: the token, unchanged
    #[serde(default)]
    #[arg(long)]
    pub confirmation_token: Option<String>,
    /// Wait for the yes
    #[serde(default)]
    #[arg(long, help = "Wait this long for a yes at another terminal, then for the job")]
    pub wait_seconds: Option<u64>,
}

/// The settings that a new instance may take over.
const MODES: [&str; 3] = ["whitelist", "config", "account"];

/// Plans, or carries out what was planned.
///
/// # Errors
/// `arguments.invalid`, `confirm.*`, `instance.not_found`, `backup.not_found`, `clone.exists`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Outcome, Fault> {
    call.app.known(&args.instance_id).await?;
    let invalid = |message: String, hint: &str| Err(Fault::new(Kind::Usage, "arguments.invalid", message).hint(hint));
    let source = match (&args.backup_id, &args.restore_time) {
        (Some(backup_id), None) => {
            check_backup_id(backup_id)?;
            Source::Backup { backup_id: backup_id.clone() }
        }
        (None, Some(at)) => {
            let restore_time = read("restore_time", at, Reading::Fixed, Timestamp::now())?;
            Source::Moment { restore_time, time_shift: None }
        }
        _ => {
            return invalid(
                "give either backup_id or restore_time".into(),
                "Take a backup_id from describe_backups; restore_time needs data flashback.",
            );
        }
    };
    let mut modes = args.recover_config_mode.unwrap_or_default();
    if let Some(other) = modes.iter().find(|m| !MODES.contains(&m.as_str())) {
        let message = format!("recover_config_mode has {}", crate::model::text::quoted(other));
        return invalid(message, "Allowed: whitelist, config, account.");
    }
    modes.sort();
    modes.dedup();
    let order = CloneOrder {
        source,
        instance_name: args.instance_name,
        instance_class: args.instance_class,
        zone_id: args.zone_id,
        vswitch_id: args.vswitch_id,
        recover_config_mode: modes,
    };
    let act = Act::CreateInstanceFromBackup { order };
    guarded::run(call, &args.instance_id, act, args.confirmation_token.as_deref(), args.wait_seconds).await
}
