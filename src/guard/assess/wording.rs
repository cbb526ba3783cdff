//! Sentences that several assessments share.

use crate::config::command::clear_rollback;
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::backup::{Dependent, ListedSet};
use crate::guard::facts::{CloudInstance, CloudState};
use crate::model::instance::{Counts, total_keys};
use crate::model::job::JobStatus;
use crate::model::text::{bytes, clean, clean_to};
use crate::model::time::{written, written_ms, written_up};
use jiff::Timestamp;

/// Most databases that are named: what comes behind them must be seen, too.
const DATABASES_SHOWN: usize = 8;

/// Keys per database, for the reader.
#[must_use]
pub fn describe_counts(counts: &Counts) -> String {
    if counts.is_empty() {
        return "no keys".into();
    }
    let mut dbs: Vec<String> =
        counts.iter().take(DATABASES_SHOWN).map(|(db, (keys, _))| format!("db{db} {keys}")).collect();
    if let Some(more @ 1..) = counts.len().checked_sub(DATABASES_SHOWN) {
        let rest = total_keys(&counts.iter().skip(DATABASES_SHOWN).map(|(db, n)| (*db, *n)).collect());
        dbs.push(format!("{more} more {rest}"));
    }
    format!("{} keys ({})", total_keys(counts), dbs.join(", "))
}

/// What counts on a set, for the reader.
#[must_use]
pub fn describe_dependent(dependent: &Dependent) -> String {
    match dependent {
        Dependent::Restore { job_id, began_at, status } => {
            let how = match status {
                JobStatus::Running => ", which runs",
                JobStatus::Succeeded => "",
                JobStatus::Failed => ", which failed",
                JobStatus::Uncertain => ", of which it is not known what came of it",
            };
            format!("restore {job_id} of {}{how}", written(*began_at))
        }
        Dependent::Plan { act, planned_at, expires_at, .. } => {
            format!("plan of {}, good until {}: {act}", written(*planned_at), written(*expires_at))
        }
        Dependent::Log(Some((from, to))) => format!("the log from {} to {}", written_up(*from), written(*to)),
        Dependent::Log(None) => "the log, which cannot be read,".to_owned(),
    }
}

/// What is lost for what counts on a set when the set is deleted, as part of a sentence.
pub fn lost_with_the_set(dependent: &Dependent) -> String {
    let what = describe_dependent(dependent);
    match dependent {
        Dependent::Restore { .. } => format!("{what} can no longer be undone"),
        Dependent::Plan { .. } => format!("{what}, can no longer be carried out"),
        Dependent::Log(Some(_)) => {
            format!("{what} has no other set to begin with: none of its moments can be restored any more")
        }
        Dependent::Log(None) => format!("{what} may have no other set to begin with"),
    }
}

/// A set's id for people, who need not read a long list of shards to its end.
pub fn short_id(id: &str) -> String {
    clean_to(id, 40)
}

/// An earlier restore of the instance, by its job's id, whose rollback is pending.
pub fn rollback_pending(job_id: &str) -> Precheck {
    let detail = format!(
        "the rollback of restore {job_id} is pending: describe_jobs tries it again and says what to look at; a person who has looked can clear it at a terminal: {}",
        clear_rollback(job_id)
    );
    Precheck::new(CheckName::InstanceIdle, Status::Block, detail)
}

/// Why nothing is done to an instance that is in another region than calls go to; `None` where it is not.
#[must_use]
pub fn elsewhere(instance: &CloudInstance) -> Option<String> {
    let CloudInstance { region, access, .. } = instance;
    instance.is_elsewhere().then(|| {
        format!(
            "it is in {}, and calls go to {}: set [tair] region to the instance's own",
            clean(region),
            access.region
        )
    })
}

/// The block of an act on an instance that is in another region than calls go to.
pub fn of_another_region(instance: &CloudInstance) -> Option<Precheck> {
    elsewhere(instance).map(|why| Precheck::new(CheckName::InstanceReady, Status::Block, why))
}

/// Whether an instance of the cloud takes changes now.
pub fn cloud_ready(state: &CloudState) -> Precheck {
    if let Some(elsewhere) = of_another_region(&state.instance) {
        return elsewhere;
    }
    let class = if state.instance.instance_class.is_empty() { "unknown class" } else { &state.instance.instance_class };
    let (status, detail) = match state.status.trim() {
        word if word.eq_ignore_ascii_case("Normal") => {
            (Status::Pass, format!("Normal, {}, {class}", state.instance.architecture))
        }
        "" => (Status::Block, "the cloud does not tell its status".into()),
        other => (Status::Block, format!("its status is {}: wait until describe_instances shows Normal", clean(other))),
    };
    Precheck::new(CheckName::InstanceReady, status, detail)
}

/// A set that expires within so many seconds may be gone before it is used.
const SOON_SECONDS: i64 = 3600;

/// Whether the cloud lists the set as whole, and keeps it long enough.
pub fn backup_exists(set: &ListedSet, now: Timestamp) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::BackupExists, status, detail);
    let set = match set {
        Ok(set) => set,
        Err(damage) => return check(Status::Block, damage.clone()),
    };
    let what = format!(
        "{} of {}, {}; the cloud says Success, and tells no checksum",
        set.backup_id,
        written(set.taken_at),
        bytes(set.bytes)
    );
    match set.expires_at.map(|at| at.as_second() - now.as_second()) {
        Some(left) if left <= 0 => check(Status::Block, format!("{what}; it has expired")),
        Some(left) if left < SOON_SECONDS => {
            check(Status::Warn, format!("{what}; it expires in {} minutes", left / 60))
        }
        _ => check(Status::Pass, what),
    }
}

/// How many days back Alibaba Cloud documents that it goes.
const DOCUMENTED_DAYS: i64 = 7;

/// Whether the cloud's archive of changes reaches a moment; where it does not, the nearest that it reaches.
pub fn restore_time(at: Timestamp, log_start: Option<Timestamp>, now: Timestamp) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::RestoreTime, status, detail);
    let Some(start) = log_start else {
        let detail = "data flashback is off: no moment can be restored, only backup sets";
        return check(Status::Block, detail.into());
    };
    let window = format!(
        "the recovery window is {} to {}, and how far the archive is behind that the cloud does not tell",
        written_up(start),
        written(now)
    );
    let nearest =
        |why: String, near: String| check(Status::Block, format!("{why}: {window}; the nearest in it: {near}"));
    if at < start {
        nearest(format!("{} is before the first moment kept", written(at)), format!("{} (after)", written_up(start)))
    } else if at > now {
        nearest(format!("{} has not been yet", written(at)), format!("{} (before)", written(now)))
    } else if at.subsec_nanosecond() != 0 {
        let near = [(written(at), "before"), (written_up(at), "after")];
        let within = near.iter().filter(|(text, _)| *text >= written_up(start) && *text <= written(now));
        let near: Vec<String> = within.map(|(text, which)| format!("{text} ({which})")).collect();
        nearest(format!("{} is between two seconds, and the cloud goes by whole ones", written_ms(at)), near.join(", "))
    } else if now.as_second() - at.as_second() > DOCUMENTED_DAYS * 24 * 3600 {
        let detail = format!(
            "{} is more than {DOCUMENTED_DAYS} days ago, as far back as Alibaba Cloud documents that it goes: it may refuse; {window}",
            written(at)
        );
        check(Status::Warn, detail)
    } else {
        check(Status::Pass, format!("{} is in it: {window}", written(at)))
    }
}

/// Whether the moment from which keys' remaining times to live count on makes sense.
pub(super) fn check_time_shift(shift: Timestamp, restore_time: Timestamp, now: Timestamp) -> Precheck {
    let detail = format!("remaining times to live count on from {}", written(shift));
    if shift < restore_time || shift > now {
        let detail =
            format!("{detail}, which is not between restore_time {} and now {}", written(restore_time), written(now));
        return Precheck::new(CheckName::TimeShift, Status::Block, detail);
    }
    Precheck::new(CheckName::TimeShift, Status::Pass, detail)
}
