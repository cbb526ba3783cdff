//! The sets of an instance beside each other: which of them is its last backup, which is the newest of each mode, and which lost much against the
//! one before.
//!
//! It judges what is listed alone, newest first, and reads nothing.

use crate::model::backup::{BackupSet, Mode, Origin};
use crate::model::instance::total_keys;
use crate::model::slots::HeldSlots;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Fewer keys than these may go, or be in a database that is emptied, without a word: small numbers halve every day.
const KEYS_MIN: u64 = 10;
/// Share of the keys from which on it is told that they are gone: one of so many.
const ONE_OF: u64 = 5;
/// Most databases that are named as emptied.
const DATABASES_MAX: usize = 3;

/// The newest set at a moment, of sets newest first: of those that are not dated ahead of it, else of all. What is dated ahead was taken while the
/// clock was, and would count as newer than every set since, until the clock comes there.
#[must_use]
pub fn newest_at<'a>(mut sets: impl Iterator<Item = &'a BackupSet> + Clone, now: Timestamp) -> Option<&'a BackupSet> {
    let not_ahead = sets.clone().find(|set| set.started_at <= now);
    not_ahead.or_else(|| sets.next())
}

/// The last backup of an instance at a moment, of its sets newest first. A safety backup is none: it holds what was there when a restore was planned,
/// and so most likely what the restore is to undo.
#[must_use]
pub fn last_backup(sets: &[BackupSet], now: Timestamp) -> Option<&BackupSet> {
    newest_at(sets.iter().filter(|set| set.mode != Mode::Safety), now)
}

/// The newest set of each mode at a moment, of sets newest first.
pub fn newest_of_modes<'a>(
    sets: impl Iterator<Item = &'a BackupSet> + Clone,
    now: Timestamp,
) -> impl Iterator<Item = &'a BackupSet> {
    let modes = [Mode::Manual, Mode::Automated, Mode::Safety, Mode::Unknown];
    modes.into_iter().filter_map(move |mode| newest_at(sets.clone().filter(move |set| set.mode == mode), now))
}

/// Which sets lost much against the one before, by their ids, of sets newest first: `keys 400 → 200`.
///
/// The one before is the last backup of that time, for a safety backup may hold the loss already. Sets that were handed in or copied are none of the
/// instance's own history, and what the cloud does not tell is not compared.
pub fn shrunk<'a>(sets: impl DoubleEndedIterator<Item = &'a BackupSet>) -> BTreeMap<String, String> {
    let (mut found, mut before) = (BTreeMap::new(), None);
    let taken_here = |set: &&BackupSet| set.is_walked() && matches!(set.origin, Origin::Capture { .. });
    for set in sets.rev().filter(taken_here) {
        if let Some(lost) = before.and_then(|before| lost(before, set)) {
            found.insert(set.id.clone(), lost);
        }
        if set.mode != Mode::Safety {
            before = Some(set);
        }
    }
    found
}

/// What a set lost against the one before it; `None` where that is not much, or where they are of other slots of a cluster.
fn lost(before: &BackupSet, set: &BackupSet) -> Option<String> {
    if slots(before) != slots(set) {
        return None;
    }
    let (had, has) = (total_keys(&before.counts), total_keys(&set.counts));
    let gone = had.saturating_sub(has);
    let much = gone >= KEYS_MIN && gone.saturating_mul(ONE_OF) >= had;
    let mut parts: Vec<String> = much.then(|| format!("keys {had} → {has}")).into_iter().collect();
    // That nothing is left says it of each.
    if has > 0 {
        let is_empty = |db: &u64| set.counts.get(db).is_none_or(|(keys, _)| *keys == 0);
        let mut emptied = before.counts.iter().filter(|(db, (keys, _))| *keys >= KEYS_MIN && is_empty(db));
        let named = emptied.by_ref().take(DATABASES_MAX);
        parts.extend(named.map(|(db, (keys, _))| format!("db {db}: {keys} → 0")));
        let more = emptied.count();
        parts.extend((more > 0).then(|| format!("and {more} more databases emptied")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The slots of a cluster's node.
fn slots(set: &BackupSet) -> Option<&[(u16, u16)]> {
    match &set.held {
        Some(HeldSlots::Node { ranges, .. }) => Some(ranges),
        Some(HeldSlots::All) | None => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! A loss is told of the set that has it, against the last backup before it, and no safety backup is a last one.
    use super::{last_backup, newest_at, newest_of_modes, shrunk};
    use crate::model::backup::{BackupSet, Mode, Origin};
    use crate::model::slots::HeldSlots;
    use jiff::{SignedDuration, Timestamp};

    /// A set of so many keys in each database.
    fn set(id: &str, mode: Mode, keys: &[(u64, u64)]) -> BackupSet {
        let counts = keys.iter().map(|(db, keys)| (*db, (*keys, 0))).collect();
        BackupSet { counts, ..BackupSet::sample(id, mode) }
    }

    #[test]
    fn much_is_a_fifth_and_ten_keys_or_a_database() {
        type Keys<'a> = &'a [(u64, u64)];
        let five_emptied = "db 1: 10 → 0, db 2: 10 → 0, db 3: 10 → 0, and 2 more databases emptied";
        let cases: [(Keys<'_>, Keys<'_>, Option<&str>); 10] = [
            (&[(0, 400)], &[(0, 200)], Some("keys 400 → 200")),
            (&[(0, 400)], &[(0, 320)], Some("keys 400 → 320")),
            (&[(0, 400)], &[(0, 321)], None),
            (&[(0, 9)], &[], None),
            (&[(0, 10)], &[], Some("keys 10 → 0")),
            (&[(0, 200)], &[(0, 400)], None),
            (&[(0, 400), (1, 10), (2, 9)], &[(0, 400)], Some("db 1: 10 → 0")),
            (&[(0, 400), (3, 300)], &[(0, 400), (3, 0)], Some("keys 700 → 400, db 3: 300 → 0")),
            (&[(0, 40), (1, 40)], &[], Some("keys 80 → 0")),
            (&[(0, 1), (1, 10), (2, 10), (3, 10), (4, 10), (5, 10)], &[(0, 51)], Some(five_emptied)),
        ];
        for (before, after, told) in cases {
            let sets = [set("b-2", Mode::Automated, after), set("b-1", Mode::Manual, before)];
            assert_eq!(shrunk(sets.iter()).get("b-2").map(String::as_str), told, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_safety_backup_hides_no_loss() {
        let (full, half) = (&[(0, 400)][..], &[(0, 200)][..]);
        let mut sets = vec![
            set("b-5", Mode::Safety, half),
            set("b-4", Mode::Automated, full),
            set("b-3", Mode::Automated, half),
            set("b-2", Mode::Safety, half),
            set("b-1", Mode::Manual, full),
        ];
        let told = |sets: &[BackupSet]| shrunk(sets.iter()).into_keys().collect::<Vec<_>>();
        assert_eq!(told(&sets), ["b-2", "b-3", "b-5"]);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(last_backup(&sets, now).unwrap().id, "b-4");
        let newest: Vec<&str> = newest_of_modes(sets.iter(), now).map(|set| set.id.as_str()).collect();
        assert_eq!(newest, ["b-1", "b-4", "b-5"]);
        // Neither what somebody handed in, nor what the cloud lists, nor a node that has other slots now.
        sets[2].origin = Origin::Import { file: "one.rdb".into(), sha256: String::new() };
        sets[3].sha256 = String::new();
        sets[0].held = Some(HeldSlots::Node { id: "n".into(), epoch: 1, ranges: vec![(0, 99)] });
        assert_eq!(told(&sets), Vec::<String>::new());
        sets.truncate(1);
        assert!(last_backup(&sets, now).is_none());
    }

    #[test]
    fn what_is_dated_ahead_is_not_the_newest() {
        let day = SignedDuration::from_hours(24);
        let now = Timestamp::UNIX_EPOCH + day * 30;
        let at = |id: &str, mode: Mode, started_at: Timestamp| BackupSet { started_at, ..set(id, mode, &[]) };
        let sets = [
            at("b-5", Mode::Manual, now + day * 400),
            at("b-4", Mode::Automated, now + day * 300),
            at("b-3", Mode::Safety, now),
            at("b-2", Mode::Automated, now - day),
            at("b-1", Mode::Automated, now - day * 2),
        ];
        assert_eq!(last_backup(&sets, now).unwrap().id, "b-2");
        let newest = |now: Timestamp| newest_of_modes(sets.iter(), now).map(|set| set.id.as_str()).collect::<Vec<_>>();
        // Where there is no other, it is the newest all the same.
        assert_eq!(newest(now), ["b-5", "b-2", "b-3"]);
        assert_eq!(newest(now + day * 300), ["b-5", "b-4", "b-3"]);
        assert_eq!(newest_at(sets[..2].iter(), now).unwrap().id, "b-5");
        assert!(newest_at(sets[..0].iter(), now).is_none());
    }
}
