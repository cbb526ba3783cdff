//! Assessment of the safety backup: whether there is a way back from a restore, and whether it leads back to this very server.

use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::restore::{ListedSafety, Position, SafetyFacts, SafetyProof, SafetyStatus, SetLook};
use crate::guard::preconditions::Preconditions;
use crate::model::text::{bytes, clean};
use crate::model::time::written;
use jiff::Timestamp;

/// By so much a set may seem to begin before the look that came before it: the cloud writes times to the second, and its clock is known to a
/// few.
const CLOCK_SECONDS: i64 = 5;
/// A set that expires within so many seconds may be gone when it is needed.
const SOON_SECONDS: i64 = 3600;

/// Judges the safety backup: that of the data which the instance holds now. `planned`: a plan exists that the set's file was
/// verified whole for. `looked_at`: when the plan first looked at the instance, by the clock of who keeps its sets.
#[must_use]
pub fn safety_backup(s: &SafetyFacts, of: &Preconditions, planned: bool, looked_at: Option<Timestamp>) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::SafetyBackup, status, detail);
    let (keys, taken_at, reused, proof) = match &s.status {
        SafetyStatus::Running => {
            return check(Status::Pending, format!("{} is being taken (job {})", s.backup_id, s.job_id));
        }
        SafetyStatus::Failed(why) => {
            return check(Status::Block, format!("the current data could not be backed up: {why}"));
        }
        SafetyStatus::Damaged(why) => return check(Status::Block, damaged(&s.backup_id, why, of)),
        SafetyStatus::Gone => {
            let detail = format!(
                "{} is not there any more, and nothing else brings the current data back: it was deleted, or a later plan's took its place",
                s.backup_id
            );
            return check(Status::Block, detail);
        }
        SafetyStatus::Whole { keys, taken_at, reused, proof } => (keys, taken_at, *reused, proof),
    };
    let keys = keys.map_or(String::new(), |n| format!(", {n} keys"));
    let how = if reused { "used again: no write since" } else { "taken for this plan" };
    let what = format!("{} of {}{keys}, {how}", s.backup_id, written(*taken_at));
    let (look, origin, target) = match (proof, of) {
        (SafetyProof::Listed(listed), Preconditions::CloudRestore { .. }) => {
            return match proves_nothing(listed, looked_at) {
                Some(why) => check(Status::Block, format!("{what}, brings nothing back for certain: {why}")),
                None => check(
                    Status::Pass,
                    format!(
                        "{what}; the cloud lists it as a whole full backup of {}, and tells no checksum",
                        bytes(listed.set.bytes)
                    ),
                ),
            };
        }
        (SafetyProof::Listed(_), _) => return check(Status::Block, format!("{what}: nobody has read it")),
        (SafetyProof::Vault { look, origin, target }, _) => (look, origin, target),
    };
    if let Some(why) = of_another(origin, target) {
        return check(Status::Block, format!("{what}, does not bring back what this server holds: {why}"));
    }
    let (status, how) = match look {
        SetLook::Damaged(why) => {
            return check(Status::Block, damaged(&what, why, of));
        }
        SetLook::KnownFromPlan if !planned => {
            return check(
                Status::Block,
                format!("{what}: nobody has read it, and there is no plan that it was read for"),
            );
        }
        SetLook::KnownFromPlan => {
            (Status::Pass, "verified for the plan; its file is compared again before anything is touched")
        }
        SetLook::Verified { crc64: true, .. } => (Status::Pass, "read back: SHA-256, CRC64 and structure verified now"),
        SetLook::Verified { crc64: false, .. } => (
            Status::Warn,
            "read back: SHA-256 and structure verified now; its server wrote no CRC64 (rdbchecksum no), so damage from before it reached us would not show",
        ),
    };
    check(status, format!("{what}; {how}"))
}

/// Why a set that the cloud lists is no proof of a way back; `None` where it is one.
fn proves_nothing(listed: &ListedSafety, looked_at: Option<Timestamp>) -> Option<String> {
    let ListedSafety { set, asked_for, full, success, smallest_file, foreign_nodes, read_at } = listed;
    let sorted = |ids: &[i64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    if asked_for.is_empty() || sorted(asked_for) != sorted(&set.jobs) {
        return Some(format!("it was made by the cloud's jobs {:?}, and {asked_for:?} were asked for", set.jobs));
    }
    if !success {
        return Some("the cloud does not say Success of it".into());
    }
    if *smallest_file == 0 {
        return Some("the cloud says 0 bytes of it, or of a part of it".into());
    }
    if !full {
        return Some("the cloud does not call it a full backup".into());
    }
    if let Some(node) = foreign_nodes.first() {
        return Some(format!("it is of {}, which is no node of this instance", clean(node)));
    }
    if let Some(at) = set.expires_at.filter(|at| at.as_second() - read_at.as_second() < SOON_SECONDS) {
        return Some(format!("it expires at {}", written(at)));
    }
    let Some(looked_at) = looked_at else { return Some("nobody knows what it should be newer than".into()) };
    (set.taken_at.as_second() + CLOCK_SECONDS < looked_at.as_second())
        .then(|| format!("it began before the plan did, at {}", written(looked_at)))
}

fn damaged(what: &str, why: &str, of: &Preconditions) -> String {
    let next = match of {
        Preconditions::CloudRestore { .. } => "plan again, which takes another",
        _ => "look at the disk of the vault, and plan again: what was found damaged is not used again",
    };
    format!("{what}, is damaged and brings nothing back: {why}; {next}")
}

/// Why a set that was taken at `origin` is none of what the server at `target` has held; `None` where it is one.
fn of_another(origin: &Position, target: &Position) -> Option<String> {
    if origin.run_id.is_empty() || origin.replication_id.is_empty() {
        return Some("the set does not tell which server process it was taken from".into());
    }
    if origin.run_id != target.run_id {
        return Some("it was taken from another process (a restart, or another server took its place)".into());
    }
    if origin.replication_id != target.replication_id {
        return Some("it belongs to another replication history (a failover or another restore)".into());
    }
    (origin.offset > target.offset).then(|| {
        format!("it was taken at offset {}, which this server, at {}, has not reached", origin.offset, target.offset)
    })
}
