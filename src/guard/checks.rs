//! Pre-checks: facts in, a verdict with its figures out. Reads nothing itself.

use crate::guard::plan::{Policy, counts_in_words};
use crate::model::restore::{SafetyFacts, SafetyStatus, SourceFacts, TargetFacts, Way};
use crate::model::text::bytes;
use crate::model::time::written;

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Fine.
    Pass,
    /// Fine to go on, but the person should know.
    Warn,
    /// Not yet; wait.
    Pending,
    /// No restore while this stands.
    Block,
}

impl Status {
    /// The word in replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Pending => "pending",
            Self::Block => "block",
        }
    }
}

/// One pre-check with its figures.
#[derive(Debug, Clone)]
pub struct Precheck {
    /// Stable name.
    pub name: &'static str,
    /// Verdict.
    pub status: Status,
    /// The figures behind it.
    pub detail: String,
}

impl Precheck {
    /// Whether it is about the set that is to be restored, rather than about the instance or the moment.
    #[must_use]
    pub fn is_about_the_set(&self) -> bool {
        matches!(self.name, "backup_exists" | "backup_verified" | "engine_compatible")
    }
}

/// Makes a pre-check.
#[must_use]
pub fn check(name: &'static str, status: Status, detail: impl Into<String>) -> Precheck {
    Precheck { name, status, detail: detail.into() }
}

/// Whether any check blocks.
#[must_use]
pub fn blocked(checks: &[Precheck]) -> bool {
    checks.iter().any(|c| c.status == Status::Block)
}

/// Whether any check still waits.
#[must_use]
pub fn pending(checks: &[Precheck]) -> bool {
    checks.iter().any(|c| c.status == Status::Pending)
}

/// What passed with a warning.
#[must_use]
pub fn warnings(checks: &[Precheck]) -> Vec<String> {
    of(Status::Warn, checks)
}

/// What blocks.
#[must_use]
pub fn blocking(checks: &[Precheck]) -> Vec<String> {
    of(Status::Block, checks)
}

fn of(status: Status, checks: &[Precheck]) -> Vec<String> {
    checks.iter().filter(|c| c.status == status).map(|c| format!("{}: {}", c.name, c.detail)).collect()
}

/// What the person has to be told: what is warned of now, and what the plan warned of that is not looked at again.
#[must_use]
pub fn all_warnings(planned: &[String], now: &[Precheck]) -> Vec<String> {
    let mut all = warnings(now);
    let name = |warning: &str| warning.split(':').next().unwrap_or_default().to_owned();
    let known: Vec<String> = all.iter().map(|w| name(w)).collect();
    all.extend(planned.iter().filter(|w| !known.contains(&name(w))).cloned());
    all
}

/// Judges everything but the safety backup.
#[must_use]
pub fn judge(target: &TargetFacts, source: &SourceFacts, policy: Policy) -> Vec<Precheck> {
    vec![
        ready(target),
        whole(source),
        loadable(target, source),
        way(target),
        write_traffic(target.writes_per_second, target.window_seconds, policy),
        room(target, source),
    ]
}

fn ready(t: &TargetFacts) -> Precheck {
    if !t.not_ready.is_empty() {
        return check("instance_ready", Status::Block, &t.not_ready);
    }
    let serving = format!("{} {} at {} serves, {}", t.engine, t.version, t.address, counts_in_words(&t.counts));
    if t.remarks.is_empty() {
        check("instance_ready", Status::Pass, serving)
    } else {
        check("instance_ready", Status::Warn, format!("{serving}; {}", t.remarks.join("; ")))
    }
}

fn whole(s: &SourceFacts) -> Precheck {
    if !s.damage.is_empty() {
        return check("backup_verified", Status::Block, &s.damage);
    }
    let (status, how) = match (s.looked, s.crc64) {
        (true, true) => (Status::Pass, "SHA-256, CRC64 and structure verified now"),
        (true, false) => (
            Status::Warn,
            "SHA-256 and structure verified now; its server wrote no CRC64 (rdbchecksum no), so damage from before it reached us would not show",
        ),
        (false, _) => (Status::Pass, "verified for the plan; its file is compared again right before the first byte"),
    };
    let detail = format!(
        "{} of {}, {} RDB, {}: {how}",
        s.backup_id,
        written(s.taken_at),
        bytes(s.rdb_bytes),
        counts_in_words(&s.counts)
    );
    check("backup_verified", status, detail)
}

fn loadable(t: &TargetFacts, s: &SourceFacts) -> Precheck {
    if !s.damage.is_empty() {
        return check("engine_compatible", Status::Block, "not judged: the backup is damaged");
    }
    if t.cannot_load.is_empty() {
        check("engine_compatible", Status::Pass, format!("{} {} loads every type in the set", t.engine, t.version))
    } else {
        check("engine_compatible", Status::Block, &t.cannot_load)
    }
}

fn way(t: &TargetFacts) -> Precheck {
    let status = if t.way == Way::Commands { Status::Warn } else { Status::Pass };
    check("restore_way", status, format!("{} ({}): {}", t.way.as_str(), t.way_reason, t.way.meaning()))
}

/// Judges write traffic: so many writes a second, over so many seconds.
#[must_use]
pub fn write_traffic(rate: f64, window_seconds: f64, policy: Policy) -> Precheck {
    let measured = format!("{rate:.2} writes per second over {window_seconds:.1} s");
    if rate > policy.max_writes_per_second {
        let detail = format!(
            "{measured}, {} allowed: stop the writers first; what they write between the safety backup and the restore would be in no backup",
            policy.max_writes_per_second
        );
        check("write_traffic", Status::Block, detail)
    } else if rate > 0.0 {
        check("write_traffic", Status::Warn, format!("{measured}, within the {} allowed", policy.max_writes_per_second))
    } else {
        check("write_traffic", Status::Pass, measured)
    }
}

/// Memory: while `swapdb` loads, the old data and the new are both in memory.
fn room(t: &TargetFacts, s: &SourceFacts) -> Precheck {
    let need = s.used_memory.max(s.rdb_bytes);
    if t.maxmemory > 0 && need > t.maxmemory {
        let detail = format!(
            "the set needs about {}, maxmemory is {}: keys would be evicted or writes refused",
            bytes(need),
            bytes(t.maxmemory)
        );
        return check("room_for_data", Status::Block, detail);
    }
    match t.free_memory {
        Some(free) if t.way == Way::Replication && need > free => {
            let detail = format!(
                "the set needs about {} beside the {} held now until it is swapped in; about {} is free",
                bytes(need),
                bytes(t.used_memory),
                bytes(free)
            );
            check("room_for_data", Status::Block, detail)
        }
        Some(free) => {
            check("room_for_data", Status::Pass, format!("needs about {}, about {} free", bytes(need), bytes(free)))
        }
        None => check(
            "room_for_data",
            Status::Warn,
            format!("needs about {}; the server does not tell what is free", bytes(need)),
        ),
    }
}

/// Judges the backup of what is there now.
#[must_use]
pub fn safety(s: &SafetyFacts) -> Precheck {
    match &s.status {
        SafetyStatus::Running => {
            check("safety_backup", Status::Pending, format!("{} is being taken (job {})", s.backup_id, s.job_id))
        }
        SafetyStatus::Failed(why) => {
            check("safety_backup", Status::Block, format!("what is there now could not be backed up: {why}"))
        }
        SafetyStatus::Whole { keys, taken_at, reused } => {
            let keys = keys.map_or(String::new(), |n| format!(", {n} keys"));
            let how = if *reused { "used again: no write since" } else { "taken for this plan" };
            check("safety_backup", Status::Pass, format!("{} of {}{keys}, {how}", s.backup_id, written(*taken_at)))
        }
    }
}
