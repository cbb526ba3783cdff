//! Assessment of a clone on this machine: what it is loaded from, what it runs on, and what it costs here. The source instance is left
//! alone, and may be away.

use crate::guard::act::Source;
use crate::guard::assess::direct::backup_verified;
use crate::guard::assess::replay::{
    applies, details, expired_since, identity, moment, on_arrival, restore_time, room_here,
};
use crate::guard::assess::target::expired_by_now;
use crate::guard::assess::wording::describe_counts;
use crate::guard::assess::{Assessment, Earlier};
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::clone::LocalClone;
use crate::guard::facts::replay::Builder;
use crate::guard::facts::restore::SetLook;
use crate::guard::impact::Impact;
use crate::guard::preconditions::{LocalClonePreconditions, Preconditions};
use crate::model::text::{bytes, clean};
use crate::model::time::written;
use std::collections::BTreeMap;

/// The mandatory checks, in the order in which they are shown.
pub(super) fn assess(facts: &LocalClone, source: &Source, earlier: Option<Earlier<'_>>) -> Assessment {
    let LocalClone { instance_id, name, source: set, program, replay, delete, lifetime_hours } = facts;
    let mut checks = vec![backup_verified(set, earlier.is_some()), engine_compatible(program.as_ref())];
    let runs_on = program.as_ref().map(|p| clean(&p.program)).unwrap_or_default();
    if let Some(replay) = replay {
        let server = format!("the server of our own ({runs_on})");
        let like = "put the program of the server that wrote the log into PATH";
        checks.push(restore_time(replay, set, false));
        checks.push(applies(&server, like, "; the clone is loaded from what it then holds", replay));
        checks.extend(expired_since(replay).map(|told| expired(&told)));
    }
    checks.extend(program.iter().map(|builder| room_here(builder, "for the clone, while it lives")));
    let taken = written(set.taken_at);
    let behind = replay.as_ref().map_or_else(String::new, |replay| {
        format!(", and behind it {} commands up to {}{}", replay.commands, moment(replay), on_arrival(source, replay))
    });
    let room = program.as_ref().map_or_else(
        |_| String::new(),
        |builder| {
            format!("; about {} of memory and {} of disk here", bytes(builder.memory.need), bytes(builder.disk.need))
        },
    );
    let mut plan_details: BTreeMap<String, String> =
        [("backup_taken_at", taken.clone()), ("sha256", set.sha256.clone()), ("runs_on", runs_on.clone())]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
    plan_details.extend(replay.iter().flat_map(|replay| details(set, replay)));
    let id = name.as_deref().map_or_else(|| "CLONE_ID".to_owned(), clean);
    let lifetime = if *lifetime_hours == 1 { "1 hour".to_owned() } else { format!("{lifetime_hours} hours") };
    let called =
        name.as_deref().map_or_else(|| "a new instance".to_owned(), |name| format!("a new instance {}", clean(name)));
    Assessment {
        address: "this machine, on a port of its own".into(),
        checks,
        preconditions: Preconditions::LocalClone(LocalClonePreconditions {
            program: program.as_ref().map(|p| p.program.clone()).unwrap_or_default(),
            sha256: set.sha256.clone(),
            stored_digest: stored_digest(&set.look, earlier),
            replay: replay.as_ref().map(|replay| identity(set, replay)),
        }),
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: format!("{} stays as it is", clean(instance_id)),
            after: format!(
                "{called} here with {}{} as of {taken}{behind}; read-only, keys go on expiring in it, and it is gone after {lifetime}",
                describe_counts(&set.counts),
                expired_by_now(set)
            ),
            lost: format!("no data{room}, while it lives"),
            how: "clone".into(),
            how_meaning: format!(
                "a server of our own ({runs_on}) that only this machine reaches, with a password of its own, loads it"
            ),
            way_back: format!("nothing has to be brought back; {delete} {id}, in a terminal, ends the clone at once"),
            ..Impact::default()
        },
        details: plan_details,
        alternative: None,
    }
}

/// Keys that the clone will not have though the moment had them.
fn expired(told: &str) -> Precheck {
    let detail = format!("{told}: keys of which that is so at the moment itself will not be there");
    Precheck::new(CheckName::TimeShift, Status::Warn, detail)
}

/// Whether there is a program that loads it.
fn engine_compatible(program: Result<&Builder, &String>) -> Precheck {
    match program {
        Ok(builder) => {
            let detail = format!("{} loads every type in the set", clean(&builder.program));
            Precheck::new(CheckName::EngineCompatible, Status::Pass, detail)
        }
        Err(lacking) => Precheck::new(CheckName::EngineCompatible, Status::Block, clean(lacking)),
    }
}

/// Which bytes were verified: those of the plan, where the file was not read again.
fn stored_digest(look: &SetLook, earlier: Option<Earlier<'_>>) -> String {
    match (look, earlier.map(|e| e.preconditions)) {
        (SetLook::Verified { stored_digest, .. }, _) => stored_digest.clone(),
        (SetLook::KnownFromPlan, Some(Preconditions::LocalClone(plan))) => plan.stored_digest.clone(),
        (SetLook::KnownFromPlan | SetLook::Damaged(_), _) => String::new(),
    }
}
