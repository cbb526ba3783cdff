//! A restore of some keys says what becomes of those, and of no others; and it is judged by what they need.

use crate::guard::assess::passing;
use tair_backup_mcp::config::guard::ConfirmationPolicy;
use tair_backup_mcp::guard::act::{Act, Source};
use tair_backup_mcp::guard::assess::{Assessment, assess};
use tair_backup_mcp::guard::check::{Status, of_status};
use tair_backup_mcp::guard::facts::Facts;
use tair_backup_mcp::guard::facts::keys::{KeysFacts, Matched, MatchedInTarget, PatternKeys};
use tair_backup_mcp::guard::facts::restore::{DirectRestore, MethodReason, TargetFacts};
use tair_backup_mcp::guard::rules::Rules;
use tair_backup_mcp::model::key_filter::{SomeKeys, for_us};
use tair_backup_mcp::model::restore::Method;
use tair_backup_mcp::model::slots::HeldSlots;

const RULES: Rules = Rules { confirmation: ConfirmationPolicy::Person, max_writes_per_second: None };

/// A restore of some keys is told in its own figures; facts without those are no answer, and neither are its facts to a restore of all.
#[test]
fn some_keys_are_judged_by_their_own_figures() {
    let keys = || Some(SomeKeys { filter_key: "a.*,b".into(), add_prefix: None });
    let act = |keys| {
        let source = Source::Backup { backup_id: "b-1".into() };
        Act::RestoreInstance { source, write_fence: false, source_instance_id: None, keys }
    };
    let found_in = |target: Option<(u64, u64)>, removed_in: Option<HeldSlots>| {
        let pattern = |pattern: &str, source, target| PatternKeys { pattern: pattern.into(), source, target };
        let matched = Matched {
            patterns: vec![pattern("a.*", 7, target.map(|t| t.0)), pattern("b", 0, target.map(|_| 0))],
            source: 7,
            expired: 2,
            bytes: 700,
            target: target.map(|(keys, shared)| MatchedInTarget {
                keys,
                shared,
                removed: if removed_in.is_some() { 2 } else { 0 },
            }),
            removed_in,
        };
        Some(KeysFacts { filter: for_us("a.*,b").unwrap(), matched: Some(matched) })
    };
    let found = |target| found_in(target, Some(HeldSlots::All));
    let judged = |keys, facts: Option<KeysFacts>, change: fn(&mut TargetFacts)| {
        let mut all = DirectRestore { keys: facts, ..passing() };
        (all.target.method, all.target.method_reason) = (Method::Keys, MethodReason::SomeKeys);
        change(&mut all.target);
        assess(&act(keys), &Facts::DirectRestore(Box::new(all)), None, RULES).map_err(|fault| fault.code)
    };
    let same: fn(&mut TargetFacts) = |_| ();
    let told = judged(keys(), found(Some((5, 3))), same).unwrap();
    assert!(of_status(Status::Block, &told.checks).is_empty(), "{:?}", told.checks);
    let check = |told: &Assessment, name: &str| told.checks.iter().find(|c| c.name.as_str() == name).unwrap().clone();
    let filter = check(&told, "filter_key");
    assert!(filter.status == Status::Warn && filter.detail.contains("\"b\" matches no key at all"), "{filter:?}");
    assert!(filter.detail.contains("a.*: 7 in the source, 5 in the instance"), "{filter:?}");
    assert!(
        told.impact.after.starts_with("7 keys that match, as of ") && told.impact.after.contains("2 more"),
        "{told:?}"
    );
    assert!(
        told.impact.lost.contains("of 5 keys that match now the values of 3")
            && told
                .impact
                .lost
                .contains("2 that were not there then, or have expired since, are DELETED; nothing else"),
        "{told:?}"
    );
    assert_eq!((told.impact.how.as_str(), told.details["filter_key"].as_str()), ("keys", "a.*,b"));
    let uncounted = judged(keys(), found(None), same).unwrap();
    assert!(uncounted.impact.lost.contains("all keys that match now"), "{uncounted:?}");
    assert_eq!(check(&uncounted, "filter_key").status, Status::Warn);
    // What may have been on another node of a cluster stays, and is told.
    let some = || Some(HeldSlots::Node { id: "a".into(), epoch: 1, ranges: vec![(0, 8000)] });
    let lost = |target, removed_in| judged(keys(), found_in(target, removed_in), same).unwrap().impact.lost;
    let elsewhere = lost(Some((9, 3)), some());
    assert!(
        elsewhere.contains("; 2 that were not there then") && elsewhere.contains("4 others that match STAY"),
        "{elsewhere}"
    );
    let unknown = lost(Some((9, 3)), None);
    assert!(
        unknown.contains("; 0 that were not there then")
            && unknown.contains("6 others that match STAY, for it is not known"),
        "{unknown}"
    );
    assert!(lost(None, some()).contains("(DELETED); nothing else; others that match STAY where"));
    assert!(lost(None, None).contains("not known") && !lost(None, None).contains("DELETED"));
    let prefixed = Some(SomeKeys { add_prefix: Some("old:".into()), ..keys().unwrap() });
    let beside = judged(prefixed, found(Some((1, 1))), same).unwrap();
    assert!(
        beside.impact.lost.contains("no key is deleted") && beside.impact.after.contains("under the prefix \"old:\""),
        "{beside:?}"
    );
    // Room is judged by the keys, and a limit that they may pass is told.
    let tight = judged(keys(), found(Some((5, 3))), |t| (t.maxmemory, t.used_memory) = (1000, 400)).unwrap();
    assert_eq!(check(&tight, "room_for_data").status, Status::Warn);
    let full = judged(keys(), found(Some((5, 3))), |t| t.free_memory = Some(699)).unwrap();
    assert_eq!(check(&full, "room_for_data").status, Status::Block);
    for (keys, facts) in [(keys(), None), (None, found(None))] {
        assert_eq!(judged(keys, facts, same).unwrap_err(), "act.unsupported");
    }
}
