//! The verdicts of pruning: a set stays where any rule keeps it, what stands in for no other counts for none, and the last good set, what is locked
//! and what a policy has taken never go.

use crate::support::backup_set::backup_set;
use jiff::{SignedDuration, Timestamp};
use tair_backup_mcp::guard::pruning::{Stays, prune};
use tair_backup_mcp::model::backup::{BackupSet, Mode};
use tair_backup_mcp::model::pruning::{Keep, PrunedModes};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    "2026-06-30T12:00:00Z".parse().unwrap()
}

/// A set that was begun so many days ago, after which it is called.
fn set(mode: Mode, days: i32) -> BackupSet {
    backup_set(&format!("{}{days}", &mode.as_str()[..1]), mode, now() - DAY * days)
}

/// Manual sets of these days ago.
fn manual<const N: usize>(days: [i32; N]) -> Vec<BackupSet> {
    days.map(|days| set(Mode::Manual, days)).into()
}

fn keep(last: Option<u32>, days: Option<u32>) -> Keep {
    Keep { last, within_hours: days.map(|days| days * 24), of: PrunedModes::All }
}

fn goes(sets: &[BackupSet], damaged: &[&str], keep: &Keep) -> Vec<String> {
    let damaged: Vec<String> = damaged.iter().map(|id| (*id).to_owned()).collect();
    let verdicts = prune(sets, &damaged, keep, now());
    sets.iter().zip(verdicts).filter(|(_, stays)| stays.is_none()).map(|(set, _)| set.id.clone()).collect()
}

/// One rule alone, both together, of each mode for itself, and none at all.
#[test]
fn any_rule_keeps() {
    let sets =
        [manual([1, 5, 20, 40]), vec![set(Mode::Safety, 2), set(Mode::Safety, 3), set(Mode::Safety, 50)]].concat();
    for (rules, gone) in [
        (keep(Some(1), None), vec!["m5", "m20", "m40", "s3", "s50"]),
        (keep(Some(3), None), vec!["m40"]),
        (keep(Some(9), None), vec![]),
        (keep(None, Some(10)), vec!["m20", "m40", "s50"]),
        (keep(Some(2), Some(30)), vec!["m40", "s50"]),
        (keep(Some(3), Some(3)), vec!["m40"]),
        (Keep { of: PrunedModes::Safety, ..keep(Some(1), None) }, vec!["s3", "s50"]),
        (Keep { of: PrunedModes::Manual, ..keep(Some(1), None) }, vec!["m5", "m20", "m40"]),
        (keep(None, None), vec![]),
    ] {
        assert_eq!(goes(&sets, &[], &rules), gone, "{rules}");
    }
}

/// One in which a fault was found is none of the last, and nothing is counted back from it; newer than they it stays, for the fault may be lifted. What
/// is of a clock that was ahead is none either.
#[test]
fn what_is_not_sound_counts_for_none() {
    let sets = manual([1, 5, 20, 40, 60]);
    assert_eq!(goes(&sets, &["m1"], &keep(Some(2), None)), ["m40", "m60"]);
    assert_eq!(goes(&sets, &["m5", "m40"], &keep(Some(2), None)), ["m40", "m60"]);
    assert_eq!(goes(&sets, &["m1"], &keep(None, Some(15))), ["m40", "m60"], "15 days before the fifth");
    assert_eq!(goes(&sets, &["m1", "m5", "m20", "m40", "m60"], &keep(Some(1), None)), Vec::<String>::new());
    let ahead = [vec![set(Mode::Manual, -300)], manual([1, 5])].concat();
    assert_eq!(goes(&ahead, &[], &keep(Some(1), None)), ["m5"]);
    assert_eq!(goes(&ahead, &[], &keep(None, Some(3))), ["m5"]);
}

/// Nothing stands in for the last good set: not what is gone within days, nor what is older, nor what is damaged. Where a policy has newer ones, they do.
#[test]
fn the_last_good_set_stays() {
    let week = keep(None, Some(7));
    let safety = set(Mode::Safety, 0);
    let sets = [vec![safety.clone()], manual([30, 40])].concat();
    assert_eq!(goes(&sets, &[], &week), ["m40"]);
    assert_eq!(prune(&sets, &[], &week, now())[1], Some(Stays::Last));
    assert_eq!(goes(&sets, &["m30"], &week), ["m30"], "the older one is the last that is good");
    assert_eq!(goes(&sets, &["m30", "m40"], &week), Vec::<String>::new());
    let mut automated = set(Mode::Automated, 1);
    let with = |one: BackupSet| [vec![safety.clone(), one], manual([30, 40])].concat();
    assert_eq!(goes(&with(automated.clone()), &[], &week), ["m30", "m40"]);
    assert_eq!(goes(&with(automated.clone()), &["a1"], &week), ["m40"]);
    automated.expires_at = Some(now() + DAY);
    assert_eq!(goes(&with(automated), &[], &week), ["m40"], "one that goes by itself stands in for nothing");
    assert_eq!(goes(&with(set(Mode::Automated, 35)), &[], &week), ["m40"], "an older one stands in for no newer");
    // Where there is nothing else, the newest of what was taken before a restore is the last.
    let only = [set(Mode::Unknown, 0), set(Mode::Safety, 30), set(Mode::Safety, 40)];
    assert_eq!(goes(&only, &[], &week), ["s40"]);
}

/// What others keep stays, and says whose it is.
#[test]
fn what_is_not_ones_own_stays() {
    let mut sets = [manual([1, 30, 40]), vec![set(Mode::Automated, 50), set(Mode::Unknown, 60)]].concat();
    sets[1].locked_until = Some(now() + DAY);
    sets[2].locked_until = Some(now());
    let verdicts = prune(&sets, &[], &keep(Some(1), None), now());
    let wanted = [
        Some(Stays::AmongTheLast(1)),
        Some(Stays::Locked(now() + DAY)),
        None,
        Some(Stays::OfThePolicy),
        Some(Stays::OfNobody),
    ];
    assert_eq!(verdicts, wanted);
}
