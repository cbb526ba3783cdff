//! Assessment of a restore to a moment: that of the set it begins with, and of the commands that are replayed behind it.

use crate::guard::act::{Act, Source};
use crate::guard::assess::Assessment;
use crate::guard::assess::wording::check_time_shift;
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::replay::{Builder, NoMoment, Replay, ReplayedLog, Room};
use crate::guard::facts::restore::{DirectRestore, SourceFacts, TargetFacts};
use crate::guard::impact::{Alternative, Impact};
use crate::guard::preconditions::{Preconditions, ReplayIdentity};
use crate::model::restore::{Method, replay_time};
use crate::model::text::{bytes, clean};
use crate::model::time::{written, written_ms};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The checks that a restore to a moment needs beside those of its set. `takes_back` as for [`restore_time`].
pub(super) fn checks(source: &Source, facts: &DirectRestore, replay: &Replay, takes_back: bool) -> Vec<Precheck> {
    let mut checks = vec![restore_time(replay, &facts.source, takes_back), log_replay(&facts.target, replay)];
    checks.extend(replay.builder.iter().flatten().map(|builder| room_here(builder, "to build the moment here")));
    checks.extend(expiries(source, replay, facts.target.writes.read_at));
    checks
}

/// What will be gone as soon as it is there, behind a sentence.
pub(super) fn on_arrival(source: &Source, replay: &Replay) -> String {
    match expired_since(replay) {
        Some(told) if source.time_shift().is_none() => format!("; {told}: what has expired will be gone"),
        _ => String::new(),
    }
}

/// What has expired between the moment and now, by the set and by the log; `None` where nothing has, or nobody looked at the set.
pub(super) fn expired_since(replay: &Replay) -> Option<String> {
    let of_set = replay.expiring?;
    let mut told = Vec::new();
    if of_set > 0 {
        told.push(format!("up to {of_set} keys of the set have expired since"));
    }
    match replay.expiring_by_log {
        Some(0) => {}
        Some(n) => told.push(format!("up to {n} expiries that the log sets have passed since")),
        None => told.push("how many expiries that the log sets have passed since, nobody has counted".to_owned()),
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// What identifies the commands behind a set.
pub(super) fn identity(set: &SourceFacts, replay: &Replay) -> ReplayIdentity {
    ReplayIdentity { backup_id: set.backup_id.clone(), position: replay.position.clone() }
}

/// What has to be known of a moment that cannot be restored: nothing else was looked at.
pub(super) fn none(act: &Act, facts: &NoMoment) -> Assessment {
    let detail = no_moment(facts);
    let call = match act {
        // What else was asked for must be asked for again: without its filter_key a call is about every key.
        Act::RestoreInstance { source, source_instance_id, write_fence, keys }
            if source_instance_id.is_some() || *write_fence || keys.is_some() =>
        {
            let instead = if matches!(source, Source::Before { .. }) { " in the place of before_position" } else { "" };
            near(facts).map(|at| format!("the same call with restore_time {at}{instead}"))
        }
        _ => near_call(facts, act.verb()),
    };
    let call = call.unwrap_or_else(|| sets_call(facts));
    Assessment {
        address: facts.address.clone(),
        checks: vec![Precheck::new(CheckName::RestoreTime, Status::Block, detail)],
        preconditions: Preconditions::NoMoment { address: facts.address.clone() },
        writes: None,
        needs_safety_backup: false,
        impact: Impact::default(),
        details: BTreeMap::new(),
        alternative: Some(Alternative::offered(call)),
    }
}

/// The moment that is offered in the place of one that there is not, as an argument: the nearest before it, else the nearest after it.
fn near(facts: &NoMoment) -> Option<String> {
    facts.nearest_before.or(facts.nearest_after).map(written_ms)
}

/// The call of a tool that asks for the nearest moment instead; `None` where there is none.
fn near_call(facts: &NoMoment, verb: &str) -> Option<String> {
    near(facts).map(|at| format!("{verb} with instance_id {} and restore_time {at}", facts.instance_id))
}

fn sets_call(facts: &NoMoment) -> String {
    format!("describe_backups with instance_id {}", facts.instance_id)
}

/// The next step where a tool was asked for a moment that there is not.
#[must_use]
pub fn instead_of_moment(facts: &NoMoment, verb: &str) -> String {
    let call = near_call(facts, verb).unwrap_or_else(|| format!("{}: it has the sets", sets_call(facts)));
    format!("Call {call}.")
}

/// Why there is no such moment, and the nearest that there are.
#[must_use]
pub fn no_moment(facts: &NoMoment) -> String {
    let near = [("before", facts.nearest_before), ("after", facts.nearest_after)];
    let near: Vec<String> =
        near.iter().filter_map(|(which, at)| at.map(|at| format!("{} ({which})", written_ms(at)))).collect();
    let near = match near.as_slice() {
        [] => format!("no moment of it can be restored; {} has the sets", sets_call(facts)),
        near => format!("the nearest that can be restored: {}", near.join(", ")),
    };
    format!("{}: {}; {near}", facts.asked, facts.why)
}

/// The moment that is reached, as part of a sentence.
pub(super) fn moment(replay: &Replay) -> String {
    match &replay.log {
        ReplayedLog::Archive { at, .. } => written_ms(*at),
        ReplayedLog::Tail { job_id } => format!("the cutover of {job_id}"),
    }
}

/// What a plan says of the commands behind a set.
pub(super) fn details(set: &SourceFacts, replay: &Replay) -> Vec<(String, String)> {
    let mut all = vec![
        ("base_backup_id", set.backup_id.clone()),
        ("position", replay.position.clone()),
        ("commands_replayed", replay.commands.to_string()),
        ("replay_seconds", seconds(replay).to_string()),
    ];
    if let Some(Ok(builder)) = &replay.builder {
        all.push(("built_on", clean(&builder.program)));
    }
    if let ReplayedLog::Archive { at, precision_ms, window, .. } = &replay.log {
        all.extend([("restored_to", written_ms(*at)), ("precision_ms", precision_ms.to_string())]);
        all.extend(window.map(|(from, to)| ("recovery_window", window_text(from, to))));
    }
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What a plan says of the commands since, where all of the instance that the log is of goes back to the moment.
pub(super) fn taken_back(replay: &Replay) -> Option<(String, String)> {
    let ReplayedLog::Archive { taken_back, .. } = &replay.log else { return None };
    Some(("commands_taken_back".to_owned(), taken_back.to_string()))
}

fn window_text(from: Timestamp, to: Timestamp) -> String {
    format!("{} to {}", written_ms(from), written_ms(to))
}

/// How long the target will apply the log, about.
pub(super) fn seconds(replay: &Replay) -> u64 {
    1 + replay_time(replay.bytes, replay.commands).as_secs()
}

/// The moment. `takes_back`: whether all of the instance that the log is of goes back to it.
pub(super) fn restore_time(replay: &Replay, set: &SourceFacts, takes_back: bool) -> Precheck {
    let behind = format!("{} commands ({}) behind {}", replay.commands, bytes(replay.bytes), set.backup_id);
    let (status, detail) = match &replay.log {
        ReplayedLog::Tail { job_id } => {
            (Status::Pass, format!("the last write accepted before the cutover of {job_id}: {behind}"))
        }
        ReplayedLog::Archive { at, precision_ms, taken_back, window } => {
            let window = window.map(|(from, to)| format!("; the window is {}", window_text(from, to)));
            let known = match precision_ms {
                0 => String::new(),
                ms => format!("; known to {ms} ms, for that part of the log arrived late"),
            };
            let status = if *precision_ms > 1000 { Status::Warn } else { Status::Pass };
            let since = if takes_back { "taken back" } else { "not in it" };
            let detail = format!(
                "{}, position {}: {behind}; {taken_back} commands since are {since}{known}{}",
                written_ms(*at),
                replay.position,
                window.unwrap_or_default()
            );
            (status, detail)
        }
    };
    Precheck::new(CheckName::RestoreTime, status, detail)
}

/// Whether the server that applies the commands will apply every one as it was, and whether it would show that it did not.
fn log_replay(t: &TargetFacts, replay: &Replay) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::LogReplay, status, detail);
    if t.not_ready.is_some() {
        return check(Status::Pass, "not asked: the instance is not ready".into());
    }
    let (server, like) = match (t.method, &replay.builder) {
        (Method::Replication, _) => {
            (format!("the target ({} {})", t.engine, t.version), "into a server like the one that wrote the log")
        }
        (_, Some(Ok(builder))) => (
            format!("the server of our own ({})", clean(&builder.program)),
            "put the program of the server that wrote the log into PATH",
        ),
        (method, Some(Err(lacking))) => {
            return check(Status::Block, format!("{}; {}", built_first(method), clean(lacking)));
        }
        (method, None) => return check(Status::Block, format!("{}; nobody has looked for one", built_first(method))),
    };
    let then = match t.method {
        Method::Replication => "",
        Method::Beside | Method::Commands => "; what it then holds is written to the target by commands",
        Method::Keys => "; what it then holds of the keys is written to the target one by one",
    };
    applies(&server, like, then, replay)
}

/// Whether that server applies every command, and counts what it refuses. `like`: what to do where it does not know one.
pub(super) fn applies(server: &str, like: &str, then: &str, replay: &Replay) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::LogReplay, status, detail);
    if !replay.unknown.is_empty() {
        let names = clean(&replay.unknown.join(", "));
        let detail = format!(
            "{server} does not know {names}, which the log has: it would drop them and go on; restore to before the first of them, or {like}"
        );
        return check(Status::Block, detail);
    }
    if !replay.counts_refusals {
        let detail = format!(
            "{server} does not count what it refuses of its master's commands (unexpected_error_replies), so nobody could tell whether it \
             applied the log"
        );
        return check(Status::Block, detail);
    }
    let detail = format!(
        "{server} knows every command of the log; what it refuses is counted, and one refused command is no restore; about {} s{then}",
        seconds(replay)
    );
    check(Status::Pass, detail)
}

/// Why a moment is built before it goes to the target.
const fn built_first(method: Method) -> &'static str {
    match method {
        Method::Keys => "for some of its keys a moment is built on a server of our own first",
        _ => {
            "the target cannot follow us, as restore_way says; by commands a moment is built on a server of our own first"
        }
    }
}

/// Room on this machine for a server of our own, and for what.
pub(super) fn room_here(builder: &Builder, what: &str) -> Precheck {
    let Builder { memory, disk, .. } = builder;
    let told = |room: &Room, of: &str| match room.free {
        Some(free) => format!("about {} of {of}, {} free", bytes(room.need), bytes(free)),
        None => format!("about {} of {of}, and what is free is not known", bytes(room.need)),
    };
    let lacks = |room: &Room| room.free.is_some_and(|free| free < room.need);
    let status = if lacks(memory) || lacks(disk) {
        Status::Block
    } else if memory.free.is_none() || disk.free.is_none() {
        Status::Warn
    } else {
        Status::Pass
    };
    let detail = format!("{what}: {}; {}", told(memory, "memory"), told(disk, "disk under the home directory"));
    Precheck::new(CheckName::RoomHere, status, detail)
}

/// From when on times to live count, and what will be gone where they count on from the moment itself.
fn expiries(source: &Source, replay: &Replay, now: Timestamp) -> Option<Precheck> {
    let Some(shift) = source.time_shift() else {
        let detail = format!(
            "{}: keys of which that is so at the moment itself will be gone as they arrive; time_shift {} keeps them",
            expired_since(replay)?,
            written(now)
        );
        return Some(Precheck::new(CheckName::TimeShift, Status::Warn, detail));
    };
    let from = if let Source::Moment { restore_time, .. } = source { *restore_time } else { replay.moment };
    let mut check = check_time_shift(shift, from, now);
    if check.status == Status::Pass {
        let moved = (shift.as_millisecond() - from.as_millisecond()) / 1000;
        check.detail =
            format!("{}: every expiry, of keys and of fields of hashes, is moved by {moved} s", check.detail);
    }
    Some(check)
}
