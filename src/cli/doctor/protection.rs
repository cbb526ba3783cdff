//! How far an instance is protected: its sets, its policy, its drills; and all of that in one line.
//!
//! What nobody made up for in time is a failure, for `doctor` is an alarm of cron: of an instance without a policy nothing was promised, and a
//! policy that was just given promises nothing of before.

use super::{Check, DETAIL, Findings, Status, copies};
use crate::config::blocking::blocking;
use crate::config::notify::USUAL_GRACE;
use crate::model::backup::{BackupSet, all_readable};
use crate::model::calendar::{History, USUAL_WINDOW};
use crate::model::fault::Fault;
use crate::model::log::LogStatus;
use crate::model::sets::last_backup;
use crate::model::text::clean_to;
use crate::model::time::{age, written};
use crate::model::verification::{Verification, described, verified_last};
use crate::schedule::due::overdue;
use crate::schedule::stale::{backup_missing, drill_missing};
use crate::tools::App;
use crate::tools::describe_backup_policy::PolicyRow;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Age at which the last backup is old, in seconds: a daily backup is never quite a day old.
const OLD_SECONDS: i64 = 25 * 3600;

/// Names of findings, by which the next step of the line is chosen: the most urgent first.
const LAST_BACKUP: &str = "last backup";
const POLICY: &str = "backup policy";
const DAMAGED: &str = "damaged backups";
const DRILL: &str = "drill";
const URGENT: [&str; 7] = [LAST_BACKUP, POLICY, "log", DAMAGED, DRILL, "second copy", "verified"];

/// How far an instance is protected.
#[derive(Default)]
pub struct Protection {
    /// Why its sets are not known.
    unknown: Option<String>,
    /// The earliest and the newest moment that it can be got back to.
    moments: Option<(Timestamp, Timestamp)>,
    /// Whether each second between them is one, and not those of the sets alone.
    to_the_second: bool,
    last_drill: Option<Timestamp>,
    /// Whether what came of drills cannot be read.
    drills_unknown: bool,
}

/// What comes of a thing that nobody has made up for: the sandbox is there to try things out, and raises no alarm.
pub fn alarm(app: &App, id: &str) -> Status {
    if app.config.instances.iter().any(|instance| instance.id == id) { Status::Fail } else { Status::Warn }
}

impl Protection {
    /// Takes the log's newest window for what the instance can be got back to, unless nobody keeps it and a set is newer.
    pub fn reaches_by_log(&mut self, log: &LogStatus) {
        if let Some((from, until)) = log.windows.last()
            && (log.archiver.is_some() || self.moments.is_none_or(|(_, newest)| newest <= *until))
        {
            (self.moments, self.to_the_second) = (Some((*from, *until)), true);
        }
    }

    /// The line of an instance, and the same as fields.
    pub fn json(&self, findings: &Findings) -> Value {
        let now = Timestamp::now();
        let of = |status: Status| findings.checks.iter().filter(move |check| check.status == status);
        let failed: Vec<&str> = of(Status::Fail).map(|check| check.name).collect();
        let status = match (failed.is_empty(), of(Status::Warn).next()) {
            (false, _) => Status::Fail,
            (true, Some(_)) => Status::Warn,
            (true, None) => Status::Pass,
        };
        let lost = self.lost(now);
        let drill = match self.last_drill {
            Some(at) => format!("{} ago", age(at, now)),
            None if self.drills_unknown => "not known".to_owned(),
            None => "never".to_owned(),
        };
        let line = match (&self.unknown, self.moments) {
            (None, Some((from, until))) => {
                let (from, until, exactly) = (written(from), written(until), self.exactly());
                format!("protected since {from}, up to {until}, {exactly}; last drill {drill}; not protected: {lost}")
            }
            (None, None) => format!("NOT PROTECTED: {lost}; last drill {drill}"),
            (Some(_), _) => format!("protection {lost}; last drill {drill}"),
        };
        let failures = if failed.is_empty() { String::new() } else { format!("; FAILED: {}", failed.join(", ")) };
        let mut row = json!({
            "instance_id": findings.instance_id,
            "status": status.as_str(),
            "line": clean_to(&format!("{line}{failures}"), DETAIL),
            "not_protected": clean_to(&lost, DETAIL),
            "failed": failed,
        });
        let moments = self.moments.map(|(from, until)| {
            let precision = if self.to_the_second { "second" } else { "backup" };
            [
                ("protected_since", written(from)),
                ("protected_until", written(until)),
                ("precision", precision.to_owned()),
            ]
        });
        let drill = self.last_drill.map(|at| ("last_drill", written(at)));
        let next = next(&findings.checks).map(|next| ("next", next.to_owned()));
        if let Some(row) = row.as_object_mut() {
            for (name, value) in moments.into_iter().flatten().chain(drill).chain(next) {
                row.insert(name.to_owned(), value.into());
            }
        }
        row
    }

    const fn exactly(&self) -> &'static str {
        if self.to_the_second { "to the second" } else { "to the moments of its backups" }
    }

    /// What would be lost, as part of a sentence.
    fn lost(&self, now: Timestamp) -> String {
        match (&self.unknown, self.moments) {
            (Some(why), _) => format!("not known: {why}"),
            (None, None) => "there is no backup".to_owned(),
            (None, Some((_, until))) => format!("what is written since {} ({} ago)", written(until), age(until, now)),
        }
    }
}

/// The next step of an instance: of what fails, else of what its protection lacks.
fn next(checks: &[Check]) -> Option<&str> {
    let of = |status: Status| checks.iter().filter(move |check| check.status == status && !check.next.is_empty());
    let lacking = || URGENT.iter().find_map(|name| of(Status::Warn).find(|check| check.name == *name));
    of(Status::Fail).next().or_else(lacking)?.next.lines().next()
}

/// Checks the sets of an instance, and what is known of them.
pub async fn backups(app: &App, id: &str, sentinel: bool, protection: &mut Protection, findings: &mut Findings) {
    let now = Timestamp::now();
    // What came of drills is known also where the sets are not.
    let looked = app.state.verifications(id).await;
    match &looked {
        Err(_) => protection.drills_unknown = true,
        Ok(found) => {
            protection.last_drill = found.values().filter_map(Verification::drilled).filter(|at| *at <= now).max();
        }
    }
    let sets = match app.provider.backups(id, None).await.and_then(all_readable) {
        Ok(sets) => sets,
        Err(fault) => {
            findings.fail(LAST_BACKUP, &fault);
            protection.unknown = Some(fault.message);
            return;
        }
    };
    let damaged = sets.iter().filter(|s| s.is_err()).count();
    if damaged > 0 {
        let next = format!("describe-backups --instance-id {id} says what is wrong with each.");
        // Of the newest set whoever restores would be the first to find out.
        let newest = sets.first().is_some_and(Result::is_err);
        let (status, which) = if newest { (alarm(app, id), ", the newest among them") } else { (Status::Warn, "") };
        findings.add(status, DAMAGED, format!("{damaged} of {}{which}", sets.len()), next);
    }
    let next = if sentinel { String::new() } else { format!("create-backup --instance-id {id}") };
    let whole: Vec<BackupSet> = sets.into_iter().flatten().collect();
    let oldest = whole.iter().map(|set| set.started_at).min();
    let last = last_backup(&whole, now);
    let newest = last.or(whole.first());
    protection.moments = oldest.zip(newest.map(|set| set.started_at));
    match looked {
        Err(fault) => findings.fail("verified", &fault),
        Ok(found) => {
            let looks: Vec<String> = verified_last(&whole, &found)
                .into_iter()
                .map(|(set, level, look)| format!("{set}: {}, {} ago", described(level, look), age(look.at, now)))
                .collect();
            match newest {
                None => {}
                Some(set) if looks.is_empty() => {
                    let next = format!("verify-backup --instance-id {id} --backup-id {} --level drill", set.id);
                    findings.warn("verified", "no set since it was made", next);
                }
                Some(_) => findings.pass("verified", looks.join("; ")),
            }
        }
    }
    copies::check(app, id, &whole, now, findings).await;
    match last {
        None if whole.is_empty() => {
            findings.warn(LAST_BACKUP, "never: nothing of this instance can be recovered", next);
        }
        None => findings.warn(LAST_BACKUP, "none: there are safety backups alone", next),
        Some(BackupSet { id, started_at, .. }) => {
            let (started_at, detail) = (*started_at, format!("{id}, {} ago", age(*started_at, now)));
            if now.as_second() - started_at.as_second() > OLD_SECONDS {
                findings.warn(LAST_BACKUP, detail, next);
            } else {
                findings.pass(LAST_BACKUP, detail);
            }
        }
    }
}

/// Checks whether anything takes backups of the instance by itself, and drills them.
pub async fn policy(app: &App, id: &str, findings: &mut Findings) {
    let read = async { Ok::<_, Fault>((app.provider.backup_policy(id).await?, app.provider.scheduled(id).await?)) };
    match read.await {
        Err(fault) => findings.fail(POLICY, &fault),
        Ok((policy, Some((calendar, history)))) => {
            let policy = PolicyRow::of(&policy);
            let (now, told) = (Timestamp::now(), policy.describe());
            let is_in_file = app.config.instances.iter().any(|own| own.id == id && own.calendar.is_some());
            let in_file = if is_in_file { file_written(app).await } else { None };
            // What was taken by a policy was taken by one that was there.
            let known = in_file.into_iter().chain(history.taken.iter().copied()).min().unwrap_or(now).min(now);
            let grace = app.config.notify.as_ref().map_or(USUAL_GRACE, |notify| notify.grace);
            let missing = backup_missing(&calendar, id, &history, (known, now), grace);
            match missing.or_else(|| overdue(&calendar, id, &history, now)) {
                Some(at) => {
                    let late = format!("{told}; the one that was due at {} is not taken", written(at));
                    let status = if missing.is_some() { alarm(app, id) } else { Status::Warn };
                    let run = app.config.command("run");
                    findings.add(status, POLICY, late, format!("`{run}` takes it, for as long as it runs"));
                }
                None => {
                    let needs = policy.needs(&app.config).map(|needs| format!("it is carried out {needs}"));
                    findings.add(Status::Pass, POLICY, told, needs.unwrap_or_default());
                }
            }
            drills(app, id, &history, (known, now), findings);
        }
        Ok((_, None)) => {
            let next = format!("modify-backup-policy --instance-id {id} --preferred-backup-time {USUAL_WINDOW}");
            findings.warn(POLICY, "none: nothing takes backups by itself", next);
        }
    }
}

/// Says where no set has passed a drill for so long that drills count as missing.
fn drills(app: &App, id: &str, history: &History, times: (Timestamp, Timestamp), findings: &mut Findings) {
    let (Some(since), Some((newest, _))) = (drill_missing(history, times), &history.drills.newest) else { return };
    findings.add(
        alarm(app, id),
        DRILL,
        format!("no backup has passed one since {}: one is due each week", written(since)),
        format!(
            "verify-backup --instance-id {id} --backup-id {newest} --level drill; `{}` does each week",
            app.config.command("run")
        ),
    );
}

/// Since when the log of an instance is on, at the latest: any change of what switched it on counts, for nobody wrote down which was the one. `None`
/// where that is not known.
pub async fn log_since(app: &App, id: &str) -> Option<Timestamp> {
    let instance = app.config.instances.iter().find(|instance| instance.id == id);
    match instance.and_then(|instance| instance.enable_backup_log) {
        Some(_) => file_written(app).await,
        None => Some(app.state.stored_policy(id).await.ok()??.changed_at),
    }
}

/// When the configuration file was written: what stands there is in force since then, for all that is known.
async fn file_written(app: &App) -> Option<Timestamp> {
    let file = app.config.file.clone()?;
    let written = blocking(move || Ok(std::fs::metadata(file).and_then(|file| file.modified()).ok()));
    Timestamp::try_from(written.await.ok()??).ok()
}
