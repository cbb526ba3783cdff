//! What a target could refuse or lose, judged before anybody is asked: rights, limits, room, and what is there beside keys.

use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::restore::{InPlaceReason, Libraries, SourceFacts, TargetFacts};
use crate::guard::facts::rights::{Right, rules};
use crate::guard::room::{evicts, fits_beside, need};
use crate::model::instance::total_keys;
use crate::model::restore::Method;
use crate::model::text::{bytes, clean};

/// Of a memory limit, the share above which an estimate of what the set needs is no promise, in percent.
const TIGHT_PERCENT: u64 = 90;

/// The function libraries of a target, as a part of a sentence behind `lead`; nothing where it has none.
pub(super) fn describe_libraries(libraries: &Libraries, lead: &str) -> String {
    let Libraries { count, names } = libraries;
    let noun = match count {
        0 => return String::new(),
        1 => "1 function library".to_owned(),
        n => format!("{n} function libraries"),
    };
    let more = count.saturating_sub(names.len() as u64);
    match (names.is_empty(), more) {
        (true, _) => format!("{lead}{noun}"),
        (false, 0) => format!("{lead}{noun} ({})", names.join(", ")),
        (false, more) => format!("{lead}{noun} ({} and {more} more)", names.join(", ")),
    }
}

/// Why a restore by commands begins by emptying its target, as part of a sentence.
pub(super) fn in_place(why: &InPlaceReason) -> String {
    match why {
        InPlaceReason::Cluster => "a cluster's node has one database".into(),
        InPlaceReason::Databases => "it has too few empty databases to load the set beside the old data".into(),
        InPlaceReason::Room { need } => format!("the set, about {}, does not fit beside the old data", bytes(*need)),
        InPlaceReason::Rights(rules) => format!("loading beside the old data needs {}", clean(rules)),
    }
}

/// How many keys of the set will not be there, for their expiry has passed.
pub(super) fn expired_by_now(s: &SourceFacts) -> String {
    match s.expired {
        None | Some(0) => String::new(),
        Some(n) if n >= total_keys(&s.counts) => ", all of which have expired by now and will be gone".into(),
        Some(n) => format!(", {n} of which have expired by now and will be gone"),
    }
}

/// Whether every step of the way can be taken. What is found here costs nobody's yes.
pub(super) fn restore_rights(t: &TargetFacts) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::RestoreRights, status, detail);
    if t.not_ready.is_some() {
        return check(Status::Pass, "not asked: the instance is not ready".into());
    }
    let of = |wanted: fn(&Right) -> bool| rules(&t.rights, wanted).join(" ");
    let denied = of(|r| *r == Right::Denied);
    let absent = of(|r| *r == Right::Absent);
    let unknown = of(|r| *r == Right::Unknown);
    let refused = t.rights.iter().find_map(|s| match &s.right {
        Right::Refused(why) => Some(format!("the server refuses what {} allows now: {}", s.rule, clean(why))),
        _ => None,
    });
    let mut blocks = Vec::new();
    if !denied.is_empty() {
        blocks.push(format!("the user lacks {denied}, which this restore by {} needs", t.method.as_str()));
    }
    if !absent.is_empty() {
        blocks.push(format!("the server has no command for {absent}: renamed, hidden, or newer than it"));
    }
    blocks.extend(refused);
    if !blocks.is_empty() {
        return check(Status::Block, blocks.join("; "));
    }
    let mut unread = t.unread.clone();
    if !unknown.is_empty() {
        unread.push(format!(
            "{unknown} could not be tested without doing it (neither +acl|dryrun nor +multi): if one is refused, the restore fails"
        ));
    }
    if unread.is_empty() {
        check(Status::Pass, format!("the user has {}", rules(&t.rights, |_| true).join(" ")))
    } else {
        check(Status::Warn, unread.join("; "))
    }
}

/// Memory: while the set is loaded beside the old data, both are there.
pub(super) fn room_for_data(t: &TargetFacts, s: &SourceFacts) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::RoomForData, status, detail);
    let need = need(s.used_memory, s.rdb_bytes, t.unpacked);
    let about = if t.unpacked > 0 {
        format!(
            "about {} there, where {} elements that the set has packed are kept unpacked by the target's settings",
            bytes(need),
            t.unpacked
        )
    } else {
        format!("about {}", bytes(need))
    };
    let policy = if t.eviction_policy.is_empty() { "not told" } else { &t.eviction_policy };
    if t.maxmemory > 0 && need > t.maxmemory {
        let result = if evicts(t.maxmemory, &t.eviction_policy) {
            format!("about {} of the set would be evicted (maxmemory-policy {policy})", bytes(need - t.maxmemory))
        } else {
            "writes would be refused".into()
        };
        let detail = format!("the set needs {about}, maxmemory is {}: {result}", bytes(t.maxmemory));
        return check(Status::Block, detail);
    }
    let beside = t.method != Method::Commands;
    match t.free_memory {
        Some(free) if beside && !fits_beside(need, 0, 0, Some(free)) => {
            let detail = format!(
                "the set needs {about} beside the {} held now until it takes over; about {} is free",
                bytes(t.used_memory),
                bytes(free)
            );
            return check(Status::Block, detail);
        }
        _ => {}
    }
    if evicts(t.maxmemory, &t.eviction_policy) && need > t.maxmemory / 100 * TIGHT_PERCENT {
        let detail = format!(
            "needs {about}, maxmemory is {} and the target evicts keys there (maxmemory-policy {policy}): it may evict some of what is restored",
            bytes(t.maxmemory)
        );
        return check(Status::Warn, detail);
    }
    match t.free_memory {
        Some(free) => check(Status::Pass, format!("needs {about}, about {} free", bytes(free))),
        None => check(Status::Warn, format!("needs {about}; the server does not tell what is free")),
    }
}
