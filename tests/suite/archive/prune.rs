//! What retention removes of a log: every moment that is kept is recovered as before, what no such moment needs goes, and a crash between any
//! two removals shows nowhere.

use super::*;
use crate::support::s3;
use std::collections::BTreeSet;
use tair_backup_mcp::archive::{Kept, SegmentName};
use tair_backup_mcp::guard::grant::{Grant, Prune};
use tair_backup_mcp::guard::retention::Outlived;

/// The grant of a policy.
fn grant() -> Grant<Prune> {
    let set = BackupSet { mode: Mode::Automated, ..base(0, T0) };
    Outlived::by_policy("orders", &[set], &[], Some(7), at(T0)).unwrap().prune()
}

/// What moments lead to: positions of base and cut, if to any.
fn leads(log: &Log, sets: &[BackupSet], moments: impl Iterator<Item = i64>) -> Vec<Option<(u64, u64)>> {
    let coverage = log.coverage();
    let one = |ms| coverage.cut(sets, &CutAt::Moment(at(ms))).ok().map(|cut| (cut.from.offset, cut.to.offset));
    moments.map(one).collect()
}

/// The names of a log's segments.
fn names(log: &Log) -> Vec<SegmentName> {
    log.segments().iter().map(|path| SegmentName::parse(path.file_name().unwrap().to_str().unwrap()).unwrap()).collect()
}

#[test]
fn moments_that_are_kept_are_recovered_as_before() {
    let mut dice = Dice::new("pruned");
    let (mut rounds, mut removed) = (0, 0);
    // Until enough was removed to show anything.
    while rounds < 12 || removed <= 50 {
        rounds += 1;
        assert!(rounds <= 200, "{removed} were removed");
        let log = Log::new();
        let mut writer = log.writer(1 + dice.below(300) as u64);
        let (mut ms, mut boundaries) = (T0 + 50, vec![(FIRST, T0 - 3)]);
        for made in transactions(&mut dice, 40, 200) {
            ms += 1 + dice.below(4) as i64;
            put(&mut writer, &made.bytes, ms);
            boundaries.push((writer.offset(), ms));
        }
        seal(&mut writer);
        let mut sets: Vec<BackupSet> = (0..dice.below(6))
            .map(|n| {
                let (offset, ms) = boundaries[dice.below(boundaries.len())];
                // One in five is of a position that is none to begin with.
                let beside = if dice.below(5) == 0 { 1 } else { 0 };
                BackupSet { id: format!("b-{n}"), ..base(offset + beside, ms) }
            })
            .collect();
        if dice.below(3) > 0 {
            sets.push(BackupSet { id: "b-first".into(), ..base(FIRST, T0 - 3) });
        }
        let since = T0 - 10 + dice.below(usize::try_from(ms - T0).unwrap() + 30) as i64;
        let in_use: Vec<String> = sets.iter().filter(|_| dice.below(6) == 0).map(|set| set.id.clone()).collect();
        let damaged: Vec<String> = sets.iter().filter(|_| dice.below(6) == 0).map(|set| set.id.clone()).collect();
        let sound: Vec<BackupSet> = sets.iter().filter(|set| !damaged.contains(&set.id)).cloned().collect();
        let kept = Kept { sets: sets.clone(), damaged, in_use: in_use.clone(), since: at(since) };
        let told = |sets: &[BackupSet], from: i64| leads(&log, sets, (from..=ms + 3).step_by(2));
        let used: Vec<BackupSet> = sets.iter().filter(|set| in_use.contains(&set.id)).cloned().collect();
        let (before, before_of_used) = (told(&sets, since), told(&used, T0 - 5));
        let before_of_sound = told(&sound, since);
        let whole = log.dir.path().join("whole");
        copy_dir(&log.vault_dir(), &whole);
        let (all, would) = (names(&log), log.archive.prunable("orders", 0, &kept).unwrap());
        let gone = log.archive.prune(grant(), 0, &kept).unwrap();
        assert_eq!((gone, all.len() - names(&log).len()), (would, would), "what would go is what went");
        removed += gone;
        assert_eq!(told(&sets, since), before, "{all:?} for {sets:?} since {since}");
        assert_eq!(told(&sound, since), before_of_sound, "{all:?} for {sound:?} since {since}");
        assert_eq!(told(&used, T0 - 5), before_of_used, "{all:?} for {used:?}");
        for _ in 0..3 {
            if let Ok(cut) = cut(&log, &sets, since + dice.below(200) as i64) {
                replayed(&log.archive, &cut);
            }
        }
        assert!(log.coverage().holes.is_empty(), "{:?}", log.coverage().holes);
        // Nothing else stays: what there is of before ends behind a set that is needed, or within what is kept, or is the last.
        let is_whole = |set: &&BackupSet| boundaries.iter().any(|(offset, _)| *offset == set.replication_offset);
        let reached = |set: &&BackupSet| {
            let holding = all.iter().find(|s| s.first <= set.replication_offset && set.replication_offset <= s.last);
            holding.is_some_and(|s| s.last_ms <= since)
        };
        let enough_of =
            |sets: &[BackupSet]| sets.iter().filter(is_whole).filter(reached).map(|set| set.replication_offset).max();
        let enough = enough_of(&sets).zip(enough_of(&sound)).map(|(of_all, of_sound)| of_all.min(of_sound));
        let of_use = used.iter().map(|set| set.replication_offset).min();
        if let Some(enough) = enough {
            let from = of_use.map_or(enough, |offset| offset.min(enough));
            let needless = |s: &&SegmentName| s.last < from && s.last_ms < since && Some(*s) != all.last();
            assert_eq!(names(&log).iter().find(needless), None, "from {from}, since {since}: {all:?}");
        }
        // A crash left some of it: that is none of the log any more, and goes the next time.
        let runs = |log: &Log| log.coverage().runs.into_iter().map(|run| run.segments).collect::<Vec<_>>();
        let after = runs(&log);
        let mut back = 0;
        for name in all.iter().filter(|name| !names(&log).contains(name)) {
            if dice.below(2) == 0 {
                std::fs::copy(whole.join(name.to_string()), log.vault_dir().join(name.to_string())).unwrap();
                back += 1;
            }
        }
        assert_eq!(runs(&log), after);
        assert_eq!(log.archive.prune(grant(), 0, &kept).unwrap(), back);
        assert_eq!(log.archive.prune(grant(), 0, &kept).unwrap(), 0, "once is enough");
        // The writer goes on where it was.
        put(&mut writer, &set("more", "1"), ms + 10);
        seal(&mut writer);
        assert_eq!(log.coverage().runs.last().unwrap().last(), writer.offset());
        drop(writer);
        drop(log.writer(1000));
    }
}

/// Of a timeline that ended before all that is kept the last segment stays; of one to which no set leads, all that is kept of it.
#[test]
fn of_an_old_timeline_the_end_stays() {
    let log = Log::new();
    let written = |timeline: &Timeline, ms: i64| {
        let mut writer = log.archive.writer(timeline, limits(1)).unwrap();
        for n in 0..5 {
            put(&mut writer, &set("a", &n.to_string()), ms + n);
        }
        seal(&mut writer);
    };
    written(&log.timeline, T0);
    let next =
        log.archive.open_timeline(NewTimeline { opened_at: at(T0 + 100), ..new_timeline(5000, Some(0)) }).unwrap();
    written(&next, T0 + 200);
    let segments = || log.coverage().runs.iter().map(|run| run.segments.len()).collect::<Vec<_>>();
    assert_eq!(segments(), [5, 5]);
    let prune = |since: i64, sets: Vec<BackupSet>, in_use: &[&str]| {
        let in_use = in_use.iter().map(|id| (*id).to_owned()).collect();
        log.archive.prune(grant(), 0, &Kept { sets, damaged: Vec::new(), in_use, since: at(since) }).unwrap()
    };
    let old = base(FIRST, T0 - 1);
    assert_eq!(prune(T0, vec![old.clone()], &[]), 0);
    assert_eq!(prune(T0 + 202, vec![old.clone()], &[&old.id]), 0, "a restore of it may be under way");
    assert_eq!((prune(T0 + 202, vec![old], &[]), segments()), (4, vec![1, 5]));
    let behind = log.coverage().runs[1].segments[2].last;
    assert_eq!(prune(T0 + 203, vec![base(behind, T0 + 202)], &[]), 2);
    let further = log.coverage().runs[1].segments[1].last;
    assert_eq!(prune(T0 + 204, vec![base(further, T0 + 203)], &[]), 1);
    // Of what says where the log begins the last is left.
    let names = std::fs::read_dir(log.vault_dir().with_file_name(&next.id)).unwrap();
    let marks = names.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("pruned-"));
    assert_eq!((marks.count(), segments()), (1, vec![1, 2]));
}

/// What a bucket's lock keeps, and what a key without the right to delete cannot remove, stays, and that is no failure.
#[test]
fn what_a_bucket_keeps_stays() {
    for (bucket, key) in [(s3::locked(), s3::KEY), (s3::BUCKET, s3::ARCHIVER)] {
        let dir = TempDir::new().unwrap();
        let vault = s3::vault_in(bucket, &s3::prefix(), key, dir.path());
        let archive = Archive::new(&vault, dir.path().join("spool"));
        let timeline = archive.open_timeline(new_timeline(FIRST, Some(0))).unwrap();
        let mut writer = archive.writer(&timeline, limits(1)).unwrap();
        for n in 0..4 {
            put(&mut writer, &set("a", &n.to_string()), T0 + n);
        }
        seal(&mut writer);
        let segments = || {
            let names = vault.store().list(".log/orders").unwrap();
            names.iter().filter(|name| name.ends_with(".seg")).count()
        };
        assert_eq!(segments(), 4, "{bucket}");
        let sets = vec![base(writer.offset(), T0 + 10)];
        let kept = Kept { sets, damaged: Vec::new(), in_use: Vec::new(), since: at(T0 + 11) };
        // A lock is told before; that a right is missing turns out.
        assert_eq!(archive.prunable("orders", 0, &kept).unwrap() == 0, bucket == s3::locked(), "{bucket}");
        assert_eq!((archive.prune(grant(), 0, &kept).unwrap(), segments()), (0, 4), "{bucket}");
    }
}

/// Where the locks of what is needed are over soon, each is extended by a period, with the record of its timeline, and a second look asks nothing;
/// what pruning would remove stays as it was, and so does everything under a key without the right.
#[test]
fn locks_of_what_is_needed_are_extended() {
    let (dir, prefix) = (TempDir::new().unwrap(), s3::prefix());
    let open = |key| {
        let vault = s3::vault_in(s3::lockable(), &prefix, key, dir.path());
        (Archive::new(&vault, dir.path().join("spool")), vault.store())
    };
    let (archive, store) = open(s3::KEY);
    let now = Timestamp::now();
    let hour = SignedDuration::from_hours(1);
    // The days' sets began 84, 60, 36 and 12 hours ago.
    let began = (now - hour * 84).as_millisecond();
    let timeline = archive.open_timeline(NewTimeline { opened_at: at(began), ..new_timeline(FIRST, Some(0)) }).unwrap();
    let mut writer = archive.writer(&timeline, limits(1)).unwrap();
    let mut bases = Vec::new();
    for day in 0..4 {
        bases.push(BackupSet { mode: Mode::Automated, ..base(writer.offset(), began + day * 86_400_000) });
        put(&mut writer, &set("a", &day.to_string()), began + day * 86_400_000 + 1000);
    }
    seal(&mut writer);
    let mut names = store.list(".log/orders").unwrap();
    names.retain(|name| name.ends_with(".seg") || name.ends_with("timeline.json"));
    names.sort();
    assert_eq!(names.len(), 5, "{names:?}");
    let soon = now + hour;
    names.iter().for_each(|name| s3::lock(&format!("{prefix}/.log/orders/{name}"), soon));
    let ends = || -> Vec<i64> {
        let lock = |name: &String| store.lock(&format!(".log/orders/{name}")).unwrap().unwrap().until.as_second();
        names.iter().map(lock).collect()
    };
    let as_it_was = vec![soon.as_second(); 5];
    // The third day's set leads to all that is kept: what lies before it is needed no more.
    let kept =
        Kept { sets: bases.clone(), damaged: Vec::new(), in_use: Vec::new(), since: at(began + 2 * 86_400_000 + 500) };
    let extend = |archive: &Archive| archive.extend_locks(("orders", 0), &kept, hour * 48, now, &|| false).unwrap();

    let refused = extend(&open(s3::ARCHIVER).0);
    assert!(refused.refused.is_some() && refused.extended == 0, "{refused:?}");
    assert_eq!(ends(), as_it_was);
    let left = archive.extend_locks(("orders", 0), &kept, hour * 48, now, &|| true).unwrap();
    assert!(left.extended == 0 && left.left >= 3, "{left:?}");
    assert_eq!(ends(), as_it_was);

    let would = archive.prunable("orders", 0, &kept).unwrap();
    let done = extend(&archive);
    assert!(done.refused.is_none() && done.fault.is_none() && done.left == 0, "{done:?}");
    // Names are sorted, segments first. The second, which ends where the third day's set begins, and the third are needed until the fourth day's set
    // stands in for that, a day after it; the set that makes it so may be a day late. The lock of the fourth ends in 36 hours by its name.
    let after = |hours: i32| (now + hour * hours).as_second();
    let until = ends();
    assert_eq!([until[0], until[3], until[4]], [after(1), after(1), after(48)]);
    assert!(until[1] == until[2] && (after(35)..=after(36)).contains(&until[1]), "{until:?}");
    assert_eq!((done.extended, would), (3, 0), "{done:?}");
    // Nor does what passes by itself until the next set make them longer.
    let hours_later = archive.extend_locks(("orders", 0), &kept, hour * 48, now + hour * 14, &|| false).unwrap();
    assert!(hours_later.left == 0 && ends()[1] == until[1] && ends()[2] == until[2], "{hours_later:?}");
}

/// Of segments that contradict each other, and of those that lie within one, no name tells which is what was written: all stay locked whose time is
/// needed, for what hides the others may be taken away. A set whose segment is damaged, and a gap that is, keep no other lock from being extended.
#[test]
fn what_hides_a_segment_lets_no_lock_run_out() {
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba98";
    let (dir, prefix) = (TempDir::new().unwrap(), s3::prefix());
    let vault = s3::vault_in(s3::lockable(), &prefix, s3::KEY, dir.path());
    let (archive, store) = (Archive::new(&vault, dir.path().join("spool")), vault.store());
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    let began = (now - hour * 36).as_millisecond();
    let timeline = archive.open_timeline(NewTimeline { opened_at: at(began), ..new_timeline(0, Some(0)) }).unwrap();
    let folder = format!(".log/orders/0/{}", timeline.id);
    let put = |file: &str| {
        let name = format!("{folder}/{file}");
        store.put_new(&name, b"?").unwrap();
        name
    };
    // A byte comes each second. None of these can be read: what is in them is not asked, but at a set's position.
    let segment = |first: i64, last: i64, replid: &str| {
        let (from_ms, to_ms) = (began + first * 1000, began + last * 1000 - 1);
        put(&format!("{first:020}-{last:020}-{from_ms:013}-{to_ms:013}-0-1-{replid}.seg"))
    };
    let needless = [segment(0, 5, REPLID), segment(0, 5, OTHER)];
    let gap = put(&format!("gap-{:020}-{began}-abcdef.json", 20));
    let needed = [
        format!("{folder}/timeline.json"),
        segment(5, 10, REPLID),
        // It holds the first set.
        segment(10, 20, REPLID),
        // These two contradict each other.
        segment(20, 30, REPLID),
        segment(20, 30, OTHER),
        segment(30, 40, REPLID),
        // It lies within the one before.
        segment(32, 36, REPLID),
    ];
    let soon = now + hour;
    needless.iter().chain(&needed).chain([&gap]).for_each(|name| s3::lock(&format!("{prefix}/{name}"), soon));
    let automated = |offset, ms| BackupSet { mode: Mode::Automated, ..base(offset, ms) };
    let sets = vec![automated(10, began + 9_000), automated(35, (now - hour).as_millisecond())];
    let kept = Kept { sets, damaged: Vec::new(), in_use: Vec::new(), since: at(began + 10_000) };

    let done = archive.extend_locks(("orders", 0), &kept, hour * 48, now, &|| false).unwrap();
    assert_eq!((done.extended, done.left), (needed.len(), 0), "{done:?}");
    assert!(done.refused.is_none() && done.fault.as_ref().is_some_and(|f| f.message.contains(&gap)), "{done:?}");
    let ending = |until: Timestamp| -> BTreeSet<&String> {
        let all = needless.iter().chain(&needed).chain([&gap]);
        all.filter(|name| store.lock(name).unwrap().unwrap().until.as_second() == until.as_second()).collect()
    };
    assert_eq!(ending(now + hour * 48), needed.iter().collect::<BTreeSet<_>>());
    assert_eq!(ending(soon), needless.iter().chain([&gap]).collect::<BTreeSet<_>>());
    // What is damaged lets nothing go, either.
    assert_eq!(archive.prunable("orders", 0, &kept).unwrap_err().code, "log.damaged");
}
