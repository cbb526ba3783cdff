//! `restore_instance`: overwrites an instance with a backup set, or with its data of a moment.

use crate::guard::act::{Act, Source};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::text::{clean_to, quoted};
use crate::model::time::{parse, parse_ms};
use crate::tools::arguments::text_or_number;
use crate::tools::{Outcome, ToolCall, guarded};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Arguments of `restore_instance`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance to overwrite
    #[arg(long)]
    pub instance_id: String,
    /// The set to restore; or give restore_time
    #[serde(default)]
    #[arg(long)]
    pub backup_id: Option<String>,
    /// With data flashback: the moment to go back to, UTC
    #[serde(default)]
    #[arg(long)]
    pub restore_time: Option<String>,
    /// Or: to right before this position, or before the cutover of the restore with this job_id
    #[serde(default)]
    #[arg(long)]
    pub before_position: Option<String>,
    /// 1 with restore_time, 0 with backup_id; implied
    #[serde(default, deserialize_with = "text_or_number")]
    #[arg(long)]
    pub restore_type: Option<String>,
    /// With restore_time: only matching keys; comma-separated REGEXES (user:.*), not globs
    #[serde(default)]
    #[arg(long)]
    pub filter_key: Option<String>,
    /// With a moment: TTLs left then count from this time, e.g. now
    #[serde(default)]
    #[arg(long)]
    pub time_shift: Option<String>,
    /// Hold writers up meanwhile
    #[serde(default)]
    #[arg(long)]
    pub write_fence: bool,
    /// Second call: the token, unchanged
    #[serde(default)]
    #[arg(long)]
    pub confirmation_token: Option<String>,
}

/// Most characters of a position.
const POSITION_MAX: usize = 128;
/// Most characters of filter_key that the person is shown.
const SHOWN: usize = 160;

/// Plans, or carries out what was planned.
///
/// # Errors
/// `arguments.invalid`, `confirm.*`, `instance.not_found`, `backup.not_found`, `backup.damaged`, and those of the instance.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Outcome, Fault> {
    call.app.known(&args.instance_id).await?;
    let act = Act::RestoreInstance { source: source(&args)?, write_fence: args.write_fence };
    guarded::run(call, &args.instance_id, act, args.confirmation_token.as_deref()).await
}

fn source(args: &Args) -> Result<Source, Fault> {
    let invalid = |message: &str, hint: &str| Err(Fault::new(Kind::Usage, "arguments.invalid", message).hint(hint));
    let either = "Give backup_id alone for a set, or restore_time alone for a moment; restore_type follows from that.";
    match (args.restore_type.as_deref().map(str::trim), &args.backup_id, &args.restore_time) {
        (None, ..) | (Some("0"), Some(_), None) | (Some("1"), None, Some(_)) => {}
        (Some("0"), ..) => return invalid("restore_type 0 restores a set, and goes with backup_id alone", either),
        (Some("1"), ..) => {
            return invalid("restore_type 1 goes back to a moment, and goes with restore_time alone", either);
        }
        (Some(other), ..) => {
            let message = format!("restore_type is {}; it is 0 for a set or 1 for a moment", quoted(other));
            return invalid(&message, either);
        }
    }
    if let Some(position) = &args.before_position {
        if args.backup_id.is_some() || args.restore_time.is_some() || args.filter_key.is_some() {
            return invalid(
                "before_position excludes backup_id, restore_time and filter_key",
                "Give the one that is meant.",
            );
        }
        return Ok(Source::Before { position: check_position(position)?, time_shift: time_shift(args)? });
    }
    match (&args.backup_id, &args.restore_time) {
        (Some(backup_id), None) => {
            check_backup_id(backup_id)?;
            if args.filter_key.is_some() || args.time_shift.is_some() {
                return invalid(
                    "filter_key and time_shift go with a moment, not with backup_id",
                    "A backup set is restored whole. For some keys only, give restore_time.",
                );
            }
            Ok(Source::Backup { backup_id: backup_id.clone() })
        }
        // The person who approves must see the whole filter_key.
        (None, Some(_)) if args.filter_key.as_ref().is_some_and(|keys| clean_to(keys, SHOWN) != *keys) => invalid(
            "filter_key is longer than 160 characters, or has characters that cannot be shown to the person",
            "Give fewer expressions, without line breaks or invisible characters; restore in several steps.",
        ),
        (None, Some(at)) => Ok(Source::Moment {
            restore_time: parse_ms("restore_time", at)?,
            time_shift: time_shift(args)?,
            filter_key: args.filter_key.clone(),
        }),
        (None, None) => invalid(
            "neither backup_id, restore_time nor before_position is given",
            "Take a backup_id from describe_backups; or give restore_time where describe_instances shows a recovery window.",
        ),
        (Some(_), Some(_)) => invalid("backup_id and restore_time exclude each other", "Give the one that is meant."),
    }
}

fn time_shift(args: &Args) -> Result<Option<Timestamp>, Fault> {
    args.time_shift.as_ref().map(|t| parse("time_shift", t)).transpose()
}

/// A position is of a log, or names a restore's job; either is shown to the person as it is.
fn check_position(text: &str) -> Result<String, Fault> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/');
    if !text.is_empty() && text.len() <= POSITION_MAX && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let message = format!("before_position: {} is no position", quoted(text));
    Err(Fault::new(Kind::Usage, "arguments.invalid", message)
        .hint("Take a position from describe_backups, or the job_id of a restore, unchanged."))
}
