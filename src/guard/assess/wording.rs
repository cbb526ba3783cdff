//! Sentences that several assessments share.

use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::backup::{Dependent, ListedSet};
use crate::guard::facts::{CloudInstance, CloudState};
use crate::model::instance::{Counts, total_keys};
use crate::model::job::JobStatus;
use crate::model::text::{bytes, clean, clean_to};
use crate::model::time::{written, written_ms, written_up};
use jiff::Timestamp;

/// Keys per database, for the reader.
#[must_use]
pub fn describe_counts(counts: &Counts) -> String {
    if counts.is_empty() {
        return "no keys".into();
    }
    let dbs: Vec<String> = counts.iter().map(|(db, (keys, _))| format!("db{db} {keys}")).collect();
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
        Dependent::Plan { act, planned_at, expires_at } => {
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
        "the rollback of restore {job_id} is pending: describe_jobs tries it again and says what to look at; a person who has looked can clear it at a terminal (clear-rollback)"
    );
    Precheck::new(CheckName::InstanceIdle, Status::Block, detail)
}

/// The block of an act on an instance that is in another region than calls go to.
pub fn of_another_region(instance: &CloudInstance) -> Option<Precheck> {
    let CloudInstance { region, access, .. } = instance;
    let differs = !region.is_empty() && !access.region.is_empty() && !region.eq_ignore_ascii_case(&access.region);
    differs.then(|| {
        let detail = format!(
            "it is in {}, and calls go to {}: set [tair] region to the instance's own",
            clean(region),
            access.region
        );
        Precheck::new(CheckName::InstanceReady, Status::Block, detail)
    })
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

/// Whether the archive of changes reaches a moment.
pub fn restore_time(at: Timestamp, log_start: Option<Timestamp>, now: Timestamp) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::RestoreTime, status, detail);
    let Some(start) = log_start else {
        let detail = "data flashback is off: no moment can be restored, only backup sets";
        return check(Status::Block, detail.into());
    };
    let window = format!("the recovery window is {} to {}", written(start), written(now));
    if at.subsec_nanosecond() != 0 {
        return check(
            Status::Block,
            format!("{} is between two seconds, and the cloud goes by whole ones", written_ms(at)),
        );
    }
    if at < start {
        check(Status::Block, format!("{} is before the first moment kept: {window}", written(at)))
    } else if at > now {
        check(Status::Block, format!("{} has not been yet: {window}", written(at)))
    } else {
        check(Status::Pass, format!("{} is in it: {window}", written(at)))
    }
}
