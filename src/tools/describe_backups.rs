//! `describe_backups`: the sets of an instance in a time range, damaged ones named; or what destroyed its data there.

use crate::guard::assess::describe_dependent;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::time::{Reading, read, written};
use crate::provider::Range;
use crate::tools::ToolCall;
use crate::tools::destruction_rows::DestructionRows;
use crate::tools::log_row::LogRow;
use crate::tools::rows::BackupRow;
use jiff::{Timestamp, ToSpan as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
        let set = call.app.provider.backup(&args.instance_id, id).await;
        let row = match set {
            Ok(set) => BackupRow::whole(&set),
            Err(f) if f.kind == Kind::Damaged => {
                BackupRow::damaged(&crate::model::backup::DamagedSet { id: id.clone(), reason: f.message })
            }
            Err(f) => return Err(f),
        };
        let backups = told(call, &args.instance_id, vec![row]).await?;
        return Ok(Backups {
            backups: Some(backups),
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
    let found = call.app.provider.backups(&args.instance_id, Some(Range { start, end: named_end })).await?;
    let rows: Vec<BackupRow> =
        found.iter().map(|s| s.as_ref().map_or_else(BackupRow::damaged, BackupRow::whole)).collect();
    let outside_range = match rows.len() {
        0 => Some(call.app.provider.backups(&args.instance_id, None).await?.len()),
        _ => None,
    };
    let total = rows.len();
    let page = rows.into_iter().skip(skip).take(page_size).collect();
    let backups = told(call, &args.instance_id, page).await?;
    Ok(Backups {
        backups: Some(backups),
        destructive: None,
        total,
        page_number,
        page_size,
        start_time: Some(written(start)),
        end_time: Some(written(end)),
        outside_range,
        log: LogRow::read(&*call.app.provider, &args.instance_id).await,
    })
}

/// Adds to each row what counts on its set, the latest first, and what it was verified to since it was made.
async fn told(call: &ToolCall<'_>, instance_id: &str, mut rows: Vec<BackupRow>) -> Result<Vec<BackupRow>, Fault> {
    let ids: Vec<String> = rows.iter().map(|row| row.backup_id.clone()).collect();
    let dependents = call.app.state.dependents(instance_id, &ids).await?;
    let verified = call.app.state.verifications(instance_id).await?;
    for row in &mut rows {
        row.verified_last(verified.get(&row.backup_id));
        let of_it = dependents.get(&row.backup_id).into_iter().flatten();
        row.needed_by = of_it.take(MAX_DEPENDENTS).map(describe_dependent).collect();
    }
    Ok(rows)
}
