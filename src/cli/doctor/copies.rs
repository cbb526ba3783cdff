//! The check of an instance's second place (`copy_to`): whether it has the newest set, and the log.

use super::Findings;
use crate::model::backup::BackupSet;
use crate::model::time::{age, written};
use crate::provider::local::vault_copy::Copier;
use crate::tools::App;
use jiff::Timestamp;

/// Age at which the newest set should have its copy, and what is in the log too, in seconds.
const NOT_COPIED_SECONDS: i64 = 3600;

/// Whether the second place has the newest set and the log, where the instance has such a place.
pub async fn check(app: &App, id: &str, sets: &[BackupSet], now: Timestamp, findings: &mut Findings) {
    const NAME: &str = "second copy";
    let Some(copier) = Copier::of(&app.config, &app.state, id) else { return };
    let place = copier.place();
    let run = app.config.command("run");
    // What to do where something is not copied.
    let not_copied = format!("`{run}` copies it, for as long as it runs; its log says what keeps it from that");
    if !app.config.read_only
        && let Err(fault) = copier.try_place().await
    {
        return findings.fail(NAME, &fault);
    }
    let newest = match copier.newest_copied(sets).await {
        Ok(newest) => newest,
        Err(fault) => return findings.fail(NAME, &fault),
    };
    let Some(wanted) = newest.wanted else { return findings.pass(NAME, format!("{place}: there is no set to copy")) };
    let made = age(wanted.finished_at, now);
    let log = match app.provider.log_status(id).await {
        Ok(log) => log.filter(|log| log.on).and_then(|log| log.archived_until),
        Err(fault) => return findings.fail(NAME, &fault),
    };
    // What was received since the newest set is in the log alone.
    if newest.log_is_known
        && let Some(archived) = log
        && let Some(copied) = newest.until()
        && archived.as_second() - copied.as_second() > NOT_COPIED_SECONDS
    {
        let (to, from) = (written(archived), written(copied));
        return findings.warn(
            NAME,
            format!("{place}: the log reaches to {to}, and what lies there to {from}"),
            not_copied,
        );
    }
    if newest.copied.is_some_and(|copied| copied.id == wanted.id) {
        if log.is_some() && !newest.log_is_known {
            let detail =
                format!("{place} has the newest set, {}, and did not say in time how far its log goes", wanted.id);
            return findings.warn(
                NAME,
                detail,
                format!("doctor asks again; the log of `{run}` says what keeps a log from being copied"),
            );
        }
        let log = newest.log_until.map_or_else(String::new, |at| format!(", and the log up to {}", written(at)));
        return findings.pass(NAME, format!("{place} has the newest set, {}{log}", wanted.id));
    }
    let has = newest.copied.map_or_else(|| "no set".to_owned(), |set| format!("{} at best", set.id));
    let detail = format!("{place} has {has}: {}, {made} old, is not copied", wanted.id);
    if now.as_second() - wanted.finished_at.as_second() > NOT_COPIED_SECONDS {
        findings.warn(NAME, detail, not_copied);
    } else {
        findings.pass(NAME, detail);
    }
}
