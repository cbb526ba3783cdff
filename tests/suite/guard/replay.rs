//! A restore to a moment is that of its set and of every command behind it: whatever would keep the target from applying one, or
//! from showing that it did not, blocks; and another log voids the plan.

use crate::guard::assess::passing;
use jiff::{SignedDuration, Timestamp};
use tair_backup_mcp::config::guard::ConfirmationPolicy;
use tair_backup_mcp::guard::act::{Act, CloneOrder, Source};
use tair_backup_mcp::guard::assess::{Assessment, assess};
use tair_backup_mcp::guard::check::{Status, of_status};
use tair_backup_mcp::guard::facts::Facts;
use tair_backup_mcp::guard::facts::clone::LocalClone;
use tair_backup_mcp::guard::facts::keys::KeysFacts;
use tair_backup_mcp::guard::facts::replay::{Builder, NoMoment, Replay, ReplayedLog, Room};
use tair_backup_mcp::guard::facts::restore::DirectRestore;
use tair_backup_mcp::guard::rules::Rules;
use tair_backup_mcp::model::key_filter::{SomeKeys, for_us};
use tair_backup_mcp::model::restore::Method;

const RULES: Rules = Rules { confirmation: ConfirmationPolicy::Person, max_writes_per_second: None };

fn at() -> Timestamp {
    "2026-11-23T06:15:00.123Z".parse().unwrap()
}

fn moment() -> Source {
    Source::Moment { restore_time: at(), time_shift: None }
}

fn replay() -> Replay {
    Replay {
        log: ReplayedLog::Archive {
            at: at(),
            precision_ms: 0,
            taken_back: 7,
            window: Some((at() - SignedDuration::from_hours(1), at() + SignedDuration::from_secs(9))),
        },
        position: "t-1/0/700".into(),
        commands: 3_000_000,
        bytes: 1000,
        unknown: Vec::new(),
        builder: None,
        moment: at(),
        expiring: Some(0),
        expiring_by_log: Some(0),
        counts_refusals: true,
    }
}

fn judged(source: Source, facts: DirectRestore) -> Result<Assessment, &'static str> {
    let act = Act::restore(source, false);
    assess(&act, &Facts::DirectRestore(Box::new(facts)), None, RULES).map_err(|fault| fault.code)
}

fn with(change: impl FnOnce(&mut DirectRestore, &mut Replay)) -> DirectRestore {
    let (mut facts, mut behind) = (passing(), replay());
    change(&mut facts, &mut behind);
    DirectRestore { replay: Some(behind), ..facts }
}

/// What a person agrees to: the exact moment, what is taken back, the window, and how long it takes.
#[test]
fn a_moment_is_told_exactly() {
    let judged = judged(moment(), with(|_, _| ())).unwrap();
    assert_eq!(of_status(Status::Block, &judged.checks), Vec::<String>::new());
    let detail = judged.checks.iter().find(|c| c.name.as_str() == "restore_time").unwrap().detail.clone();
    for told in
        ["2026-11-23T06:15:00.123Z", "t-1/0/700", "7 commands since are taken back", "2026-11-23T05:15:00.123Z to"]
    {
        assert!(detail.contains(told), "{told}: {detail}");
    }
    assert!(
        judged.impact.after.contains("06:15:00.123Z") && judged.impact.lost.contains("since 2026-11-23T06:15:00.123Z")
    );
    assert_eq!(judged.details["replay_seconds"], "4");
    assert_eq!(judged.details["commands_taken_back"], "7");
    assert!(judged.needs_safety_backup);
}

/// Taken back is what is said where all of the instance goes back to the moment: a clone, some keys, or another instance's moment, leave what
/// was done since where it is, or nobody counts what goes.
#[test]
fn commands_are_taken_back_from_the_instance_they_were_sent_to() {
    let told = |act: &Act, facts: &Facts| {
        let judged = assess(act, facts, None, RULES).unwrap();
        let detail = judged.checks.iter().find(|c| c.name.as_str() == "restore_time").unwrap().detail.clone();
        let said = ["taken back", "not in it"].map(|since| detail.contains(&format!("7 commands since are {since};")));
        (said, judged.details.contains_key("commands_taken_back"))
    };
    let restore = |source: Option<&str>, keys: Option<SomeKeys>| Act::RestoreInstance {
        source: moment(),
        write_fence: false,
        source_instance_id: source.map(str::to_owned),
        keys,
    };
    let all = Facts::DirectRestore(Box::new(with(|_, _| ())));
    assert_eq!(told(&restore(None, None), &all), ([true, false], true));
    assert_eq!(told(&restore(Some("shop"), None), &all), ([false, true], false));
    let some = with(|facts, _| {
        facts.target.method = Method::Keys;
        facts.keys = Some(KeysFacts { filter: for_us("a.*").unwrap(), matched: None });
    });
    let keys = SomeKeys { filter_key: "a.*".into(), add_prefix: None };
    assert_eq!(told(&restore(None, Some(keys)), &Facts::DirectRestore(Box::new(some))), ([false, true], false));
    let order = CloneOrder {
        source: moment(),
        instance_name: None,
        instance_class: None,
        zone_id: None,
        vswitch_id: None,
        recover_config_mode: Vec::new(),
    };
    let clone = LocalClone {
        instance_id: "orders".into(),
        name: None,
        source: passing().source,
        program: Ok(builder(Some(8), Some(8))),
        replay: Some(replay()),
        delete: "tair-backup-mcp delete-instance --instance-id".into(),
        lifetime_hours: 24,
    };
    let act = Act::CreateInstanceFromBackup { order };
    assert_eq!(told(&act, &Facts::LocalClone(Box::new(clone))), ([false, true], false));
}

#[test]
fn what_the_target_would_drop_blocks() {
    type Change = fn(&mut DirectRestore, &mut Replay);
    let blocks: [(&str, Change); 7] = [
        ("does not know HSETEX", |_, behind| behind.unknown = vec!["HSETEX".into()]),
        ("does not count what it refuses", |_, behind| behind.counts_refusals = false),
        ("nobody has looked for one", |facts, _| facts.target.method = Method::Commands),
        ("put the redis-server", |facts, behind| {
            facts.target.method = Method::Beside;
            behind.builder = Some(Err("put the redis-server there".into()));
        }),
        ("our own (Redis 7.0.15) does not know HSETEX", |facts, behind| {
            facts.target.method = Method::Beside;
            behind.builder = Some(Ok(builder(Some(8), Some(8))));
            behind.unknown = vec!["HSETEX".into()];
        }),
        ("our own (Redis 7.0.15) does not count", |facts, behind| {
            facts.target.method = Method::Commands;
            behind.builder = Some(Ok(builder(Some(8), Some(8))));
            behind.counts_refusals = false;
        }),
        ("the target (", |_, behind| behind.unknown = vec!["SET".into()]),
    ];
    for (told, change) in blocks {
        let blocked = of_status(Status::Block, &judged(moment(), with(change)).unwrap().checks);
        assert!(blocked.len() == 1 && blocked[0].starts_with("log_replay") && blocked[0].contains(told), "{blocked:?}");
    }
    let imprecise = with(|_, behind| {
        behind.log = ReplayedLog::Archive { at: at(), precision_ms: 4000, taken_back: 0, window: None };
    });
    let warned = of_status(Status::Warn, &judged(moment(), imprecise).unwrap().checks);
    assert!(warned.iter().any(|w| w.contains("known to 4000 ms")), "{warned:?}");
}

fn builder(memory: Option<u64>, disk: Option<u64>) -> Builder {
    let room = |free| Room { need: 8, free };
    Builder { program: "Redis 7.0.15".into(), memory: room(memory), disk: room(disk) }
}

/// A target that cannot follow us is given what a server of our own was brought to: the plan names it, and this machine has the room.
#[test]
fn a_moment_that_goes_by_commands_is_built_here() {
    for (memory, disk, status) in [
        (Some(8), Some(8), Status::Pass),
        (None, Some(8), Status::Warn),
        (Some(8), None, Status::Warn),
        (Some(7), Some(8), Status::Block),
        (None, Some(7), Status::Block),
    ] {
        let facts = with(|facts, behind| {
            facts.target.method = Method::Beside;
            behind.builder = Some(Ok(builder(memory, disk)));
        });
        let judged = judged(moment(), facts).unwrap();
        let of = |name: &str| judged.checks.iter().find(|c| c.name.as_str() == name).unwrap().clone();
        assert_eq!(of("room_here").status, status, "{:?}", of("room_here"));
        let replay = of("log_replay");
        assert!(replay.status == Status::Pass && replay.detail.contains("our own (Redis 7.0.15)"), "{replay:?}");
        assert_eq!(judged.details["built_on"], "Redis 7.0.15");
    }
}

/// Times to live count on from a moment between the one restored and now; without that the plan says what will be gone on arrival.
#[test]
fn expiries_are_moved_or_told() {
    let now = at() + SignedDuration::from_secs(100);
    let then = |seconds| Some(at() + SignedDuration::from_secs(seconds));
    let facts = |expiring, by_log| {
        with(move |facts, behind| {
            facts.target.writes.read_at = now;
            (behind.expiring, behind.expiring_by_log) = (expiring, by_log);
        })
    };
    let of_both = |source: Source, (expiring, by_log), status| {
        let judged = judged(source, facts(expiring, by_log)).unwrap();
        let found = of_status(status, &judged.checks).into_iter().find(|c| c.starts_with("time_shift"));
        (found.unwrap_or_default(), judged.impact.after)
    };
    let of = |source: Source, expiring, status| of_both(source, (expiring, Some(0)), status);
    let moved = |time_shift| Source::Moment { restore_time: at(), time_shift };
    let before = |time_shift| Source::Before { position: "t-1/0/700".into(), time_shift };
    for source in [moved, before] {
        for seconds in [0, 60, 100] {
            let (passed, after) = of(source(then(seconds)), Some(7), Status::Pass);
            assert!(passed.contains(&format!("moved by {seconds} s")) && !after.contains("gone"), "{passed}, {after}");
        }
        for seconds in [-1, 101] {
            assert!(of(source(then(seconds)), Some(7), Status::Block).0.contains("not between"));
        }
        let (warned, after) = of(source(None), Some(7), Status::Warn);
        assert!(warned.contains("up to 7 keys") && warned.contains("time_shift 2026-11-23T06:16:40Z"), "{warned}");
        assert!(!warned.contains("the log"), "{warned}");
        assert!(after.contains("up to 7 keys of the set have expired since: what has expired will be gone"), "{after}");
        // What the log sets is told with what the set has, and by itself, and where nobody has counted it.
        for (of_set, by_log, told) in [
            (
                7,
                Some(3),
                "up to 7 keys of the set have expired since; up to 3 expiries that the log sets have passed since:",
            ),
            (0, Some(3), "up to 3 expiries that the log sets have passed since:"),
            (0, None, "how many expiries that the log sets have passed since, nobody has counted:"),
        ] {
            let (warned, after) = of_both(source(None), (Some(of_set), by_log), Status::Warn);
            assert!(warned.contains(told) && warned.contains("time_shift 2026-"), "{warned}");
            assert!(after.contains(told) && after.contains("will be gone"), "{after}");
            let (passed, after) = of_both(source(then(60)), (Some(of_set), by_log), Status::Pass);
            assert!(passed.contains("moved by 60 s") && !after.contains("gone"), "{passed}, {after}");
        }
        // A plan that is looked at again is read anew for neither.
        for both in [(None, None), (Some(0), Some(0))] {
            let (none, after) = of_both(source(None), both, Status::Warn);
            assert!(none.is_empty() && !after.contains("gone"), "{none}, {after}");
        }
    }
    assert!(moved(then(60)).describe().contains("times to live counted on from 2026-11-23T06:16:00.123Z"));
}

/// Facts about a set are none about a moment, and the other way round: no act is judged by less than it needs.
#[test]
fn facts_of_another_kind_are_refused() {
    let set = Source::Backup { backup_id: "b-1".into() };
    assert!(judged(set.clone(), passing()).is_ok());
    assert_eq!(judged(set, with(|_, _| ())).unwrap_err(), "act.unsupported");
    assert_eq!(judged(moment(), passing()).unwrap_err(), "act.unsupported");
    assert_eq!(
        judged(Source::Before { position: "t-1/0/1".into(), time_shift: None }, passing()).unwrap_err(),
        "act.unsupported"
    );
}

#[test]
fn another_log_voids_the_plan() {
    let preconditions = |facts| judged(moment(), facts).unwrap().preconditions;
    let planned = preconditions(with(|_, _| ()));
    // That more is taken back by now is no other log.
    let later = preconditions(with(|_, behind| {
        behind.log = ReplayedLog::Archive { at: at(), precision_ms: 0, taken_back: 70, window: None };
    }));
    assert_eq!(planned.changes(&later), Vec::<String>::new());
    let moved = planned.changes(&preconditions(with(|_, behind| behind.position = "t-1/0/701".into())));
    assert!(moved.len() == 1 && moved[0].contains("the position in the log"), "{moved:?}");
    let base = planned.changes(&preconditions(with(|facts, _| facts.source.backup_id = "b-2".into())));
    assert!(base.len() == 1 && base[0].contains("replayed behind"), "{base:?}");
}

/// A moment outside the log or in a gap of it blocks, and names its neighbours.
#[test]
fn a_moment_that_is_not_there_names_its_neighbours() {
    let none = NoMoment {
        instance_id: "orders".into(),
        address: "redis://127.0.0.1:1".into(),
        asked: "2026-11-23T06:15:00Z".into(),
        why: "a part of the log is missing there".into(),
        nearest_before: Some(at()),
        nearest_after: None,
    };
    let act = Act::restore(moment(), false);
    let judged = assess(&act, &Facts::NoMoment(none.clone()), None, RULES).unwrap();
    let blocked = of_status(Status::Block, &judged.checks);
    assert!(blocked[0].starts_with("restore_time") && blocked[0].contains("missing"), "{blocked:?}");
    assert!(blocked[0].contains("2026-11-23T06:15:00.123Z (before)"), "{blocked:?}");
    let next = judged.alternative.unwrap().call;
    assert_eq!(next, "restore_instance with instance_id orders and restore_time 2026-11-23T06:15:00.123Z");
    let planned = assess(&act, &Facts::DirectRestore(Box::new(with(|_, _| ()))), None, RULES).unwrap();
    assert_eq!(planned.preconditions.changes(&judged.preconditions), ["the moment cannot be restored any more"]);
    let set = Act::restore(Source::Backup { backup_id: "b-1".into() }, false);
    assert_eq!(assess(&set, &Facts::NoMoment(none), None, RULES).unwrap_err().code, "act.unsupported");
}
