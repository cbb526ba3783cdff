//! Assessment of a restore of a server that this program reaches itself.

use crate::guard::assess::replay::{self, identity, moment};
use crate::guard::assess::target::{describe_libraries, expired_by_now, in_place, restore_rights, room_for_data};
use crate::guard::assess::wording::{describe_counts, rollback_pending};
use crate::guard::assess::{Assessment, Earlier, details, pass_or_block};
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::restore::{DirectRestore, MethodReason, NotReady, SetLook, SourceFacts, TargetFacts};
use crate::guard::impact::Impact;
use crate::guard::preconditions::{DirectPreconditions, Preconditions};
use crate::guard::rules::Rules;
use crate::guard::writes::{Since, Writes};
use crate::model::restore::{Method, capture_seconds, refusing_seconds};
use crate::model::text::bytes;
use crate::model::time::written;

/// The mandatory checks, in the order in which they are shown.
pub(super) fn assess(
    facts: &DirectRestore,
    write_fence: bool,
    earlier: Option<Earlier<'_>>,
    rules: Rules,
) -> Assessment {
    let DirectRestore { target, source, running, pending_rollback, replay, keys } = facts;
    let traffic = Traffic::of(target, earlier.and_then(|e| e.writes));
    let mut checks = vec![
        instance_ready(target, source),
        backup_verified(source, earlier.is_some()),
        engine_compatible(target, source),
        restore_way(target, source),
        restore_rights(target),
        traffic.judge(rules, target.method),
    ];
    // What some of the keys need is judged with them.
    checks.extend(keys.is_none().then(|| room_for_data(target, source)));
    checks.extend(write_fence.then(|| fence(target, source, replay.as_ref().map_or(0, replay::seconds))));
    checks.extend(running.as_ref().map(|job| {
        let detail = format!("{} job {} is running on this instance", job.kind, job.id);
        Precheck::new(CheckName::InstanceIdle, Status::Pending, detail)
    }));
    checks.extend(pending_rollback.as_deref().map(rollback_pending));
    let taken = written(source.taken_at);
    let (since, behind) = match replay {
        None => (taken.clone(), String::new()),
        Some(replay) => {
            (moment(replay), format!(", and behind it {} commands up to {}", replay.commands, moment(replay)))
        }
    };
    let mut details = details([("backup_taken_at", taken.clone()), ("sha256", source.sha256.clone())]);
    details.extend(replay.iter().flat_map(|replay| replay::details(source, replay)));
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
            stored_digest: stored_digest(source, earlier),
            replay: replay.as_ref().map(|replay| identity(source, replay)),
        }),
        writes: Some(Writes { traffic: traffic.any(), ..target.writes }),
        needs_safety_backup: true,
        impact: Impact {
            now: format!(
                "{}{}, {}",
                describe_counts(&target.counts),
                describe_libraries(&target.libraries, ", "),
                bytes(target.used_memory)
            ),
            after: format!("{}{} as of {taken}{behind}", describe_counts(&source.counts), after(source)),
            lost: format!(
                "all of what is there now{}, and every change since {since}",
                describe_libraries(&target.libraries, ", also ")
            ),
            how: target.method.as_str().into(),
            how_meaning: target.method.meaning().into(),
            way_back: String::new(),
            keys: None,
        },
        details,
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
fn stored_digest(source: &SourceFacts, earlier: Option<Earlier<'_>>) -> String {
    match (&source.look, earlier.map(|e| e.preconditions)) {
        (SetLook::Verified { stored_digest, .. }, _) => stored_digest.clone(),
        (SetLook::KnownFromPlan, Some(Preconditions::DirectRestore(plan))) => plan.stored_digest.clone(),
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
    // By commands it stays a master, whose replicas get what is written.
    let follows = t.method == Method::Replication;
    if t.sentinel && follows {
        remarks.push(
            "Sentinel watches it, and may fail over while it loads as our replica: pause that for a large set".into(),
        );
    }
    if t.replicas > 0 && follows {
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

pub(super) fn backup_verified(s: &SourceFacts, planned: bool) -> Precheck {
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
    let libraries = match &s.look {
        SetLook::Verified { .. } if s.functions > 0 => {
            "; of function libraries the first line: their code is compiled by the server that loads it"
        }
        _ => "",
    };
    let detail = format!(
        "{} of {}, {} RDB, {}: {how}{libraries}",
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
    let types = if t.method == Method::Keys {
        "takes every type among the keys that match"
    } else {
        "loads every type in the set"
    };
    let loads = format!("{} {} {types}", t.engine, t.version);
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
        MethodReason::SomeKeys => "only keys that match are written",
        MethodReason::Watched => "Sentinel watches it, and would fail over if it followed us for long",
        MethodReason::NotJudged => "not judged",
    };
    let (status, lost) = match (t.method, &s.look) {
        (Method::Replication, _) if t.method_reason == MethodReason::CanFollowInClear => (Status::Warn, ""),
        (Method::Replication, _) => (Status::Pass, ""),
        (Method::Commands | Method::Beside, SetLook::Verified { module_data: true, .. }) => {
            (Status::Warn, "; what modules keep beside the keys, such as search indexes, is LOST")
        }
        (Method::Beside | Method::Keys, _) => (Status::Pass, ""),
        (Method::Commands, _) => (Status::Warn, ""),
    };
    let in_place = t.in_place.as_ref().map(|why| format!("; in place, for {}", in_place(why))).unwrap_or_default();
    let detail = format!("{} ({reason}{lost}{in_place}): {}", t.method.as_str(), t.method.meaning());
    Precheck::new(CheckName::RestoreWay, status, detail)
}

/// Write traffic as it was found out.
enum Traffic {
    /// Measured over a window, for a plan: writes a second, and the window's seconds.
    Measured(f64, f64),
    /// Since the plan.
    SincePlan {
        since: Since,
        rate: f64,
        seconds: f64,
        /// Whether the count is of the stream behind the safety backup, and so exact.
        streamed: bool,
    },
    /// Neither measured nor planned: unknown traffic is not "no traffic".
    Unknown,
}

impl Traffic {
    fn of(target: &TargetFacts, planned: Option<Writes>) -> Self {
        let now = target.writes;
        match (target.measured, planned) {
            (Some((rate, seconds)), _) => Self::Measured(rate, seconds),
            (None, Some(then)) => Self::SincePlan {
                since: now.since(then),
                rate: now.rate_since(then),
                seconds: now.seconds_since(then),
                streamed: now.streamed.is_some(),
            },
            (None, None) => Self::Unknown,
        }
    }

    fn any(&self) -> bool {
        match self {
            Self::Measured(rate, _) => *rate > 0.0,
            Self::SincePlan { since, .. } => *since != Since::Nothing,
            Self::Unknown => true,
        }
    }

    fn judge(&self, rules: Rules, method: Method) -> Precheck {
        let check = |status, detail: String| Precheck::new(CheckName::WriteTraffic, status, detail);
        let (rate, measured) = match self {
            Self::Unknown => return check(Status::Block, "nobody has measured it".into()),
            Self::Measured(rate, seconds) => (*rate, format!("{rate:.2} writes per second over {seconds:.1} s")),
            Self::SincePlan { since: Since::Unknown, .. } => {
                (0.0, "the server's statistics were reset since the plan, so its writes cannot be counted".into())
            }
            Self::SincePlan { since, rate, seconds, streamed } => {
                let n = if let Since::Counted(n) = since { *n } else { 0 };
                let since = if *streamed { "after the safety backup so far" } else { "since the plan" };
                (*rate, format!("{n} writes {since}, {rate:.2} writes per second over {seconds:.1} s"))
            }
        };
        match rules.max_writes_per_second {
            Some(limit) if rate > limit => check(
                Status::Block,
                format!("{measured}, {limit} allowed (max_writes_per_second): stop the writers first"),
            ),
            _ if self.any() && method == Method::Keys => check(
                Status::Warn,
                format!(
                    "{measured}: what is written to keys that match and that the last safety backup has, from then until their turn, is \
                     OVERWRITTEN or removed; it is counted and kept, and where a server of our own can be built, the end names the call that \
                     brings it back; keys that are made meanwhile, and all other keys, stay as they are written"
                ),
            ),
            _ if self.any() => check(
                Status::Warn,
                format!(
                    "{measured}: what is written after the last safety backup is overwritten; it is counted and kept, and where the \
                     target can follow us, or a server of our own can be built, the end names the call that brings it back"
                ),
            ),
            _ => check(Status::Pass, measured),
        }
    }
}

fn fence(t: &TargetFacts, s: &SourceFacts, replay_seconds: u64) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::WriteFence, status, detail);
    if t.method != Method::Replication {
        let detail = "by commands there is no write fence: what is written here would wait behind it as well";
        return check(Status::Block, detail.into());
    }
    // A server waits up to five seconds for other replicas before it captures.
    let wait = capture_seconds(t.used_memory);
    let refused = refusing_seconds(s.rdb_bytes, replay_seconds);
    let detail = format!(
        "writers wait for about {wait} to {} s while the last safety backup is taken, unless nothing was written since the plan's; \
         then writes are refused for about {refused} s, by size",
        wait + 5
    );
    check(Status::Warn, detail)
}
