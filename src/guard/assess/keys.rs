//! Assessment of a restore of some keys: what the list matches, what becomes of those keys, and room for them.

use crate::guard::assess::Assessment;
use crate::guard::assess::replay::moment;
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::keys::{KeysFacts, Matched, MatchedInTarget};
use crate::guard::facts::restore::{DirectRestore, SourceFacts, TargetFacts};
use crate::guard::room::{evicts, need_of_some};
use crate::model::instance::total_keys;
use crate::model::key_filter::SomeKeys;
use crate::model::slots::HeldSlots;
use crate::model::text::{bytes, quoted};
use crate::model::time::written;

/// Adds the checks, and says what is lost: nothing but what matches.
pub(super) fn assess(some: &SomeKeys, facts: &KeysFacts, of: &DirectRestore, assessment: &mut Assessment) {
    let source = if of.replay.is_some() { BEGINS_WITH } else { "the source" };
    assessment.checks.push(filter_key(facts, source));
    assessment.details.insert("filter_key".to_owned(), facts.filter.items.join(","));
    assessment.details.extend(some.add_prefix.clone().map(|prefix| ("add_prefix".to_owned(), prefix)));
    let Some(matched) = &facts.matched else { return };
    assessment.checks.push(room(&of.target, &of.source, matched));
    assessment.details.insert("keys_matched".to_owned(), by_pattern(matched, source));
    let then = of.replay.as_ref().map_or_else(|| written(of.source.taken_at), moment);
    let impact = &mut assessment.impact;
    // What the log behind a set does to its keys is known when the moment has been built.
    let exactly = if of.replay.is_some() { "about " } else { "" };
    let under =
        some.add_prefix.as_ref().map(|prefix| format!(" under the prefix {}", quoted(prefix))).unwrap_or_default();
    impact.after =
        format!("{exactly}{} keys that match{under}, as of {then}; all other keys as they are", matched.source);
    if matched.expired > 0 {
        impact
            .after
            .push_str(&format!("; {} more had an expiry that has passed, and count as not there", matched.expired));
    }
    impact.lost = match matched.target {
        Some(MatchedInTarget { keys, shared, removed }) if some.removes() => format!(
            "of {keys} keys that match now the values of {shared}, which become those of then; {exactly}{removed} that were not there then, or have expired since, are DELETED; nothing else{}",
            stay(matched.removed_in.as_ref(), Some(keys.saturating_sub(shared + removed)))
        ),
        Some(MatchedInTarget { shared, .. }) => {
            format!(
                "the values of {exactly}{shared} keys that are called so now; no key is deleted, and nothing else is touched"
            )
        }
        None if some.removes() => {
            let deleted = match matched.removed_in {
                Some(_) => ", and those of them that were not there then, or have expired since, altogether (DELETED)",
                None => "",
            };
            let what = format!("the values of all keys that match now{deleted}; nothing else");
            format!("{what}{}", stay(matched.removed_in.as_ref(), None))
        }
        None => "the values of keys that are called so now; no key is deleted, and nothing else is touched".into(),
    };
    if of.replay.is_some() {
        let deleted = if some.removes() { ", and so how many are DELETED," } else { "" };
        let known = format!(
            "; these figures are of {BEGINS_WITH}: what the log behind it makes of them{deleted} is known when the moment has been built"
        );
        impact.lost.push_str(&known);
    }
}

/// The set behind which a log is replayed: what is counted is counted in it, and not at the moment.
const BEGINS_WITH: &str = "the set that the moment begins with";

/// Which keys that match stay although the source does not have them: those that it could not have. `n`: how many, where they were counted.
fn stay(removed_in: Option<&HeldSlots>, n: Option<u64>) -> String {
    let n = match n {
        Some(0) => return String::new(),
        Some(n) => format!("{n} others that match"),
        None => "others that match".to_owned(),
    };
    match removed_in {
        Some(HeldSlots::All) => String::new(),
        Some(_) => format!("; {n} STAY where they are in slots of the cluster that the source did not serve then"),
        None => format!(
            "; {n} STAY, for it is not known which slots of the cluster the source served then: none is deleted"
        ),
    }
}

/// How many keys each expression matches.
fn by_pattern(matched: &Matched, source: &str) -> String {
    let each = matched.patterns.iter().map(|p| {
        let target = p.target.map_or_else(|| "not counted".to_owned(), |n| n.to_string());
        format!("{}: {} in {source}, {target} in the instance", p.pattern, p.source)
    });
    each.collect::<Vec<_>>().join("; ")
}

fn filter_key(facts: &KeysFacts, source: &str) -> Precheck {
    let mut parts = facts.filter.warnings.clone();
    let counted = match &facts.matched {
        None => "whole keys are matched; they were counted for the plan".to_owned(),
        Some(matched) => {
            let nothing =
                |p: &&_| matches!(p, crate::guard::facts::keys::PatternKeys { source: 0, target: Some(0), .. });
            parts.extend(matched.patterns.iter().filter(nothing).map(|p| {
                let at_all = if source == BEGINS_WITH { "of that set, nor of the instance" } else { "at all" };
                format!("{} matches no key {at_all}", quoted(&p.pattern))
            }));
            if matched.target.is_none() {
                parts.push("the instance has so many keys that those which match were not counted in time".into());
            }
            format!("whole keys are matched: {}", by_pattern(matched, source))
        }
    };
    let status = if parts.is_empty() { Status::Pass } else { Status::Warn };
    parts.push(counted);
    Precheck::new(CheckName::FilterKey, status, parts.join("; "))
}

/// Memory: what is written is there beside the rest, and may take the place of as much.
fn room(t: &TargetFacts, s: &SourceFacts, matched: &Matched) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::RoomForData, status, detail);
    let need = need_of_some(s.used_memory, (matched.bytes, matched.source), (s.rdb_bytes, total_keys(&s.counts)));
    let about = format!("the keys need about {}", bytes(need));
    if t.maxmemory > 0 && t.used_memory.saturating_add(need) > t.maxmemory {
        let result = if evicts(t.maxmemory, &t.eviction_policy) {
            "keys may be evicted"
        } else {
            "writes may be refused half way"
        };
        let detail = format!("{about}; {} is used of maxmemory {}: {result}", bytes(t.used_memory), bytes(t.maxmemory));
        return check(Status::Warn, detail);
    }
    match t.free_memory {
        Some(free) if free < need => check(Status::Block, format!("{about}, and about {} is free", bytes(free))),
        _ => check(Status::Pass, about),
    }
}
