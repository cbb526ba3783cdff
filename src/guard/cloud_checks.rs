//! Pre-checks for instances of the cloud: facts in, a verdict with its figures out. Reads nothing itself.

use crate::guard::checks::{Precheck, Status, check};
use crate::model::text::bytes;
use crate::model::time::written;
use jiff::Timestamp;

/// Whether the instance takes changes now.
#[must_use]
pub fn instance_ready(status: &str, what: &str) -> Precheck {
    match status {
        "Normal" => check("instance_ready", Status::Pass, format!("Normal, {what}")),
        "" => check("instance_ready", Status::Block, "the cloud does not tell its status"),
        other => check(
            "instance_ready",
            Status::Block,
            format!("its status is {other}: wait until describe_instances shows Normal"),
        ),
    }
}

/// Whether this instance can be restored in place. `Ok`: what a person should know about it.
#[must_use]
pub fn restore_in_place(can: Result<&str, &str>) -> Precheck {
    match can {
        Ok(known) => check("restore_in_place", Status::Warn, known),
        Err(why) => check("restore_in_place", Status::Block, why),
    }
}

/// The set that is meant.
#[derive(Debug, Clone, Copy)]
pub struct SetFacts<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Bytes.
    pub bytes: u64,
    /// Until when it is kept.
    pub expires_at: Option<Timestamp>,
}

/// Expiring within this, a set may be gone before it is used.
const SOON_SECONDS: i64 = 3600;

/// Whether the set is whole and stays long enough.
#[must_use]
pub fn backup_exists(set: Result<SetFacts<'_>, &str>, now: Timestamp) -> Precheck {
    let set = match set {
        Ok(set) => set,
        Err(damage) => return check("backup_exists", Status::Block, damage),
    };
    let what = format!(
        "{} of {}, {}; the cloud says Success, and tells no checksum",
        set.id,
        written(set.taken_at),
        bytes(set.bytes)
    );
    match set.expires_at.map(|at| at.as_second() - now.as_second()) {
        Some(left) if left <= 0 => check("backup_exists", Status::Block, format!("{what}; it has expired")),
        Some(left) if left < SOON_SECONDS => {
            check("backup_exists", Status::Warn, format!("{what}; it expires in {} minutes", left / 60))
        }
        _ => check("backup_exists", Status::Pass, what),
    }
}

/// Whether the archive of changes reaches the moment.
#[must_use]
pub fn restore_time(at: Timestamp, log_start: Option<Timestamp>, now: Timestamp) -> Precheck {
    let Some(start) = log_start else {
        return check(
            "restore_time",
            Status::Block,
            "data flashback is off: no moment can be restored, only backup sets",
        );
    };
    let window = format!("the recovery window is {} to {}", written(start), written(now));
    if at < start {
        check("restore_time", Status::Block, format!("{} is before the first moment kept: {window}", written(at)))
    } else if at > now {
        check("restore_time", Status::Block, format!("{} has not been yet: {window}", written(at)))
    } else {
        check("restore_time", Status::Pass, format!("{} is in it: {window}", written(at)))
    }
}

/// Whether keys' time to live counts on from a moment that makes sense.
#[must_use]
pub fn time_shift(shift: Timestamp, restore_time: Timestamp, now: Timestamp) -> Precheck {
    let detail = format!("remaining times to live count on from {}", written(shift));
    if shift < restore_time || shift > now {
        check(
            "time_shift",
            Status::Block,
            format!("{detail}, which is not between restore_time {} and now {}", written(restore_time), written(now)),
        )
    } else {
        check("time_shift", Status::Pass, detail)
    }
}

/// What the reading of `filter_key` found.
#[must_use]
pub fn filter_key(items: usize, warnings: &[String]) -> Precheck {
    let note = "Alibaba Cloud does not document whether a pattern must match the whole key";
    if warnings.is_empty() {
        check("filter_key", Status::Pass, format!("{items} items, regular expressions; {note}"))
    } else {
        check("filter_key", Status::Warn, format!("{}; {note}", warnings.join("; ")))
    }
}

/// Write traffic as the cloud has measured it, which lags.
#[must_use]
pub fn write_traffic(peak: f64, window_seconds: f64, most: f64, fenced: bool) -> Precheck {
    let measured = format!(
        "PutQps at most {peak} over the last {window_seconds:.0} s, measured by the cloud with up to two minutes' delay"
    );
    if peak > most && fenced {
        check(
            "write_traffic",
            Status::Warn,
            format!(
                "{measured}; the write fence will stop writers, and what they wrote since the safety backup is in no backup"
            ),
        )
    } else if peak > most {
        check(
            "write_traffic",
            Status::Block,
            format!(
                "{measured}, {most} allowed: stop the writers first; what they write after the safety backup would be in no backup"
            ),
        )
    } else if peak > 0.0 {
        check("write_traffic", Status::Warn, format!("{measured}, within the {most} allowed"))
    } else {
        check("write_traffic", Status::Pass, measured)
    }
}

/// That writes are locked meanwhile.
#[must_use]
pub fn write_fence() -> Precheck {
    check(
        "write_fence",
        Status::Pass,
        "writes are refused from the restore's beginning to its end, and let in again after it, also if this program dies",
    )
}

/// Whether a set may be deleted.
#[must_use]
pub fn deletable(manual: bool, refusal: Option<&str>) -> Precheck {
    match refusal {
        Some(why) => check("manual_backup", Status::Block, why),
        None if manual => check("manual_backup", Status::Pass, "taken by hand"),
        None => check("manual_backup", Status::Block, "taken by the backup policy: only manual backups can be deleted"),
    }
}

/// What is left after a deletion.
#[must_use]
pub fn other_backups(left: usize) -> Precheck {
    if left == 0 {
        let detail = "it is the only backup of the instance: nothing could be restored any more";
        return check("other_backups", Status::Warn, detail);
    }
    check("other_backups", Status::Pass, format!("{left} others stay"))
}

/// What a change of policy lowers.
#[must_use]
pub fn protection(lowered: &[String]) -> Precheck {
    if lowered.is_empty() {
        return check("protection", Status::Pass, "it lowers nothing");
    }
    check("protection", Status::Warn, lowered.join("; "))
}

/// What the cloud said to the order when it was only asked to check it.
#[must_use]
pub fn dry_run(said: Result<(), &str>) -> Precheck {
    match said {
        Ok(()) => check("dry_run", Status::Pass, "the cloud has checked the order and would take it"),
        Err(why) => check("dry_run", Status::Block, format!("the cloud would not take the order: {why}")),
    }
}

/// What it costs.
#[must_use]
pub fn billing(class: &str) -> Precheck {
    check(
        "billing",
        Status::Warn,
        format!(
            "{class}, pay-as-you-go (PostPaid): billed by the hour from its creation until somebody releases it; this program never releases it"
        ),
    )
}
