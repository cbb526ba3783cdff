//! `audit`: prints what was done for whom: the guard's steps, jobs, downloads, refusals.

use crate::cli::render::screen::Screen;
use crate::cli::{print, render, terminal};
use crate::guard::ledger::AuditRecord;
use crate::model::fault::{Fault, Kind};
use crate::model::text::{clean_to, short_digests};
use crate::model::time::{Reading, read, written};
use crate::tools::App;
use crate::tools::arguments::ReadTime;
use jiff::Timestamp;
use serde_json::json;

/// The last so many records, where neither a number nor a moment is given.
const LAST: u32 = 100;
/// Most records in memory where all from a moment on are printed: a table each.
const PAGE: u32 = 1000;
/// Longest detail in the table, in characters; `--json` has all of it.
const DETAIL_SHOWN: usize = 400;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Only this instance
    #[arg(long)]
    instance_id: Option<String>,
    /// Only from this moment on, UTC: 2026-11-23T06:15Z, 2026-11-23, yesterday, "2h ago"
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The last so many records [default: 100, with --since all]
    #[arg(long)]
    limit: Option<u32>,
    /// One JSON object a line, nothing cut
    #[arg(long)]
    json: bool,
}

/// Prints the audit, oldest first.
///
/// # Errors
/// `instance.bad_id`, `instance.not_found`; `time.bad_format`; `state.failed`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let instance_id = args.instance_id.as_deref();
    if let Some(id) = instance_id {
        known(app, id).await?;
    }
    let since = match (args.since.as_deref().map(since).transpose()?, args.limit) {
        (Some(since), None) => since,
        (since, limit) => {
            show(app.state.audit(instance_id, since, limit.unwrap_or(LAST)).await?, args.json);
            return Ok(0);
        }
    };
    let mut after = 0;
    loop {
        let page = app.state.audit_page(instance_id, since, after, PAGE).await?;
        let (last, is_last) = (page.last().map(|(number, _)| *number), page.len() < PAGE as usize);
        // Of no records at all the table has its head.
        if after == 0 || last.is_some() {
            show(page.into_iter().map(|(_, record)| record), args.json);
        }
        if is_last {
            return Ok(0);
        }
        after = last.unwrap_or(after);
    }
}

/// Makes sure that there is an instance of this id, or was one: an empty table would be taken for its history.
async fn known(app: &App, id: &str) -> Result<(), Fault> {
    if !app.state.audit(Some(id), None, 1).await?.is_empty() {
        return Ok(());
    }
    match app.known(id).await {
        Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::Usage) => Err(fault),
        // Whether it can be reached is of no matter here.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints records: an object a line, or a table.
fn show(records: impl IntoIterator<Item = AuditRecord>, json: bool) {
    if json {
        for r in records {
            print(&json!({ "at": written(r.at), "event": r.event, "caller": r.caller, "instance_id": r.instance_id, "plan_id": r.plan_id(), "confirmation": r.nonce, "detail": r.detail }).to_string());
        }
        return;
    }
    let rows = records.into_iter().map(|r| {
        let (plan, detail) = (r.plan_id(), clean_to(&short_digests(&r.detail), DETAIL_SHOWN));
        [written(r.at), r.event, r.instance_id, r.caller, plan, detail]
    });
    print(&render::records(&Screen::stdout(), rows));
}

/// Reads the moment from which on records are printed, and tells how it was read.
fn since(given: &str) -> Result<Timestamp, Fault> {
    let now = Timestamp::now();
    if let Some(time) = ReadTime::of("since", given, Reading::From, now)? {
        terminal::note(&time.describe());
    }
    read("since", given, Reading::From, now)
}
