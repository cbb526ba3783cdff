//! How a restore that went through ended: what the target holds, and of what it does not hold, whether it expired, was evicted or is
//! missing. Told apart by the server's own counters, never by what would be likely.

use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Counts, total_keys};
use crate::provider::local::restore::counted::{AsLoaded, Counted};
use crate::provider::local::restore::expired::PassedKeys;

/// From here on a set is in Valkey's own format.
const OLDEST_VALKEY: u16 = 80;

/// Keys of the set that may be gone though they carry no expiry: hashes whose fields do.
fn with_expiring_fields(set: &BackupSet) -> u64 {
    let types = if set.rdb_version >= OLDEST_VALKEY { 22..=22 } else { 22..=25 };
    set.types.range(types).map(|(_, keys)| keys).sum()
}

/// What the target holds of the set. `before`: what it had counted before it was touched. `unseen`: keys that it may have taken as
/// expired without counting them. `passed`: keys of the set whose expiry had passed, by the target's own clock, when its keys were
/// counted; `None` where nobody knows. The server's own counters are of all its databases; what each can have lost is told by that.
///
/// # Errors
/// `restore.evicted` and `restore.census_differs`: the target took the whole set and does not hold all of it.
pub(super) fn outcome(
    set: &BackupSet,
    before: Option<&Counted>,
    after: &Counted,
    unseen: u64,
    passed: Option<&PassedKeys>,
) -> Result<String, Fault> {
    let (found, fields) = (&after.counts, with_expiring_fields(set));
    // Keys that are not there, those of them whose expiry has passed at most, and those whose expiry has passed and which are there.
    let (mut gone, mut explained, mut counting) = (0, 0, 0);
    for (db, (have, _)) in found {
        let (want, _) = set.counts.get(db).copied().unwrap_or_default();
        if *have > want {
            return Err(differs(format!("db{db} has {have} keys where the set has {want}")));
        }
    }
    for (db, (want, expires)) in &set.counts {
        let (have, _) = found.get(db).copied().unwrap_or_default();
        let less = want.saturating_sub(have);
        let passed = passed.and_then(|passed| passed.get(db)).copied().unwrap_or_default();
        gone += less;
        explained += less.min(passed);
        counting += passed.saturating_sub(less);
        let evicted = before.and_then(|b| after.since(b)).is_some_and(|(_, evicted)| evicted > 0);
        if less > expires.saturating_add(fields) && !evicted {
            return Err(differs(format!("db{db} has {have} keys where the set has {want}")));
        }
    }
    let keys = total_keys(found);
    let explained = passed.map(|_| explained);
    let counts_expired = match (after.with_expiry(), passed.map(|_| counting)) {
        (0, _) | (_, Some(0)) => String::new(),
        (n, Some(passed)) => format!(
            "; {} of those that are there have expired by the target's own clock, and count until it deletes them",
            passed.min(n)
        ),
        (n, None) => {
            format!("; {n} of them have an expiry, and count until the server deletes them, also where it has passed")
        }
    };
    let counted = before.and_then(|before| after.since(before));
    match counted {
        Some((expired, evicted)) if evicted > 0 && gone > 0 => Err(too_little_memory(format!(
            "the target took the whole set and holds {keys} keys of {}: meanwhile it evicted {evicted} keys to make room, and {expired} expired",
            keys + gone
        ))),
        Some((expired, _)) if gone > expired.saturating_add(unseen).saturating_add(fields) => {
            let missing = gone - expired.saturating_add(unseen).saturating_add(fields);
            Err(differs(format!(
                "{missing} keys are missing: {gone} are not there, {expired} have expired by the server's own count, none were evicted"
            )))
        }
        Some(_) if explained.is_some_and(|explained| gone > explained.saturating_add(fields)) => Err(differs(format!(
            "{gone} keys are not there, and of only {} the expiry has passed by the target's own clock",
            explained.unwrap_or_default()
        ))),
        _ if gone == 0 => {
            let evicted = counted.map_or(0, |(_, evicted)| evicted);
            let more =
                if evicted > 0 { format!("; the target evicted {evicted} keys meanwhile") } else { String::new() };
            Ok(format!("restored: {keys} keys, as many as in the backup in every database{counts_expired}{more}"))
        }
        Some(_) => Ok(format!(
            "restored: {keys} keys; {gone} others of the backup had an expiry that has passed since, and are gone; none were evicted{counts_expired}"
        )),
        None if explained.is_some_and(|explained| gone > explained.saturating_add(fields)) => Ok(format!(
            "restored: {keys} keys; {gone} others of the backup are gone. By the target's own clock at most {} of them have expired; {}, so nothing tells whether clients deleted the rest{counts_expired}",
            explained.unwrap_or_default(),
            no_count(before)
        )),
        None => Ok(format!(
            "restored: {keys} keys; {gone} others of the backup are gone. All could have expired since; {}, so its own count does not tell{counts_expired}",
            no_count(before)
        )),
    }
}

/// [`outcome`] of a target whose clients may have written since it had the set: that is none of the set's. `passed`: as there.
///
/// # Errors
/// As [`outcome`].
pub(super) fn outcome_as_loaded(
    set: &BackupSet,
    as_loaded: &AsLoaded,
    after: &Counted,
    passed: Option<&PassedKeys>,
) -> Result<String, Fault> {
    let AsLoaded { before, keys, unseen, meanwhile } = as_loaded;
    let before = before.as_ref();
    let Some(loaded) = keys else {
        let more = |found: &Counts| {
            found.iter().any(|(db, (have, _))| *have > set.counts.get(db).copied().unwrap_or_default().0)
        };
        let evicted = before.and_then(|before| after.since(before)).is_some_and(|(_, evicted)| evicted > 0);
        if *meanwhile && !evicted && more(&after.counts) {
            return Ok(format!(
                "restored: the target took all {} keys of the set, and clients wrote to it meanwhile: it holds {} keys now",
                total_keys(&set.counts),
                total_keys(&after.counts)
            ));
        }
        return outcome(set, before, after, *unseen, passed);
    };
    // What was evicted since was of what had just been loaded, or written behind that.
    if let Some((_, evicted @ 1..)) = before.and_then(|before| after.since(before)) {
        return Err(too_little_memory(format!(
            "the target took the whole set and has evicted {evicted} keys since to make room; it holds {} keys, the set has {}",
            total_keys(&after.counts),
            total_keys(&set.counts)
        )));
    }
    let whole = outcome(set, before, &Counted { counts: loaded.clone(), ..after.clone() }, *unseen, passed)?;
    Ok(outcome(set, before, after, *unseen, passed).unwrap_or(whole))
}

/// What a target holds that has applied the commands behind a set: no manifest has the counts of that moment.
///
/// # Errors
/// `restore.evicted`: some of it is gone again.
pub(super) fn outcome_of_moment(
    base: &str,
    moment: &str,
    commands: u64,
    as_loaded: &AsLoaded,
    after: &Counted,
) -> Result<String, Fault> {
    let since = as_loaded.before.as_ref().and_then(|before| after.since(before));
    if let Some((_, evicted @ 1..)) = since {
        return Err(too_little_memory(format!(
            "the target was brought to {moment} and has evicted {evicted} keys since to make room; it holds {} keys",
            total_keys(&after.counts)
        )));
    }
    let then = match &as_loaded.keys {
        None => "its keys were not counted then".to_owned(),
        Some(keys) => {
            let expires: u64 = keys.values().map(|(_, expires)| expires).sum();
            format!("it held {} keys then, {expires} with an expiry", total_keys(keys))
        }
    };
    let expired = since.map_or("of which how many have expired since is not known".to_owned(), |(expired, _)| {
        format!("{expired} keys have expired since the restore began")
    });
    Ok(format!(
        "restored to {moment}: the target applied all {commands} commands of the log behind {base} and refused none; {then}, {expired}"
    ))
}

/// Why what the server has removed of its own accord is not known.
const fn no_count(before: Option<&Counted>) -> &'static str {
    match before {
        Some(_) => "the server's statistics were reset meanwhile",
        None => "the server did not tell its statistics before the restore",
    }
}

/// The fault of a restore of which the target has evicted something.
pub(super) fn too_little_memory(message: String) -> Fault {
    Fault::new(Kind::Provider, "restore.evicted", message)
        .hint("Give the target more memory (maxmemory) or maxmemory-policy noeviction, then restore again.")
}

fn differs(why: String) -> Fault {
    Fault::new(Kind::Provider, "restore.census_differs", format!("the target took the whole set, but {why}"))
        .hint("A client may have written meanwhile; compare before you go on.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Keys that are not there are expired, evicted or missing, by what the server counted.
    use super::{AsLoaded, Counted, outcome, outcome_as_loaded};
    use crate::model::backup::{BackupSet, Mode};

    fn set(keys: u64, expires: u64) -> BackupSet {
        BackupSet { rdb_version: 12, counts: [(0, (keys, expires))].into(), ..BackupSet::sample("b-1", Mode::Manual) }
    }

    fn counted(keys: u64, expired: u64, evicted: u64) -> Counted {
        Counted { run_id: "a".into(), expired, evicted, counts: [(0, (keys, 0))].into(), clock_ms: None }
    }

    #[test]
    fn expired_evicted_and_missing() {
        let before = counted(3, 10, 5);
        let end = |set: &BackupSet, after: Counted, unseen| match outcome(set, Some(&before), &after, unseen, None) {
            Ok(message) => message,
            Err(fault) => format!("{}: {}", fault.code, fault.message),
        };
        let set = set(100, 40);
        assert!(end(&set, counted(100, 10, 5), 0).contains("as many as in the backup"));
        assert!(end(&set, counted(70, 40, 5), 0).contains("30 others of the backup had an expiry that has passed"));
        // Taken as expired without being counted.
        assert!(end(&set, counted(70, 10, 5), 30).contains("30 others of the backup had an expiry"));
        let missing = end(&set, counted(70, 20, 5), 5);
        assert!(missing.starts_with("restore.census_differs") && missing.contains("15 keys are missing"), "{missing}");
        let evicted = end(&set, counted(30, 12, 73), 0);
        assert!(evicted.starts_with("restore.evicted") && evicted.contains("evicted 68 keys"), "{evicted}");
        // What was evicted was not of the set.
        assert!(end(&set, counted(100, 10, 9), 0).contains("the target evicted 4 keys meanwhile"));
        // More than carry an expiry cannot have expired.
        assert!(end(&set, counted(50, 500, 5), 0).starts_with("restore.census_differs"));
        assert!(end(&set, counted(101, 10, 5), 0).starts_with("restore.census_differs"));
        // Statistics that were reset are no witness, and nothing is made up in their place.
        assert!(end(&set, counted(70, 1, 0), 0).contains("does not tell"));
        let other = Counted { run_id: "b".into(), ..counted(70, 40, 5) };
        assert!(end(&set, other, 0).contains("does not tell"));
    }

    /// A key that has expired is counted until it is deleted: the end says how many there are, where the set's own expiries were
    /// compared with the target's clock; and more keys cannot have expired than that.
    #[test]
    fn keys_that_have_expired_and_still_count_are_told() {
        let set = set(100, 40);
        let end = |keys: u64, expires, passed: Option<u64>| {
            let after = Counted { counts: [(0, (keys, expires))].into(), ..counted(keys, 10 + 100 - keys, 5) };
            let passed = passed.map(|keys| [(0, keys)].into());
            match outcome(&set, Some(&counted(3, 10, 5)), &after, 0, passed.as_ref()) {
                Ok(message) => message,
                Err(fault) => format!("{}: {}", fault.code, fault.message),
            }
        };
        for (keys, expires, passed, part) in [
            (100, 40, None, "; 40 of them have an expiry, and count until the server deletes them"),
            (100, 40, Some(30), "; 30 of those that are there have expired by the target's own clock"),
            (90, 30, Some(30), "; 20 of those that are there have expired by the target's own clock"),
            // A client has made one of them a key without an expiry.
            (90, 19, Some(30), "; 19 of those that are there have expired by the target's own clock"),
            (
                90,
                30,
                Some(9),
                "restore.census_differs: the target took the whole set, but 10 keys are not there, and of only 9",
            ),
        ] {
            assert!(end(keys, expires, passed).contains(part), "{}", end(keys, expires, passed));
        }
        for (keys, expires, passed) in [(100, 0, None), (100, 40, Some(0)), (90, 30, Some(10))] {
            assert!(!end(keys, expires, passed).contains("count until"), "{}", end(keys, expires, passed));
        }
    }

    /// What expires elsewhere explains nothing of what a database lacks.
    #[test]
    fn each_database_answers_for_itself() {
        let set = BackupSet { counts: [(0, (100, 40)), (1, (100, 40))].into(), ..set(0, 0) };
        let end = |have: [u64; 2], before: Option<&Counted>, passed: [u64; 2]| {
            let counts = [(0, (have[0], 0)), (1, (have[1], 0))].into();
            let passed = [(0, passed[0]), (1, passed[1])].into();
            match outcome(&set, before, &Counted { counts, ..counted(0, 40, 5) }, 0, Some(&passed)) {
                Ok(message) => message,
                Err(fault) => format!("{}: {}", fault.code, fault.message),
            }
        };
        let before = counted(3, 10, 5);
        let right = end([80, 90], Some(&before), [20, 10]);
        assert!(right.contains("30 others of the backup had an expiry that has passed"), "{right}");
        // As many as have expired in all, and as many as the server has counted; but not where they are missing.
        let wrong = end([100, 70], Some(&before), [20, 10]);
        assert!(
            wrong.starts_with("restore.census_differs") && wrong.contains("30 keys are not there, and of only 10"),
            "{wrong}"
        );
        // A server that had told nothing before has not reset anything.
        let untold = end([100, 70], None, [20, 10]);
        assert!(untold.contains("at most 10 of them have expired; the server did not tell its statistics"), "{untold}");
        let untold = end([80, 90], None, [20, 10]);
        assert!(untold.contains("All could have expired since; the server did not tell its statistics"), "{untold}");
    }

    /// Where nobody has counted the keys as they were loaded, those that are missing later are missing all the same.
    #[test]
    fn keys_that_nobody_counted_as_loaded() {
        let as_loaded = AsLoaded { before: Some(counted(3, 10, 5)), keys: None, unseen: 0, meanwhile: false };
        let end = |after: Counted, passed: u64| {
            outcome_as_loaded(&set(100, 40), &as_loaded, &after, Some(&[(0, passed)].into()))
                .map_err(|fault| fault.code)
        };
        assert!(end(counted(70, 40, 5), 30).is_ok());
        assert_eq!(end(counted(70, 40, 5), 5), Err("restore.census_differs"));
        assert_eq!(end(counted(70, 20, 5), 30), Err("restore.census_differs"));
        assert_eq!(end(counted(101, 10, 5), 0), Err("restore.census_differs"));
    }

    #[test]
    fn what_clients_write_is_none_of_the_sets() {
        let set = set(100, 0);
        let end = |swapped_in: Option<u64>, meanwhile, after: Counted| {
            let keys = swapped_in.map(|keys| ([(0, (keys, 0))].into(), 7));
            let as_loaded = AsLoaded::by_commands(Some(counted(3, 0, 7)), keys, 0, meanwhile);
            outcome_as_loaded(&set, &as_loaded, &after, None).map_err(|fault| fault.code)
        };
        // Counted as it was swapped in.
        assert!(end(Some(100), false, counted(150, 0, 7)).is_ok_and(|said| said.contains("as many as in the backup")));
        assert_eq!(end(Some(99), false, counted(150, 0, 7)), Err("restore.census_differs"));
        assert_eq!(end(Some(100), false, counted(150, 0, 8)), Err("restore.evicted"));
        // Written one by one.
        assert!(end(None, true, counted(150, 0, 7)).is_ok_and(|said| said.contains("it holds 150 keys now")));
        assert_eq!(end(None, true, counted(150, 0, 8)), Err("restore.census_differs"));
        assert_eq!(end(None, false, counted(150, 0, 7)), Err("restore.census_differs"));
        assert_eq!(end(None, true, counted(99, 0, 7)), Err("restore.census_differs"));
    }

    #[test]
    fn hashes_vanish_with_their_last_field() {
        let mut set = set(100, 0);
        set.types.insert(24, 30);
        let before = counted(3, 0, 0);
        assert!(outcome(&set, Some(&before), &counted(75, 0, 0), 0, None).is_ok());
        assert_eq!(
            outcome(&set, Some(&before), &counted(69, 0, 0), 0, None).unwrap_err().code,
            "restore.census_differs"
        );
        // The same type bytes mean another thing in Valkey's format.
        set.rdb_version = 80;
        assert_eq!(
            outcome(&set, Some(&before), &counted(75, 0, 0), 0, None).unwrap_err().code,
            "restore.census_differs"
        );
    }
}
