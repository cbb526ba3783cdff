//! The checks of an instance's log: that somebody keeps it, that nothing is missing, and that the source will bear an outage.

use super::machine::free;
use super::{Findings, Status};
use crate::model::fault::Fault;
use crate::model::log::LogStatus;
use crate::model::text::bytes;
use crate::model::time::{age, written, written_up};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::settings::replica_settings;
use crate::tools::App;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// How long an outage should be borne without a gap, in seconds.
const OUTAGE_SECONDS: u64 = 60;
/// A backlog that is smaller than this holds little of any load.
const BACKLOG_BYTES_MIN: u64 = 16 << 20;
/// How far a source's clock may be from ours, in milliseconds: a second, and one more that the answer may take.
const SKEW_MS: i64 = 2000;
/// How far the log's times may be ahead of this machine's clock, in milliseconds.
const AHEAD_MS: i64 = 1000;
/// How old what is on the vault may be, in seconds, beside the time until a segment is sealed.
const OLD_SECONDS: i64 = 60;
/// For how long nothing of a log may come to the vault, in seconds: of one that was kept, and of one that was never begun.
const AWAY_SECONDS: i64 = 300;
const BEGUN_SECONDS: i64 = 24 * 3600;
/// Between the two looks by which a source's writes are measured.
const MEASURED: Duration = Duration::from_secs(1);

/// Checks what is told of the log. `alarm`: what comes of a log that stands still, and since when it is to be kept, as far as that is known.
pub async fn check(
    app: &App,
    kept: Result<Option<LogStatus>, Fault>,
    alarm: (Status, Option<Timestamp>),
    fail_on_gap: bool,
    findings: &mut Findings,
) {
    let status = match kept {
        Ok(Some(status)) => status,
        Ok(None) => return,
        Err(fault) => return findings.fail("log", &fault),
    };
    keeper(app, &status, alarm, findings);
    gaps(&status, fail_on_gap, findings);
    if status.on {
        room(app, findings).await;
        ahead(&status, findings);
    }
}

fn keeper(app: &App, status: &LogStatus, (alarm, since): (Status, Option<Timestamp>), findings: &mut Findings) {
    let now = Timestamp::now();
    let window = match status.windows.as_slice() {
        [.., (from, to)] => format!(
            "any moment from {} to {} can be restored{}",
            written_up(*from),
            written(*to),
            earlier(&status.windows)
        ),
        [] => "no moment can be restored from it yet".to_owned(),
    };
    let old = i64::from(app.config.backup_log.seal_seconds) + OLD_SECONDS;
    let is_over = |at: Timestamp, seconds: i64| now.as_second() - at.as_second() > seconds;
    let not_begun = if since.is_some_and(|since| is_over(since, BEGUN_SECONDS)) { alarm } else { Status::Warn };
    // A service that is started anew is away for a moment; and one that was never kept, or not since it is on again, is to be begun first.
    let behind = match status.archived_until {
        Some(until) if is_over(since.map_or(until, |since| since.max(until)), old + AWAY_SECONDS) => alarm,
        Some(_) => Status::Warn,
        None => not_begun,
    };
    match (&status.archiver, status.archived_until) {
        _ if !status.on => findings.pass("log", format!("off; {window}")),
        (None, _) => {
            let next = format!("`{}`, as a service", app.config.command("run"));
            findings.add(behind, "log", format!("NOBODY KEEPS IT; {window}"), next);
        }
        (Some(by), Some(until)) if status.windows.is_empty() && !is_over(until, old) => findings.add(
            not_begun,
            "log",
            format!("kept by {}, and {window}: it has no base", by.who),
            "create-backup takes one where the log takes none by itself; see the log of the service",
        ),
        (Some(by), Some(until)) if !is_over(until, old) => {
            findings.pass("log", format!("kept by {}; {window}", by.who));
        }
        (Some(by), until) => {
            let since = until.map_or_else(|| "nothing".to_owned(), |until| format!("nothing for {}", age(until, now)));
            let next = "see the log of the service: the source or the vault may be away";
            // A source that says nothing for hours is idle, and nothing waits for the vault.
            let status = match until {
                Some(until) if !is_over(until, BEGUN_SECONDS) => Status::Warn,
                _ => behind,
            };
            findings.add(
                status,
                "log",
                format!("kept by {}, and {since} has come to the vault; {window}", by.who),
                next,
            );
        }
    }
}

/// What can be restored beside the newest window, as part of a sentence.
fn earlier(windows: &[(Timestamp, Timestamp)]) -> String {
    match windows {
        [(from, _), _, ..] => {
            format!(", and moments of {} earlier windows since {}", windows.len() - 1, written_up(*from))
        }
        _ => String::new(),
    }
}

/// Warns where the disk cannot hold what may wait for the vault.
async fn room(app: &App, findings: &mut Findings) {
    const NAME: &str = "log room";
    let spool = app.config.backup_log.spool_bytes();
    match free(app.config.home.dir()).await {
        Some(free) if free < spool => findings.warn(
            NAME,
            format!("{} are free, and {} may wait for the vault (spool_megabytes)", bytes(free), bytes(spool)),
            "Free space on that disk: the spool takes nothing once it is nearly full, and what comes then is a gap.",
        ),
        Some(_) => findings.pass(NAME, format!("for the {} that may wait for the vault", bytes(spool))),
        None => findings.pass(NAME, "not known: df says nothing here"),
    }
}

/// Warns while the log's times stand still, for the clock was set back.
fn ahead(status: &LogStatus, findings: &mut Findings) {
    let now = Timestamp::now();
    if let Some(until) = status.spooled_until.filter(|until| until.as_millisecond() > now.as_millisecond() + AHEAD_MS) {
        findings.warn(
            "log times",
            format!(
                "they are ahead of this machine's clock, which was set back, and stand still until {}",
                written(until)
            ),
            "until then only a position can be restored, and no moment that lies between",
        );
    }
}

fn gaps(status: &LogStatus, fail_on_gap: bool, findings: &mut Findings) {
    let Some(newest) = status.gaps.last() else { return findings.pass("log gaps", "none") };
    let found = if fail_on_gap { Status::Fail } else { Status::Warn };
    let detail = format!(
        "{}; the newest from {} to {}: {}",
        status.gaps.len(),
        written(newest.from),
        written_up(newest.to),
        newest.cause.as_str()
    );
    findings.add(
        found,
        "log gaps",
        detail,
        "nothing within can be restored; docs/service.md says what each cause asks for",
    );
}

/// Checks the source of a log that is on: its backlog, its limits for replicas, its clock.
pub async fn source(conn: &mut Conn, before: &ServerFacts, findings: &mut Findings) -> Result<(), RedisError> {
    let asked = Instant::now();
    tokio::time::sleep(MEASURED).await;
    let sent = Timestamp::now();
    let facts = ServerFacts::read(conn).await?;
    let written = facts.offset.saturating_sub(before.offset);
    let per_second = written * 1000 / u64::try_from(asked.elapsed().as_millis()).unwrap_or(1000).max(1);
    let size = facts.backlog_size;
    let holds = size.checked_div(per_second);
    let detail = match holds {
        Some(seconds) => format!(
            "{} hold {seconds} s of the {} a second that are written now: a longer outage is a gap",
            bytes(size),
            bytes(per_second)
        ),
        None => format!("{}; nothing is written just now", bytes(size)),
    };
    if holds.is_some_and(|seconds| seconds < OUTAGE_SECONDS) || size < BACKLOG_BYTES_MIN {
        let wanted = (per_second * 10 * OUTAGE_SECONDS).max(4 * BACKLOG_BYTES_MIN);
        findings.warn("log backlog", detail, format!("CONFIG SET repl-backlog-size {}mb", wanted.div_ceil(1 << 20)));
    } else {
        findings.pass("log backlog", detail);
    }
    limits(conn, findings).await?;
    if let Some(clock_ms) = facts.clock_ms {
        let skew = clock_ms - sent.as_millisecond();
        if skew.abs() > SKEW_MS {
            let detail = format!("the source's clock is {skew} ms from ours, by which moments are told");
            findings.warn("log clock", detail, "set both by NTP");
        } else {
            findings.pass("log clock", "the source's agrees with ours");
        }
    }
    Ok(())
}

async fn limits(conn: &mut Conn, findings: &mut Findings) -> Result<(), RedisError> {
    const NAME: &str = "log limits";
    let Some(settings) = replica_settings(conn).await? else {
        findings.pass(NAME, "not known: the user may not run CONFIG GET (+config|get)");
        return Ok(());
    };
    let most = settings.backlog.max(BACKLOG_BYTES_MIN);
    let (soft, seconds) = settings.soft;
    // What may not last for as long as an outage is a limit like the other.
    let soft_least = if seconds < OUTAGE_SECONDS { most } else { BACKLOG_BYTES_MIN };
    let mut drops = Vec::new();
    if (1..most).contains(&settings.buffer) {
        drops.push(format!("is {} behind", bytes(settings.buffer)));
    }
    if (1..soft_least).contains(&soft) {
        drops.push(format!("stays {} behind for {seconds} s", bytes(soft)));
    }
    if settings.counted > 0 {
        let detail = format!(
            "min-replicas-to-write is {}, and the archiver counts as one of them although it acknowledges nothing",
            settings.counted
        );
        findings.warn(NAME, detail, "raise it by one, or follow a replica (backup_from)");
    } else if !drops.is_empty() {
        let detail = format!(
            "client-output-buffer-limit drops a replica that {}: the archiver too, at a burst or while its disk is slow",
            drops.join(", or ")
        );
        let hard = most.max(256 << 20).div_ceil(1 << 20);
        findings.warn(NAME, detail, format!("CONFIG SET client-output-buffer-limit \"replica {hard}mb 64mb 60\""));
    } else {
        findings.pass(NAME, "the archiver may fall behind for a while");
    }
    Ok(())
}
