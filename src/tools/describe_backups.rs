//! `describe_backups`: the sets of an instance in a time range, damaged ones named; or what destroyed its data there.

use crate::guard::assess::describe_dependent;
use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::sets::shrunk;
use crate::model::time::{Reading, read, written};
use crate::model::verification::Verification;
use crate::provider::Range;
use crate::tools::ToolCall;
use crate::tools::destruction_rows::DestructionRows;
use crate::tools::log_row::LogRow;
use crate::tools::newest_rows::{NewestRow, name_safety_backups};
use crate::tools::rows::{BackupRow, RowOf};
use jiff::{Timestamp, ToSpan as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Length of the range listed when no start is given, in days.
const DEFAULT_DAYS: i64 = 7;
/// What `include` may be.
const DESTRUCTIVE: &str = "destructive";
/// Most rows a page.
const MAX_PAGE: usize = 100;
/// Most of what counts on a set that its row names.
const MAX_DEPENDENTS: usize = 5;

/// Arguments of `describe_backups`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance
    #[arg(long)]
    pub instance_id: String,
    /// From, UTC; default 7 days ago, with include 1
    #[serde(default)]
    #[arg(
        long,
        help = "From, UTC: 2026-11-23T06:15Z, 2026-11-23, yesterday, \"2h ago\"; default 7 days ago, with --include 1"
    )]
    pub start_time: Option<String>,
    /// To, UTC; default now
    #[serde(default)]
    #[arg(long, help = "To, UTC, of a day its end; default now")]
    pub end_time: Option<String>,
    /// Only this set, whatever its time
    #[serde(default)]
    #[arg(long)]
    pub backup_id: Option<String>,
    /// "destructive": instead of sets, what destroyed data
    #[serde(default)]
    #[arg(long)]
    pub include: Option<String>,
    /// From 1
    #[serde(default)]
    #[arg(long)]
    pub page_number: Option<usize>,
    /// Default 20, at most 100
    #[serde(default)]
    #[arg(long)]
    pub page_size: Option<usize>,
}

/// Reply of `describe_backups`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Backups {
    /// The sets of this page, newest first; absent with include.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backups: Option<Vec<BackupRow>>,
    /// Of the sets in the range that can be used, on all pages, the newest of each mode. A safety set was taken before a restore, and holds what that
    /// was to undo.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub newest: Vec<NewestRow>,
    /// What destroyed data, by the log; with include.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive: Option<DestructionRows>,
    /// Number of sets in the range, or of what destroyed data, on all pages.
    pub total: usize,
    /// Number of this page, from 1.
    pub page_number: usize,
    /// Most rows a page.
    pub page_size: usize,
    /// Start of the range listed; absent with backup_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// End of the range listed; absent with backup_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// Number of sets outside the range, where none is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside_range: Option<usize>,
    /// The log, from which any moment of its window can be restored; absent with backup_id, and where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRow>,
}

/// Lists backup sets.
///
/// # Errors
/// `instance.not_found`, `backup.not_found`, `time.bad_format`, `arguments.invalid`; with include `log.none`, `log.failed`, `log.damaged`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Backups, Fault> {
    call.app.known(&args.instance_id).await?;
    let page_size = args.page_size.unwrap_or(20);
    let page_number = args.page_number.unwrap_or(1);
    if !(1..=MAX_PAGE).contains(&page_size) || page_number == 0 {
        return Err(Fault::new(Kind::Usage, "arguments.invalid", "page_size or page_number is out of range")
            .hint("page_size is 1 to 100, page_number counts from 1."));
    }
    let destructive = args.include.is_some();
    if args.include.is_some_and(|include| include != DESTRUCTIVE || args.backup_id.is_some()) {
        return Err(Fault::new(Kind::Usage, "arguments.invalid", "include is destructive, without backup_id")
            .hint("Leave include out to list backup sets."));
    }
    if let Some(id) = &args.backup_id {
        check_backup_id(id)?;
        let set = match call.app.provider.backup(&args.instance_id, id).await {
            Ok(set) => Ok(set),
            Err(f) if f.kind == Kind::Damaged => {
                Err(DamagedSet { id: id.clone(), reason: f.message, unreadable: None })
            }
            Err(f) => return Err(f),
        };
        let mut one = [set];
        name_safety_backups(&*call.app.state, &args.instance_id, &mut one).await?;
        let verified = call.app.state.verifications(&args.instance_id).await?;
        return Ok(Backups {
            backups: Some(rows(call, &args.instance_id, &one, &verified, RowOf::One).await?),
            newest: Vec::new(),
            destructive: None,
            total: 1,
            page_number: 1,
            page_size,
            start_time: None,
            end_time: None,
            outside_range: None,
            log: None,
        });
    }
    let now = Timestamp::now();
    let named_end = args.end_time.map(|t| read("end_time", &t, Reading::UpTo, now)).transpose()?;
    let end = named_end.unwrap_or(now);
    let start = match args.start_time {
        Some(t) => read("start_time", &t, Reading::From, now)?,
        None => {
            let days = if destructive { 1 } else { DEFAULT_DAYS };
            end.checked_sub((days * 24).hours()).unwrap_or(Timestamp::MIN)
        }
    };
    if start > end {
        return Err(Fault::new(
            Kind::Usage,
            "arguments.invalid",
            format!("start_time {} is after end_time {}", written(start), written(end)),
        )
        .hint("Swap them; both are UTC."));
    }
    let skip = (page_number - 1).saturating_mul(page_size);
    if destructive {
        let found = call.app.provider.destructive(&args.instance_id, (start, end)).await?;
        return Ok(Backups {
            backups: None,
            newest: Vec::new(),
            total: found.found.len(),
            destructive: Some(DestructionRows::of(&args.instance_id, &found, (start, end), skip, page_size)),
            page_number,
            page_size,
            start_time: Some(written(start)),
            end_time: Some(written(end)),
            outside_range: None,
            log: LogRow::read(&*call.app.provider, &args.instance_id).await,
        });
    }
    let range = Range { start, end: named_end };
    let Listed { sets, mut lost, outside_range } = listed(call, &args.instance_id, range).await?;
    let verified = call.app.state.verifications(&args.instance_id).await?;
    let newest = NewestRow::of(sets.iter().flatten(), &verified, now);
    let page = sets.get(skip.min(sets.len())..).unwrap_or_default();
    let page = page.get(..page_size.min(page.len())).unwrap_or_default();
    let mut backups = rows(call, &args.instance_id, page, &verified, RowOf::List).await?;
    for row in &mut backups {
        row.shrunk = lost.remove(&row.backup_id);
    }
    Ok(Backups {
        backups: Some(backups),
        newest,
        destructive: None,
        total: sets.len(),
        page_number,
        page_size,
        start_time: Some(written(start)),
        end_time: Some(written(end)),
        outside_range,
        log: LogRow::read(&*call.app.provider, &args.instance_id).await,
    })
}

/// The sets of a range.
struct Listed {
    /// The sets, newest first.
    sets: Vec<Result<BackupSet, DamagedSet>>,
    /// What each of them lost that lost much, by its id.
    lost: BTreeMap<String, String>,
    /// Number of sets outside the range, where none is in it.
    outside_range: Option<usize>,
}

/// Lists the sets of a range, each compared with the one before. That may lie before the range: of a vault all are read in any case; the cloud, which
/// tells no keys that could be compared, is asked for the range alone.
async fn listed(call: &ToolCall<'_>, instance_id: &str, range: Range) -> Result<Listed, Fault> {
    let provider = &call.app.provider;
    let own = call.app.config.instance_ids().iter().any(|id| id == instance_id);
    let mut sets = provider.backups(instance_id, (!own).then_some(range)).await?;
    name_safety_backups(&*call.app.state, instance_id, &mut sets).await?;
    let (all, lost) = (sets.len(), shrunk(sets.iter().flatten()));
    // A damaged set has no time that could be trusted: it is always listed.
    sets.retain(|set| set.as_ref().map_or(true, |set| range.holds(set.started_at)));
    let outside_range = match sets.len() {
        0 if own => Some(all),
        0 => Some(provider.backups(instance_id, None).await?.len()),
        _ => None,
    };
    Ok(Listed { sets, lost, outside_range })
}

/// The rows of sets, each with what counts on it, the latest first.
async fn rows(
    call: &ToolCall<'_>,
    instance_id: &str,
    sets: &[Result<BackupSet, DamagedSet>],
    verified: &BTreeMap<String, Verification>,
    of: RowOf,
) -> Result<Vec<BackupRow>, Fault> {
    let row = |set: &Result<BackupSet, DamagedSet>| match set {
        Ok(set) => BackupRow::of(set, verified.get(&set.id), of),
        Err(damaged) => BackupRow::damaged(damaged),
    };
    let mut rows: Vec<BackupRow> = sets.iter().map(row).collect();
    let ids: Vec<String> = rows.iter().map(|row| row.backup_id.clone()).collect();
    let dependents = call.app.state.dependents(instance_id, &ids).await?;
    for row in &mut rows {
        let of_it = dependents.get(&row.backup_id).into_iter().flatten();
        row.needed_by = of_it.take(MAX_DEPENDENTS).map(describe_dependent).collect();
    }
    Ok(rows)
}
