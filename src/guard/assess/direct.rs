//! Assessment of a restore of a server that this program reaches itself.

use crate::guard::assess::target::{describe_libraries, expired_by_now, in_place, restore_rights, room_for_data};
use crate::guard::assess::wording::describe_counts;
use crate::guard::assess::{Assessment, Earlier, details, pass_or_block};
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::restore::{DirectRestore, MethodReason, NotReady, SetLook, SourceFacts, TargetFacts};
use crate::guard::impact::Impact;
use crate::guard::preconditions::{DirectPreconditions, Preconditions};
use crate::guard::rules::Rules;
use crate::model::restore::Method;
use crate::model::text::bytes;
use crate::model::time::written;

/// The mandatory checks, in the order in which they are shown.
pub(super) fn assess(facts: &DirectRestore, earlier: Option<Earlier<'_>>, rules: Rules) -> Assessment {
    let DirectRestore { target, source, running, pending_rollback } = facts;
    let (rate, seconds) = match (target.measured, earlier.and_then(|e| e.writes)) {
        (Some(measured), _) => measured,
        (None, Some(then)) => target.writes.traffic_since(then),
        // Neither measured nor planned: the traffic is unknown, and unknown traffic is not "no traffic".
        (None, None) => (f64::INFINITY, 0.0),
    };
    let mut checks = vec![
        instance_ready(target, source),
        backup_verified(source, earlier.is_some()),
        engine_compatible(target, source),
        restore_way(target, source),
        restore_rights(target),
        write_traffic(rate, seconds, rules),
        room_for_data(target, source),
    ];
    checks.extend(running.as_ref().map(|job| {
        let detail = format!("{} job {} is running on this instance", job.kind, job.id);
        Precheck::new(CheckName::InstanceIdle, Status::Pending, detail)
    }));
    checks.extend(pending_rollback.as_ref().map(|id| {
        let detail = format!(
            "the rollback of restore {id} is pending: describe_jobs tries it again and says what to look at; a person who has looked can clear it at a terminal (clear-rollback)"
        );
        Precheck::new(CheckName::InstanceIdle, Status::Block, detail)
    }));
    let taken = written(source.taken_at);
    Assessment {
        address: target.address.clone(),
        checks,
        preconditions: Preconditions::DirectRestore(DirectPreconditions {
            address: target.address.clone(),
            run_id: target.run_id.clone(),
            replication_id: target.replication_id.clone(),
            slots: target.slots.clone(),
            method: target.method,
            sha256: source.sha256.clone(),
            stored_sha256: stored_sha256(source, earlier),
        }),
        writes: Some(target.writes),
        needs_safety_backup: true,
        impact: Impact {
            now: format!(
                "{}{}, {}",
                describe_counts(&target.counts),
                describe_libraries(&target.libraries, ", "),
                bytes(target.used_memory)
            ),
            after: format!("{}{} as of {taken}", describe_counts(&source.counts), after(source)),
            lost: format!(
                "all of what is there now{}, and every change since {taken}",
                describe_libraries(&target.libraries, ", also ")
            ),
            how: target.method.as_str().into(),
            how_meaning: target.method.meaning().into(),
            way_back: String::new(),
        },
        details: details([("backup_taken_at", taken), ("sha256", source.sha256.clone())]),
        alternative: None,
    }
}

/// What the person has to know of the set beside its key counts.
fn after(s: &SourceFacts) -> String {
    let libraries = match s.functions {
        0 => String::new(),
        1 => ", 1 function library".into(),
        n => format!(", {n} function libraries"),
    };
    format!("{}{libraries}", expired_by_now(s))
}

/// Which bytes were verified: those of the plan, where the file was not read again.
fn stored_sha256(source: &SourceFacts, earlier: Option<Earlier<'_>>) -> String {
    match (&source.look, earlier.map(|e| e.preconditions)) {
        (SetLook::Verified { stored_sha256, .. }, _) => stored_sha256.clone(),
        (SetLook::KnownFromPlan, Some(Preconditions::DirectRestore(plan))) => plan.stored_sha256.clone(),
        (SetLook::KnownFromPlan | SetLook::Damaged(_), _) => String::new(),
    }
}

fn instance_ready(t: &TargetFacts, s: &SourceFacts) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::InstanceReady, status, detail);
    match &t.not_ready {
        Some(NotReady::Loading) => {
            return check(Status::Block, "the instance is loading its data; wait until it serves".into());
        }
        Some(NotReady::Replica { host, port }) => {
            let detail = format!("the instance is a replica of {host}:{port}; restore that one, replicas follow");
            return check(Status::Block, detail);
        }
        Some(NotReady::Refused(why)) => return check(Status::Block, why.clone()),
        None => {}
    }
    let serving = format!("{} {} at {} serves, {}", t.engine, t.version, t.address, describe_counts(&t.counts));
    let mut remarks: Vec<String> = Vec::new();
    if t.sentinel {
        remarks.push(
            "Sentinel watches it, and may fail over while it loads as our replica: pause that for a large set".into(),
        );
    }
    if t.replicas > 0 {
        remarks.push(format!("{} replicas are attached and will copy everything anew", t.replicas));
    }
    if t.append_only {
        remarks.push("its append-only file will be rewritten".into());
    }
    if !s.origin_known {
        remarks
            .push("the backup's user could not read INFO, so which process it was taken from is not recorded".into());
    }
    if remarks.is_empty() {
        check(Status::Pass, serving)
    } else {
        check(Status::Warn, format!("{serving}; {}", remarks.join("; ")))
    }
}

fn backup_verified(s: &SourceFacts, planned: bool) -> Precheck {
    let (status, how) = match &s.look {
        SetLook::Damaged(why) => return Precheck::new(CheckName::BackupVerified, Status::Block, why),
        SetLook::Verified { crc64: true, .. } => {
            (Status::Pass, "SHA-256, CRC64, structure and the inside of every value verified now")
        }
        SetLook::Verified { crc64: false, .. } => (
            Status::Warn,
            "SHA-256, structure and the inside of every value verified now, WITHOUT CRC64: its server wrote none (rdbchecksum no), so bytes that changed before they reached us and still make sense would not show",
        ),
        SetLook::KnownFromPlan if !planned => {
            let detail = "the backup was not looked at, and there is no plan that it was verified for";
            return Precheck::new(CheckName::BackupVerified, Status::Block, detail);
        }
        SetLook::KnownFromPlan if s.without_crc64 => (
            Status::Warn,
            "verified for the plan, WITHOUT CRC64: its server wrote none; its file is compared again right before the first byte",
        ),
        SetLook::KnownFromPlan => {
            (Status::Pass, "verified for the plan; its file is compared again right before the first byte")
        }
    };
    let detail = format!(
        "{} of {}, {} RDB, {}: {how}",
        s.backup_id,
        written(s.taken_at),
        bytes(s.rdb_bytes),
        describe_counts(&s.counts)
    );
    Precheck::new(CheckName::BackupVerified, status, detail)
}

fn engine_compatible(t: &TargetFacts, s: &SourceFacts) -> Precheck {
    if matches!(s.look, SetLook::Damaged(_)) {
        return Precheck::new(CheckName::EngineCompatible, Status::Block, "not judged: the backup is damaged");
    }
    let loads = format!("{} {} loads every type in the set", t.engine, t.version);
    pass_or_block(CheckName::EngineCompatible, t.cannot_load.as_deref(), loads)
}

fn restore_way(t: &TargetFacts, s: &SourceFacts) -> Precheck {
    let reason = match &t.method_reason {
        MethodReason::CanFollow => "it can follow us",
        MethodReason::CanFollowInClear => {
            "it can follow us; allow_plain_replication is set, so the whole data and a one-time password cross the network IN CLEAR, not encrypted"
        }
        MethodReason::WouldBeInClear => {
            "the instance is reached by TLS, and replication from us would send its data in clear; allow_plain_replication = true would allow that"
        }
        MethodReason::Configured => "the configuration says so: restore_way = \"commands\"",
        MethodReason::CannotFollow(why) => why,
        MethodReason::Watched => "Sentinel watches it, and would fail over if it followed us for long",
        MethodReason::NotJudged => "not judged",
    };
    let (status, lost) = match (t.method, &s.look) {
        (Method::Replication, _) if t.method_reason == MethodReason::CanFollowInClear => (Status::Warn, ""),
        (Method::Replication, _) => (Status::Pass, ""),
        (Method::Commands | Method::Beside, SetLook::Verified { module_data: true, .. }) => {
            (Status::Warn, "; what modules keep beside the keys, such as search indexes, is LOST")
        }
        (Method::Beside, _) => (Status::Pass, ""),
        (Method::Commands, _) => (Status::Warn, ""),
    };
    let in_place = t.in_place.as_ref().map(|why| format!("; in place, for {}", in_place(why))).unwrap_or_default();
    let detail = format!("{} ({reason}{lost}{in_place}): {}", t.method.as_str(), t.method.meaning());
    Precheck::new(CheckName::RestoreWay, status, detail)
}

/// Judges write traffic: `rate` writes a second, over `window_seconds`.
fn write_traffic(rate: f64, window_seconds: f64, rules: Rules) -> Precheck {
    let measured = format!("{rate:.2} writes per second over {window_seconds:.1} s");
    let limit = rules.max_writes_per_second;
    let (status, detail) = if rate > limit {
        let detail = format!(
            "{measured}, {limit} allowed: stop the writers first; what they write between the safety backup and the restore would be in no backup"
        );
        (Status::Block, detail)
    } else if rate > 0.0 {
        (Status::Warn, format!("{measured}, within the {limit} allowed"))
    } else {
        (Status::Pass, measured)
    };
    Precheck::new(CheckName::WriteTraffic, status, detail)
}
