//! `restore_instance`: overwrites an instance with a backup set, or with its data of a moment.

use crate::guard::act::{Act, Source};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::key_filter::{SHOWN, SomeKeys};
use crate::model::text::{clean_to, quoted};
use crate::model::time::{Reading, read};
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
    /// The set; or give restore_time
    #[serde(default)]
    #[arg(long)]
    pub backup_id: Option<String>,
    /// With data flashback: the moment, UTC
    #[serde(default)]
    #[arg(long, help = "With data flashback: the moment, UTC: 2026-11-23T06:15:00Z, or \"2h ago\"")]
    pub restore_time: Option<String>,
    /// Or: right before this position, or a restore's cutover (its job_id)
    #[serde(default)]
    #[arg(long)]
    pub before_position: Option<String>,
    /// Implied: 0 set, 1 moment
    #[serde(default, deserialize_with = "text_or_number")]
    #[arg(long)]
    pub restore_type: Option<String>,
    /// Only these keys: comma-separated REGEXES (user:.*), not globs
    #[serde(default)]
    #[arg(long)]
    pub filter_key: Option<String>,
    /// Prefix for the keys; deletes none
    #[serde(default)]
    #[arg(long)]
    pub add_prefix: Option<String>,
    /// Whose set or moment, if another's
    #[serde(default)]
    #[arg(long)]
    pub source_instance_id: Option<String>,
    /// With a moment: TTLs left count from this time, e.g. now
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
    /// Wait for the yes
    #[serde(default)]
    #[arg(long, help = "Wait this long for a yes at another terminal, then for the job")]
    pub wait_seconds: Option<u64>,
}

/// Most characters of a position.
const POSITION_MAX: usize = 128;
/// Most characters of a prefix.
const PREFIX_MAX: usize = 64;
/// What names every key.
const EVERY_KEY: &str = ".*";

/// Plans, or carries out what was planned.
///
/// # Errors
/// `arguments.invalid`, `confirm.*`, `instance.not_found`, `backup.not_found`, `backup.damaged`, and those of the instance.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Outcome, Fault> {
    call.app.known(&args.instance_id).await?;
    let source_instance_id = args.source_instance_id.clone().filter(|id| *id != args.instance_id);
    if let Some(id) = &source_instance_id {
        call.app.known(id).await?;
    }
    let (source, keys, write_fence) = (source(&args)?, keys(&args)?, args.write_fence);
    let act = Act::RestoreInstance { source, write_fence, source_instance_id, keys };
    guarded::run(call, &args.instance_id, act, args.confirmation_token.as_deref(), args.wait_seconds).await
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
        if args.backup_id.is_some() || args.restore_time.is_some() {
            return invalid("before_position excludes backup_id and restore_time", "Give the one that is meant.");
        }
        return Ok(Source::Before { position: check_position(position)?, time_shift: time_shift(args)? });
    }
    match (&args.backup_id, &args.restore_time) {
        (Some(backup_id), None) => {
            check_backup_id(backup_id)?;
            if args.time_shift.is_some() {
                return invalid(
                    "time_shift goes with a moment, not with backup_id",
                    "Leave it out, or give restore_time.",
                );
            }
            Ok(Source::Backup { backup_id: backup_id.clone() })
        }
        (None, Some(at)) => {
            let restore_time = read("restore_time", at, Reading::Fixed, Timestamp::now())?;
            Ok(Source::Moment { restore_time, time_shift: time_shift(args)? })
        }
        (None, None) => invalid(
            "neither backup_id, restore_time nor before_position is given",
            "Take a backup_id from describe_backups; or give restore_time where describe_instances shows a recovery window.",
        ),
        (Some(_), Some(_)) => invalid("backup_id and restore_time exclude each other", "Give the one that is meant."),
    }
}

/// The keys that alone are restored. The person who approves must see all of what says which.
fn keys(args: &Args) -> Result<Option<SomeKeys>, Fault> {
    let add_prefix = args.add_prefix.clone();
    let Some(filter_key) = args.filter_key.clone().or_else(|| add_prefix.is_some().then(|| EVERY_KEY.to_owned()))
    else {
        return Ok(None);
    };
    let shown = |name: &str, text: &str, most: usize, hint: &str| {
        if clean_to(text, most) == text {
            return Ok(());
        }
        let message =
            format!("{name} is longer than {most} characters, or has characters that cannot be shown to the person");
        Err(Fault::new(Kind::Usage, "arguments.invalid", message).hint(hint))
    };
    let fewer = "Give fewer expressions, without line breaks or invisible characters; restore in several steps.";
    shown("filter_key", &filter_key, SHOWN, fewer)?;
    if let Some(prefix) = &add_prefix {
        shown("add_prefix", prefix, PREFIX_MAX, "Give a short one, such as restored:.")?;
        if prefix.is_empty() {
            return Err(Fault::new(Kind::Usage, "arguments.invalid", "add_prefix is empty")
                .hint("Leave it out, and the keys keep their names."));
        }
    }
    let keys = SomeKeys { filter_key, add_prefix };
    // Else the way back could not name those keys alone, and would be a restore of everything.
    if keys.in_target().is_none() {
        let message = "filter_key and add_prefix together cannot be named in the target, as the way back has to";
        return Err(Fault::new(Kind::Usage, "arguments.invalid", message).hint(format!(
            "Leave out ^, $ and \\b, for whole keys are matched anyway, and commas in the prefix; or give fewer expressions: each \
             stands behind the prefix, in {SHOWN} characters in all."
        )));
    }
    Ok(Some(keys))
}

fn time_shift(args: &Args) -> Result<Option<Timestamp>, Fault> {
    let shift = |at: &String| read("time_shift", at, Reading::Fixed, Timestamp::now());
    args.time_shift.as_ref().map(shift).transpose()
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
